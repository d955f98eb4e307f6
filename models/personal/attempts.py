"""What was tried for a participant and what came of it, the latest attempts: a file beside the samples.

Heads that were promoted lie in the store; of those that were rejected nothing else is left that says why.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from models.personal.private import write_private

FILE: Final = "attempts.json"
MAX_ATTEMPTS: Final = 50
"""The oldest go beyond these."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training. time_s: UTC; version: None where it was rejected, for these reasons; figures: what they rest on."""

    time_s: float
    learner: str
    version: str | None
    reasons: tuple[str, ...]
    n_trained: int
    n_judged: int
    classes: tuple[str, ...]
    figures: Mapping[str, Any] | None

    @classmethod
    def of(cls, time_s: float, learner: str, version: str | None, reasons: tuple[str, ...], verdict: Any) -> "Attempt":  # noqa: ANN401
        """From a verdict as JSON, whatever of it is there."""
        of = verdict if isinstance(verdict, Mapping) else {}
        numbers = int(of.get("n_trained") or 0), int(of.get("n_judged") or 0)
        return cls(time_s, learner, version, reasons, *numbers, tuple(of.get("classes") or ()), of.get("figures"))


def note_attempt(folder: Path, attempt: Attempt) -> None:
    """Adds one; a file that cannot be read begins anew.

    Raises:
        OSError: The disk refuses.
    """
    kept = (*read_attempts(folder), attempt)[-MAX_ATTEMPTS:]
    write_private(folder / FILE, json.dumps([asdict(each) for each in kept]).encode())


def read_attempts(folder: Path) -> tuple[Attempt, ...]:
    """All that are kept, the oldest first; none where the file is not there or damaged, for nothing depends on it.

    Raises:
        OSError: The disk refuses.
    """
    try:
        rows = json.loads((folder / FILE).read_bytes())
        return tuple(Attempt(**row | {name: tuple(row[name]) for name in ("reasons", "classes")}) for row in rows)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ()
