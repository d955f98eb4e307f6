"""Events that wait for the broker: in SQLite, so that what was published survives a kill -9.

Published means committed here. The sequence number of an event is given in the same transaction, per topic, and
goes on after a restart; a message is deleted when the broker has acknowledged it.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from daemon.errors import FailedError

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (topic TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, created REAL NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that the broker has not acknowledged."""

    id: int
    topic: str
    payload: bytes


class Outbox:
    """A bounded queue on disk: `async with Outbox(path, max_messages=…) as outbox`.

    Args:
        path: The database; made with mode 0600 where it is not there.
        max_messages: The oldest beyond this are discarded, and `put` says how many.
    """

    def __init__(self, path: Path, *, max_messages: int) -> None:
        self._path = path
        self._max_messages = max_messages
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        self.n_waiting = 0

    async def __aenter__(self) -> Self:
        try:
            self._db = await self._call(self._open)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._call(self._db.close)
        self._thread.shutdown()

    async def put(self, topic: str, build: Callable[[int], bytes]) -> int:
        """Commits a message; `build` makes its payload from its `seq`. How many older ones had to go for it.

        Raises:
            FailedError: The disk does not take it.
        """
        return await self._call(lambda: self._put(topic, build))

    async def oldest(self, limit: int) -> list[Waiting]:
        """The messages that wait longest, in the order in which they were put."""
        return await self._call(lambda: self._oldest(limit))

    async def delete(self, message: Waiting) -> None:
        """The broker has it."""
        await self._call(lambda: self._delete(message))

    async def _call(self, work: Callable[[], T]) -> T:
        """Runs on the outbox's own thread: a commit waits for the disk."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            msg = f"{self._path}: the outbox cannot be written ({error}); free the disk, move the file away, or set state_dir"
            raise FailedError(msg) from error

    def _open(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(SCHEMA)
        (self.n_waiting,) = db.execute("SELECT count(*) FROM messages").fetchone()
        return db

    def _put(self, topic: str, build: Callable[[int], bytes]) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            row = self._db.execute("SELECT next FROM counters WHERE topic = ?", (topic,)).fetchone()
            seq = row[0] if row else 0
            self._db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (topic, seq + 1))
            self._db.execute(
                "INSERT INTO messages (topic, payload, created) VALUES (?, ?, ?)", (topic, build(seq), time.time())
            )
            excess = max(0, self.n_waiting + 1 - self._max_messages)
            self._db.execute(
                "DELETE FROM messages WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT ?)", (excess,)
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self.n_waiting += 1 - excess
        return excess

    def _oldest(self, limit: int) -> list[Waiting]:
        rows = self._db.execute("SELECT id, topic, payload FROM messages ORDER BY id LIMIT ?", (limit,))
        return [Waiting(*row) for row in rows]

    def _delete(self, message: Waiting) -> None:
        cursor = self._db.execute("DELETE FROM messages WHERE id = ?", (message.id,))
        self.n_waiting -= cursor.rowcount
