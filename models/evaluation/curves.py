"""How many of a person's samples a head needs, by the method that selects them (TRANSFER, section 4 and Fig. 6)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from models.evaluation.folds import SPLITS
from models.evaluation.personal import Material, Progress, classes_of, default_enough, number, of_subject
from models.personal.heads import Arms
from models.personal.learners import HeadLearner
from models.personal.metrics import mean_interval, restricted, scores
from models.personal.samples import Samples
from models.personal.selection import METHODS, Method, order_of
from pipeline.emotions import F64

FRACTIONS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
ENOUGH_OF_GAIN: Final = 0.95
N_RANDOM: Final = 3
"""Draws of the methods that draw, whose figures are averaged."""

_DRAWING: Final[tuple[Method, ...]] = ("random", "mcdue")


def learning_curves(
    material: Material,
    generic: Arms,
    *,
    methods: Sequence[Method] = METHODS,
    split: str = "rolling",
    min_per_class: int | None = None,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Method, then `curve`: for each of `FRACTIONS` of the earlier samples the mean gain of heads in UAR over the generic one.

    With `gain_ci95` over people and the mean number of `samples`; `enough` is the first point of the curve from which on the
    mean gain is at least 95 % of that with all samples, None where that is not above 0. Heads have the default settings.
    """
    enough = min_per_class or default_enough(material)
    people = {name: classes_of(material, name, enough) for name in dict.fromkeys(material.subject.tolist())}
    people = {
        name: classes
        for name, classes in people.items()
        if classes.sum() > 1 and np.isfinite(material.samples.pixel[material.subject == name]).all()
    }
    gains: dict[Method, list[F64]] = {method: [] for method in methods}
    used: list[F64] = []
    for done, (name, classes) in enumerate(people.items()):
        progress("learning curves", done, len(people))
        own = of_subject(material, name, classes)
        folds = list(SPLITS[split](own.order, own.group, own.samples.label))
        if not folds:
            continue
        truth = np.concatenate([own.samples.label[fold.later] for fold in folds])
        said = np.concatenate([generic.predict_proba(own.samples.take(fold.later)) for fold in folds])
        before = scores(truth, restricted(said, classes)).uar
        used.append(np.mean([[_count(f, len(fold.earlier)) for f in FRACTIONS] for fold in folds], axis=0))
        for method in methods:
            draws = N_RANDOM if method in _DRAWING else 1
            reached = []
            for draw in range(draws):
                parts = [
                    _answers(own.samples.take(fold.earlier), own.samples.take(fold.later), generic, method, seed + draw)
                    for fold in folds
                ]
                reached.append([scores(truth, restricted(p, classes)).uar for p in np.concatenate(parts, axis=1)])
            gains[method].append(np.mean(reached, axis=0) - before)
    progress("learning curves", len(people), len(people))
    return {method: _curve(np.array(rows), np.array(used), seed) for method, rows in gains.items()}


def _count(fraction: float, n: int) -> int:
    return max(1, round(fraction * n))


def _answers(earlier: Samples, later: Samples, generic: Arms, method: Method, seed: int) -> F64:
    """(fractions, n, 7) what heads say that learnt from the first samples in the order of the method."""
    order = order_of(method, earlier, generic, seed=seed)
    result = []
    for fraction in FRACTIONS:
        chosen = earlier.take(order[: _count(fraction, len(order))])
        result.append(HeadLearner(generic).fit(chosen).predict_proba(later))
    return np.stack(result)


def _curve(gains: F64, used: F64, seed: int) -> Mapping[str, Any]:
    """Of (people, fractions) gains and numbers of samples."""
    if not len(gains):
        return {"curve": [], "enough": None, "n_subjects": 0}
    mean = gains.mean(axis=0)
    points = [
        {
            "fraction": fraction,
            "samples": float(used[:, k].mean()),
            "gain": float(mean[k]),
            "gain_ci95": [number(end) for end in mean_interval(gains[:, k], seed=seed)],
        }
        for k, fraction in enumerate(FRACTIONS)
    ]
    good = mean >= ENOUGH_OF_GAIN * mean[-1]
    first = next(k for k in range(len(mean)) if good[k:].all())
    return {"curve": points, "enough": points[first] if mean[-1] > 0 else None, "n_subjects": len(gains)}
