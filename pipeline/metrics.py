"""How good predictions are: accuracy, recall, F1, confusion, log-loss, calibration, and what two models share.

How sure these figures are stands in `pipeline.intervals`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64

Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]

N_BINS: Final = 15
"""Bins of the calibration error."""

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
    """(..., k) share of each true class that was found, of (..., k, k) tables; nan where the truth lacks the class."""
    return _ratio(_diagonal(table), table.sum(axis=-1))


def unweighted_average_recall(table: I64) -> float:
    """Mean recall over the classes that the truth has; nan when it has none."""
    return float(over_present(recalls(table), table))


def f1_scores(table: I64) -> F64:
    """(..., k) 2 TP / (2 TP + FP + FN) of each class, of (..., k, k) tables.

    nan where neither truth nor prediction has the class.
    """
    return _ratio(2 * _diagonal(table), table.sum(axis=-2) + table.sum(axis=-1))


def macro_f1(table: I64) -> float:
    """Mean F1 over the classes that the truth has; nan when it has none."""
    return float(over_present(f1_scores(table), table))


def over_present(of_class: F64, table: I64) -> F64:
    """(...) mean of (..., k) figures over the classes that the truth of (..., k, k) tables has; nan for none."""
    present = table.sum(axis=-1) > 0
    n_present = np.asarray(present.sum(axis=-1))
    total = np.asarray(np.where(present, of_class, 0).sum(axis=-1))
    return np.divide(total, n_present, out=np.full(total.shape, np.nan), where=n_present > 0)


def losses(truth: I64, probabilities: F64) -> F64:
    """(n,) -ln p(true class) in nats, for (n,) classes and (n, k) probabilities."""
    of_truth = probabilities[np.arange(len(truth)), truth]
    return np.asarray(-np.log(of_truth.clip(_SMALLEST)))


def log_loss(truth: I64, probabilities: F64) -> float:
    """Mean of the `losses`; nan for n = 0."""
    return float(losses(truth, probabilities).mean()) if len(truth) else float("nan")


def expected_calibration_error(correct: Bool, confidence: F64, *, n_bins: int = N_BINS) -> float:
    """Mean over bins, by their size, of |accuracy - mean confidence|; nan for n = 0.

    The bins are those of `reliability`. Nixon et al. 2019, "Measuring calibration in deep learning" (adaptive
    bins), after Guo et al. 2017.
    """
    n = len(correct)
    if n == 0:
        return float("nan")
    bins = reliability(correct, confidence, n_bins=n_bins)
    return float((bins.size * np.abs(bins.accuracy - bins.confidence)).sum() / n)


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What a reliability diagram shows: (b,) mean confidence, accuracy and number of rows of each bin."""

    confidence: F64
    accuracy: F64
    size: I64


def reliability(correct: Bool, confidence: F64, *, n_bins: int = N_BINS) -> Reliability:
    """Bins of equal mass, the least sure first; with fewer rows than bins one bin per row.

    The (n,) predictions are sorted by confidence in [0, 1] and cut into `n_bins` parts whose sizes differ by one at
    most. Each of equally sure ones counts as right by the share of these that are, so that their order does not matter.
    """
    _, tie = np.unique(confidence, return_inverse=True)
    right = (np.bincount(tie, weights=correct) / np.bincount(tie))[tie]
    order = np.argsort(confidence, kind="stable")
    edges = bin_edges(len(correct), n_bins)
    size = np.diff(edges)
    summed = [np.add.reduceat(values[order], edges[:-1]) for values in (confidence, right)]
    return Reliability(confidence=summed[0] / size, accuracy=summed[1] / size, size=size)


def bin_edges(n: int, n_bins: int) -> I64:
    """(b + 1,) first rows of the bins of equal mass of n sorted rows, and n; the larger bins come first."""
    n_bins = min(n_bins, n)
    at = np.arange(n_bins + 1)
    return np.asarray(at * (n // max(n_bins, 1)) + np.minimum(at, n % max(n_bins, 1)), dtype=np.int64)


def risk_coverage(confidence: F64, correct: Bool) -> tuple[F64, F64]:
    """(m,) coverage and (m,) risk when only the surest predictions are given, the surest first.

    Coverage in (0, 1] is the share of the (n,) predictions that are given, risk the share of these that are wrong.
    A point for each of the m different confidences, since equal ones are given together; none for n = 0.
    El-Yaniv & Wiener 2010, "On the foundations of noise-free selective classification".
    """
    order = np.argsort(-confidence, kind="stable")
    sure, wrong = confidence[order], np.cumsum(~correct[order])
    last = np.flatnonzero(np.append(sure[1:] != sure[:-1], True)[: len(sure)])
    given = last + 1
    return given / max(len(correct), 1), wrong[last] / given


def area_under_risk(coverage: F64, risk: F64) -> float:
    """Mean risk over coverage, of what `risk_coverage` gives (AURC); nan without a point.

    The sum of the risks times the steps of coverage that lead to them: without equal confidences the mean of the
    risks (Geifman, Uziel & El-Yaniv 2019, "Bias-reduced uncertainty estimation for deep neural classifiers").
    """
    return float((np.diff(coverage, prepend=0.0) * risk).sum()) if len(risk) else float("nan")


@dataclass(frozen=True, slots=True)
class Complementarity:
    """On how many faces two models are both right, only one of them, or neither (GROUP, section 3, Table I).

    The printed table swaps labels; these are the definitions of the text.
    """

    both_right: int
    only_a: int
    only_b: int
    none_right: int

    @property
    def n(self) -> int:
        """Faces in all."""
        return self.both_right + self.only_a + self.only_b + self.none_right

    @property
    def exclusive_a(self) -> float:
        """|A right, B wrong| / |A or B right|; nan where neither ever is."""
        return self._exclusive(self.only_a)

    @property
    def exclusive_b(self) -> float:
        """|B right, A wrong| / |A or B right|; nan where neither ever is."""
        return self._exclusive(self.only_b)

    def _exclusive(self, alone: int) -> float:
        either = self.both_right + self.only_a + self.only_b
        return alone / either if either else float("nan")


def complementarity(a_right: Bool, b_right: Bool) -> Complementarity:
    """What (n,) outcomes of two models on the same faces share.

    Raises:
        ValueError: The two are not (n,) of the same n.
    """
    if a_right.ndim != 1 or a_right.shape != b_right.shape:
        msg = f"expected outcomes of one shape (n,), found {a_right.shape} and {b_right.shape}"
        raise ValueError(msg)
    return Complementarity(
        both_right=int((a_right & b_right).sum()),
        only_a=int((a_right & ~b_right).sum()),
        only_b=int((b_right & ~a_right).sum()),
        none_right=int((~a_right & ~b_right).sum()),
    )


def _diagonal(table: I64) -> I64:
    return np.asarray(np.diagonal(table, axis1=-2, axis2=-1))


def _ratio(part: I64, whole: I64) -> F64:
    """Quotient as float64, nan where whole is 0."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
