"""How good predictions are: accuracy, recall, F1, confusion, log-loss, calibration, and how sure that is."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64

I64 = NDArray[np.int64]

N_BINS: Final = 15
"""Bins of the calibration error."""

N_RESAMPLES: Final = 2000
"""Bootstrap resamples of an interval."""

_SMALLEST: Final = 1e-12
"""Probabilities are raised to this before the logarithm, so that one sure mistake does not make the mean infinite."""


def confusion(truth: I64, predicted: I64, *, n_classes: int) -> I64:
    """(n_classes, n_classes) counts; rows are the truth, columns what was predicted.

    Raises:
        ValueError: The two are not (n,) of the same n, or a class is outside 0 to n_classes - 1.
    """
    if truth.ndim != 1 or truth.shape != predicted.shape:
        msg = f"expected truth and predicted of one shape (n,), found {truth.shape} and {predicted.shape}"
        raise ValueError(msg)
    for name, classes in (("truth", truth), ("predicted", predicted)):
        if classes.size and (classes.min() < 0 or classes.max() >= n_classes):
            msg = f"{name}: expected classes 0 to {n_classes - 1}, found {classes.min()} to {classes.max()}"
            raise ValueError(msg)
    cells = np.bincount(truth * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def accuracy(table: I64) -> float:
    """Share of the rows of a confusion table that were right; nan for an empty table."""
    total = int(table.sum())
    return float(np.trace(table) / total) if total else float("nan")


def recalls(table: I64) -> F64:
    """(k,) share of each true class that was found; nan where the truth never has the class."""
    return _ratio(np.diag(table), table.sum(axis=1))


def unweighted_average_recall(table: I64) -> float:
    """Mean recall over the classes that the truth has; nan when it has none."""
    found = recalls(table)
    present = found[~np.isnan(found)]
    return float(present.mean()) if present.size else float("nan")


def f1_scores(table: I64) -> F64:
    """(k,) 2 TP / (2 TP + FP + FN) of each class; nan where neither truth nor prediction has the class."""
    return _ratio(2 * np.diag(table), table.sum(axis=0) + table.sum(axis=1))


def macro_f1(table: I64) -> float:
    """Mean F1 over the classes that the truth has; nan when it has none."""
    present = table.sum(axis=1) > 0
    return float(f1_scores(table)[present].mean()) if present.any() else float("nan")


def log_loss(truth: I64, probabilities: F64) -> float:
    """Mean of -ln p(true class) in nats, for (n,) classes and (n, k) probabilities; nan for n = 0."""
    if len(truth) == 0:
        return float("nan")
    of_truth = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(of_truth.clip(_SMALLEST)).mean())


def expected_calibration_error(correct: NDArray[np.bool_], confidence: F64, *, n_bins: int = N_BINS) -> float:
    """Mean over bins, by their size, of |accuracy - mean confidence|; nan for n = 0.

    The (n,) predictions are sorted by confidence in [0, 1] (equal ones stay in their order) and cut into
    `n_bins` bins of equal mass. Nixon et al. 2019, "Measuring calibration in deep learning" (adaptive bins),
    after Guo et al. 2017.
    """
    n = len(correct)
    if n == 0:
        return float("nan")
    order = np.argsort(confidence, kind="stable")
    bins = zip(np.array_split(correct[order], n_bins), np.array_split(confidence[order], n_bins), strict=True)
    gaps = [abs(float(hits.sum()) - float(sure.sum())) for hits, sure in bins]
    return float(sum(gaps) / n)


def bootstrap_accuracy_ci95(
    correct: NDArray[np.bool_], *, seed: int, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the accuracy over resamples of the (n,) outcomes; nan for n = 0.

    Efron 1979, "Bootstrap methods". The sum of n draws with replacement from n outcomes is binomial, which is
    drawn directly. The same seed gives the same interval.
    """
    n = len(correct)
    if n == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = rng.binomial(n, float(correct.mean()), size=n_resamples) / n
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _ratio(part: I64, whole: I64) -> F64:
    """Quotient as float64, nan where whole is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
