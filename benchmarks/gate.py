"""What the gate lets through, of labels that are good, bad or absurd: `python benchmarks/gate.py [--people 200] [--workers 1]`.

Each person is a member of a simulated call of a quarter of an hour, one face of the bank a second, who makes one attempt at
its end. The labels are made of what the member felt, in a way of their own for each sort of people:

- `good`: the truth, but for one of six stretches, as the group's labels are in simulated calls.
- `misread`: the same; the face looks sad at rest, and is confidently called so.
- `misread_noise`: that face, and two of five labels of another class. `misread_random`: that face, any class for each stretch.
- `noise`: two of five labels of another class.
- `random`: any class for each stretch. `shuffled`: the good labels, their stretches exchanged.
- `renamed`: every class called by another's name, always.
- `one_renamed`: the good labels, one class always called sad: nothing but a person can tell this from a face that is misread.

`before` counts who would be let through if all changes of confident readings counted; `now` who is; `worse` and `better` are
those of `now` whose accuracy on the truth, on the judged part, is surely worse by more than a point, or surely better.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np

from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.params import Params, load_params
from daemon.simulate.personal import BLOCK_S, gain_interval
from daemon.simulate.timeline import Plan
from daemon.simulate.workers import in_workers
from daemon.simulate.world import NOBODY, World, make_world
from models.manifest import find_entry
from models.personal.gate import DEFAULT_GATE
from models.personal.heads import Arms, generic_arms
from models.personal.learners import GROUP_ALONE, HeadLearner, Weighting
from models.personal.pooled import pooled_silhouette
from models.personal.samples import Origin, Samples
from models.personal.training import Job, train_and_judge
from pipeline.emotions import EMOTIONS, N_EMOTIONS
from pipeline.metrics import I64

SECONDS: Final = 900
STRETCH_WRONG: Final = 1 / 6
NOISE: Final = 0.4
SURE: Final = 0.8
"""What a label gives to its largest class; the group's do about as much."""
SAD: Final = EMOTIONS.index("sadness")
RESTING_NATS: Final = 5.0
_STREAM: Final = 31


@dataclass(frozen=True, slots=True)
class Sort:
    """People of one sort: how they are labelled, and how strongly their face looks sad at rest, in nats."""

    labels: Callable[[I64, np.random.Generator], I64]
    resting_nats: float = 0.0


def good(felt: I64, rng: np.random.Generator) -> I64:
    """The truth, but for some stretches."""
    stretch, classes = _stretches(felt), np.unique(felt)
    wrong = rng.random(stretch[-1] + 1) < STRETCH_WRONG
    said = rng.choice(classes, size=len(wrong))
    return np.where(wrong[stretch], said[stretch], felt)


def noise(felt: I64, rng: np.random.Generator) -> I64:
    """Some labels of another class, one by one."""
    other = (felt + rng.integers(1, N_EMOTIONS, size=len(felt))) % N_EMOTIONS
    return np.where(rng.random(len(felt)) < NOISE, other, felt)


def anything(felt: I64, rng: np.random.Generator) -> I64:
    """Any class for each stretch."""
    stretch = _stretches(felt)
    return np.asarray(rng.choice(np.unique(felt), size=stretch[-1] + 1)[stretch])


def shuffled(felt: I64, rng: np.random.Generator) -> I64:
    """The truth, its stretches exchanged."""
    stretch = _stretches(felt)
    return np.asarray(rng.permutation(felt[np.unique(stretch, return_index=True)[1]])[stretch])


def renamed(felt: I64, rng: np.random.Generator) -> I64:
    """Every class by another's name, in a ring of all that there are."""
    ring = rng.permutation(np.unique(felt))
    other = np.arange(N_EMOTIONS)
    other[ring] = np.roll(ring, 1)
    return np.asarray(other[felt])


def one_renamed(felt: I64, rng: np.random.Generator) -> I64:
    """The good labels, one class always called sad."""
    other = int(rng.choice([c for c in np.unique(felt).tolist() if c != SAD]))
    said = good(felt, rng)
    return np.where(said == other, SAD, said)


SORTS: Final[Mapping[str, Sort]] = {
    "good": Sort(good),
    "misread": Sort(good, RESTING_NATS),
    "misread_noise": Sort(noise, RESTING_NATS),
    "misread_random": Sort(anything, RESTING_NATS),
    "noise": Sort(noise),
    "random": Sort(anything),
    "shuffled": Sort(shuffled),
    "renamed": Sort(renamed),
    "one_renamed": Sort(one_renamed),
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One person's attempt: let through before and now, surely worse or better on the truth, and what was excused."""

    before: bool
    now: bool
    worse: bool
    better: bool
    n_confident: int
    n_excused: int
    n_flipped: int


def _stretches(felt: I64) -> I64:
    """(n,) number of the stretch of one class that each second is in."""
    return np.cumsum(np.concatenate([[0], felt[1:] != felt[:-1]]))


@cache
def _bank_here() -> Bank:
    return load_bank()


@cache
def _generic_here() -> Arms:
    return generic_arms()


@cache
def _params(resting_nats: float) -> Params:
    """One frame a second, with a first member who looks sad at rest as strongly as that."""
    values = load_params().model_dump()
    values["call"] = {"seconds": SECONDS, "frames_per_second": 1}
    values["members"]["number"] = (2, 2)
    values["members"]["resting"]["strength_nats"] = (resting_nats, resting_nats)
    return Params.model_validate(values)


def samples_of(world: World, bank: Bank, params: Params, label: Callable[[I64], I64]) -> tuple[Samples, I64]:
    """The first member's samples as the group would label them, and what was felt in these seconds."""
    own = world.shown[0]
    rows = np.flatnonzero(own.read & (world.felt[0] != NOBODY))
    pixel, landmark = (arm[rows] for arm in own.embeddings(bank, params))
    felt = world.felt[0][rows].astype(np.int64)
    n = len(rows)
    target = np.full((n, N_EMOTIONS), (1 - SURE) / (N_EMOTIONS - 1))
    target[np.arange(n), label(felt)] = SURE
    return Samples(
        time_s=rows.astype(np.float64),
        pixel=pixel,
        landmark=np.where(own.mesh[rows, None], landmark, np.float32(np.nan)),
        interpretable=np.full((n, 51), np.nan, dtype=np.float32),
        target=target,
        confidence=np.full(n, SURE),
        quality=own.quality[rows],
        origin=np.full(n, Origin.GROUP, dtype=np.uint8),
    ), felt


def tried(name: str, person: int, weight: float) -> Tried:
    """What becomes of a person of a sort, whose labels weigh so much."""
    sort, bank = SORTS[name], _bank_here()
    params = _params(sort.resting_nats)
    plan = Plan(types=("homogeneous",), resting="sadness" if sort.resting_nats else None, everybody_stays=True)
    world = make_world(params, bank, person, plan, stream=_STREAM)
    rng = np.random.default_rng([person, list(SORTS).index(name), _STREAM])
    samples, felt = samples_of(world, bank, params, lambda felt: sort.labels(felt, rng))
    generic = _generic_here()
    learner = HeadLearner(generic, alone=Weighting(group=weight))
    models = find_entry("pixel").sha256, find_entry("landmark").sha256
    pooled = partial(pooled_silhouette, models, n_components=DEFAULT_GATE.n_components)
    verdict, _ = train_and_judge(samples, Job("head", 0, models), personal=learner, generic=generic, pooled=pooled)
    figures = verdict.figures
    if figures is None:
        return Tried(before=False, now=False, worse=False, better=False, n_confident=0, n_excused=0, n_flipped=0)
    others = tuple(reason for reason in verdict.reasons if "confident generic readings" not in reason)
    n_changed, n_sure = figures.n_flipped + figures.n_excused, figures.n_confident + figures.n_excused
    later = samples.time_s >= samples.time_s[-1] / 2
    right = [p.predict_proba(samples.take(later)).argmax(axis=1) == felt[later] for p in (learner, generic)]
    low, high = gain_interval(
        right[0].astype(np.float64) - right[1], (samples.time_s[later] // BLOCK_S).astype(np.int64), person
    )
    return Tried(
        before=not others and n_changed <= DEFAULT_GATE.max_flipped * n_sure,
        now=verdict.passed,
        worse=high < -0.01,  # noqa: PLR2004 (a point)
        better=low > 0,
        n_confident=n_sure,
        n_excused=figures.n_excused,
        n_flipped=figures.n_flipped,
    )


def figures_of(each: list[Tried]) -> dict[str, Any]:
    """Counts of people, of those let through, and shares of their sure readings."""
    n_sure = sum(one.n_confident for one in each)
    return {
        "people": len(each),
        "before": sum(one.before for one in each),
        "now": sum(one.now for one in each),
        "newly": sum(one.now and not one.before for one in each),
        "no_longer": sum(one.before and not one.now for one in each),
        "before_worse": sum(one.before and one.worse for one in each),
        "worse": sum(one.now and one.worse for one in each),
        "better": sum(one.now and one.better for one in each),
        "newly_better": sum(one.now and not one.before and one.better for one in each),
        "changed_of_confident": round(sum(one.n_flipped + one.n_excused for one in each) / max(n_sure, 1), 4),
        "excused_of_confident": round(sum(one.n_excused for one in each) / max(n_sure, 1), 4),
    }


def main() -> None:
    """Every sort, as JSON."""
    parser = argparse.ArgumentParser(description="What the gate lets through, of good labels, bad and absurd ones.")
    parser.add_argument("--people", type=int, default=200, help="of each sort")
    parser.add_argument("--first", type=int, default=0, help="number of the first person")
    parser.add_argument("--sort", action="append", choices=list(SORTS), help="only these")
    parser.add_argument(
        "--weight", type=float, default=GROUP_ALONE.group, help="of a label; the more, the more changes"
    )
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    result = {}
    for name in options.sort or SORTS:
        works = [partial(tried, name, options.first + person, options.weight) for person in range(options.people)]
        result[name] = figures_of(in_workers(works, options.workers, lambda _: None))
        print(name, json.dumps(result[name]), file=sys.stderr, flush=True)
    told = {
        "sorts": result,
        "weight": options.weight,
        "resting_nats": RESTING_NATS,
        "seconds": SECONDS,
        "machine": platform.processor(),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
