"""Which method of choosing samples needs the fewest: `docs/selection.png` and a table, from `attuned evaluate personal`.

    attuned evaluate personal DATA/MANIFEST.csv --learner head --curves --json > data.json
    python benchmarks/selection.py data.json … --out docs/selection.png

A row of panels for each file.
"""

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from daemon.report.curves_drawn import Curve, draw_curves
from daemon.report.timeline import INK


def lines_of(result: Mapping[str, Any]) -> dict[str, Curve]:
    """Points of each method."""
    return {
        method: [
            (
                point["fraction"],
                point["samples"],
                point["gain"],
                *(math.nan if end is None else end for end in point["gain_ci95"]),
            )
            for point in found["curve"]
        ]
        for method, found in result["curves"].items()
    }


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One picture of all data sets."""
    with style.context("default"):
        canvas = Figure(figsize=(11, 0.4 + 2.9 * len(results)), dpi=130, layout="constrained")
        for part, (name, result) in zip(
            canvas.subfigures(len(results), 1, squeeze=False)[:, 0], results.items(), strict=True
        ):
            lines = lines_of(result)
            enough = {m: c["enough"]["fraction"] for m, c in result["curves"].items() if c["enough"] is not None}
            first = next(iter(result["curves"].values()))
            n = first["curve"][-1]["samples"]
            part.suptitle(
                f"{name}: {first['n_subjects']} people, {n:.0f} earlier samples on average", fontsize=11, color=INK
            )
            draw_curves(part.subplots(1, len(lines), sharey=True), lines, enough)
        canvas.supxlabel(
            "share of the earlier samples; bands: 95 % intervals over people; dashed: random; dotted: 95 % of the full gain",
            fontsize=8,
        )
        canvas.savefig(path, metadata={"Software": None})


def table(name: str, result: Mapping[str, Any]) -> str:
    """The smallest number of samples that reaches 95 % of the full gain, by method."""
    rows = []
    for method, found in result["curves"].items():
        enough, full = found["enough"], found["curve"][-1]["gain"]
        told = "no gain" if enough is None else f"{enough['samples']:.1f} ({enough['fraction']:.0%})"
        half = next(point for point in found["curve"] if point["fraction"] == 0.1)  # noqa: PLR2004 (a tenth)
        low, high = half["gain_ci95"]
        at = f"{100 * half['gain']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) with {half['samples']:.1f}"
        rows.append(f"{name} {method:7} 95 % at {told:14} of {100 * full:+.1f} points; a tenth: {at}")
    return "\n".join(rows)


def main() -> None:
    """Draws and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    results = {path.stem: json.loads(path.read_text()) for path in given.results}
    draw(results, given.out)
    print("\n".join(table(name, result) for name, result in results.items()))


if __name__ == "__main__":
    main()
