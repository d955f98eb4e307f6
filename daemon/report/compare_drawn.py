"""Figures of a comparison: the search for the offset, the models' correlations, and each pair over time."""

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from daemon.report.align import Alignment
from daemon.report.figures import probabilities_panel
from daemon.report.paired import COMPARED, MEAN, Paired
from daemon.report.pictures import CORRELATION, Picture, heat, legend, plain, stacked
from daemon.report.tables import Tables
from daemon.report.timeline import FAINT, FONT, GRID, INK, MAX_POINTS, Figure, Timeline, stack
from pipeline.emotions import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MAX_PAIRS: Final = 6
"""So many pairs are drawn below each other."""
NAMES: Final = (
    "compare_pairs",
    "compare_correlation",
    "compare_diagonal",
    "compare_offset",
    *(f"compare_{name}_{side}" for name in ("agreement", "confusion", "complementarity") for side in "ab"),
)
"""All that may be there."""


def common_timeline(a: Tables, b: Tables, offset_s: int) -> Timeline:
    """Both recordings on A's time."""
    first = min(a.first, b.first - offset_s)
    end = max(a.first + a.n_seconds, b.first + b.n_seconds - offset_s)
    return Timeline(first, end - first, max(1, -(-(end - first) // MAX_POINTS)))


def on_a_time(b: Tables, participant: str, offset_s: int) -> pl.DataFrame:
    """Seconds of a participant of B as A counts them."""
    return b.of(participant).with_columns(pl.col("second") - offset_s)


def pair_figure(a: Tables, b: Tables, names: tuple[str, str], offset_s: int) -> Figure:
    """The same person in A and in B, below each other on A's time."""
    timeline = common_timeline(a, b, offset_s)
    panels = []
    for title, rows in (("A", a.of(names[0])), ("B", on_a_time(b, names[1], offset_s))):
        values = timeline.means(rows, EMOTIONS)
        panels.append(probabilities_panel(f"{title}: probability{timeline.means_of}", values, timeline, changes=()))
    return stack(panels, timeline)


def search_figure(alignment: Alignment) -> Figure:
    """How well the pairs go together at each offset; the one that was taken is marked."""
    best = float(alignment.scores[alignment.offsets == alignment.offset_s][0])
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": alignment.offsets.tolist(),
        "y": alignment.scores.round(3).tolist(),
    }
    mark = {"type": "scatter", "mode": "markers", "x": [alignment.offset_s], "y": [round(best, 3)]}
    layout = {
        "height": 220,
        "margin": {"l": 112, "r": 16, "t": 16, "b": 44},
        "font": {"family": FONT, "size": 11, "color": INK},
        "paper_bgcolor": "#FFFFFF",
        "plot_bgcolor": "#FFFFFF",
        "showlegend": False,
        "xaxis": {"title": {"text": "offset of B in seconds"}, "gridcolor": GRID, "zeroline": False},
        "yaxis": {"title": {"text": "sum of r √n"}, "gridcolor": GRID, "rangemode": "tozero", "fixedrange": True},
    }
    traces = [line | {"line": {"color": FAINT, "width": 1}}, mark | {"marker": {"color": "#D55E00", "size": 10}}]
    return {"data": traces, "layout": layout}


def compare_pictures(a: Tables, b: Tables, paired: Paired, alignment: Alignment) -> list[Picture]:
    """What can be drawn of two recordings."""
    pictures = [_pairs(a, b, alignment), _correlation(paired), _diagonal(paired)]
    if len(alignment.offsets) > 1:
        pictures.append(_offset(alignment))
    return pictures


def _pairs(a: Tables, b: Tables, alignment: Alignment) -> Picture:
    """Each pair over time."""
    timeline = common_timeline(a, b, alignment.offset_s).coarser()
    titles, series, tables = [], [], []
    for pair in alignment.pairs:
        names = (a.participants[pair.a], b.participants[pair.b])
        sides = {"A": a.of(names[0]), "B": on_a_time(b, names[1], alignment.offset_s)}
        for (side, rows), name in zip(sides.items(), names, strict=True):
            values = timeline.means(rows, EMOTIONS)
            titles.append(f"{side}: {name}")
            series.append(values)
            seconds = {"second_of_a": [timeline.edge(i) for i in range(timeline.n_bins)]}
            whose = {"recording": [side] * timeline.n_bins, "participant": [name] * timeline.n_bins}
            tables.append(pl.DataFrame(whose | seconds | values, schema_overrides=dict.fromkeys(EMOTIONS, pl.Float64)))
    n_drawn = 2 * min(len(alignment.pairs), MAX_PAIRS)

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(n_drawn, 1, sharex=True, squeeze=False)[:, 0]
        for axes, title, values in zip(panels, titles[:n_drawn], series[:n_drawn], strict=True):
            stacked(axes, values, timeline)
            axes.set_title(plain(title), loc="left", fontsize=9, color=INK)
        panels[-1].set_xlabel("time in A", fontsize=8)
        legend(canvas)

    some = f"The first {MAX_PAIRS} of {len(alignment.pairs)} pairs; the data hold all. "
    note = f"{some if len(alignment.pairs) > MAX_PAIRS else ''}White: no face was read.{timeline.means_of.replace(', m', ' M')}"
    height = 1.4 + 1.05 * n_drawn
    return Picture("compare_pairs", "The same people in A and in B over time", height, draw, pl.concat(tables), note)


def _correlation(paired: Paired) -> Picture:
    """Fig. 1 of GROUP."""
    rows = [
        {"model": model, "in_a": EMOTIONS[i], "in_b": EMOTIONS[j], "correlation": value}
        for model, table in paired.correlation.items()
        for (i, j), value in np.ndenumerate(table)
    ]

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(1, len(COMPARED))
        for axes, (model, words) in zip(panels, COMPARED.items(), strict=True):
            image = heat(axes, paired.correlation[model], EMOTIONS, EMOTIONS, scale=CORRELATION)
            axes.set_aspect("equal")
            axes.set_xlabel("B", fontsize=9)
            axes.set_ylabel("A", fontsize=9)
            axes.set_title(words, fontsize=10)
        canvas.colorbar(image, ax=panels, location="bottom", shrink=0.3, aspect=30, label="Pearson correlation")

    title = f"How the emotions in A and in B go together ({max(paired.n.values())} seconds)"
    note = "Each person's own mean is subtracted first. A dash: one of the two never moves."
    return Picture("compare_correlation", title, 4.7, draw, pl.DataFrame(rows).fill_nan(None), note)


def _diagonal(paired: Paired) -> Picture:
    """Correlation of each emotion with itself, by model, with intervals."""
    shades = dict(zip(COMPARED.values(), ("#E69F00", "#56B4E9", INK), strict=True))
    names = [*EMOTIONS, MEAN]

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for place, (words, shade) in enumerate(shades.items()):
            own = {figure.other: figure for figure in paired.diagonal if figure.one == words}
            for y, name in enumerate(names):
                figure, at = own[name], y + (place - 1) * 0.22
                if not np.isnan(figure.ci95[0]):
                    axes.plot(figure.ci95, [at, at], color=shade, linewidth=2)
                axes.plot(
                    [figure.value], [at], "osD"[place], color=shade, markersize=6, label=words if y == 0 else None
                )
        axes.axvline(0, color=FAINT, linewidth=0.8)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("correlation of A with B", fontsize=9)
        axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        canvas.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)

    note = "Bars: 95 % intervals, blocks of 10 s drawn with replacement; none where there is too little to tell."
    return Picture("compare_diagonal", "How alike each emotion is in A and B", 5.6, draw, paired.table(), note)


def _offset(alignment: Alignment) -> Picture:
    """The search for the offset."""

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        axes.plot(alignment.offsets, alignment.scores, color=FAINT, linewidth=1)
        best = alignment.offsets == alignment.offset_s
        axes.plot(alignment.offsets[best], alignment.scores[best], "o", color="#D55E00")
        axes.set_xlabel("offset of B in seconds", fontsize=9)
        axes.set_ylabel("sum of r √n over the pairs", fontsize=9)
        axes.grid(visible=True, color=GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)

    data = pl.DataFrame({"offset_s": alignment.offsets, "score": alignment.scores})
    title = f"How well the pairs go together at each offset: best at {alignment.offset_s:+d} s"
    return Picture("compare_offset", title, 3.4, draw, data)
