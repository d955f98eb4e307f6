"""What is kept of one participant, and what can be computed from it: what the personal report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from config.settings import Settings
from daemon.catalogue import basis_of, folder_of, people_of
from daemon.errors import FailedError, UnusableInputError
from models.errors import ModelError
from models.evaluation.portrait import (
    Components,
    CurvePoint,
    Importances,
    components_of,
    correlations_of,
    curves_of,
    importances_of,
)
from models.personal.attempts import Attempt, read_attempts
from models.personal.basis import Basis
from models.personal.buffer import Buffer
from models.personal.catalogue import load_learner, make_learner
from models.personal.comparison import separability
from models.personal.gate import GateSettings, Judged, Verdict, classes_of, judge
from models.personal.heads import Arms, generic_arms
from models.personal.people import HEADS
from models.personal.pooled import pooled_silhouette
from models.personal.samples import Samples
from models.personal.selection import Method
from models.personal.store import GENERIC, Store, Version
from models.personal.training import EMBEDDED, Job, features_of, readable, train_and_judge
from models.personal.trigger import TriggerSettings, why_not_yet
from pipeline.emotions import F64

_FEW = 10


@dataclass(frozen=True, slots=True, eq=False)
class BeforeAfter:
    """What the generic and the personal head say of samples later than those it learnt from.

    name: of the head; serves: whether it reads this person now. time_s: (m,). target, generic, personal: (m, 7).
    """

    name: str
    serves: bool
    time_s: F64
    target: F64
    generic: F64
    personal: F64
    verdict: Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """Everything that the page and the pictures are made of.

    why_not: why there is nothing to compare before and after. missing: for the next training, in words.
    """

    participant: str
    samples: Samples
    serves: str
    versions: tuple[Version, ...]
    attempts: tuple[Attempt, ...]
    missing: str | None
    before_after: BeforeAfter | None
    why_not: str | None
    curves: Mapping[Method, tuple[CurvePoint, ...]]
    interpretable: Components
    embedded: Components
    correlations: F64
    importances: Importances | None


def portrait_of(settings: Settings, participant: str) -> Portrait:
    """What is kept of a participant, and what can be computed from it.

    Raises:
        FailedError: The disk refuses.
        ModelError: See `write_personal_report`.
        UnusableInputError: Nothing is kept of this participant, or too little.
    """
    folder, basis, section = folder_of(people_of(settings), participant), basis_of(settings), settings.personal
    generic = generic_arms(settings.models.pixel, settings.models.landmark)
    try:
        with Buffer(folder, basis=basis, max_samples=section.max_samples, keep_days=section.keep_days) as buffer:
            samples, counts = buffer.samples(), buffer.counts(section.gate.block_s)
        attempts = read_attempts(folder)
        store = Store(folder / HEADS, basis=basis.key)
        versions, version = store.versions(), store.current()
    except OSError as error:
        raise FailedError(str(error)) from error
    if len(samples) < _FEW:
        msg = f"{participant}: {len(samples)} samples are kept, too few for a report; `attuned calibrate` records some"
        raise UnusableInputError(msg)
    gate = GateSettings(**section.gate.model_dump())
    job = Job(section.learner, 0, (basis.pixel_sha256, basis.landmark_sha256), gate=gate)
    trigger = TriggerSettings(**section.trigger.model_dump())
    # Several threads of BLAS on matrices this small wait for each other more than they work.
    with threadpool_limits(1):
        found, why_not = None, None
        if version is not None:
            found, why_not = _served(samples, version, store.path(version), generic, gate, basis)
        if found is None:
            found, untried = _tried(samples, job, generic)
            why_not = why_not or untried
        return Portrait(
            participant,
            samples,
            GENERIC if version is None else version.name,
            versions,
            attempts,
            why_not_yet(counts, counts.human, trigger),
            found,
            None if found is not None else why_not,
            curves_of(samples, generic, gate=gate),
            components_of(samples.interpretable, samples.label),
            components_of(*features_of(samples, section.learner if section.learner in EMBEDDED else "head")),
            correlations_of(samples),
            importances_of(samples),
        )


def _served(
    samples: Samples, version: Version, path: Path, generic: Arms, gate: GateSettings, basis: Basis
) -> tuple[BeforeAfter | None, str | None]:
    """The head that serves, on all samples that are later than it; or why it cannot be judged on them."""
    known = readable(samples, version.learner)
    earlier = known.take(known.time_s <= version.trained_until_s)
    later = known.take(known.time_s > version.trained_until_s + gate.gap_s)
    if len(later) < _FEW or len(earlier) < _FEW:
        return None, f"{len(later)} samples are later than {version.name}"
    head = load_learner(path, generic)
    said = head.predict_proba(later), generic.predict_proba(later)
    classes = classes_of(earlier.label, gate)
    models = (basis.pixel_sha256, basis.landmark_sha256)
    verdict = judge(
        Judged(later.time_s, *said, later.target, classes),
        n_trained=len(earlier),
        silhouette=separability(*features_of(earlier, version.learner), n_components=gate.n_components),
        pooled_silhouette=pooled_silhouette(models, classes, n_components=gate.n_components)
        if version.learner in EMBEDDED
        else None,
        seed=0,
        settings=gate,
    )
    return BeforeAfter(version.name, True, later.time_s, later.target, said[1], said[0], verdict), None


class _Watched:
    """A learner whose answers are kept, in the order of time: what the gate judged is what is drawn."""

    def __init__(self, name: str, generic: Arms) -> None:
        self._learner = make_learner(name, generic)
        self.time_s: list[F64] = []
        self.said: list[F64] = []

    def fit(self, samples: Samples, seed: int) -> object:
        """As the learner."""
        return self._learner.fit(samples, seed)

    def predict_proba(self, samples: Samples) -> F64:
        """As the learner, and it is kept."""
        self.time_s.append(samples.time_s)
        self.said.append(self._learner.predict_proba(samples))
        return self.said[-1]

    def save(self, path: Path) -> None:
        """As the learner."""
        self._learner.save(path)


def _tried(samples: Samples, job: Job, generic: Arms) -> tuple[BeforeAfter | None, str | None]:
    """A head trained now on the earlier part and judged on the later, as the daemon would; or why it cannot be."""
    models = job.models
    watched = _Watched(job.learner, generic)
    try:
        verdict, _ = train_and_judge(
            samples,
            job,
            personal=watched,
            generic=generic,
            pooled=lambda classes: pooled_silhouette(models, classes, n_components=job.gate.n_components),
        )
    except (ValueError, ModelError) as error:
        return None, str(error)
    if not watched.said:
        return None, "; ".join(verdict.reasons)
    later = samples.take(np.isin(samples.time_s, np.concatenate(watched.time_s)))
    said = generic.predict_proba(later), np.concatenate(watched.said)
    name = f"{job.learner}, tried for this report"
    return BeforeAfter(name, False, later.time_s, later.target, *said, verdict), None
