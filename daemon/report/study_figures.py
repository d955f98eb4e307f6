"""Figures for researchers: adaptive weights against fixed ones (GROUP, Fig. 7), and who moves with whom."""

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
import polars as pl

from daemon.report.figures import lanes_panel, probabilities_panel
from daemon.report.study import Arms, group_means, tops
from daemon.report.tables import Tables
from daemon.report.timeline import FONT, INK, MAX_LINES, PEOPLE, Figure, Panel, Timeline, stack
from pipeline.emotions import EMOTIONS, F64

MAX_NUMBERED: Final = 14
"""Of so many people the cells have room for their numbers."""
SQUARE_PX: Final = 620
"""Side of a heat map of people by people."""
MAX_LANES: Final = 12
"""So many people get a lane of their own where lanes are compared."""


def adaptive_figure(tables: Tables, arms: Arms, timeline: Timeline) -> Figure:
    """Everybody's mean with the weights used and with 0.5, the weights, and where most probable classes differ."""
    panels = []
    for title, values in (("with adaptive weights", arms.fused), ("with weights 0.5", arms.fixed)):
        means = timeline.means(group_means(arms, values, EMOTIONS), EMOTIONS)
        panels.append(probabilities_panel(f"mean of everybody {title}{timeline.means_of}", means, timeline, changes=()))
    panels += _weights_of_all(tables, timeline.coarser())
    changed = tops(arms.fused) != tops(arms.fixed)
    lanes = {
        participant: arms.second[changed & (arms.who == number)].tolist()
        for number, participant in enumerate(arms.participants)
    }
    most = sorted((p for p in lanes if lanes[p]), key=lambda p: -len(lanes[p]))[:MAX_LANES]
    title = "seconds whose most probable class differs" + (
        f" (the {MAX_LANES} people with most)" if sum(map(bool, lanes.values())) > MAX_LANES else ""
    )
    panels += lanes_panel(title, {p: lanes[p] for p in arms.participants if p in most}, colour=lambda _: INK)
    return stack(panels, timeline)


def _weights_of_all(tables: Tables, timeline: Timeline) -> list[Panel]:
    """Everybody's weight of the landmark model; for more people than lines the least, the mean and the largest."""
    axis = {"range": [0, 1], "tickvals": [0, 0.5, 1], "ticktext": ["0", "0.5", "1"]}
    title = "weight of the landmark model"
    line = {"type": "scatter", "mode": "lines", "hovertemplate": "%{y:.2f}"}
    if len(tables.participants) > MAX_LINES:
        of_second = tables.seconds.group_by("second")
        weight = pl.col("weight_landmark")
        spread = of_second.agg(weight.min().alias("least"), weight.mean().alias("mean"), weight.max().alias("largest"))
        values = timeline.means(spread, ["least", "mean", "largest"])
        styles = {"least": "dot", "mean": "solid", "largest": "dash"}
        traces = [
            timeline.steps(values[name])
            | line
            | {"name": name, "line": {"shape": "hv", "color": INK, "dash": dash, "width": 1.3}}
            for name, dash in styles.items()
        ]
        return [Panel(f"{title}: least (dotted), mean, largest (dashed)", 70, traces, axis)]
    traces = []
    for (colour, dash), participant in zip(PEOPLE, tables.participants, strict=False):
        values = timeline.means(tables.of(participant), ["weight_landmark"])
        style = {"shape": "hv", "color": colour, "dash": dash, "width": 1.3}
        traces.append(timeline.steps(values["weight_landmark"]) | line | {"name": escape(participant), "line": style})
    return [Panel(title, 70, traces, axis)]


def synchrony_figure(participants: Sequence[str], correlation: F64) -> Figure:
    """A heat map of who moves with whom, blue against and red with each other."""
    names = [escape(participant) for participant in participants]
    z = [
        [None if i == j or np.isnan(value) else round(float(value), 3) for j, value in enumerate(row)]
        for i, row in enumerate(correlation)
    ]
    cell_px = max(11, min(44, SQUARE_PX // len(names)))
    size_px = cell_px * len(names)
    grid = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": z,
        "zmin": -1,
        "zmax": 1,
        "colorscale": [[0, "#2166AC"], [0.25, "#92C5DE"], [0.5, "#F7F7F7"], [0.75, "#F4A582"], [1, "#B2182B"]],
        "colorbar": {"title": {"text": "correlation"}, "thickness": 12, "len": min(1, 160 / size_px + 0.3)},
        "hovertemplate": "%{y} and %{x}: %{z:.2f}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
        "texttemplate": "%{z:.2f}" if len(names) <= MAX_NUMBERED else "",
    }
    axis = {"type": "category", "dtick": 1, "showgrid": False, "tickfont": {"size": min(11, cell_px - 1)}}
    layout = {
        "height": size_px + 130,
        "width": size_px + 240,
        "margin": {"l": 112, "r": 120, "t": 10, "b": 100},
        "font": {"family": FONT, "size": 11, "color": INK},
        "paper_bgcolor": "#FFFFFF",
        "plot_bgcolor": "#FFFFFF",
        "xaxis": axis | {"tickangle": -45 if len(names) <= MAX_NUMBERED else -90, "fixedrange": True},
        "yaxis": axis | {"autorange": "reversed", "fixedrange": True},
    }
    return {"data": [grid], "layout": layout}
