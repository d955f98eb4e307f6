"""What each learner says of a person's later rows when it knows nobody, everybody else, or the person's earlier rows.

TRANSFER's conditions: `no_transfer` learns from the person alone, `transfer_0` from everybody else (the shipped models, or
the other people of the data pooled), `transfer_100` from both. PERSONAL compares the second (generic) with the first
(personal), TRANSFER with the third. Hyper-parameters are chosen inside what is learnt from, by `models.evaluation.folds`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.evaluation.folds import Fold, chosen, inner_folds
from models.personal.classical import ClassicalLearner, ClassicalSettings
from models.personal.dense import FitSettings
from models.personal.heads import Arm, Arms, DenseHead
from models.personal.learners import KINDS, HeadLearner, Kind, Learner, OffsetLearner, Weighting
from models.personal.metrics import restricted
from models.personal.samples import Samples
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.interpretable import Baseline
from pipeline.metrics import I64, Bool

T = TypeVar("T")

Condition = Literal["no_transfer", "transfer_0", "transfer_100"]
Answers = Mapping[Condition, F64]
"""(n, 7) probabilities, 0 outside the person's classes, by condition."""

PERSONAL_IS: Final[Mapping[str, Condition]] = {
    "offset": "transfer_100",
    "head": "transfer_100",
    **dict.fromkeys(KINDS, "no_transfer"),
}
"""Which condition `personal` is; `generic` is `transfer_0`."""

POOL_LARGEST: Final = 150
POOL_LEAST: Final = 20
"""Rows of a class that are drawn from everybody else: as many as of the rarest one, within these bounds."""

_PENALTIES: Final = (30.0, 10.0, 3.0, 1.0)
_PRIORS: Final = (80.0, 20.0, 5.0)
_SCRATCH: Final = (3.0, 1.0, 0.3)
_SETTINGS: Final[Mapping[Kind, tuple[ClassicalSettings, ...]]] = {
    "knn": tuple(ClassicalSettings(c, neighbours=k) for k in (9, 5, 3) for c in ("action-units", "all")),
    "random-forest": tuple(ClassicalSettings(c, leaf=k, trees=60) for k in (3, 1) for c in ("action-units", "all")),
    "mlp": tuple(ClassicalSettings(c, decay=d) for d in (10.0, 1.0) for c in ("action-units", "all")),
}
"""Hyper-parameters to choose from, the most cautious first."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What may be learnt from: samples, and the group of each, which no fold splits."""

    samples: Samples
    group: NDArray[np.generic]

    def take(self, rows: I64) -> "Known":
        """These rows."""
        return Known(self.samples.take(rows), self.group[rows])


Contest = Callable[[Known, Samples, Known | None, Bool, int], Answers]
"""Answers on a person's later samples, given the earlier ones, everybody else's, the person's classes, and a seed."""


def contest(learner: str, generic: Arms) -> Contest:
    """The contest of a learner of this name, of `models.personal.catalogue.LEARNERS`."""
    for kind in KINDS:
        if learner == kind:
            return lambda earlier, later, others, classes, seed: _classical(kind, earlier, later, others, classes, seed)
    of = _head if learner == "head" else _offset
    return lambda earlier, later, _, classes, seed: of(generic, earlier, later, classes, seed)


def _head(generic: Arms, earlier: Known, later: Samples, classes: Bool, seed: int) -> Answers:
    def fresh(start: Arms) -> Callable[[float], Learner]:
        return lambda penalty: HeadLearner(start, settings=FitSettings(penalty=penalty))

    scratch = untrained(generic, seed)
    return {
        "no_transfer": _best(_SCRATCH, fresh(scratch), earlier, later, classes, seed),
        "transfer_0": restricted(generic.predict_proba(later), classes),
        "transfer_100": _best(_PENALTIES, fresh(generic), earlier, later, classes, seed),
    }


def _offset(generic: Arms, earlier: Known, later: Samples, classes: Bool, seed: int) -> Answers:
    def fresh(prior: float) -> Learner:
        return OffsetLearner(generic, prior=prior)

    return {
        "transfer_0": restricted(generic.predict_proba(later), classes),
        "transfer_100": _best(_PRIORS, fresh, earlier, later, classes, seed),
    }


def _classical(kind: Kind, earlier: Known, later: Samples, others: Known | None, classes: Bool, seed: int) -> Answers:
    def fresh(settings: ClassicalSettings) -> Learner:
        return ClassicalLearner(kind, settings=settings, weighting=Weighting(balance=1.0), baseline=False)

    rest = Baseline.of(earlier.samples.interpretable)
    own, judged = Known(measured(earlier.samples, rest), earlier.group), measured(later, rest)
    answers: dict[Condition, F64] = {"no_transfer": _best(_SETTINGS[kind], fresh, own, judged, classes, seed)}
    if others is None:
        return answers
    settings = _choice(_SETTINGS[kind], fresh, others, classes, seed)
    both = joined(others.samples, own.samples)
    answers["transfer_0"] = restricted(fresh(settings).fit(others.samples, seed).predict_proba(judged), classes)
    answers["transfer_100"] = restricted(fresh(settings).fit(both, seed).predict_proba(judged), classes)
    return answers


def _best(
    candidates: Sequence[T], fresh: Callable[[T], Learner], earlier: Known, later: Samples, classes: Bool, seed: int
) -> F64:
    """What the learner of the best hyper-parameters says of the later samples."""
    learner = fresh(_choice(candidates, fresh, earlier, classes, seed))
    return restricted(learner.fit(earlier.samples, seed).predict_proba(later), classes)


def _choice(candidates: Sequence[T], fresh: Callable[[T], Learner], known: Known, classes: Bool, seed: int) -> T:
    label = known.samples.label

    def predict(candidate: T, fold: Fold) -> F64:
        learner = fresh(candidate).fit(known.samples.take(fold.earlier), seed)
        return restricted(learner.predict_proba(known.samples.take(fold.later)), classes)

    return chosen(candidates, predict, label, inner_folds(label, known.group, seed=seed))


def measured(samples: Samples, rest: Baseline) -> Samples:
    """The samples with their interpretable features measured against a resting face."""
    return replace(samples, interpretable=rest.z_scores(samples.interpretable).astype(np.float32))


def joined(*parts: Samples) -> Samples:
    """All samples one after another."""
    return Samples(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Samples)))


def drawn_evenly(label: I64, classes: Bool, *, seed: int) -> I64:
    """Rows of the classes that a (7,) mask allows, as many of each as of the rarest, within `POOL_LEAST` and `POOL_LARGEST`."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(label == c)) for c in np.flatnonzero(classes)]
    rarest = min(len(of_class) for of_class in rows)
    n = min(max(rarest, POOL_LEAST), POOL_LARGEST)
    return np.sort(np.concatenate([of_class[:n] for of_class in rows]))


def untrained(generic: Arms, seed: int) -> Arms:
    """Heads of the same shape that know nothing: random first layers (He et al. 2015), all answers alike."""
    rng = np.random.default_rng(seed)

    def arm(of: Arm) -> Arm:
        h, d = of.head.w1.shape
        w1 = rng.normal(scale=np.sqrt(2 / d), size=(h, d)).astype(np.float32)
        w2 = rng.normal(scale=1e-3, size=(N_EMOTIONS, h)).astype(np.float32)
        head = DenseHead(w1, np.zeros(h, np.float32), w2, np.zeros(N_EMOTIONS, np.float32))
        return Arm(head, 1.0, 1.0)

    return Arms(arm(generic.pixel), arm(generic.landmark))
