"""The pictures of the personal report, as they lie in `figures/`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from daemon.report.curves_drawn import curve_table, draw_curves
from daemon.report.pictures import CORRELATION, Picture
from daemon.report.portrait import BeforeAfter, Portrait
from daemon.report.timeline import FAINT, GRID, INK, PALETTE
from models.evaluation.portrait import Components, CurvePoint, Importances
from models.personal.selection import Method
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.interpretable import NAMES as FEATURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAMES: Final = ("before_after", "curves", "components", "feature_correlation", "importances")
"""All that may be there; which are depends on what is known."""
GENERIC_COLOUR: Final = "#0072B2"
PERSONAL_COLOUR: Final = "#D55E00"
ENOUGH: Final = 0.95
N_IMPORTANCES: Final = 25
GAP_S: Final = 60.0
"""Judged samples that are further apart than this have a line between them."""
MARKERS: Final = dict(zip(EMOTIONS, ("s", "P", "X", "o", "v", "^", "D"), strict=True))
GROUPS: Final = (
    ("gaze", "gaze", 5),
    ("eyes", "eye", 5),
    ("pose", "pose", 6),
    ("AU intensity", "_r", 17),
    ("AU presence", "_c", 18),
)
GROUP_COLOURS: Final = dict(
    zip((name for name, _, _ in GROUPS), ("#CC79A7", "#56B4E9", "#6B7280", "#D55E00", "#E69F00"), strict=True)
)
"""The groups of the 51 features in their order: name, sign in the names of the columns, how many."""


def personal_pictures(portrait: Portrait) -> list[Picture]:
    """What can be drawn of a person."""
    pictures = []
    if portrait.before_after is not None:
        pictures.append(_before_after(portrait.before_after))
    if portrait.curves:
        pictures.append(_curves(portrait.curves))
    pictures.append(_components(portrait))
    if np.isfinite(portrait.correlations).any():
        pictures.append(_correlations(portrait.correlations))
    if portrait.importances is not None:
        pictures.append(_importances(portrait.importances))
    return pictures


def _before_after(found: BeforeAfter) -> Picture:
    """GROUP, Fig. 9: what the generic and the personal head say where the label is known, a panel per class."""
    shown = [c for c in range(N_EMOTIONS) if (found.target.argmax(axis=1) == c).any() or _speaks(found, c)]
    at = np.arange(len(found.time_s))
    gaps = np.flatnonzero(np.diff(found.time_s) > GAP_S) + 0.5

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, c in zip(panels, shown, strict=True):
            edges = np.append(at, len(at)) - 0.5
            axes.stairs(found.target[:, c], edges, fill=True, color="#E0E3E8", label="label")
            axes.plot(at, found.generic[:, c], color=GENERIC_COLOUR, linewidth=1.1, label="generic head")
            axes.plot(
                at, found.personal[:, c], color=PERSONAL_COLOUR, linewidth=1.1, label=f"personal head ({found.name})"
            )
            for gap in gaps:
                axes.axvline(gap, color=FAINT, linewidth=0.6, linestyle=":")
            axes.set_title(EMOTIONS[c], loc="left", fontsize=9, color=INK)
            axes.set_ylim(-0.02, 1.02)
            axes.set_xlim(-0.5, len(at) - 0.5)
            axes.set_yticks([0, 0.5, 1])
            axes.tick_params(labelsize=8)
            axes.grid(visible=True, color=GRID, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        panels[-1].set_xlabel("judged seconds, in order of time", fontsize=8)
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)

    columns: dict[str, F64] = {"time_s": found.time_s}
    for name, values in (("label", found.target), ("generic", found.generic), ("personal", found.personal)):
        columns |= {f"{name}_{emotion}": values[:, c] for c, emotion in enumerate(EMOTIONS)}
    note = "Seconds later than all that the personal head learnt from. Dotted lines: more than a minute lies between."
    title = f"Before and after: {len(at)} seconds that neither head had seen"
    return Picture("before_after", title, 1.8 + 1.05 * len(shown), draw, pl.DataFrame(columns), note)


def _speaks(found: BeforeAfter, c: int) -> bool:
    """Whether a head says it often enough to be worth a panel."""
    return bool(max(found.generic[:, c].mean(), found.personal[:, c].mean()) > 0.1)  # noqa: PLR2004 (more than a tenth)


def _curves(curves: Mapping[Method, Sequence[CurvePoint]]) -> Picture:
    """TRANSFER, Fig. 6, for one person."""
    lines: dict[str, list[tuple[float, float, float, float, float]]] = {
        m: [(p.fraction, float(p.n), p.gain, p.low, p.high) for p in points] for m, points in curves.items()
    }
    enough: dict[str, float] = {
        method: reached for method, points in curves.items() if (reached := _enough(points)) is not None
    }

    def draw(canvas: "Canvas") -> None:
        draw_curves(canvas.subplots(1, len(lines), sharey=True), lines, enough)

    n = next(iter(curves.values()))[-1].n
    note = (
        f"Of {n} earlier samples; bands: 95 % intervals over blocks of time; dashed: random selection; dotted: from here on "
        f"{ENOUGH:.0%} of the full gain."
    )
    return Picture("curves", "How many samples a head of this person needs", 3.6, draw, curve_table(lines), note)


def _enough(points: Sequence[CurvePoint]) -> float | None:
    """The fraction from which on 95 % of the full gain are reached; None where there is no gain."""
    full = points[-1].gain
    good = [point.gain >= ENOUGH * full for point in points]
    return next(p.fraction for k, p in enumerate(points) if all(good[k:])) if full > 0 else None


def _components(portrait: Portrait) -> Picture:
    """PERSONAL, Fig. 3: the classes on the first two principal components, of both kinds of features."""
    panels_of = {
        "the 51 interpretable features": portrait.interpretable,
        "what the models see (embeddings)": portrait.embedded,
    }

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(1, 2)
        for axes, (words, found) in zip(panels, panels_of.items(), strict=True):
            _scatter(axes, found)
            axes.set_title(words, fontsize=10, color=INK)
        seen = {c: name for c, name in enumerate(EMOTIONS) if (portrait.samples.label == c).any()}
        handles = [_dot(name, int((portrait.samples.label == c).sum())) for c, name in seen.items()]
        canvas.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)

    tables = []
    for words, found in panels_of.items():
        tables.append(
            pl.DataFrame(
                {
                    "features": [words] * len(found.label),
                    "first": found.scores[:, 0],
                    "second": found.scores[:, 1],
                    "label": [EMOTIONS[c] for c in found.label],
                }
            )
        )
    note = "Classes that lie apart can be learnt; where they lie upon each other, a personal model has little to gain."
    return Picture("components", "What this face looks like when it shows what", 5.4, draw, pl.concat(tables), note)


def _scatter(axes: "Axes", found: Components) -> None:
    """A sign and a colour per class; the rare ones on top."""
    counts = np.bincount(found.label, minlength=N_EMOTIONS)
    for c in np.argsort(-counts):
        rows = found.label == c
        name = EMOTIONS[c]
        if rows.any():
            axes.scatter(
                found.scores[rows, 0],
                found.scores[rows, 1],
                s=24,
                marker=MARKERS[name],
                color=PALETTE[name],
                edgecolors=INK,
                linewidths=0.35,
                alpha=0.8,
            )
    axes.set_xlabel(f"first component, {100 * found.shares[0]:.0f} % of the variance", fontsize=8)
    axes.set_ylabel(f"second component, {100 * found.shares[1]:.0f} %", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _dot(name: str, n: int) -> "object":
    """An entry of the key."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    return Line2D(
        [],
        [],
        linestyle="",
        marker=MARKERS[name],
        markerfacecolor=PALETTE[name],
        markeredgecolor=INK,
        markeredgewidth=0.5,
        markersize=7,
        label=f"{name} ({n})",
    )


def _correlations(table: F64) -> Picture:
    """PERSONAL, Fig. 2."""
    from matplotlib import colormaps  # noqa: PLC0415

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        name, low, high = CORRELATION
        colours = colormaps[name].with_extremes(bad="#EEEEEE")
        image = axes.imshow(table, cmap=colours, vmin=low, vmax=high)
        axes.set_xticks(range(len(FEATURES)), FEATURES, fontsize=5.5, rotation=90)
        axes.set_yticks(range(len(FEATURES)), FEATURES, fontsize=5.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        at = 0
        for group, _, n in GROUPS:
            axes.axhline(at - 0.5, color="white", linewidth=1.6)
            axes.axvline(at - 0.5, color="white", linewidth=1.6)
            axes.text(len(FEATURES) + 0.2, at + n / 2 - 0.5, group, fontsize=7, va="center", color=INK)
            at += n
        canvas.colorbar(image, ax=axes, shrink=0.6, label="Pearson correlation", pad=0.1)

    rows = [
        {"row": FEATURES[i], "column": FEATURES[j], "correlation": value} for (i, j), value in np.ndenumerate(table)
    ]
    note = "Grey: a feature that never changes in these samples."
    title = "Which features of this face move together"
    return Picture("feature_correlation", title, 8.6, draw, pl.DataFrame(rows).fill_nan(None), note)


def _importances(found: Importances) -> Picture:
    """PERSONAL, Fig. 6."""
    order = np.argsort(-found.mean, kind="stable")
    shown = order[:N_IMPORTANCES]

    def draw(canvas: "Canvas") -> None:
        from matplotlib.patches import Patch  # noqa: PLC0415

        axes = canvas.subplots()
        colours = [GROUP_COLOURS[_group_of(FEATURES[k])] for k in shown]
        axes.barh(range(len(shown)), found.mean[shown], color=colours, height=0.72)
        axes.axvline(found.noise, color=INK, linewidth=1, linestyle="--")
        axes.text(found.noise, len(shown) + 0.25, "  a column of noise", fontsize=8, color=INK, va="center")
        axes.set_yticks(range(len(shown)), [FEATURES[k] for k in shown], fontsize=8)
        axes.set_ylim(len(shown) + 0.9, -0.6)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlabel("impurity-based importance; all sum to 1", fontsize=8)
        patches = [Patch(facecolor=colour, label=name) for name, colour in GROUP_COLOURS.items()]
        canvas.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=8)

    data = pl.DataFrame(
        {
            "feature": [FEATURES[k] for k in order],
            "importance": found.mean[order],
            "deviation_between_trees": found.deviation[order],
            "noise": [found.noise] * len(order),
        }
    )
    note = f"The first {len(shown)} of {len(FEATURES)}. Impurity favours features of many values, so AU presences may be worth more than they seem."
    title = f"By which features a random forest tells this person's expressions apart ({found.n} samples)"
    return Picture("importances", title, 6.2, draw, data, note)


def _group_of(feature: str) -> str:
    """The group of a column."""
    return next(name for name, sign, _ in GROUPS if feature.startswith(sign) or feature.endswith(sign))
