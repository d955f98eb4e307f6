"""Changes of expression: when they began, whose they are, and whether the group made them (GROUP, section 4.2)."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.emotions import EMOTIONS, F64
from pipeline.types import Event


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """Constants of algorithm 4.

    distance: total variation from the reference that makes a change.
    hold: covered seconds it must last, and the length of the running mean.
    together_s: how far apart changes of a group-wise event may begin.
    window_s: trailing seconds in which changes are counted for the adaptive weights.
    """

    distance: float = 0.25
    hold: int = 3
    together_s: int = 2
    window_s: int = 60


DEFAULT_CHANGES = ChangeSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One participant's change: `onset` is the second it began, `before` and `after` are (7,) distributions."""

    participant: str
    onset: int
    before: F64
    after: F64


def total_variation(p: F64, r: F64) -> float:
    """½ Σ |p - r| of two distributions, in [0, 1]."""
    return float(np.abs(p - r).sum() / 2)


class ChangeDetector:
    """Changes of one participant. Seconds without a reading neither confirm nor end an excursion."""

    def __init__(self, participant: str, settings: ChangeSettings = DEFAULT_CHANGES) -> None:
        self._participant = participant
        self._settings = settings
        self._recent: deque[F64] = deque(maxlen=settings.hold)
        self._reference: F64 | None = None
        self._onset: int | None = None
        self._n_beyond = 0

    def add(self, second: int, probabilities: F64 | None) -> Change | None:
        """The change that this second confirms; None for `probabilities` means that nothing was read."""
        if probabilities is None:
            return None
        self._recent.append(probabilities)
        if len(self._recent) < self._settings.hold:
            return None
        mean = np.asarray(np.mean(self._recent, axis=0))
        if self._reference is None:
            self._reference = mean
            return None
        if total_variation(mean, self._reference) < self._settings.distance:
            self._onset, self._n_beyond = None, 0
            return None
        if self._onset is None:
            self._onset = second
        self._n_beyond += 1
        if self._n_beyond < self._settings.hold:
            return None
        change = Change(self._participant, self._onset, self._reference, mean)
        self._reference, self._onset, self._n_beyond = mean, None, 0
        return change


class ChangeCounter:
    """Changes per covered minute of each participant in the trailing window, for the adaptive weights."""

    def __init__(self, settings: ChangeSettings = DEFAULT_CHANGES) -> None:
        self._window_s = settings.window_s
        self._covered: dict[str, deque[int]] = {}
        self._changed: dict[str, deque[int]] = {}

    def add(self, second: int, participant: str, *, covered: bool, changed: bool) -> None:
        """Counts one second of one participant."""
        for series, happened in ((self._covered, covered), (self._changed, changed)):
            times = series.setdefault(participant, deque())
            if happened:
                times.append(second)

    def per_minute(self, second: int) -> dict[str, float]:
        """c_i of everybody who was covered in the window that ends with `second`."""
        for series in (self._covered, self._changed):
            for times in series.values():
                while times and times[0] <= second - self._window_s:
                    times.popleft()
        return {
            participant: 60.0 * len(self._changed[participant]) / len(covered)
            for participant, covered in self._covered.items()
            if covered
        }


class ChangeScopes:
    """Sorts changes into group-wise and individual ones, once all that could belong together are known.

    A change is group-wise when more than half of the engaged members, at least two, change within ± 2 s of one of
    them. That one can begin 2 s later, the last of them another 2 s, and it takes `hold` seconds to be confirmed; so
    long every change waits.
    """

    def __init__(self, settings: ChangeSettings = DEFAULT_CHANGES) -> None:
        self._settings = settings
        self._pending: list[Change] = []

    def add(self, changes: Sequence[Change]) -> None:
        """Takes what was confirmed in a second."""
        self._pending.extend(changes)
        self._pending.sort(key=lambda change: (change.onset, change.participant))

    def settle(self, second: int, engaged: Collection[str]) -> list[Event]:
        """Events of all changes that are decided when `second` has closed, by onset."""
        wait = 2 * self._settings.together_s + self._settings.hold - 1
        return self._decide(engaged, before=second - wait + 1)

    def finish(self, engaged: Collection[str]) -> list[Event]:
        """Events of all changes, when the call is over and nothing more can come."""
        return self._decide(engaged, before=None)

    def _decide(self, engaged: Collection[str], before: int | None) -> list[Event]:
        """Takes the oldest pending changes out, with those that belong to them."""
        events = []
        while self._pending and (before is None or self._pending[0].onset < before):
            first = self._pending[0]
            near = (c.onset for c in self._pending if c.onset - first.onset <= self._settings.together_s)
            # The largest company that the oldest change has, the earliest of several.
            together = max((self._around(onset, engaged) for onset in near), key=len)
            if len(together) >= 2 and len(together) > len(engaged) / 2:  # noqa: PLR2004 (a group)
                events.append(change_event("group", together))
                self._pending = [c for c in self._pending if together.get(c.participant) is not c]
            else:
                events.append(change_event("individual", {first.participant: first}))
                self._pending.remove(first)
        return events

    def _around(self, onset: int, engaged: Collection[str]) -> dict[str, Change]:
        """The first change of each engaged member within ± 2 s of an onset."""
        together: dict[str, Change] = {}
        for change in self._pending:
            if abs(change.onset - onset) <= self._settings.together_s and change.participant in engaged:
                together.setdefault(change.participant, change)
        return together


def change_event(scope: str, changes: Mapping[str, Change]) -> Event:
    """A `change` event dated at the earliest onset; from and to are the top classes of the mean distributions."""
    members = sorted(changes)
    before = np.mean([changes[p].before for p in members], axis=0)
    after = np.mean([changes[p].after for p in members], axis=0)
    return Event(
        kind="change",
        time_s=float(min(change.onset for change in changes.values())),
        participants=tuple(members),
        data={
            "scope": scope,
            "from": EMOTIONS[int(before.argmax())],
            "to": EMOTIONS[int(after.argmax())],
            "distance": round(total_variation(before, after), 6),
        },
    )
