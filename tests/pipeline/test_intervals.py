"""Intervals against what theory says of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pipeline import intervals, metrics

NONE = np.zeros(0, dtype=np.bool_)


def test_accuracy() -> None:
    """For 400 outcomes of which 300 are right, about 0.75 -+ 1.96 * sqrt(0.75 * 0.25 / 400) = 0.708 to 0.792."""
    correct = np.arange(400) < 300
    found = intervals.accuracy_ci95(correct, seed=1)
    assert_allclose(found, [0.708, 0.792], atol=0.006)
    assert intervals.accuracy_ci95(correct, seed=1) == found


def test_accuracy_of_always_and_never() -> None:
    """Wilson at 10 of 10: 10 / (10 + 1.96^2) = 0.7225 to 1, and the mirror image at 0 of 10."""
    assert_allclose(intervals.accuracy_ci95(np.ones(10, dtype=np.bool_), seed=1), [0.7225, 1], atol=1e-4)
    assert_allclose(intervals.accuracy_ci95(np.zeros(10, dtype=np.bool_), seed=1), [0, 0.2775], atol=1e-4)


def test_mean() -> None:
    """For 400 values of standard deviation 2, about 5 -+ 1.96 * 2 / sqrt(400) = 4.804 to 5.196."""
    values = np.where(np.arange(400) % 2 == 0, 3.0, 7.0)
    found = intervals.mean_ci95(values, seed=1)
    assert_allclose(found, [4.804, 5.196], atol=0.02)
    assert intervals.mean_ci95(values, seed=1) == found


def test_mean_is_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many faces are drawn at a time, there are as many resamples; the last part may be smaller."""
    monkeypatch.setattr(intervals, "_AT_A_TIME", 35)
    parts = list(intervals._draws(10, seed=0, n_resamples=8))
    assert [rows.shape for rows in parts] == [(3, 10), (3, 10), (2, 10)]
    monkeypatch.setattr(intervals, "_AT_A_TIME", 5)
    assert [rows.shape for rows in intervals._draws(10, seed=0, n_resamples=2)] == [(1, 10), (1, 10)]


def test_paired_difference() -> None:
    """60 won and 40 lost of 1000: 0.02 -+ 1.96 * sqrt((0.06 + 0.04 - 0.02^2) / 1000) = 0.0004 to 0.0396."""
    found = intervals.paired_difference_ci95(60, 40, 1000, seed=1)
    assert_allclose(found, [0.0004, 0.0396], atol=0.003)
    assert intervals.paired_difference_ci95(0, 0, 50, seed=1) == (0, 0)


def test_recall_and_f1() -> None:
    """Two classes of 200, recalls 0.8 and 0.6: 0.7 -+ 1.96 * sqrt((0.8 * 0.2 + 0.6 * 0.4) / 200) / 2 = 0.656, 0.744."""
    table = np.array([[160, 40], [80, 120]])
    recall, f1 = intervals.recall_and_f1_ci95(table, seed=1)
    assert_allclose(recall, [0.656, 0.744], atol=0.006)
    # 2 * 160 / (240 + 200) and 2 * 120 / (160 + 200), whose mean is 0.697.
    assert f1[0] < metrics.macro_f1(table) < f1[1]
    assert f1[1] - f1[0] == pytest.approx(recall[1] - recall[0], rel=0.15)


def test_a_class_that_a_resample_lacks_is_left_out_of_its_mean() -> None:
    """One face of class 0, always found, and 9 of class 1, never: the mean is 1/2 with class 0 and 0 without it."""
    recall, _ = intervals.recall_and_f1_ci95(np.array([[1, 0], [9, 0]]), seed=1)
    assert recall == (0, 1 / 2)


def test_calibration_error() -> None:
    """Ten points too sure everywhere, 4000 faces: about 0.1 -+ 1.96 * sqrt(0.25 / 4000) = 0.085 to 0.115."""
    confidence = np.linspace(0.55, 0.65, 4000)
    correct = np.arange(4000) % 2 == 0
    low, high = intervals.calibration_error_ci95(correct, confidence, seed=1)
    assert_allclose([low, high], [0.085, 0.115], atol=0.006)


def test_calibration_error_of_ties_is_as_unsure_as_of_others() -> None:
    """All equally sure, 0.6 of 0.5 in 4000 faces: the same interval, in whatever order the faces come."""
    correct = np.arange(4000) % 2 == 0
    for outcomes in (correct, np.sort(correct)):
        found = intervals.calibration_error_ci95(outcomes, np.full(4000, 0.6), seed=1)
        assert_allclose(found, [0.085, 0.115], atol=0.006)


def test_calibration_error_does_not_count_what_resampling_adds() -> None:
    """As sure as right but for chance: resamples are further off than the faces, the interval is not."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 1000)
    correct = rng.random(1000) < confidence
    found = metrics.expected_calibration_error(correct, confidence)
    low, high = intervals.calibration_error_ci95(correct, confidence, seed=1)
    assert 0 <= low < found <= high < found + 0.015


def test_of_nothing_is_unknown() -> None:
    """Without faces no interval has ends."""
    of_table = intervals.recall_and_f1_ci95(np.zeros((7, 7), dtype=np.int64), seed=1)
    assert np.isnan(of_table).all()
    for interval in (
        intervals.accuracy_ci95(NONE, seed=1),
        intervals.mean_ci95(np.zeros(0), seed=1),
        intervals.paired_difference_ci95(0, 0, 0, seed=1),
        intervals.calibration_error_ci95(NONE, np.zeros(0), seed=1),
    ):
        assert np.isnan(interval).all()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40), st.integers(0, 5))
def test_an_error_lies_in_its_interval(rows: list[tuple[bool, float]], seed: int) -> None:
    """Whatever the predictions: 0 <= low <= calibration error <= high."""
    correct, confidence = (np.array(column) for column in zip(*rows, strict=True))
    found = metrics.expected_calibration_error(correct, confidence)
    low, high = intervals.calibration_error_ci95(correct, confidence, seed=seed, n_resamples=20)
    assert 0 <= low <= found + 1e-12
    assert found <= high + 1e-12
