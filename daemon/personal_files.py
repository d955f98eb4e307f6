"""What the disk's thread does for one person of a session: samples, and the heads that lie there."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from daemon.trainer import DEFAULT_TRAINER, TrainerSettings
from models.personal.basis import Basis
from models.personal.buffer import CROP_DAYS, KEEP_DAYS, MAX_SAMPLES, Buffer, Features, Label
from models.personal.crops import CROPS_KEY, Cipher
from models.personal.monitor import DEFAULT_MONITOR, Harm, MonitorSettings
from models.personal.people import HEADS, People
from models.personal.samples import Samples
from models.personal.serving import ServedHead
from models.personal.store import Store, Version
from models.personal.trigger import DEFAULT_TRIGGER, TriggerSettings, why_not_yet
from pipeline.interpretable import interpretable_features
from pipeline.types import FaceEvidence, FusedReading

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PersonalSettings:
    """Constants: what is learnt, what is kept, and when one tries.

    keep_crops, crop_days: whether pictures are kept beside the samples, encrypted, and how long.
    waits: whether a second ends only when all that it set off is done, trainings included. For recordings: what comes
    out must not depend on how fast the machine trains.
    """

    learner: str = "head"
    max_samples: int = MAX_SAMPLES
    keep_days: float = KEEP_DAYS
    keep_crops: bool = False
    crop_days: float = CROP_DAYS
    trigger: TriggerSettings = DEFAULT_TRIGGER
    monitor: MonitorSettings = DEFAULT_MONITOR
    trainer: TrainerSettings = DEFAULT_TRAINER
    waits: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Kit:
    """What heads are made of: the models' identity, how a file is opened, and how what it holds answers in a call."""

    basis: Basis
    load: Callable[[Path], Any]
    serve: Callable[[Any, str], ServedHead]
    names: tuple[str, str] = ("pixel", "landmark")


@dataclass(slots=True, eq=False)
class BestFace:
    """The best face of a second, and how it was read."""

    quality: float
    evidence: FaceEvidence
    reading: FusedReading | None = None
    is_human: bool = False


Row = tuple[int, BestFace, Label]


class Files:
    """The samples and heads of one person; opened when the first sample comes.

    Args:
        participant: Who it is.
        is_stable: Whether the pseudonym means the same person in the next session; else all goes with this one.
        people: Where the folders lie.
        kit: Of the models that read now.
        settings: What is kept, and when a training is due.
        time_of: Seconds since the epoch of a second of the session.

    Attributes:
        is_closed: Whether nothing more is kept, because the person is erased or denied. Set by the event loop; the rest
            is for the disk's thread.

    Raises (every method):
        OSError: The disk refuses.
    """

    def __init__(
        self,
        participant: str,
        *,
        is_stable: bool,
        people: People,
        kit: Kit,
        settings: PersonalSettings,
        time_of: Callable[[int], float],
    ) -> None:
        self._participant = participant
        self._is_stable = is_stable
        self._people = people
        self._kit = kit
        self._settings = settings
        self._time_of = time_of
        self._stack = ExitStack()
        self._open = ExitStack()
        self._buffer: Buffer | None = None
        self.folder: Path | None = None
        self.is_closed = False

    def add(self, rows: Sequence[Row]) -> Samples | None:
        """Keeps samples; returns all there are where a training is due, which counts as tried then."""
        if self.is_closed:
            return None
        buffer = self._opened()
        for second, best, label in rows:
            face = best.evidence
            interpretable = interpretable_features(face.mesh[None])[0]
            features = Features(face.pixel, face.landmark, interpretable, best.quality, face.crop)
            buffer.add(self._time_of(second), features, label)
        counts = buffer.counts(self._settings.trainer.gate.block_s)
        if why_not_yet(counts, counts.human, self._settings.trigger) is not None:
            return None
        buffer.mark()
        return buffer.samples()

    def relabel(self, seconds: Sequence[int], label: Label) -> int:
        """How many samples of these seconds there were, which have a person's label now."""
        if self.is_closed:
            return 0
        buffer, times = self._opened(), map(self._time_of, seconds)
        return sum(buffer.relabel(time_s, time_s, label) for time_s in times)

    def current(self) -> tuple[object, Version] | None:
        """The head that serves somebody who was here before.

        Raises:
            ModelError: Its file is not what it should be.
        """
        folder = self._people.find(self._participant)
        if folder is None:
            return None
        store = self._store(folder)
        version = store.current()
        return None if version is None else (self._kit.load(store.path(version)), version)

    def roll_back(self, harm: Harm) -> None:
        """The version never serves again."""
        folder = self.folder or self._people.find(self._participant)
        if folder is not None and not self.is_closed:
            self._store(folder).roll_back(harm.version, harm.reason)

    def rest(self) -> None:
        """Gives open files back while nobody is there; the next sample opens them again."""
        self._buffer = None
        self._open.close()

    def close(self) -> bool:
        """Gives files back, and whether there were any; the folder of who is known in this session alone goes with them."""
        had = self.folder is not None
        self.rest()
        self.folder = None
        self._stack.close()
        return had

    def _opened(self) -> Buffer:
        if self._buffer is None:
            if self.folder is None:
                self.folder = self._stack.enter_context(self._people.opened(self._participant, stable=self._is_stable))
            self._buffer = self._open.enter_context(
                Buffer(
                    self.folder,
                    basis=self._kit.basis,
                    max_samples=self._settings.max_samples,
                    keep_days=self._settings.keep_days,
                    cipher=self._cipher(),
                    erase_crops=not self._settings.keep_crops,
                    crop_days=self._settings.crop_days,
                )
            )
            for notice in self._buffer.notices:
                log.warning("personal samples", detail=notice)
        return self._buffer

    def _cipher(self) -> Cipher | None:
        """What encrypts pictures, where they are kept; the key lies outside the participants' folders.

        Raises:
            ModelError: The package for it is missing, or the key is damaged.
        """
        if not self._settings.keep_crops:
            return None
        return Cipher.of(self._people.root / CROPS_KEY, self._participant)

    def _store(self, folder: Path) -> Store:
        return Store(folder / HEADS, basis=self._kit.basis.key)
