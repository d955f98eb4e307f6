"""Live sources: what a supervised connection shows, when it is sought again, and when that is the end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import av
import numpy as np
import pytest
from structlog.testing import capture_logs
from videos import run

from daemon.errors import LostError, SourceError
from daemon.sources import live
from daemon.sources.live import Feeds, LiveSource
from daemon.sources.source import Moment, SourceState
from daemon.supervise import waits

Step = Callable[[Feeds], Awaitable[str]]


def picture(level: int) -> av.VideoFrame:
    """A grey picture."""
    return av.VideoFrame.from_ndarray(np.full((24, 32, 3), level, np.uint8), format="rgb24")


class Scripted:
    """A connection that does what it is told, attempt by attempt; the last step is repeated."""

    component = "rtsp"

    def __init__(self, *steps: Step, is_room: bool = False) -> None:
        self.steps = steps
        self.is_room = is_room
        self.attempts = 0

    async def run(self, feeds: Feeds) -> str:
        """The next step."""
        step = self.steps[min(self.attempts, len(self.steps) - 1)]
        self.attempts += 1
        return await step(feeds)


async def refused(_: Feeds) -> str:
    """Nobody listens."""
    error = LostError("host:1: connection refused")
    raise error


async def shows(feeds: Feeds) -> str:
    """A picture every 20 ms for half a second, then it breaks."""
    feeds.connected()
    feeds.open("gallery")
    for level in range(25):
        feeds.put("gallery", picture(10 * level))
        await asyncio.sleep(0.02)
    error = LostError("the stream broke off")
    raise error


async def shows_and_ends(feeds: Feeds) -> str:
    """A picture, and a goodbye."""
    feeds.connected()
    feeds.open("gallery")
    feeds.put("gallery", picture(200))
    await asyncio.sleep(0.5)
    return "the room was closed"


async def collect(source: LiveSource, enough: Callable[[list[object]], bool]) -> list[object]:
    """What the source gives out, until that is enough or it ends."""
    items: list[object] = []
    async with source, aclosing(source.items()) as given:
        async for item in given:
            items.append(item)
            if enough(items):
                break
    return items


def states(items: list[object]) -> list[str]:
    """The changes of state among them."""
    return [item.state for item in items if isinstance(item, SourceState)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow at once."""
    monkeypatch.setattr(live, "waits", lambda: waits(0.02, 0.05))


def test_pictures_are_sampled_on_the_grid() -> None:
    """Fifty pictures a second become five moments a second, each with the newest picture, at k / 5."""
    items = run(collect(LiveSource(Scripted(shows), rate_hz=5, give_up_s=None), lambda items: len(items) > 4))
    moments = [item for item in items if isinstance(item, Moment) and item.frames]
    assert len(moments) >= 2
    for moment in moments:
        assert moment.time_s * 5 == pytest.approx(round(moment.time_s * 5), abs=1e-3)
        assert moment.feeds == ("gallery",)
    levels = [int(moment.frames[0].image[0, 0, 0]) for moment in moments]
    assert levels == sorted(levels)
    assert {moment.frames[0].time_s == moment.time_s for moment in moments} == {True}


def test_a_loss_is_told_once_and_mended() -> None:
    """Live, lost, sought three times, live again, over: each told once, in this order, with the reasons."""
    lost: list[int] = []
    connection = Scripted(shows, refused, refused, refused, shows_and_ends)
    source = LiveSource(connection, rate_hz=20, give_up_s=None, on_reconnect=lambda: lost.append(1))
    items = run(collect(source, lambda items: False))
    assert states(items) == ["live", "reconnecting", "live"]
    reasons = [item.reason for item in items if isinstance(item, SourceState)]
    assert reasons == [None, "the stream broke off", None]
    assert (source.farewell, lost, connection.attempts) == ("the room was closed", [1], 5)


def test_what_was_never_reached_is_given_up() -> None:
    """With a limit that is an error that says why; without one it is tried on, and the reason is told."""
    with pytest.raises(SourceError, match="host:1: connection refused"):
        run(collect(LiveSource(Scripted(refused), rate_hz=20, give_up_s=0.2), lambda items: False))
    patient = LiveSource(Scripted(refused, refused, shows), rate_hz=20, give_up_s=None)
    items = run(collect(patient, lambda items: "live" in states(items)))
    assert items[0] == SourceState("connecting", "host:1: connection refused")


def test_what_is_not_there_is_final_only_at_first() -> None:
    """A path that was never there is a wrong path; one that has been there may come back with its server."""

    async def missing(_: Feeds) -> str:
        error = LostError("no such stream", final_at_first=True)
        raise error

    with pytest.raises(SourceError, match="no such stream"):
        run(collect(LiveSource(Scripted(missing), rate_hz=20, give_up_s=None), lambda items: False))
    items = run(
        collect(
            LiveSource(Scripted(shows, missing, missing, shows_and_ends), rate_hz=20, give_up_s=None), lambda _: False
        )
    )
    assert states(items) == ["live", "reconnecting", "live"]


def test_refusals_are_final_whenever_they_come() -> None:
    """A password that is refused is not tried again, also where it has worked before."""

    async def refuses(_: Feeds) -> str:
        error = SourceError("wrong password")
        raise error

    connection = Scripted(shows, refuses)
    with pytest.raises(SourceError, match="wrong password"):
        run(collect(LiveSource(connection, rate_hz=20, give_up_s=None), lambda items: False))
    assert connection.attempts == 2


def test_a_peer_may_ask_to_be_left_alone() -> None:
    """Retry-After is kept to."""
    tried: list[float] = []

    async def busy(_: Feeds) -> str:
        tried.append(asyncio.get_running_loop().time())
        error = LostError("busy", retry_after_s=0.4)
        raise error

    with pytest.raises(SourceError, match="busy"):
        run(collect(LiveSource(Scripted(busy), rate_hz=20, give_up_s=0.5), lambda items: False))
    assert tried[1] - tried[0] >= 0.4


def test_an_empty_room_waits() -> None:
    """Connected without anybody is `waiting`; a participant without a picture is there all the same."""

    async def fills(feeds: Feeds) -> str:
        feeds.connected()
        await asyncio.sleep(0.2)
        feeds.open("p-1")
        feeds.open("p-2")
        feeds.put("p-2", picture(9))
        feeds.put("p-3", picture(9))
        await asyncio.sleep(0.3)
        feeds.close("p-2")
        feeds.close("p-1")
        await asyncio.sleep(0.2)
        return "over"

    source = LiveSource(Scripted(fills, is_room=True), rate_hz=20, give_up_s=None)
    items = run(collect(source, lambda items: False))
    assert states(items) == ["waiting", "live", "waiting"]
    full = [item for item in items if isinstance(item, Moment) and item.frames]
    assert (full[0].feeds, [frame.source_id for frame in full[0].frames]) == (("p-1", "p-2"), ["p-2"])
    assert source.n_undecoded == 1


def test_a_gallery_that_nobody_publishes_waits() -> None:
    """An encoder that leaves in good order is no loss, but nothing is live any more; one that stands still is there."""

    async def publishes(feeds: Feeds) -> str:
        feeds.connected()
        for _ in range(2):
            feeds.open("gallery")
            feeds.put("gallery", picture(9))
            await asyncio.sleep(0.2)
            feeds.close("gallery")
            await asyncio.sleep(0.2)
        return "over"

    items = run(collect(LiveSource(Scripted(publishes), rate_hz=20, give_up_s=None), lambda items: False))
    assert states(items) == ["live", "waiting", "live", "waiting"]


def test_a_source_that_shows_nothing_is_logged_once() -> None:
    """It lets us in and stalls, again and again; that is said once until it was live, and then again."""

    async def stalls(feeds: Feeds) -> str:
        feeds.connected()
        feeds.open("gallery")
        await asyncio.sleep(0.15)
        error = LostError("no picture came")
        raise error

    lost: list[int] = []
    connection = Scripted(stalls, stalls, stalls, shows, stalls, stalls, shows_and_ends)
    source = LiveSource(connection, rate_hz=20, give_up_s=None, on_reconnect=lambda: lost.append(1))
    with capture_logs() as logs:
        items = run(collect(source, lambda items: False))
    assert [entry["event"] for entry in logs] == ["source lost", "source recovered"] * 2
    assert states(items).count("live") == 2
    assert len(lost) == 6


def test_a_picture_is_shown_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that stands still shows nothing any more, instead of an old face for ever."""
    monkeypatch.setattr(live, "HOLD_S", 0.2)

    async def once(feeds: Feeds) -> str:
        feeds.connected()
        feeds.open("gallery")
        feeds.put("gallery", picture(50))
        await asyncio.sleep(0.6)
        return "over"

    items = run(collect(LiveSource(Scripted(once), rate_hz=20, give_up_s=None), lambda items: False))
    shown = [bool(item.frames) for item in items if isinstance(item, Moment)]
    assert shown[-1] is False
    assert 3 <= sum(shown) <= 6


def test_a_bug_in_a_connection_is_not_hidden() -> None:
    """Anything but a declared error comes out as it is."""

    async def breaks(_: Feeds) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(collect(LiveSource(Scripted(breaks), rate_hz=20, give_up_s=None), lambda items: False))


def test_feeds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More feeds than can be read are left out, and their pictures counted."""
    monkeypatch.setattr(live, "FEEDS_MAX", 2)
    feeds = Feeds()
    for name in "abc":
        feeds.open(name)
        feeds.put(name, picture(1))
    assert feeds.open_feeds == ("a", "b")
    assert (feeds.n_pictures, feeds.n_undecoded) == (2, 1)


def test_waits_grow_to_their_limit() -> None:
    """Doubling with jitter: never more than the limit, never less than half of what is due."""
    pauses = waits(0.5, 4.0)
    found = [next(pauses) for _ in range(8)]
    for pause, due in zip(found, [0.5, 1, 2, 4, 4, 4, 4, 4], strict=True):
        assert due / 2 <= pause <= due
