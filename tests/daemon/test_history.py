"""History: what is kept, for how long, and how it is erased."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from builders import fused, p
from typer.testing import CliRunner
from videos import run

from daemon.cli import app
from daemon.errors import FailedError
from daemon.session import SessionInfo
from daemon.sinks.history import DAY_S, FILE, TRIM_S, History, open_history
from pipeline.group import synthesise
from pipeline.types import CallSecond, Event
from pipeline.wire import Stamp, Versions, parse_time

INFO = SessionInfo(
    Stamp("monday", "boot1", parse_time("2026-01-31T12:00:00Z")), "seed", "research", Versions("px-1", "lm-1"), 2
)
ANCHOR_S = INFO.stamp.epoch_s(0)
PEOPLE = ("p-00000001", "p-00000002", "p-00000003")


def second(number: int, people: tuple[str, ...] = PEOPLE) -> CallSecond:
    """A second in which the first is absent and the others are happy; the first joins in second 0."""
    readings = tuple(fused(who, number, p(happiness=0.75) if i else None) for i, who in enumerate(people))
    events = (Event("participant_joined", float(number), people[:1]),) if number == 0 else ()
    return CallSecond(number, readings, synthesise(number, readings), events, ())


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """What another process would read."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def files(folder: Path) -> list[Path]:
    """The database, and what SQLite keeps beside it."""
    return list(folder.iterdir())


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


def test_seconds_groups_and_events_are_kept(tmp_path: Path) -> None:
    """A row each, with UTC of capture; absence is NULL; the file is for nobody else."""
    path = tmp_path / FILE

    async def main() -> None:
        async with History(path) as history:
            await history.second(INFO, second(0))
            await history.second(INFO, second(1))
            await history.events(INFO, [Event("session_ended", 2.0, (), {"reason": None})])
            await history.status(INFO, "ended", 2.0, None)

    run(main())
    assert path.stat().st_mode & 0o777 == 0o600
    query = "SELECT session, boot, ts, participant, happiness, top, abstain FROM readings ORDER BY id LIMIT 2"
    assert rows(path, query) == [
        ("monday", "boot1", ANCHOR_S, "p-00000001", None, None, 0),
        ("monday", "boot1", ANCHOR_S, "p-00000002", 0.75, "happiness", 0),
    ]
    groups = [json.loads(str(text)) for (text,) in rows(path, "SELECT payload FROM groups ORDER BY id")]
    assert [(group["seq"], group["second"], group["members"]) for group in groups] == [
        (0, 0, list(PEOPLE)),
        (1, 1, list(PEOPLE)),
    ]
    kinds = "SELECT json_extract(payload, '$.kind'), json_extract(payload, '$.seq'), ts FROM events ORDER BY id"
    assert rows(path, kinds) == [("participant_joined", 0, ANCHOR_S), ("session_ended", 1, ANCHOR_S + 2)]


def test_a_group_that_is_too_small_to_be_published_is_not_kept(tmp_path: Path) -> None:
    """One person is no group."""
    path = tmp_path / FILE

    async def main() -> None:
        async with History(path) as history:
            await history.second(INFO, second(1, PEOPLE[:1]))

    run(main())
    assert rows(path, "SELECT count(*) FROM groups") == [(0,)]


@pytest.mark.parametrize("n_seconds", [1, 50, 400])
def test_who_is_forgotten_is_in_no_byte_of_the_file(tmp_path: Path, n_seconds: int) -> None:
    """Readings, the groups and the events that name them go, also from the log of changes; others' readings stay."""
    path = tmp_path / FILE

    async def main() -> int:
        async with History(path) as history:
            for number in range(n_seconds):
                await history.second(INFO, second(number))
                if number % 3 == 0:
                    await history._call(lambda: 0)  # in many commits, as in life
            await history.second(INFO, second(n_seconds, PEOPLE[1:]))
            n = await history.forget(PEOPLE[0])
            everything = b"".join(file.read_bytes() for file in files(tmp_path))
            assert PEOPLE[1].encode() in everything
            assert PEOPLE[0].encode() not in everything
            return n

    assert run(main()) == 2 * n_seconds + 1
    assert rows(path, "SELECT participant, count(*) FROM readings GROUP BY participant") == [
        (PEOPLE[1], n_seconds + 1),
        (PEOPLE[2], n_seconds + 1),
    ]
    assert rows(path, "SELECT ts FROM groups") == [(ANCHOR_S + n_seconds,)]


def test_erasing_while_somebody_reads_is_not_said_to_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader keeps old pages in the log of changes; the error says to ask again, and that works."""
    monkeypatch.setattr("daemon.sinks.history.BUSY_S", 0.2)
    path = tmp_path / FILE

    async def main() -> None:
        async with History(path) as history:
            await history.second(INFO, second(0))
            await history.forget("p-0000000f")
            with closing(sqlite3.connect(path, isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM readings").fetchall()
                with pytest.raises(FailedError, match="try again"):
                    await history.forget(PEOPLE[0])
                reader.execute("COMMIT")
            assert await history.forget(PEOPLE[0]) == 0
            assert PEOPLE[0].encode() not in path.read_bytes()

    run(main())


def test_what_was_written_too_long_ago_goes(tmp_path: Path) -> None:
    """Retention counts from writing, so that old recordings are not erased at once; it is looked at while running."""
    path, clock = tmp_path / FILE, Clock()

    async def main() -> None:
        async with History(path, days=1, now=clock) as history:
            await history.second(INFO, second(0))
            await history.forget("p-0000000f")  # everything before is written now
            clock.now_s += DAY_S + TRIM_S
            await history.second(INFO, second(7))
            await history.forget("p-0000000f")

    run(main())
    assert rows(path, "SELECT DISTINCT ts FROM readings") == [(ANCHOR_S + 7,)]
    assert rows(path, "SELECT count(*) FROM events") == [(0,)]


def test_the_oldest_goes_beyond_the_size(tmp_path: Path) -> None:
    """The file stays within its bound, and the newest rows are there."""
    path, clock = tmp_path / FILE, Clock()
    bound = 200_000

    async def main() -> None:
        async with History(path, max_bytes=bound, now=clock) as history:
            for number in range(1, 1001):
                clock.now_s += 1
                await history.second(INFO, second(number))
            await history.forget("p-0000000f")
        async with History(path, max_bytes=bound, now=clock):
            pass

    run(main())
    assert path.stat().st_size <= bound
    ((first, last),) = rows(path, "SELECT min(ts), max(ts) FROM readings")
    assert last == ANCHOR_S + 1000
    assert isinstance(first, float)
    assert ANCHOR_S + 100 < first < ANCHOR_S + 900


def test_a_bound_smaller_than_an_empty_file_ends(tmp_path: Path) -> None:
    """Nothing is left to erase, and it starts all the same."""

    async def main() -> None:
        async with History(tmp_path / FILE, max_bytes=1):
            pass

    run(main())


def test_rows_wait_while_the_disk_refuses_and_the_oldest_go_first(tmp_path: Path) -> None:
    """Bounded and counted; what waited is written as soon as the disk takes it."""
    path = tmp_path / FILE

    async def main() -> int:
        async with History(path, buffer_rows=6) as history:
            await history._call(lambda: history._db.execute("PRAGMA query_only = ON") and 0)
            for number in range(1, 4):  # three readings and a group each
                await history.second(INFO, second(number))
                await history._call(lambda: 0)
            await history._call(lambda: history._db.execute("PRAGMA query_only = OFF") and 0)
            await history.second(INFO, replace(second(4, PEOPLE[:1]), events=()))
            await history._call(lambda: 0)
            return history.n_dropped

    assert run(main()) == 12 + 1 - 6
    assert rows(path, "SELECT count(*) FROM readings") == [(4,)]
    assert rows(path, "SELECT ts FROM groups") == [(ANCHOR_S + 2,), (ANCHOR_S + 3,)]


def test_who_is_forgotten_is_not_in_the_rows_that_wait(tmp_path: Path) -> None:
    """Also where the disk refuses just then."""

    async def main() -> int:
        async with History(tmp_path / FILE) as history:
            await history._call(lambda: history._db.execute("PRAGMA query_only = ON") and 0)
            await history.second(INFO, second(0))
            with pytest.raises(FailedError, match="cannot be written"):
                await history.forget(PEOPLE[0])
            await history._call(lambda: history._db.execute("PRAGMA query_only = OFF") and 0)
            await history.second(INFO, second(1, PEOPLE[1:]))
            return await history.forget(PEOPLE[0])

    assert run(main()) == 0
    assert rows(tmp_path / FILE, "SELECT DISTINCT participant FROM readings") == [(PEOPLE[1],), (PEOPLE[2],)]


def test_a_damaged_file_is_moved_aside(tmp_path: Path) -> None:
    """A new history begins; nothing is thrown away."""
    path = tmp_path / FILE
    path.write_bytes(b"this is no database at all" * 100)

    async def main() -> None:
        async with History(path) as history:
            await history.second(INFO, second(0))

    run(main())
    assert (tmp_path / f"{FILE}.damaged-1").read_bytes().startswith(b"this is no")
    assert rows(path, "SELECT count(*) FROM readings") == [(3,)]


def test_a_history_of_a_newer_attuned_is_left_alone(tmp_path: Path) -> None:
    """Refused in one line."""
    path = tmp_path / FILE
    with closing(open_history(path)) as db:
        db.execute("PRAGMA user_version = 99")

    async def main() -> None:
        async with History(path):
            pass

    with pytest.raises(FailedError, match="newer attuned"):
        run(main())


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """One line that says what to do."""

    async def main() -> None:
        async with History(tmp_path / "no" / FILE):
            pass

    with pytest.raises(FailedError, match=r"history cannot be written .* set history\.enabled"):
        run(main())


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
sys.path.insert(0, {here!r})
from test_history import INFO, second
from daemon.sinks.history import History

async def main():
    async with History(Path(sys.argv[1])) as history:
        for number in range(1_000_000):
            await history.second(INFO, second(number))
            await asyncio.sleep(0.002)

asyncio.run(main())
"""


def test_kill_9_leaves_a_whole_file(tmp_path: Path) -> None:
    """What was committed is there without a gap, SQLite finds nothing wrong, and writing goes on."""
    path = tmp_path / FILE
    here = Path(__file__).parent
    program = WRITER.format(tests=str(here.parent), here=str(here))
    with subprocess.Popen([sys.executable, "-c", program, path]) as writer:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if path.exists() and path.with_name(f"{FILE}-wal").exists():
                try:
                    ((n,),) = rows(path, "SELECT count(*) FROM readings")
                except sqlite3.OperationalError:
                    n = 0
                if isinstance(n, int) and n > 150:
                    break
            time.sleep(0.05)
        os.kill(writer.pid, signal.SIGKILL)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    ((n, last),) = rows(path, "SELECT count(*), max(ts) FROM readings")
    assert isinstance(n, int)
    assert n > 150
    assert n == 3 * (last - ANCHOR_S + 1)

    async def main() -> None:
        async with History(path) as history:
            await history.second(INFO, second(2_000_000))

    run(main())
    assert rows(path, "SELECT count(*) FROM readings") == [(n + 3,)]


def test_the_command_that_forgets_somebody_erases_them_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, whether or not there are heads of theirs; the words of others stay."""
    monkeypatch.setenv("ATTUNED_STATE_DIR", str(tmp_path))

    async def main() -> None:
        async with History(tmp_path / FILE) as history:
            await history.second(INFO, second(0))

    run(main())
    outcomes = [CliRunner().invoke(app, ["models", "forget", who]) for who in (PEOPLE[1], PEOPLE[1], "monday")]
    assert [done.exit_code for done in outcomes] == [0, 2, 2]
    assert rows(tmp_path / FILE, "SELECT participant FROM readings") == [(PEOPLE[0],), (PEOPLE[2],)]
