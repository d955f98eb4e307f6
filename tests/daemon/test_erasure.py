"""Somebody is erased: their bytes are looked for in everything that lies on the disk afterwards."""

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from aiohttp.test_utils import make_mocked_request
from analysed import HAPPY, NEUTRAL, group_second, reading, write_call, write_folder
from analysed import event as line
from builders import fused, p
from prometheus_client import CollectorRegistry
from videos import run

from config.settings import load_settings
from daemon import custody
from daemon.audit import AuditFile, AuditLog, check, entries
from daemon.consent import ConsentGate, Denials
from daemon.custody import expire_people, trim_closed
from daemon.erasure import Eraser, Erasure, erase_files, erase_offline, forget_topics
from daemon.erasure_folders import erase_from_folder
from daemon.erasure_register import register, registered
from daemon.page.live import STREAM, Client, LivePage
from daemon.report.page import write_report
from daemon.session import SessionInfo
from daemon.sessions import Plan
from daemon.sinks.history import DAY_S, History
from daemon.sinks.metrics import Metrics
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features, Label
from models.personal.people import People
from models.personal.private import old_of
from models.personal.samples import Origin
from pipeline import wire
from pipeline.emotions import EMOTIONS
from pipeline.group import synthesise
from pipeline.seating import Seat
from pipeline.types import CallSecond, Event

GONE, STAYS, OTHER = "p-0000dead", "p-0000beef", "p-0000cafe"
INFO = SessionInfo(wire.Stamp("monday", "b00t"), "seed", "research", wire.Versions("px-1", "lm-1"), 2)
BASIS = Basis("a" * 64, "b" * 64, 4, 4)


def second(number: int) -> CallSecond:
    """Three people, one of whom changes."""
    readings = tuple(
        fused(who, number, p(happiness=0.5 + 0.01 * i)) for i, who in enumerate((GONE, STAYS, OTHER), start=number % 9)
    )
    data = {"scope": "individual", "from": "neutral", "to": "anger", "distance": 0.4}
    events = (Event("change", float(number), (GONE,), data), Event("layout_changed", float(number), (), {"tiles": 3}))
    return CallSecond(number, readings, synthesise(number, readings), events, ())


def holding(folder: Path, text: str) -> list[str]:
    """Every file below in which a text stands: as bytes, and in the columns of tables."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            told = path.read_bytes()
            if path.suffix == ".parquet":
                told += pl.read_parquet(path).write_ndjson().encode()
            if text.encode() in told:
                found.append(str(path.relative_to(folder)))
    return found


class Scene:
    """A daemon's parts without its models: everything that keeps something of somebody, and nobody at the broker."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.analysis = folder / "analysis"
        self.page = LivePage()
        self.forgotten: list[str] = []
        self.eraser: Eraser
        self.outbox: Outbox
        self.mqtt: MqttSink
        self.history: History

    def fill(self) -> None:
        """Files that lie there from before."""
        people = [GONE, STAYS, OTHER]
        rows = [reading(s, who, HAPPY if who == GONE else NEUTRAL) for s in range(30) for who in people]
        groups = [group_second(s, people, NEUTRAL) for s in range(30)]
        events = [line("change", 3, [GONE], scope="individual"), line("participant_joined", 4, [STAYS])]
        tiles = [{"second": 0, "tiles": [{"participant": who, "xyxy": [0, 0, 9, 9]} for who in people]}]
        counts = {"readings": 90, "readings_abstained": 0, "faces_analysed": 450}
        write_folder(self.analysis, rows, groups, events, tiles, counts=counts)
        write_report(self.analysis)
        (self.analysis / "annotations.csv").write_text(f"rater,participant,second,label\nr,{GONE},1,\nr,{STAYS},1,\n")
        register(self.state, "analysis", self.analysis)
        export = self.analysis.parent / "export"
        export.mkdir()
        register(self.state, "export", export)
        (self.state / "outbox.sqlite.damaged-1").write_bytes(b"x" * 5000 + GONE.encode() + b"y" * 5000)
        (self.state / "history.sqlite.damaged-2").write_bytes(b"of others")
        for who in (GONE, STAYS):
            fill_buffer(self.state / "personal", who)

    async def play(self, n: int = 200) -> None:
        """Seconds that everything keeps."""
        sinks = (self.mqtt, self.history, self.page)
        for sink in sinks:
            await sink.events(INFO, [Event("session_started", 0.0, (), {"purpose": "research", "consent": "declared"})])
        for number in range(n):
            for sink in sinks:
                await sink.second(INFO, second(number))

    def forget(self, participant: str) -> None:
        """What a running session is told."""
        self.forgotten.append(participant)


def fill_buffer(folder: Path, who: str, *, days_ago: float = 0.0) -> None:
    """A sample of somebody."""
    own = People(folder).folder(who)
    clock = lambda: time.time() - days_ago * DAY_S  # noqa: E731
    with Buffer(own, basis=BASIS, clock=clock) as buffer:
        zeros = np.zeros(4, np.float32)
        buffer.add(clock(), Features(zeros, zeros, np.zeros(51, np.float32), 0.5), Label.of("anger", Origin.CORRECTION))


async def on_stage(scene: Scene, act: Any) -> None:  # noqa: ANN401 (a coroutine function)
    """Opens everything, and runs the act."""
    outbox = Outbox(scene.state / "outbox.sqlite", max_messages=150)
    audit = AuditLog(AuditFile(scene.state, days=9, max_entries=1000))
    async with outbox, History(scene.state / "history.sqlite") as history, audit:
        scene.outbox, scene.history = outbox, history
        scene.mqtt = MqttSink(
            host="127.0.0.1",
            port=1,
            topics=wire.Topics("n"),
            outbox=outbox,
            metrics=Metrics(registry=CollectorRegistry(), version="0", models={}),
            on_consent=None,  # type: ignore[arg-type]
            keep_readings=True,
        )
        scene.eraser = Eraser(
            scene.state,
            personal=None,
            history=history,
            outbox=outbox,
            mqtt=scene.mqtt,
            page=scene.page,
            sessions=lambda: [scene],  # type: ignore[list-item]
            audit=audit,
        )
        audit.note("consent", who="api", participant=GONE, session="monday", state="granted")
        await act(scene)


def test_nothing_of_somebody_who_was_erased_is_left_on_the_disk(tmp_path: Path) -> None:
    """Buffers, heads, history, outbox, damaged copies, analysed folders and the audit's link: no file holds their name.

    Not even in free pages and logs, while the databases are open; and the others' data are all there.
    """
    scene = Scene(tmp_path)
    scene.fill()
    done: list[Erasure] = []

    async def act(scene: Scene) -> None:
        await scene.play()
        await scene.history.trim()
        await scene.outbox.expire()
        before = await scene.outbox.oldest(100_000)
        assert len(holding(tmp_path, GONE)) >= 8
        done.append(await scene.eraser.erase(GONE, who="api"))
        left = holding(tmp_path, GONE)
        # The broker is away: its retained topic must be known until it is told.
        assert left in ([], ["state/outbox.sqlite"], ["state/outbox.sqlite-wal"])
        assert "1 retained topics: as soon as the broker is there" in done[0].later
        after = await scene.outbox.oldest(100_000)
        assert not any(GONE.encode() in message.payload or GONE in message.topic for message in after)
        numbers = [[m.seq for m in messages if m.seq is not None] for messages in (before, after)]
        assert numbers[0] == numbers[1]
        assert [m.seq for m in after if m.seq is not None] == list(range(numbers[1][0], numbers[1][-1] + 1))
        kinds = [json.loads(m.payload)["kind"] for m in after if m.seq is not None]
        assert {"erased", "layout_changed"} <= set(kinds)
        assert json.loads(after[-1].payload)["schema"].startswith("attuned/")
        await scene.outbox.forget(f"attuned/n/session/monday/participant/{GONE}/model")
        await scene.outbox.scrub()
        assert holding(tmp_path, GONE) == []

    run(on_stage(scene, act))
    assert holding(tmp_path, GONE) == []
    [erased] = done
    assert set(erased.removed) == {
        *("page", "heads and samples", "history rows", "events", "waiting readings"),
        *("damaged files", "folders", "audit links"),
    }
    assert erased.failed == []
    assert any("an export of" in line for line in erased.unreachable)
    assert scene.forgotten == [GONE]
    assert check(scene.state).mistake is None
    assert [entry["what"] for entry in entries(scene.state)] == ["consent", "erasure"]
    assert all("participant" not in entry for entry in entries(scene.state))
    with closing(sqlite3.connect(scene.state / "history.sqlite")) as db:
        (n,) = db.execute("SELECT count(*) FROM readings WHERE participant = ?", (STAYS,)).fetchone()
    assert n == 200
    assert "personal" in str(holding(scene.state, STAYS)) or People(scene.state / "personal").known() == (STAYS,)
    assert (scene.state / "history.sqlite.damaged-2").read_bytes() == b"of others"


def test_an_analysed_folder_keeps_the_others(tmp_path: Path) -> None:
    """Their readings are as they were, the group is summed anew from them, and a report can be made again."""
    folder = write_call(tmp_path / "a", n=4)
    before = pl.read_parquet(folder / "seconds.parquet")
    gone = "p-00000000"
    assert erase_from_folder(folder, gone)
    assert not erase_from_folder(folder, gone)
    assert holding(folder, gone) == []
    assert not (folder / "report.html").exists()
    after = pl.read_parquet(folder / "seconds.parquet")
    assert after.equals(before.filter(pl.col("participant") != gone))
    group = pl.read_parquet(folder / "group.parquet")
    row = group.row(12, named=True)
    assert row["members"] == [f"p-0000000{i}" for i in (1, 2, 3)]
    assert [row[f"p_{name}"] for name in EMOTIONS] == pytest.approx(list(HAPPY))
    assert [d["value"] for d in row["deviation"]] == pytest.approx([0.0, 0.0, 0.0])
    assert row["dominant"] == ["happiness"]
    # In seconds 5 to 7 nobody was seen.
    assert group.row(6, named=True)["p_anger"] is None
    assert (row["type"], row["synchrony"], row["clusters"], row["engagement"]) == (None, None, None, [])
    told = [json.loads(text) for text in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in told] == ["session_started", "erased", "erased"]
    assert json.loads((folder / "summary.json").read_text())["erased"] == 1
    write_report(folder)
    assert gone not in (folder / "report.html").read_text()


def test_of_two_who_were_a_group_one_is_left_and_no_group(tmp_path: Path) -> None:
    """The sum of one is that one's reading."""
    folder = write_call(tmp_path / "a", n=2)
    erase_from_folder(folder, "p-00000000")
    group = pl.read_parquet(folder / "group.parquet")
    assert group.select(f"p_{name}" for name in EMOTIONS).drop_nulls().height == 0
    assert group.select(f"denoised_{name}" for name in EMOTIONS).drop_nulls().height == 0


def test_what_metadata_say_stays(tmp_path: Path) -> None:
    """Purpose and basis are still in the tables."""
    folder = write_call(tmp_path / "a", n=3)
    path = folder / "seconds.parquet"
    pl.read_parquet(path).write_parquet(path, metadata={"attuned.purpose": "research", "attuned.basis": "consent"})
    erase_from_folder(folder, "p-00000000")
    told = pl.read_parquet_metadata(path)
    assert (told["attuned.purpose"], told["attuned.basis"]) == ("research", "consent")


def test_a_crash_in_the_middle_leaves_nothing_for_good(tmp_path: Path) -> None:
    """What an interrupted erasure left of an old file is erased by the next one."""
    folder = write_call(tmp_path / "a", n=3)
    old = old_of(folder / "seconds.parquet")
    old.write_bytes(b"p-00000000")
    erase_from_folder(folder, "p-00000001")
    assert not old.exists()


def test_while_no_daemon_runs_the_same_is_erased(tmp_path: Path) -> None:
    """And the retained topic is known, so that the broker can be told."""
    scene = Scene(tmp_path)
    scene.fill()

    async def act(scene: Scene) -> None:
        await scene.play(30)

    run(on_stage(scene, act))
    moved = tmp_path / "moved"
    write_call(moved, n=2)
    done, topics = erase_offline(scene.state, GONE, more=[moved])
    assert topics == [f"attuned/n/session/monday/participant/{GONE}/model"]
    forget_topics(scene.state, topics)
    AuditFile(scene.state, days=9, max_entries=1000).forget(GONE)
    assert holding(tmp_path, GONE) == []
    assert done.failed == []
    assert {"events", "history rows", "folders"} <= set(done.removed)
    again, _ = erase_offline(scene.state, GONE)
    assert not again.is_any
    with pytest.raises(ValueError, match="eight hexadecimal digits"):
        erase_offline(scene.state, "../../etc")


def test_what_cannot_be_reached_is_said(tmp_path: Path) -> None:
    """Folders that were moved, tables that are damaged, and exports."""
    state = tmp_path / "state"
    register(state, "analysis", tmp_path / "moved")
    broken = write_call(tmp_path / "broken", n=2)
    (broken / "seconds.parquet").write_bytes(b"no table")
    register(state, "analysis", broken)
    export = tmp_path / "export"
    export.mkdir()
    register(state, "export", export)
    register(state, "export", export)
    assert [output.kind for output in registered(state)] == ["analysis", "analysis", "export"]
    done = Erasure(GONE)
    erase_files(state, GONE, done)
    assert len(done.failed) == 1
    assert str(broken) in done.failed[0]
    assert [text.split(":")[0] for text in done.unreachable] == [str(tmp_path / "moved"), str(export)]
    (state / "outputs.jsonl").write_text('{"strange": 1}\n')
    again = Erasure(GONE)
    erase_files(state, GONE, again)
    assert "not known" in again.failed[0]


def test_a_page_that_is_open_forgets_too(tmp_path: Path) -> None:
    """What waits for it is dropped, it is told everything anew, and nothing in that is of whom was erased."""

    async def main() -> None:
        page = LivePage()
        client = Client()
        page._clients[client] = make_mocked_request("GET", STREAM)
        await page.events(INFO, [Event("session_started", 0.0, (), {})])
        for number in range(5):
            await page.second(INFO, second(number))
        assert page.forget(GONE) == 1
        data = await client.get()
        assert data is not None
        assert data.startswith(b"event: forgotten\n")
        assert GONE.encode() not in data
        assert GONE not in json.dumps(page._everything())
        assert page.forget(GONE) == 0

    run(main())


def test_a_denial_outlives_a_restart_and_names_nobody(tmp_path: Path) -> None:
    """Who denied is refused by the next process, also after having been erased; who agrees again is read again."""
    path, secret = tmp_path / "denials.json", b"s" * 32
    first = Denials(path, secret, 10)
    assert first.note("room", GONE, granted=False)
    assert not first.note("room", GONE, granted=False)
    first.write()
    assert holding(tmp_path, GONE) == []
    again = Denials(path, secret, 10)
    gate = ConsentGate("declared", None, lambda who: again.has("room", who))
    seats = [Seat(who, (0, 0, 1, 1), certain=True) for who in (GONE, STAYS)]
    assert gate.readable(seats) == {STAYS}
    assert (gate.state(GONE), gate.allows(GONE)) == ("denied", False)
    assert not Denials(path, b"t" * 32, 10).has("room", GONE)
    assert again.note("room", GONE, granted=True)
    again.write()
    assert not Denials(path, secret, 10).has("room", GONE)
    for number in range(12):
        again.note("room", str(number), granted=False)
    assert again.is_full


def test_a_denial_that_the_disk_refuses_counts_and_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the file's place stands for a disk that is full: the denial holds, and is on the disk once it is gone."""
    monkeypatch.setattr(custody, "RETRY_S", 0.05)
    path, secret = tmp_path / "denials.json", b"s" * 32
    settings = load_settings(overrides={"state_dir": str(tmp_path)})
    plan = Plan(id="room", url="rtsp://camera/1", purpose="research", consent="declared", source=settings.source)

    async def main() -> None:
        outbox = Outbox(tmp_path / "outbox.sqlite", max_messages=10)
        async with outbox, custody.Custody(settings, tmp_path, secret) as own:
            path.mkdir()
            running = asyncio.create_task(own.run(personal=None, history=None, outbox=outbox))
            await own.consent("room", GONE, granted=False, via="api")
            assert not own.gate(plan, {}, ask=False).allows(GONE)
            await asyncio.sleep(0.2)
            path.rmdir()
            async with asyncio.timeout(10):
                while not path.exists():
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.wait([running])

    run(main())
    assert Denials(path, secret, 10).has("room", GONE)


def test_samples_of_people_who_do_not_come_any_more_go_by_themselves(tmp_path: Path) -> None:
    """After the days that were said, without anybody opening them; those of other models too; the rest stays."""
    fill_buffer(tmp_path, GONE, days_ago=10)
    fill_buffer(tmp_path, STAYS, days_ago=0)
    fill_buffer(tmp_path, OTHER, days_ago=0)
    old = time.time() - 9 * DAY_S
    other_models = tmp_path / OTHER / "samples-0123456789abcdef.sqlite"
    other_models.write_bytes(b"of other models")
    for path in [*(tmp_path / GONE).rglob("*"), other_models]:
        os.utime(path, (old, old))
    assert expire_people(tmp_path, BASIS, 5.0) == 1
    assert People(tmp_path).known() == tuple(sorted((STAYS, OTHER)))
    assert not other_models.exists()
    with Buffer(tmp_path / STAYS, basis=BASIS) as buffer:
        assert buffer.counts().n == 1
    later = time.time() + 6 * DAY_S
    assert expire_people(tmp_path, None, 5.0, now=lambda: later) == 2
    assert expire_people(tmp_path / "nobody", BASIS, 5.0) == 0


def test_a_history_that_was_switched_off_ages_on(tmp_path: Path) -> None:
    """Rows of before go when their time has come."""
    path = tmp_path / "history.sqlite"
    trim_closed(path, 1.0, 2**30)
    assert not path.exists()

    async def main() -> None:
        async with History(path, now=lambda: time.time() - 3 * DAY_S) as history:
            await history.second(INFO, second(1))

    run(main())
    trim_closed(path, 5.0, 2**30)
    assert rows(path) == 3
    trim_closed(path, 1.0, 2**30)
    assert rows(path) == 0
    assert holding(tmp_path, GONE) == []


def rows(path: Path) -> int:
    """Readings in a history."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM readings").fetchone()[0])


def test_an_older_history_is_brought_up_to_date(tmp_path: Path) -> None:
    """Rows of before the legal basis was kept are there, and say nothing of it."""
    path = tmp_path / "history.sqlite"

    async def main() -> None:
        async with History(path) as history:
            await history.second(INFO, second(1))

    run(main())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for table in ("readings", "groups"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN basis")
        db.execute("PRAGMA user_version = 1")

    async def again() -> None:
        async with History(path) as history:
            await history.second(replace(INFO, basis="public_interest"), second(2))

    run(again())
    with closing(sqlite3.connect(path)) as db:
        assert {b for (b,) in db.execute("SELECT basis FROM readings")} == {None, "public_interest"}


@pytest.fixture(autouse=True)
def no_task_is_left() -> Iterator[None]:
    """Every part closes what it opened."""
    yield
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
