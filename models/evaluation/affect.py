"""Valence and arousal, derived against learnt from the person's ratings (TRANSFER, section 4)."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from models.evaluation.folds import rolling_origin
from models.evaluation.personal import Material, number
from models.personal.affect import PENALTIES, AffectLearner
from models.personal.heads import Arms
from models.personal.metrics import concordance, mean_interval, root_mean_square_error
from pipeline.emotions import F64

AXES: Final = ("valence", "arousal")
N_INNER: Final = 3
LEAST: Final = 6
"""Ratings to learn from, at least."""


def evaluate_affect(material: Material, generic: Arms, *, seed: int = 0) -> dict[str, Any]:
    """`subjects`: subject, then condition, then axis, `rmse` and `ccc`; `summary`: axis, then the fall of the error.

    `transfer_0` is derived from the classes, `no_transfer` learnt from the person's ratings alone, `transfer_100` from them
    around the derived values; all on the later samples, in strict order of time. `excluded` as elsewhere.
    """
    subjects: dict[str, Any] = {}
    excluded = []
    for name in dict.fromkeys(material.subject.tolist()):
        own = material.take(material.subject == name)
        own = own.take(np.lexsort((own.samples.time_s, own.row, own.order)))
        # Ratings have no classes: that there are several different rows is all that a fold needs.
        folds = [f for f in rolling_origin(own.order, own.group, np.arange(len(own))) if len(f.earlier) >= LEAST]
        if not folds or not np.isfinite(own.samples.pixel).all():
            excluded.append({"what": name, "reason": "too few ratings before others, or no pictures", "n": len(own)})
            continue
        truth = np.concatenate([own.ratings[fold.later] for fold in folds])
        said: dict[str, list[F64]] = {"no_transfer": [], "transfer_0": [], "transfer_100": []}
        for fold in folds:
            earlier, later = own.take(fold.earlier), own.take(fold.later)
            said["transfer_0"].append(AffectLearner(generic).derived(later.samples))
            for condition, derived in (("no_transfer", False), ("transfer_100", True)):
                penalty = _penalty(earlier, generic, derived=derived)
                learner = AffectLearner(generic, penalty=penalty, derived=derived)
                said[condition].append(learner.fit(earlier.samples, earlier.ratings).predict(later.samples))
        subjects[name] = {condition: _figures(truth, np.concatenate(parts)) for condition, parts in said.items()}
    return {
        "subjects": subjects,
        "summary": {axis: _summary(subjects, axis, seed) for axis in AXES},
        "excluded": excluded,
    }


def _penalty(earlier: Material, generic: Arms, *, derived: bool) -> float:
    """The penalty of least error on blocks of the earlier samples that were left out."""
    blocks = np.array_split(np.arange(len(earlier)), N_INNER)
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for block in blocks:
            rest = np.setdiff1d(np.arange(len(earlier)), block)
            learnt = earlier.take(rest)
            learner = AffectLearner(generic, penalty=penalty, derived=derived).fit(learnt.samples, learnt.ratings)
            error += float(((learner.predict(earlier.samples.take(block)) - earlier.ratings[block]) ** 2).sum())
        errors.append(error)
    return PENALTIES[int(np.argmin(errors))]


def _figures(truth: F64, predicted: F64) -> dict[str, Any]:
    return {
        axis: {
            "rmse": number(root_mean_square_error(truth[:, k], predicted[:, k])),
            "ccc": number(concordance(truth[:, k], predicted[:, k])),
            "n": len(truth),
        }
        for k, axis in enumerate(AXES)
    }


def _summary(subjects: Mapping[str, Any], axis: str, seed: int) -> dict[str, Any]:
    """By how much the error falls from `transfer_0` to `transfer_100`."""
    gains = np.array([of["transfer_0"][axis]["rmse"] - of["transfer_100"][axis]["rmse"] for of in subjects.values()])
    return {
        "n_subjects": len(gains),
        "better": int((gains > 0).sum()),
        "worse": int((gains < 0).sum()),
        "mean_gain": number(float(gains.mean()) if len(gains) else float("nan")),
        "mean_gain_ci95": [number(end) for end in mean_interval(gains, seed=seed)],
    }
