"""What one seed gives: counts of right and wrong, made from several calls through the real engine.

Counts add up over seeds, and every figure is made from their sums: see `daemon.simulate.checks`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.simulate.bank import Bank
from daemon.simulate.observe import UNENGAGED, Observed, floor_tops, observe, raw_tops
from daemon.simulate.params import Params
from daemon.simulate.steps import ALL, STEP_SETTINGS, learned
from daemon.simulate.timeline import KINDS, Bool, Plan
from daemon.simulate.world import NOBODY, TYPES, Classes, World, make_world
from pipeline.metrics import complementarity
from pipeline.types import GroupType

Counts = Mapping[str, tuple[float, ...]]

STEPS: Final = ("raw", "mean", "adaptive", "cleaned", "all")
"""Each with everything that those before it have."""

KNOWN_AFTER_S: Final = 180
"""Engagement is judged from then on; so long is the window of algorithm 8."""
SETTLED_AFTER_S: Final = 60
FIXED: Final = tuple(k / 20 for k in range(21))
"""Weights of the landmark arm that never change, with which adaptive ones are compared."""
TOGETHER_S: Final = 2
EPISODE_S: Final = 15
"""A polarised stretch of at least so long can be found: half of what is left of it after `REACTION_S`."""
REACTION_S: Final = 8

ENGAGED_TYPES: Final[tuple[GroupType, ...]] = ("engaged", "synchronous", "homogeneous")


def measure_seed(params: Params, bank: Bank, seed: int) -> Counts:
    """All counts of one seed, by the name of the figure that they belong to."""
    counts: dict[str, tuple[float, ...]] = {}
    world = make_world(params, bank, seed)
    engine = {name: observe(world, settings) for name, settings in STEP_SETTINGS.items()}
    counts |= _ablation(world, engine)
    counts |= _adaptive(world, engine["mean"], engine["adaptive"])
    counts |= _learned(world, engine["adaptive"], observe(world, learned()))
    counts |= _types("type", world, engine["all"].type, np.zeros(world.n_seconds, dtype=np.bool_))
    counts |= _types("type_settled", world, engine["all"].type, _unsettled(world))
    counts |= _events(world, engine["all"])
    counts |= _polarised(world, engine["all"])
    counts |= {f"{name}_in_phases": of for name, of in _engagement(world, engine["all"]).items()}
    # Every seed of one kind in turn, so that kinds weigh the same.
    steady_type = ENGAGED_TYPES[seed % len(ENGAGED_TYPES)]
    steady = make_world(params, bank, seed, Plan(types=(steady_type,), unengaged=1 + seed % 2), stream=1)
    seen = observe(steady, ALL)
    counts |= _engagement(steady, seen)
    resting = make_world(
        params, bank, seed, Plan(types=("homogeneous",), resting="sadness", everybody_stays=True), stream=2
    )
    together = observe(resting, ALL)
    counts |= _labels(resting, together)
    counts |= _significant("synchrony_power", together, resting.engaged)
    nobody_follows = params.model_copy(
        update={"group": params.group.model_copy(update={"engaged_share_when_unengaged": 0.0})}
    )
    apart = make_world(nobody_follows, bank, seed, Plan(types=("unengaged",), everybody_stays=True), stream=3)
    alone = observe(apart, ALL)
    counts |= _significant("synchrony_size", alone, ~apart.engaged)
    early = np.arange(world.n_seconds) < KNOWN_AFTER_S
    whole = [
        _types("type_whole_calls", one, said.type, early)["type_whole_calls"]
        for one, said in ((steady, seen), (resting, together), (apart, alone))
    ]
    counts["type_whole_calls"] = tuple(np.sum(whole, axis=0).tolist())
    return counts


def fingerprint(params: Params, bank: Bank, seed: int) -> str:
    """Hash of the main call of a seed and of all that the whole engine says of it."""
    world = make_world(params, bank, seed)
    said = observe(world, ALL)
    digest = hashlib.sha256()
    for array in (
        world.felt, world.pixel, world.landmark, said.top, said.settled, said.group, said.online, said.denoised,
        said.state, said.p_value, said.type, said.polarised, said.label,
    ):  # fmt: skip
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr([(e.kind, e.time_s, e.participants, sorted(e.data.items())) for e in said.events]).encode())
    return digest.hexdigest()


def _ablation(world: World, engine: Mapping[str, Observed]) -> dict[str, tuple[float, ...]]:
    """Wrong answers of every step and how many there are, for members and for the group, over the same seconds.

    Seconds in which a frame of the member was read; for the group those in which frames of two members were read, and
    in which it has a most frequent emotion. No answer is a wrong one. Dismissal and DFT look back: they are settings of
    the engine's later half, so that one call with adaptive weights gives the readings of both steps.
    """
    raw, raw_group = raw_tops(world)
    members = {
        "raw": raw,
        "mean": engine["mean"].top,
        "adaptive": engine["adaptive"].top,
        "cleaned": engine["adaptive"].settled,
        "all": engine["all"].settled,
    }
    group = {
        "raw": raw_group,
        "mean": engine["mean"].group,
        "adaptive": engine["adaptive"].group,
        "cleaned": engine["adaptive"].denoised,
        "all": engine["all"].denoised,
    }
    judged = (world.felt != NOBODY) & (raw != NOBODY)
    judged_group = (world.group != NOBODY) & (raw_group != NOBODY)
    counts = {"members": _wrong(members, world.felt, judged), "group": _wrong(group, world.group, judged_group)}
    floor, floor_group = floor_tops(world)
    counts["members_floor"] = _wrong({"floor": floor}, world.felt, judged)
    counts["group_floor"] = _wrong({"floor": floor_group}, world.group, judged_group)
    online = {"cleaned": engine["adaptive"].online, "all": engine["all"].online}
    counts["group_online"] = _wrong(online, world.group, judged_group)
    return counts


def _wrong(answers: Mapping[str, Classes], truth: Classes, judged: Bool) -> tuple[float, ...]:
    """Wrong answers of each step, and the number of all."""
    return (*(float((answer[judged] != truth[judged]).sum()) for answer in answers.values()), float(judged.sum()))


def _adaptive(world: World, fixed: Observed, adaptive: Observed) -> dict[str, tuple[float, ...]]:
    """Wrong answers of fixed and of adaptive weights, and the number of all, by kind of member."""
    counts = {}
    judged = (world.felt != NOBODY) & (fixed.top != NOBODY)
    for kind, name in enumerate(KINDS):
        own = np.array([member.kind == kind for member in world.timeline.members])
        answers = {"fixed": fixed.top, "adaptive": adaptive.top}
        counts[f"adaptive_{name}"] = _wrong(answers, world.felt, judged & own[:, None])
        steady = {str(w): _with_weight(fixed, w) for w in FIXED}
        counts[f"weights_{name}"] = _wrong({"adaptive": adaptive.top} | steady, world.felt, judged & own[:, None])
    return counts


def _learned(world: World, rule: Observed, learned: Observed) -> dict[str, tuple[float, ...]]:
    """Of learned weights (A) and the rule (B): seconds that both read right, only A, only B, none (GROUP, Table I)."""
    counts = {}
    judged = (world.felt != NOBODY) & (rule.top != NOBODY)
    for kind, name in (*enumerate(KINDS), (None, "all")):
        own = np.array([kind in {None, member.kind} for member in world.timeline.members])[:, None]
        one, other = ((said.top == world.felt)[judged & own] for said in (learned, rule))
        found = complementarity(one, other)
        counts[f"learned_{name}"] = tuple(
            map(float, (found.both_right, found.only_a, found.only_b, found.none_right, len(one)))
        )
    return counts


def _with_weight(said: Observed, weight: float) -> Classes:
    """(n, S) top classes with one weight of the landmark arm for everybody, all the time."""
    both = (1 - weight) * said.pixel + weight * said.landmark
    fused = np.where(np.isnan(both), said.pixel, both)
    return np.where(np.isnan(fused).any(axis=2), NOBODY, np.nan_to_num(fused).argmax(axis=2)).astype(np.int8)


def _unsettled(world: World) -> Bool:
    """(S,) seconds soon after a phase began."""
    seconds = np.arange(world.n_seconds)
    starts = np.array([phase.start_s for phase in world.timeline.phases])
    return np.asarray(seconds - starts[np.searchsorted(starts, seconds + 0.5) - 1] < SETTLED_AFTER_S)


def _types(name: str, world: World, said: Classes, left_out: Bool) -> dict[str, tuple[float, ...]]:
    """Confusion of types in one row: of each true type how often each was said, and last that none was."""
    table = np.zeros((len(TYPES), len(TYPES) + 1))
    np.add.at(table, (world.type[~left_out], said[~left_out]), 1)
    return {name: tuple(table.ravel().tolist())}


def _events(world: World, said: Observed) -> dict[str, tuple[float, ...]]:
    """Found, missed and false changes of each scope; those of a member are matched with that member's."""
    rows = {participant: i for i, participant in enumerate(world.participants)}
    changes = [event for event in said.events if event.kind == "change"]
    true = world.timeline.changes
    group = match([c.time_s for c in true if c.scope == "group"], _times(changes, "group"))
    individual = np.zeros(3)
    for participant, i in rows.items():
        own = [c.time_s for c in true if c.scope == "individual" and c.members == (i,)]
        individual += match(own, _times([e for e in changes if e.participants == (participant,)], "individual"))
    return {"events_group": tuple(group), "events_individual": tuple(individual.tolist())}


def _times(events: Iterable[object], scope: str) -> list[float]:
    return [event.time_s for event in events if event.data["scope"] == scope]  # type: ignore[attr-defined]


def match(true: Sequence[float], said: Sequence[float]) -> tuple[float, float, float]:
    """Found, missed and false: pairs one to one, not farther apart than 2 s, as many as there can be.

    The engine dates changes in whole seconds, and so are the true ones. The earliest of both are paired first.
    """
    left, right = sorted(int(t) for t in true), sorted(said)
    found, at = 0, 0
    for time_s in left:
        while at < len(right) and right[at] < time_s - TOGETHER_S:
            at += 1
        if at < len(right) and right[at] <= time_s + TOGETHER_S:
            found, at = found + 1, at + 1
    return float(found), float(len(left) - found), float(len(right) - found)


def _polarised(world: World, said: Observed) -> dict[str, tuple[float, ...]]:
    """Polarised stretches found and all; seconds of a group that is one in which it was called split, and all.

    Seconds soon after a change of the truth are left out of the latter: what holds 5 s is known 5 s later.
    """
    true = world.polarised
    edges = np.flatnonzero(np.diff(true, prepend=-2) != 0)
    found = n_stretches = 0
    settled = np.ones(len(true), dtype=np.bool_)
    for start, end in zip(edges, [*edges[1:], len(true)], strict=True):
        settled[start : start + REACTION_S] = False
        if true[start] == 1 and end - start >= EPISODE_S:
            n_stretches += 1
            found += bool(said.polarised[start + REACTION_S : end].mean() >= 0.5)  # noqa: PLR2004 (half)
    one = (true == 0) & settled
    return {
        "polarised_found": (float(found), float(n_stretches)),
        "polarised_false": (float((said.polarised & one).sum()), float(one.sum())),
    }


def _engagement(world: World, said: Observed) -> dict[str, tuple[float, ...]]:
    """Seconds after three minutes: unengaged ones called so and all; engaged ones called unengaged and all."""
    late = (world.felt != NOBODY) & (np.arange(world.n_seconds) >= KNOWN_AFTER_S)
    faint = np.array([member.kind == 0 for member in world.timeline.members])[:, None]
    out = said.state == UNENGAGED

    def share(of: Bool) -> tuple[float, ...]:
        return float((out & of).sum()), float(of.sum())

    return {
        "unengaged_found": share(late & ~world.engaged),
        "engaged_excluded": share(late & world.engaged),
        "faint_engaged_excluded": share(late & world.engaged & faint),
    }


def _labels(world: World, said: Observed) -> dict[str, tuple[float, ...]]:
    """Of the first member, whose face is sad at rest: labels that are right and all; labels given and all seconds."""
    given = (said.label[0] != NOBODY) & (world.felt[0] != NOBODY)
    right = given & (said.label[0] == world.felt[0])
    # How often their own face is read right, for comparison.
    read = (said.top[0] != NOBODY) & (world.felt[0] != NOBODY)
    return {
        "labels_right": (float(right.sum()), float(given.sum())),
        "labels_given": (float(given.sum()), float((world.felt[0] != NOBODY).sum())),
        "resting_read_right": (float((said.top[0] == world.felt[0])[read].sum()), float(read.sum())),
    }


def _significant(name: str, said: Observed, members: NDArray[np.bool_]) -> dict[str, tuple[float, ...]]:
    """Members significantly in step with the others and all who could be tested, every three minutes."""
    at = np.arange(KNOWN_AFTER_S - 1, said.p_value.shape[1], KNOWN_AFTER_S)
    p_value = said.p_value[:, at][members[:, at]]
    known = p_value[~np.isnan(p_value)]
    return {name: (float((known < 0.05).sum()), float(len(known)))}  # noqa: PLR2004 (the level of algorithm 8)
