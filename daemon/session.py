"""One call: source → seats → consent → faces → seconds → sinks."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from daemon.consent import ConsentGate
from daemon.errors import SourceError
from daemon.inference import FaceReader
from daemon.latest import LatestSlot
from daemon.seats import Seating
from daemon.sources.source import Moment, Source, SourceState, State
from pipeline.anonymity import group_only, group_only_events, is_large
from pipeline.call import Call, CallSettings
from pipeline.types import Box, CallSecond, Event, FaceReading
from pipeline.wire import Stamp, Versions

TICK_S = 0.25
"""Without a moment for so long, a session in real time looks whether seconds are over."""
INDIVIDUAL_KINDS = frozenset({"change", "dismissed"})
"""Events that say what somebody expressed; they come seconds later than what they tell."""
FORGOTTEN_MAX = 1024
"""People whose erasure a session remembers, to keep back what is told late; the earliest give way."""


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
    basis: str = "consent"
    """Legal basis of the processing."""
    group_only: bool = False
    """Whether nothing of an individual is given out; then so many faces must be read for the group to be told."""

    @property
    def id(self) -> str:
        """Stands in topics and file names."""
        return self.stamp.session


@dataclass(slots=True)
class Counts:
    """What became of the frames of a session."""

    moments: int = 0
    frames: int = 0
    dropped: int = 0
    undecoded: int = 0
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


class Personal(Protocol):
    """Learns from what a session reads; `daemon.personal` implements it."""

    def see(self, readings: Sequence[FaceReading]) -> None:
        """Faces of a frame were read."""

    async def second(self, second: CallSecond) -> Sequence[Event]:
        """A second closed; what is to be told with it."""


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


async def to_the_end(work: Coroutine[None, None, None]) -> None:
    """Does the work however often one is cancelled meanwhile, and is cancelled then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


class Session:
    """Runs one source through the pipeline, in real time or as fast as it goes.

    Args:
        info: Who and why.
        source: What is to be seen; already entered.
        seating: Finds out who sits where.
        reader: Reads faces.
        sinks: Take what comes out, in this order.
        observe: Counts and times.
        consent: The gate before any face is looked at.
        call: Settings of the pipeline.
        paced: Whether it is real time: then the newest wins and a slow machine skips moments.
        personal: Learns from it; None: nothing is kept of anybody.
    """

    def __init__(
        self,
        *,
        info: SessionInfo,
        source: Source,
        seating: Seating,
        reader: FaceReader,
        sinks: Sequence[Sink],
        observe: Observer,
        consent: ConsentGate,
        call: CallSettings,
        paced: bool,
        personal: Personal | None = None,
    ) -> None:
        self.info = info
        self.counts = Counts()
        self.state: State = "connecting"
        self.reason: str | None = None
        """Why it is in its state."""
        self.problem: str | None = None
        """Why it ended before the source did."""
        self.participants: tuple[str, ...] = ()
        self.consent = consent
        self._source = source
        self._seating = seating
        self._reader = reader
        self._sinks = sinks
        self._observe = observe
        self._call = Call(call)
        self._paced = paced
        self._personal = personal
        self._period_s = 1 / call.rate_hz
        self._now_s = source.due_s
        self._shown: tuple[tuple[str, Box], ...] = ()
        self._off: frozenset[str] = frozenset()
        self._was_live = False
        self._lost = False
        self._is_large = False
        self._forgotten_s: dict[str, float] = {}

    async def run(self, on_frame: Callable[[float], None] = lambda _: None) -> None:
        """From the first moment to the last; `on_frame` is told how far it is.

        The last seconds and events go out also when it is cancelled or fails.

        Raises:
            SourceError: The source cannot be reached, or no longer.
        """
        started = {"purpose": self.info.purpose, "basis": self.info.basis, "consent": self.consent.mode}
        await self._tell_events([Event("session_started", self._now_s, (), started)])
        await self._tell_state(self.state)
        problem: str | None = "internal error"
        try:
            async with self._seating:
                if self._paced:
                    await self._newest_moments(on_frame)
                else:
                    await self._all_moments(on_frame)
            problem = self._source.problem
        except asyncio.CancelledError:
            problem = "stopped"
            raise
        except SourceError as error:
            problem = str(error)
            raise
        finally:
            await to_the_end(self._finish(problem))

    async def set_consent(self, participant: str, *, granted: bool) -> None:
        """Takes effect with the next frame; fewer than one second."""
        changed = self.consent.set(participant, granted=granted)
        if not granted:
            self._call.forget(participant)
        if changed and participant in self.participants:
            state = "granted" if granted else "denied"
            await self._tell_events([Event("consent_changed", self._now_s, (participant,), {"state": state})])

    def forget(self, participant: str) -> None:
        """Gives out nothing more of what was read of somebody until now, also not what is told late; drops their look."""
        self._call.forget(participant)
        self._seating.forget(participant)
        self._forgotten_s.pop(participant, None)
        self._forgotten_s[participant] = self._now_s
        while len(self._forgotten_s) > FORGOTTEN_MAX:
            del self._forgotten_s[next(iter(self._forgotten_s))]

    async def _all_moments(self, on_frame: Callable[[float], None]) -> None:
        """Every moment of the source, as fast as it goes."""
        async with aclosing(self._source.items()) as items:
            async for item in items:
                if isinstance(item, Moment):
                    await self._moment(item)
                    on_frame(item.time_s)

    async def _newest_moments(self, on_frame: Callable[[float], None]) -> None:
        """The newest moment whenever the pipeline is ready; what a slow machine skips is counted."""
        slot: LatestSlot[Moment] = LatestSlot()
        failures: list[SourceError] = []

        async def pump() -> None:
            try:
                async with aclosing(self._source.items()) as items:
                    async for item in items:
                        if isinstance(item, Moment):
                            slot.put(item)
                        else:
                            await self._source_changed(item)
            except SourceError as error:
                failures.append(error)
            finally:
                slot.close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(), name=f"pump[{self.info.id}]")
            while True:
                try:
                    async with asyncio.timeout(TICK_S):
                        moment = await slot.get()
                except TimeoutError:
                    # Silence closes seconds too, as far as it is known to be silence and not a slow decoder.
                    await self._advance(min(self._source.now_s(), self._source.due_s))
                    continue
                if moment is None:
                    break
                if slot.n_displaced > self.counts.dropped:
                    self._observe.frames_dropped("slow", slot.n_displaced - self.counts.dropped)
                    self.counts.dropped = slot.n_displaced
                await self._moment(moment)
                on_frame(moment.time_s)
        if failures:
            raise failures[0]

    async def _moment(self, moment: Moment) -> None:
        """One moment through the pipeline."""
        if not self._was_live and moment.frames:
            await self._source_changed(SourceState("live"))
        self._now_s = moment.time_s
        self.counts.moments += 1
        self.counts.frames += len(moment.frames)
        for frame in moment.frames:
            self._observe.frame_received(self.info.stamp.epoch_s(frame.time_s))
        if self._source.n_undecoded > self.counts.undecoded:
            self._observe.frames_dropped("undecoded", self._source.n_undecoded - self.counts.undecoded)
            self.counts.undecoded = self._source.n_undecoded
        await self._advance(moment.time_s)
        if not moment.frames and not self._source.is_room:
            if not moment.feeds:
                # Whoever showed the gallery has gone, and everybody with them.
                self.participants, self._shown = (), ()
                self._call.look(moment.time_s, ())
            return
        began = time.perf_counter()
        seats = await self._seating.place(moment)
        self._observe.stage("gallery", time.perf_counter() - began)
        await self._ask_again(self.consent.lapse(seats.seats))
        # While a re-flow is under way everybody is where they were last, and nobody is read.
        if self._source.is_room:
            await self._ask_again(self.consent.left(p for p in self.participants if p not in seats.members))
        if seats.settled:
            self.participants = seats.members
            self._shown = () if self._source.is_room else tuple((s.participant, s.xyxy) for s in seats.seats)
            self._off = seats.off
        readable = self.consent.readable(seats.seats) if seats.settled else frozenset()
        tiles = seats.tiles(readable)
        uncertain = {seat.participant: "not_identified" for seat in seats.seats if seat.participant not in readable}
        refused = {member: "no_consent" for member in self.participants if not self.consent.allows(member)}
        self._call.look(moment.time_s, self.participants, self._shown, uncertain | refused, self._off)
        members = seats.members if self._source.is_room else None
        readings, too_small = await self._reader.read(self.info.id, moment.time_s, tiles, members)
        self._call.explain(moment.time_s, dict.fromkeys(too_small, "small_face"))
        self.counts.faces += len(readings)
        self._observe.faces_analysed(len(readings))
        self._observe.frames_dropped("small_face", len(too_small))
        self._take(readings)

    def _take(self, read: Sequence[FaceReading]) -> None:
        """Readings of a moment, into their second; of who denied while the frame was read nothing is taken."""
        readings = [reading for reading in read if self.consent.allows(reading.participant)]
        if self._personal is not None:
            self._personal.see(readings)
        for reading in readings:
            if not self._call.add(reading):
                self.counts.late += 1
                self._observe.frames_dropped("late")

    async def _ask_again(self, participants: Sequence[str]) -> None:
        """Tells that the consent of these no longer holds."""
        state = {"state": "required"}
        if participants:
            await self._tell_events([Event("consent_changed", self._now_s, (who,), state) for who in participants])

    async def _source_changed(self, change: SourceState) -> None:
        """Tells a new state of the connection, and that the source was lost or is back."""
        now_s = max(self._now_s, self._source.due_s)
        if change.state == "reconnecting" and not self._lost:
            self._lost = True
            await self._tell_events([Event("source_lost", now_s, (), {"reason": change.reason})])
        elif change.state == "live":
            if self._lost:
                await self._tell_events([Event("source_recovered", now_s)])
            self._lost, self._was_live = False, True
        self.reason = change.reason
        if change.state != self.state:
            await self._tell_state(change.state)

    async def _advance(self, now_s: float) -> None:
        """Tells the seconds that are over."""
        for second in self._call.advance(now_s):
            await self._tell_second(second)

    async def _finish(self, problem: str | None) -> None:
        """What was still open, and the end itself."""
        self.problem = problem
        self.reason = problem or self._source.farewell
        stopped = problem == "stopped"
        # The last moment that was read stands for the time until the next.
        end_s = self._now_s + self._period_s if stopped else max(self._now_s, self._source.end_s)
        seconds, events = self._call.finish(end_s)
        for second in seconds:
            await self._tell_second(second, live=False)
        await self._tell_events([*events, Event("session_ended", end_s, (), {"reason": self.reason})])
        await self._tell_state("ended" if stopped or problem is None else "failed")
        self._reader.forget(self.info.id)

    async def _tell_second(self, second: CallSecond, *, live: bool = True) -> None:
        """To all sinks; the end of a recording closes its last second early, which is no latency."""
        self.counts.seconds += 1
        if self._personal is not None:
            second = replace(second, events=(*second.events, *await self._personal.second(second)))
        second = replace(second, events=tuple(self._may_be_told(second.events)))
        if self.info.group_only:
            self._is_large = is_large(second, self.info.minimum)
            second = group_only(second, self.info.minimum)
        for sink in self._sinks:
            await sink.second(self.info, second)
        if self._paced and live:
            self._observe.second_published(self._source.now_s() - (second.second + 1))

    async def _tell_events(self, events: Sequence[Event]) -> None:
        told = self._may_be_told(events)
        if self.info.group_only:
            told = group_only_events(told, large=self._is_large)
        for sink in self._sinks:
            await sink.events(self.info, told)

    def _may_be_told(self, events: Sequence[Event]) -> list[Event]:
        """Events without what somebody expressed who has denied since, or was erased; the group's go without them."""
        told = []
        for event in events:
            named = tuple(who for who in event.participants if not self._is_over(event, who))
            if named == event.participants or event.kind not in INDIVIDUAL_KINDS:
                told.append(event)
            elif event.data.get("scope") == "group":
                told.append(replace(event, participants=named))
        return told

    def _is_over(self, event: Event, participant: str) -> bool:
        """Whether what an event tells of somebody is not to be told any more."""
        denied = self.consent.state(participant) == "denied"
        return denied or event.time_s <= self._forgotten_s.get(participant, -math.inf)

    async def _tell_state(self, state: State) -> None:
        self.state = state
        for sink in self._sinks:
            await sink.status(self.info, state, self._now_s, self.reason)
