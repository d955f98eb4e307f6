"""What reaches the models, and what leaves the process: a whole session with witnesses at every model and every way out."""

import asyncio
import json
import random
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from builders import p
from cameras import camera, layout, wall_of
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from rich.console import Console
from videos import run, write_pictures

from daemon.consent import ConsentGate
from daemon.inference import FaceReader
from daemon.page.live import LivePage
from daemon.report.page import write_report
from daemon.seats import GalleryFollower, GallerySeating
from daemon.session import Session, SessionInfo, Sink
from daemon.sinks.history import History
from daemon.sinks.metrics import Metrics
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from daemon.sinks.tables import TablesSink
from daemon.sinks.terminal import TerminalSink
from daemon.sources.file import FileSource, probe
from pipeline import wire
from pipeline.call import CallSettings
from pipeline.emotions import F32
from pipeline.gallery import GallerySplitter
from pipeline.identity import TileIdentity
from pipeline.seating import pseudonym
from pipeline.types import U8, Box, Crop, Expressions, FaceBoxes, FaceReading, Faces

pytestmark = pytest.mark.timeout(300)
PEOPLE = tuple(pseudonym("seed", i) for i in range(4))
SIZE, N = (424, 240), 20
TILES = layout(2, 2, size=SIZE)


def likest(image: U8) -> int:
    """Whose camera a picture is most like: the one whose colours it has, in a grid of 4 by 4."""

    def colours(picture: U8) -> F32:
        rows, columns = (np.linspace(0, n, 5).astype(int) for n in picture.shape[:2])
        return np.array(
            [picture[a:b, c:d].mean(axis=(0, 1)) for a, b in pairwise(rows) for c, d in pairwise(columns)],
            np.float32,
        )

    return int(np.argmin([np.abs(colours(image) - colours(camera(who))).mean() for who in range(4)]))


@dataclass
class Witness:
    """Stands at every model and writes down whom it was shown."""

    mesh: list[int] = field(default_factory=list)
    detector: list[tuple[int, ...]] = field(default_factory=list)
    n_pixel: int = 0
    n_landmark: int = 0
    seen_at_s: list[float] = field(default_factory=list)
    outlines: set[str] = field(default_factory=set)
    samples: set[str] = field(default_factory=set)

    def tracker(self) -> "Tracker":
        """A face mesh."""
        return Tracker(self)

    def spotter(self) -> "Spotter":
        """A face detector for whole pictures."""
        return Spotter(self)

    def watch(self, session: str, time_s: float, participants: Sequence[str], meshes: F32) -> None:
        """What the live page would draw."""
        self.outlines.update(participants)


class Tracker:
    """Finds a face in the middle of every picture."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def find(self, image: U8) -> Faces:
        """Whose it is, is written down."""
        self.witness.mesh.append(likest(image))
        self.witness.seen_at_s.append(time.monotonic())
        height, width = image.shape[:2]
        angle = np.linspace(0, 6.28, 468)
        mesh = np.stack([width / 2 + 30 * np.cos(angle), height / 2 + 40 * np.sin(angle), 0 * angle], axis=1)
        box = np.array([[width / 2 - 30, 0, width / 2 + 30, 80]], np.float32)
        return Faces(box, np.ones(1, np.float32), mesh[None].astype(np.float32))

    def close(self) -> None:
        """Nothing to give back."""


class Spotter:
    """Finds no face."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def find_all(self, image: U8, tiles: Sequence[Box] = ()) -> FaceBoxes:
        """None; that it looked is written down."""
        self.witness.detector.append(image.shape)
        return FaceBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def close(self) -> None:
        """Nothing to give back."""


class Model:
    """Says something else of everybody each time, so that numbers that leave can be told apart."""

    version = "made-up 1.0"
    crop = Crop()

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._random = random.Random(7)  # noqa: S311 (no secret)

    def predict(self, faces: np.ndarray) -> Expressions:
        """Mostly happy."""
        n = len(faces)
        self._count(n)
        rows = np.stack([p(happiness=0.55 + 0.4 * self._random.random(), anger=0.03) for _ in range(n)])
        return Expressions(np.zeros((n, 7), np.float32), rows, rows, np.zeros((n, 4), np.float32))


class Learner:
    """Stands where personal samples would be gathered."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def see(self, readings: Sequence[FaceReading]) -> None:
        """Whose, is written down."""
        self.witness.samples.update(reading.participant for reading in readings)

    async def second(self, second: object) -> Sequence[Any]:
        """Nothing comes of it."""
        return ()


@dataclass
class Played:
    """What became of a session."""

    witness: Witness
    session: Session


During = Callable[[Session], Awaitable[None]]


def play(path: Path, **options: Any) -> Played:  # noqa: ANN401 (of `played`)
    """Runs a session over a recording of four people."""
    return run(played(path, **options))


async def played(
    path: Path,
    *,
    consent: str,
    answers: dict[str, bool] | None = None,
    sinks: Sequence[Sink] = (),
    paced: bool = False,
    during: During | None = None,
    info: SessionInfo | None = None,
    find_faces: bool = True,
    witness: Witness | None = None,
) -> Played:
    """Runs a session over a recording of four people."""
    witness = witness or Witness()
    info = info or SessionInfo(wire.Stamp("s", "b"), "seed", "research", wire.Versions("px-1", "lm-1"), 2)
    metrics = Metrics(registry=CollectorRegistry(), version="0", models={})

    pixel = Model(lambda n: setattr(witness, "n_pixel", witness.n_pixel + n))
    landmark = Model(lambda n: setattr(witness, "n_landmark", witness.n_landmark + n))
    reader = FaceReader(
        open_tracker=witness.tracker,
        pixel=pixel,
        landmark=landmark,
        workers=2,
        observe=lambda *_: None,
        watch=witness.watch,
    )
    follower = GalleryFollower(
        GallerySplitter(), TileIdentity("seed"), open_spotter=witness.spotter if find_faces else None
    )
    async with reader, FileSource(probe(path), rate_hz=5, paced=paced) as source:
        session = Session(
            info=info,
            source=source,
            seating=GallerySeating(follower),
            reader=reader,
            sinks=sinks,
            observe=metrics,
            consent=ConsentGate(consent, answers),
            call=CallSettings(),
            paced=paced,
            personal=Learner(witness),
        )
        task = asyncio.create_task(session.run())
        if during is not None:
            await during(session)
        await task
    return Played(witness, session)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of four people in a gallery."""
    pictures = [wall_of([camera(who, k) for who in range(4)], TILES, size=SIZE) for k in range(N)]
    return write_pictures(tmp_path_factory.mktemp("four") / "four.mp4", pictures)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people who change seats in the middle."""
    pictures = [
        wall_of([camera(who, k) for who in (order if k >= 12 else range(4))], TILES, size=SIZE)
        for order in [(3, 2, 1, 0)]
        for k in range(30)
    ]
    return write_pictures(tmp_path_factory.mktemp("moved") / "moved.mp4", pictures)


def test_the_witness_tells_people_apart(four: Path) -> None:
    """Where everybody agreed all four reach the models, so that nobody's absence below is the witness's blindness."""
    witness = play(four, consent="declared").witness
    assert {who: witness.mesh.count(who) for who in set(witness.mesh)} == dict.fromkeys(range(4), N)
    assert (witness.n_pixel, witness.n_landmark, witness.samples) == (4 * N, 4 * N, set(PEOPLE))
    assert witness.outlines == set(PEOPLE)
    assert witness.detector


@pytest.mark.parametrize("agreed", [(), (0,), (1, 3)])
def test_no_model_is_given_anybody_who_did_not_agree(four: Path, agreed: tuple[int, ...]) -> None:
    """Of all faces only those of who agreed reach mesh, models, page and samples; no detector looks where it is off."""
    answers = {PEOPLE[who]: True for who in agreed}
    witness = play(four, consent="required", answers=answers, find_faces=False).witness
    assert set(witness.mesh) == set(agreed)
    assert witness.n_pixel == witness.n_landmark == len(witness.mesh) == N * len(agreed)
    assert witness.samples == witness.outlines == {PEOPLE[who] for who in agreed}
    assert witness.detector == []


def test_who_denied_is_not_read_where_the_others_declared(four: Path) -> None:
    """Also before they were ever seen in this session."""
    witness = play(four, consent="declared", answers={PEOPLE[2]: False}).witness
    assert set(witness.mesh) == {0, 1, 3}
    assert PEOPLE[2] not in witness.samples | witness.outlines


def test_consent_does_not_stay_with_the_seat(moved: Path) -> None:
    """When people change seats, nobody is read in the place of who agreed, not in a single frame."""
    witness = play(moved, consent="required", answers={PEOPLE[0]: True}).witness
    assert set(witness.mesh) == {0}
    assert len(witness.mesh) > 15


def test_withdrawn_consent_stops_within_a_second(four: Path) -> None:
    """Nine withdrawals at random moments: what was being read was the last of who withdrew to reach a model."""
    late: list[float] = []
    chance = random.Random(3)  # noqa: S311 (no secret)

    async def during(session: Session) -> None:
        while not session.participants:
            await asyncio.sleep(0.01)
        for _ in range(3):
            await session.set_consent(PEOPLE[1], granted=True)
            await asyncio.sleep(chance.uniform(0.3, 0.7))
            await session.set_consent(PEOPLE[1], granted=False)
            withdrawn = time.monotonic()
            await asyncio.sleep(0.6)
            late.append(max([t for t in witness.seen_at_s if t > withdrawn], default=withdrawn) - withdrawn)

    for _ in range(3):
        witness = Witness()
        play(four, consent="required", paced=True, during=during, witness=witness)
    assert len(late) == 9
    assert max(late) <= 1.0


def numbers(text: str) -> set[str]:
    """Every probability with six digits in a text."""
    return set(re.findall(r"0\.\d{6}", text))


def test_in_group_only_mode_no_reading_of_anybody_leaves(four: Path, tmp_path: Path, caplog) -> None:  # noqa: ANN001
    """Looks everywhere: broker, outbox, history, tables, report, page, metrics, terminal and log.

    The same recording is read twice, told whole and as a group. The numbers that were told of individuals the first time
    are looked for in everything that left the second time; so are the places where they would stand.
    """
    told: dict[str, str] = {}
    for group_only in (False, True):
        folder = tmp_path / str(group_only)
        folder.mkdir()
        told[str(group_only)] = _everything(four, folder, group_only=group_only, log=caplog)
    individual = numbers(told["False"]) - {"0.000000"}
    assert len(individual) > 50
    shared = numbers(told["True"]) & numbers(_readings_of(tmp_path / "False"))
    assert shared == set()
    assert numbers(told["True"]), "the group itself is told"
    for mark in (
        '"engaged":["',
        '"unengaged"',
        '"correlation"',
        '"dismissed"',
        "participant/p-",
        '"sources"',
        '"heads"',
    ):
        assert mark not in told["True"], mark
    assert '"n_engaged":4' in told["True"]


def _readings_of(folder: Path) -> str:
    """Everything that was told of individuals, as six digits each."""
    table = pl.read_parquet(folder / "tables" / "seconds.parquet")
    columns = [
        name
        for name, kind in table.schema.items()
        if kind == pl.Float64 and name not in {"coverage", "weight_pixel", "weight_landmark"}
    ]
    values = table.select(columns).to_numpy().ravel()
    return " ".join(f"{value:.6f}" for value in values if np.isfinite(value) and 0 < value < 1)


def _everything(path: Path, folder: Path, *, group_only: bool, log: Any) -> str:  # noqa: ANN401
    """All text that leaves a session of everybody who agreed."""
    stamp = wire.Stamp("s", "b")
    minimum = 3 if group_only else 2
    info = SessionInfo(stamp, "seed", "research", wire.Versions("px-1", "lm-1"), minimum, "consent", group_only)
    registry = CollectorRegistry()
    metrics = Metrics(registry=registry, version="0", models={})
    console = Console(record=True, width=200, force_terminal=False, file=(folder / "terminal").open("w"))
    page = LivePage()
    (folder / "tables").mkdir()
    texts: list[str] = []

    async def main() -> None:
        outbox = Outbox(folder / "outbox.sqlite", max_messages=100_000)
        history = History(folder / "history.sqlite")
        async with outbox, history:
            mqtt = MqttSink(
                host="127.0.0.1",
                port=1,
                topics=wire.Topics("n"),
                outbox=outbox,
                metrics=metrics,
                on_consent=_nobody,
                keep_readings=True,
            )
            with TerminalSink(console, title="t") as terminal:
                tables = TablesSink(folder / "tables", metadata={})
                sinks = (mqtt, metrics, page, history, terminal, tables)
                await played(path, consent="declared", sinks=sinks, info=info)
                tables.close()
            texts.extend(f"{m.topic} {m.payload.decode()}" for m in await outbox.oldest(100_000))
            texts.extend(f"{t} {b.decode()}" for t, b in (await outbox.remembered()).items())
        texts.append(json.dumps(page._everything()))

    with log.at_level("DEBUG"):
        run(main())
    console.file.close()
    texts += [(folder / "terminal").read_text(), generate_latest(registry).decode(), log.text]
    summary = {"participants": [], "purpose": "research", "partial": False, "recording": {"duration_s": 4}}
    (folder / "tables" / "summary.json").write_text(json.dumps(summary))
    report = write_report(folder / "tables").read_text()
    texts.append(report[: report.index("<script")] if "<script" in report else report)
    for file in sorted((folder / "tables").rglob("*.parquet")):
        texts.append(pl.read_parquet(file).with_columns(pl.selectors.float().round(6)).write_ndjson())
    texts += [file.read_text() for file in sorted((folder / "tables").glob("*.jsonl"))]
    texts.append(_dump(folder / "history.sqlite"))
    return "\n".join(texts)


async def _nobody(*_: object) -> None:
    """Nobody says anything."""


def _dump(path: Path) -> str:
    """Every cell of a database."""
    with closing(sqlite3.connect(path)) as db:
        return "\n".join(
            json.dumps([round(cell, 6) if isinstance(cell, float) else cell for cell in row])
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            for row in db.execute(f"SELECT * FROM {name}")  # noqa: S608 (our names)
        )
