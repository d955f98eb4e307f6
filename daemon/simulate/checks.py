"""The figures of `attuned simulate`: each made from sums over seeds, with an interval, and held against what it must be.

Intervals are 2.5th and 97.5th percentiles over resamples of the seeds; differences of two steps are paired, since both
saw the same calls (Efron 1979, "Bootstrap methods").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from daemon.simulate.measure import FIXED, STEPS, Counts
from daemon.simulate.timeline import KINDS
from daemon.simulate.world import TYPES
from pipeline.emotions import F64

N_RESAMPLES: Final = 2000
_SEED: Final = 20

Figure = Callable[[F64], F64]
"""Of (..., k) sums of counts a figure of shape (...)."""
Verdict = Callable[[float, float, float], bool]
"""Whether value, lower and upper end of the interval are what must be."""


@dataclass(frozen=True, slots=True)
class Check:
    """A figure of the counts named `counts`; `n` is the column, or the columns, whose sum says of how many."""

    counts: str
    figure: Figure
    n: tuple[int, ...] = (-1,)
    must: str | None = None
    verdict: Verdict | None = None


def share(k: int = 0) -> Figure:
    """Column k as a share of the last."""
    return lambda sums: _ratio(sums[..., k], sums[..., -1])


def difference(a: int, b: int) -> Figure:
    """Column b less column a, as a share of the last."""
    return lambda sums: _ratio(sums[..., b] - sums[..., a], sums[..., -1])


def saved(a: int, b: int) -> Figure:
    """What part of column a is not in column b."""
    return lambda sums: 1 - _ratio(sums[..., b], sums[..., a])


def against_best(sums: F64) -> F64:
    """Errors of the best of the weights that never change, less those of adaptive ones, as a share of all.

    The best is found on these very errors: no fixed weight chosen beforehand does as well.
    """
    return _ratio(sums[..., 1:-1].min(axis=-1) - sums[..., 0], sums[..., -1])


def best_weight(sums: F64) -> F64:
    """The weight of the landmark arm that, never changed, leaves the fewest errors; the smallest of several."""
    weights: F64 = np.asarray(FIXED, dtype=np.float64)[sums[..., 1:-1].argmin(axis=-1)]
    return weights


def exclusive(only: int) -> Figure:
    """What share of the seconds that either of two reads right only one does; column 1 the first, 2 the second."""
    return lambda sums: _ratio(sums[..., only], sums[..., :3].sum(axis=-1))


def f1(sums: F64) -> F64:
    """2 TP / (2 TP + FN + FP) of found, missed and false ones."""
    return _ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def type_uar(sums: F64) -> F64:
    """Mean recall over the types that the truth has."""
    table = sums.reshape(*sums.shape[:-1], len(TYPES), len(TYPES) + 1)
    found = np.stack([table[..., k, k] for k in range(len(TYPES))], axis=-1)
    recall = _ratio(found, table.sum(axis=-1))
    known = ~np.isnan(recall)
    return _ratio(np.where(known, recall, 0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def _ratio(part: F64, whole: F64) -> F64:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)


def at_least(least: float) -> tuple[str, Verdict]:
    """What must be, and whether it is."""
    return f">= {least}", lambda value, _low, _high: value >= least


def at_most(most: float) -> tuple[str, Verdict]:
    """What must be, and whether it is."""
    return f"<= {most}", lambda value, _low, _high: value <= most


_NOT_WORSE: Final[tuple[str, Verdict]] = ("<= 0", lambda value, _low, _high: value <= 0)
_BETTER: Final[tuple[str, Verdict]] = ("interval above 0", lambda _value, low, _high: low > 0)
_NOT_SURELY_WORSE: Final[tuple[str, Verdict]] = ("interval not below 0", lambda _value, _low, high: high >= 0)
_NO_MORE_THAN_CHANCE: Final[tuple[str, Verdict]] = (
    "<= 0.05 + sampling error",
    lambda _value, low, _high: low <= 0.05,  # noqa: PLR2004 (the level of the test)
)


def _steps(who: str) -> dict[str, Check]:
    """Wrong answers of every step, each against the one before it, and what all of them save."""
    checks = {f"{who}_wrong_{step}": Check(who, share(k)) for k, step in enumerate(STEPS)}
    for k, step in enumerate(STEPS[1:]):
        checks[f"{who}_{step}_against_{STEPS[k]}"] = Check(who, difference(k, k + 1), (-1,), *_NOT_WORSE)
    last = len(STEPS) - 1
    checks[f"{who}_wrong_at_best"] = Check(f"{who}_floor", share())
    checks[f"{who}_errors_saved"] = Check(who, saved(0, last), (0,), *at_least(0.3))
    return checks


CHECKS: Final[Mapping[str, Check]] = {
    **_steps("members"),
    **_steps("group"),
    "group_wrong_cleaned_online": Check("group_online", share(0)),
    "group_wrong_all_online": Check("group_online", share(1)),
    "adaptive_gain_faint": Check("adaptive_faint", difference(1, 0), (-1,), *_BETTER),
    "adaptive_gain_ordinary": Check("adaptive_ordinary", difference(1, 0)),
    "adaptive_gain_exaggerated": Check("adaptive_exaggerated", difference(1, 0), (-1,), *_NOT_SURELY_WORSE),
    **{f"adaptive_against_best_fixed_{kind}": Check(f"weights_{kind}", against_best) for kind in KINDS},
    **{f"best_fixed_weight_{kind}": Check(f"weights_{kind}", best_weight) for kind in KINDS},
    **{f"learned_gain_{kind}": Check(f"learned_{kind}", difference(2, 1)) for kind in (*KINDS, "all")},
    "learned_exclusive": Check("learned_all", exclusive(1)),
    "rule_exclusive": Check("learned_all", exclusive(2)),
    "unengaged_found_in_phases": Check("unengaged_found_in_phases", share()),
    "engaged_excluded_in_phases": Check("engaged_excluded_in_phases", share()),
    "faint_engaged_excluded_in_phases": Check("faint_engaged_excluded_in_phases", share()),
    "unengaged_found": Check("unengaged_found", share(), (-1,), *at_least(0.85)),
    "engaged_excluded": Check("engaged_excluded", share(), (-1,), *at_most(0.05)),
    "faint_engaged_excluded": Check("faint_engaged_excluded", share(), (-1,), *at_most(0.05)),
    "type_uar": Check("type", type_uar, tuple(range(len(TYPES) * (len(TYPES) + 1))), *at_least(0.8)),
    "type_uar_settled": Check("type_settled", type_uar, tuple(range(len(TYPES) * (len(TYPES) + 1)))),
    "type_uar_whole_calls": Check("type_whole_calls", type_uar, tuple(range(len(TYPES) * (len(TYPES) + 1)))),
    "events_group_f1": Check("events_group", f1, (0, 1), *at_least(0.85)),
    "events_individual_f1": Check("events_individual", f1, (0, 1), *at_least(0.75)),
    "polarised_found": Check("polarised_found", share(), (-1,), *at_least(0.9)),
    "polarised_false": Check("polarised_false", share(), (-1,), *at_most(0.05)),
    "synchrony_size": Check("synchrony_size", share(), (-1,), *_NO_MORE_THAN_CHANCE),
    "synchrony_power": Check("synchrony_power", share(), (-1,), *at_least(0.8)),
    "labels_right": Check("labels_right", share(), (-1,), *at_least(0.85)),
    "labels_given": Check("labels_given", share(), (-1,), *at_least(0.5)),
    "resting_read_right": Check("resting_read_right", share()),
}


def type_tables(seeds: Sequence[Counts]) -> dict[str, Any]:
    """Seconds by true and by published type; the last column is that nothing was known."""
    return {
        name: {
            "said": [*TYPES, None],
            "true": list(TYPES),
            "seconds": np.sum([seed[name] for seed in seeds], axis=0).reshape(len(TYPES), -1).astype(int).tolist(),
        }
        for name in ("type", "type_settled", "type_whole_calls")
    }


def mechanisms(seeds: Sequence[Counts]) -> dict[str, Any]:
    """Value, interval, number and verdict of every check, from the counts of each seed."""
    resamples = np.random.default_rng(_SEED).integers(0, len(seeds), size=(N_RESAMPLES, len(seeds)))
    result = {}
    for name, check in CHECKS.items():
        counts = np.array([seed[check.counts] for seed in seeds], dtype=np.float64)
        total = counts.sum(axis=0)
        value = float(check.figure(total))
        drawn = check.figure(counts[resamples].sum(axis=1))
        drawn = drawn[~np.isnan(drawn)]
        low, high = np.percentile(drawn, [2.5, 97.5]).tolist() if len(drawn) else (np.nan, np.nan)
        n = int(total[list(check.n)].sum())
        known = not np.isnan(value)
        result[name] = {
            "value": round(value, 6) if known else None,
            "ci95": [round(low, 6), round(high, 6)] if known else None,
            "n": n,
            "must": check.must,
            "reached": None if check.verdict is None else known and bool(check.verdict(value, low, high)),
        }
    return result
