"""History: seconds, groups and events of sessions in SQLite, for `attuned export`; off unless `history.enabled`.

Rows wait in a bounded buffer for a thread of our own, so that a slow disk holds up nobody. Every commit is whole:
kill -9 costs what was still in the buffer, about a second. What a participant takes part in can be erased.
"""

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import structlog

from daemon.errors import FailedError
from daemon.session import SessionInfo
from daemon.sinks.outbox_file import is_damage, move_aside
from daemon.sources.source import State
from pipeline import wire
from pipeline.emotions import EMOTIONS
from pipeline.types import CallSecond, Event, FusedReading

log = structlog.get_logger()

FILE = "history.sqlite"
VERSION = 2
BUFFER_ROWS = 20_000
"""Rows that wait for the disk at most: nine participants for half an hour; the oldest go first, counted."""
TRIM_S = 600.0
"""How often age and size are looked at."""
DAY_S = 86_400.0
BUSY_S = 10.0
"""How long a writer waits for another process that erases."""
READING_COLUMNS = (
    *("session", "boot", "purpose", "basis", "ts", "participant", "n_frames", "coverage", "quality"),
    *EMOTIONS,
    *("top", "confidence", "abstain", "valence", "arousal", "weight_pixel", "weight_landmark"),
    *("head_pixel", "head_landmark"),
)
TABLES = f"""
CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, stored REAL NOT NULL, session TEXT NOT NULL, boot TEXT NOT NULL,
    purpose TEXT NOT NULL, ts REAL NOT NULL, participant TEXT NOT NULL, n_frames INTEGER NOT NULL, coverage REAL NOT NULL, quality REAL,
    {", ".join(f"{name} REAL" for name in EMOTIONS)},
    top TEXT, confidence REAL, abstain INTEGER NOT NULL, valence REAL, arousal REAL,
    weight_pixel REAL NOT NULL, weight_landmark REAL NOT NULL, head_pixel TEXT NOT NULL, head_landmark TEXT NOT NULL,
    basis TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY, stored REAL NOT NULL, session TEXT NOT NULL, boot TEXT NOT NULL,
    purpose TEXT NOT NULL, ts REAL NOT NULL,
    payload TEXT NOT NULL, basis TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, stored REAL NOT NULL, session TEXT NOT NULL, boot TEXT NOT NULL, ts REAL NOT NULL,
    payload TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS readings_ts ON readings (ts);
CREATE INDEX IF NOT EXISTS groups_ts ON groups (ts);
CREATE INDEX IF NOT EXISTS events_ts ON events (ts)
"""
"""`ts`: UTC of capture in seconds since 1970; `stored`: when the row was written, which is what retention goes by,
since recordings may be old. `payload`: the JSON of MQTT, whose `seq` counts the rows of one session here."""
COLUMNS = {
    "readings": ("stored", *READING_COLUMNS),
    "groups": ("stored", "session", "boot", "purpose", "basis", "ts", "payload"),
    "events": ("stored", "session", "boot", "ts", "payload"),
}
NAMES = tuple(COLUMNS)
KEPT_SPAN = """
SELECT min(first), max(last) FROM (
    SELECT min(stored) AS first, max(stored) AS last FROM readings
    UNION ALL SELECT min(stored), max(stored) FROM groups
    UNION ALL SELECT min(stored), max(stored) FROM events
)
"""


class _Row(NamedTuple):
    """A row that waits, without its id."""

    table: str
    values: tuple[object, ...]


class History:
    """A `Sink` that keeps everything, within its bounds: `async with History(folder / FILE) as history`.

    Args:
        path: The database; made with mode 0600.
        days: Rows that were written longer ago are erased.
        max_bytes: The oldest rows are erased beyond this; the file itself may be larger by what is being written.
        buffer_rows: Rows that wait for the disk at most.
        now: The time in seconds, for the age of rows.
    """

    def __init__(
        self,
        path: Path,
        *,
        days: float = 30.0,
        max_bytes: int = 2**30,
        buffer_rows: int = BUFFER_ROWS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._age_s, self._max_bytes = days * DAY_S, max_bytes
        self._buffer_rows = buffer_rows
        self._now = now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self._lock = threading.Lock()
        self._rows: deque[_Row] = deque()
        self._seqs: dict[tuple[str, str], int] = {}
        self._writing: Future[None] | None = None
        self._trimmed_s = 0.0
        self._is_refused = False
        self.n_dropped = 0
        """Rows that the buffer's bound discarded, because the disk did not take them in time."""

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

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:  # noqa: ARG002
        """How a session goes stands in its events; what is counted per session ends with it."""
        if state in {"ended", "failed"}:
            for table in NAMES:
                self._seqs.pop((table, info.stamp.boot), None)

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """A row per participant, and one for a group that is large enough to be published."""
        stored, stamp = self._now(), info.stamp
        rows = [_Row("readings", (stored, *_reading(reading, info))) for reading in second.readings]
        if len(second.group.members) >= info.minimum:
            payload = wire.encode(wire.group_emotion(second.group, stamp, self._seq("groups", info))).decode()
            ts = stamp.epoch_s(float(second.second))
            rows.append(_Row("groups", (stored, stamp.session, stamp.boot, info.purpose, info.basis, ts, payload)))
        self._put([*rows, *self._events(info, second.events)])

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """A row per event."""
        self._put(self._events(info, events))

    async def forget(self, participant: str) -> int:
        """Erases every row in which a participant takes part, groups and events too; how many.

        A group's sum less the readings of the others would tell the reading that was erased. The file is written
        anew without them, which takes as much free disk again, and the log of changes is emptied.

        Raises:
            FailedError: The disk does not take it.
        """
        return await self._call(lambda: self._forget(participant))

    async def trim(self) -> None:
        """Erases what is too old or too much, also while nothing is written.

        Raises:
            FailedError: The disk does not take it.
        """
        await self._call(self._trim)

    def _seq(self, table: str, info: SessionInfo) -> int:
        """The next number of a payload."""
        seq = self._seqs.get((table, info.stamp.boot), 0)
        self._seqs[table, info.stamp.boot] = seq + 1
        return seq

    def _events(self, info: SessionInfo, events: Sequence[Event]) -> list[_Row]:
        """Rows of events."""
        stored, stamp = self._now(), info.stamp
        return [
            _Row(
                "events",
                (
                    *(stored, stamp.session, stamp.boot, stamp.epoch_s(event.time_s)),
                    wire.encode(wire.event(event, stamp, self._seq("events", info))).decode(),
                ),
            )
            for event in events
        ]

    def _put(self, rows: Sequence[_Row]) -> None:
        """Lets rows wait, and sees that somebody writes them."""
        with self._lock:
            self._rows.extend(rows)
            while len(self._rows) > self._buffer_rows:
                self._rows.popleft()
                self.n_dropped += 1
        if self._writing is None or self._writing.done():
            if self._writing is not None:
                self._writing.result()  # a bug over there is a bug here
            self._writing = self._thread.submit(self._write)

    # On the history's own thread

    async def _call(self, work: Callable[[], int | None]) -> int:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work) or 0
        except (sqlite3.Error, OSError) as error:
            msg = f"{self._path}: the history cannot be written ({error}); free the disk, or set history.enabled: false"
            raise FailedError(msg) from error

    def _open(self) -> None:
        try:
            self._db = open_history(self._path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            aside = move_aside(self._path)
            log.warning("the history was damaged: it is moved aside, a new one begins", file=str(aside))
            self._db = open_history(self._path)
        self._trim()

    def _close(self) -> None:
        self._write()
        self._db.close()
        if self.n_dropped or self._rows:
            log.warning("the history has gaps", n_dropped=self.n_dropped + len(self._rows))

    def _write(self) -> None:
        """Commits what waits; what the disk refuses waits on, said once."""
        with self._lock:
            rows = list(self._rows)
            self._rows.clear()
        try:
            with _Transaction(self._db):
                for table, values in rows:
                    columns = ", ".join(COLUMNS[table])
                    marks = ", ".join("?" * len(values))
                    self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608 (our names)
        except sqlite3.Error as error:
            self._put_back(rows)
            if not self._is_refused:
                log.warning("the history cannot be written; rows wait in memory", error=str(error))
            self._is_refused = True
            return
        if self._is_refused:
            log.info("the history is written again", n_dropped=self.n_dropped)
        self._is_refused = False
        if self._now() - self._trimmed_s >= TRIM_S:
            try:
                self._trim()
            except sqlite3.Error as error:
                log.warning("the history could not be trimmed", error=str(error))

    def _put_back(self, rows: Sequence[_Row]) -> None:
        """Rows wait again, before those that came meanwhile."""
        with self._lock:
            self._rows.extendleft(reversed(rows))
            while len(self._rows) > self._buffer_rows:
                self._rows.popleft()
                self.n_dropped += 1

    def _trim(self) -> None:
        self._trimmed_s = self._now()
        trim(self._db, self._now() - self._age_s, self._max_bytes)

    def _forget(self, participant: str) -> int:
        self._write()
        with self._lock:
            kept = [row for row in self._rows if not _names(row, participant)]
            n = len(self._rows) - len(kept)
            self._rows = deque(kept)
        return n + erase_participant(self._db, participant)


def open_history(path: Path) -> sqlite3.Connection:
    """The database, made with mode 0600 where it is not there, checked; what is erased is overwritten.

    Raises:
        sqlite3.DatabaseError: It is damaged, or the disk refuses.
        FailedError: A newer attuned wrote it.
    """
    path.touch(mode=0o600)
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_S)
    try:
        # Before the first table: what is erased goes back to the disk.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        # A commit outlives kill -9; that of the last moments before a power cut may be gone, the file stays whole.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        _make_tables(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _make_tables(db: sqlite3.Connection, path: Path) -> None:
    """Today's tables in a new file; upgrades those of yesterday, refuses those of tomorrow."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        msg = f"{path}: was written by a newer attuned; upgrade this one, or set another state_dir"
        raise FailedError(msg)
    if found < VERSION:
        with _Transaction(db):
            for statement in TABLES.split(";"):
                db.execute(statement)
            if found == 1:
                # Before version 2 nobody wrote down on what legal basis people were read.
                db.execute("ALTER TABLE readings ADD COLUMN basis TEXT")
                db.execute("ALTER TABLE groups ADD COLUMN basis TEXT")
            db.execute(f"PRAGMA user_version = {VERSION}")


def trim(db: sqlite3.Connection, limit_s: float, max_bytes: int) -> int:
    """Erases what was stored before a time, and the oldest beyond a size, a tenth of the time that is kept in one go.

    How many rows.
    """
    n = _erase(db, "stored < ?", limit_s)
    while _used_bytes(db) > max_bytes:
        first, last = db.execute(KEPT_SPAN).fetchone()
        if first is None:
            break
        n += _erase(db, "stored <= ?", first + (last - first) / 10)
    if n:
        # As a script: a cursor would stop after its first page.
        db.executescript("PRAGMA incremental_vacuum")
        _empty_log(db)
    return n


def erase_participant(db: sqlite3.Connection, participant: str) -> int:
    """Erases every row in which a participant takes part, also from the log of changes; how many.

    Raises:
        sqlite3.OperationalError: Somebody reads the history, so that the log cannot be emptied; ask again.
    """
    with _Transaction(db):
        n = db.execute("DELETE FROM readings WHERE participant = ?", (participant,)).rowcount
        for name in ("groups", "events"):
            found = db.execute(f"DELETE FROM {name} WHERE instr(payload, ?)", (f'"{participant}"',))  # noqa: S608 (our names)
            n += found.rowcount
    # Where rows were moved between pages their old bytes stay behind, whatever secure_delete does: write it anew.
    db.execute("VACUUM")
    if _empty_log(db):
        msg = "somebody is reading it, try again when that is over"
        raise sqlite3.OperationalError(msg)
    return n


class _Transaction:
    """Commits at the end, or takes everything back."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        # Where the disk is full SQLite may have taken everything back by itself.
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")


def _erase(db: sqlite3.Connection, condition: str, value: float) -> int:
    """Erases from all tables; how many rows."""
    with _Transaction(db):
        deletes = [f"DELETE FROM {name} WHERE {condition}" for name in NAMES]  # noqa: S608 (our names)
        return sum(db.execute(delete, (value,)).rowcount for delete in deletes)


def _empty_log(db: sqlite3.Connection) -> bool:
    """Brings the log of changes into the file and empties it; whether a reader prevented that."""
    (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return bool(busy)


def _used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _names(row: _Row, participant: str) -> bool:
    """Whether a participant takes part in a row that waits."""
    return participant in row.values or f'"{participant}"' in str(row.values[-1])


def _reading(reading: FusedReading, info: SessionInfo) -> tuple[object, ...]:
    """Cells in the order of `READING_COLUMNS`; what is not known is NULL, and so is everything in absence."""
    arms, stamp = reading.arms, info.stamp
    p = reading.probabilities
    return (
        *(stamp.session, stamp.boot, info.purpose, info.basis),
        *(stamp.epoch_s(float(arms.second)), arms.participant),
        *(arms.n_frames, arms.coverage, arms.quality),
        *([None] * len(EMOTIONS) if p is None else p.tolist()),
        *(reading.top, reading.confidence, int(reading.abstain)),
        *(reading.valence_arousal or (None, None)),
        *(reading.weight_pixel, reading.weight_landmark),
        *(arms.heads.pixel, arms.heads.landmark),
    )
