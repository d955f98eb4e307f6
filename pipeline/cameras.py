"""Cameras that go off and on: what was seen of everybody, second by second → events."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.types import Event

AFTER_S: Final = 2
"""So many seconds in a row must agree before it is told: a tile fades, a feed takes a moment to come."""


@dataclass(frozen=True, slots=True)
class _State:
    """Whether a camera is said to be off, and since which second, for how many seconds, it looked otherwise."""

    off: bool = False
    since: int = 0
    n: int = 0


_ON: Final = _State()


class Cameras:
    """Whose camera is off; of whoever comes it is taken to be on until it is seen not to be."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    @property
    def off(self) -> frozenset[str]:
        """Whose camera is said to be off."""
        return frozenset(who for who, state in self._states.items() if state.off)

    def add(self, second: int, members: Sequence[str], off: Collection[str], read: Collection[str]) -> list[Event]:
        """What is told after a second, dated when it began, one event for each participant.

        Args:
            second: The second; those in which nobody looked are left out.
            members: Everybody who is there; who has gone is forgotten.
            off: Who showed no picture of a camera.
            read: Who had a face: then there is a camera.
        """
        events: list[Event] = []
        states: dict[str, _State] = {}
        for who in members:
            state = self._states.get(who, _ON)
            is_off = who in off and who not in read
            if is_off == state.off:
                state = _State(state.off) if state.n else state
            else:
                since = state.since if state.n else second
                state = _State(state.off, since, state.n + 1)
                if state.n >= AFTER_S:
                    state = _State(is_off)
                    events.append(Event("camera_off" if is_off else "camera_on", float(since), (who,)))
            states[who] = state
        self._states = states
        return events
