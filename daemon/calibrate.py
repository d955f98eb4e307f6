"""`attuned calibrate`: records one person's face while they see or show what is known (TRANSFER, section 5).

One session like any other, with one seat, whose labels are those of the schedule: what is learnt of it, judged and kept
goes the way of every label. Outside of the steps that are recorded nobody is looked at.
"""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from types import MappingProxyType, TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
from prometheus_client import CollectorRegistry

from config.settings import Settings
from daemon.assembly import call_settings, make_metrics, make_reader, models_of, session_info
from daemon.calibrate_schedule import Schedule, Step
from daemon.catalogue import basis_of
from daemon.consent import ConsentGate
from daemon.errors import FailedError, UnusableInputError
from daemon.personal import Personalisation
from daemon.personal_session import PersonalSession
from daemon.personal_setup import kit_of, personal_settings
from daemon.player import Player
from daemon.seats import Seats
from daemon.secret import node_secret
from daemon.session import Session, to_the_end
from daemon.sessions import Plan
from daemon.sources.file import FileSource
from daemon.sources.live import LiveSource
from daemon.sources.opening import connection_to, open_recording
from daemon.sources.source import Moment, Source
from daemon.sources.urls import kind_of
from daemon.state import state_folder
from models.faces import MediaPipeFaceSpotter
from models.personal.buffer import Buffer, Label
from models.personal.people import People
from models.personal.samples import Origin
from models.personal.trigger import Tally as Counted
from models.personal.trigger import TriggerSettings, why_not_yet
from pipeline.emotions import EMOTIONS
from pipeline.protocols import FaceSpotter
from pipeline.seating import Seat
from pipeline.types import CallSecond, Event, FaceReading
from pipeline.wire import EPOCH

LEAD_S: Final = 3.0
"""Before the first step of a live source, so that one can sit down."""
SETTLE_S: Final = 2.0
"""At the beginning of each step nothing is recorded: one has to see, understand and react."""
SPOT_EVERY_S: Final = 1.0
"""How often it is looked whether somebody else is in the picture."""


class Screen(Protocol):
    """Tells the person what is on."""

    def step(self, number: int, step: Step) -> None:
        """A step begins."""

    def time(self, done_s: float) -> None:
        """So far the schedule is."""


@dataclass(slots=True)
class Tally:
    """What became of the schedule.

    labelled: second of the session and class of what was handed over to be kept. steps: that began.
    nobody, several: moments of recorded steps without a face, or with more than one. told: what came of trainings.
    """

    labelled: dict[int, str] = field(default_factory=dict)
    steps: int = 0
    nobody: int = 0
    several: int = 0
    is_complete: bool = False
    told: list[Event] = field(default_factory=list)


class Sitting:
    """The one seat of a calibration, and what is learnt in it: the `Seating` and the `Personal` of its session.

    Args:
        participant: Who sits there.
        schedule: What is on.
        begin_s: When it begins, on the session's timeline; None: `LEAD_S` after the first moment.
        settle_s: Of each step that is not recorded.
        screen: Is told what is on.
        player: Plays the files of the schedule; None: the person does, or it was done when the source was recorded.
        learn: What samples go to.
        sheet: Where labels are put for it.
        open_spotter: Tells whether somebody else is in the picture.
        tally: Is kept up to date.

    Attributes:
        done: Set when the last step is over.
    """

    def __init__(
        self,
        participant: str,
        *,
        schedule: Schedule,
        begin_s: float | None,
        settle_s: float,
        screen: Screen,
        player: Player | None,
        learn: PersonalSession,
        sheet: dict[tuple[str, int], Label],
        open_spotter: Callable[[], FaceSpotter],
        tally: Tally,
    ) -> None:
        self._participant = participant
        self._schedule = schedule
        self._begins = schedule.begins
        self._begin_s = begin_s
        self._settle_s = settle_s
        self._screen = screen
        self._player = player
        self._learn = learn
        self._sheet = sheet
        self._open_spotter = open_spotter
        self._tally = tally
        self._number = -1
        self._spotted_s = -1.0
        self._alone = False
        self._seen: dict[int, int] = {}
        self.done = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._spotter = await asyncio.to_thread(self._open_spotter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._spotter.close)

    async def place(self, moment: Moment) -> Seats:
        """The person, while something is recorded and nobody else is to be seen."""
        if self._begin_s is None:
            self._begin_s = moment.time_s + LEAD_S
        at_s = moment.time_s - self._begin_s
        await self._follow(at_s)
        nobody = Seats((), (self._participant,), ())
        if not self._records(at_s):
            return nobody
        if len(moment.frames) != 1:
            self._tally.several += len(moment.frames) > 1
            self._tally.nobody += not moment.frames
            return nobody
        [frame] = moment.frames
        if moment.time_s - self._spotted_s >= SPOT_EVERY_S or not self._alone:
            found = await asyncio.to_thread(self._spotter.find_all, frame.image)
            self._spotted_s, self._alone = moment.time_s, len(found) == 1
            if not self._alone:
                self._tally.several += len(found) > 1
                self._tally.nobody += len(found) == 0
                # What was seen of this second before may have been of the other one.
                self._seen[int(moment.time_s // 1)] = -1
                return nobody
        height, width = frame.image.shape[:2]
        seat = Seat(self._participant, (0, 0, width, height), certain=True)
        return Seats((seat,), (self._participant,), (frame.image,))

    def forget(self, participant: str) -> None:
        """Nobody's look is remembered."""

    def see(self, readings: Sequence[FaceReading]) -> None:
        """Faces of a recorded step; of a second in which two steps meet the first."""
        for reading in readings:
            second = int(reading.time_s // 1)
            if self._seen.setdefault(second, self._number) == self._number:
                self._learn.see([reading])

    async def second(self, second: CallSecond) -> Sequence[Event]:
        """A second is over: what was seen in it was the step's."""
        number = self._seen.pop(second.second, -1)
        label = self._schedule.steps[number].label if number >= 0 else None
        where = (self._participant, second.second)
        if label is not None:
            self._sheet[where] = label
            self._tally.labelled[second.second] = EMOTIONS[int(label.target.argmax())]
        events = await self._learn.second(second)
        self._sheet.pop(where, None)
        self._tally.told += events
        return events

    def end(self, source: Source) -> None:
        """The source is over, or the schedule.

        Raises:
            FailedError: The source ended first.
        """
        begin_s = source.end_s if self._begin_s is None else self._begin_s
        missing_s = self._schedule.seconds - (source.end_s - begin_s)
        if self._tally.is_complete or missing_s < 1 / 2:
            self._tally.is_complete = True
            return
        why = source.problem or source.farewell
        msg = f"the source ended {missing_s:.0f} s before the schedule did ({why}); what was recorded is kept"
        raise FailedError(msg)

    async def _follow(self, at_s: float) -> None:
        """Begins the step whose time has come."""
        self._screen.time(min(max(at_s, 0.0), self._schedule.seconds))
        number = bisect_right(self._begins, at_s) - 1
        if self._player is not None:
            await self._player.check()
        if number == self._number or number < 0:
            return
        self._number = number
        if number >= len(self._schedule.steps):
            self._tally.is_complete = True
            self.done.set()
            return
        step = self._schedule.steps[number]
        self._tally.steps = number + 1
        self._screen.step(number, step)
        if self._player is not None:
            await (self._player.stop() if step.file is None else self._player.play(step.file))

    def _records(self, at_s: float) -> bool:
        """Whether the face counts now."""
        number = self._number
        if not 0 <= number < len(self._schedule.steps) or self._schedule.steps[number].label is None:
            return False
        # A file that has come to its end shows nothing any more.
        ended = (
            self._player is not None and self._schedule.steps[number].file is not None and not self._player.is_playing
        )
        return not ended and at_s >= self._begins[number] + self._settle_s


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What is asked for. begin_s: see `Sitting`. is_live: whether the person sits there now."""

    participant: str
    schedule: Schedule
    purpose: str
    is_live: bool
    begin_s: float | None = None
    settle_s: float = SETTLE_S
    player: tuple[str, ...] | None = None


@asynccontextmanager
async def open_source(url: str, asked: Calibration, settings: Settings) -> AsyncIterator[Source]:
    """The source behind an address, entered.

    Raises:
        SourceError: It cannot be used.
        UnusableInputError: It is one that only the daemon can have.
    """
    kind = kind_of(url)
    source: Source
    if kind == "whip":
        msg = "whip:// comes to the daemon; calibrate goes to its source: give rtsp://, whep+https://, janus+http:// or a file"
        raise UnusableInputError(msg)
    async with AsyncExitStack() as stack:
        if kind == "file":
            recording = await asyncio.to_thread(open_recording, url)
            source = await stack.enter_async_context(FileSource(recording, rate_hz=settings.analysis.rate_hz))
        else:
            plan = Plan("calibrate", url, asked.purpose, "declared", settings.source)
            connection = connection_to(plan, settings.webrtc, node_secret=node_secret(state_folder(settings)))
            source = await stack.enter_async_context(
                LiveSource(connection, rate_hz=settings.analysis.rate_hz, give_up_s=settings.source.give_up_s)
            )
        yield source


async def calibrate(
    source: Source, asked: Calibration, *, settings: Settings, screen: Screen, tally: Tally, anchor: datetime = EPOCH
) -> None:
    """Runs the schedule against a source that is entered; `tally` is kept up to date, and samples are on disk as they come.

    Raises:
        FailedError: A stimulus could not be played (in a group, where the source is live), or the source ended before the
            schedule did.
        ModelError: These models have no heads.
        SourceError: The source cannot be reached, or no longer.
        UnusableInputError: Nothing is to be kept of individuals.
        OSError: The disk refuses.
    """
    if settings.privacy.group_only:
        msg = "privacy.group_only: nothing of individuals is kept, so that nobody can be calibrated"
        raise UnusableInputError(msg)
    models = models_of(settings)
    kit = kit_of(models, (settings.models.pixel, settings.models.landmark))
    metrics = make_metrics(settings, models, CollectorRegistry())
    info = session_info(
        settings,
        models,
        session="calibrate",
        boot=token_hex(8),
        seed=token_hex(8),
        anchor=anchor,
        purpose=asked.purpose,
    )
    sheet: dict[tuple[str, int], Label] = {}
    folder = state_folder(settings) / "personal"
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(make_reader(settings, models, metrics))
        owner = await stack.enter_async_context(
            Personalisation(
                folder, kit=kit, settings=personal_settings(settings.personal), count=metrics.personal_model
            )
        )
        reader.personalise(info.id)
        learn = await stack.enter_async_context(
            PersonalSession(
                owner,
                info=info,
                is_stable=lambda _: True,
                set_head=lambda who, head: reader.set_head(info.id, who, head),
                sheet=MappingProxyType(sheet),
            )
        )
        player = None if asked.player is None else await stack.enter_async_context(Player(asked.player))
        sitting = Sitting(
            asked.participant,
            schedule=asked.schedule,
            begin_s=asked.begin_s,
            settle_s=asked.settle_s,
            screen=screen,
            player=player,
            learn=learn,
            sheet=sheet,
            open_spotter=MediaPipeFaceSpotter,
            tally=tally,
        )
        session = Session(
            info=info,
            source=source,
            seating=sitting,
            reader=reader,
            sinks=(),
            observe=metrics,
            consent=ConsentGate("declared"),
            call=call_settings(settings, models),
            paced=asked.is_live,
            personal=sitting,
        )
        await _until_done(session, sitting, owner, source)
        tally.told += learn.untold(float(max(tally.labelled, default=0)))


async def _until_done(session: Session, sitting: Sitting, owner: Personalisation, source: Source) -> None:
    """Until the schedule is over and all that came of it is done; however it ends, nothing is left running."""
    training = asyncio.ensure_future(owner.run())
    playing = asyncio.ensure_future(session.run())
    ending = asyncio.ensure_future(sitting.done.wait())
    try:
        await asyncio.wait([playing, ending, training], return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, ending):
            task.cancel()
        await to_the_end(_over(playing, ending))
        if not playing.cancelled():
            playing.result()
        sitting.end(source)
        await owner.finish()
    finally:
        for task in (playing, ending, training):
            task.cancel()
        await to_the_end(_over(playing, ending, training))
    if not training.cancelled():
        training.result()


async def _over(*tasks: asyncio.Future[Any]) -> None:
    """They are over, with whatever; who wants to know asks them."""
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Result:
    """What a calibration left behind.

    kept: seconds of it by class, as they stand on disk. lost: handed over, but not there: the buffer was full, or the disk slow.
    samples: all that there are now. missing: for a training, in words; None: nothing is.
    """

    kept: Mapping[str, int]
    lost: int
    samples: Mapping[str, int]
    missing: str | None


def result_of(settings: Settings, participant: str, tally: Tally, epoch_s: Callable[[int], float]) -> Result:
    """What of the session is on disk now; `epoch_s` gives UTC of its seconds."""
    folder = People(state_folder(settings) / "personal").find(participant)
    wanted = {int(epoch_s(second)) for second in tally.labelled}
    kept: Counter[str] = Counter()
    whole = human = Counted(dict.fromkeys(EMOTIONS, 0), 0, 0)
    if folder is not None:
        section = settings.personal
        with Buffer(
            folder, basis=basis_of(settings), max_samples=section.max_samples, keep_days=section.keep_days
        ) as buffer:
            rows, counts = buffer.samples(), buffer.counts(section.gate.block_s)
        whole, human = counts, counts.human
        mine = (rows.origin == Origin.CALIBRATION) & np.isin(rows.time_s.astype(np.int64), list(wanted))
        kept.update(EMOTIONS[label] for label in rows.label[mine])
    trigger = TriggerSettings(**settings.personal.trigger.model_dump())
    missing = why_not_yet(whole, human, trigger)
    return Result({name: kept[name] for name in EMOTIONS}, len(wanted) - kept.total(), whole.of_class, missing)
