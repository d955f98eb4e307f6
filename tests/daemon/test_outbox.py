"""Events on disk."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from videos import run

from daemon.errors import FailedError
from daemon.sinks.outbox import Discarded, Outbox

WRITER = """
import asyncio, sys
from pathlib import Path
from daemon.sinks.outbox import Outbox

async def main():
    async with Outbox(Path(sys.argv[1]), max_messages=100000) as outbox:
        while True:
            await outbox.put("t", lambda seq: str(seq).encode())
            print(outbox.n_waiting, flush=True)

asyncio.run(main())
"""


def payload(seq: int) -> bytes:
    """A message that says its number."""
    return str(seq).encode()


def test_sequence_numbers_are_per_topic_and_survive_a_restart(tmp_path: Path) -> None:
    """From 0, without a gap, also after closing; what was not deleted is still there, in order."""

    async def main() -> list[tuple[str, bytes]]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=10) as outbox:
            for topic in ("a", "b", "a"):
                await outbox.put(topic, payload)
            first, *_ = await outbox.oldest(10)
            await outbox.delete([first])
        async with Outbox(tmp_path / "o.sqlite", max_messages=10) as outbox:
            await outbox.put("a", payload)
            assert outbox.n_waiting == 3
            return [(message.topic, message.payload) for message in await outbox.oldest(10)]

    assert run(main()) == [("b", b"0"), ("a", b"1"), ("a", b"2")]
    assert stat.S_IMODE((tmp_path / "o.sqlite").stat().st_mode) == 0o600


def test_the_oldest_go_when_it_is_full(tmp_path: Path) -> None:
    """Beyond the bound the oldest are discarded, and `put` says how many."""

    async def main() -> tuple[list[int], list[bytes]]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            discarded = [await outbox.put("a", payload) for _ in range(4)]
            return discarded, [message.payload for message in await outbox.oldest(10)]

    assert run(main()) == ([0, 0, 1, 1], [b"2", b"3"])


def test_a_message_that_cannot_be_made_takes_no_number(tmp_path: Path) -> None:
    """When building fails nothing is committed, so no gap is left."""

    def broken(seq: int) -> bytes:
        raise ValueError(seq)

    async def main() -> bytes:
        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            with pytest.raises(ValueError, match="0"):
                await outbox.put("a", broken)
            await outbox.put("a", payload)
            [message] = await outbox.oldest(10)
            return message.payload

    assert run(main()) == b"0"


def test_a_disk_that_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    """The path and what to do."""

    async def main() -> None:
        async with Outbox(tmp_path / "none" / "o.sqlite", max_messages=2):
            pass

    with pytest.raises(FailedError, match="the outbox cannot be written"):
        run(main())


def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """Killed in the middle of writing, five times: every number that was confirmed is there, without a gap."""
    path, confirmed = tmp_path / "o.sqlite", 0
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        deadline = time.monotonic() + 20
        for line in writer.stdout:
            confirmed = int(line)
            if confirmed % 7 == 6 or time.monotonic() > deadline:
                break
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            stored = [int(row[0]) for row in db.execute("SELECT payload FROM messages ORDER BY id")]
        db.close()
        assert stored == list(range(len(stored)))
        assert len(stored) >= confirmed


async def put(outbox: Outbox, n: int, topic: str = "a") -> list[int]:
    """Puts messages one by one; how many went for each."""
    return [await outbox.put(topic, payload) for _ in range(n)]


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """After the bound of age, when something is put, when asked, and when the file is opened."""
    now = [1000.0]

    async def main() -> tuple[list[int], int, list[bytes]]:
        bounds = {"max_messages": 10, "max_age_s": 60.0, "now": lambda: now[0]}
        async with Outbox(tmp_path / "o.sqlite", **bounds) as outbox:
            gone = await put(outbox, 2)
            now[0] = 1061.0
            gone += await put(outbox, 1)
            now[0] = 1122.0
            expired = await outbox.expire()
            await put(outbox, 1)
            now[0] = 1183.0
        async with Outbox(tmp_path / "o.sqlite", **bounds) as outbox:
            assert outbox.n_waiting == 0
            await outbox.announce(lambda what, _: f"{what.reason} {what.n} {what.first}-{what.last}".encode())
            return gone, expired, [message.payload for message in await outbox.oldest(9)]

    assert run(main()) == ([0, 0, 2], 1, [b"age 4 0-3"])


def test_the_bound_of_bytes_holds(tmp_path: Path) -> None:
    """Ten bytes: of messages of four bytes the last two stay."""

    async def main() -> tuple[list[int], int]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=10, max_bytes=10) as outbox:
            gone = [await outbox.put("a", lambda _: b"four") for _ in range(4)]
        async with Outbox(tmp_path / "o.sqlite", max_messages=10, max_bytes=5) as outbox:
            return gone, outbox.n_waiting

    assert run(main()) == ([0, 0, 1, 1], 1)


def test_readings_do_not_push_out_events(tmp_path: Path) -> None:
    """They have a bound of their own, are not announced, and stand in order between the events."""

    async def main() -> tuple[list[int], list[bytes], int, int]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=2, max_readings=2) as outbox:
            await outbox.put("e", payload)
            gone = [await outbox.put_readings([("r", f"r{i}".encode())]) for i in range(4)]
            await outbox.put("e", payload, payload)
            waiting = [message.payload for message in await outbox.oldest(10)]
            return gone, waiting, outbox.n_readings, await outbox.announce(lambda _, seq: str(seq).encode())

    assert run(main()) == ([0, 0, 1, 1], [b"r2", b"r3", b"1", b"2"], 2, 1)


def test_what_was_discarded_is_told_after_a_kill_too(tmp_path: Path) -> None:
    """It is written down in the transaction that discards, per topic, and once told it is not told again."""

    async def main() -> tuple[list[str], list[int], list[str]]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            await put(outbox, 3, "a")
            await put(outbox, 2, "b")
        told: list[str] = []

        def build(what: Discarded, seq: int) -> bytes:
            told.append(f"{what.topic} {what.n} {what.first}-{what.last} {what.example.decode()} as {seq}")
            return b"told"

        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            n = [await outbox.announce(build), outbox.n_waiting, await outbox.announce(build)]
            return told, n, [f"{m.topic} {m.payload.decode()}" for m in await outbox.oldest(9)]

    assert run(main()) == (["a 3 0-2 2 as 3"], [1, 3, 0], ["b 0", "b 1", "a told"])


def test_retained_topics_are_remembered(tmp_path: Path) -> None:
    """Until they are cleared, over a restart."""

    async def main() -> dict[str, bytes]:
        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            for topic in ("a", "b"):
                await outbox.remember(topic, b"1")
            await outbox.remember("a", b"2")
            await outbox.forget("b")
        async with Outbox(tmp_path / "o.sqlite", max_messages=2) as outbox:
            return await outbox.remembered()

    assert run(main()) == {"a": b"2"}


@pytest.mark.parametrize("how", ["scribbled", "no database", "cut"])
def test_a_damaged_file_is_moved_aside(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is there under another name, one line says so, what can be read goes on, and numbers do not begin anew."""
    path = tmp_path / "o.sqlite"

    async def fill() -> None:
        async with Outbox(path, max_messages=5000) as outbox:
            await outbox.put("a", *[lambda seq: f"{seq:0500d}".encode()] * 400)
            await outbox.remember("a/status", b"1")

    async def main() -> tuple[int, int, list[int]]:
        async with Outbox(path, max_messages=5000) as outbox:
            await outbox.put("a", payload)
            messages = await outbox.oldest(5000)
            return outbox.n_damaged, outbox.n_waiting, [message.seq or 0 for message in messages]

    run(fill())
    data = bytearray(path.read_bytes())
    if how == "scribbled":
        data[-40_000:-30_000] = b"\xff" * 10_000
    elif how == "no database":
        data[:4096] = b"x" * 4096
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    n_damaged, n_waiting, seqs = run(main())
    assert n_damaged == 1
    assert n_waiting == len(seqs)
    assert seqs == sorted(set(seqs))
    assert (tmp_path / "o.sqlite.damaged-1").read_bytes() == bytes(data)
    assert "".join(capsys.readouterr()).count("the outbox was damaged") == 1
    if how == "scribbled":
        assert len(seqs) > 100
        assert seqs[-1] == 400


def test_a_file_that_is_damaged_while_it_is_used_is_replaced(tmp_path: Path) -> None:
    """What was being put is put into the new one; nobody has to do anything."""
    path = tmp_path / "o.sqlite"

    async def main() -> tuple[int, int, list[bytes]]:
        async with Outbox(path, max_messages=5000) as outbox:
            await put(outbox, 3)
            outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            path.write_bytes(b"x" * path.stat().st_size)
            outbox._db.execute("PRAGMA shrink_memory")
            gone = await outbox.put("a", payload)
            return gone, outbox.n_damaged, [message.payload for message in await outbox.oldest(9)]

    assert run(main()) == (0, 1, [b"0"])
    assert (tmp_path / "o.sqlite.damaged-1").exists()


def test_a_file_of_before_is_upgraded(tmp_path: Path) -> None:
    """Events of the first version have their numbers in their payloads."""
    path = tmp_path / "o.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE counters (topic TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;"
            "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL,"
            " payload BLOB NOT NULL, created REAL NOT NULL) STRICT;"
            "INSERT INTO counters VALUES ('a', 6);"
            "INSERT INTO messages (topic, payload, created) VALUES ('a', CAST('{\"seq\":5}' AS BLOB), unixepoch());"
        )

    async def main() -> list[tuple[int | None, bytes]]:
        async with Outbox(path, max_messages=9) as outbox:
            await put(outbox, 1)
            return [(message.seq, message.payload) for message in await outbox.oldest(9)]

    assert run(main()) == [(5, b'{"seq":5}'), (6, b"6")]


def test_a_file_of_a_newer_attuned_is_left_alone(tmp_path: Path) -> None:
    """One line that says what to do."""
    path = tmp_path / "o.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")

    async def main() -> None:
        async with Outbox(path, max_messages=9):
            pass

    with pytest.raises(FailedError, match="newer attuned; upgrade"):
        run(main())


def refuse(outbox: Outbox) -> None:
    """The file may not grow any more, which SQLite says like a full disk."""
    n_pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {n_pages}")


def allow(outbox: Outbox) -> None:
    """There is room again."""
    outbox._db.execute("PRAGMA max_page_count = 100000")


LARGE = 20_000
"""More than the pages have room for."""


def large(seq: int) -> bytes:
    """A message of many pages that says its number."""
    return str(seq).encode().ljust(LARGE)


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    """What was put meanwhile has no number and is not sent; then it is there in its order, without a gap."""

    async def main() -> None:
        async with Outbox(tmp_path / "o.sqlite", max_messages=100) as outbox:
            await outbox.put("a", payload)
            refuse(outbox)
            for _ in range(3):
                assert await outbox.put("a", large) == 0
            assert outbox.is_refused
            assert outbox.n_waiting == 1
            await outbox.remember("r", b"0".ljust(LARGE))
            assert [message.payload for message in await outbox.oldest(10)] == [b"0"]
            assert await outbox.retry() == 0
            assert outbox.is_refused
            allow(outbox)
            await outbox.retry()
            assert not outbox.is_refused
            assert [int(message.payload) for message in await outbox.oldest(10)] == [0, 1, 2, 3]
            assert list(await outbox.remembered()) == ["r"]

    run(main())


def test_what_was_sent_while_the_disk_was_full_is_not_sent_again(tmp_path: Path) -> None:
    """The disk does not let go of it yet, but it is not given out twice; and it goes with the next write."""

    async def main() -> None:
        async with Outbox(tmp_path / "o.sqlite", max_messages=100) as outbox:
            await outbox.put("a", payload, payload, payload)
            refuse(outbox)
            await outbox.put("a", large)
            first, *rest = await outbox.oldest(10)
            await outbox.delete([first])
            assert outbox.is_refused
            assert await outbox.oldest(10) == rest
            allow(outbox)
            await outbox.put("a", payload)
            assert [message.seq for message in await outbox.oldest(10)] == [1, 2, 3, 4]
            assert outbox.n_waiting == 4

    run(main())


def test_memory_has_a_bound_and_says_what_it_discards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, the numbers stay gapless, and an event says how many there were."""
    monkeypatch.setattr("daemon.sinks.outbox.HELD_MAX", 3)

    async def main() -> None:
        async with Outbox(tmp_path / "o.sqlite", max_messages=100) as outbox:
            refuse(outbox)
            assert [await outbox.put("a", large) for _ in range(5)] == [0, 0, 0, 1, 1]
            assert await outbox.announce(lambda what, seq: b"") == 0
            allow(outbox)
            await outbox.put("a", payload)
            assert [message.seq for message in await outbox.oldest(10)] == [0, 1, 2, 3]
            told: list[Discarded] = []
            assert await outbox.announce(lambda what, seq: told.append(what) or b"") == 1
            [what] = told
            assert (what.topic, what.reason, what.n, what.first, what.last) == ("a", "size", 2, None, None)

    run(main())


def test_a_disk_that_is_full_to_the_end_is_no_silent_loss(tmp_path: Path) -> None:
    """Leaving says how many events could not be written, and what was there before is still there."""

    async def main() -> None:
        outbox = await Outbox(tmp_path / "o.sqlite", max_messages=100).__aenter__()
        await outbox.put("a", payload)
        refuse(outbox)
        await outbox.put("a", large, large)
        with pytest.raises(FailedError, match=r"2 events are lost"):
            await outbox.__aexit__(None, None, None)
        async with Outbox(tmp_path / "o.sqlite", max_messages=100) as outbox:
            assert [message.seq for message in await outbox.oldest(10)] == [0]

    run(main())


def test_a_message_that_cannot_be_built_harms_no_other(tmp_path: Path) -> None:
    """The mistake is raised, once; what follows is put."""

    def broken(_: int) -> bytes:
        msg = "a bug"
        raise ValueError(msg)

    async def main() -> None:
        async with Outbox(tmp_path / "o.sqlite", max_messages=100) as outbox:
            with pytest.raises(ValueError, match="a bug"):
                await outbox.put("a", broken)
            await outbox.put("a", payload)
            assert [message.seq for message in await outbox.oldest(10)] == [0]

    run(main())
