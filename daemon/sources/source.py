"""What a session needs of a source, and what sources give out.

A source is an async context manager; iterating `items()` gives what it shows at instants on the grid of
k / rate, and in between what became of its connection. Every frame is tagged with the feed it came from: a
gallery is one feed that is to be split, in a room each feed is a participant already.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.types import Frame

State = Literal["connecting", "waiting", "live", "reconnecting", "ended", "failed"]
"""`waiting`: connected, but there is nothing to see yet, such as an empty room."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What a source shows at one instant.

    frames: at most one per feed, all of this time. feeds: everyone who is there, with or without a picture; in a
    room these are the participants' pseudonyms.
    """

    time_s: float
    frames: tuple[Frame, ...]
    feeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceState:
    """The connection's state changed; `reason` says why it was lost."""

    state: State
    reason: str | None = None


class Source(Protocol):
    """Implemented by `file.FileSource` and `live.LiveSource`."""

    @property
    def is_room(self) -> bool:
        """Whether feeds are participants, so that nothing is to be split."""

    @property
    def problem(self) -> str | None:
        """Why it ended before its end."""

    @property
    def farewell(self) -> str:
        """Why it ended, where that is no problem."""

    @property
    def end_s(self) -> float:
        """Where the last picture ends on the session's timeline."""

    @property
    def due_s(self) -> float:
        """Up to here it is known that no further moment comes."""

    @property
    def n_undecoded(self) -> int:
        """Pictures that were not decoded because the machine is too slow, or could not be."""

    def now_s(self) -> float:
        """The present on the session's timeline."""

    def items(self) -> AsyncGenerator[Moment | SourceState, None]:
        """Moments in order of time, and changes of state."""
