"""The audit log: who agreed, who was erased, which heads were promoted, and who asked for what; append-only.

One line of JSON for each entry in `audit.jsonl` of the state folder (mode 0600). An entry has its number `n`, `ts`,
`what`, `who` did it, what else is to be known, and `prev`: the SHA-256 of the line before. So a changed or missing
line is noticed, except at the end, and at the beginning, where retention takes lines away; whoever notes the last
hash elsewhere notices the end too (`attuned audit` shows it). Whoever can write the file can write all of it anew:
against its owner no file is proof.

People stand in it by an alias. Which pseudonym an alias means stands in `audit-links.json` alone; erasing somebody
takes the link away, and nobody knows any more of whom the entries speak.
"""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import IO, Any, Final, Self

import structlog

from daemon.errors import UnusableInputError
from models.personal.private import erase_file, old_of, rewrite_private, write_private
from pipeline.wire import rfc3339

log = structlog.get_logger()

FILE: Final = "audit.jsonl"
LINKS: Final = "audit-links.json"
LOCK: Final = "audit.lock"
LINE_MAX: Final = 32 * 1024
"""No entry is longer."""
FIRST: Final = "0" * 64
"""`prev` of the first entry there ever was."""
WAITING_MAX: Final = 10_000
"""Entries that wait for the disk; what comes beyond is counted, and the count is an entry."""
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking a log: how many entries, the hash of the last, and what is wrong, or None."""

    n: int
    last: str
    mistake: str | None


class AuditFile:
    """The two files; several processes may add to them at once.

    Args:
        folder: The state folder.
        days: Older entries are removed by `trim`.
        max_entries: And the oldest beyond this.
        now: Seconds since 1970.

    Raises (every method):
        OSError: The disk refuses.
        ValueError: The files are none of ours.
    """

    def __init__(self, folder: Path, *, days: float, max_entries: int, now: Callable[[], float] = time.time) -> None:
        self._path, self._links, self._lock = folder / FILE, folder / LINKS, folder / LOCK
        self._age_s, self._max_entries = days * DAY_S, max_entries
        self._now = now

    def add(self, what: str, *, who: str, participant: str | None = None, **more: object) -> None:
        """An entry, on the disk when this returns."""
        with self._locked():
            subject = {} if participant is None else {"subject": self._alias(participant)}
            with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "rb+") as file:
                n, prev = _end(file)
                entry = {"n": n, "ts": self._ts(self._now()), "what": what, "who": who, **subject, **more, "prev": prev}
                file.write(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                n_kept = n + 1 - int(json.loads(file.readline())["n"])
            if n_kept > self._max_entries + self._max_entries // 10:
                self._trim()

    def forget(self, participant: str) -> bool:
        """Takes the link between a pseudonym and its entries away; whether there was one."""
        with self._locked():
            links = _read_links(self._links)
            had = links.pop(participant, None) is not None
            if had:
                rewrite_private(self._links, json.dumps(links).encode())
            return had

    def trim(self) -> int:
        """Removes what is too old or too much, and links that no entry needs; how many entries."""
        with self._locked():
            return self._trim() if self._path.exists() else 0

    def _trim(self) -> int:
        limit = self._ts(self._now() - self._age_s)
        lines = self._path.read_bytes().splitlines(keepends=True)
        first = max(0, len(lines) - self._max_entries)
        while first < len(lines) and json.loads(lines[first])["ts"] < limit:
            first += 1
        # The last one stays, so that the chain goes on from it.
        first = min(first, len(lines) - 1)
        if first <= 0:
            return 0
        rewrite_private(self._path, b"".join(lines[first:]))
        used = {json.loads(line).get("subject") for line in lines[first:]}
        links = _read_links(self._links)
        kept = {who: alias for who, alias in links.items() if alias in used}
        if kept != links:
            rewrite_private(self._links, json.dumps(kept).encode())
        return first

    def _alias(self, participant: str) -> str:
        links = _read_links(self._links)
        if participant not in links:
            links[participant] = f"a-{token_hex(8)}"
            write_private(self._links, json.dumps(links).encode())
        return links[participant]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else adds while the context lasts; what a crash left of an earlier one goes."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in (self._path, self._links):
                erase_file(old_of(path))
            yield
        finally:
            os.close(lock)

    def _ts(self, time_s: float) -> str:
        return rfc3339(datetime.fromtimestamp(time_s, UTC))


class AuditLog:
    """The log of a daemon: `async with AuditLog(AuditFile(…)) as audit`; entries wait for a thread of their own.

    Attributes:
        n_lost: Entries that could not be written, or for which there was no room.
    """

    def __init__(self, file: AuditFile) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._n_waiting = 0
        self._told = False
        self.n_lost = 0

    async def __aenter__(self) -> Self:
        try:
            await self._do(self._file.trim)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._thread.shutdown()
            msg = f"the audit log cannot be used ({error}); move {FILE} and {LINKS} of the state folder away"
            raise UnusableInputError(msg) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What waits is written first: there is one thread.
        await self._do(lambda: None)
        self._thread.shutdown()

    def note(self, what: str, *, who: str, participant: str | None = None, **more: object) -> None:
        """An entry; the event loop does not wait for the disk."""
        if self._n_waiting >= WAITING_MAX:
            self._lost("too many wait")
            return
        self._n_waiting += 1
        loop = asyncio.get_running_loop()

        def write() -> None:
            self._file.add(what, who=who, participant=participant, **more)

        loop.run_in_executor(self._thread, write).add_done_callback(self._written)

    async def forget(self, participant: str) -> bool:
        """Takes the link between a pseudonym and its entries away, once all entries before are written.

        Raises:
            OSError: The disk refuses.
        """
        return bool(await self._do(lambda: self._file.forget(participant)))

    async def trim(self) -> int:
        """Removes what is too old or too much.

        Raises:
            OSError: The disk refuses.
        """
        return int(await self._do(self._file.trim))

    async def _do(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 (whatever the work returns)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _written(self, done: asyncio.Future[None]) -> None:
        self._n_waiting -= 1
        error = done.exception()
        if isinstance(error, OSError):
            self._lost(error.strerror or "the disk refuses")
        elif error is not None:
            raise error
        else:
            self._told = False

    def _lost(self, why: str) -> None:
        self.n_lost += 1
        if not self._told:
            self._told = True
            log.error("the audit log cannot be written", why=why, n_lost=self.n_lost)


def entries(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The entries of a state folder, oldest first; a subject whose link is there has its `participant` beside it.

    Raises:
        UnusableInputError: There is no log, or it is none of ours.
    """
    path, links = folder / FILE, folder / LINKS
    try:
        names = {alias: who for who, alias in _read_links(links).items()}
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    entry = json.loads(line)
                    name = names.get(entry.get("subject"))
                    yield entry if name is None else entry | {"participant": name}
    except FileNotFoundError as error:
        msg = f"{path}: there is no audit log yet; `attuned run` or `join` write one"
        raise UnusableInputError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read ({error}); look into it with a text editor"
        raise UnusableInputError(msg) from error


def check(folder: Path) -> Checked:
    """Whether the chain holds, from the first entry that is there to the last.

    Raises:
        UnusableInputError: See `entries`.
    """
    n, last, expected = 0, FIRST, None
    try:
        with (folder / FILE).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # is being written
                entry = json.loads(line)
                if expected is not None and (entry["n"], entry["prev"]) != expected:
                    return Checked(n, last, f"entry {entry['n']} does not follow on the one before it")
                n, last = n + 1, _hash(line)
                expected = (entry["n"] + 1, last)
    except FileNotFoundError as error:
        msg = f"{folder / FILE}: there is no audit log yet; `attuned run` or `join` write one"
        raise UnusableInputError(msg) from error
    except (ValueError, KeyError, TypeError):
        return Checked(n, last, f"the entry after {n} is no JSON of ours")
    return Checked(n, last, None)


def _hash(line: bytes) -> str:
    return sha256(line).hexdigest()


def _end(file: IO[bytes]) -> tuple[int, str]:
    """Number and `prev` of the next entry; a last line that a crash cut off is taken away. The file stands at its end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * LINE_MAX))
    tail = file.read()
    whole = tail.rfind(b"\n") + 1
    file.truncate(size - len(tail) + whole)
    file.seek(0, os.SEEK_END)
    lines = tail[:whole].splitlines(keepends=True)
    return (int(json.loads(lines[-1])["n"]) + 1, _hash(lines[-1])) if lines else (0, FIRST)


def _read_links(path: Path) -> dict[str, str]:
    """Pseudonym → alias."""
    return {str(k): str(v) for k, v in json.loads(path.read_bytes()).items()} if path.exists() else {}
