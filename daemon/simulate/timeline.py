"""Who feels what and when in a simulated call: the truth, before any face is shown.

Times are seconds from the beginning of the call. Emotions are indices into `EMOTIONS`. Everything is drawn from one
generator, in one order: the same parameters and seed give the same call.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.simulate.bank import NEUTRAL
from daemon.simulate.params import Params
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.types import GroupType

Bool = NDArray[np.bool_]

KINDS: Final = ("faint", "ordinary", "exaggerated")
HOLDS_S: Final = 3.0
"""What is felt for less is no change of expression (GROUP, section 4.2, as algorithm 4 has it)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call is made for.

    types: phases of equal length, in this order; None: those of the parameters, shuffled.
    unengaged: members who never follow, apart from those of unengaged phases; None: drawn from the parameters.
    resting: emotion of the resting face of the first member, who is engaged; None: drawn from the parameters.
    everybody_stays: nobody comes late, leaves or is away.
    """

    types: tuple[GroupType, ...] | None = None
    unengaged: int | None = None
    resting: str | None = None
    everybody_stays: bool = False


WHOLE_CALL: Final = Plan()


@dataclass(frozen=True, slots=True)
class Episode:
    """A face that a member shows from a time on, until the next episode or `end_s`; `felt` where it is meant."""

    start_s: float
    end_s: float
    emotion: int
    felt: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A change of what a member feels; `cause` is the number of the change of the group that led to it, or -1."""

    time_s: float
    emotion: int
    cause: int


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the call with one type of group.

    engaged: who of the n members follows the group. polarised: begin and end of the piece in which the group is split, and (n,)
    which of two sub-groups each member belongs to, -1 for none.
    """

    start_s: float
    end_s: float
    type: GroupType
    engaged: tuple[bool, ...]
    polarised: tuple[float, float] = (0.0, 0.0)
    camp: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """What a member is like, and all that they feel and show.

    offset_nats: (7,) what is added to the log-probabilities of each arm. here: spans in which they are in the call.
    """

    kind: int
    offset_nats: tuple[float, ...]
    resting: int | None
    condition: str | None
    here: tuple[tuple[float, float], ...]
    steps: tuple[Step, ...]
    brief: tuple[Episode, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is true: dated at the first onset, with the members who made it; `scope` as in events."""

    time_s: float
    scope: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The truth of a call. `group`: times from which on the group's latent emotion is another, and which."""

    seconds: int
    members: tuple[Member, ...]
    phases: tuple[Phase, ...]
    group: tuple[tuple[float, int], ...]
    changes: tuple[Change, ...]


def draw_timeline(params: Params, plan: Plan, rng: np.random.Generator) -> Timeline:
    """One call, as planned."""
    return _Drawing(params, plan, rng).timeline()


class _Drawing:
    """The generator and what has been drawn so far."""

    def __init__(self, params: Params, plan: Plan, rng: np.random.Generator) -> None:
        self._params, self._plan, self._rng = params, plan, rng
        low, high = params.members.number
        self._n = int(rng.integers(low, high + 1))
        self._seconds = params.call.seconds
        self._weights = np.array([params.group.emotions.get(name, 0.0) for name in EMOTIONS])

    def timeline(self) -> Timeline:
        """Everything, in the one order."""
        phases = self._phases()
        group = self._group(phases)
        lags = self._rng.uniform(*self._params.group.lag_s, size=self._n)
        steps = self._steps(phases, group, lags)
        members = tuple(self._member(i, phases, steps[i]) for i in range(self._n))
        changes = _changes(members, phases, group)
        return Timeline(self._seconds, members, phases, tuple(group), changes)

    def _between(self, bounds: tuple[float, float]) -> float:
        return float(self._rng.uniform(*bounds))

    def _happens(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _emotion(self, *others_than: int) -> int:
        """One of the emotions of the group but these; of those left without a share each is as likely."""
        weights = self._weights.copy()
        weights[list(others_than)] = 0
        if not weights.sum() > 0:
            weights = np.ones(N_EMOTIONS)
            weights[list(others_than)] = 0
        return int(self._rng.choice(N_EMOTIONS, p=weights / weights.sum()))

    def _some_emotion(self) -> int:
        """What somebody feels at any moment: emotions that never follow themselves, met in the midst of things.

        Who shares nothing with the others does not share with them that a call begins either.
        """
        before, emotion = self._emotion(), self._emotion()
        while emotion == before:
            before, emotion = self._emotion(), self._emotion()
        return emotion

    def _left_of(self, bounds: tuple[float, float]) -> float:
        """Seconds from any moment until something next happens that happens so often: a long wait is met more often.

        Cox 1962, "Renewal Theory", section 5.4.
        """
        low, high = bounds
        return float(self._rng.random()) * math.sqrt(self._between((low**2, high**2)))

    def _moments(self, per_minute: float, start_s: float, end_s: float) -> F64:
        """Times of a Poisson process."""
        n = int(self._rng.poisson(per_minute * max(0.0, end_s - start_s) / 60))
        return np.sort(self._rng.uniform(start_s, end_s, size=n))

    def _phases(self) -> tuple[Phase, ...]:
        settings = self._params.group
        types = self._plan.types
        if types is None:
            types = tuple(settings.types[k] for k in self._rng.permutation(len(settings.types)))
        # Never half of them: the rest must be a group.
        most = (self._n - 1) // 2
        drawn = int(self._rng.binomial(self._n, self._params.members.unengaged_share))
        n_apart = min(drawn if self._plan.unengaged is None else self._plan.unengaged, most)
        order = self._rng.permutation(self._n)
        if self._plan.resting is not None:
            order = np.concatenate([order[order != 0], [0]])
        apart = order[:n_apart]
        length = self._seconds / len(types)
        return tuple(self._phase(kind, k * length, (k + 1) * length, apart) for k, kind in enumerate(types))

    def _phase(self, kind: GroupType, start_s: float, end_s: float, apart: NDArray[np.intp]) -> Phase:
        settings = self._params.group
        engaged = np.ones(self._n, dtype=np.bool_)
        engaged[apart] = False
        if kind == "unengaged":
            n_left = int(settings.engaged_share_when_unengaged * self._n)
            left = self._rng.permutation(np.flatnonzero(engaged))[:n_left]
            engaged[:] = False
            engaged[left] = True
        if kind != "synchronous" or engaged.sum() < 4 or settings.polarised_share == 0:  # noqa: PLR2004 (two and two)
            return Phase(start_s, end_s, kind, tuple(engaged.tolist()))
        length = settings.polarised_share * (end_s - start_s)
        split = (start_s, start_s + length) if self._happens(0.5) else (end_s - length, end_s)
        members = self._rng.permutation(np.flatnonzero(engaged))
        first = members[: int(self._rng.integers(2, len(members) - 1))]
        camp = np.where(engaged, 1, -1)
        camp[first] = 0
        return Phase(start_s, end_s, kind, tuple(engaged.tolist()), split, tuple(camp.tolist()))

    def _group(self, phases: Sequence[Phase]) -> list[tuple[float, int]]:
        """Changes of the latent emotion: one soon after every phase or split begins, others as often as the parameters say."""
        begins = sorted(
            {t for p in phases for t in (p.start_s, *p.polarised) if t < self._seconds and (t > 0 or p.start_s == 0)}
        )
        ends = [*begins[1:], float(self._seconds)]
        every = self._params.group.changes_every_s
        events: list[tuple[float, int]] = []
        emotion = NEUTRAL
        for start_s, end_s in zip(begins, ends, strict=True):
            time_s = start_s + self._between((0.0, min(2.0, end_s - start_s)))
            while time_s < end_s:
                emotion = self._emotion(emotion)
                events.append((time_s, emotion))
                time_s += self._between(every)
        return events

    def _steps(self, phases: Sequence[Phase], group: Sequence[tuple[float, int]], lags: F64) -> list[list[Step]]:
        """What each member comes to feel because of the group, or, unengaged, for reasons of their own."""
        steps = [[Step(0.0, NEUTRAL if engaged else self._some_emotion(), -1)] for engaged in phases[0].engaged]
        for phase in phases:
            for number, (time_s, emotion) in enumerate(group):
                if phase.start_s <= time_s < phase.end_s:
                    self._follow(phase, number, time_s, emotion, lags, steps)
            for i in np.flatnonzero(~np.array(phase.engaged)):
                time_s = phase.start_s + self._left_of(self._params.group.changes_every_s)
                while time_s < phase.end_s:
                    steps[i].append(Step(time_s, self._emotion(steps[i][-1].emotion), -1))
                    time_s += self._between(self._params.group.changes_every_s)
        return [sorted(own, key=lambda step: step.time_s) for own in steps]

    def _follow(
        self, phase: Phase, number: int, time_s: float, emotion: int, lags: F64, steps: list[list[Step]]
    ) -> None:
        """Who goes along with one change of the group, when, and to what."""
        settings = self._params.group
        share = {
            "unengaged": settings.follow.engaged,
            "engaged": settings.follow.engaged,
            "synchronous": settings.follow.synchronous,
            "homogeneous": settings.follow.homogeneous,
        }[phase.type]
        split = bool(phase.camp) and phase.polarised[0] <= time_s < phase.polarised[1]
        others = {steps[i][-1].emotion for i in np.flatnonzero(np.array(phase.camp) == 1)} if split else set()
        other = self._emotion(emotion, *(others if len(others) == 1 else ()))
        for i in np.flatnonzero(phase.engaged):
            before = steps[i][-1].emotion
            if split:
                response = other if phase.camp[i] else emotion
            elif phase.type == "synchronous" and not self._happens(settings.same_emotion):
                response = self._emotion(before)
            else:
                response = emotion
            if self._happens(share) and response != before:
                lag = lags[i] + self._between((0.0, settings.lag_jitter_s))
                steps[i].append(Step(time_s + float(lag), response, number))

    def _member(self, i: int, phases: Sequence[Phase], steps: list[Step]) -> Member:
        settings = self._params.members
        shares = np.array(
            [settings.expressivity.faint, settings.expressivity.ordinary, settings.expressivity.exaggerated]
        )
        kind = int(self._rng.choice(len(KINDS), p=shares / shares.sum()))
        offset = (
            self._rng.normal(0, settings.style_nats, size=N_EMOTIONS) if settings.style_nats else np.zeros(N_EMOTIONS)
        )
        resting = None
        if self._happens(settings.resting.share):
            resting = EMOTIONS.index(settings.resting.emotions[int(self._rng.integers(len(settings.resting.emotions)))])
        strength = self._between(settings.resting.strength_nats)
        if self._plan.resting is not None:
            resting = EMOTIONS.index(self._plan.resting) if i == 0 else None
        if resting is not None:
            offset[resting] += strength
        camera = self._params.camera
        poor = camera.poor_conditions[int(self._rng.integers(len(camera.poor_conditions)))]
        condition = poor if self._happens(camera.poor_share) else None
        whole = self._with_own_changes(i, phases, steps)
        return Member(
            kind=kind,
            offset_nats=tuple(offset.tolist()),
            resting=resting,
            condition=condition,
            here=self._here(),
            steps=whole,
            brief=tuple(self._brief(whole)),
        )

    def _here(self) -> tuple[tuple[float, float], ...]:
        presence = self._params.members.presence
        end_s = float(self._seconds)
        starts = self._between(presence.joins_at) * end_s if self._happens(presence.late_share) else 0.0
        leaves = self._between(presence.leaves_at) * end_s if self._happens(presence.leaves_share) else end_s
        away = self._between(presence.away_from) * end_s if self._happens(presence.away_share) else None
        lasts = self._between(presence.away_s)
        if self._plan.everybody_stays:
            return ((0.0, end_s),)
        if away is None:
            return ((starts, leaves),)
        return ((starts, away), (min(away + lasts, leaves), leaves))

    def _with_own_changes(self, i: int, phases: Sequence[Phase], steps: list[Step]) -> tuple[Step, ...]:
        """The steps with an engaged member's own changes, which end when they are over or the group moves on."""
        settings = self._params.individual
        whole = list(steps)
        for phase in phases:
            if not phase.engaged[i]:
                continue
            for time_s in self._moments(settings.changes_per_minute, phase.start_s, phase.end_s).tolist():
                lasts = self._between(settings.lasts_s)
                whole.sort(key=lambda step: step.time_s)
                before = [step for step in whole if step.time_s <= time_s][-1]
                after = next((step for step in whole if step.time_s > time_s), None)
                whole.append(Step(time_s, self._emotion(before.emotion), -1))
                if after is None or after.time_s > time_s + lasts:
                    whole.append(Step(time_s + lasts, before.emotion, -1))
        whole.sort(key=lambda step: step.time_s)
        return tuple(step for k, step in enumerate(whole) if k == 0 or step.emotion != whole[k - 1].emotion)

    def _brief(self, steps: Sequence[Step]) -> Iterator[Episode]:
        """Glitches, which mean nothing, and short behaviours, which do."""
        individual, behaviours = self._params.individual, self._params.members.behaviours
        for time_s in self._moments(individual.glitches_per_minute, 0.0, self._seconds).tolist():
            now = [step for step in steps if step.time_s <= time_s][-1].emotion
            emotion = int(self._rng.permutation([k for k in range(N_EMOTIONS) if k != now])[0])
            yield Episode(time_s, time_s + self._between(individual.glitch_lasts_s), emotion, felt=False)
        has, emotion = self._happens(behaviours.share), self._emotion(NEUTRAL)
        time_s = self._between(behaviours.every_s)
        while has and time_s < self._seconds:
            yield Episode(time_s, time_s + self._between(behaviours.lasts_s), emotion, felt=True)
            time_s += self._between(behaviours.every_s)


def _changes(
    members: Sequence[Member], phases: Sequence[Phase], group: Sequence[tuple[float, int]]
) -> tuple[Change, ...]:
    """All true changes by time: group-wise where more than half of the engaged members, at least two, make them.

    Engaged members who are not in the call do not count, nor do their changes.
    """
    held = [[step for step in _held(member.steps) if is_here(member, step.time_s)] for member in members]
    changes = []
    for number, (time_s, _) in enumerate(group):
        phase = next(p for p in phases if p.start_s <= time_s < p.end_s)
        n_engaged = sum(phase.engaged[i] and is_here(m, time_s) for i, m in enumerate(members))
        made = {i: step for i, own in enumerate(held) for step in own if step.cause == number}
        if len(made) >= 2 and len(made) > n_engaged / 2:  # noqa: PLR2004 (a group)
            changes.append(Change(min(step.time_s for step in made.values()), "group", tuple(made)))
        else:
            changes += [Change(step.time_s, "individual", (i,)) for i, step in made.items()]
    changes += [
        Change(step.time_s, "individual", (i,)) for i, own in enumerate(held) for step in own if step.cause == -1
    ]
    return tuple(sorted(changes, key=lambda change: (change.time_s, change.members)))


def _held(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that last long enough to be changes, and lead to something new."""
    now = steps[0].emotion
    ends = [step.time_s for step in steps[2:]] + [math.inf]
    for step, end_s in zip(steps[1:], ends, strict=False):  # of one step alone nothing comes
        if step.emotion != now and end_s - step.time_s >= HOLDS_S:
            now = step.emotion
            yield step


def is_here(member: Member, time_s: float) -> bool:
    """Whether a member is in the call at that time."""
    return any(start <= time_s < end for start, end in member.here)
