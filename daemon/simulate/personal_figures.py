"""`attuned simulate --personal`: the figures of personal heads in simulated calls, with intervals over seeds."""

import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.checks import at_least, at_most
from daemon.simulate.params import Params, load_params
from daemon.simulate.personal import BLOCK_S, CALLS, SCENARIOS, SECONDS, Outcome, masks, measure_call
from daemon.simulate.workers import in_workers
from models.personal.comparison import drawn_blocks
from pipeline.emotions import F64

SCHEMA: Final = "attuned/simulate-personal/1"
N_RESAMPLES: Final = 2000
_SEED: Final = 21
_TOGETHER: Final = ("homogeneous", "some_unengaged")
_WRONG: Final = ("label_noise", "heterogeneous", "one_emotion")

Measured = dict[str, list[Outcome]]
"""The members of a call, by the scenarios that were played in it."""
Progress = Callable[[Sequence[Measured], int], None]
Parts = Callable[[Outcome], tuple[float, float]]
"""What a member adds to both sides of a ratio."""


def _is(name: str) -> Parts:
    """A share of the members."""
    return lambda o: (float(masks([o])[name][0]), 1.0)


def _mean(of: Callable[[Outcome], float | None]) -> Parts:
    """A mean over the members of whom it is known."""

    def parts(o: Outcome) -> tuple[float, float]:
        value = of(o)
        return (0.0, 0.0) if value is None or not np.isfinite(value) else (value, 1.0)

    return parts


FIGURES: Final[dict[str, Parts]] = {
    "better": _is("better"),
    "better_accuracy": _is("better_accuracy"),
    "surely_better": _is("surely_better"),
    "worse": _is("worse"),
    "promoted": _is("promoted"),
    "correlation_generic": _mean(lambda o: o.correlation[0]),
    "correlation_personal": _mean(lambda o: o.correlation[1]),
    # Mean personal correlation less the mean generic one, as a share of that.
    "correlation_gain": lambda o: (
        (o.correlation[1] - o.correlation[0], o.correlation[0]) if np.isfinite(o.correlation[0]) else (0.0, 0.0)
    ),
    "accuracy_generic": _mean(lambda o: o.accuracy[0]),
    "accuracy_personal": _mean(lambda o: o.accuracy[1]),
    "accuracy_gain": _mean(lambda o: o.accuracy[1] - o.accuracy[0]),
    "labels_right": _mean(lambda o: o.labels_right),
    "served": _mean(lambda o: o.served),
    "rolled_back": _mean(lambda o: float(o.rolled_back)),
}
"""Ratios of sums over members: shares (`masks`), means, and the gain in correlation."""

MUST: Final = {
    **{(name, "better"): at_least(0.8) for name in _TOGETHER},
    **{(name, "worse"): at_most(0.05) for name in _TOGETHER},
    **{(name, "correlation_gain"): at_least(0.15) for name in _TOGETHER},
    **{(name, "worse"): at_most(0.05) for name in _WRONG},
}


def simulate_personal(
    params_file: Path | None, n_seeds: int, jobs: int, progress: Progress, *, seconds: int = SECONDS
) -> dict[str, Any]:
    """The figures of seeds 0 to n - 1: `scenarios`, every one of its `members`, `parameters`, `seeds`.

    The same for any number of jobs. progress: is shown the calls that are over, and how many there will be.

    Raises:
        ConfigError: The parameters cannot be used.
        ModelError: The bank is missing or damaged, or not of these models.
        FailedError: A worker process died.
    """
    params = load_params(params_file)
    load_bank()
    works = [partial(_measure, params, call, seed, seconds) for call in CALLS for seed in range(n_seeds)]
    calls = in_workers(works, jobs, lambda over: progress(over, len(works)))
    return figures_of(calls) | {
        "parameters": params.model_dump(mode="json"),
        "call_s": seconds,
        "block_s": BLOCK_S,
        "seeds": n_seeds,
    }


def run_personal_simulation(
    params_file: Path | None, *, n_seeds: int, jobs: int, seconds: int = SECONDS
) -> dict[str, Any]:
    """The same as `simulate_personal`, with a progress bar on stderr, or where that is a file with a line for each call."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulated calls", total=None)

        def progress(over: Sequence[Measured], total: int) -> None:
            bar.update(task, completed=len(over), total=total)
            if not console.is_terminal:
                # Half an hour of work that is cut short should leave something behind.
                sys.stderr.write(f"{len(over)} of {total}: {_line(over[-1])}\n")
                sys.stderr.flush()

        return simulate_personal(params_file, n_seeds, jobs, progress, seconds=seconds)


def _line(call: Measured) -> str:
    """What came of one call, in a line."""
    told = []
    for name, outcomes in call.items():
        found = {key: int(mask.sum()) for key, mask in masks(outcomes).items()}
        counts = ", ".join(f"{found[key]} {key}" for key in ("promoted", "better", "worse"))
        told.append(f"{name} seed {outcomes[0].seed}: {counts} of {len(outcomes)}")
    return "; ".join(told)


def figures_of(measured: Sequence[Measured]) -> dict[str, Any]:
    """Every figure of every scenario: over all members, over those who follow the group, over those who look sad or angry."""
    scenarios: dict[str, Any] = {}
    for name in SCENARIOS:
        calls = [call[name] for call in measured if name in call]
        if not calls:
            continue
        scenarios[name] = {
            "calls": len(calls),
            "members": _figures(name, calls),
            "following": _figures(None, [[o for o in call if o.engaged] for call in calls]),
            "resting": _figures(None, [[o for o in call if o.resting] for call in calls]),
            "reasons": _reasons(calls),
            "each": [_told(o) for call in calls for o in call],
        }
    return {"schema": SCHEMA, "scenarios": scenarios}


def _figures(name: str | None, calls: Sequence[list[Outcome]]) -> dict[str, Any]:
    """Value and interval of each, resampled over the calls."""
    drawn = drawn_blocks(len(calls), n_resamples=N_RESAMPLES, seed=_SEED)
    told: dict[str, Any] = {"n": sum(map(len, calls))}
    for key, parts in FIGURES.items():
        sums = np.array([np.sum([parts(o) for o in call] or [(0.0, 0.0)], axis=0) for call in calls])
        value = float(_ratio(sums.sum(axis=0)))
        resampled = _ratio(drawn @ sums)
        # One call says nothing of others.
        known = resampled[np.isfinite(resampled) & (len(calls) > 1)]
        low, high = np.percentile(known, [2.5, 97.5]).tolist() if len(known) else (float("nan"), float("nan"))
        told[key] = {"value": _rounded(value), "ci95": [_rounded(low), _rounded(high)]}
        if name is not None and (name, key) in MUST:
            must, verdict = MUST[name, key]
            told[key] |= {"must": must, "reached": bool(verdict(value, low, high))}
    return told


def _ratio(sums: F64) -> F64:
    """First over second of (..., 2), nan where that is 0; rounded, for sums round."""
    part, whole = sums[..., 0], sums[..., 1]
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole != 0).round(9)


def _reasons(calls: Sequence[list[Outcome]]) -> dict[str, int]:
    """Why attempts were rejected, by the first words, the most frequent first."""
    kinds: dict[str, int] = {}
    for reason in (reason for call in calls for outcome in call for reason in outcome.reasons):
        kind = next(
            (k for k in ("log-loss", "correlation", "calibration", "it changes", "this face") if k in reason), "too few"
        )
        kinds[kind] = kinds.get(kind, 0) + 1
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def _told(outcome: Outcome) -> dict[str, Any]:
    """A member, without the words of the reasons."""
    return {
        "seed": outcome.seed,
        "engaged": outcome.engaged,
        "resting": outcome.resting,
        "seconds": outcome.n,
        "labels": outcome.labels,
        "labels_right": _rounded(outcome.labels_right),
        "attempts": outcome.attempts,
        "promoted": outcome.promoted,
        "rolled_back": outcome.rolled_back,
        "served": _rounded(outcome.served),
        "accuracy": [_rounded(value) for value in outcome.accuracy],
        "correlation": [_rounded(value) for value in outcome.correlation],
        "accuracy_gain_ci95": [_rounded(outcome.low), _rounded(outcome.high)],
    }


@cache
def _bank_here() -> Bank:
    """The bank, read once in every worker process."""
    return load_bank()


def _measure(params: Params, call: str, seed: int, seconds: int) -> Measured:
    return measure_call(params, _bank_here(), call, seed, seconds=seconds)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)


def format_personal_simulation(result: dict[str, Any]) -> str:
    """A table for people: every scenario, value and interval, what must be and whether it is."""
    lines = []
    for name, scenario in result["scenarios"].items():
        lines.append(f"{name}: {scenario['members']['n']} members, {scenario['following']['n']} follow the group")
        for key in FIGURES:
            cells = [f"{group} {_cell(scenario[group][key])}" for group in ("members", "following", "resting")]
            verdict = scenario["members"][key].get("reached")
            told = "" if verdict is None else f"  must be {scenario['members'][key]['must']}: "
            told += {True: "reached", False: "NOT reached", None: ""}[verdict]
            lines.append(f"  {key:22}" + "  ".join(f"{cell:36}" for cell in cells).rstrip() + told)
        lines.append("  rejected for: " + (", ".join(f"{k} {n}" for k, n in scenario["reasons"].items()) or "nothing"))
    return "\n".join([*lines, f"{result['seeds']} calls of {result['call_s']} s of each sort"])


def _cell(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    low, high = figure["ci95"]
    return f"{figure['value']:+.3f}" + ("" if low is None else f" ({low:+.3f} to {high:+.3f})")
