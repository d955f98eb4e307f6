"""A session with made-up faces: real files, real splitting, models that say what they saw."""

import asyncio
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from builders import grid, p, wall
from cameras import avatar, camera, layout, wall_of
from videos import run, write_pictures, write_video

from config.sections import SourceSection
from daemon.consent import ConsentGate
from daemon.inference import FaceReader
from daemon.latest import LatestSlot
from daemon.seats import GalleryFollower, GallerySeating
from daemon.service import Standstill
from daemon.session import Session, SessionInfo
from daemon.sessions import Entry, Plan
from daemon.sources.file import FileSource, probe
from daemon.sources.source import State
from pipeline.call import CallSettings
from pipeline.gallery import GallerySplitter
from pipeline.identity import TileIdentity
from pipeline.seating import pseudonym
from pipeline.types import U8, Box, CallSecond, Crop, Event, Expressions, FaceBoxes, Faces
from pipeline.wire import Stamp, Versions

BEGAN = {"purpose": "research", "basis": "consent", "consent": "declared"}


class Tracker:
    """Finds a face in every picture and counts what it was given."""

    looked = 0
    half_px = 13
    """Half the width of the face."""

    def find(self, image: U8) -> Faces:
        """A round mesh in the middle."""
        Tracker.looked += 1
        height, width = image.shape[:2]
        angle = np.linspace(0, 6.28, 468)
        wide = type(self).half_px
        mesh = np.stack([width / 2 + wide * np.cos(angle), height / 2 + 16 * np.sin(angle), 0 * angle], axis=1)
        return Faces(
            np.array([[width / 2 - wide, 0, width / 2 + wide, 32]], np.float32),
            np.ones(1, np.float32),
            mesh[None].astype(np.float32),
        )

    def close(self) -> None:
        """Nothing to give back."""


class Nowhere:
    """Finds no face in a whole picture."""

    def find_all(self, image: U8, tiles: Sequence[Box] = ()) -> FaceBoxes:
        """None."""
        return FaceBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def close(self) -> None:
        """Nothing to give back."""


class Happy:
    """Says happiness of everybody."""

    version = "happy-1.0"
    crop = Crop()

    def predict(self, faces: np.ndarray) -> Expressions:
        """The same for each."""
        n = len(faces)
        happy = np.stack([p(happiness=0.9)] * n)
        return Expressions(np.zeros((n, 7), np.float32), happy, happy, np.zeros((n, 1), np.float32))


class Everything:
    """A sink that keeps, and an observer that counts."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.seconds: list[CallSecond] = []
        self.told: list[Event] = []
        self.dropped = 0
        self.lags: list[float] = []

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """Kept."""
        self.states.append(state)

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Kept."""
        self.seconds.append(second)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Kept."""
        self.told += events

    def frame_received(self, time_s: float) -> None:
        """Not kept."""

    def frames_dropped(self, reason: str, n: int = 1) -> None:
        """Counted."""
        self.dropped += n

    def faces_analysed(self, n: int) -> None:
        """Not kept."""

    def stage(self, name: str, seconds: float) -> None:
        """Not kept."""

    def second_published(self, lag_s: float) -> None:
        """Kept."""
        self.lags.append(lag_s)


@pytest.fixture(autouse=True)
def nobody_looked() -> None:
    """Each test counts from zero."""
    Tracker.looked = 0


def play(
    path: Path,
    *,
    consent: str = "declared",
    paced: bool = False,
    during: object = None,
    tracker: type = Tracker,
    hold_s: float = 2.0,
    kept: Everything | None = None,
) -> tuple[Session, Everything]:
    """Runs a session over a file; `during` is a coroutine function that is run beside it."""
    kept = kept or Everything()
    recording = probe(path)
    info = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-0", "landmark-0"), 2)

    async def main() -> Session:
        reader = FaceReader(
            open_tracker=tracker, pixel=Happy(), landmark=Happy(), workers=2, observe=lambda stage, seconds: None
        )
        async with reader, FileSource(recording, rate_hz=5, paced=paced, hold_s=hold_s) as source:
            session = Session(
                info=info,
                source=source,
                seating=GallerySeating(
                    GalleryFollower(GallerySplitter(), TileIdentity(info.seed), open_spotter=Nowhere)
                ),
                reader=reader,
                sinks=(kept,),
                observe=kept,
                consent=ConsentGate(consent),
                call=CallSettings(),
                paced=paced,
            )
            task = asyncio.create_task(session.run())
            try:
                if during is not None:
                    await during(session, task)
                await task
            except asyncio.CancelledError:
                assert task.cancelled()
            return session

    return run(main()), kept


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Three seconds of one person: patches that stay, and a camera's noise."""
    rng = np.random.default_rng(0)
    patches = np.kron(rng.integers(20, 235, (6, 8, 3)), np.ones((20, 20, 1), dtype=np.int64))
    pictures = ((patches + rng.integers(-9, 9, patches.shape)).astype(np.uint8) for _ in range(75))
    return write_pictures(tmp_path / "v.mp4", pictures, fps=25)


def test_a_session_tells_its_whole_story(video: Path) -> None:
    """Started, joined, a reading for every second, ended; each frame of each person read once."""
    session, kept = play(video)
    assert kept.states == ["connecting", "live", "ended"]
    assert [second.second for second in kept.seconds] == [0, 1, 2]
    assert {5} == {second.readings[0].arms.n_frames for second in kept.seconds}
    assert {"happiness"} == {second.readings[0].top for second in kept.seconds}
    assert (kept.told[0].kind, kept.told[0].data) == ("session_started", BEGAN)
    assert (kept.told[-1].kind, kept.told[-1].time_s) == ("session_ended", 3.0)
    assert (session.counts.frames, session.counts.faces, session.counts.seconds) == (15, 15, 3)


def test_without_consent_no_face_is_looked_at(video: Path) -> None:
    """No picture of a participant who did not agree reaches a tracker; they are a member without a reading."""
    _, kept = play(video, consent="required")
    assert Tracker.looked == 0
    assert {0.0} == {second.readings[0].arms.coverage for second in kept.seconds}
    assert {"no_consent"} == {reason for second in kept.seconds for reason in second.group.excluded.values()}


def test_consent_takes_effect_at_once(video: Path) -> None:
    """Granted and withdrawn while it runs: both are events, and reading begins and ends with them."""

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        while session.counts.frames < 4:
            await asyncio.sleep(0.01)
        await session.set_consent(session.participants[0], granted=True)
        await session.set_consent(session.participants[0], granted=True)
        while Tracker.looked < 3:
            await asyncio.sleep(0.01)
        await session.set_consent(session.participants[0], granted=False)
        looked = Tracker.looked
        await task
        # At most the frame that was being read when consent was withdrawn.
        assert Tracker.looked <= looked + 1

    _, kept = play(video, consent="required", paced=True, during=during)
    states = [event.data["state"] for event in kept.told if event.kind == "consent_changed"]
    assert states == ["granted", "denied"]


def seated(people: list[int], columns: int, rows: int, *, first: int, n: int) -> list[U8]:
    """Pictures of a gallery in which these people sit, from moment `first` on."""
    return [wall_of([camera(who, first + k) for who in people], layout(columns, rows)) for k in range(n)]


def test_consent_follows_people_through_a_reflow(tmp_path: Path) -> None:
    """Two who agreed are joined by two who did not, and sit elsewhere then: they are read on, the others are not."""
    pictures = [*seated([0, 1], 2, 1, first=0, n=20), *seated([2, 1, 3, 0], 2, 2, first=20, n=25)]
    path = write_pictures(tmp_path / "v.mp4", pictures)

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        while not session.participants:
            await asyncio.sleep(0.01)
        for participant in session.participants:
            await session.set_consent(participant, granted=True)
        await task

    _, kept = play(path, consent="required", paced=True, during=during)
    states = [event.data["state"] for event in kept.told if event.kind == "consent_changed"]
    assert states == ["granted", "granted"]
    last = kept.seconds[-1]
    agreed = [pseudonym("seed", 0), pseudonym("seed", 1)]
    read = {reading.participant: reading.arms.n_frames for reading in last.readings}
    assert [read[who] for who in agreed] == [5, 5]
    assert sum(read.values()) == 10
    assert [who for who, _ in last.tiles if who in agreed] == agreed[::-1]
    kinds = [event.kind for second in kept.seconds for event in second.events]
    assert kinds.count("layout_changed") >= 1
    assert (kinds.count("participant_joined"), kinds.count("participant_left")) == (4, 0)


def test_a_camera_that_goes_off_and_on_is_told(tmp_path: Path) -> None:
    """Of two one shows a name for four seconds: `camera_off` and `camera_on`, dated when it began, and nobody left."""
    x0, y0, x1, y1 = layout(2, 1)[1]
    name = avatar(1, (x1 - x0, y1 - y0))
    on = [seated([0, 1], 2, 1, first=first, n=n) for first, n in ((0, 15), (35, 20))]
    off = [wall_of([camera(0, k), name], layout(2, 1)) for k in range(15, 35)]
    # Nobody agreed to be read, and this comes before.
    _, kept = play(write_pictures(tmp_path / "v.mp4", [*on[0], *off, *on[1]]), consent="required")
    events = [event for second in kept.seconds for event in second.events]
    told = [(event.kind, event.time_s, event.participants) for event in events if event.kind.startswith("camera")]
    other = (pseudonym("seed", 1),)
    assert [(kind, who) for kind, _, who in told] == [("camera_off", other), ("camera_on", other)]
    # Everybody is looked at about once a second.
    assert [time_s for _, time_s, _ in told] == [pytest.approx(3, abs=1), pytest.approx(7, abs=1)]
    assert "participant_left" not in {event.kind for event in events}


def test_who_swaps_seats_takes_consent_along(tmp_path: Path) -> None:
    """In an unchanged grid two people change places: whoever agreed is read at the other place, nobody else there."""
    pictures = [*seated([0, 1, 2, 3], 2, 2, first=0, n=20), *seated([1, 0, 2, 3], 2, 2, first=20, n=20)]
    path = write_pictures(tmp_path / "v.mp4", pictures)

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        while not session.participants:
            await asyncio.sleep(0.01)
        await session.set_consent(session.participants[0], granted=True)
        await task

    _, kept = play(path, consent="required", paced=True, during=during)
    [tile] = [box for who, box in kept.seconds[-1].tiles if who == pseudonym("seed", 0)]
    assert tile[0] > 300
    read = {r.participant: r.arms.n_frames for r in kept.seconds[-1].readings}
    assert read[pseudonym("seed", 0)] == 5
    assert sum(read.values()) == 5


def test_of_who_is_erased_no_look_is_kept(tmp_path: Path) -> None:
    """A second later nothing is left of what tiles looked like before; the id stays. At the end nothing is left at all."""
    path = write_pictures(tmp_path / "v.mp4", seated([0, 1], 2, 1, first=0, n=25))
    sessions = []

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        people = session._seating._follower._identity._people
        while session._now_s < 2:
            await asyncio.sleep(0.01)
        who, other = session.participants
        looks = {one: [*people[one].keys, *(look for _, look in people[one].recent)] for one in (who, other)}
        session.forget(who)
        until = session._now_s + 0.9
        while session._now_s < until:
            await asyncio.sleep(0.01)
        people = session._seating._follower._identity._people
        left = {one: [*people[one].keys, *(look for _, look in people[one].recent)] for one in (who, other)}
        assert not any(look is before for look in left[who] for before in looks[who])
        assert any(look is before for look in left[other] for before in looks[other])
        assert session.participants == (who, other)
        sessions.append(session)
        await task

    play(path, consent="required", paced=True, during=during)
    [session] = sessions
    assert session._seating._follower._identity._people == {}
    session.forget(session.participants[0])


def test_a_face_too_small_is_not_read_and_said_to_be(video: Path) -> None:
    """Below 24 px there is no reading, the reason is told, and it is counted."""

    class Far(Tracker):
        """Finds a face of 20 px."""

        half_px = 10

    _, kept = play(video, tracker=Far)
    assert {"small_face"} == {reason for second in kept.seconds for reason in second.group.excluded.values()}
    assert kept.dropped == 15


def test_a_stopped_session_gives_out_what_it_has(video: Path) -> None:
    """Cancelled in the middle, the open second and the end still go out."""

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        while session.counts.frames < 8:
            await asyncio.sleep(0.01)
        task.cancel()

    session, kept = play(video, paced=True, during=during)
    assert (session.state, session.reason) == ("ended", "stopped")
    assert kept.told[-1].kind == "session_ended"
    assert [second.second for second in kept.seconds] == [0, 1]


def test_a_slow_machine_skips_frames_and_counts_them(video: Path) -> None:
    """In real time the newest frame wins; what was displaced is counted and coverage says so."""

    class Slow(Tracker):
        """Takes half a second for every picture."""

        def find(self, image: U8) -> Faces:
            """Sleeps, then finds."""
            time.sleep(0.5)
            return super().find(image)

    session, kept = play(video, paced=True, tracker=Slow)
    assert session.counts.dropped == kept.dropped > 5
    assert session.counts.frames + session.counts.dropped == 15
    assert max(second.readings[0].arms.coverage for second in kept.seconds) < 0.9
    assert max(kept.lags) < 2.0


def test_silence_closes_seconds(tmp_path: Path) -> None:
    """When no picture comes for three seconds, each of them is told when it is over, not when the next one comes."""
    times = [Fraction(0), Fraction(1, 2), Fraction(4)]
    _, kept = play(write_video(tmp_path / "v.mkv", [0, 90, 180], times=times), paced=True, hold_s=0.5)
    assert [second.second for second in kept.seconds] == [0, 1, 2, 3, 4]
    assert max(kept.lags) < 1.0


def test_a_cancelled_read_leaves_nothing_running(video: Path) -> None:
    """A tracker is never closed while a thread still uses it."""
    seen = []

    class Careful(Tracker):
        """Notes whether it is closed in the middle of its work."""

        def __init__(self) -> None:
            self.busy = False

        def find(self, image: U8) -> Faces:
            """Takes a while."""
            self.busy = True
            time.sleep(0.3)
            self.busy = False
            return super().find(image)

        def close(self) -> None:
            """Notes it."""
            seen.append(self.busy)

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        while session.counts.frames < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()

    play(video, during=during, tracker=Careful)
    assert seen == [False]


def test_a_failing_tracker_waits_for_the_others(tmp_path: Path) -> None:
    """Of two faces read at once one fails at once: the other's tracker is closed when it is done, not before."""
    closed_busy = []

    class Pair(Tracker):
        """The first fails, the second takes its time."""

        made = 0

        def __init__(self) -> None:
            Pair.made += 1
            self.number, self.busy = Pair.made, False

        def find(self, image: U8) -> Faces:
            """Fails or sleeps."""
            if self.number == 1:
                raise ZeroDivisionError
            self.busy = True
            time.sleep(0.5)
            self.busy = False
            return super().find(image)

        def close(self) -> None:
            """Notes whether it was in use."""
            closed_busy.append(self.busy)

    path = write_pictures(tmp_path / "v.mp4", [wall((106, 344), grid(2, 1))] * 5)
    with pytest.raises(ZeroDivisionError):
        play(path, tracker=Pair)
    assert closed_busy == [False, False]


def test_a_bug_is_no_ordinary_end(video: Path) -> None:
    """When something breaks inside, the session has failed, and what broke it goes on to whoever runs it."""

    class Broken(Tracker):
        """Breaks."""

        def find(self, image: U8) -> Faces:
            """Raises."""
            raise ZeroDivisionError

    kept = Everything()
    with pytest.raises(ZeroDivisionError):
        play(video, tracker=Broken, kept=kept)
    assert kept.states == ["connecting", "live", "failed"]
    assert kept.told[-1].data == {"reason": "internal error"}


def test_a_broken_recording_fails_with_its_reason(tmp_path: Path, video: Path) -> None:
    """What was read before the break is told, and the state is failed."""
    rng = np.random.default_rng(0)
    whole = write_video(tmp_path / "w.mp4", rng.integers(0, 255, 250).tolist(), options={"movflags": "+faststart"})
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    session, kept = play(half)
    assert kept.states == ["connecting", "live", "failed"]
    assert session.reason is not None
    assert session.reason in kept.told[-1].data["reason"]


def test_the_newest_value_wins() -> None:
    """Two puts without a get displace one; after closing, what is left comes out and then None."""

    async def main() -> list[int | None]:
        slot: LatestSlot[int] = LatestSlot()
        slot.put(1)
        slot.put(2)
        slot.close()
        assert slot.n_displaced == 1
        return [await slot.get(), await slot.get()]

    assert run(main()) == [2, None]


class Hung(Tracker):
    """A tracker that never comes back, until it is let go."""

    let_go = threading.Event()

    def find(self, image: U8) -> Faces:
        """Waits."""
        assert Hung.let_go.wait(30)
        return super().find(image)


def entry_of(session: Session, task: asyncio.Task[None]) -> Entry:
    """An entry of a session that plays."""
    plan = Plan(id="s", url="v.mp4", purpose="research", consent="declared", source=SourceSection())
    entry = Entry(plan, session=session)
    entry.task = task
    return entry


def test_a_session_that_hangs_in_a_model_stands_still(video: Path) -> None:
    """It is live and takes no more moments; before, while it is over, and when it is let go, it does not stand still."""
    Hung.let_go.clear()
    seen: list[bool] = []

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        standstill, entry = Standstill(), entry_of(session, task)
        assert standstill.look([entry]) == frozenset()
        while session.state != "live":
            await asyncio.sleep(0.01)
        standstill.look([entry])
        for _ in range(3):
            await asyncio.sleep(0.6)
            seen.append(bool(standstill.look([entry])))
        Hung.let_go.set()
        await asyncio.sleep(0.6)
        assert standstill.look([entry]) == frozenset()
        await task
        assert standstill.look([entry]) == standstill.look([entry]) == frozenset()

    play(video, paced=True, during=during, tracker=Hung)
    assert seen[1:] == [True, True]


def test_a_session_that_moves_does_not_stand_still(video: Path) -> None:
    """Looked at every half a second, it has always taken a moment."""
    seen: list[bool] = []

    async def during(session: Session, task: asyncio.Task[None]) -> None:
        standstill, entry = Standstill(), entry_of(session, task)
        while not task.done():
            seen.append(bool(standstill.look([entry])))
            await asyncio.sleep(0.5)

    play(video, paced=True, during=during)
    assert len(seen) > 4
    assert not any(seen)
