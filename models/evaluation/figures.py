"""The figures of a model's answers against labels, and of two models' answers against each other's; JSON types only."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from models.evaluation.answers import I64, Answers, Bool
from pipeline import intervals, metrics
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS

THRESHOLDS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Confidences below which an answer is held back, for the figures of `risk_coverage`."""


def figures(truth: I64, answers: Answers, *, seed: int = 0) -> dict[str, Any]:
    """The figures of one model against one set of labels; None where one is not defined.

    `truth` is (n,) index into `EMOTIONS`, or -1 where the row is left out. `n` counts the rows with a label, `n_seen`
    those among them that the model can read; everything but `accuracy_all` and `coverage` is of the latter. Figures
    `..._cross_fitted` are those of a model whose temperature was fitted on the other half of the same faces.
    """
    seen = (truth >= 0) & answers.readable
    expected, given = truth[seen], answers.probabilities[seen]
    predicted, confidence = given.argmax(axis=1), given.max(axis=1, initial=0)
    correct = predicted == expected
    table = metrics.confusion(expected, predicted, n_classes=N_EMOTIONS)
    uar_ci95, macro_f1_ci95 = intervals.recall_and_f1_ci95(table, seed=seed)
    log_loss_cross_fitted, ece_cross_fitted = cross_fitted(truth, answers, seed=seed)
    return {
        **plain_figures(truth, answers),
        "accuracy_ci95": _interval(intervals.accuracy_ci95(correct, seed=seed)),
        "uar_ci95": _interval(uar_ci95),
        "f1": _by_class(metrics.f1_scores(table)),
        "macro_f1": _number(metrics.macro_f1(table)),
        "macro_f1_ci95": _interval(macro_f1_ci95),
        "log_loss": _number(metrics.log_loss(expected, given)),
        "log_loss_ci95": _interval(intervals.mean_ci95(metrics.losses(expected, given), seed=seed)),
        "log_loss_cross_fitted": _number(log_loss_cross_fitted),
        "ece": _number(metrics.expected_calibration_error(correct, confidence)),
        "ece_ci95": _interval(intervals.calibration_error_ci95(correct, confidence, seed=seed)),
        "ece_cross_fitted": _number(ece_cross_fitted),
        "risk_coverage": [_held_back(correct, confidence, threshold) for threshold in THRESHOLDS],
        "aurc": _number(metrics.area_under_risk(*metrics.risk_coverage(confidence, correct))),
        "confusion": table.tolist(),
    }


def plain_figures(truth: I64, answers: Answers) -> dict[str, Any]:
    """How often the model is right, without intervals and calibration: what is measured under a condition."""
    known = truth >= 0
    seen = known & answers.readable
    predicted = answers.probabilities[seen].argmax(axis=1)
    table = metrics.confusion(truth[seen], predicted, n_classes=N_EMOTIONS)
    n = int(known.sum())
    return {
        "n": n,
        "n_seen": int(seen.sum()),
        "accuracy": _number(metrics.accuracy(table)),
        "accuracy_all": _number(float(np.trace(table) / n) if n else math.nan),
        "coverage": _number(float(seen.sum() / n) if n else math.nan),
        "uar": _number(metrics.unweighted_average_recall(table)),
        "recall": _by_class(metrics.recalls(table)),
    }


def cross_fitted(truth: I64, answers: Answers, *, seed: int = 0) -> tuple[float, float]:
    """Log-loss and calibration error with temperatures fitted on other faces than they are used on.

    The faces that have a label and can be read are cut into two random halves; the temperature fitted on each is used
    on the other, and the two are measured together. nan for fewer than two.
    """
    rows = np.flatnonzero((truth >= 0) & answers.readable)
    if len(rows) < 2:  # noqa: PLR2004 (two halves)
        return math.nan, math.nan
    first, second = np.array_split(np.random.default_rng(seed).permutation(rows), 2)
    probabilities = answers.probabilities.copy()
    for fit, use in ((first, second), (second, first)):
        probabilities[use] = answers.recalibrated(truth, fit, use)
    given = probabilities[rows]
    correct = given.argmax(axis=1) == truth[rows]
    error = metrics.expected_calibration_error(correct, given.max(axis=1))
    return metrics.log_loss(truth[rows], given), error


def complementarity(truth: I64, this: Answers, other: Answers) -> dict[str, Any]:
    """What two models share, over the faces that both can read (GROUP, section 3, Table I).

    `exclusive_this` is |this right, other wrong| / |this or other right|.
    """
    both = (truth >= 0) & this.readable & other.readable
    found = metrics.complementarity(_right(truth, this)[both], _right(truth, other)[both])
    counts = {
        "both_right": found.both_right,
        "only_this": found.only_a,
        "only_other": found.only_b,
        "none_right": found.none_right,
    }
    return {
        "n": found.n,
        "counts": counts,
        "shares": {name: _number(count / found.n if found.n else math.nan) for name, count in counts.items()},
        "exclusive_this": _number(found.exclusive_a),
        "exclusive_other": _number(found.exclusive_b),
    }


def against_best(truth: I64, fused: Answers, arms: Mapping[str, Answers], *, seed: int = 0) -> dict[str, Any]:
    """By how much the mean of the models is right more often than the better of them, face by face.

    `both_read` is over the faces that all can read, `all` over all with a label, unread ones being wrong. `model` is
    the one that is right more often on these very faces, the first on a tie; `won` and `lost` are the faces on which
    only the mean, or only that model, is right.
    """
    known = truth >= 0
    everywhere = known & np.logical_and.reduce([fused.readable, *(arm.readable for arm in arms.values())])
    return {
        "both_read": _against(truth, fused, arms, everywhere, seed),
        "all": _against(truth, fused, arms, known, seed),
    }


def _against(truth: I64, fused: Answers, arms: Mapping[str, Answers], rows: Bool, seed: int) -> dict[str, Any]:
    right = {name: _right(truth, arm)[rows] for name, arm in arms.items()}
    best = max(right, key=lambda name: int(right[name].sum()))
    shared = metrics.complementarity(_right(truth, fused)[rows], right[best])
    n, won, lost = shared.n, shared.only_a, shared.only_b
    return {
        "model": best if n else None,
        "n": n,
        "won": won,
        "lost": lost,
        "difference": _number((won - lost) / n if n else math.nan),
        "difference_ci95": _interval(intervals.paired_difference_ci95(won, lost, n, seed=seed)),
    }


def _right(truth: I64, answers: Answers) -> Bool:
    """(n,) whether the model reads the face and is right."""
    return np.asarray(answers.readable & (answers.probabilities.argmax(axis=1) == truth))


def _held_back(correct: Bool, confidence: F64, threshold: float) -> dict[str, float | None]:
    """Share of the faces read whose answer is at least so sure, and the accuracy on them."""
    given = confidence >= threshold
    return {
        "threshold": threshold,
        "coverage": _number(float(given.mean()) if len(given) else math.nan),
        "accuracy": _number(float(correct[given].mean()) if given.any() else math.nan),
    }


def _by_class(values: F64) -> dict[str, float | None]:
    return dict(zip(EMOTIONS, map(_number, values), strict=True))


def _interval(ends: tuple[float, float]) -> list[float | None]:
    return [_number(end) for end in ends]


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else float(value)
