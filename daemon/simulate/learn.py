"""`python -m daemon.simulate.learn`: fits the learned weights on simulated calls (GROUP, section 7).

The faces of these calls are what the shipped models say of validation faces, which neither model was trained on. What is
minimised is the Brier score of the fused second, Σ |truth - p_px - w (p_lm - p_px)|²: of w it is a parabola, so that
each stretch has a weight that is best, in closed form, and tells how much depends on it.
"""

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from config.errors import ConfigError
from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.observe import Observed, observe
from daemon.simulate.params import Params, load_params
from daemon.simulate.steps import ADAPTIVE
from daemon.simulate.world import NOBODY, World, make_world
from models.errors import ModelError
from models.manifest import WEIGHTS, find_entry
from models.weighing import write_weights
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.fusion import AdaptiveWeights, mean_changes
from pipeline.learned_weights import FEATURES, ArmStatistics, WeightModel, fit
from pipeline.types import SecondReading

FIRST_SEED: Final = 2000
"""Seeds from here on are learned from; figures are told of those from 0 on."""
N_SEEDS: Final = 24
AHEAD_S: Final = 60
"""A weight is for what comes: it is judged by so many seconds after the features were taken."""
RIDGE: Final = 10.0

Row = tuple[F64, float, float]
"""(7,) features, the weight that would have been best, and how much depends on it."""


class Watching(AdaptiveWeights):
    """The rule of GROUP, section 4.3, that remembers what a learned one would have been asked."""

    def __init__(self) -> None:
        super().__init__(ADAPTIVE.fusion)
        self._statistics = ArmStatistics()
        self._second = 0
        self.asked: list[tuple[str, int, F64]] = []
        """Of whom, in which second, (7,) features."""

    def observe(self, second: int, readings: Sequence[SecondReading]) -> None:
        """Takes what both arms said in a second."""
        self._second = second
        self._statistics.add(second, readings)

    def update(self, changes_per_minute: Mapping[str, float], engaged: Collection[str]) -> None:
        """Notes everybody's features, and does as the rule says."""
        super().update(changes_per_minute, engaged)
        mean = mean_changes(changes_per_minute, engaged)
        for who, count in changes_per_minute.items() if mean is not None else ():
            features = self._statistics.features(who, count, mean or 0.0)
            if features is not None:
                self.asked.append((who, self._second, features))


def rows_of(world: World) -> Iterator[Row]:
    """What a call teaches."""
    watching = Watching()
    said = observe(world, ADAPTIVE, watching)
    for who, second, features in watching.asked:
        best = best_weight(world, said, world.participants.index(who), second + 1)
        if best is not None:
            yield features, *best


def best_weight(world: World, said: Observed, member: int, start: int) -> tuple[float, float] | None:
    """The weight with the least Brier score in the `AHEAD_S` seconds from `start` on, and how curved the score is there.

    None where both arms never differ in them, or nothing is known.
    """
    ahead = slice(start, start + AHEAD_S)
    pixel, landmark, felt = said.pixel[member, ahead], said.landmark[member, ahead], world.felt[member, ahead]
    known = np.isfinite(pixel).all(axis=1) & np.isfinite(landmark).all(axis=1) & (felt != NOBODY)
    truth = np.eye(N_EMOTIONS)[felt[known]]
    apart = landmark[known] - pixel[known]
    curved = float((apart**2).sum())
    return (float((apart * (truth - pixel[known])).sum()) / curved, curved) if curved > 0 else None


def learn(params: Params, bank: Bank, seeds: Sequence[int], console: Console) -> tuple[WeightModel, int]:
    """The regression fitted on the calls of some seeds, and on how many rows."""
    rows = [
        row
        for seed in track(seeds, "simulated calls", console=console, transient=True, disable=not console.is_terminal)
        for row in rows_of(make_world(params, bank, seed))
    ]
    if not rows:
        msg = "the simulated calls are too short to learn from; give parameters with calls of some minutes"
        raise ConfigError([msg])
    features, targets, importance = (np.array(column) for column in zip(*rows, strict=True))
    # Rows of the same importance as the average one count as one row against the penalty.
    return fit(features, targets, importance=importance / importance.mean(), ridge=RIDGE), len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command: 0 done, 1 a model is missing, 2 unusable parameters."""
    parser = argparse.ArgumentParser(prog="python -m daemon.simulate.learn", description=__doc__)
    parser.add_argument("--params", type=Path, help="YAML of the simulated groups; those that come with attuned")
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help=f"how many calls (default {N_SEEDS})")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help=f"the first seed (default {FIRST_SEED})")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for weights.json; that of the shipped models")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.first < 0:
        parser.error("--seeds, --first: expected at least one seed, none below 0")
    console = Console(stderr=True)
    try:
        params, bank = load_params(options.params), load_bank()
        seeds = range(options.first, options.first + options.seeds)
        model, n_rows = learn(params, bank, seeds, console)
        models = (find_entry("pixel").sha256, find_entry("landmark").sha256)
        source = {"seeds": [seeds[0], seeds[-1]], "rows": n_rows, "parameters": params.model_dump(mode="json")}
        path = write_weights(options.out, model, models=models, learned_from=source)
    except ConfigError as error:
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        return 2
    except ModelError as error:
        console.print(str(error), style="red", highlight=False, soft_wrap=True)
        return 1
    console.print(f"{path}: {n_rows} rows", highlight=False, soft_wrap=True)
    for name, coefficient in zip(FEATURES, model.coefficients.tolist(), strict=True):
        console.print(f"{name:26}{coefficient:+.4f}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
