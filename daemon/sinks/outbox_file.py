"""The outbox's file: its tables, their upgrade, and what to do with one that SQLite calls damaged."""

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import FailedError
from pipeline import wire

VERSION = 1
TABLES = """
CREATE TABLE IF NOT EXISTS counters (topic TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, created REAL NOT NULL,
    seq INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS discarded (
    topic TEXT NOT NULL, reason TEXT NOT NULL, n INTEGER NOT NULL, first INTEGER, last INTEGER, example BLOB NOT NULL,
    PRIMARY KEY (topic, reason)
) STRICT;
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS readings ON messages (id) WHERE seq IS NULL
"""
"""`seq` of a message is NULL for readings, whose numbers are not kept here."""


DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
REFUSED = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_NOMEM,
    }
)


class DamagedError(sqlite3.DatabaseError):
    """SQLite's own check finds the file damaged."""


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is damaged, and not the disk full or the file locked."""
    return isinstance(error, DamagedError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def is_refusal(error: BaseException) -> bool:
    """Whether the disk does not take it now, and may later: it is full or read-only, or somebody has locked the file."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in REFUSED


def open_file(path: Path) -> sqlite3.Connection:
    """The database, made with mode 0600 where it is not there, checked, and of today's version.

    Raises:
        sqlite3.DatabaseError: It is damaged (see `is_damage`), or the disk refuses.
        FailedError: A newer attuned wrote it.
    """
    path.touch(mode=0o600)
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten: it says what somebody expressed.
        db.execute("PRAGMA secure_delete = ON")
        if (found := _checked(db, path)) < VERSION:
            db.execute("BEGIN IMMEDIATE")
            _upgrade(db, found)
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def move_aside(path: Path) -> Path:
    """Renames a damaged file, with what belongs to it, to the first free name; that name."""
    aside = path.with_name(f"{path.name}.damaged-1")
    while aside.exists():
        aside = path.with_name(f"{path.name}.damaged-{int(aside.name.rpartition('-')[2]) + 1}")
    for tail in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + tail).rename(aside.with_name(aside.name + tail))
    return aside


def take_over(damaged: Path, path: Path) -> int:
    """Writes what can still be read of a damaged file into a new one; how many messages that is."""
    counters, messages, retained = _salvage(damaged)
    with closing(open_file(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", counters)
        db.executemany("INSERT INTO messages (id, topic, payload, created, seq) VALUES (?, ?, ?, ?, ?)", messages)
        # Where the counters were lost, numbers go on after the last that is known.
        db.execute(
            "INSERT INTO counters SELECT topic, max(seq) + 1 FROM messages WHERE seq IS NOT NULL GROUP BY topic"
            " ON CONFLICT DO UPDATE SET next = max(next, excluded.next)"
        )
        db.executemany("INSERT OR REPLACE INTO retained VALUES (?, ?)", retained)
        db.execute("COMMIT")
    return len(messages)


@dataclass(frozen=True, slots=True)
class ErasedMessages:
    """What was erased of somebody: events that say so instead, readings that are gone or say nothing any more."""

    events: int = 0
    readings: int = 0


def erase_participant(db: sqlite3.Connection, participant: str) -> ErasedMessages:
    """Takes a participant out of everything that waits; numbers stay without a gap. Within a transaction.

    Events of the participant become `erased`; own readings go, and with them their topics; readings of groups in which
    they took part stay as empty ones.
    """
    name = f'"{participant}"'.encode()
    n_events = n_readings = 0
    query = "SELECT id, topic, payload, seq FROM messages WHERE instr(payload, ?) OR instr(topic, ?)"
    for key, topic, payload, seq in db.execute(query, (name, participant)).fetchall():
        if seq is not None:
            n_events += 1
            db.execute("UPDATE messages SET payload = ? WHERE id = ?", (wire.erased_event(payload), key))
        elif participant in topic:
            n_readings += 1
            db.execute("DELETE FROM messages WHERE id = ?", (key,))
        else:
            n_readings += 1
            empty = wire.erased_group(payload, participant)
            db.execute("UPDATE messages SET payload = ? WHERE id = ?", (empty, key))
    for topic, reason, example in db.execute("SELECT topic, reason, example FROM discarded").fetchall():
        if name in example:
            values = (wire.erased_event(example), topic, reason)
            db.execute("UPDATE discarded SET example = ? WHERE topic = ? AND reason = ?", values)
    return ErasedMessages(n_events, n_readings)


def scrub(db: sqlite3.Connection) -> None:
    """Writes the file anew, so that no free page and no log of changes holds what was erased.

    Raises:
        sqlite3.OperationalError: Somebody reads it, so that the log cannot be emptied; ask again.
    """
    db.execute("VACUUM")
    (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        msg = "somebody is reading it, try again when that is over"
        raise sqlite3.OperationalError(msg)


def _checked(db: sqlite3.Connection, path: Path) -> int:
    """The version of a file that is whole and that we can read; 0 for a new one."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        msg = f"{path}: was written by a newer attuned; upgrade this one, or set another state_dir"
        raise FailedError(msg)
    (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise DamagedError(said)
    return int(found)


def _upgrade(db: sqlite3.Connection, found: int) -> None:
    """Makes the tables; gives a file of before version 1 the numbers of its events, which stand in their payloads."""
    if found == 0 and db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'messages'").fetchone():
        db.execute("ALTER TABLE messages ADD COLUMN seq INTEGER")
        for key, payload in db.execute("SELECT id, payload FROM messages").fetchall():
            db.execute("UPDATE messages SET seq = ? WHERE id = ?", (json.loads(payload)["seq"], key))
    for statement in TABLES.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _salvage(path: Path) -> tuple[list[Any], list[Any], list[Any]]:
    """Counters, messages and retained topics that can still be read of a damaged file."""
    queries = (
        "SELECT topic, next FROM counters",
        "SELECT id, topic, payload, created, seq FROM messages ORDER BY id",
        "SELECT topic, payload FROM retained",
    )
    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
        for query, rows in zip(queries, found, strict=True):
            # What comes before the damaged page is there; the rest is in the file that was moved aside.
            with suppress(sqlite3.Error):
                rows.extend(db.execute(query))
    return found
