"""The figures of the comparison, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from models.personal import metrics as m


def test_restricted_to_a_persons_classes() -> None:
    """0.2 and 0.6 of the allowed ones become 0.25 and 0.75; what has none of them gets equal shares."""
    classes = np.array([True, False, True, False, False, False, False])
    p = np.array([[0.2, 0.1, 0.6, 0.1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]])
    found = m.restricted(p, classes)
    assert_allclose(found[:, [0, 2]], [[0.25, 0.75], [0.5, 0.5]], atol=1e-9)
    assert found[:, ~classes].sum() == 0


def test_scores_worked_by_hand() -> None:
    """Truth 3 3 3 6, answers 3 3 6 6.

    Recall of 3 is 2/3, of 6 is 1: UAR 5/6. F1 of 3: 4 / 5, of 6: 2 / 3, mean 11/15. Accuracy 3/4. The probabilities of 3
    are 0.9, 0.8, 0.4 against 0.3: all three pairs in order, for 6 as well: area 1.
    """
    p = np.zeros((4, 7))
    p[:, 3] = [0.9, 0.8, 0.4, 0.3]
    p[:, 6] = 1 - p[:, 3]
    found = m.scores(np.array([3, 3, 3, 6]), p)
    assert_allclose((found.uar, found.f1, found.accuracy, found.auc), (5 / 6, 11 / 15, 3 / 4, 1))
    assert found.n == 4


def test_area_under_roc_worked_by_hand() -> None:
    """Class 0 has 0.5 and 0.2, the rest 0.3 and 0.5: pairs won 0.5 + 1 + 0 + 0 of 4; class 1 the same by symmetry."""
    p = np.zeros((4, 7))
    p[:, 0] = [0.5, 0.2, 0.3, 0.5]
    p[:, 1] = 1 - p[:, 0]
    truth = np.array([0, 0, 1, 1])
    assert_allclose(m.area_under_roc(truth, p), 1.5 / 4)
    assert np.isnan(m.area_under_roc(truth[:2], p[:2]))
    assert np.isnan(m.area_under_roc(truth[:0], p[:0]))


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [
        (0, 0, 1.0),
        # Two of 2^5: 1/32 each side.
        (5, 0, 2 / 32),
        # (1 + 6) / 2^6 each side.
        (1, 5, 14 / 64),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_worked_by_hand(won: int, lost: int, p: float) -> None:
    """The binomial tail, twice."""
    assert_allclose(m.mcnemar_p(won, lost), p)
    assert_allclose(m.mcnemar_p(lost, won), p)


def test_errors_of_values_worked_by_hand() -> None:
    """Truth 0, 1, 2 and 1, 1, 4: errors 1, 0, 2, so the root of 5/3.

    Means 1 and 2, variances 2/3 and 2, covariance (1 x 1 + 0 + 1 x 2) / 3 = 1: 2 / (2/3 + 2 + 1) = 6/11.
    """
    truth, said = np.array([0.0, 1, 2]), np.array([1.0, 1, 4])
    assert_allclose(m.root_mean_square_error(truth, said), np.sqrt(5 / 3))
    assert_allclose(m.concordance(truth, said), 6 / 11)
    assert_allclose(m.concordance(truth, truth), 1)


def test_nothing_to_measure() -> None:
    """No rows, and two constants alike: not a number; constants apart: no concordance."""
    none, one = np.zeros(0), np.ones(3)
    assert np.isnan([m.root_mean_square_error(none, none), m.concordance(none, none), m.concordance(one, one)]).all()
    assert m.concordance(one, 2 * one) == 0


def test_intervals_over_people() -> None:
    """All alike: the interval is that value; one person says nothing of others."""
    assert_allclose(m.mean_interval(np.full(5, 0.1), seed=0), (0.1, 0.1))
    assert np.isnan(m.mean_interval(np.ones(1), seed=0)).all()
    low, high = m.mean_interval(np.array([0.0, 1.0]), seed=0)
    assert (low, high) == (0, 1)


def test_interval_of_one_persons_gain() -> None:
    """Personal right everywhere, generic nowhere: a gain of 1 however groups are drawn; of one group nothing is known."""
    truth, group = np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"])
    assert_allclose(m.uar_gain_interval(truth, 1 - truth, truth, group, seed=0), (1, 1))
    assert np.isnan(m.uar_gain_interval(truth, truth, truth, np.full(4, "a"), seed=0)).all()


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_a_probability(won: int, lost: int) -> None:
    """Whatever the counts."""
    assert 0 < m.mcnemar_p(won, lost) <= 1
