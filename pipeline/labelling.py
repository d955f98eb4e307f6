"""What the others say that a member feels: the group's emotion as ground truth (GROUP, section 5)."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64
from pipeline.synchrony import divergences
from pipeline.types import GroupEngagement, GroupLabel, frozen_array

_TIE = 1e-9
"""Sums nearer than this are equal: they round."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """Constants of algorithm 9.

    least_others: others that a label needs at least; 2 is possible, less is not.
    least_share: and at least this share of all others in the group who have a face.
    alike: largest mean divergence of the pairs of these others, in bits.
    confidence: least probability of the largest class of their mean.
    window_s, held_share: the others of a member must have been alike in so much of the trailing seconds, by
        `Engagement.others_alike`: that a few faces look the same in one second says little. `least_s` of these must be
        known.
    """

    least_others: int = 3
    least_share: float = 0.6
    alike: float = 0.45
    confidence: float = 0.55
    window_s: int = 45
    held_share: float = 0.1
    least_s: int = 15


DEFAULT_LABELS = LabelSettings()


@dataclass(slots=True)
class _Past:
    """Seconds in which the others of a member were or were not alike, and in how many they were."""

    seconds: deque[tuple[int, bool]]
    n_alike: int = 0


class Labeller:
    """Labels of everybody in a call, second by second, from the generic heads' distributions only.

    A label for member i comes from the others alone: i's own face neither counts for it nor against it. But i must be
    engaged, which is to say change together with the others, whatever i's changes look like.
    """

    def __init__(self, settings: LabelSettings = DEFAULT_LABELS) -> None:
        self._settings = settings
        self._alike: dict[str, _Past] = {}

    def add(
        self,
        second: int,
        distributions: Mapping[str, F64 | None],
        engagement: GroupEngagement,
        others_alike: Mapping[str, bool],
    ) -> tuple[GroupLabel, ...]:
        """At most one label for each member, sorted by participant.

        Args:
            second: Later than the one before.
            distributions: (7,) of everybody in the call, None without a face; without one there is nothing to label.
            engagement: What `Engagement.add` returned for the same second.
            others_alike: What `Engagement.others_alike` says after it.
        """
        s = self._settings
        held = {name for name, alike in others_alike.items() if self._held(second, name, alike=alike)}
        self._forget(second)
        states = {member.participant: member.state for member in engagement.members}
        # Who is unengaged says nothing about the others; of who is unknown nothing bad is known.
        sources = [
            (name, p)
            for name in sorted(distributions)
            if (p := distributions[name]) is not None and states.get(name) != "unengaged"
        ]
        least = max(2, s.least_others, ceil(s.least_share * (len(sources) - 1)))
        labelled = [i for i, (name, _) in enumerate(sources) if name in held and states.get(name) == "engaged"]
        if len(sources) <= least or not labelled:
            return ()
        faces = np.array([p for _, p in sources])
        chosen = alike_others(faces, s.alike, least, labelled)
        sums, sizes = chosen.astype(np.float64) @ faces, chosen.sum(axis=1)
        sure = (sizes > 0) & (sums.max(axis=1) >= s.confidence * sizes)
        return tuple(
            GroupLabel(sources[i][0], second, frozen_array(sums[i] / sums[i].sum()), int(sizes[i]))
            for i in labelled
            if sure[i]
        )

    def _held(self, second: int, name: str, *, alike: bool) -> bool:
        """Whether the others of a member have been alike often enough."""
        s = self._settings
        past = self._alike.setdefault(name, _Past(deque()))
        past.seconds.append((second, alike))
        past.n_alike += alike
        while past.seconds[0][0] <= second - s.window_s:
            past.n_alike -= past.seconds.popleft()[1]
        return len(past.seconds) >= s.least_s and past.n_alike >= s.held_share * len(past.seconds)

    def _forget(self, second: int) -> None:
        """Drops the past of members of whom nothing was known for a whole window."""
        gone = [name for name, past in self._alike.items() if past.seconds[-1][0] <= second - self._settings.window_s]
        for name in gone:
            del self._alike[name]


def alike_others(faces: F64, alike: float, least: int, of: Sequence[int]) -> NDArray[np.bool_]:
    """(n, n): row i marks the others of member i who are alike, found by leaving out the oddest one by one.

    The oddest has the largest divergence from those who are left; of equally odd ones the last goes. It ends when the
    mean divergence of the pairs left is at most `alike`, and with nobody when fewer than `least` are left. Member i's
    own face has no part in row i.

    Args:
        faces: (n, 7) distributions.
        alike: Bits.
        least: At least 2.
        of: Whose others are sought, as indices of `faces`; the other rows are empty.
    """
    n = len(faces)
    apart = divergences(faces, faces)
    left = ~np.eye(n, dtype=bool)
    # What each is away from those left, in the rows that are still open; those who are out stand at minus infinity.
    sums = np.where(left, left.astype(np.float64) @ apart, -np.inf)
    size, rows = n - 1, np.array(of, dtype=np.intp)
    left[np.delete(np.arange(n), rows)] = False
    sums = sums[rows]
    # Every pair is counted twice.
    totals = np.where(left[rows], sums, 0.0).sum(axis=1)
    # Last columns first, in memory too: `argmax` gives the first of equals, and runs along whole rows.
    sums, from_last = (np.ascontiguousarray(columns[:, ::-1]) for columns in (sums, apart))
    while True:
        still = totals > alike * size * (size - 1) + _TIE
        if not still.all():
            rows, sums, totals = rows[still], sums[still], totals[still]
        if not len(rows):
            return left
        size -= 1
        if size < least:
            left[rows] = False
            return left
        last = sums.argmax(axis=1)
        each, oddest = np.arange(len(rows)), n - 1 - last
        left[rows, oddest] = False
        totals -= 2 * sums[each, last]
        sums -= from_last[oddest]
        sums[each, last] = -np.inf
