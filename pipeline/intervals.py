"""How sure figures are: 95 % intervals by the bootstrap over faces.

Efron 1979, "Bootstrap methods". Each interval is made from the figure of resamples of the faces with replacement, and
the same seed gives the same interval. Where a figure depends on counts alone, the counts of a resample are drawn
directly: those of n draws from n faces are binomial or multinomial.

Faces are taken as independent: where many of them are of one person, intervals are too narrow.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from pipeline.emotions import F64
from pipeline.metrics import I64, N_BINS, Bool, bin_edges, f1_scores, over_present, recalls

N_RESAMPLES: Final = 2000
"""Resamples of an interval."""

_AT_A_TIME: Final = 1_000_000
"""Faces drawn at a time, so that memory does not grow with the data."""

_Z: Final = 1.959964
"""97.5th percentile of the standard normal distribution."""

Interval = tuple[float, float]
_UNKNOWN: Final[Interval] = (float("nan"), float("nan"))


def accuracy_ci95(correct: Bool, *, seed: int, n_resamples: int = N_RESAMPLES) -> Interval:
    """The 2.5th and 97.5th percentile of the share of the (n,) outcomes that are right; nan for n = 0.

    Where all or none are, every resample is like the faces themselves; then the score interval is given (Wilson 1927,
    "Probable inference, the law of succession, and statistical inference"), which depends on n.
    """
    n = len(correct)
    if n == 0:
        return _UNKNOWN
    if correct.all():
        return n / (n + _Z**2), 1.0
    if not correct.any():
        return 0.0, _Z**2 / (n + _Z**2)
    rng = np.random.default_rng(seed)
    return _percentiles(rng.binomial(n, float(correct.mean()), size=n_resamples) / n)


def paired_difference_ci95(won: int, lost: int, n: int, *, seed: int, n_resamples: int = N_RESAMPLES) -> Interval:
    """The same of (won - lost) / n, when of n faces one model alone is right on `won` and the other alone on `lost`."""
    if n == 0:
        return _UNKNOWN
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, [won / n, lost / n, (n - won - lost) / n], size=n_resamples)
    return _percentiles((drawn[:, 0] - drawn[:, 1]) / n)


def recall_and_f1_ci95(table: I64, *, seed: int, n_resamples: int = N_RESAMPLES) -> tuple[Interval, Interval]:
    """The same of the unweighted average recall and of the macro F1 of a (k, k) confusion table.

    Both are means over the classes that the truth of the resample has.
    """
    n = int(table.sum())
    if n == 0:
        return _UNKNOWN, _UNKNOWN
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, table.ravel() / n, size=n_resamples).reshape(-1, *table.shape)
    recall, f1 = over_present(recalls(drawn), drawn), over_present(f1_scores(drawn), drawn)
    return _percentiles(recall), _percentiles(f1)


def mean_ci95(values: F64, *, seed: int, n_resamples: int = N_RESAMPLES) -> Interval:
    """The same of the mean of (n,) values."""
    if len(values) == 0:
        return _UNKNOWN
    means = [values[rows].mean(axis=1) for rows in _draws(len(values), seed, n_resamples)]
    return _percentiles(np.concatenate(means))


def calibration_error_ci95(
    correct: Bool, confidence: F64, *, seed: int, n_bins: int = N_BINS, n_resamples: int = N_RESAMPLES
) -> Interval:
    """The same of the expected calibration error of (n,) predictions, without what resampling adds to it.

    Chance keeps accuracy and confidence apart in every bin, so the error of a resample is larger than that of the
    faces it is drawn from, as theirs is larger than the true one. The percentiles are therefore mirrored at the
    figure e (the basic bootstrap: Davison & Hinkley 1997, "Bootstrap methods and their application", section 5.2):
    2 e - percentile, not below 0, and e itself always belongs to the interval.
    """
    n = len(correct)
    if n == 0:
        return _UNKNOWN
    order = np.argsort(confidence, kind="stable")
    right, sure = correct[order], confidence[order]
    _, tie = np.unique(sure, return_inverse=True)
    first_rows = bin_edges(n, n_bins)[:-1]

    def error(rows: I64) -> F64:
        """(r,) of (r, n) rows, those of each resample in ascending order; equally sure ones as in `reliability`."""
        ties = tie[rows] + n * np.arange(len(rows))[:, None]
        n_tied = np.bincount(ties.ravel())
        share = np.bincount(ties.ravel(), weights=right[rows].ravel()) / np.maximum(n_tied, 1)
        gap = share[ties] - sure[rows]
        return np.asarray(np.abs(np.add.reduceat(gap, first_rows, axis=1)).sum(axis=1) / n)

    found = float(error(np.arange(n)[None])[0])
    drawn = np.concatenate([error(np.sort(rows, axis=1)) for rows in _draws(n, seed, n_resamples)])
    low, high = _percentiles(drawn)
    return max(0.0, min(found, 2 * found - high)), max(found, 2 * found - low)


def _draws(n: int, seed: int, n_resamples: int) -> Iterator[I64]:
    """Rows of each resample, (r, n) at a time."""
    rng = np.random.default_rng(seed)
    at_a_time = max(1, _AT_A_TIME // n)
    for start in range(0, n_resamples, at_a_time):
        yield rng.integers(0, n, size=(min(at_a_time, n_resamples - start), n))


def _percentiles(values: F64) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
