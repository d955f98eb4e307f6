"""Live sources: a supervised connection that fills feeds, sampled in real time on the grid of k / rate.

The rate of analysis does not depend on the stream's: at every instant each feed shows its newest picture, for as
long as `HOLD_S`, as a screen would. Nothing queues up, so what is read is never older than that.
"""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import structlog
from av.video.frame import VideoFrame

from daemon.clock import utc_s
from daemon.errors import LostError, SourceError
from daemon.sources.file import upright_rgb
from daemon.sources.source import Moment, SourceState, State
from daemon.supervise import waits
from pipeline.types import U8, Frame

log = structlog.get_logger()

HOLD_S = 1.0
"""How long a feed shows a picture when none follows."""
FEEDS_MAX = 64
"""Feeds of a source that are read at most; more are counted as not decoded."""


@dataclass(slots=True)
class _Newest:
    """The newest picture of a feed."""

    picture: VideoFrame | None = None
    came_s: float = -math.inf
    rgb: U8 | None = None


class Feeds:
    """The newest picture of every feed of one source. A connection opens, fills and closes them, from any thread."""

    def __init__(self, clock: Callable[[], float] = utc_s) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[str, _Newest] = {}
        self.is_connected = False
        self.n_pictures = 0
        self.n_undecoded = 0

    def connected(self) -> None:
        """The peer has let us in; pictures may come."""
        self.is_connected = True

    def open(self, feed: str) -> None:
        """Somebody is there, with or without a picture."""
        with self._lock:
            if len(self._newest) < FEEDS_MAX:
                self._newest.setdefault(feed, _Newest())

    def close(self, feed: str) -> None:
        """Somebody is no longer there."""
        with self._lock:
            self._newest.pop(feed, None)

    def put(self, feed: str, picture: VideoFrame) -> None:
        """The newest picture of an open feed wins; of others it is counted as not decoded."""
        with self._lock:
            newest = self._newest.get(feed)
            if newest is None:
                self.n_undecoded += 1
                return
            newest.picture, newest.came_s, newest.rgb = picture, self._clock(), None
            self.n_pictures += 1

    def skipped(self, n: int = 1) -> None:
        """Pictures came that were not decoded, because decoding fell behind or could not be done."""
        with self._lock:
            self.n_undecoded += n

    def clear(self) -> None:
        """Nobody is there and nothing is connected."""
        with self._lock:
            self._newest.clear()
            self.is_connected = False

    @property
    def open_feeds(self) -> tuple[str, ...]:
        """Who is there, in the order in which they came."""
        with self._lock:
            return tuple(self._newest)

    def newest_age_s(self) -> float:
        """Seconds since the newest picture of any feed; infinite where there is none."""
        with self._lock:
            return self._clock() - max((n.came_s for n in self._newest.values()), default=-math.inf)

    def show(self, time_s: float) -> tuple[Frame, ...]:
        """What the feeds show at that time, converted; called from one thread."""
        with self._lock:
            shown = [(feed, n, n.picture) for feed, n in self._newest.items() if time_s - n.came_s <= HOLD_S]
        frames = []
        for feed, newest, picture in shown:
            rgb = newest.rgb
            if rgb is None and picture is not None:
                rgb = upright_rgb(picture)
                with self._lock:
                    if newest.picture is picture:
                        newest.rgb = rgb
            if rgb is not None:
                frames.append(Frame(feed, time_s, rgb))
        return tuple(frames)


class Connection(Protocol):
    """One way to reach a live call."""

    @property
    def component(self) -> str:
        """`rtsp`, `whep`, `whip` or `janus`: a label of metrics."""

    @property
    def is_room(self) -> bool:
        """Whether feeds are participants' pseudonyms."""

    async def run(self, feeds: Feeds) -> str:
        """Connects, keeps `feeds` filled, and returns why the call is over, once it is.

        Takes down whatever it has set up, also when it is cancelled. It is called again after a loss.

        Raises:
            LostError: It broke or could not be made.
            SourceError: It cannot be, however often one tries.
        """


class LiveSource:
    """Keeps a connection up: `async with LiveSource(...) as source: async for item in source.items()`.

    Args:
        connection: How the call is reached.
        rate_hz: Instants per second.
        give_up_s: Where nothing was reached for so long from the start, that is the end; None: never.
        on_reconnect: Is told when a connection was lost.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        rate_hz: float,
        give_up_s: float | None,
        on_reconnect: Callable[[], None] = lambda: None,
    ) -> None:
        self.due_s = utc_s()
        self.problem: str | None = None
        self.farewell = "the call is over"
        self._connection = connection
        self._rate_hz = rate_hz
        self._give_up_s = give_up_s
        self._on_reconnect = on_reconnect
        self._feeds = Feeds()
        self._told = SourceState("connecting")
        self._was_lost = False
        self._changes: list[SourceState] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_up(), name=f"connection[{self._connection.component}]")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            # It says goodbye in bounded time, and nothing may outlive us, however often one asks.
            while not self._task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([self._task])
            bug = None if self._task.cancelled() else self._task.exception()
            if bug is not None and not isinstance(bug, SourceError) and error is None:
                raise bug
        await asyncio.to_thread(self._thread.shutdown)

    @property
    def is_room(self) -> bool:
        """Whether feeds are participants."""
        return self._connection.is_room

    @property
    def n_undecoded(self) -> int:
        """Pictures that were not decoded."""
        return self._feeds.n_undecoded

    @property
    def end_s(self) -> float:
        """The present: live calls end now."""
        return utc_s()

    def now_s(self) -> float:
        """UTC in seconds since the epoch."""
        return utc_s()

    async def items(self) -> AsyncGenerator[Moment | SourceState, None]:
        """Moments in real time, and changes of the connection's state.

        Raises:
            SourceError: It cannot be reached, or no longer.
        """
        loop = asyncio.get_running_loop()
        number = math.ceil(utc_s() * self._rate_hz)
        while True:
            await asyncio.sleep(max(0.0, number / self._rate_hz - utc_s()))
            time_s = number / self._rate_hz
            frames: tuple[Frame, ...] = ()
            if self._feeds.is_connected:
                frames = await loop.run_in_executor(self._thread, self._feeds.show, time_s)
            self._look(seen=bool(frames))
            for change in self._changes:
                yield change
            self._changes.clear()
            if self._task is not None and self._task.done():
                self._task.result()
                return
            if self._feeds.is_connected:
                yield Moment(time_s, frames, self._feeds.open_feeds)
            self.due_s = time_s
            # A machine that was held up goes on with the present.
            number = max(number + 1, math.floor(utc_s() * self._rate_hz))

    def _look(self, *, seen: bool) -> None:
        """Which state the connection is in by what is to be seen."""
        if not self._feeds.is_connected:
            return
        if seen:
            self._enter("live")
        elif self._told.state in {"connecting", "reconnecting"} or not self._feeds.open_feeds:
            self._enter("waiting")

    def _enter(self, state: State, reason: str | None = None) -> None:
        change = SourceState(state, reason)
        if change != self._told:
            if state == "live" and self._was_lost:
                log.info("source recovered", component=self._connection.component)
                self._was_lost = False
            self._told = change
            self._changes.append(change)

    async def _keep_up(self) -> None:
        """Connects until the call is over."""
        began_s, reached = utc_s(), False
        component = self._connection.component
        pauses = waits()
        while True:
            n_before = self._feeds.n_pictures
            try:
                self.farewell = await self._connection.run(self._feeds)
            except LostError as error:
                reached = reached or self._feeds.is_connected
                reason, pause_s = str(error), error.retry_after_s
                if not reached and error.final_at_first:
                    raise SourceError(reason) from error
            else:
                return
            finally:
                self._feeds.clear()
            if self._feeds.n_pictures > n_before:
                pauses = waits()
            if reached and self._told.state != "reconnecting":
                # One that lets us in and shows nothing is lost again and again.
                if not self._was_lost:
                    log.warning("source lost", component=component, reason=reason)
                self._was_lost = True
                self._enter("reconnecting", reason)
                self._on_reconnect()
            elif not reached:
                self._enter("connecting", reason)
            if not reached and self._give_up_s is not None and utc_s() - began_s >= self._give_up_s:
                raise SourceError(reason)
            await asyncio.sleep(max(next(pauses), pause_s))
