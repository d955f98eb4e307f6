"""A simulated member's personal heads, second by second: the buffer, trigger, learner, gate and monitor of the daemon.

What the daemon does with threads and a process is done here in turn: a training is over when its second is, as in
recordings that are analysed (`PersonalSettings.waits`), and the head that comes of it reads from the next second on.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from daemon.personal_files import PersonalSettings
from daemon.simulate.labelled import NO_FACE, Material, Told
from models.manifest import find_entry
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features, Label
from models.personal.catalogue import make_learner
from models.personal.gate import Verdict
from models.personal.heads import Arms, generic_arms
from models.personal.learners import Learner
from models.personal.monitor import LiveMonitor
from models.personal.pooled import pooled_silhouette
from models.personal.samples import Origin, Samples
from models.personal.serving import served
from models.personal.training import Job, train_and_judge
from models.personal.trigger import why_not_yet
from pipeline.emotions import F64
from pipeline.interpretable import NAMES

GENERIC: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What became of a member in S seconds.

    shown: (S, 7) as published. head: (S,) number of the head that read, `GENERIC` for the generic ones.
    verdicts: of every attempt, with the second in which it was made. rolled_back: seconds in which a head was taken back.
    """

    shown: F64
    head: np.ndarray[tuple[int], np.dtype[np.int64]]
    verdicts: tuple[tuple[int, Verdict], ...]
    rolled_back: tuple[int, ...]
    n_samples: int


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What a training gives: the learner and the verdict on it."""

    learner: Learner
    verdict: Verdict


Trains = Callable[[Samples], Attempt]


@dataclass(frozen=True, slots=True, eq=False)
class Workshop:
    """What heads of the shipped models are made with."""

    generic: Arms
    basis: Basis
    settings: PersonalSettings

    def train(self, samples: Samples) -> Attempt:
        """One attempt, as the training process makes it."""
        gate = self.settings.trainer.gate
        learner = make_learner(self.settings.learner, self.generic, noise=gate.noise)
        models = (self.basis.pixel_sha256, self.basis.landmark_sha256)
        verdict, _ = train_and_judge(
            samples,
            Job(self.settings.learner, 0, models, gate=gate),
            personal=learner,
            generic=self.generic,
            pooled=lambda classes: _pooled(models, classes, gate.n_components),
        )
        return Attempt(learner, verdict)


_pooled = cache(lambda models, classes, n: pooled_silhouette(models, classes, n_components=n))


def workshop(settings: PersonalSettings) -> Workshop:
    """With the models that come with attuned.

    Raises:
        ModelError: One of them is missing or damaged.
    """
    generic = generic_arms()
    widths = generic.pixel.head.w1.shape[1], generic.landmark.head.w1.shape[1]
    return Workshop(generic, Basis(find_entry("pixel").sha256, find_entry("landmark").sha256, *widths), settings)


def learn(material: Material, labels: tuple[Told, ...], shop: Workshop, folder: Path) -> Course:
    """The whole call of a member with these labels, in an empty folder."""
    shown, head = material.generic.copy(), np.full(material.n_seconds, GENERIC)
    coming: dict[int, list[Told]] = defaultdict(list)
    for told in labels:
        coming[told.at].append(told)
    verdicts: list[tuple[int, Verdict]] = []
    rolled_back: list[int] = []
    monitor: LiveMonitor | None = None
    number = GENERIC
    with Buffer(folder, basis=shop.basis, max_samples=shop.settings.max_samples) as buffer:
        for second in sorted(coming):
            for told in coming[second]:
                row = material.best[told.second]
                if row == NO_FACE:
                    continue
                if monitor is not None and head[told.second] == number:
                    said = {"personal": shown[told.second], "generic": material.generic[told.second]}
                    if monitor.add(float(told.second), **said, target=told.target) is not None:
                        rolled_back.append(second)
                        monitor = None
                        shown[second + 1 :], head[second + 1 :] = material.generic[second + 1 :], GENERIC
                buffer.add(float(told.second), _features(material, row), _label(told))
            attempt = _attempt(buffer, shop)
            if attempt is not None:
                verdicts.append((second, attempt.verdict))
                if attempt.verdict.passed:
                    number += 1
                    name = f"personal-{number}"
                    reads = material.read_by(served(attempt.learner, name, shop.generic))
                    shown[second + 1 :], head[second + 1 :] = reads[second + 1 :], number
                    monitor = LiveMonitor.of(name, attempt.verdict.as_json(), settings=shop.settings.monitor)
        n_samples = buffer.counts().n
    return Course(shown, head, tuple(verdicts), tuple(rolled_back), n_samples)


def taught(material: Material, labels: tuple[Told, ...], shop: Workshop) -> Course:
    """A head that learns once, in the middle of the call, all labels until then as a person's word, and serves unjudged.

    With the truth as labels no head does better that learns as much: what a gate can let through at best.
    """
    middle = material.n_seconds // 2
    known = [(told, material.best[told.second]) for told in labels if told.at < middle]
    known = [(told, row) for told, row in known if row != NO_FACE]
    shown, head = material.generic.copy(), np.full(material.n_seconds, GENERIC)
    if known:
        rows = np.array([row for _, row in known])
        samples = Samples(
            time_s=np.array([told.second for told, _ in known], dtype=np.float64),
            pixel=material.pixel[rows],
            landmark=material.landmark[rows],
            interpretable=np.full((len(rows), len(NAMES)), np.nan, dtype=np.float32),
            target=np.stack([told.target for told, _ in known]),
            confidence=np.array([told.confidence for told, _ in known]),
            quality=material.quality[rows],
            origin=np.full(len(rows), Origin.CORRECTION, dtype=np.uint8),
        )
        learner = make_learner(shop.settings.learner, shop.generic).fit(samples)
        reads = material.read_by(served(learner, "personal-1", shop.generic))
        shown[middle:], head[middle:] = reads[middle:], 1
    return Course(shown, head, (), (), len(known))


def _attempt(buffer: Buffer, shop: Workshop) -> Attempt | None:
    """What came of the samples where a training is due."""
    counts = buffer.counts(shop.settings.trainer.gate.block_s)
    if why_not_yet(counts, counts.human, shop.settings.trigger) is not None:
        return None
    buffer.mark()
    return shop.train(buffer.samples())


def _features(material: Material, row: int) -> Features:
    landmark = material.landmark[row]
    known = landmark if np.isfinite(landmark).all() else None
    return Features(material.pixel[row], known, None, float(material.quality[row]))


def _label(told: Told) -> Label:
    return Label(told.target, told.confidence, Origin.GROUP)
