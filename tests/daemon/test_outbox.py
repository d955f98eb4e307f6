"""Events on disk."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from videos import run

from daemon.errors import FailedError
from daemon.sinks.outbox import Outbox

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
            await outbox.delete(first)
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
