"""Who goes along with the group, and what type of group it is (GROUP, section 5)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isnan
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64, N_EMOTIONS
from pipeline.synchrony import (
    DEFAULT_SYNCHRONY,
    Moves,
    Synchrony,
    SynchronySettings,
    compare,
    coupling,
    divergences,
    mean_of_others,
    normalised,
    steps,
)
from pipeline.types import EngagementState, GroupEngagement, GroupType, MemberEngagement

_UNKNOWN: Final = np.full(N_EMOTIONS, np.nan)

_AT_ONCE: Final = 25
"""Members who are judged in one second, or more where a comparison would not be over before the next one begins."""

Coupled = tuple[float, float]
"""How much members move together, and move the same way: means of what `pipeline.synchrony.coupling` gives."""


@dataclass(frozen=True, slots=True)
class EngagementSettings:
    """Constants of algorithm 8. A judgement of a member is slow and sure, the type of the group follows the moment.

    synchrony: how movements are compared; its `window_s` is that of the judgement of a member.
    every_s: seconds between two comparisons. Of large groups a comparison takes several of them.
    engaged_p: p-value below which a member is engaged.
    odds: logarithm of the odds beyond which a member is unengaged: members are taken to be engaged until much speaks
        against it. least_strength: how strongly an engaged member moves with the others at least, in the unit of
        `Synchrony.strength`; evidence_share: of what a comparison says, what counts at once. See `evidence_of`.
    kept_share: share of the members, and at least two, who must be left in the group for the unengaged to be left out of
        it: with fewer there is no group that anybody could be apart from.
    memory_s: a member who was away for no longer keeps what was known; as long nothing may be known before a state
        becomes unknown again.
    type_window_s, type_recent_s, type_moved_on: the type is judged by the means of `pipeline.synchrony.coupling` over
        the longer window; where either is more than `type_moved_on` from that of the shorter one, by the shorter.
    engaged_coupling: sum of both couplings, of when and whereto, from which a group is engaged.
    homogeneous_coupling: coupling of whereto from which it is homogeneous.
    synchronous_coupling: by how much the coupling of when must be larger than that of whereto for a group that is
        engaged but not homogeneous to be synchronous: it has one cadence, and not one emotion.
    alike, alike_ratio: in a second members are alike when the mean divergence of their pairs is below `alike` bits, or
        below `alike_ratio` of what it is between different moments. Models that misread one face in five keep even
        people who feel the same 0.4 bits apart.
    alike_lags_s: how far apart these different moments are.
    type_hold_s: seconds a new type must last before it is told.
    """

    synchrony: SynchronySettings = DEFAULT_SYNCHRONY
    every_s: int = 5
    engaged_p: float = 0.03
    odds: float = 1.2
    least_strength: float = 1.5
    evidence_share: float = 0.2
    kept_share: float = 0.5
    memory_s: int = 60
    type_window_s: int = 150
    type_recent_s: int = 60
    type_moved_on: float = 0.15
    engaged_coupling: float = 0.06
    homogeneous_coupling: float = 0.18
    synchronous_coupling: float = 0.1
    alike: float = 0.15
    alike_ratio: float = 0.8
    alike_lags_s: tuple[int, ...] = (23, 53)
    type_hold_s: int = 5


DEFAULT_ENGAGEMENT = EngagementSettings()


@dataclass(slots=True, eq=False)
class _Member:
    """What is remembered of one member.

    known: second of the last comparison that said anything.
    strength: of the last comparison. evidence: that the member is unengaged, natural logarithm, of the latest ones.
    said: the reading, until something new is known.
    """

    seen: int
    state: EngagementState = "unknown"
    correlation: float = np.nan
    lag_s: float = np.nan
    p_value: float = np.nan
    strength: float = np.nan
    evidence: float = 0.0
    known: int = 0
    said: MemberEngagement | None = None

    def told(self, participant: str) -> MemberEngagement:
        """The member's reading."""
        if self.said is None:
            found = () if isnan(self.p_value) else (self.correlation, int(self.lag_s), self.p_value)
            self.said = MemberEngagement(participant, self.state, *found)
        return self.said


class _Ring:
    """The latest `length` seconds of everybody, indexed by second modulo length, NaN where unknown.

    Kept as (7, n, 2, length): what runs over the seconds of a member, or adds up classes, is several times as fast so. Every
    second stands there twice, so that the latest ones always lie in one piece.
    """

    def __init__(self, length: int) -> None:
        self._values: F64 = np.full((N_EMOTIONS, 0, 2, length), np.nan)
        self._columns: dict[str, int] = {}
        self._newest: int | None = None

    def put(self, second: int, names: list[str], rows: F64) -> None:
        """Writes a second, (n, 7) of these members; the others and the seconds left out are unknown."""
        length = self._values.shape[3]
        newcomers = [name for name in names if name not in self._columns]
        if newcomers:
            self._columns |= {name: len(self._columns) + k for k, name in enumerate(newcomers)}
            empty = np.full((N_EMOTIONS, len(newcomers), 2, length), np.nan)
            self._values = np.concatenate([self._values, empty], axis=1)
        since = second if self._newest is None else max(self._newest + 1, second - length + 1)
        self._values[..., np.arange(since, second + 1) % length] = np.nan
        self._values[..., second % length][:, self._at(names)] = rows.T[..., None]
        self._newest = second

    def forget(self, names: list[str]) -> None:
        """Drops all about these members."""
        kept = [name for name in self._columns if name not in names]
        self._values = self._values.take(self._at(kept), axis=1)
        self._columns = {name: column for column, name in enumerate(kept)}

    def latest(self, names: list[str], length: int) -> F64:
        """(length, n, 7) the latest seconds of these members."""
        n = self._values.shape[3]
        end = (self._newest or 0) % n + 1 + n
        twice = self._values.reshape(N_EMOTIONS, -1, 2 * n)
        return np.asarray(twice[:, :, end - length : end].take(self._at(names), axis=1).T)

    def _at(self, names: list[str]) -> NDArray[np.intp]:
        return np.array([self._columns[name] for name in names], dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """A comparison of everybody with the others; `turns` are those still to come."""

    names: list[str]
    moves: Moves
    others: Moves
    turns: deque[slice]

    def of(self, some: slice, settings: SynchronySettings) -> Synchrony:
        """What it says of some members."""
        pair = self.others, self.moves
        first, second = (moves.lengths.T[some] for moves in pair)
        one, other = (tuple(plane.T[some] for plane in moves.steps) for moves in pair)
        return compare(first, second, settings, (one, other))


def _turns(n: int, every_s: int) -> deque[slice]:
    """Who of n members is judged in the second in which a comparison begins, in the next one, and so on.

    A few at once; all of them as soon as that few they are, else from the next second on, so that none takes long.
    """
    at_once = max(_AT_ONCE, ceil(n / max(1, every_s - 1)))
    turns = deque(slice(i, i + at_once) for i in range(0, n, at_once))
    if len(turns) > 1:
        turns.appendleft(slice(0))
    return turns


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
        self._comparison: _Comparison | None = None
        self._coupled: Coupled | None = None
        self._alike = _Alike(settings)
        self._faces = _Ring(max(2 * settings.synchrony.step_s, self._alike.reach))
        self._steps = _Ring(settings.synchrony.window_s)
        self._type = _Steady(settings.type_hold_s)

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
            self._begin(second)
        self._go_on(second)
        in_group = [name for name in names if self._members[name].state != "unengaged"]
        self._alike.add(second, in_group, self._faces.latest(in_group, self._alike.reach))
        members = tuple(self._members[name].told(name) for name in names)
        if self._coupled is None:
            return GroupEngagement(members, self._type.add(second, None))
        group_type = self._type.add(second, type_of(self._coupled, self._settings))
        return GroupEngagement(members, group_type, *(max(0.0, share) for share in self._coupled))

    def others_alike(self) -> Mapping[str, bool]:
        """For each member whether the others were alike in the last second; who is not named: nothing is known.

        Other than a reading's `homogeneity` it leaves the member out, whose own face may disagree (see `labelling`).
        """
        return MappingProxyType(self._alike.without)

    def _remember(self, second: int, distributions: Mapping[str, F64 | None]) -> None:
        """Writes the second into the rings, and forgets who has been away for too long."""
        s, names = self._settings, sorted(distributions)
        gone = [name for name, member in self._members.items() if second - member.seen > s.memory_s + 1]
        if gone:
            self._faces.forget(gone)
            self._steps.forget(gone)
            self._alike.forget(gone)
            for name in gone:
                del self._members[name]
        for name in names:
            self._members.setdefault(name, _Member(second)).seen = second
        rows = [distributions[name] for name in names]
        self._faces.put(
            second, names, np.array([_UNKNOWN if row is None else row for row in rows]).reshape(-1, N_EMOTIONS)
        )
        stepped = steps(self._faces.latest(names, 2 * s.synchrony.step_s), s.synchrony)
        self._steps.put(second, names, stepped[-1])
        self._second = second

    def _window(self, second: int, names: list[str]) -> F64:
        """(T, n, 7) steps of the window, or of the call where it is younger."""
        first = second + 1 if self._first is None else self._first
        return self._steps.latest(names, min(self._settings.synchrony.window_s, second - first + 1))

    def _begin(self, second: int) -> None:
        """Begins a comparison of everybody with the others, and compares the pairs."""
        self._coupled, self._comparison = None, None
        if len(self._names) < 2:  # noqa: PLR2004 (a group)
            return
        moves = normalised(self._window(second, self._names))
        # All others, also who is unengaged: left out by the same movements that are tested, those would remain who happen
        # to move alike, and chance would look like a group.
        turns = _turns(len(self._names), self._settings.every_s)
        self._comparison = _Comparison(self._names, moves, mean_of_others(moves), turns)
        self._coupled = _latest(coupling(moves), self._settings)

    def _go_on(self, second: int) -> None:
        """Judges the members whose turn it is."""
        comparison = self._comparison
        if comparison is not None and comparison.turns:
            turn = comparison.turns.popleft()
            names = comparison.names[turn]
            if names:
                found = comparison.of(turn, self._settings.synchrony)
                there = [(self._members[name], i) for i, name in enumerate(names) if name in self._members]
                for member, i in there:
                    self._compared_with(second, member, found, i)
                strengths = [m.strength for _, m in sorted(self._members.items()) if not isnan(m.strength)]
                total, n = sum(strengths), len(strengths)
                for member, _ in there:
                    if not isnan(member.strength):
                        self._judge(member, (total - member.strength) / (n - 1) if n > 1 else 0.0)

    def _compared_with(self, second: int, member: _Member, found: Synchrony, i: int) -> None:
        """Takes in what a comparison says of one member."""
        member.said = None
        member.correlation, member.lag_s = float(found.correlation[i]), float(found.lag_s[i])
        member.p_value, member.strength = float(found.p_value[i]), float(found.strength[i])
        if not isnan(member.p_value):
            member.known = second
        elif second - member.known > self._settings.memory_s:
            member.state, member.evidence = "unknown", 0.0

    def _judge(self, member: _Member, others: float) -> None:
        """What a member is by what was just taken in, and by the mean strength of the others."""
        s = self._settings
        evidence = evidence_of(member.strength, max(others, s.least_strength))
        member.evidence += s.evidence_share * (evidence - member.evidence)
        if member.p_value < s.engaged_p:
            member.state = "engaged"
        elif member.evidence > s.odds:
            member.state = "unengaged"
        elif member.state == "unengaged":
            member.state = "unknown"


def evidence_of(strength: float, others: float) -> float:
    """Natural logarithm of how much likelier it is that a member is unengaged, by how strongly they move with the others.

    By chance a strength is about standard normal; of engaged members it is taken to lie around the mean of the `others`
    of this very call, with the same spread. The ratio of the two densities is exp(m² / 2 - m z) of a strength z and a mean
    m: what is weak among strong ones says much, and where all are weak nothing says much of anybody.

    Wald 1945, "Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics 16, 117-186.
    """
    return others * (others / 2 - strength)


class _Alike:
    """Whether members are alike: for each one, all others."""

    def __init__(self, settings: EngagementSettings) -> None:
        self._settings = settings
        self._chance: dict[str, tuple[deque[int], deque[float]]] = {}
        self._limits: dict[str, float] = {}
        self.without: dict[str, bool] = {}

    @property
    def reach(self) -> int:
        """How many of the latest distributions are needed."""
        return max(self._settings.alike_lags_s, default=0) + 1

    def add(self, second: int, names: list[str], faces: F64) -> None:
        """Afterwards `without` says for each member whether the others are alike in this second.

        `faces` is (reach, n, 7), NaN without a face.
        """
        s = self._settings
        # Chance changes slowly.
        if second % s.every_s == 0:
            for lag in s.alike_lags_s:
                self._expect(second, _apart(names, faces[-1], faces[-1 - lag]))
            self._expire(second - s.synchrony.window_s)
            self._limits = {name: self._limit(name) for name in names}
        apart = _apart(names, faces[-1], faces[-1])
        self.without = {name: value < self._limits.get(name, s.alike) for name, value in apart.items()}

    def forget(self, names: list[str]) -> None:
        """Drops all about these members."""
        for name in names:
            self._chance.pop(name, None)

    def _expect(self, second: int, apart: Mapping[str, float]) -> None:
        """Takes in how far apart all but each member are at different moments: by chance."""
        for name, value in apart.items():
            seconds, values = self._chance.setdefault(name, (deque(), deque()))
            seconds.append(second)
            values.append(value)

    def _expire(self, until: int) -> None:
        """Drops what was chance up to a second."""
        for name, (seconds, values) in list(self._chance.items()):
            while seconds and seconds[0] <= until:
                seconds.popleft()
                values.popleft()
            if not seconds:
                del self._chance[name]

    def _limit(self, name: str) -> float:
        """Below how many bits all but a member are alike."""
        values = self._chance[name][1] if name in self._chance else ()
        return max(self._settings.alike, self._settings.alike_ratio * sum(values) / max(len(values), 1))


@dataclass(slots=True, eq=False)
class _Steady:
    """The type of the group, without those that do not last."""

    hold_s: int
    told: GroupType | None = None
    candidate: GroupType | None = None
    since: int = 0

    def add(self, second: int, now: GroupType | None) -> GroupType | None:
        """The type that has lasted; of none something else is told at once, and so is that nothing is known."""
        if now != self.candidate:
            self.candidate, self.since = now, second
        if self.told is None or now is None or second - self.since >= self.hold_s:
            self.told = now
        return self.told


def type_of(coupled: Coupled, settings: EngagementSettings = DEFAULT_ENGAGEMENT) -> GroupType:
    """The type of a group whose members are so coupled, in when and in whereto they move."""
    when, whereto = coupled
    if when + whereto < settings.engaged_coupling:
        return "unengaged"
    if whereto >= settings.homogeneous_coupling:
        return "homogeneous"
    return "synchronous" if when - whereto >= settings.synchronous_coupling else "engaged"


def _latest(series: tuple[F64, F64], settings: EngagementSettings) -> Coupled | None:
    """The couplings by which the type is judged; None while fewer than half of the shorter window is known."""
    known = ~np.isnan(series[0])
    if known[-settings.type_recent_s :].sum() < settings.type_recent_s / 2:
        return None
    recent, long = (
        tuple(float(values[-window_s:][known[-window_s:]].mean()) for values in series)
        for window_s in (settings.type_recent_s, settings.type_window_s)
    )
    moved_on = max(abs(one - other) for one, other in zip(recent, long, strict=True)) > settings.type_moved_on
    return (recent[0], recent[1]) if moved_on else (long[0], long[1])


def _apart(names: list[str], first: F64, second: F64) -> dict[str, float]:
    """Mean divergence of different members' distributions in two moments, of all without each one.

    `first` and `second` are (n, 7), NaN without a face; who leaves no pair is not named.
    """
    apart = divergences(first, second)
    known = np.isfinite(apart) & ~np.eye(len(names), dtype=bool)
    apart = np.where(known, apart, 0.0)
    sums = apart.sum() - apart.sum(axis=0) - apart.sum(axis=1)
    counts = known.sum() - known.sum(axis=0) - known.sum(axis=1)
    return {name: float(x / k) for name, x, k in zip(names, sums.tolist(), counts.tolist(), strict=True) if k > 0}
