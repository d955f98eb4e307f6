"""Agreement of raters and models: worked examples from the literature, and what must hold for all labels."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agreement import (
    MIN_BLOCKS,
    NO_LABEL,
    average_recall,
    block_accuracy_ci95,
    block_ci95,
    block_sums,
    cohen_kappa,
    exclusive,
    fleiss_kappa,
    fleiss_totals,
    outcomes,
    pair_blocks,
    share_right,
    two_judge_truth,
)
from pipeline.emotions import F64
from pipeline.metrics import I64, accuracy, complementarity, confusion, unweighted_average_recall

K: Final = 3
LABELS = st.lists(st.tuples(st.integers(-1, K - 1), st.integers(-1, K - 1)), max_size=40)
VOTES = st.lists(st.lists(st.integers(0, 4), min_size=K, max_size=K), max_size=30)

COHEN_1960: Final = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
"""Cohen 1960: 200 patients, personality disorder, neurosis, psychosis."""

FLEISS_1971: Final = np.array(
    [
        [0, 0, 0, 6, 0],
        [0, 3, 0, 0, 3],
        [0, 1, 4, 0, 1],
        [0, 0, 0, 0, 6],
        [0, 3, 0, 3, 0],
        [2, 0, 4, 0, 0],
        [0, 0, 4, 0, 2],
        [2, 0, 3, 1, 0],
        [2, 0, 0, 4, 0],
        [0, 0, 0, 0, 6],
        [1, 0, 0, 5, 0],
        [1, 1, 0, 4, 0],
        [0, 3, 3, 0, 0],
        [1, 0, 0, 5, 0],
        [0, 2, 0, 3, 1],
        [0, 0, 5, 0, 1],
        [3, 0, 0, 1, 2],
        [5, 1, 0, 0, 0],
        [0, 2, 0, 4, 0],
        [1, 0, 2, 0, 3],
        [0, 0, 0, 0, 6],
        [0, 1, 0, 5, 0],
        [0, 2, 0, 1, 3],
        [2, 0, 0, 4, 0],
        [1, 0, 0, 4, 1],
        [0, 5, 0, 1, 0],
        [4, 0, 0, 0, 2],
        [0, 2, 0, 4, 0],
        [1, 0, 5, 0, 0],
        [0, 0, 0, 0, 6],
    ]
)
"""Fleiss 1971, Table 1: 30 patients, six psychiatrists, five diagnoses."""


def _votes(rows: list[list[int]]) -> I64:
    """(n, K) counts."""
    return np.array(rows, dtype=np.int64).reshape(-1, K)


def _pairs(rows: list[tuple[int, int]]) -> tuple[I64, I64]:
    """Two raters' (n,) labels."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _table(first: I64, second: I64) -> F64:
    """(K, K) counts of all pairs."""
    return np.asarray(pair_blocks(first, second, np.arange(len(first)), n_classes=K).sum(axis=0))


def test_cohens_own_example() -> None:
    """Observed 140/200 = 0.70, by chance 0.6 * 0.5 + 0.3 * 0.3 + 0.1 * 0.2 = 0.41: (0.70 - 0.41) / 0.59 = 0.4915."""
    assert cohen_kappa(COHEN_1960) == pytest.approx(0.29 / 0.59)


def test_fleiss_own_example() -> None:
    """Mean agreement 0.5556, by chance 0.2199 of shares .144 .144 .167 .306 .239: 0.3357 / 0.7801 = 0.430."""
    totals = fleiss_totals(FLEISS_1971).sum(axis=0)
    assert totals[2:].tolist() == [26, 26, 30, 55, 43]
    assert totals[1] / totals[0] == pytest.approx(0.5556, abs=5e-5)
    assert fleiss_kappa(totals) == pytest.approx(0.430, abs=5e-4)


def test_fleiss_counts_items_by_their_own_raters() -> None:
    """Items of 3, 2 and 1 votes: 2/6 and 1 agree, the third says nothing.

    Shares of the five votes that count: 2 + 2 of the first label, 1 of the second: chance (16 + 1) / 25 = 0.68; observed
    (1/3 + 1) / 2 = 2/3; kappa = (2/3 - 0.68) / 0.32 = -1/24.
    """
    totals = fleiss_totals(_votes([[2, 1, 0], [2, 0, 0], [0, 0, 1]]))
    assert totals[2].tolist() == [0] * 5
    assert fleiss_kappa(totals.sum(axis=0)) == pytest.approx(-1 / 24)


def test_two_judges_make_a_truth() -> None:
    """Two of three, two of two, three of four; not one alone, three different ones, two against two, or nobody."""
    votes = _votes([[2, 1, 0], [0, 0, 2], [1, 3, 0], [1, 0, 0], [1, 1, 1], [2, 2, 0], [0, 0, 0]])
    assert two_judge_truth(votes).tolist() == [0, 2, 1] + [NO_LABEL] * 4
    assert two_judge_truth(_votes([])).tolist() == []


def test_table_one_of_the_group_paper() -> None:
    """The deepfake's counts, 12 both, 20 image only, 16 landmark only: 20/48 = 42 % and 16/48 = 33 % exclusive."""
    totals = np.array([12, 20, 16, 4])
    assert exclusive(totals, 0) == pytest.approx(20 / 48)
    assert exclusive(totals, 1) == pytest.approx(16 / 48)
    assert np.isnan(exclusive(np.array([0, 0, 0, 4]), 0))


def test_pairs_without_a_label_count_for_nothing() -> None:
    """Of four pairs two have both labels: one agrees."""
    seconds = np.array([3, 9, 3, 50])
    tables = pair_blocks(*_pairs([(0, 0), (1, 2), (-1, 1), (2, -1)]), seconds, n_classes=K)
    assert tables.tolist() == [[[1, 0, 0], [0, 0, 1], [0, 0, 0]]]


def test_blocks_are_of_time_and_hold_everybody() -> None:
    """Seconds 0, 9 of two people make one block, 10 and 25 a second and a third; a block of zeros is left out."""
    seconds = np.array([0, 25, 9, 10, 31])
    blocks = block_sums(np.array([[1.0], [2], [4], [8], [0]]), seconds, block_s=10)
    assert blocks.tolist() == [[5], [8], [2]]
    assert block_sums(np.zeros((0, K)), np.zeros(0, dtype=np.int64)).shape == (0, K)


def test_interval_of_a_mean_is_that_of_the_blocks() -> None:
    """Ten blocks half right: the share of a resample is binomial(10, 0.5) / 10, percentiles 2 and 8 of 10."""
    tables = np.array([[[1.0, 0], [0, 0]], [[0, 1.0], [0, 0]]] * 5)
    low, high = block_ci95(tables, share_right, seed=1)
    assert (low, high) == pytest.approx((0.2, 0.8))
    assert block_ci95(tables, share_right, seed=1) == (low, high)


def test_blocks_are_drawn_in_parts_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and all resamples are counted."""
    monkeypatch.setattr("pipeline.agreement._AT_A_TIME", 30)
    tables = np.array([[[1.0, 0], [0, 0]], [[0, 1.0], [0, 0]]] * 5)
    sizes: list[int] = []

    def figure(tables: F64) -> F64:
        sizes.append(len(tables))
        return share_right(tables)

    block_ci95(tables, figure, seed=1, n_resamples=200)
    assert (sum(sizes), max(sizes)) == (200, 3)


def test_no_interval_without_spread_or_blocks() -> None:
    """Too few blocks, resamples all alike, or mostly without the figure: unknown rather than certain."""
    one = np.array([[[1.0, 0], [0, 0]]])
    assert np.isnan(block_ci95(np.repeat(one, MIN_BLOCKS - 1, axis=0), share_right, seed=0)).all()
    assert np.isnan(block_ci95(np.repeat(one, 9, axis=0), share_right, seed=0)).all()
    assert np.isnan(block_ci95(np.repeat(one, 9, axis=0), cohen_kappa, seed=0)).all()


def test_all_right_is_not_certain() -> None:
    """Eight blocks, all right: Wilson, 8 / (8 + 1.96²) = 0.676; none right is its mirror image."""
    right = np.repeat(np.array([[[3.0, 0], [0, 2]]]), 8, axis=0)
    assert block_accuracy_ci95(right, seed=0) == pytest.approx((0.6756, 1.0), abs=1e-4)
    assert block_accuracy_ci95(right[:, ::-1], seed=0) == pytest.approx((0.0, 0.3244), abs=1e-4)
    low, high = block_accuracy_ci95(np.concatenate([right, right[:, ::-1]]), seed=0)
    assert 0 < low < 0.5 < high < 1
    assert np.isnan(block_accuracy_ci95(right[:2], seed=0)).all()


def test_kappa_of_one_label_only_is_unknown() -> None:
    """Chance agrees always then; nothing was labelled is unknown too."""
    assert np.isnan(cohen_kappa(np.array([[[9, 0], [0, 0]], [[0, 0], [0, 0]]]))).all()
    assert np.isnan(fleiss_kappa(fleiss_totals(_votes([[3, 0, 0]])).sum(axis=0)))
    assert np.isnan(fleiss_kappa(fleiss_totals(_votes([])).sum(axis=0)))
    assert np.isnan(share_right(np.zeros((K, K))))


@given(LABELS)
def test_kappa_is_bounded_symmetric_and_blind_to_names(rows: list[tuple[int, int]]) -> None:
    """It lies in [-1, 1], does not care who is first or what the classes are called, and is 1 for the same labels."""
    first, second = _pairs(rows)
    table = _table(first, second)
    kappa = cohen_kappa(table)
    np.testing.assert_allclose(cohen_kappa(table.T), kappa)
    np.testing.assert_allclose(cohen_kappa(table[::-1, ::-1]), kappa, atol=1e-12)
    assert np.isnan(kappa) or -1 <= kappa <= 1
    alike = cohen_kappa(_table(first, first))
    assert np.isnan(alike) or alike == pytest.approx(1)


@given(LABELS)
def test_figures_of_sums_are_those_of_the_metrics(rows: list[tuple[int, int]]) -> None:
    """Accuracy, UAR and complementarity of added-up counts are those of `pipeline.metrics`."""
    first, second = _pairs(rows)
    known = (first >= 0) & (second >= 0)
    table = confusion(first[known], second[known], n_classes=K)
    added = _table(first, second)
    assert added.tolist() == table.tolist()
    np.testing.assert_allclose(share_right(added), accuracy(table))
    np.testing.assert_allclose(average_recall(added), unweighted_average_recall(table))
    a, b = first > 0, second > 0
    found = complementarity(a, b)
    totals = outcomes(a, b).sum(axis=0)
    assert totals.tolist() == [found.both_right, found.only_a, found.only_b, found.none_right]
    np.testing.assert_allclose(exclusive(totals, 0), found.exclusive_a)
    np.testing.assert_allclose(exclusive(totals, 1), found.exclusive_b)


@given(VOTES)
def test_fleiss_kappa_does_not_depend_on_order(rows: list[list[int]]) -> None:
    """Neither that of items nor that of labels; it is at most 1, and 1 where all pairs agree on several labels."""
    votes = _votes(rows)
    kappa = fleiss_kappa(fleiss_totals(votes).sum(axis=0))
    np.testing.assert_allclose(fleiss_kappa(fleiss_totals(votes[::-1, ::-1]).sum(axis=0)), kappa, atol=1e-12)
    assert np.isnan(kappa) or kappa <= 1 + 1e-12
    agreed = fleiss_kappa(fleiss_totals(3 * np.eye(K, dtype=np.int64)).sum(axis=0))
    assert agreed == pytest.approx(1)


@given(VOTES)
def test_truth_has_two_judges(rows: list[list[int]]) -> None:
    """Where there is a truth, two gave it, and nobody's label has as many votes."""
    votes = _votes(rows)
    for vote, label in zip(votes, two_judge_truth(votes), strict=True):
        others = np.delete(vote, label) if label >= 0 else vote
        assert label == NO_LABEL or vote[label] >= 2
        assert label == NO_LABEL or others.max() < vote[label]


@given(VOTES, st.integers(1, 20))
def test_blocks_lose_nothing(rows: list[list[int]], block_s: int) -> None:
    """Whatever the length of a block, the sum over blocks is the sum over items."""
    votes = _votes(rows)
    seconds = np.arange(len(votes))
    assert block_sums(votes, seconds, block_s=block_s).sum(axis=0).tolist() == votes.sum(axis=0).tolist()
