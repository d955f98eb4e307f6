"""What personal heads are worth in simulated calls whose truth is known, where labels are good and where they are wrong.

Every call goes through the real engine once; its labels, or what is made of them, then train each member's heads
(`daemon.simulate.personal_course`). Judged is the later half of the call, on what the members really felt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from daemon.personal_files import PersonalSettings
from daemon.simulate.bank import Bank
from daemon.simulate.labelled import Heard, Material, Told, hear, material_of
from daemon.simulate.params import Params
from daemon.simulate.personal_course import GENERIC, Course, learn, taught, workshop
from daemon.simulate.steps import ALL
from daemon.simulate.timeline import Bool, Plan
from daemon.simulate.world import NOBODY, World, make_world
from models.personal.comparison import drawn_blocks
from pipeline.call import CallSettings
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS

SECONDS: Final = 1800
"""Of a call: the trigger wants samples in 44 tens of seconds, and the later half must be left to judge."""
BLOCK_S: Final = 30
"""Drawn together by the bootstrap: about as long as an expression lasts."""
N_RESAMPLES: Final = 1000
NOISE: Final = 0.4
LEAST_S: Final = 10
"""A class that a member feels for less is left out of the correlation."""

_TOGETHER: Final = Plan(types=("homogeneous",), unengaged=0, resting="sadness", everybody_stays=True)
"""The groups of GROUP, section 5: "group members are evenly engaged throughout"."""
_SOME_APART: Final = replace(_TOGETHER, unengaged=None)
_APART: Final = Plan(types=("synchronous", "engaged", "unengaged"), resting="sadness", everybody_stays=True)
_UNCHECKED: Final = replace(
    ALL,
    afterwards=replace(
        ALL.afterwards,
        labels=replace(ALL.afterwards.labels, alike=1.0, least_others=2, confidence=0.3, held_share=0.0, least_s=1),
    ),
)
"""Labels even where the others do not agree: what algorithm 9 is there to prevent."""

Labels = Callable[[Material, np.random.Generator], tuple[Told, ...]]


def as_told(material: Material, _rng: np.random.Generator) -> tuple[Told, ...]:
    """The group's."""
    return material.labels


def true(material: Material, _rng: np.random.Generator) -> tuple[Told, ...]:
    """What the member felt, in the seconds that the group labels: as good as labels can be, for comparison."""
    return tuple(
        replace(told, target=np.eye(N_EMOTIONS)[felt])
        for told in material.labels
        if (felt := int(material.felt[told.second])) != NOBODY
    )


def noisy(material: Material, rng: np.random.Generator) -> tuple[Told, ...]:
    """The group's, of which each, with probability `NOISE`, is turned into one for another class."""
    labels = []
    for told in material.labels:
        target = told.target
        if rng.random() < NOISE:
            top = int(target.argmax())
            other = (top + int(rng.integers(1, N_EMOTIONS))) % N_EMOTIONS
            target = target.copy()
            target[[top, other]] = target[[other, top]]
        labels.append(replace(told, target=target))
    return tuple(labels)


def everything(material: Material, _rng: np.random.Generator) -> tuple[Told, ...]:
    """What the member felt in every second, group or no group."""
    return tuple(
        Told(second, second, np.eye(N_EMOTIONS)[felt], 1.0)
        for second, felt in enumerate(material.felt.tolist())
        if felt != NOBODY
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """A way to be labelled. emotions: shares of the group's emotions, None: those of the parameters.

    ungated: one head, taught all labels of the first half as a person's, reads the later half whatever it is like.
    """

    call: str
    labels: Labels
    plan: Plan = _TOGETHER
    engine: CallSettings = ALL
    emotions: Mapping[str, float] | None = None
    ungated: bool = False


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "homogeneous": Scenario("homogeneous", as_told),
    "true_labels": Scenario("homogeneous", true),
    "ceiling": Scenario("homogeneous", everything, ungated=True),
    "label_noise": Scenario("homogeneous", noisy),
    "heterogeneous": Scenario("heterogeneous", as_told, plan=_APART, engine=_UNCHECKED),
    "some_unengaged": Scenario("some_unengaged", as_told, plan=_SOME_APART),
    "one_emotion": Scenario(
        "one_emotion",
        as_told,
        emotions=dict.fromkeys(EMOTIONS, 0.0) | {"happiness": 0.94, "neutral": 0.03, "surprise": 0.03},
    ),
}
"""`call` names the call: of one name and seed it is the same."""

CALLS: Final[Mapping[str, int]] = {"homogeneous": 9, "some_unengaged": 5, "heterogeneous": 6, "one_emotion": 7}
"""The stream of random numbers of each."""
_LABEL_STREAM: Final = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one member. accuracy, correlation: of what is published in the later half, generic and personal.

    low, high: 95 % interval of the gain in accuracy, paired over blocks of time. attempts, promoted, rolled_back: how often.
    served: share of the later half that a personal head read. labels_right: share of labels whose largest class is the truth.
    """

    seed: int
    engaged: bool
    resting: bool
    n: int
    labels: int
    labels_right: float | None
    attempts: int
    promoted: int
    rolled_back: int
    served: float
    accuracy: tuple[float, float]
    correlation: tuple[float, float]
    low: float
    high: float
    reasons: tuple[str, ...]


def measure_call(
    params: Params,
    bank: Bank,
    call: str,
    seed: int,
    *,
    seconds: int = SECONDS,
    settings: PersonalSettings = PersonalSettings(),  # noqa: B008 (frozen)
) -> dict[str, list[Outcome]]:
    """Every member of this seed's call of a name of `CALLS`, by the scenarios that are played in it."""
    shop = workshop(settings)
    played = {name: scenario for name, scenario in SCENARIOS.items() if scenario.call == call}
    world, heard = _call(params, bank, seed, next(iter(played.values())), seconds)
    noise = {name: np.random.default_rng([seed, _LABEL_STREAM]) for name in played}
    found: dict[str, list[Outcome]] = {name: [] for name in played}
    for member in range(len(world.participants)):
        material = material_of(world, heard, member, bank, params)
        for name, scenario in played.items():
            labels = scenario.labels(material, noise[name])
            if scenario.ungated:
                course = taught(material, labels, shop)
            else:
                with TemporaryDirectory(prefix="attuned-") as folder:
                    course = learn(material, labels, shop, Path(folder))
            found[name].append(outcome(material, labels, course, seed))
    return found


def _call(params: Params, bank: Bank, seed: int, scenario: Scenario, seconds: int) -> tuple[World, Heard]:
    values: dict[str, Any] = {"call": params.call.model_copy(update={"seconds": seconds})}
    if scenario.emotions is not None:
        values["group"] = params.group.model_copy(update={"emotions": scenario.emotions})
    world = make_world(params.model_copy(update=values), bank, seed, scenario.plan, stream=CALLS[scenario.call])
    return world, hear(world, scenario.engine)


def outcome(material: Material, labels: tuple[Told, ...], course: Course, seed: int) -> Outcome:
    """The figures of one member."""
    second = np.arange(material.n_seconds)
    judged = (second >= material.n_seconds // 2) & (material.felt != NOBODY) & np.isfinite(material.generic).all(axis=1)
    truth = material.felt[judged].astype(np.int64)
    generic, personal = material.generic[judged], course.shown[judged]
    right = [p.argmax(axis=1) == truth for p in (generic, personal)]
    low, high = gain_interval(right[1].astype(np.float64) - right[0], second[judged] // BLOCK_S, seed)
    known = [(told.target.argmax(), material.felt[told.second]) for told in labels]
    return Outcome(
        seed=seed,
        engaged=material.engaged,
        resting=material.resting,
        n=len(truth),
        labels=len(labels),
        labels_right=float(np.mean([a == b for a, b in known])) if known else None,
        attempts=len(course.verdicts),
        promoted=sum(verdict.passed for _, verdict in course.verdicts),
        rolled_back=len(course.rolled_back),
        served=float((course.head[judged] != GENERIC).mean()),
        accuracy=(float(right[0].mean()), float(right[1].mean())),
        correlation=(correlation(truth, generic), correlation(truth, personal)),
        low=low,
        high=high,
        reasons=tuple(reason for _, verdict in course.verdicts for reason in verdict.reasons),
    )


def correlation(truth: np.ndarray[Any, np.dtype[np.int64]], p: F64) -> float:
    """Pearson correlation over time of (n, 7) probabilities with what is felt, mean over the classes felt long enough.

    The criterion of GROUP, section 5, against the truth in place of the group; nan where no class comes and goes.
    """
    each = []
    for c in range(N_EMOTIONS):
        felt = truth == c
        if LEAST_S <= felt.sum() < len(felt):
            still = p[:, c].std() == 0
            each.append(0.0 if still else float(np.corrcoef(felt, p[:, c])[0, 1]))
    return float(np.mean(each)) if each else float("nan")


def gain_interval(gain: F64, block: np.ndarray[Any, np.dtype[np.int64]], seed: int) -> tuple[float, float]:
    """95 % interval of the mean of (n,) paired gains, by the bootstrap over blocks of time."""
    _, member = np.unique(block, return_inverse=True)
    drawn = drawn_blocks(int(member.max()) + 1, n_resamples=N_RESAMPLES, seed=seed)
    means = (drawn @ np.bincount(member, weights=gain)) / (drawn @ np.bincount(member))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def masks(outcomes: list[Outcome]) -> dict[str, Bool]:
    """Who is better, not better, and surely worse by more than a point: the words of the figures."""
    gain = np.array([o.correlation[1] - o.correlation[0] for o in outcomes])
    return {
        "better": gain > 0,
        "better_accuracy": np.array([o.accuracy[1] > o.accuracy[0] for o in outcomes]),
        "surely_better": np.array([o.low > 0 for o in outcomes]),
        "worse": np.array([o.high < -0.01 for o in outcomes]),  # noqa: PLR2004 (a point)
        "promoted": np.array([o.promoted > 0 for o in outcomes]),
    }
