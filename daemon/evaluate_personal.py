"""`attuned evaluate personal`: generic against personal models on data that a user brings, and the table of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from daemon.errors import UnusableInputError
from daemon.personal_material import Progress, read_manifest, read_material
from models.evaluation.affect import evaluate_affect
from models.evaluation.curves import ENOUGH_OF_GAIN, learning_curves
from models.evaluation.folds import SPLITS
from models.evaluation.personal import evaluate_personal
from models.personal.catalogue import LEARNERS
from models.personal.heads import generic_arms


def measure_personal(
    manifest: Path,
    learners: Sequence[str] = (),
    *,
    split: str = "rolling",
    min_per_class: int | None = None,
    seed: int = 0,
    curves: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The object of `--json`: that of `evaluate_personal`, and `affect` where valence and arousal are given.

    `curves` adds those of `models.evaluation.curves`, of the head.

    Raises:
        UnusableInputError: There is no such learner or split; the manifest, or a file that it names, cannot be used.
        ModelError: A model that comes with attuned is missing or damaged.
    """
    for given, known, option in ((tuple(learners), LEARNERS, "--learner"), ((split,), tuple(SPLITS), "--split")):
        for name in given:
            if name not in known:
                msg = f"{option} {name}: choose from {', '.join(known)}"
                raise UnusableInputError(msg)
    rows = read_manifest(manifest)
    generic = generic_arms()
    material = read_material(rows, progress)
    wanted = tuple(dict.fromkeys(learners)) or LEARNERS
    # Several threads of BLAS on matrices this small wait for each other more than they work.
    with threadpool_limits(1):
        result = evaluate_personal(
            material, wanted, generic, split=split, min_per_class=min_per_class, seed=seed, progress=progress
        )
        if curves:
            result["curves"] = learning_curves(
                material, generic, split=split, min_per_class=min_per_class, seed=seed, progress=progress
            )
        rated = np.isfinite(material.ratings).all(axis=1)
        if rated.any():
            result["affect"] = evaluate_affect(material.take(rated), generic, seed=seed)
    return result


def format_personal(result: Mapping[str, Any]) -> str:
    """A table like PERSONAL, Table 2, a line per person, and the summary; shares in per cent."""
    learners = list(result["summary"])
    width = max([7, *(len(name) for name in result["subjects"])])
    lines = [
        f"{'UAR, generic > personal':{width + 2}}" + "".join(f"{learner:>22}" for learner in learners),
    ]
    for name, of in result["subjects"].items():
        cells = [
            f"{_percent(of[key]['generic']['uar'])} > {_percent(of[key]['personal']['uar'])} ({of[key]['personal']['n']})"
            if key in of
            else "-"
            for key in learners
        ]
        lines.append(f"{name:{width + 2}}" + "".join(f"{cell:>22}" for cell in cells))
    lines.append("")
    for learner, found in result["summary"].items():
        if not found["n_subjects"]:
            lines.append(f"{learner}: nobody to judge")
            continue
        low, high = found["mean_gain_ci95"]
        interval = f" ({100 * low:+.1f} to {100 * high:+.1f})" if low is not None else ""
        lines.append(
            f"{learner}: better for {found['better']} of {found['n_subjects']}, worse for {found['worse']}; "
            f"mean gain {100 * found['mean_gain']:+.1f} points{interval}; McNemar p = {found['p_value']:.2g}"
        )
    for method, found in result.get("curves", {}).items():
        point = found["enough"]
        told = "no gain" if point is None else f"{point['samples']:.0f} samples ({100 * point['fraction']:.0f} %)"
        lines.append(f"{100 * ENOUGH_OF_GAIN:.0f} % of the head's gain, samples taken by {method}: {told}")
    for name, axes in result.get("affect", {}).get("summary", {}).items():
        lines.append(f"{name}: " + "; ".join(f"{key} {value}" for key, value in axes.items()))
    lines += [f"left out: {line['what']} ({line['n']}): {line['reason']}" for line in result["excluded"]]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
