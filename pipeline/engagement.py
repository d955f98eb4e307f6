"""Who goes along with the group, and what type of group it is (GROUP, section 5)."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64, N_EMOTIONS
from pipeline.synchrony import (
    DEFAULT_SYNCHRONY,
    Synchrony,
    SynchronySettings,
    all_pairs,
    compare,
    divergences,
    mean_of_others,
    movement,
    normalised,
)
from pipeline.types import EngagementState, GroupEngagement, GroupType, MemberEngagement, frozen_array

_ALL: Final = ""
"""Stands for all members, where others are looked up by name."""

_T = TypeVar("_T")

LADDER: Final[tuple[GroupType, ...]] = ("unengaged", "engaged", "synchronous", "homogeneous")


@dataclass(frozen=True, slots=True)
class EngagementSettings:
    """Constants of algorithm 8. A judgement of a member is slow and sure, the type of the group follows the moment.

    synchrony: how movements are compared; its `window_s` is that of the judgement of a member.
    every_s: seconds between two comparisons; large_every_s: of the pairs in groups of more than `large` members.
    engaged_p: p-value below which a member is engaged.
    unengaged_p, unengaged_hold_s: above it for so long a member is unengaged. Between the two nothing changes.
    kept_share: share of the members, and at least two, who must be left in the group for the unengaged to be left out of
        it: with fewer there is no group that anybody could be apart from.
    memory_s: a member who was away for no longer keeps what was known; as long nothing may be known before a state
        becomes unknown again.
    recent_s, recent_p: the type is judged by so many of the latest seconds. They hold too few changes for 5 %: members
        and pairs with p-values below `recent_p` count as moving together.
    smooth: comparisons over which these shares are averaged.
    engaged_share: share of the members who move with the others, from which a group is engaged.
    synchronous_share: share of the pairs from which it is synchronous.
    alike, alike_ratio: in a second members are alike when the mean divergence of their pairs is below `alike` bits, or
        below `alike_ratio` of what it is between different moments. Models that misread one face in five keep even
        people who feel the same 0.4 bits apart.
    alike_lags_s: how far apart these different moments are.
    alike_window_s: trailing seconds of which a share is alike; alike_least_s: of which so many must be known.
    homogeneous_share: share of them from which a synchronous group is homogeneous.
    margin: shares must be so far above a threshold to pass it, and so far below to fall back.
    type_hold_s: seconds a new type must last before it is told.
    """

    synchrony: SynchronySettings = DEFAULT_SYNCHRONY
    every_s: int = 5
    large: int = 16
    large_every_s: int = 15
    engaged_p: float = 0.03
    unengaged_p: float = 0.15
    unengaged_hold_s: int = 40
    kept_share: float = 0.5
    memory_s: int = 60
    recent_s: int = 90
    recent_p: float = 0.2
    smooth: int = 3
    engaged_share: float = 0.45
    synchronous_share: float = 0.6
    alike: float = 0.15
    alike_ratio: float = 0.8
    alike_lags_s: tuple[int, ...] = (23, 53)
    alike_window_s: int = 45
    alike_least_s: int = 15
    homogeneous_share: float = 0.5
    margin: float = 0.05
    type_hold_s: int = 5


DEFAULT_ENGAGEMENT = EngagementSettings()


@dataclass(slots=True, eq=False)
class _Member:
    """What is remembered of one member; the rings are indexed by second modulo their length, NaN where unknown.

    p_recent: p-value of the latest seconds. known: second of the last comparison that said anything.
    apart: since when the p-value has been above `unengaged_p`.
    """

    faces: F64
    moves: F64
    seen: int
    state: EngagementState = "unknown"
    correlation: float = np.nan
    lag_s: float = np.nan
    p_value: float = np.nan
    p_recent: float = np.nan
    known: int = 0
    apart: int | None = None

    def forget_second(self, second: int) -> None:
        """Nothing was seen in that second; what lay at its place in the rings is too old."""
        self.faces[second % len(self.faces)] = np.nan
        self.moves[second % len(self.moves)] = np.nan

    def told(self, participant: str) -> MemberEngagement:
        """The member's reading."""
        if np.isnan(self.p_value):
            return MemberEngagement(participant, self.state)
        return MemberEngagement(participant, self.state, self.correlation, int(self.lag_s), self.p_value)


class Engagement:
    """Engagement of everybody in a call, and the group's type, second by second.

    A member who joins is unknown, and stays in the group until the data say otherwise. Who is away for up to `memory_s`
    keeps their state; then all about them is forgotten. Results do not depend on the order of members: they are sorted.
    """

    def __init__(self, settings: EngagementSettings = DEFAULT_ENGAGEMENT) -> None:
        self._settings = settings
        self._members: dict[str, _Member] = {}
        self._names: list[str] = []
        self._first: int | None = None
        self._second = 0
        self._compared: int | None = None
        self._paired: int | None = None
        self._pairs: dict[tuple[str, str], float] = {}
        self._shares: deque[tuple[float, float]] = deque(maxlen=settings.smooth)
        self._alike = _Alike(settings)
        self._type = _Ladder(settings)

    def add(self, second: int, distributions: Mapping[str, F64 | None]) -> GroupEngagement:
        """What is known when a second has closed.

        Args:
            second: Later than the one before; seconds left out count as seconds without faces.
            distributions: (7,) of everybody in the call, None without a face.

        Raises:
            ValueError: `second` is not later than the one before.
        """
        if self._first is not None and second <= self._second:
            msg = f"second: expected more than {self._second}, found {second}; add seconds in order, once each"
            raise ValueError(msg)
        self._first = second if self._first is None else self._first
        self._remember(second, distributions)
        names = self._names = sorted(distributions)
        if self._compared is None or second - self._compared >= self._settings.every_s:
            self._compared = second
            self._compare(second)
        in_group = [name for name in names if self._members[name].state != "unengaged"]
        homogeneity = self._alike.add(second, in_group, self._faces(second, in_group, self._alike.reach))
        engaged, synchrony = _means(self._shares)
        members = tuple(self._members[name].told(name) for name in names)
        group_type = self._type.add(second, engaged, synchrony, homogeneity)
        return GroupEngagement(members, group_type, synchrony, homogeneity)

    def others_alike(self) -> Mapping[str, bool]:
        """For each member whether the others were alike in the last second; who is not named: nothing is known.

        Other than a reading's `homogeneity` it leaves the member out, whose own face may disagree (see `labelling`).
        """
        return MappingProxyType(self._alike.without)

    def matrix(self) -> tuple[tuple[str, ...], F64, F64]:
        """The members of the last second, (n, n) largest pair correlations and (n, n) p-values; see `all_pairs`."""
        moves = self._moves(self._second, self._names)
        correlation, p_value = all_pairs(normalised(moves), self._settings.synchrony)
        return tuple(self._names), frozen_array(correlation), frozen_array(p_value)

    def _remember(self, second: int, distributions: Mapping[str, F64 | None]) -> None:
        """Writes the second into the rings, and forgets who has been away for too long."""
        s = self._settings
        gone = [name for name, member in self._members.items() if second - member.seen > s.memory_s + 1]
        for name in gone:
            del self._members[name]
        window = max(s.synchrony.window_s, s.recent_s)
        for name in distributions:
            if name not in self._members:
                faces = np.full((max(2 * s.synchrony.step_s, self._alike.reach), N_EMOTIONS), np.nan)
                self._members[name] = _Member(faces, np.full(window, np.nan), second)
        since = max(self._second + 1, second - window + 1)
        for name, member in self._members.items():
            for passed in range(since, second + 1):
                member.forget_second(passed)
            face = distributions.get(name)
            if face is not None:
                member.faces[second % len(member.faces)] = face
            if name in distributions:
                member.seen = second
        self._second = second
        names = list(distributions)
        moved = movement(self._faces(second, names, 2 * s.synchrony.step_s), s.synchrony)[-1:]
        for name, move in zip(names, moved.ravel().tolist(), strict=True):
            moves = self._members[name].moves
            moves[second % len(moves)] = move

    def _faces(self, second: int, names: list[str], length: int) -> F64:
        """(length, n, 7) the latest distributions."""
        if not names:
            return np.empty((length, 0, N_EMOTIONS))
        ring = np.stack([self._members[name].faces for name in names], axis=1)
        return np.asarray(ring[np.arange(second - length + 1, second + 1) % len(ring)])

    def _moves(self, second: int, names: list[str]) -> F64:
        """(T, n) movements of the window, or of the call where it is younger."""
        if self._first is None or not names:
            return np.empty((0, len(names)))
        ring = np.stack([self._members[name].moves for name in names], axis=1)
        length = min(self._settings.synchrony.window_s, second - self._first + 1)
        return np.asarray(ring[np.arange(second - length + 1, second + 1) % len(ring)])

    def _compare(self, second: int) -> None:
        """Compares everybody with the others, and the pairs."""
        s, names = self._settings, self._names
        n = len(names)
        if n < 2:  # noqa: PLR2004 (a group)
            self._shares.clear()
            return
        moves = normalised(self._moves(second, names))
        member = [self._members[name] for name in names]
        # Who is unengaged would only blur the mean; where too few others are left, they are better than nothing.
        in_group = np.array([m.state != "unengaged" for m in member])
        counted = np.where((in_group.sum() - in_group < min(2, n - 1))[:, None], True, in_group[None])
        others = mean_of_others(moves, counted).T
        found = compare(others, moves.T, s.synchrony)
        recent = compare(others, moves.T, s.synchrony, s.recent_s)
        for i, m in enumerate(member):
            self._judge(second, m, found, recent, i)
        self._pair(second, moves, np.array([m.state != "unengaged" for m in member]))
        p_recent = np.array([m.p_recent for m in member])
        known = np.isfinite(p_recent)
        if known.sum() >= max(2, n / 2):
            among = {name for name, m in zip(names, member, strict=True) if m.state != "unengaged"}
            pairs = [p for pair, p in self._pairs.items() if among.issuperset(pair)]
            synchrony = float(np.mean(np.array(pairs) < s.recent_p)) if pairs else np.nan
            self._shares.append((float((p_recent[known] < s.recent_p).mean()), synchrony))
        else:
            self._shares.clear()

    def _judge(self, second: int, member: _Member, found: Synchrony, recent: Synchrony, i: int) -> None:
        """Takes in what a comparison says of one member."""
        s = self._settings
        member.correlation, member.lag_s = float(found.correlation[i]), float(found.lag_s[i])
        member.p_value, member.p_recent = float(found.p_value[i]), float(recent.p_value[i])
        if np.isnan(member.p_value):
            if second - member.known > s.memory_s:
                member.state, member.apart = "unknown", None
            return
        member.known = second
        if member.p_value <= s.unengaged_p:
            member.apart = None
        elif member.apart is None:
            member.apart = second
        if member.p_value < s.engaged_p:
            member.state = "engaged"
        elif member.apart is not None and second - member.apart >= s.unengaged_hold_s:
            member.state = "unengaged"

    def _pair(self, second: int, moves: F64, in_group: NDArray[np.bool_]) -> None:
        """Compares the pairs of those who are in the group, in a large one not every time."""
        s = self._settings
        chosen = np.flatnonzero(in_group)
        every_s = s.large_every_s if len(chosen) > s.large else s.every_s
        if self._paired is not None and second - self._paired < every_s:
            return
        self._paired = second
        _, p_value = all_pairs(moves[:, chosen], s.synchrony, s.recent_s)
        names = [self._names[i] for i in chosen]
        rows, columns = np.triu_indices(len(chosen), 1)
        values = p_value[rows, columns].tolist()
        found = zip(rows.tolist(), columns.tolist(), values, strict=True)
        self._pairs = {(names[i], names[j]): p for i, j, p in found if not np.isnan(p)}


class _Alike:
    """Whether members are alike: all of them, and all without each one."""

    def __init__(self, settings: EngagementSettings) -> None:
        self._settings = settings
        self._seconds: deque[tuple[int, bool]] = deque()
        self._chance: deque[tuple[int, dict[str, float]]] = deque()
        self._limits: dict[str, float] = {}
        self.without: dict[str, bool] = {}

    @property
    def reach(self) -> int:
        """How many of the latest distributions are needed."""
        return max(self._settings.alike_lags_s, default=0) + 1

    def add(self, second: int, names: list[str], faces: F64) -> float | None:
        """Share of the trailing seconds in which all were alike, None while too few are known.

        Afterwards `without` says for each member whether the others are alike in this second. `faces` is (reach, n, 7).
        """
        s = self._settings
        # Chance changes slowly.
        if second % s.every_s == 0:
            for lag in s.alike_lags_s:
                self._chance.append((second, _apart(names, faces[-1], faces[-1 - lag])))
            _drop_before(self._chance, second - s.synchrony.window_s + 1)
            self._limits = {name: self._limit(name) for name in (_ALL, *names)}
        alike = {
            name: value < self._limits.get(name, s.alike) for name, value in _apart(names, faces[-1], faces[-1]).items()
        }
        if _ALL in alike:
            self._seconds.append((second, alike.pop(_ALL)))
        self.without = alike
        _drop_before(self._seconds, second - s.alike_window_s + 1)
        if len(self._seconds) < s.alike_least_s:
            return None
        return sum(flag for _, flag in self._seconds) / len(self._seconds)

    def _limit(self, name: str) -> float:
        """Below how many bits they are alike, all of them or without a member."""
        known = [apart[name] for _, apart in self._chance if name in apart]
        return max(self._settings.alike, self._settings.alike_ratio * sum(known) / max(len(known), 1))


@dataclass(slots=True, eq=False)
class _Ladder:
    """The type of the group with hysteresis: every rung asks for all below it."""

    settings: EngagementSettings
    rung: int | None = None
    candidate: int | None = None
    since: int = 0

    def add(
        self, second: int, engaged: float | None, synchrony: float | None, homogeneity: float | None
    ) -> GroupType | None:
        """The type that the shares of this second lead to; None while too little is known."""
        s = self.settings
        if engaged is None:
            self.rung = self.candidate = None
            return None
        shares = (engaged, synchrony, homogeneity)
        thresholds = (s.engaged_share, s.synchronous_share, s.homogeneous_share)
        rung = 0
        for share, threshold in zip(shares, thresholds, strict=True):
            if share is None or share < threshold + self._margin(rung):
                break
            rung += 1
        if rung != self.candidate:
            self.candidate, self.since = rung, second
        if self.rung is None or second - self.since >= s.type_hold_s:
            self.rung = rung
        return LADDER[self.rung]

    def _margin(self, below: int) -> float:
        """Who stands above a rung stays there a little longer, who stands below comes later; at first neither."""
        if self.rung is None:
            return 0.0
        return -self.settings.margin if self.rung > below else self.settings.margin


def _means(shares: Iterable[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Mean of each of two columns over its known values; None without any."""
    columns = zip(*shares, strict=True)
    engaged, synchrony = ([v for v in column if not np.isnan(v)] for column in columns) if shares else ([], [])
    return tuple(sum(c) / len(c) if c else None for c in (engaged, synchrony))  # type: ignore[return-value]


def _apart(names: list[str], first: F64, second: F64) -> dict[str, float]:
    """Mean divergence of different members' distributions in two moments: of `_ALL`, and of all without each one.

    `first` and `second` are (n, 7), NaN without a face; what has no pair is left out.
    """
    apart = divergences(first, second)
    known = np.isfinite(apart) & ~np.eye(len(names), dtype=bool)
    apart = np.where(known, apart, 0.0)
    total, count = apart.sum(), known.sum()
    sums = total - apart.sum(axis=0) - apart.sum(axis=1)
    counts = count - known.sum(axis=0) - known.sum(axis=1)
    found = {name: float(x / k) for name, x, k in zip(names, sums.tolist(), counts.tolist(), strict=True) if k > 0}
    return found | ({_ALL: float(total / count)} if count else {})


def _drop_before(series: deque[tuple[int, _T]], second: int) -> None:
    """Drops what is older than a second."""
    while series and series[0][0] < second:
        series.popleft()
