"""How far raters agree with each other and with a model, and how sure that is (GROUP, section 3).

Every figure is computed from counts that can be added up: tables of pairs of labels, and of votes. So a resample of the
bootstrap is a sum of counts, and all resamples are computed at once: functions take (..., k, k) tables.

Seconds that follow each other are alike, and so are the people of one call. Whoever draws single seconds with
replacement (`pipeline.intervals`) would count one smile of ten seconds as ten proofs. Here blocks of time are drawn, with
everybody who was labelled in them: Carlstein 1986, "The use of subseries values for estimating the variance of a general
statistic from a stationary sequence", Annals of Statistics 14, 1171-1179; Davison & Hinkley 1997, section 8.2.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from pipeline.emotions import F64
from pipeline.intervals import N_RESAMPLES, Interval, accuracy_ci95
from pipeline.metrics import I64, Bool, over_present, recalls

Counts = F64 | I64
"""Whole numbers, or sums of them."""
NO_LABEL: Final = -1
"""Stands for a class where there is none."""
BLOCK_S: Final = 10
"""Length of a block of time in seconds: an expression seldom lasts longer."""
MIN_BLOCKS: Final = 5
"""With fewer blocks than this nothing can be said about the spread."""
MIN_JUDGES: Final = 2
"""So many raters must give a label for it to be the truth."""
UNKNOWN: Final[Interval] = (float("nan"), float("nan"))

_AT_A_TIME: Final = 4_000_000
"""Draws of blocks at a time, so that memory does not grow with the length of a call."""


def two_judge_truth(votes: I64) -> I64:
    """(n,) class that at least two raters gave each item, -1 where there is none.

    Args:
        votes: (n, k) how many raters gave item n the label k. Where two labels tie, as can happen from four raters on,
            there is no truth either. GROUP, section 3: "at least two of the three evaluators classified it as such".
    """
    most = votes.max(axis=1, initial=0)
    is_clear = (votes == most[:, None]).sum(axis=1) == 1
    return np.where((most >= MIN_JUDGES) & is_clear, votes.argmax(axis=1), NO_LABEL).astype(np.int64)


def cohen_kappa(tables: Counts) -> F64:
    """(...) agreement of two raters beyond chance, in [-1, 1], of (..., k, k) tables of their pairs of labels.

    kappa = (p_o - p_e) / (1 - p_e), p_o the share on the diagonal, p_e that expected of independent raters with the same
    margins; nan for an empty table, and where both only ever gave one and the same label. Cohen 1960, "A coefficient of
    agreement for nominal scales", Educational and Psychological Measurement 20, 37-46.
    """
    counts = tables.astype(np.float64)
    total = counts.sum(axis=(-2, -1))
    observed = _ratio(np.trace(counts, axis1=-2, axis2=-1), total)
    expected = _ratio((counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1), total**2)
    return _beyond_chance(observed, expected)


def fleiss_totals(votes: I64) -> F64:
    """(n, k + 2) what each item adds to Fleiss' kappa: 1, the share of its pairs of raters who agree, its votes.

    Zeros for an item with fewer than two of the (n, k) votes: it says nothing about agreement.
    """
    n_raters = votes.sum(axis=1)
    counts = n_raters >= MIN_JUDGES
    agreeing = (votes * (votes - 1)).sum(axis=1)
    share = _ratio(agreeing.astype(np.float64), (n_raters * (n_raters - 1)).astype(np.float64))
    columns = np.column_stack([np.ones(len(votes)), np.where(counts, share, 0.0), votes])
    return np.asarray(columns * counts[:, None])


def fleiss_kappa(totals: F64) -> F64:
    """(...) agreement of several raters beyond chance, of (..., k + 2) sums of `fleiss_totals`.

    nan where no item has two votes, and where only one label was ever given. With the same number of raters for every
    item it is Fleiss 1971, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76, 378-382;
    with differing numbers each item counts once, with the pairs of those raters it has.
    """
    observed = _ratio(totals[..., 1], totals[..., 0])
    n_votes = totals[..., 2:].sum(axis=-1)
    expected = _ratio((totals[..., 2:] ** 2).sum(axis=-1), n_votes**2)
    return _beyond_chance(observed, expected)


def share_right(tables: Counts) -> F64:
    """(...) share on the diagonal of (..., k, k) tables; nan for empty ones."""
    counts = tables.astype(np.float64)
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def average_recall(tables: Counts) -> F64:
    """(...) mean recall over the classes that the truth of (..., k, k) tables has, rows the truth; nan for none."""
    counts = tables.astype(np.int64)
    return over_present(recalls(counts), counts)


def outcomes(a_right: Bool, b_right: Bool) -> I64:
    """(n, 4) one-hot: both models are right, only A, only B, neither; of (n,) outcomes of two models."""
    cells = [a_right & b_right, a_right & ~b_right, ~a_right & b_right, ~a_right & ~b_right]
    return np.column_stack(cells).astype(np.int64)


def exclusive(totals: Counts, model: int) -> F64:
    """(...) share of what either model got right that only model 0 or 1 did, of (..., 4) sums of `outcomes`.

    nan where neither ever was. GROUP, Table I, by the definition of the text.
    """
    return _ratio(totals[..., 1 + model].astype(np.float64), totals[..., :3].sum(axis=-1).astype(np.float64))


def pair_blocks(first: I64, second: I64, seconds: I64, *, n_classes: int, block_s: int = BLOCK_S) -> F64:
    """(b, k, k) tables of (n,) pairs of labels in each block of time; pairs with a -1 count for nothing.

    Args:
        first: Labels of one rater, or the truth: rows of the tables.
        second: Labels of the other, or of a model: columns.
        seconds: (n,) when it was, as in `block_sums`.
        n_classes: k.
        block_s: Length of a block in seconds.
    """
    known = (first != NO_LABEL) & (second != NO_LABEL)
    numbers, block = np.unique(seconds[known] // block_s, return_inverse=True)
    tables = np.zeros((len(numbers), n_classes, n_classes))
    np.add.at(tables, (block, first[known], second[known]), 1)
    return tables


def block_sums(values: Counts, seconds: I64, *, block_s: int = BLOCK_S) -> F64:
    """(b, ...) sums of (n, ...) values over blocks of time, of the blocks in which anything differs from 0.

    Args:
        values: What each item adds.
        seconds: (n,) when it was; items of one block stay together, whoever they are of.
        block_s: Length of a block in seconds.
    """
    numbers, block = np.unique(seconds // block_s, return_inverse=True)
    sums = np.zeros((len(numbers), *values.shape[1:]))
    np.add.at(sums, block, values)
    return np.asarray(sums[sums.any(axis=tuple(range(1, sums.ndim)))])


def block_ci95(blocks: F64, figure: Callable[[F64], F64], *, seed: int, n_resamples: int = N_RESAMPLES) -> Interval:
    """The 2.5th and 97.5th percentile of a figure when blocks of time are drawn with replacement.

    Unknown, (nan, nan), where there are fewer than `MIN_BLOCKS` blocks, where more than half of the resamples have no
    such figure, and where all of them give the same: that is how a perfect agreement looks, and it is no certainty.

    Args:
        blocks: (b, ...) sums of each block.
        figure: From (r, ...) sums of resamples to (r,) figures.
        seed: The same seed gives the same interval.
        n_resamples: r in all.
    """
    n = len(blocks)
    if n < MIN_BLOCKS:
        return UNKNOWN
    rng = np.random.default_rng(seed)
    flat = blocks.reshape(n, -1)
    at_a_time = max(1, _AT_A_TIME // n)
    found = []
    for start in range(0, n_resamples, at_a_time):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(at_a_time, n_resamples - start))
        found.append(figure((drawn @ flat).reshape(-1, *blocks.shape[1:])))
    figures = np.concatenate(found)
    known = figures[~np.isnan(figures)]
    if 2 * len(known) < n_resamples:
        return UNKNOWN
    low, high = np.percentile(known, [2.5, 97.5])
    return UNKNOWN if low == high else (float(low), float(high))


def block_accuracy_ci95(blocks: F64, *, seed: int, n_resamples: int = N_RESAMPLES) -> Interval:
    """The same of `share_right` of (b, k, k) tables; where all or none is right, Wilson's interval for b blocks."""
    share = float(share_right(blocks.sum(axis=0)))
    if len(blocks) >= MIN_BLOCKS and share in {0.0, 1.0}:
        return accuracy_ci95(np.full(len(blocks), bool(share)), seed=seed)
    return block_ci95(blocks, share_right, seed=seed, n_resamples=n_resamples)


def _beyond_chance(observed: F64, expected: F64) -> F64:
    """(observed - expected) / (1 - expected); nan where chance alone agrees always."""
    return _ratio(observed - expected, 1 - expected)


def _ratio(part: F64, whole: F64) -> F64:
    """Quotient, nan where the whole is 0 or not known."""
    out = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=out, where=np.asarray(whole) > 0))
