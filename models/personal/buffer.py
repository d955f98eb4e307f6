"""A participant's samples on disk: bounded, balanced by class, one a second at most, safe from kill -9.

SQLite with a write-ahead log keeps them. What was added is in the file when `add` returns; a process that dies loses
nothing of it, a machine that loses power perhaps the last second. Deleted rows are overwritten.

Over the bound a sample of the largest class goes, of those that the group labelled before those that a person did:
the one whose neighbours in time within its class are closest to each other, since it says least that they do not say.
So every class keeps its whole stretch of time, thinned, and earlier and later parts keep the same classes; dropping
the oldest would leave the frequent classes with the last minutes only, and no later part to judge on.

Samples of other models are left in a file of their own, and found again when these models come back.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import numpy as np

from models.errors import ModelError
from models.personal.basis import Basis
from models.personal.crops import Cipher
from models.personal.private import erase_file, private_folder
from models.personal.samples import I64, U8, Origin, Samples, stretches
from models.personal.trigger import Tally
from pipeline.emotions import EMOTIONS, F32, F64, N_EMOTIONS
from pipeline.metrics import Bool

N_INTERPRETABLE: Final = 51
BLOCK_S: Final = 10
MAX_SAMPLES: Final = 2000
KEEP_DAYS: Final = 180.0
CROP_DAYS: Final = 7.0
N_SET_ASIDE: Final = 2
"""Files of other models that are kept, the newest; older ones are erased."""

VERSION: Final = 1
"""Of the tables, as `user_version`; 0 are the same tables, of before they had one."""

_DAY_S: Final = 86400.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS samples (
    second INTEGER PRIMARY KEY, serial INTEGER NOT NULL, time_s REAL NOT NULL, label INTEGER NOT NULL,
    human INTEGER NOT NULL, origin INTEGER NOT NULL, target BLOB NOT NULL, confidence REAL NOT NULL,
    quality REAL NOT NULL, pixel BLOB NOT NULL, landmark BLOB, interpretable BLOB, crop BLOB, written_s REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS of_class ON samples (label, human, second);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""
_COLUMNS: Final = "time_s, pixel, landmark, interpretable, target, confidence, quality, origin"

Added = Literal["added", "replaced", "kept_out"]
"""A new second; a better sample of a known one; one that is no better than what is there."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What is kept of the best frame of a second.

    pixel, landmark: (d,) embeddings; interpretable: (51,); both of the latter None without a mesh.
    quality: in [0.05, 1]. crop: (h, w) or (h, w, 3) uint8, kept only by a buffer that has a cipher.
    """

    pixel: F32
    landmark: F32 | None
    interpretable: F32 | None
    quality: float
    crop: U8 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What a second shows: (7,) distribution, confidence in [0, 1], and who says so."""

    target: F64
    confidence: float
    origin: Origin

    @property
    def human(self) -> bool:
        """Whether a person said it."""
        return self.origin != Origin.GROUP

    @classmethod
    def of(cls, emotion: str, origin: Origin) -> Self:
        """A person's word for one expression."""
        return cls(np.eye(N_EMOTIONS)[EMOTIONS.index(emotion)], 1.0, origin)


@dataclass(frozen=True, slots=True)
class Counts(Tally):
    """What a buffer holds, and what of it people labelled."""

    human: Tally

    @property
    def n_human(self) -> int:
        """How many samples people labelled."""
        return self.human.n


class Buffer:
    """The samples of one participant: `with Buffer(folder, basis=…) as buffer: buffer.add(…)`.

    Used by one thread at a time, and never by that of the event loop: every call waits for the disk. Two buffers on
    the same folder see each other's samples.

    Args:
        folder: The participant's, from `People`.
        basis: The models whose embeddings are kept.
        max_samples: The bound.
        keep_days: Older samples are erased when the buffer is opened.
        cipher: Encrypts crops; None: no picture is added.
        erase_crops: Whether those that are there are erased: pictures are no longer wanted.
        crop_days: How long crops are kept.
        clock: Seconds since the epoch, for what expires.

    Attributes:
        notices: What the owner should log: samples of other models set aside, a damaged file.
        n_added, n_replaced, n_kept_out, n_dropped, n_expired: What was done since it was opened.

    Raises (every method):
        OSError: The disk refuses.
        ModelError: When it is opened: a newer attuned wrote it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        basis: Basis,
        max_samples: int = MAX_SAMPLES,
        keep_days: float = KEEP_DAYS,
        cipher: Cipher | None = None,
        erase_crops: bool = False,
        crop_days: float = CROP_DAYS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = folder / f"samples-{basis.key}.sqlite"
        self._basis = basis
        self._max_samples = max_samples
        self._keep_s = keep_days * _DAY_S
        self._cipher = cipher
        self._erase_crops = erase_crops
        self._crop_s = crop_days * _DAY_S
        self._clock = clock
        self.notices: tuple[str, ...] = ()
        self.n_added = self.n_replaced = self.n_kept_out = self.n_dropped = self.n_expired = 0

    def __enter__(self) -> Self:
        with self._told():
            private_folder(self._path.parent)
            self._set_aside()
            self._db = self._open()
            try:
                self.expire()
            except BaseException:
                self._db.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Before the log is removed, so that nothing of it is left where a name was once.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:  # a full disk: the log stays, and is read again when the buffer is opened
            pass
        finally:
            self._db.close()

    def add(self, time_s: float, features: Features, label: Label) -> Added:
        """Takes a sample in: a person's label stands before the group's, the better frame before the worse.

        Raises:
            ValueError: An array has not the shape that the models give, or holds what is no number.
        """
        pixel = _blob(features.pixel, self._basis.pixel_dim, "pixel", np.float16)
        landmark = _blob(features.landmark, self._basis.landmark_dim, "landmark", np.float16)
        interpretable = _blob(features.interpretable, N_INTERPRETABLE, "interpretable", np.float32)
        said = (int(label.target.argmax()), int(label.human), int(label.origin), _blob_of(label), label.confidence)
        second = int(np.floor(time_s))
        crop = None
        if self._cipher is not None and features.crop is not None:
            crop = self._cipher.encrypt(features.crop, second)
        seen = (time_s, features.quality, pixel, landmark, interpretable, crop, self._clock())
        with self._told(), self._transaction():
            old = self._db.execute("SELECT human, quality, serial FROM samples WHERE second = ?", (second,)).fetchone()
            if old is None:
                self._db.execute(
                    "INSERT INTO samples (second, serial, label, human, origin, target, confidence, time_s, quality,"
                    " pixel, landmark, interpretable, crop, written_s) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    (second, self._next_serial(), *said, *seen),
                )
                self.n_added += 1
                self._drop_surplus()
                return "added"
            was_human, quality, _ = old
            better = features.quality > quality
            # Two labels of the group for one second are one label; two of a person mean the later.
            relabels = label.human or (better and not was_human)
            if better:
                self._db.execute(
                    "UPDATE samples SET time_s=?, quality=?, pixel=?, landmark=?, interpretable=?, crop=?, written_s=?"
                    " WHERE second = ?",
                    (*seen, second),
                )
            if relabels:
                self._relabel(second, said, is_news=label.human)
        if not better and not relabels:
            self.n_kept_out += 1
            return "kept_out"
        self.n_replaced += 1
        return "replaced"

    def relabel(self, first_s: float, last_s: float, label: Label) -> int:
        """Gives the samples of these seconds, both included, the label of a person: how many there are.

        Raises:
            ValueError: The label is the group's.
        """
        if not label.human:
            msg = "only a person's label replaces another; the group's come with `add`"
            raise ValueError(msg)
        said = (int(label.target.argmax()), 1, int(label.origin), _blob_of(label), label.confidence)
        with self._told(), self._transaction():
            span = (int(np.floor(first_s)), int(np.floor(last_s)))
            seconds = self._db.execute("SELECT second FROM samples WHERE second BETWEEN ? AND ?", span).fetchall()
            for (second,) in seconds:
                self._relabel(second, said, is_news=True)
        self.n_replaced += len(seconds)
        return len(seconds)

    def samples(self) -> Samples:
        """All of them, in the order of time."""
        with self._told():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM samples ORDER BY second").fetchall()  # noqa: S608 (constant)
        columns = list(zip(*rows, strict=True)) if rows else [()] * 8
        time_s, pixel, landmark, interpretable, target, confidence, quality, origin = columns
        return Samples(
            time_s=np.array(time_s, dtype=np.float64),
            pixel=_rows(pixel, self._basis.pixel_dim, np.float16),
            landmark=_rows(landmark, self._basis.landmark_dim, np.float16),
            interpretable=_rows(interpretable, N_INTERPRETABLE, np.float32),
            target=np.frombuffer(b"".join(target), dtype=np.float64).reshape(len(target), N_EMOTIONS),
            confidence=np.array(confidence, dtype=np.float64),
            quality=np.array(quality, dtype=np.float64),
            origin=np.array(origin, dtype=np.uint8),
        )

    def counts(self, block_s: float = BLOCK_S) -> Counts:
        """How many of each class, new since `mark`, and in how many blocks of `block_s` seconds."""
        with self._told():
            tried = self._mark("tried")
            of_class = dict(self._db.execute("SELECT label, count(*) FROM samples GROUP BY label"))
            [(n_new,)] = self._db.execute("SELECT count(*) FROM samples WHERE serial > ?", (tried,))
            [(n_blocks,)] = self._db.execute(
                "SELECT count(DISTINCT CAST(time_s / ? AS INTEGER)) FROM samples", (block_s,)
            )
            said = self._db.execute("SELECT time_s, label, serial FROM samples WHERE human ORDER BY second").fetchall()
        time_s, label, serial = np.array(said, dtype=np.float64).reshape(-1, 3).T
        block = stretches(time_s, label.astype(np.int64))
        human = Tally(
            _by_name(dict(enumerate(np.bincount(label.astype(np.int64), minlength=N_EMOTIONS).tolist()))),
            int((serial > tried).sum()),
            int(block[-1]) + 1 if len(block) else 0,
        )
        return Counts(_by_name(of_class), n_new, n_blocks, human)

    def mark(self) -> None:
        """From now on samples are new: a head was tried with those that are there, whatever came of it."""
        with self._told(), self._transaction():
            self._set_mark("tried", self._mark("serial"))

    def crop(self, second: int) -> U8 | None:
        """The picture of a second's face, where one is kept.

        Raises:
            ModelError: It is not as it was written, or of another key.
        """
        with self._told():
            row = self._db.execute("SELECT crop FROM samples WHERE second = ?", (second,)).fetchone()
        kept = None if row is None or self._cipher is None else row[0]
        return None if kept is None or self._cipher is None else self._cipher.decrypt(kept, second)

    def expire(self) -> None:
        """Erases samples and crops that are too old, and every crop where none is wanted."""
        now = self._clock()
        crops_until = np.inf if self._erase_crops else now - self._crop_s
        with self._told():
            with self._transaction():
                gone = self._db.execute("DELETE FROM samples WHERE written_s < ?", (now - self._keep_s,)).rowcount
                self._db.execute(
                    "UPDATE samples SET crop = NULL WHERE crop IS NOT NULL AND written_s < ?", (crops_until,)
                )
            # What was erased must not live on in the log.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.n_expired += gone

    def _drop_surplus(self) -> None:
        [(n,)] = self._db.execute("SELECT count(*) FROM samples")
        for _ in range(n - self._max_samples):
            [(label, _)] = self._db.execute(
                "SELECT label, count(*) AS n FROM samples GROUP BY label ORDER BY n DESC, label LIMIT 1"
            )
            rows = self._db.execute("SELECT second, human FROM samples WHERE label = ? ORDER BY second", (label,))
            seconds, human = np.array(rows.fetchall(), dtype=np.int64).T
            gone = int(seconds[most_redundant(seconds, human != 0)])
            self._db.execute("DELETE FROM samples WHERE second = ?", (gone,))
            self.n_dropped += 1

    def _relabel(self, second: int, said: tuple[int, int, int, bytes, float], *, is_news: bool) -> None:
        self._db.execute(
            "UPDATE samples SET label=?, human=?, origin=?, target=?, confidence=? WHERE second = ?", (*said, second)
        )
        if is_news:
            self._db.execute("UPDATE samples SET serial = ? WHERE second = ?", (self._next_serial(), second))

    def _next_serial(self) -> int:
        serial = self._mark("serial") + 1
        self._set_mark("serial", serial)
        return serial

    def _mark(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _set_mark(self, name: str, value: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # the disk, not the file
                raise
            self._discard()
            self.notices += (f"{self._path.name} was damaged ({error}); its samples are erased and it starts anew",)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            # A commit is safe from kill -9 without waiting for the disk, and from power loss the file's shape is.
            for line in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
                db.execute(f"PRAGMA {line}").fetchall()
            _check(db, self._path)
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _discard(self) -> None:
        for ending in ("", "-wal", "-shm"):
            erase_file(self._path.with_name(self._path.name + ending))

    def _set_aside(self) -> None:
        others = [path for path in self._path.parent.glob("samples-*.sqlite") if path != self._path]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[N_SET_ASIDE:]:
            for ending in ("", "-wal", "-shm"):
                erase_file(path.with_name(path.name + ending))
        if others and not self._path.exists():
            told = f"samples of {min(len(others), N_SET_ASIDE)} earlier pair(s) of models are set aside"
            self.notices += (f"the expression models changed: {told}, and new ones are gathered",)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            msg = f"{self._path}: samples cannot be kept ({error}); free the disk, or switch personal.enabled off"
            raise OSError(msg) from error


def _by_name(of_class: Mapping[int, int]) -> dict[str, int]:
    return {name: of_class.get(i, 0) for i, name in enumerate(EMOTIONS)}


def _check(db: sqlite3.Connection, path: Path) -> None:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        # No damage: what a later version learnt from is not erased by an earlier one.
        msg = f"{path}: was written by a newer attuned; upgrade this one, or set another state_dir"
        raise ModelError(msg)
    if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
        msg = "its pages do not fit together"
        raise sqlite3.DatabaseError(msg)


def most_redundant(seconds: I64, human: Bool) -> int:
    """Which of (n,) ascending seconds of one class can be missed best.

    Of those that no person labelled, where there are any, the one whose neighbours among all n are closest to each
    other, the older on a tie. The first and the last have a neighbour on one side only and go when they are alone.
    """
    gap = np.full(len(seconds), np.inf)
    gap[1:-1] = seconds[2:] - seconds[:-2]
    open_rows = np.flatnonzero(~human) if not human.all() else np.arange(len(seconds))
    return int(open_rows[gap[open_rows].argmin()])


def _blob(values: F32 | None, dim: int, name: str, dtype: type[np.float16 | np.float32]) -> bytes | None:
    """The bytes that are stored; half precision ends at 65504."""
    if values is None:
        return None
    if values.shape != (dim,) or not np.isfinite(values).all():
        msg = (
            f"{name}: expected ({dim},) numbers, found {values.shape}, {int(np.isfinite(values).sum())} of them finite"
        )
        raise ValueError(msg)
    largest = np.finfo(dtype).max
    return bytes(values.clip(-largest, largest).astype(dtype).tobytes())


def _blob_of(label: Label) -> bytes:
    target = np.asarray(label.target, dtype=np.float64)
    if target.shape != (N_EMOTIONS,) or not np.isfinite(target).all() or abs(target.sum() - 1) > 1e-5:  # noqa: PLR2004
        msg = f"target: expected ({N_EMOTIONS},) probabilities that sum to 1, found {target}"
        raise ValueError(msg)
    return target.tobytes()


def _rows(blobs: tuple[bytes | None, ...], dim: int, dtype: type[np.float16 | np.float32]) -> F32:
    """(n, dim) float32, nan where nothing was stored."""
    nothing = np.full(dim, np.nan, dtype=dtype).tobytes()
    return (
        np.frombuffer(b"".join(blob if blob is not None else nothing for blob in blobs), dtype=dtype)
        .reshape(len(blobs), dim)
        .astype(np.float32)
    )
