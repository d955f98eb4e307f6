"""The figures of one person's report, on faces whose truth is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.evaluation.portrait import FRACTIONS, components_of, correlations_of, curves_of, importances_of
from models.personal.gate import GateSettings
from models.personal.heads import Arm, Arms, DenseHead
from models.personal.samples import Origin, Samples
from pipeline.interpretable import NAMES

DIM = 8
GATE = GateSettings(block_s=2.0, gap_s=2.0, n_blocks=10, n_of_class=5)


def arms() -> Arms:
    """Heads that say class k for embeddings along axis k."""
    head = DenseHead(
        np.eye(7, DIM, dtype=np.float32), np.zeros(7, np.float32), np.eye(7, dtype=np.float32), np.zeros(7, np.float32)
    )
    return Arms(Arm(head, 1.0, 1.0), Arm(head, 1.0, 1.0))


def person(n: int = 240, *, shift: int = 0, seed: int = 0) -> Samples:
    """Blocks of four seconds of three classes; with a shift, each looks to the heads like another class."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) // 4 % 3
    seen = (label + shift) % 3
    embedding = (3.0 * np.eye(DIM)[seen] + rng.normal(0, 0.3, (n, DIM))).astype(np.float32)
    features = rng.normal(0, 1, (n, 51)).astype(np.float32)
    features[:, NAMES.index("AU12_r")] += 4 * (label == 1)
    features[:, NAMES.index("AU25_r")] = 2 * features[:, NAMES.index("AU26_r")]
    features[:, NAMES.index("AU28_c")] = 0.0
    return Samples(
        np.arange(n, dtype=np.float64),
        embedding,
        embedding.copy(),
        features,
        np.eye(7)[label],
        np.ones(n),
        np.ones(n),
        np.full(n, Origin.CORRECTION, np.uint8),
    )


def test_a_head_is_worth_what_the_generic_one_gets_wrong() -> None:
    """Whose three classes are mixed up gains nearly 100 points of recall with all samples; who is read well gains nothing."""
    curves = curves_of(person(shift=1), arms(), gate=GATE, methods=("random", "gsx"))
    for points in curves.values():
        assert [point.fraction for point in points] == list(FRACTIONS)
        assert [point.n for point in points] == sorted(point.n for point in points)
        assert points[-1].gain > 0.95
        assert all(point.low <= point.gain + 1e-9 for point in points)
        assert all(point.gain <= point.high + 1e-9 for point in points)
    # With all of them it does not matter in which order they were chosen.
    assert curves["random"][-1].gain == pytest.approx(curves["gsx"][-1].gain)
    for points in curves_of(person(), arms(), gate=GATE, methods=("gsx",)).values():
        assert points[-1].gain == pytest.approx(0.0, abs=0.02)


def test_too_little_time_has_no_curves() -> None:
    """Nothing later to judge on, or one class only."""
    assert curves_of(person(20), arms(), gate=GATE) == {}
    one = person()
    assert curves_of(one.take(one.label == 1), arms(), gate=GATE) == {}


def test_components_by_hand() -> None:
    """Two features that are the same have one component; a row without a mesh has no place."""
    features = np.array([[-1, -2], [0, 0], [1, 2], [np.nan, 0]], dtype=np.float32)
    found = components_of(features, np.array([0, 1, 2, 3]))
    # Standardised both are -1.2247, 0, 1.2247; the component is their length along the diagonal: times sqrt 2.
    assert_allclose(np.abs(found.scores[:, 0]), [1.7321, 0, 1.7321], atol=1e-3)
    assert_allclose(found.scores[:, 1], 0, atol=1e-6)
    assert_allclose(found.shares, [1, 0], atol=1e-9)
    assert found.label.tolist() == [0, 1, 2]
    still = components_of(np.ones((3, 4), np.float32), np.zeros(3, np.int64))
    assert_allclose(still.scores, 0)
    assert_allclose(still.shares, 0)


def test_correlations() -> None:
    """One feature is twice another: 1; one never changes: not known; the matrix is symmetric."""
    table = correlations_of(person())
    assert table[NAMES.index("AU25_r"), NAMES.index("AU26_r")] == pytest.approx(1, abs=1e-6)
    assert np.isnan(table[NAMES.index("AU28_c")]).all()
    assert_allclose(table, table.T)
    assert np.nanmax(np.abs(table)) <= 1 + 1e-9
    nobody = person()
    nobody.interpretable[:] = np.nan
    assert np.isnan(correlations_of(nobody)).all()


def test_importances_find_what_tells_the_classes_apart() -> None:
    """The one feature that does, and little else above a column of noise; none with one class alone."""
    found = importances_of(person(), n_trees=100)
    assert found is not None
    assert NAMES[int(found.mean.argmax())] == "AU12_r"
    assert found.mean.max() > 5 * found.noise
    assert found.mean.sum() + found.noise == pytest.approx(1)
    assert np.median(found.mean) == pytest.approx(found.noise, rel=0.7)
    one = person()
    assert importances_of(one.take(one.label == 1)) is None
