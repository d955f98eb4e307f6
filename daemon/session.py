"""One call: source → gallery → consent → faces → seconds → sinks."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

from daemon.consent import ConsentGate
from daemon.inference import FaceReader
from daemon.latest import LatestSlot
from daemon.sources.file import FileSource
from pipeline.call import Call, CallSettings
from pipeline.gallery import GallerySettings, GallerySplitter, same_layout
from pipeline.identity import TileIdentity
from pipeline.types import CallSecond, Event, Frame, Tile
from pipeline.wire import Stamp, Versions

LOOK_EVERY_S = 1.0
TICK_S = 0.25
"""Without a frame for so long, a session in real time looks whether seconds are over."""
State = Literal["connecting", "waiting", "live", "reconnecting", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What stays the same during a session."""

    stamp: Stamp
    seed: str
    """Makes the participants' pseudonyms."""
    purpose: str
    versions: Versions
    minimum: int
    """Members from which on the group is published."""

    @property
    def id(self) -> str:
        """Stands in topics and file names."""
        return self.stamp.session


@dataclass(slots=True)
class Counts:
    """What became of the frames of a session."""

    frames: int = 0
    dropped: int = 0
    faces: int = 0
    late: int = 0
    seconds: int = 0


class Sink(Protocol):
    """Takes what a session gives out."""

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """The session's state changed."""

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """A second closed; events in it included."""

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Something happened outside of a second."""


class Observer(Protocol):
    """Counts and times what a session does; `daemon.sinks.metrics` implements it."""

    def frame_received(self, time_s: float) -> None:
        """A frame came from the source."""

    def frames_dropped(self, reason: str, n: int = 1) -> None:
        """Frames or readings were not used."""

    def faces_analysed(self, n: int) -> None:
        """Faces were read."""

    def stage(self, name: str, seconds: float) -> None:
        """A stage took that long."""

    def second_published(self, lag_s: float) -> None:
        """All sinks had a second that long after its end; its events are committed then."""


class Session:
    """Runs one recording through the pipeline, paced or as fast as it goes.

    Args:
        info: Who and why.
        source: Where frames come from; already entered.
        reader: Reads faces.
        sinks: Take what comes out, in this order.
        observe: Counts and times.
        consent: The gate before any face is looked at.
        call: Settings of the pipeline.
        gallery: Settings of the splitter.
        paced: Whether frames come in real time: then the newest wins and a slow machine skips frames.
    """

    def __init__(
        self,
        *,
        info: SessionInfo,
        source: FileSource,
        reader: FaceReader,
        sinks: Sequence[Sink],
        observe: Observer,
        consent: ConsentGate,
        call: CallSettings,
        gallery: GallerySettings,
        paced: bool,
    ) -> None:
        self.info = info
        self.counts = Counts()
        self.state: State = "connecting"
        self.reason: str | None = None
        self.participants: tuple[str, ...] = ()
        self._source = source
        self._reader = reader
        self._sinks = sinks
        self._observe = observe
        self._consent = consent
        self._call = Call(call)
        self._splitter = GallerySplitter(gallery)
        self._identity = TileIdentity(info.seed)
        self._paced = paced
        self._period_s = 1 / call.rate_hz
        self._next_look_s = 0.0
        self._places: tuple[tuple[str, tuple[int, int, int, int]], ...] = ()
        self._size: tuple[int, ...] = ()
        self._now_s = 0.0

    async def run(self, on_frame: Callable[[float], None] = lambda _: None) -> None:
        """From the first frame to the last; `on_frame` is told how far it is.

        The last seconds and events go out also when it is cancelled or fails.
        """
        started = Event("session_started", 0.0, (), {"purpose": self.info.purpose, "consent": self._consent.mode})
        await self._tell_events([started])
        await self._tell_state("live")
        self.reason = "internal error"
        try:
            if self._paced:
                await self._newest_frames(on_frame)
            else:
                await self._all_frames(on_frame)
            self.reason = self._source.tally.problem
        except asyncio.CancelledError:
            self.reason = "stopped"
            raise
        finally:
            await self._finish()

    async def set_consent(self, participant: str, *, granted: bool) -> None:
        """Takes effect with the next frame; fewer than one second."""
        changed = self._consent.set(participant, granted=granted)
        if changed and participant in self.participants:
            await self._tell_consent(participant, "granted" if granted else "denied")

    async def _all_frames(self, on_frame: Callable[[float], None]) -> None:
        """Every frame of the source, as fast as it goes."""
        async with aclosing(self._source.frames()) as frames:
            async for frame in frames:
                await self._frame(frame)
                on_frame(frame.time_s)

    async def _newest_frames(self, on_frame: Callable[[float], None]) -> None:
        """The newest frame whenever the pipeline is ready; what a slow machine skips is counted."""
        slot: LatestSlot[Frame] = LatestSlot()

        async def pump() -> None:
            try:
                async with aclosing(self._source.frames()) as frames:
                    async for frame in frames:
                        slot.put(frame)
            finally:
                slot.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(), name=f"pump[{self.info.id}]")
            while True:
                try:
                    async with asyncio.timeout(TICK_S):
                        frame = await slot.get()
                except TimeoutError:
                    # Silence closes seconds too, as far as it is known to be silence and not a slow decoder.
                    await self._advance(min(self._source.now_s(), self._source.due_s))
                    continue
                if frame is None:
                    return
                if slot.n_displaced > self.counts.dropped:
                    self._observe.frames_dropped("slow", slot.n_displaced - self.counts.dropped)
                    self.counts.dropped = slot.n_displaced
                await self._frame(frame)
                on_frame(frame.time_s)

    async def _frame(self, frame: Frame) -> None:
        """One frame through the pipeline."""
        self._now_s = frame.time_s
        self.counts.frames += 1
        self._observe.frame_received(self.info.stamp.epoch_s(frame.time_s))
        await self._advance(frame.time_s)
        began = time.perf_counter()
        if frame.time_s >= self._next_look_s or frame.image.shape != self._size:
            await self._look(frame)
            self._observe.stage("gallery", time.perf_counter() - began)
        self.participants = tuple(participant for participant, _ in self._places)
        withheld = frozenset(p for p in self.participants if not self._consent.allows(p))
        self._call.look(frame.time_s, self._places, withheld)
        tiles = [
            Tile(participant, (x0, y0, x1, y1), frame.image[y0:y1, x0:x1])
            for participant, (x0, y0, x1, y1) in self._places
            if participant not in withheld
        ]
        readings = await self._reader.read(self.info.id, frame.time_s, tiles)
        self.counts.faces += len(readings)
        self._observe.faces_analysed(len(readings))
        for reading in readings:
            if not self._call.add(reading):
                self.counts.late += 1
                self._observe.frames_dropped("late")

    async def _look(self, frame: Frame) -> None:
        """Finds the tiles and who sits in them; after a re-flow consent fails closed, for ids follow places."""
        boxes = await asyncio.to_thread(self._splitter.update, frame.image)
        height, width = frame.image.shape[:2]
        before = self._places
        self._places = tuple(zip(self._identity.assign(boxes, (width, height)), boxes, strict=True))
        self._next_look_s = frame.time_s + LOOK_EVERY_S
        moved = self._size == frame.image.shape and not same_layout(boxes, tuple(box for _, box in before))
        self._size = frame.image.shape
        if before and moved:
            for participant in self._consent.fail_closed(p for p, _ in self._places):
                await self._tell_consent(participant, "required")

    async def _tell_consent(self, participant: str, state: str) -> None:
        await self._tell_events([Event("consent_changed", self._now_s, (participant,), {"state": state})])

    async def _advance(self, now_s: float) -> None:
        """Tells the seconds that are over."""
        for second in self._call.advance(now_s):
            await self._tell_second(second)

    async def _finish(self) -> None:
        """What was still open, and the end itself."""
        stopped = self.reason == "stopped"
        # The last frame that was read stands for the time until the next.
        end_s = self._now_s + self._period_s if stopped else max(self._now_s, self._source.tally.end_s)
        seconds, events = self._call.finish(end_s)
        for second in seconds:
            await self._tell_second(second, live=False)
        ended = Event("session_ended", end_s, (), {"reason": self.reason or "end of recording"})
        await self._tell_events([*events, ended])
        failed = self.reason is not None and not stopped
        await self._tell_state("failed" if failed else "ended")
        self._reader.forget(self.info.id)

    async def _tell_second(self, second: CallSecond, *, live: bool = True) -> None:
        """To all sinks; the end of a recording closes its last second early, which is no latency."""
        self.counts.seconds += 1
        for sink in self._sinks:
            await sink.second(self.info, second)
        if self._paced and live:
            self._observe.second_published(self._source.now_s() - (second.second + 1))

    async def _tell_events(self, events: Sequence[Event]) -> None:
        for sink in self._sinks:
            await sink.events(self.info, events)

    async def _tell_state(self, state: State) -> None:
        self.state = state
        for sink in self._sinks:
            await sink.status(self.info, state, self._now_s, self.reason)
