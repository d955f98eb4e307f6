"""Metrics worked by hand."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pipeline import metrics

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 3, 2])
TABLE = np.array([[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
EMPTY = np.zeros((4, 4), dtype=np.int64)


def test_confusion_counts_truth_in_rows() -> None:
    """Cell (t, p) is how often class t was taken for class p."""
    assert metrics.confusion(TRUTH, PREDICTED, n_classes=4).tolist() == TABLE.tolist()


def test_confusion_of_nothing_is_zero() -> None:
    """No rows make an empty table."""
    none = np.zeros(0, dtype=np.int64)
    assert metrics.confusion(none, none, n_classes=4).tolist() == EMPTY.tolist()


@pytest.mark.parametrize(("truth", "predicted"), [([4], [0]), ([0], [-1])])
def test_confusion_refuses_classes_there_are_not(truth: list[int], predicted: list[int]) -> None:
    """A class outside the table is not counted somewhere else."""
    with pytest.raises(ValueError, match="expected classes 0 to 3"):
        metrics.confusion(np.array(truth), np.array(predicted), n_classes=4)


def test_confusion_refuses_other_shapes() -> None:
    """Truth and prediction go together row by row."""
    with pytest.raises(ValueError, match=r"found \(6,\) and \(5,\)"):
        metrics.confusion(TRUTH, PREDICTED[:5], n_classes=4)


def test_accuracy() -> None:
    """4 of 6 are right."""
    assert metrics.accuracy(TABLE) == pytest.approx(4 / 6)
    assert np.isnan(metrics.accuracy(EMPTY))


def test_recalls() -> None:
    """2 of 3, 1 of 2, 1 of 1; the fourth class never was the truth and does not count in the mean."""
    assert_allclose(metrics.recalls(TABLE), [2 / 3, 1 / 2, 1, np.nan])
    assert metrics.unweighted_average_recall(TABLE) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert np.isnan(metrics.unweighted_average_recall(EMPTY))


def test_f1() -> None:
    """2 TP over predicted plus true: 4/5, 2/4, 2/2, 0/1; the mean is over the three classes of the truth."""
    assert_allclose(metrics.f1_scores(TABLE), [4 / 5, 2 / 4, 1, 0])
    assert metrics.macro_f1(TABLE) == pytest.approx((4 / 5 + 2 / 4 + 1) / 3)
    assert np.isnan(metrics.f1_scores(EMPTY)).all()
    assert np.isnan(metrics.macro_f1(EMPTY))


def test_log_loss() -> None:
    """(ln 2 + ln 4) / 2; certainty of the wrong class costs -ln 1e-12 and not infinity."""
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25]])
    assert metrics.log_loss(np.array([0, 1]), probabilities) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert metrics.log_loss(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(12 * np.log(10))
    assert np.isnan(metrics.log_loss(np.zeros(0, dtype=np.int64), np.zeros((0, 2))))


def test_calibration_error() -> None:
    """Two bins of two: hits 1 of confidence 0.3 + 0.5, hits 1 of 0.8 + 0.9: (|1 - 0.8| + |1 - 1.7|) / 4."""
    correct, confidence = np.array([True, False, True, False]), np.array([0.9, 0.3, 0.5, 0.8])
    assert metrics.expected_calibration_error(correct, confidence, n_bins=2) == pytest.approx((0.2 + 0.7) / 4)
    assert np.isnan(metrics.expected_calibration_error(correct[:0], confidence[:0]))


def test_calibration_error_with_fewer_rows_than_bins() -> None:
    """Empty bins add nothing: one sure mistake is off by its confidence."""
    assert metrics.expected_calibration_error(np.array([False]), np.array([0.75])) == pytest.approx(0.75)


def test_calibration_error_of_ties() -> None:
    """Three of 0.5, one right, and a right 0.9, in two bins: (|1/3 + 1/3 - 1| + |1/3 + 1 - 1.4|) / 4, in any order."""
    confidence = np.array([0.5, 0.5, 0.5, 0.9])
    for right in range(3):
        correct = np.isin(np.arange(4), [right, 3])
        found = metrics.expected_calibration_error(correct, confidence, n_bins=2)
        assert found == pytest.approx((1 / 3 + 1 / 15) / 4)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.3, 0.5, 0.9])), min_size=1, max_size=40).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(rows))
    )
)
def test_calibration_error_does_not_depend_on_the_order(orders: tuple[list[tuple[bool, float]], ...]) -> None:
    """However the rows are permuted, and however many are equally sure."""
    one, other = (
        metrics.expected_calibration_error(*(np.array(column) for column in zip(*rows, strict=True))) for rows in orders
    )
    assert one == pytest.approx(other)


def test_bins_of_equal_mass() -> None:
    """Five rows in two bins: the larger one first; confidences 0.1 0.2 0.3 | 0.6 0.8, right 0 1 0 | 1 1."""
    assert metrics.bin_edges(5, 2).tolist() == [0, 3, 5]
    correct, confidence = np.array([True, True, False, False, True]), np.array([0.8, 0.2, 0.1, 0.3, 0.6])
    bins = metrics.reliability(correct, confidence, n_bins=2)
    assert_allclose(bins.confidence, [0.2, 0.7])
    assert_allclose(bins.accuracy, [1 / 3, 1])
    assert bins.size.tolist() == [3, 2]


@given(st.integers(0, 60), st.integers(1, 20))
def test_bins_are_those_of_an_even_cut(n: int, n_bins: int) -> None:
    """Every row is in one bin, none is empty, and sizes differ by one at most."""
    edges = metrics.bin_edges(n, n_bins)
    expected = [len(part) for part in np.array_split(np.arange(n), n_bins) if len(part)]
    assert (edges[0], np.diff(edges).tolist()) == (0, expected)


def test_risk_and_coverage() -> None:
    """Surest first: 0.9 right, 0.8 wrong, then two of 0.5 together, one right: risks 0/1, 1/2, 2/4."""
    confidence, correct = np.array([0.5, 0.9, 0.5, 0.8]), np.array([True, True, False, False])
    coverage, risk = metrics.risk_coverage(confidence, correct)
    assert_allclose(coverage, [1 / 4, 2 / 4, 1])
    assert_allclose(risk, [0, 1 / 2, 2 / 4])
    # 1/4 * 0 + 1/4 * 1/2 + 1/2 * 2/4
    assert metrics.area_under_risk(coverage, risk) == pytest.approx(3 / 8)


def test_risk_of_nothing_is_unknown() -> None:
    """Without a prediction there is no point and no area."""
    coverage, risk = metrics.risk_coverage(np.zeros(0), np.zeros(0, dtype=np.bool_))
    assert (len(coverage), len(risk)) == (0, 0)
    assert np.isnan(metrics.area_under_risk(coverage, risk))


OUTCOMES = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.7, 0.9]), st.booleans(), st.booleans()), min_size=1)


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_order_of_faces_does_not_matter(rows: list[tuple[float, bool, bool]], random: Random) -> None:
    """Risk, coverage and complementarity are the same for the same faces in another order."""
    confidence, a_right, b_right = (np.array(column) for column in zip(*rows, strict=True))
    mixed = np.array(random.sample(range(len(rows)), len(rows)))
    for before, after in zip(
        metrics.risk_coverage(confidence, a_right),
        metrics.risk_coverage(confidence[mixed], a_right[mixed]),
        strict=True,
    ):
        assert_allclose(before, after)
    assert metrics.complementarity(a_right, b_right) == metrics.complementarity(a_right[mixed], b_right[mixed])


@given(OUTCOMES)
def test_all_answers_given_risk_all_mistakes(rows: list[tuple[float, bool, bool]]) -> None:
    """Coverage rises to 1, where the risk is 1 - accuracy; the area lies between the smallest and largest risk."""
    confidence, correct, _ = (np.array(column) for column in zip(*rows, strict=True))
    coverage, risk = metrics.risk_coverage(confidence, correct)
    assert (np.diff(coverage) > 0).all()
    assert (coverage[-1], risk[-1]) == (1, pytest.approx(1 - correct.mean()))
    assert risk.min() - 1e-9 <= metrics.area_under_risk(coverage, risk) <= risk.max() + 1e-9


def test_complementarity() -> None:
    """Six faces: both right 2, only A 1, only B 2, none 1; exclusive A 1/5, exclusive B 2/5."""
    a_right = np.array([True, True, True, False, False, False])
    b_right = np.array([True, True, False, True, True, False])
    found = metrics.complementarity(a_right, b_right)
    assert (found.both_right, found.only_a, found.only_b, found.none_right, found.n) == (2, 1, 2, 1, 6)
    assert (found.exclusive_a, found.exclusive_b) == (1 / 5, 2 / 5)


@pytest.mark.parametrize("outcomes", [[], [False, False]])
def test_complementarity_of_models_that_are_never_right(outcomes: list[bool]) -> None:
    """What is exclusive of nothing is not known."""
    none = np.array(outcomes, dtype=np.bool_)
    found = metrics.complementarity(none, none)
    assert np.isnan([found.exclusive_a, found.exclusive_b]).all()


def test_complementarity_refuses_other_shapes() -> None:
    """Outcomes go together face by face."""
    with pytest.raises(ValueError, match=r"found \(2,\) and \(3,\)"):
        metrics.complementarity(np.ones(2, dtype=np.bool_), np.ones(3, dtype=np.bool_))


@given(OUTCOMES)
def test_complementarity_counts_every_face_once(rows: list[tuple[float, bool, bool]]) -> None:
    """The four shares sum to one, and changing the models' places changes only names."""
    _, a_right, b_right = (np.array(column) for column in zip(*rows, strict=True))
    found, turned = metrics.complementarity(a_right, b_right), metrics.complementarity(b_right, a_right)
    shares = [count / found.n for count in (found.both_right, found.only_a, found.only_b, found.none_right)]
    assert sum(shares) == pytest.approx(1)
    assert found.n == len(rows)
    assert (found.only_a, found.only_b) == (turned.only_b, turned.only_a)


def test_many_tables_at_once() -> None:
    """Recall, F1 and their means of a stack of tables are those of each; an empty one has none."""
    stack = np.stack([TABLE, TABLE.T, EMPTY])
    for figure in (metrics.recalls, metrics.f1_scores):
        assert_allclose(figure(stack), [figure(table) for table in stack])
        found = metrics.over_present(figure(stack), stack)
        assert_allclose(found, [metrics.over_present(figure(table), table) for table in stack])
        assert np.isnan(found[2])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
def test_figures_stay_in_range(pairs: list[tuple[int, int]]) -> None:
    """The table counts every row once, and accuracy, recall and F1 lie in [0, 1]."""
    truth, predicted = np.array(pairs).T
    table = metrics.confusion(truth, predicted, n_classes=4)
    assert table.sum() == len(pairs)
    assert metrics.accuracy(table) == pytest.approx((truth == predicted).mean())
    for value in (metrics.unweighted_average_recall(table), metrics.macro_f1(table)):
        assert 0 <= value <= 1
