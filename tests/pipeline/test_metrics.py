"""Metrics worked by hand."""

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


def test_bootstrap_interval() -> None:
    """For 400 outcomes of which 300 are right, about 0.75 -+ 1.96 * sqrt(0.75 * 0.25 / 400) = 0.708 to 0.792."""
    correct = np.arange(400) < 300
    low, high = metrics.bootstrap_accuracy_ci95(correct, seed=1)
    assert (low, high) == (pytest.approx(0.708, abs=0.006), pytest.approx(0.792, abs=0.006))
    assert metrics.bootstrap_accuracy_ci95(correct, seed=1) == (low, high)
    assert np.isnan(metrics.bootstrap_accuracy_ci95(correct[:0], seed=1)).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
def test_figures_stay_in_range(pairs: list[tuple[int, int]]) -> None:
    """The table counts every row once, and accuracy, recall and F1 lie in [0, 1]."""
    truth, predicted = np.array(pairs).T
    table = metrics.confusion(truth, predicted, n_classes=4)
    assert table.sum() == len(pairs)
    assert metrics.accuracy(table) == pytest.approx((truth == predicted).mean())
    for value in (metrics.unweighted_average_recall(table), metrics.macro_f1(table)):
        assert 0 <= value <= 1
