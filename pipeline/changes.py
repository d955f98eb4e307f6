"""Changes of expression: when they began, whose they are, and whether the group made them (GROUP, section 4.2)."""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.types import Event


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """Constants of algorithm 4.

    distance: total variation from the reference that makes a change.
    alone: and between before and after, at least, of a change that is told as one person's own. What most show at the same
        time vouch for each other, and count from `distance` on.
    hold: covered seconds it must last, and the length of the running mean.
    together_s: how far apart changes of a group-wise event may begin.
    window_s: trailing seconds in which changes are counted for the adaptive weights.
    gap_s: an absence longer than that is not bridged: what somebody comes back with is a new reference, no change.
    follow: share of the distance to every reading by which the reference follows a face that does not change; drifts and
        a reference of three odd seconds make no changes so.
    least_s: covered seconds below which nobody's changes are counted; fewer say nothing of a rate per minute.
    """

    distance: float = 0.3
    alone: float = 0.45
    hold: int = 3
    together_s: int = 2
    window_s: int = 60
    gap_s: int = 10
    follow: float = 0.1
    least_s: int = 15


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
    return float(np.abs(p - r).sum()) / 2


def mean_of(rows: Sequence[F64]) -> F64:
    """Mean of a few arrays of one shape, at least one; several times as fast as numpy's, which counts per member."""
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total / len(rows)


class ChangeDetectors:
    """Changes of everybody (algorithm 4), each by themselves; all members at once, since a call may have 49.

    Seconds without a reading neither confirm nor end an excursion, up to `gap_s` of them; after more the participant
    begins anew. The reference is what was confirmed last, and follows slowly.
    """

    def __init__(self, settings: ChangeSettings = DEFAULT_CHANGES) -> None:
        self._settings = settings
        self._rows: dict[str, int] = {}
        # As far back as the readings in which the mean of the first second beyond began; the newest stands last.
        depth = 2 * settings.hold - 1
        self._recent: F64 = np.zeros((0, depth, N_EMOTIONS))
        self._seconds = np.zeros((0, depth), dtype=np.int64)
        self._n_recent = np.zeros(0, dtype=np.int64)
        self._n_beyond = np.zeros(0, dtype=np.int64)
        self._reference: F64 = np.zeros((0, N_EMOTIONS))

    def add(self, second: int, distributions: Mapping[str, F64 | None]) -> list[Change]:
        """The changes that this second confirms, by participant; None means that nothing was read."""
        read = {who: row for who, row in sorted(distributions.items()) if row is not None}
        if not read:
            return []
        self._make_room([who for who in read if who not in self._rows])
        s, at = self._settings, np.array([self._rows[who] for who in read])
        rows = np.array(list(read.values()))
        recent, seconds, n_recent, n_beyond, reference = (array[at] for array in self._arrays())
        stale = (n_recent > 0) & (second - seconds[:, -1] > s.gap_s + 1)
        n_recent[stale] = n_beyond[stale] = 0
        reference[stale] = np.nan
        recent[:, :-1], seconds[:, :-1] = recent[:, 1:].copy(), seconds[:, 1:].copy()
        recent[:, -1], seconds[:, -1] = rows, second
        n_recent = np.minimum(n_recent + 1, self._seconds.shape[1])
        ready = n_recent >= s.hold
        mean = mean_of([recent[:, k] for k in range(-s.hold, 0)])
        first = ready & np.isnan(reference[:, 0])
        away = np.abs(mean - reference).sum(axis=1) / 2 >= s.distance
        reference[first] = mean[first]
        near, beyond = ready & ~first & ~away, ready & ~first & away
        n_beyond[near] = 0
        reference[near] += s.follow * (rows[near] - reference[near])
        n_beyond[beyond] += 1
        for array, now in zip(self._arrays(), (recent, seconds, n_recent, n_beyond, reference), strict=True):
            array[at] = now
        names = list(read)
        long_enough = np.flatnonzero(beyond & (n_beyond >= s.hold)).tolist()
        return [change for i in long_enough if (change := self._confirmed(names[i], mean[i])) is not None]

    def forget(self, participants: Collection[str]) -> None:
        """Whoever of these comes back begins anew."""
        gone = [row for who, row in self._rows.items() if who in participants]
        if gone:
            kept = [who for who in sorted(self._rows, key=self._rows.__getitem__) if who not in participants]
            self._rows = {who: row for row, who in enumerate(kept)}
            self._recent, self._seconds, self._n_recent, self._n_beyond, self._reference = (
                np.delete(array, gone, axis=0) for array in self._arrays()
            )

    def known(self) -> tuple[str, ...]:
        """Everybody of whom something is remembered."""
        return tuple(self._rows)

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self._recent, self._seconds, self._n_recent, self._n_beyond, self._reference

    def _make_room(self, newcomers: Sequence[str]) -> None:
        """A row more in every array for each newcomer, of whom nothing is known yet."""
        if newcomers:
            fills = (0, 0, 0, 0, np.nan)
            self._rows |= {who: len(self._n_recent) + k for k, who in enumerate(newcomers)}
            self._recent, self._seconds, self._n_recent, self._n_beyond, self._reference = (
                np.concatenate([array, np.full((len(newcomers), *array.shape[1:]), fill, dtype=array.dtype)])
                for array, fill in zip(self._arrays(), fills, strict=True)
            )

    def _confirmed(self, participant: str, mean: F64) -> Change | None:
        """The change of somebody whose mean has been beyond for long enough.

        The mean stays beyond for a while after a short excursion is over: the last reading must be there itself. The onset
        is the second from which on the readings are nearer to what is now than to what was before, all in all: the
        running mean leaves the reference up to two seconds after the readings have.
        """
        at = self._rows[participant]
        n, reference = int(self._n_recent[at]), self._reference[at].copy()
        leads = _leads(self._recent[at, -n:], reference, mean).tolist()
        if leads[-1] <= 0:
            return None
        # From the last second backwards; of equally good onsets the latest.
        summed = list(accumulate(reversed(leads)))
        onset = int(self._seconds[at, -1 - summed.index(max(summed))])
        self._reference[at], self._n_beyond[at] = mean, 0
        return Change(participant, onset, reference, mean)


def _leads(rows: F64, before: F64, after: F64) -> F64:
    """(n,) by how much (n, 7) distributions are nearer to `after` than to `before`, in [-1, 1]."""
    return np.asarray(np.abs(rows - before).sum(axis=1) / 2 - np.abs(rows - after).sum(axis=1) / 2)


class ChangeCounter:
    """Changes per covered minute of each participant in the trailing window, for the adaptive weights."""

    def __init__(self, settings: ChangeSettings = DEFAULT_CHANGES) -> None:
        self._settings = settings
        # Of each second, who was covered, and who of these changed.
        self._seconds: deque[tuple[int, set[str], set[str]]] = deque()

    def add(self, second: int, covered: Collection[str], changed: Collection[str]) -> None:
        """Counts one second: who was covered in it, and who changed."""
        self._seconds.append((second, set(covered), set(changed)))
        self._expire(second)

    def per_minute(self, second: int) -> dict[str, float]:
        """c_i of everybody with at least `least_s` covered seconds in the window that ends with `second`."""
        self._expire(second)
        n_covered = Counter(chain.from_iterable(covered for _, covered, _ in self._seconds))
        n_changes = Counter(chain.from_iterable(changed for _, _, changed in self._seconds))
        return {who: 60.0 * n_changes[who] / n for who, n in sorted(n_covered.items()) if n >= self._settings.least_s}

    def forget(self, participant: str) -> None:
        """Whoever comes back begins anew."""
        for _, covered, changed in self._seconds:
            covered.discard(participant)
            changed.discard(participant)

    def _expire(self, second: int) -> None:
        """Drops what lies before the window that ends with `second`."""
        while self._seconds and self._seconds[0][0] <= second - self._settings.window_s:
            self._seconds.popleft()


class ChangeScopes:
    """Sorts changes into group-wise and individual ones, once all that could belong together are known.

    A change is group-wise when more than half of the engaged members, at least two, change within ± 2 s of one of
    them. That one can begin 2 s later, the last of them another 2 s, and it takes `hold` seconds to be confirmed; so
    long every change waits. The faintest take two seconds more, and may be left alone for that. Who is left alone with a
    change smaller than `alone` has made none that is told: most of these are misread faces.
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
                self._pending.remove(first)
                if total_variation(first.before, first.after) >= self._settings.alone:
                    events.append(change_event("individual", {first.participant: first}))
        return events

    def _around(self, onset: int, engaged: Collection[str]) -> dict[str, Change]:
        """The first change of each engaged member within ± 2 s of an onset."""
        together: dict[str, Change] = {}
        for change in self._pending:
            if abs(change.onset - onset) <= self._settings.together_s and change.participant in engaged:
                together.setdefault(change.participant, change)
        return together


def change_event(scope: str, changes: Mapping[str, Change]) -> Event:
    """A `change` event dated at the earliest onset.

    `from` and `to` are the top classes of the mean distributions; where the top stays the same, the class that fell
    most and the class that grew most.
    """
    members = sorted(changes)
    before = np.asarray(np.mean([changes[p].before for p in members], axis=0))
    after = np.asarray(np.mean([changes[p].after for p in members], axis=0))
    start, end = int(before.argmax()), int(after.argmax())
    if start == end:
        start, end = int((after - before).argmin()), int((after - before).argmax())
    return Event(
        kind="change",
        time_s=float(min(change.onset for change in changes.values())),
        participants=tuple(members),
        data={
            "scope": scope,
            "from": EMOTIONS[start],
            "to": EMOTIONS[end],
            "distance": round(total_variation(before, after), 6),
        },
    )
