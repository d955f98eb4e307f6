"""Personal heads in running sessions, with a stand-in for what trains them."""

import asyncio
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from builders import p

from daemon import personal_session
from daemon.corrections import Correction
from daemon.inference import FaceReader
from daemon.personal import Personalisation
from daemon.personal_files import Kit, PersonalSettings
from daemon.personal_session import MEMORY_S, PersonalSession
from daemon.session import SessionInfo
from daemon.trainer import TrainerSettings
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Label
from models.personal.crops import Cipher
from models.personal.gate import GateSettings
from models.personal.heads import read_arrays
from models.personal.monitor import MonitorSettings
from models.personal.people import HEADS
from models.personal.samples import Origin
from models.personal.serving import ServedHead
from models.personal.store import Store
from models.personal.trigger import TriggerSettings
from pipeline.emotions import EMOTIONS, F64, softmax
from pipeline.fusion import fuse
from pipeline.seconds import read_seconds
from pipeline.types import (
    U8,
    CallSecond,
    Crop,
    Event,
    Expressions,
    FaceEvidence,
    FaceReading,
    Faces,
    GroupLabel,
    GroupReading,
    Heads,
    SettledSecond,
    Tile,
)
from pipeline.wire import Stamp, Versions

ROOT = Path(__file__).parents[2]
DIM = 8
BASIS = Basis("a" * 64, "b" * 64, DIM, DIM)
ANNA = "p-0000000a"
GATE = GateSettings(block_s=2.0, gap_s=2.0, n_resamples=200)
SETTINGS = PersonalSettings(
    trigger=TriggerSettings(n_samples=120, n_of_class=20, n_new=60, n_blocks=40),
    monitor=MonitorSettings(block_s=2.0, patience=10.0),
    trainer=TrainerSettings(gate=GATE),
    waits=True,
)
INFO = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-0", "landmark-0"), 2)
CLASSES = [EMOTIONS.index(name) for name in ("happiness", "sadness", "neutral")]
OTHER = dict(zip(CLASSES, [*CLASSES[1:], CLASSES[0]], strict=True))
NOBODY = GroupReading(0, (), (), {}, None, (), {})

STAND_IN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from daemon.training_process import main

def learners(job):
    import numpy as np
    from models.personal.heads import write_arrays
    from pipeline.emotions import softmax

    class Generic:
        offset = np.zeros(7)
        def predict_proba(self, samples):
            return softmax(samples.pixel[:, :7].astype(float) + self.offset)

    class Offset(Generic):
        def fit(self, samples, seed):
            said = np.log(samples.target.clip(1e-3)) - np.log(Generic().predict_proba(samples))
            self.offset = said.mean(axis=0).clip(-2.5, 2.5) * (job.learner != "same")
        def save(self, path):
            write_arrays(path, {{"offset": self.offset}})
    return Offset(), Generic()

sys.exit(main(learners=learners))
"""


def serve(arrays: dict[str, F64], version: str) -> ServedHead:
    """Adds the offset to what both arms say."""

    def answers(pixel: Any, landmark: Any, interpretable: Any) -> tuple[F64, F64]:  # noqa: ANN401
        said = softmax(pixel[:, :7].astype(float) + arrays["offset"])
        return said, said

    return ServedHead(Heads(version, version), reads_interpretable=False, _answers=answers)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine; no task is left when it is over."""

    async def whole() -> None:
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


class Stage:
    """A call of one person whose rest looks sad, and who is labelled."""

    def __init__(self, folder: Path, *, is_stable: bool = True, settings: PersonalSettings = SETTINGS) -> None:
        self.root = folder / "personal"
        script = folder / "stand_in.py"
        script.write_text(STAND_IN)
        self._command = (sys.executable, str(script))
        self._settings = settings
        self._is_stable = is_stable
        self._rng = np.random.default_rng(0)
        self._mesh = self._rng.normal(200, 50, (468, 3)).astype(np.float32)
        self.heads: dict[str, ServedHead | None] = {}
        self.counted: list[str] = []
        self.told: list[Event] = []
        self.seconds: list[CallSecond] = []

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Personalisation]:
        """Personalisation at work."""
        kit = Kit(BASIS, load=read_arrays, serve=serve)
        async with Personalisation(
            self.root, kit=kit, settings=self._settings, count=self.counted.append, command=self._command
        ) as owner:
            work = asyncio.create_task(owner.run(), name="personal training")
            try:
                yield owner
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    @asynccontextmanager
    async def session(self, owner: Personalisation, **more: object) -> AsyncIterator[PersonalSession]:
        """A session of Anna's."""
        async with PersonalSession(
            owner, info=INFO, is_stable=lambda _: self._is_stable, set_head=self.heads.__setitem__, **more
        ) as session:
            yield session

    async def second(
        self, session: PersonalSession, second: int, *, truth: int | None = None, group: F64 | None = None
    ) -> CallSecond:
        """One second of Anna, with what the group said of her in it."""
        truth = CLASSES[second // 4 % 3] if truth is None else truth
        logits = self._rng.normal(0, 0.3, DIM) + 3.0 * np.eye(DIM)[truth]
        logits[EMOTIONS.index("sadness")] += 2.0
        pixel = logits.astype(np.float32)
        generic = softmax(pixel[None, :7].astype(float))[0]
        head = self.heads.get(ANNA)
        evidence = FaceEvidence(pixel, np.zeros(DIM, np.float32), self._mesh)
        reading = FaceReading(ANNA, float(second), 0.9, generic, generic, None, evidence)
        if head is not None:
            said = head.arms(pixel[None], pixel[None], pixel[None])
            assert said is not None
            reading = replace(
                reading, pixel=said[0][0], landmark=said[1][0], generic=(generic, generic), heads=head.heads
            )
        session.see([reading])
        labels = () if group is None else (GroupLabel(ANNA, second, group, 3),)
        settled = SettledSecond(second, {}, None, labels)
        fused = fuse(read_seconds(second, {ANNA: [reading]}, 1)[0], 0.5)
        closed = CallSecond(second, (fused,), NOBODY, (), (), (settled,))
        self.seconds.append(closed)
        self.told += await session.second(closed)
        return closed

    async def until(
        self,
        session: PersonalSession,
        kind: str,
        *,
        first: int = 0,
        label: Callable[[int], F64] = lambda truth: np.eye(7)[truth] * 0.93 + 0.01,
    ) -> int:
        """Seconds go by, labelled by the group, until such an event is told: that second."""
        for second in range(first, first + 400):
            truth = CLASSES[second // 4 % 3]
            await self.second(session, second, truth=truth, group=label(truth))
            if any(event.kind == kind for event in self.told):
                return second
        pytest.fail(f"no {kind} within 400 seconds: {[event.kind for event in self.told]}")

    def store(self) -> Store:
        """Anna's heads."""
        return Store(self.root / ANNA / HEADS, basis=BASIS.key)


def test_labels_become_a_head_and_harm_takes_it_back(tmp_path: Path) -> None:
    """Promoted, named by the readings of the next second, better than the generic head; wrong for long: rolled back."""
    stage = Stage(tmp_path)

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            promoted = await stage.until(session, "head_promoted")
            [event] = stage.told
            assert (event.participants, event.data["version"], event.time_s) == ((ANNA,), "personal-1", promoted)
            assert {reading.arms.heads for second in stage.seconds for reading in second.readings} == {Heads()}
            [reading] = (await stage.second(session, promoted + 1, truth=CLASSES[2])).readings
            assert reading.arms.heads == Heads("personal-1", "personal-1")
            assert reading.generic is not None
            assert reading.probabilities[CLASSES[2]] > reading.generic[CLASSES[2]]
            assert stage.store().current_name() == "personal-1"
            stage.told.clear()
            wrong = await stage.until(
                session, "head_rolled_back", first=promoted + 2, label=lambda truth: p(sadness=0.9)
            )
            assert stage.heads[ANNA] is None
            [reading] = (await stage.second(session, wrong + 1)).readings
            assert (reading.arms.heads, reading.generic) == (Heads(), None)
        assert stage.counted[0] == "promoted"
        assert "rolled_back" in stage.counted
        assert stage.store().versions()[0].state == "rolled_back"

    run(main())


def test_a_head_that_is_no_better_is_rejected(tmp_path: Path) -> None:
    """It is told with the reasons and counted, and the generic heads read on."""
    stage = Stage(tmp_path, settings=replace(SETTINGS, learner="same"))

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            await stage.until(session, "head_rejected")
        assert stage.told[0].data["reasons"]
        assert (stage.counted, stage.heads) == (["rejected"], {})

    run(main())


def test_a_training_that_breaks_is_counted_as_failed(tmp_path: Path) -> None:
    """It is told as a rejection with its reason, and the alert about failing trainings has something to count."""
    stage = Stage(tmp_path)
    (tmp_path / "stand_in.py").write_text("import sys; sys.exit(3)")

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            await stage.until(session, "head_rejected")
        assert stage.told[0].data["reasons"] == ["the training broke (exit code 3)"]
        assert (stage.counted, stage.heads) == (["failed"], {})

    run(main())


def test_a_stable_person_is_read_by_the_head_of_the_last_session(tmp_path: Path) -> None:
    """As soon as a face is seen; where the file is not what it was, one line says so and the generic head reads."""
    stage = Stage(tmp_path)

    async def main() -> None:
        async with stage.owner() as owner:
            async with stage.session(owner) as session:
                await stage.until(session, "head_promoted")
            stage.heads.clear()
            async with stage.session(owner) as session:
                await stage.second(session, 1000)
                assert stage.heads[ANNA].heads.pixel == "personal-1"
            stage.heads.clear()
            [version] = stage.store().versions()
            stage.store().path(version).write_bytes(b"something else")
            with structlog.testing.capture_logs() as lines:
                async with stage.session(owner) as session:
                    for second in range(2000, 2003):
                        await stage.second(session, second)
                    assert stage.heads == {}
                    [reading] = stage.seconds[-1].readings
                    assert reading.arms.heads == Heads()
            [line] = [line for line in lines if line["log_level"] == "warning"]
            assert "personal-1 is not used, the generic head serves" in line["detail"]
            assert str(tmp_path) not in line["detail"]

    run(main())


def test_who_is_known_in_one_session_only_leaves_nothing(tmp_path: Path) -> None:
    """The folder goes with the session, heads and samples included."""
    stage = Stage(tmp_path, is_stable=False)

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            await stage.until(session, "head_promoted")
            assert list(stage.root.rglob("*.sqlite"))
        assert [path for path in stage.root.rglob("*") if path.is_file()] == []

    run(main())


def open_samples() -> int:
    """How many files of samples this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(entry.readlink().name)
    return sum("samples" in link for link in links)


@pytest.mark.parametrize("is_stable", [True, False])
def test_who_has_left_has_no_file_open(tmp_path: Path, is_stable: bool) -> None:  # noqa: FBT001
    """A minute later nothing of theirs is open or in memory; who comes back goes on where they were."""
    stage = Stage(tmp_path, is_stable=is_stable)
    label = np.full(7, 1 / 7)

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            for second in range(3):
                await stage.second(session, second, group=label)
            await owner.do(lambda: None)
            assert open_samples() > 0
            for second in range(3, 3 + MEMORY_S + 1):
                await session.second(CallSecond(second, (), NOBODY, (), (), ()))
            await owner.do(lambda: None)
            assert open_samples() == 0
            assert not session._people[ANNA].seen
            await stage.second(session, 100, group=label)
            await owner.do(lambda: None)
            [folder] = [path.parent for path in stage.root.rglob("samples-*.sqlite")]
            with closing(sqlite3.connect(next(folder.glob("samples-*.sqlite")))) as db:
                assert db.execute("SELECT count(*) FROM samples").fetchone() == (4,)
        assert open_samples() == 0
        assert list(stage.root.rglob("samples-*.sqlite")) == [] or is_stable

    run(main())


def test_beyond_the_bound_goes_who_was_not_seen_for_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not who came first and is still there; and no head is kept ready for who has gone."""
    monkeypatch.setattr(personal_session, "MAX_PEOPLE", 2)
    stage = Stage(tmp_path)
    mesh = np.zeros((468, 3), np.float32)

    def reading(who: str, second: int) -> FaceReading:
        evidence = FaceEvidence(np.zeros(DIM, np.float32), np.zeros(DIM, np.float32), mesh)
        return FaceReading(who, float(second), 0.9, np.full(7, 1 / 7), None, None, evidence)

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            for second, who in enumerate((ANNA, "p-0000000b", "p-0000000c", "p-0000000d")):
                session.see([reading(ANNA, second), reading(who, second)])
            await owner.do(lambda: None)
            assert list(session._people) == [ANNA, "p-0000000d"]
            assert stage.heads == {"p-0000000b": None, "p-0000000c": None}

    run(main())


def kept(stage: Stage) -> dict[int, tuple[str, int]]:
    """Expression and origin of each sample of Anna's."""
    with Buffer(stage.root / ANNA, basis=BASIS) as buffer:
        samples = buffer.samples()
    rows = zip(samples.time_s, samples.label, samples.origin, strict=True)
    return {int(time_s): (EMOTIONS[label], int(origin)) for time_s, label, origin in rows}


def test_a_person_s_word_stands_before_the_group_s(tmp_path: Path) -> None:
    """For the last second, for earlier ones, and for those to come; and it is never taken back by the group."""
    stage = Stage(tmp_path)

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            with pytest.raises(ValueError, match="not read"):
                await session.label(ANNA, Correction("anger"))
            for second in range(70):
                await stage.second(session, second, group=p(happiness=0.9))
            assert await session.label(ANNA, Correction("anger")) == 1
            # The faces of the first ten are forgotten, but they are samples; 71 and 72 are to come.
            assert await session.label(ANNA, Correction("fear", (2, 3))) == 2
            assert await session.label(ANNA, Correction("disgust", (68, 72))) == 5
            for second in range(70, 74):
                await stage.second(session, second, group=p(happiness=0.9))
            with pytest.raises(ValueError, match="too far"):
                await session.label(ANNA, Correction("fear", (5000, 5000)))
        labels = kept(stage)
        assert {second for second, said in labels.items() if said == ("fear", Origin.CORRECTION)} == {2, 3}
        assert {second for second, said in labels.items() if said[0] == "disgust"} == {68, 69, 70, 71, 72}
        assert labels[73] == labels[1] == ("happiness", Origin.GROUP)

    run(main())


def test_a_sheet_labels_seconds_as_they_come(tmp_path: Path) -> None:
    """What was known beforehand, each at its second."""
    stage = Stage(tmp_path)
    sheet = {(ANNA, 1): Label.of("fear", Origin.SHEET), (ANNA, 9): Label.of("fear", Origin.SHEET)}

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner, sheet=sheet) as session:
            for second in range(4):
                await stage.second(session, second)
        assert kept(stage) == {1: ("fear", Origin.SHEET)}

    run(main())


def test_pictures_are_kept_only_where_wanted_and_encrypted(tmp_path: Path) -> None:
    """With `keep_crops` the picture of the best face lies beside its sample; forgetting takes it; switched off it goes."""
    crop = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)

    def kept(root: Path) -> list[bytes | None]:
        [file] = root.glob(f"{ANNA}/samples-*.sqlite")
        with closing(sqlite3.connect(file)) as db:
            return [row for (row,) in db.execute("SELECT crop FROM samples ORDER BY second")]

    async def main() -> None:
        for keeps in (True, False):
            stage = Stage(tmp_path, settings=replace(SETTINGS, keep_crops=keeps))
            async with stage.owner() as owner, stage.session(owner) as session:
                second = 10 + keeps
                embedding, mesh = np.ones(DIM, np.float32), np.ones((468, 3), np.float32)
                evidence = FaceEvidence(embedding, embedding, mesh, crop)
                reading = FaceReading(ANNA, float(second), 0.9, p(neutral=1.0), p(neutral=1.0), None, evidence)
                session.see([reading])
                fused = fuse(read_seconds(second, {ANNA: [reading]}, 1)[0], 0.5)
                await session.second(CallSecond(second, (fused,), NOBODY, (), (), ()))
                assert await session.label(ANNA, Correction("anger")) == 1
            rows = kept(stage.root)
            if keeps:
                [row] = rows
                assert row is not None
                key = stage.root / "crops.key"
                assert stat.S_IMODE(key.stat().st_mode) == 0o600
                assert np.array_equal(Cipher.of(key, ANNA).decrypt(row, second), crop)
                assert crop.tobytes()[:64] not in b"".join(f.read_bytes() for f in (stage.root / ANNA).glob("samples*"))
            else:
                assert rows == [None, None]
        async with stage.owner() as owner:
            assert await owner.forget(ANNA)
        assert not (stage.root / ANNA).exists()

    run(main())


def test_who_is_forgotten_leaves_no_byte(tmp_path: Path) -> None:
    """Buffer, heads and folder are gone, a training is given up, the generic heads read; nothing more is kept."""
    stage = Stage(tmp_path)

    async def main() -> None:
        async with stage.owner() as owner:
            async with stage.session(owner) as session:
                last = await stage.until(session, "head_promoted")
                assert b"personal-1" in b"".join(f.read_bytes() for f in stage.root.rglob("*") if f.is_file())
                assert await owner.forget(ANNA)
                assert stage.heads[ANNA] is None
                for second in range(last + 1, last + 4):
                    await stage.second(session, second, group=p(happiness=0.9))
                with pytest.raises(ValueError, match="nothing is kept"):
                    await session.label(ANNA, Correction("anger"))
                session.allow(ANNA)
                await stage.second(session, last + 4, group=p(happiness=0.9))
                assert set(kept(stage)) == {last + 4}
            assert await owner.forget(ANNA)
            assert not await owner.forget(ANNA)
        assert list(stage.root.iterdir()) == []

    run(main())


def test_a_denial_makes_no_sample_of_what_was_seen(tmp_path: Path) -> None:
    """A label that comes after it finds no face."""
    stage = Stage(tmp_path)

    async def main() -> None:
        async with stage.owner() as owner, stage.session(owner) as session:
            await stage.second(session, 0)
            session.deny(ANNA)
            assert await session.label(ANNA, Correction("anger", (0, 0))) == 0

        assert kept(stage) == {}

    run(main())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sadness", Correction("sadness")),
        (' {"emotion": "anger", "from": 3, "to": 5}', Correction("anger", (3, 5))),
        ('{"emotion": "anger", "from": 3}', Correction("anger", (3, 3))),
        ('{"emotion": "anger"}', Correction("anger")),
    ],
)
def test_a_correction_is_read(text: str, expected: Correction) -> None:
    """A bare word, or an object."""
    assert Correction.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sad",
        "{",
        "{}",
        '{"emotion": ["anger"]}',
        '{"emotion": "anger", "to": 5}',
        '{"emotion": "anger", "from": true}',
        '{"emotion": "anger", "from": 5, "to": 3}',
        '{"emotion": "anger", "from": 0, "to": 600}',
        '{"emotion": "anger", "from": -1}',
        '{"emotion": "anger", "form": 1}',
        '{"emotion": ' + "[" * 100_000,
    ],
)
def test_what_is_no_correction_is_refused(text: str) -> None:
    """Whatever is wrong with it, it is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        Correction.parse(text)


class Tracker:
    """Finds a face everywhere."""

    def find(self, image: U8) -> Faces:
        """A scattered mesh."""
        mesh = np.random.default_rng(0).normal(40, 15, (1, 468, 3)).astype(np.float32)
        return Faces(np.array([[0, 0, 80, 80]], np.float32), np.ones(1, np.float32), mesh)

    def close(self) -> None:
        """Nothing to give back."""


class Model:
    """Says neutral of everybody."""

    version = "neutral-1.0"
    crop = Crop()

    def predict(self, faces: U8) -> Expressions:
        """The same for each."""
        said = np.stack([p()] * len(faces))
        return Expressions(np.zeros((len(faces), 7), np.float32), said, said, np.ones((len(faces), DIM), np.float32))


def test_a_head_reads_from_the_next_whole_second_on() -> None:
    """Set in the middle of a second it waits for its end; its readings keep what the generic heads say."""
    head = serve({"offset": np.eye(7)[3] * 5}, "personal-1")
    tiles = [Tile(who, (0, 0, 80, 80), np.zeros((80, 80, 3), np.uint8)) for who in (ANNA, "p-0000000b")]

    async def main() -> None:
        async with FaceReader(
            open_tracker=Tracker, pixel=Model(), landmark=Model(), workers=1, observe=lambda stage, seconds: None
        ) as reader:

            async def read(time_s: float) -> list[FaceReading]:
                return (await reader.read("s", time_s, tiles))[0]

            reader.set_head("s", ANNA, head)
            assert [(r.heads, r.evidence) for r in await read(0.0)] == [(Heads(), None)] * 2
            reader.personalise("s")
            evidence = (await read(0.2))[0].evidence
            assert evidence is not None
            # Views would keep everybody's rows for as long as one face is kept.
            assert [row.base for row in (evidence.pixel, evidence.landmark, evidence.mesh)] == [None] * 3
            reader.set_head("s", ANNA, head)
            assert (await read(0.8))[0].heads == Heads()
            anna, other = await read(1.0)
            assert anna.heads.pixel == "personal-1"
            assert int(anna.pixel.argmax()) == EMOTIONS.index("happiness")
            assert anna.generic is not None
            assert anna.generic[0].tolist() == p().tolist()
            assert (other.heads, other.generic) == (Heads(), None)
            reader.set_head("s", ANNA, None)
            assert (await read(1.8))[0].heads.pixel == "personal-1"
            assert (await read(2.0))[0].heads == Heads()
            reader.set_head("s", ANNA, serve({"offset": np.full(7, np.nan)}, "personal-2"))
            assert (await read(3.0))[0].heads == Heads()

    run(main())
