"""Which folders attuned wrote readings into, so that somebody can be erased from them later.

`outputs.jsonl` in the state folder (mode 0600), a line for each: what it is, where, and when. No person stands in it.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import structlog

from models.personal.private import write_private
from pipeline.wire import rfc3339

log = structlog.get_logger()

FILE: Final = "outputs.jsonl"
LOCK: Final = "outputs.lock"
KEPT_MAX: Final = 10_000
"""Folders that are remembered; beyond it those that are no longer there, then the oldest, are forgotten, and counted."""

Kind = Literal["analysis", "export"]


@dataclass(frozen=True, slots=True)
class Output:
    """A folder: `analysis` can be gone through, `export` was given out and cannot be reached any more."""

    kind: Kind
    path: str
    ts: str


def register(state: Path, kind: Kind, folder: Path) -> None:
    """Remembers a folder; where that cannot be done it is said, for whoever writes there is not to be held up."""
    output = Output(kind, str(folder.resolve()), rfc3339(datetime.now(UTC)))
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = [other for other in registered(state) if (other.kind, other.path) != (kind, output.path)]
            _write(state, _bounded([*known, output]))
        finally:
            os.close(lock)
    except (OSError, ValueError) as error:
        log.warning("this folder cannot be remembered; name it to `attuned forget` yourself", why=str(error))


def registered(state: Path) -> list[Output]:
    """Everything that is remembered, oldest first.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is none of ours.
    """
    lines: list[str] = []
    with suppress(FileNotFoundError):
        lines = (state / FILE).read_text(encoding="utf-8").splitlines()
    try:
        return [Output(**json.loads(line)) for line in lines]
    except TypeError as error:
        msg = f"{state / FILE}: is none of ours; move it away"
        raise ValueError(msg) from error


def _bounded(outputs: list[Output]) -> list[Output]:
    if len(outputs) <= KEPT_MAX:
        return outputs
    there = [output for output in outputs if Path(output.path).is_dir()][-KEPT_MAX:]
    log.warning("too many folders to remember", n_forgotten=len(outputs) - len(there))
    return there


def _write(state: Path, outputs: Iterable[Output]) -> None:
    text = "".join(json.dumps(asdict(output), separators=(",", ":")) + "\n" for output in outputs)
    write_private(state / FILE, text.encode())
