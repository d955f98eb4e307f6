"""By how much a personal model is better than the generic one: the figures of PERSONAL and TRANSFER.

Both are judged on the same rows and among the same classes, those that the person shows (`restricted`).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, rankdata

from pipeline.emotions import F64, N_EMOTIONS
from pipeline.metrics import I64, Bool, accuracy, confusion, macro_f1, unweighted_average_recall

N_RESAMPLES: Final = 2000
_TINY: Final = 1e-12


def restricted(probabilities: F64, classes: Bool) -> F64:
    """(n, 7) shares of the classes that a (7,) mask allows, 0 for the others; equal shares where all of these have none."""
    allowed = np.where(classes, probabilities + _TINY, 0.0)
    return np.asarray(allowed / allowed.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one model on one person: mean over the classes that the truth has, but for accuracy; nan where not defined."""

    f1: float
    uar: float
    auc: float
    accuracy: float
    n: int


def scores(truth: I64, probabilities: F64) -> Scores:
    """The figures of (n, 7) probabilities against (n,) classes."""
    table = confusion(truth, probabilities.argmax(axis=1).astype(np.int64), n_classes=N_EMOTIONS)
    return Scores(
        f1=macro_f1(table),
        uar=unweighted_average_recall(table),
        auc=area_under_roc(truth, probabilities),
        accuracy=accuracy(table),
        n=len(truth),
    )


def area_under_roc(truth: I64, probabilities: F64) -> float:
    """Area under the ROC curve of each class against the rest, mean over the classes that both have; nan without any.

    The share of pairs of a row of the class and another row in which the former has the higher probability, ties half
    (Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic curve").
    """
    areas = []
    for c in np.unique(truth):
        own = truth == c
        n_own, n_rest = int(own.sum()), int((~own).sum())
        if n_rest:
            ranks = float(rankdata(probabilities[:, c])[own].sum())
            areas.append((ranks - n_own * (n_own + 1) / 2) / (n_own * n_rest))
    return float(np.mean(areas)) if areas else math.nan


def mcnemar_p(won: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test: on `won` rows only one model is right, on `lost` only the other.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; without such rows 1.
    """
    return min(1.0, 2 * float(binom.cdf(min(won, lost), won + lost, 0.5)))


def root_mean_square_error(truth: F64, predicted: F64) -> float:
    """Of (n,) values; nan for n = 0."""
    return float(np.sqrt(((truth - predicted) ** 2).mean())) if len(truth) else math.nan


def concordance(truth: F64, predicted: F64) -> float:
    """Concordance correlation of (n,) values; nan where neither varies and both are the same, or for n = 0.

    2 cov / (var + var + (difference of the means)^2): Lin 1989, "A concordance correlation coefficient to evaluate
    reproducibility".
    """
    if not len(truth):
        return math.nan
    shared = float(((truth - truth.mean()) * (predicted - predicted.mean())).mean())
    apart = float(truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2)
    return 2 * shared / apart if apart > 0 else math.nan


def mean_interval(values: F64, *, seed: int, n_resamples: int = N_RESAMPLES) -> tuple[float, float]:
    """95 % interval of the mean of (n,) values of as many people, by the bootstrap over people; nan for fewer than two."""
    if len(values) < 2:  # noqa: PLR2004 (one person says nothing of others)
        return math.nan, math.nan
    rows = np.random.default_rng(seed).integers(0, len(values), size=(n_resamples, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def uar_gain_interval(
    truth: I64, generic: I64, personal: I64, group: NDArray[np.generic], *, seed: int, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the gain in unweighted average recall of one person, by the bootstrap over groups of rows.

    truth, generic, personal: (n,) classes; group: (n,) names of what is drawn together. nan for fewer than two groups.
    """
    names, member = np.unique(group, return_inverse=True)
    if len(names) < 2:  # noqa: PLR2004 (nothing to draw from)
        return math.nan, math.nan
    classes = np.unique(truth)
    # Per group and class: rows, rows that each model has right. Gains of a resample are sums of these.
    of_class = truth[:, None] == classes
    counts = np.stack(
        [of_class, of_class & (generic == truth)[:, None], of_class & (personal == truth)[:, None]], axis=1
    ).astype(np.float64)
    summed = np.zeros((len(names), *counts.shape[1:]))
    np.add.at(summed, member, counts)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    n, g, p = np.moveaxis(np.tensordot(drawn, summed, axes=1), 1, 0)
    present = n > 0
    gain = np.divide(p - g, n, out=np.zeros_like(n), where=present).sum(axis=1) / present.sum(axis=1)
    low, high = np.percentile(gain, [2.5, 97.5])
    return float(low), float(high)
