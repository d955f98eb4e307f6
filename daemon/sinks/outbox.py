"""Messages that wait for the broker: in SQLite, so that what was published survives a kill -9.

Published means committed here. The sequence number of an event is given in the same transaction, per topic, and
goes on after a restart; a message is deleted when the broker has acknowledged it. What the bounds discard is written
down in the same transaction too, until it is announced. The file also remembers which retained topics may be on the
broker, for a process that is killed cannot clear them.

A file that SQLite calls damaged is moved aside, with what can still be read of it taken over. While the disk refuses,
such as a full one, what was to be written waits in memory, bounded, and is written in its order once the disk takes it:
nothing of it has a number before, and nothing of it is sent.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog

from daemon.errors import FailedError
from daemon.sinks.outbox_file import (
    ErasedMessages,
    erase_participant,
    is_damage,
    is_refusal,
    move_aside,
    open_file,
    scrub,
    take_over,
)

log = structlog.get_logger()

T = TypeVar("T")
Build = Callable[[int], bytes]
"""Makes a payload from its `seq`."""

HELD_MAX = 10_000
"""Pieces of work that wait in memory while the disk refuses; beyond it the oldest event is discarded, and announced."""
SENT_MAX = 1000
"""Messages that are sent at most while the disk does not let them go: after a crash they come again."""
WAITING = "SELECT id, topic, payload, seq FROM messages"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that the broker has not acknowledged; `seq` is None for readings."""

    id: int
    topic: str
    payload: bytes
    seq: int | None


@dataclass(frozen=True, slots=True)
class Discarded:
    """Events of one topic that a bound discarded for one reason, and that nobody has been told of.

    first, last: lowest and highest `seq` among them, None where not known; example: payload of the last one.
    """

    topic: str
    reason: str
    n: int
    first: int | None
    last: int | None
    example: bytes


@dataclass(frozen=True, slots=True)
class _Held:
    """What is to be written: events of a topic by how they are built, or any other change."""

    change: Callable[[], object]
    topic: str = ""
    builds: tuple[Build, ...] = ()


class Outbox:
    """A bounded queue on disk: `async with Outbox(path, max_messages=…) as outbox`.

    What is beyond the bounds is discarded, the oldest first; `put` and `expire` say how many.

    Args:
        path: The database; made with mode 0600 where it is not there.
        max_messages: Events.
        max_readings: Readings.
        max_bytes: Of payloads, all together.
        max_age_s: Since a message was put.
        now: The time in seconds, for the age of messages.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_messages: int,
        max_readings: int = 36_000,
        max_bytes: int = 256 * 2**20,
        max_age_s: float = 7 * 86_400.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._max_messages, self._max_readings = max_messages, max_readings
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._now = now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")
        self._n_bytes = 0
        self._held: deque[_Held] = deque()
        self._lost: dict[str, tuple[int, Build]] = {}
        """Events that the bound of memory discarded, by topic, and the last of them; not told yet."""
        self._sent: set[int] = set()
        """Messages that the broker has and that the disk does not let go yet."""
        self.is_refused = False
        """Whether the disk refuses now."""
        self.n_waiting = 0
        self.n_readings = 0
        """Those of them that are readings."""
        self.n_damaged = 0
        """Files that were moved aside since this was opened."""

    async def __aenter__(self) -> Self:
        try:
            await self._call(self._open)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._call(self._close)
        finally:
            self._thread.shutdown()

    async def put(self, topic: str, *builds: Build) -> int:
        """Commits events together; each is built from its `seq`. How many older messages had to go for them.

        While the disk refuses they wait in memory.
        """
        return await self._call(lambda: self._write(_Held(lambda: self._put(topic, builds), topic, builds)))

    async def put_readings(self, readings: Sequence[tuple[str, bytes]]) -> int:
        """Commits (topic, payload) of readings together; they have bounds of their own. How many had to go for them."""
        return await self._call(lambda: self._write(_Held(lambda: self._put_readings(readings))))

    async def retry(self) -> int:
        """Writes what waits in memory, where the disk takes it now; how many older messages had to go for it."""
        return await self._call(self._write)

    async def oldest(self, limit: int, *, after: int = 0) -> list[Waiting]:
        """The messages that wait longest, in the order in which they were put, from the one after that id."""
        return await self._call(lambda: self._oldest(limit, after))

    async def newest(self) -> int:
        """The id of the message that was put last; 0 when none ever was."""
        return await self._call(self._newest)

    async def delete(self, messages: Sequence[Waiting]) -> None:
        """The broker has them."""
        self._sent.update(message.id for message in messages)
        await self._call(lambda: self._write(_Held(lambda: self._delete(messages))))

    async def expire(self) -> int:
        """Discards what is too old; how many that were."""
        return await self._call(self._write)

    async def announce(self, build: Callable[[Discarded, int], bytes]) -> int:
        """Commits an event for everything that was discarded and not yet told; how many events.

        They are put beyond the bounds: else each would push out one more. None are while the disk refuses.
        """
        return await self._call(lambda: self._announced(build))

    async def remember(self, topic: str, payload: bytes) -> None:
        """A retained topic that may be on the broker from now on."""
        statement = "INSERT OR REPLACE INTO retained VALUES (?, ?)"
        await self._call(lambda: self._write(_Held(lambda: self._db.execute(statement, (topic, payload)))))

    async def forget(self, topic: str) -> None:
        """A retained topic that is cleared."""
        statement = "DELETE FROM retained WHERE topic = ?"
        await self._call(lambda: self._write(_Held(lambda: self._db.execute(statement, (topic,)))))

    async def remembered(self) -> dict[str, bytes]:
        """Every retained topic that may be on the broker, with what was last to be there."""
        return await self._call(lambda: dict(self._db.execute("SELECT topic, payload FROM retained").fetchall()))

    async def forget_participant(self, participant: str) -> ErasedMessages:
        """Takes a participant out of everything that waits; see `erase_participant`.

        Raises:
            FailedError: The disk does not take it.
        """
        return await self._call(lambda: self._forget(participant))

    async def scrub(self) -> None:
        """Leaves nothing on the disk of what was erased.

        Raises:
            FailedError: The disk does not take it.
        """
        await self._call(lambda: scrub(self._db))

    # On the outbox's own thread: a commit waits for the disk

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._healing, work)
        except (sqlite3.Error, OSError) as error:
            msg = f"{self._path}: the outbox cannot be written ({error}); free the disk, or set state_dir"
            raise FailedError(msg) from error

    def _healing(self, work: Callable[[], T]) -> T:
        """Does the work; where the file is damaged, once more on a new one."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._replace(str(error))
            return work()

    def _forget(self, participant: str) -> ErasedMessages:
        # What waits in memory is written first, so that nothing of theirs comes after.
        self._write()
        if self._held:
            msg = "the disk takes no more, so that nothing can be erased"
            raise OSError(msg)
        erased = self._transact(lambda: erase_participant(self._db, participant))
        self._count()
        return erased

    def _open(self) -> None:
        self._db = open_file(self._path)
        self._count()
        self._transact(self._trim)

    def _close(self) -> None:
        try:
            self._write()
            if self._held:
                n = sum(len(held.builds) for held in self._held)
                msg = f"{self._path}: the disk takes no more: {n} events are lost; free it, or set state_dir"
                raise FailedError(msg)
        finally:
            self._db.close()

    def _write(self, *more: _Held) -> int:
        """Writes what waits in memory, and this, in one transaction, and trims; how many messages that discarded.

        Where the disk refuses, all of it waits, or what the bound leaves of it.
        """
        self._held.extend(more)
        try:
            n = self._transact(self._write_held)
        except BaseException as error:
            if not is_refusal(error):
                for _ in more:
                    self._held.pop()
                raise
            if not self.is_refused:
                log.warning("the outbox cannot be written: events wait in memory", error=str(error))
            self.is_refused = True
            return self._let_go()
        self._held.clear()
        self._sent.clear()
        self._lost.clear()
        if self.is_refused:
            self.is_refused = False
            log.info("the outbox is written again")
        return n

    def _write_held(self) -> int:
        for topic, (n, build) in self._lost.items():
            self._note(topic, "size", n, None, build(0))
        for held in self._held:
            held.change()
        return self._trim()

    def _let_go(self) -> int:
        """Keeps to the bound of what waits in memory; how many events had to go."""
        n = 0
        while len(self._held) > HELD_MAX:
            at = next((i for i, held in enumerate(self._held) if held.builds), 0)
            held = self._held[at]
            del self._held[at]
            if held.builds:
                n += len(held.builds)
                before, _ = self._lost.get(held.topic, (0, None))
                self._lost[held.topic] = (before + len(held.builds), held.builds[-1])
        return n

    def _count(self) -> None:
        query = "SELECT count(*), count(*) - count(seq), coalesce(sum(length(payload)), 0) FROM messages"
        self.n_waiting, self.n_readings, self._n_bytes = self._db.execute(query).fetchone()

    def _replace(self, why: str) -> None:
        """Moves a damaged file aside, and takes over what can be read of it."""
        with suppress(AttributeError, sqlite3.Error):
            self._db.close()
        aside = move_aside(self._path)
        n = take_over(aside, self._path)
        self._open()
        self.n_damaged += 1
        log.warning("the outbox was damaged: it is moved aside", file=str(aside), error=why, n_taken_over=n)

    def _transact(self, work: Callable[[], T]) -> T:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                # A full disk may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._count()
            raise
        return result

    def _put(self, topic: str, builds: Sequence[Build]) -> None:
        for build in builds:
            self._number(topic, build)

    def _number(self, topic: str, build: Build) -> None:
        row = self._db.execute("SELECT next FROM counters WHERE topic = ?", (topic,)).fetchone()
        seq = row[0] if row else 0
        self._db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (topic, seq + 1))
        self._insert(topic, build(seq), seq)

    def _put_readings(self, readings: Sequence[tuple[str, bytes]]) -> None:
        for topic, payload in readings:
            self._insert(topic, payload, None)

    def _insert(self, topic: str, payload: bytes, seq: int | None) -> None:
        self._db.execute(
            "INSERT INTO messages (topic, payload, created, seq) VALUES (?, ?, ?, ?)",
            (topic, payload, self._now(), seq),
        )
        self.n_waiting += 1
        self.n_readings += seq is None
        self._n_bytes += len(payload)

    def _trim(self) -> int:
        """Discards the oldest beyond the bounds; within a transaction."""
        n = 0
        while self.n_waiting:
            (created,) = self._db.execute("SELECT created FROM messages ORDER BY id LIMIT 1").fetchone()
            if created < self._now() - self._max_age_s:
                reason, which = "age", ""
            elif self.n_readings > self._max_readings:
                reason, which = "size", "WHERE seq IS NULL"
            elif self.n_waiting - self.n_readings > self._max_messages:
                reason, which = "size", "WHERE seq IS NOT NULL"
            elif self._n_bytes > self._max_bytes:
                reason, which = "size", ""
            else:
                break
            n += 1
            self._discard(Waiting(*self._db.execute(f"{WAITING} {which} ORDER BY id LIMIT 1").fetchone()), reason)
        return n

    def _discard(self, message: Waiting, reason: str) -> None:
        self._remove(message)
        if message.seq is not None:
            self._note(message.topic, reason, 1, message.seq, message.payload)

    def _note(self, topic: str, reason: str, n: int, seq: int | None, example: bytes) -> None:
        """Writes down what is to be announced; `seq` None: it never had a number."""
        self._db.execute(
            "INSERT INTO discarded VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " n = n + excluded.n, first = coalesce(min(first, excluded.first), first, excluded.first),"
            " last = coalesce(max(last, excluded.last), last, excluded.last), example = excluded.example",
            (topic, reason, n, seq, seq, example),
        )

    def _remove(self, message: Waiting) -> None:
        if self._db.execute("DELETE FROM messages WHERE id = ?", (message.id,)).rowcount:
            self.n_waiting -= 1
            self.n_readings -= message.seq is None
            self._n_bytes -= len(message.payload)

    def _announced(self, build: Callable[[Discarded, int], bytes]) -> int:
        if self.is_refused:
            return 0
        try:
            return self._transact(lambda: self._announce(build))
        except sqlite3.Error as error:
            if not is_refusal(error):
                raise
            self.is_refused = True
            return 0

    def _announce(self, build: Callable[[Discarded, int], bytes]) -> int:
        rows = [Discarded(*row) for row in self._db.execute("SELECT * FROM discarded ORDER BY topic, reason")]
        for row in rows:
            self._number(row.topic, partial(build, row))
        self._db.execute("DELETE FROM discarded")
        return len(rows)

    def _oldest(self, limit: int, after: int) -> list[Waiting]:
        if len(self._sent) >= SENT_MAX:
            return []
        rows = self._db.execute(f"{WAITING} WHERE id > ? ORDER BY id LIMIT ?", (after, limit + len(self._sent)))
        return [Waiting(*row) for row in rows if row[0] not in self._sent][:limit]

    def _newest(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        return int(row[0]) if row else 0

    def _delete(self, messages: Sequence[Waiting]) -> None:
        for message in messages:
            self._remove(message)
