"""Backup and restoring of the state folder, and whether this attuned understands what lies there.

A backup is a tar file: `attuned-state.json` says of every file its size and SHA-256; the files follow. Databases are
copied by SQLite itself, each as it is at one moment, while a daemon goes on writing.
"""

import fcntl
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from io import BytesIO
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import IO, Any, Final
from urllib.parse import quote

from daemon.errors import FailedError, UnusableInputError
from daemon.sinks import history, outbox_file
from daemon.state import LOCK, locked
from models.personal import buffer, store
from models.personal.people import JOB
from models.personal.private import PART, erase_folder, sync_folder

SCHEMA: Final = 1
"""Of backups."""
MANIFEST: Final = "attuned-state.json"
MANIFEST_MAX: Final = 64 << 20
COMING: Final = ".restoring-"
RESTORED: Final = ".restored"
"""A restored state that is whole, on its way to its place: whoever locks the folder finishes what was begun."""
NAMES: Final = ".names"
VERSIONS: Final[Mapping[str, int]] = {
    "outbox.sqlite": outbox_file.VERSION,
    history.FILE: history.VERSION,
    "personal/*/samples-*.sqlite": buffer.VERSION,
    f"personal/*/heads/{store.MANIFEST}": store.SCHEMA,
}
"""The newest format of each file that we understand. Older ones are migrated by whoever opens them."""
_SQLITE: Final = b"SQLite format 3\0"
_USER_VERSION: Final = slice(60, 64)
"""Of a database's header (https://www.sqlite.org/fileformat.html, section 1.3)."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds: when and by which attuned it was made, and its files."""

    created: str
    version: str
    files: Mapping[str, Mapping[str, Any]]


def check_state(folder: Path) -> None:
    """Nothing happens where this attuned understands every file of a state folder.

    Raises:
        UnusableInputError: A newer attuned wrote one.
    """
    for pattern, known in VERSIONS.items():
        for path in sorted(folder.glob(pattern)):
            if (_format_of(path) or 0) > known:
                msg = f"{path}: was written by a newer attuned; upgrade this one, or set another state_dir"
                raise UnusableInputError(msg)


def _format_of(path: Path) -> int | None:
    """The version that a database or a manifest says it has; None where it says none that can be read."""
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(_SQLITE):
        return int.from_bytes(head[_USER_VERSION], "big")
    with suppress(ValueError, KeyError, TypeError, AttributeError):  # damaged ones are the business of who opens them
        return store.schema_of(path.read_text(encoding="utf-8"))
    return None


# Backup


def back_up(folder: Path, file: Path, *, version: str, force: bool = False) -> Backup:
    """Writes the state into a new file of mode 0600, whole or not at all; a daemon may be running.

    Raises:
        UnusableInputError: There is no state, or the file is there already.
        FailedError: Something cannot be read or written.
    """
    if not folder.is_dir() or not any(_files(folder)):
        msg = f"{folder}: there is no state to back up; is state_dir the folder of your daemon?"
        raise UnusableInputError(msg)
    if file.exists() and not force:
        msg = f"{file}: is there already; give another FILE, or --force"
        raise UnusableInputError(msg)
    check_state(folder)
    work = file.with_name(f"{file.name}.{token_hex(4)}{PART}")
    try:
        work.mkdir(mode=0o700)
        try:
            copies = {name: _copied(path, work / str(i)) for i, (name, path) in enumerate(_held(folder))}
            told = {name: _told(path) for name, path in copies.items() if path is not None}
            made = Backup(datetime.now(UTC).isoformat(timespec="seconds"), version, told)
            with _private(work / "tar") as out, tarfile.open(fileobj=out, mode="w") as tar:
                _add(tar, MANIFEST, _manifest(made))
                for name in told:
                    with (copies[name] or folder).open("rb") as source:
                        tar.addfile(_member(name, told[name]["size"]), source)
            (work / "tar").replace(file)
            sync_folder(file.parent)
        finally:
            erase_folder(work)
    except (OSError, sqlite3.Error, ValueError) as error:
        msg = f"{file}: the backup cannot be made ({error}); free the disk, or give another FILE"
        raise FailedError(msg) from error
    return made


def _files(folder: Path) -> Iterator[Path]:
    """What belongs to a backup: no locks, no work in progress, nothing that goes with its session or is damaged."""
    for path in sorted(folder.iterdir()):
        if path.name in {LOCK, JOB} or path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file() and not path.name.endswith(("-wal", "-shm", PART)) and ".damaged-" not in path.name:
            yield path


def _held(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and paths; while those of a person's heads are given out nobody changes them."""
    holding: Path | None = None
    with closing(_Hold()) as hold:
        for path in _files(folder):
            if path.parent != holding:
                hold.on(path.parent / store.LOCK if path.parent != folder else None)
                holding = path.parent
            yield path.relative_to(folder).as_posix(), path


class _Hold:
    """One lock at a time."""

    def __init__(self) -> None:
        self._lock: IO[str] | None = None

    def on(self, path: Path | None) -> None:
        """Waits for this one and lets the last one go."""
        self.close()
        if path is not None and path.exists():
            self._lock = path.open("r")
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Lets go."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _copied(path: Path, copy: Path) -> Path | None:
    """A copy as of one moment; None where the file has gone meanwhile, as the person it is of may have."""
    try:
        with path.open("rb") as source:
            is_database = source.read(len(_SQLITE)) == _SQLITE
            source.seek(0)
            if not is_database:
                with _private(copy) as out:
                    out.write(source.read())
                return copy
    except FileNotFoundError:
        return None
    with _private(copy):  # of mode 0600 before anything is in it
        pass
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as db,
            closing(sqlite3.connect(copy)) as out_db,
        ):
            db.backup(out_db)
    except sqlite3.OperationalError:
        if path.exists():
            raise
        return None
    return copy


def _told(path: Path) -> dict[str, Any]:
    """Size and hash of a file."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": file_digest(file, "sha256").hexdigest()}


def _manifest(backup: Backup) -> bytes:
    table = {"schema": SCHEMA, "created": backup.created, "version": backup.version, "files": backup.files}
    return json.dumps(table, indent=1).encode()


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A file of the archive: no owner, no time, its owner's alone."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_member(name, len(data)), BytesIO(data))


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    """A new file of mode 0600 that is on the disk when the context ends."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


# Restoring


def restore(folder: Path, file: Path, *, force: bool = False) -> Backup:
    """Puts the state of a backup into the folder, whole or not at all; what was there is erased.

    Raises:
        UnusableInputError: That is no backup, or of a newer attuned, or the folder is in use or not empty.
        FailedError: Something cannot be read or written.
    """
    try:
        with file.open("rb") as source, tarfile.open(fileobj=source, mode="r:") as tar, locked(folder):
            finish_restoring(folder)
            made = _read_manifest(tar, file)
            if not force and any(path.name != LOCK for path in folder.iterdir()):
                msg = f"{folder}: holds a state already; back it up, then give --force, and it is erased"
                raise UnusableInputError(msg)
            coming = folder / f"{COMING}{token_hex(4)}"
            try:
                _unpack(tar, made, coming, file)
                check_state(coming)
                (coming / NAMES).write_text(json.dumps(sorted({PurePosixPath(n).parts[0] for n in made.files})))
                _give(coming, folder)
                sync_folder(coming)
                coming.rename(folder / RESTORED)
            finally:
                erase_folder(coming)
            finish_restoring(folder)
    except tarfile.TarError as error:
        msg = f"{file}: is no backup of attuned ({error}); give a file of `attuned state backup`"
        raise UnusableInputError(msg) from error
    except OSError as error:
        msg = f"{file}: cannot be restored into {folder} ({error.strerror or error}); what was there is unchanged"
        raise FailedError(msg) from error
    return made


def _give(coming: Path, folder: Path) -> None:
    """Where root restores the state of a service's user, that user gets it."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in (folder / LOCK, coming, *coming.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def finish_restoring(folder: Path) -> bool:
    """Puts a restored state in its place, where a crash has prevented that; the folder is locked. Whether there was one.

    However often it is interrupted, the next call goes on where the last one ended.
    """
    for left in folder.glob(f"{COMING}*"):
        erase_folder(left)
    restored = folder / RESTORED
    if not restored.is_dir():
        return False
    names = set(json.loads((restored / NAMES).read_text()))
    for path in folder.iterdir():
        if path.name not in {*names, LOCK, RESTORED}:
            erase_folder(path)
    for name in sorted(names):
        if (restored / name).exists():
            erase_folder(folder / name)
            (restored / name).rename(folder / name)
    sync_folder(folder)
    erase_folder(restored)
    sync_folder(folder)
    return True


def _read_manifest(tar: tarfile.TarFile, file: Path) -> Backup:
    """What the backup says it holds."""
    no_backup = f"{file}: is no backup of attuned; give a file of `attuned state backup`"
    first = tar.next()
    data = (
        tar.extractfile(first) if first is not None and first.name == MANIFEST and first.size <= MANIFEST_MAX else None
    )
    if data is None:
        raise UnusableInputError(no_backup)
    try:
        table = json.loads(data.read())
        if int(table["schema"]) > SCHEMA:
            msg = f"{file}: was made by a newer attuned ({table['version']}); upgrade this one"
            raise UnusableInputError(msg)
        return Backup(
            str(table["created"]), str(table["version"]), {n: dict(told) for n, told in table["files"].items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableInputError(no_backup) from error


def _unpack(tar: tarfile.TarFile, made: Backup, coming: Path, file: Path) -> None:
    """The files of a backup, each held against its size and hash; nothing is written beside them."""
    coming.mkdir(mode=0o700)
    found: set[str] = set()
    while (member := tar.next()) is not None:
        told, source = made.files.get(member.name), tar.extractfile(member) if member.isreg() else None
        parts = PurePosixPath(member.name).parts
        if told is None or source is None or member.size != told.get("size") or {"/", "..", ""} & {*parts}:
            msg = f"{file}: {member.name!r} is not what its list says; it was changed, use another backup"
            raise UnusableInputError(msg)
        path = coming.joinpath(*parts)
        for folder in reversed(path.relative_to(coming).parents[:-1]):
            (coming / folder).mkdir(mode=0o700, exist_ok=True)
        with _private(path) as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)
        if _told(path) != told:
            msg = f"{file}: {member.name} is damaged; use another backup"
            raise UnusableInputError(msg)
        found.add(member.name)
    if found != set(made.files):
        msg = f"{file}: {len(set(made.files) - found)} files are missing in it; use another backup"
        raise UnusableInputError(msg)
