"""The Lab Streaming Layer: an outlet per participant and per group, for recorders such as LabRecorder; extra `lsl`.

liblsl asks nobody who they are. `lsl.scope` says how far an outlet makes itself known, `machine` by default: loopback. But
liblsl 1.18 has no setting for the address that it listens on: whoever reaches ports 16572 and up of this machine, and knows
to ask there, can read the streams. So it is off unless `lsl.enabled`, and the log says so when it is on.

Everything of liblsl happens in one thread of ours: opening an outlet binds ports, closing one waits for its threads.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self

import structlog

from daemon.errors import UnusableInputError
from daemon.session import SessionInfo
from daemon.sources.source import State
from pipeline.emotions import EMOTIONS
from pipeline.types import CallSecond, Event, FusedReading, GroupReading

if TYPE_CHECKING:
    from pylsl import StreamOutlet

log = structlog.get_logger()

Scope = Literal["machine", "link", "site"]

PARTICIPANT: Final = (*EMOTIONS, "confidence", "abstain", "valence", "arousal", "coverage", "quality")
GROUP: Final = (*EMOTIONS, "members", "engaged", "polarisation", "synchrony", "homogeneity")
"""Channels; what is not known, as in a second without a face, is NaN."""
OUTLETS_MAX: Final = 128
"""Streams at a time; liblsl spends threads and ports on each. Further ones are counted and left out."""
WAITING_MAX: Final = 600
"""Samples that wait for liblsl at most; it takes them at once unless something is wrong with it."""
BUFFER_S: Final = 60
"""Seconds that liblsl keeps for a recorder that falls behind; the oldest go first."""
LATE_MAX_S: Final = 60.0
"""A second that ended longer ago is one of a recording: its samples are of now."""
PORTS: Final = "16571-16603"
"""Of liblsl, as configured by default: discovery, then one of TCP and one of UDP for each stream."""
MACHINE: Final = """
[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
AddressesOverride = {127.0.0.1}
Interfaces = {127.0.0.1}
[lab]
KnownPeers = {127.0.0.1}
"""


def configuration(scope: Scope) -> str:
    """What liblsl is told before it does anything."""
    quiet = "[log]\nlevel = -2\n"
    return quiet + (MACHINE if scope == "machine" else f"[multicast]\nResolveScope = {scope}\n")


@dataclass(frozen=True, slots=True)
class _Sample:
    """One row of a stream: `of` is the participant, None for the group."""

    session: str
    of: str | None
    values: tuple[float, ...]
    ended_s: float


class Lsl:
    """A `Sink`: `async with Lsl(node="local", scope="machine") as lsl`.

    Args:
        node: Name of this daemon; stands in the source id, by which recorders find a stream again after a restart.
        scope: Who may find the streams: this machine, its link, or its site.
        now: UTC in seconds.

    Attributes:
        n_dropped: Samples that were not given to liblsl, because too many waited or there were too many streams.
    """

    def __init__(self, *, node: str, scope: Scope, now: Callable[[], float] = time.time) -> None:
        self._node, self._scope, self._now = node, scope, now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lsl")
        self._outlets: dict[tuple[str, str | None], StreamOutlet] = {}
        self._n_waiting = 0
        self.n_dropped = 0

    async def __aenter__(self) -> Self:
        try:
            await self._call(self._open)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._call(self._outlets.clear)
        finally:
            self._thread.shutdown()

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:  # noqa: ARG002
        """The streams of a session end with it."""
        if state in {"ended", "failed"}:
            await self._call(lambda: self._close(info.id))

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """A sample for each participant, and one for a group that is large enough to be published."""
        ended_s = info.stamp.epoch_s(float(second.second + 1))
        samples = [_Sample(info.id, r.participant, participant_sample(r), ended_s) for r in second.readings]
        if len(second.group.members) >= info.minimum:
            samples.append(_Sample(info.id, None, group_sample(second.group), ended_s))
        for sample in samples:
            self._hand_over(partial(self._push, sample))
        for event in second.events:
            if event.kind == "participant_left":
                for participant in event.participants:
                    self._hand_over(partial(self._end, info.id, participant))

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Events are on MQTT."""

    def _hand_over(self, work: Callable[[], object]) -> None:
        if self._n_waiting >= WAITING_MAX:
            self._drop("liblsl is too slow")
            return
        self._n_waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        future.add_done_callback(self._pushed)

    def _pushed(self, future: "asyncio.Future[object]") -> None:
        self._n_waiting -= 1
        if (error := future.exception()) is not None:
            self._drop(str(error))

    def _drop(self, why: str) -> None:
        self.n_dropped += 1
        if self.n_dropped == 1:
            log.warning("a sample did not reach the Lab Streaming Layer", why=why)

    # In the thread of liblsl

    async def _call(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        try:
            import pylsl  # noqa: PLC0415 (an extra, and it loads a library)
        except (ImportError, RuntimeError, OSError) as error:
            msg = f"lsl.enabled: the Lab Streaming Layer is not there ({error}); pip install 'attuned[lsl]', or switch it off"
            raise UnusableInputError(msg) from error
        pylsl.set_config_content(configuration(self._scope))
        log.warning("whoever reaches these ports of this machine can read the streams", ports=PORTS, scope=self._scope)

    def _push(self, sample: _Sample) -> None:
        from pylsl import local_clock  # noqa: PLC0415

        outlet = self._outlets.get((sample.session, sample.of))
        if outlet is None:
            if len(self._outlets) >= OUTLETS_MAX:
                msg = f"{OUTLETS_MAX} streams are open"
                raise RuntimeError(msg)
            outlet = self._outlets[sample.session, sample.of] = self._outlet(sample.session, sample.of)
        late_s = self._now() - sample.ended_s
        # Of the end of the second that it tells of, in the clock that all streams of a recording share.
        outlet.push_sample(sample.values, local_clock() - (late_s if 0 <= late_s <= LATE_MAX_S else 0.0))

    def _outlet(self, session: str, of: str | None) -> "StreamOutlet":
        from pylsl import StreamInfo, StreamOutlet, cf_float32  # noqa: PLC0415

        labels = GROUP if of is None else PARTICIPANT
        info = StreamInfo(
            name=f"attuned {session} {of or 'group'}",
            type="Expression",
            channel_count=len(labels),
            nominal_srate=1,
            channel_format=cf_float32,
            source_id=f"attuned/{self._node}/{session}/{of or 'group'}",
        )
        info.set_channel_labels(list(labels))
        info.set_channel_types("apparent expression")
        described = info.desc()
        for key, value in (("manufacturer", "attuned"), ("session", session), ("participant", of or "")):
            described.append_child_value(key, value)
        return StreamOutlet(info, max_buffered=BUFFER_S)

    def _end(self, session: str, participant: str) -> None:
        self._outlets.pop((session, participant), None)

    def _close(self, session: str) -> None:
        for key in [key for key in self._outlets if key[0] == session]:
            del self._outlets[key]


def participant_sample(reading: FusedReading) -> tuple[float, ...]:
    """Values in the order of `PARTICIPANT`; NaN for all that is not known in a second without a face."""
    p, arms = reading.probabilities, reading.arms
    shares = [math.nan] * len(EMOTIONS) if p is None else p.tolist()
    affect = reading.valence_arousal or (math.nan, math.nan)
    return (
        *(*shares, _or_nan(reading.confidence), float(reading.abstain), *affect),
        *(arms.coverage, _or_nan(arms.quality)),
    )


def group_sample(group: GroupReading) -> tuple[float, ...]:
    """Values in the order of `GROUP`."""
    p, engagement = group.probabilities, group.engagement
    shares = [math.nan] * len(EMOTIONS) if p is None else p.tolist()
    counts = (float(len(group.members)), float(len(group.engaged)))
    split = group.polarisation
    told = (None if split is None else split.distance, engagement.synchrony, engagement.homogeneity)
    return (*shares, *counts, *map(_or_nan, told))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
