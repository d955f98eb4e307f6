"""Which samples are taken first: worked by hand, and what must hold for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from models.personal import selection as sel
from models.personal.heads import Arm, Arms, DenseHead
from models.personal.samples import Samples


def arms(seed: int = 0, d: int = 4) -> Arms:
    """Small heads of random numbers."""
    rng = np.random.default_rng(seed)

    def head() -> DenseHead:
        return DenseHead(*(rng.normal(size=s).astype(np.float32) for s in ((6, d), (6,), (7, 6), (7,))))

    return Arms(Arm(head(), 1.0, 1.0), Arm(head(), 1.0, 1.0))


def samples(n: int = 12, seed: int = 0, d: int = 4) -> Samples:
    """Random embeddings; the last two rows have no mesh."""
    rng = np.random.default_rng(seed)
    landmark = rng.normal(size=(n, d)).astype(np.float32)
    landmark[-2:] = np.nan
    target = np.eye(7)[rng.integers(0, 7, n)]
    one = np.ones(n)
    zero = np.zeros(n, np.uint8)
    nothing = np.zeros((n, 51), np.float32)
    return Samples(
        np.arange(n) * 1.0, rng.normal(size=(n, d)).astype(np.float32), landmark, nothing, target, one, one, zero
    )


def test_gsx_worked_by_hand() -> None:
    """On a line at 0, 1, 2, 6, 10 the centroid is 3.8.

    The nearest is 2 (1.8 away; 6 is 2.2 away), row 2. Farthest from it: 10 (8 away), row 4. Then of 0, 1, 6 the least
    distances to {2, 10} are 2, 1, 4: 6, row 3. Then 0 (2), row 0, and last 1, row 1.
    """
    points = np.array([[0.0], [1], [2], [6], [10]])
    assert sel.gsx(points).tolist() == [2, 4, 3, 0, 1]


def test_gsy_is_the_same_among_predictions() -> None:
    """Predictions 0.1, 0.9, 0.5, 0.4: centroid 0.475, nearest 0.5 (row 2); then 0.1 and 0.9 are 0.4 away, the first wins."""
    assert sel.gsy(np.array([[0.1], [0.9], [0.5], [0.4]])).tolist() == [2, 0, 1, 3]


def test_igs_worked_by_hand() -> None:
    """Features 0, 1, 4, 9 and predictions 0, 3, 1, 2.

    Centroid of predictions 1.5: rows 2 and 3 are 0.5 away, the first is taken, row 2. Products with it: row 0: 4 x 1 = 4;
    row 1: 3 x 2 = 6; row 3: 5 x 1 = 5. Row 1. With it: row 0: 1 x 3 = 3, the least of 4 and 3; row 3: 8 x 1 = 8, the least
    of 5 and 8 is 5. Row 3, then row 0.
    """
    features, outputs = np.array([[0.0], [1], [4], [9]]), np.array([[0.0], [3], [1], [2]])
    assert sel.igs(features, outputs).tolist() == [2, 1, 3, 0]


def test_the_most_uncertain_come_first() -> None:
    """Deviations 0.1, 0.3, 0.3, 0.2: the largest first, equals as they stand."""
    assert sel.by_uncertainty(np.array([0.1, 0.3, 0.3, 0.2])).tolist() == [1, 2, 3, 0]


def test_z_scores_worked_by_hand() -> None:
    """1, 3, nan: mean 2, deviation 1, so -1, 1 and 0 for what is unknown; a constant column becomes 0."""
    found = sel.z_scored(np.array([[1.0, 5], [3, 5], [np.nan, 5]]))
    assert_allclose(found, [[-1, 0], [1, 0], [0, 0]])


def test_dropout_worked_by_hand() -> None:
    """One hidden unit that decides between two classes, dropped in half of the passes.

    With the unit (doubled, since half fall out) logits are 2 L for the first class and 0 for six, without it all 0. Its
    probability is then a or 1/7 with a = e^2L / (e^2L + 6); over passes kept with share k the deviation of the first is
    (a - 1/7) sqrt(k (1 - k)), and that of each other a sixth of it: mean 2 / 7 of that of the first.
    """
    w2 = np.zeros((7, 1), np.float32)
    w2[0] = 1.0
    head = DenseHead(np.ones((1, 1), np.float32), np.zeros(1, np.float32), w2, np.zeros(7, np.float32))
    one = Arms(Arm(head, 1.0, 1.0), Arm(head, 1.0, 1.0))
    given_samples = samples(1, d=1)
    lone = Samples(*(getattr(given_samples, f) for f in ("time_s",)), np.ones((1, 1), np.float32), np.full((1, 1), np.nan, np.float32), *(getattr(given_samples, f) for f in ("interpretable", "target", "confidence", "quality", "origin")))  # fmt: skip
    kept = np.random.default_rng(3).random((50, 1, 1)) >= 0.5
    share = kept.mean()
    a = np.exp(2) / (np.exp(2) + 6)
    expected = (a - 1 / 7) * np.sqrt(share * (1 - share)) * 2 / 7
    assert_allclose(sel.dropout_deviation(lone, one, seed=3), [expected], rtol=1e-5)


def test_without_dropout_nothing_deviates() -> None:
    """Every pass says the same."""
    assert_allclose(sel.dropout_deviation(samples(), arms(), seed=0, dropout=0.0), 0, atol=1e-12)


@pytest.mark.parametrize("method", sel.METHODS)
@pytest.mark.parametrize("n", [0, 1, 12])
def test_each_method_takes_every_row_once(method: sel.Method, n: int) -> None:
    """A permutation of the rows, the same for the same seed."""
    given_samples = samples(max(n, 2)).take(np.arange(n))
    order = sel.order_of(method, given_samples, arms(), seed=1)
    assert sorted(order.tolist()) == list(range(n))
    assert_array_equal(order, sel.order_of(method, given_samples, arms(), seed=1))


@pytest.mark.parametrize("method", ["random", "mcdue"])
def test_another_seed_draws_otherwise(method: sel.Method) -> None:
    """Of the two methods that draw."""
    orders = [sel.order_of(method, samples(40), arms(), seed=seed).tolist() for seed in (1, 2)]
    assert orders[0] != orders[1]


@given(arrays(np.float64, (9, 3), elements=st.floats(-5, 5)))
def test_gsx_never_takes_a_nearer_row(points: np.ndarray) -> None:
    """Each row taken is at least as far from those before it as any row taken later."""
    order = sel.gsx(points)
    assert sorted(order.tolist()) == list(range(9))
    for k in range(1, 9):
        to_taken = np.linalg.norm(points[order[k:], None] - points[order[:k]], axis=2).min(axis=1)
        assert to_taken[0] == to_taken.max()


@given(arrays(np.float64, (6, 3), elements=st.floats(-5, 5)), st.floats(-9, 9))
def test_z_scores_ignore_shift(points: np.ndarray, shift: float) -> None:
    """Mean 0, deviation 1 or 0, wherever the data lie."""
    found = sel.z_scored(np.round(points, 3) + shift)
    assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    assert_allclose(found, sel.z_scored(np.round(points, 3)), atol=1e-5)
