"""The report's figures over time, one participant's and the group's, and the panels they are made of."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final

import polars as pl

from daemon.report.tables import GROUP_TYPES, MEASURES, Happening, Tables
from daemon.report.timeline import (
    FAINT,
    INK,
    MAX_LINES,
    ON_PALETTE,
    PALETTE,
    PEOPLE,
    Figure,
    Panel,
    Timeline,
    Values,
    instant,
    ms,
    runs_of_flags,
    runs_of_seconds,
    stack,
)
from pipeline.emotions import EMOTIONS

LABEL_SHARE: Final = 0.09
"""A run of one class is labelled in the picture from this share of the whole time on."""
MAX_NAMED: Final = 3
"""So many participants are named where one points at an event."""
ABSTAINED_SHARE: Final = 0.5
"""A bin of several seconds is hatched where the models abstained in half of those that were read."""
HATCHED: Final = {"shape": "/", "size": 5, "solidity": 0.25, "fgcolor": INK, "bgcolor": "rgba(255,255,255,0.45)"}
TYPE_COLOURS: Final = {
    "unengaged": "#D55E00",
    "engaged": "#9ECAE1",
    "synchronous": "#4292C6",
    "homogeneous": "#08519C",
}
"""From the loosest to the closest group: orange stands apart, the others darken."""
STATE_SHADES: Final = (("unengaged", 0, "#D55E00"), ("unknown", 1, "#D9D9D9"), ("engaged", 2, "#0072B2"))
SORTS: Final = {
    "group change": "diamond",
    "individual change": "circle-open",
    "dismissed as noise": "x-thin-open",
    "group type": "square-open",
    "polarised": "star",
    "joined or left": "triangle-right",
    "other": "line-ns-open",
}
"""Lanes of the events, and their signs."""
SORT_OF_KIND: Final = {
    "dismissed": "dismissed as noise",
    "group_type_changed": "group type",
    "polarised": "polarised",
    "participant_joined": "joined or left",
    "participant_left": "joined or left",
}
ROWS_PX: Final = 400
"""Height of a heat map of many people, so that the group stays on one page of paper."""


def participant_figure(tables: Tables, participant: str, timeline: Timeline) -> Figure:
    """Probabilities with abstained seconds hatched, coverage and quality, and the weights of the two models."""
    read = pl.col(EMOTIONS[0]).is_not_null()
    rows = tables.of(participant).with_columns(pl.when(read).then(pl.col("abstain")))
    values = timeline.means(rows, [*EMOTIONS, "weight_landmark", "abstain"])
    own = [h for h in tables.happenings if h.kind == "change" and participant in h.participants]
    return stack(
        [
            probabilities_panel("probability" + timeline.means_of, values, timeline, changes=own),
            _coverage_panel(rows, timeline.coarser()),
            _weights_panel(values["weight_landmark"], timeline),
        ],
        timeline,
    )


def group_figure(tables: Tables, timeline: Timeline) -> Figure | None:
    """The group's emotion, its dominant classes, each member's deviation, and the events; None without any."""
    group = tables.group
    panels: list[Panel] = []
    for prefix, title in (("p_", "probability"), ("denoised_", "probability, denoised")):
        names = [prefix + name for name in EMOTIONS]
        values = timeline.means(group, names)
        if any(p is not None for p in values[names[0]]):
            plain = {name: values[prefix + name] for name in EMOTIONS}
            panels.append(probabilities_panel(title + timeline.means_of, plain, timeline, changes=()))
    dominant = {name: group.filter(pl.col("dominant").list.contains(name))["second"].to_list() for name in EMOTIONS}
    panels += lanes_panel("dominant", dominant, colour=lambda name: PALETTE[name])
    types = dict(group.drop_nulls("type").group_by("type", maintain_order=True).agg("second").iter_rows())
    # The closest group is the uppermost lane.
    types = {name: types[name] for name in (*reversed(GROUP_TYPES), *types) if name in types}
    panels += lanes_panel("group type", types, colour=lambda name: TYPE_COLOURS.get(name, FAINT))
    panels += _engagement_panel(tables, timeline.coarser())
    panels += _deviation_panel(tables, timeline.coarser())
    panels += _measures_panel(group, timeline.coarser())
    panels += _events_panel(tables.happenings)
    return stack(panels, timeline) if panels else None


def probabilities_panel(
    title: str, values: Mapping[str, Values], timeline: Timeline, changes: Sequence[Happening]
) -> Panel:
    """Stacked shares: gaps where nothing was read, hatched where the models abstained, changes above."""
    traces = [
        {
            **timeline.steps(values[name]),
            "type": "scatter",
            "mode": "none",
            "name": name,
            "stackgroup": title,
            "stackgaps": "infer zero",
            "line": {"shape": "hv"},
            "fillcolor": PALETTE[name],
            "hovertemplate": "%{text}",
        }
        for name in EMOTIONS
    ]
    abstained: Values = [float(share is not None and share >= ABSTAINED_SHARE) for share in values.get("abstain", [])]
    if any(abstained):
        area = {"type": "scatter", "mode": "none", "name": "abstained", "fill": "tozeroy", "hoverinfo": "skip"}
        traces.append(timeline.steps(abstained) | area | {"line": {"shape": "hv"}, "fillpattern": HATCHED})
    for scope, symbol in (("individual", "circle-open"), ("group", "diamond")):
        here = [change for change in changes if change.scope == scope]
        if here:
            traces.append(_marks(here, [1.09] * len(here), symbol, f"{scope} change"))
    axis = {"range": [0, 1.18 if changes else 1], "tickvals": [0, 0.5, 1], "ticktext": ["0", "0.5", "1"]}
    return Panel(title, 168, traces, axis, _run_labels(values, timeline))


def _run_labels(values: Mapping[str, Values], timeline: Timeline) -> list[dict[str, Any]]:
    """Names written on long runs of a class, so that nobody has to know the colours."""
    rows = list(zip(*(values[name] for name in EMOTIONS), strict=True))
    known = [[p or 0.0 for p in row] for row in rows]
    tops = [-1 if row[0] is None else max(range(len(EMOTIONS)), key=known[i].__getitem__) for i, row in enumerate(rows)]
    texts = []
    for index, name in enumerate(EMOTIONS):
        for begin, end in runs_of_flags([top == index for top in tops]):
            if end - begin < LABEL_SHARE * timeline.n_bins:
                continue
            below = sum(sum(row[:index]) for row in known[begin:end]) / (end - begin)
            own = sum(row[index] for row in known[begin:end]) / (end - begin)
            x = instant((timeline.edge(begin) + timeline.edge(end)) / 2)
            texts.append(
                {"x": x, "y": round(below + own / 2, 3), "text": name, "font": {"size": 11, "color": ON_PALETTE[name]}}
            )
    for begin, end in runs_of_flags([top < 0 for top in tops]):
        if end - begin >= LABEL_SHARE * timeline.n_bins:
            x = instant((timeline.edge(begin) + timeline.edge(end)) / 2)
            texts.append({"x": x, "y": 0.5, "text": "not read", "font": {"size": 11, "color": FAINT}})
    return texts


def _coverage_panel(rows: pl.DataFrame, timeline: Timeline) -> Panel:
    """Share of frames that were read, as an area, and how far they can be trusted, as a line."""
    values = timeline.means(rows, ["coverage", "quality"])
    area = timeline.steps(values["coverage"]) | {"name": "coverage", "mode": "none", "fill": "tozeroy"}
    area["fillcolor"] = "#B8C0CC"
    line = timeline.steps(values["quality"]) | {"name": "quality", "mode": "lines"}
    curves = [
        curve | {"type": "scatter", "line": {"shape": "hv", "width": 1, "color": INK}, "hovertemplate": "%{y:.2f}"}
        for curve in (area, line)
    ]
    axis = {"range": [0, 1.05], "tickvals": [0, 1], "ticktext": ["0", "1"]}
    return Panel("coverage (area) and quality (line)" + timeline.means_of, 34, curves, axis)


def _weights_panel(landmark: Values, timeline: Timeline) -> Panel:
    """How the two models share one reading: the border between them is the landmark model's weight."""
    curve = {
        **timeline.steps(landmark),
        "type": "scatter",
        "name": "weight of landmarks",
        "mode": "lines",
        "fill": "tozeroy",
        "fillcolor": "#E8ECF2",
        "line": {"shape": "hv", "width": 1.5, "color": INK},
        "hovertemplate": "%{y:.2f}",
    }
    known = [i for i, weight in enumerate(landmark) if weight is not None]
    x = instant(timeline.edge(known[0]) if known else timeline.first)
    style = {"xanchor": "left", "xshift": 4, "font": {"size": 10, "color": INK}}
    texts = [{"x": x, "y": y, "text": text, **style} for y, text in ((0.15, "landmarks"), (0.87, "pixels")) if known]
    axis = {"range": [0, 1], "tickvals": [0, 0.5, 1], "ticktext": ["0", "0.5", "1"]}
    return Panel("weights of the two models", 56, [curve], axis, texts)


def lanes_panel(title: str, lanes: Mapping[str, Sequence[int]], colour: Callable[[str], str]) -> list[Panel]:
    """A row for each name with any second, a bar over every run of its seconds."""
    traces: list[dict[str, Any]] = []
    for name, seconds in lanes.items():
        x: list[str | None] = []
        y: list[str | None] = []
        for begin, end in runs_of_seconds(seconds):
            x += [instant(begin), instant(end), None]
            y += [escape(name), escape(name), None]
        line = {"color": colour(name), "width": 9}
        if x:
            curve = {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}
            traces.append(curve | {"name": escape(name)})
    if not traces:
        return []
    names = [trace["name"] for trace in reversed(traces)]
    axis = {"type": "category", "categoryarray": names, "range": [-0.6, len(names) - 0.4], "showgrid": False}
    return [Panel(title, 16 * len(names), traces, axis)]


def _deviation_panel(tables: Tables, timeline: Timeline) -> list[Panel]:
    """Euclidean distance of each member's distribution to the group's: lines, or rows when there are many."""
    long = tables.group.select("second", "deviation").explode("deviation").drop_nulls().unnest("deviation").drop_nulls()
    members = [p for p in tables.participants if p in set(long["participant"].to_list())]
    if not members:
        return []
    series = {p: timeline.means(long.filter(pl.col("participant") == p), ["value"])["value"] for p in members}
    if len(tables.participants) > MAX_LINES:
        return [_deviation_rows(series, timeline)]
    traces = []
    for participant, values in series.items():
        colour, dash = PEOPLE[tables.participants.index(participant)]
        line = {"color": colour, "dash": dash, "width": 1.3}
        curve = {"type": "scatter", "mode": "lines", "line": line, "hovertemplate": "%{y:.2f}"}
        traces.append(timeline.steps(values) | curve | {"name": escape(participant)})
    title = f"distance of each member from the group{timeline.means_of}"
    return [Panel(title, 120, traces, {"rangemode": "tozero", "nticks": 4})]


def _deviation_rows(series: Mapping[str, Values], timeline: Timeline) -> Panel:
    """The same as a heat map, dark is far."""
    furthest = max(value for values in series.values() for value in values if value is not None)
    grid = {
        "type": "heatmap",
        "x0": instant(timeline.first + timeline.width / 2),
        "dx": ms(timeline.width),
        "y": [escape(participant) for participant in series],
        "z": list(series.values()),
        "zmin": 0,
        "zmax": furthest,
        "colorscale": [[0, "#F7F7F7"], [0.5, "#9AA5B1"], [1, "#1A1A1A"]],
        "showscale": False,
        "hovertemplate": "%{y}: %{z:.2f}<extra></extra>",
    }
    axis = {"type": "category", "autorange": "reversed", "dtick": 1, "showgrid": False}
    row_px = max(8, min(14, ROWS_PX // len(series)))
    title = f"distance of each member from the group (light: 0, black: {furthest:.2f}){timeline.means_of}"
    return Panel(title, row_px * len(series), [grid], axis | {"tickfont": {"size": row_px - 1}})


def _engagement_panel(tables: Tables, timeline: Timeline) -> list[Panel]:
    """A row per member: engaged, not known yet, or unengaged; of a bin of several seconds what it was most."""
    rows = tables.group.select("second", "engagement").explode("engagement").drop_nulls("engagement")
    rows = rows.unnest("engagement").filter(pl.col("state").is_in([state for state, _, _ in STATE_SHADES]))
    members = [p for p in tables.participants if p in set(rows["participant"].to_list())]
    if not members:
        return []
    codes = {state: float(code) for state, code, _ in STATE_SHADES}
    coded = rows.with_columns(pl.col("state").replace_strict(codes).alias("code"))
    binned = coded.group_by("participant", timeline.bin()).agg(pl.col("code").mode().max())
    grid: dict[str, Values] = {member: [None] * timeline.n_bins for member in members}
    for participant, place, code in binned.iter_rows():
        grid[participant][place] = code
    edges = [place / 3 for place in range(4)]
    scale = [[edges[code + end], colour] for _, code, colour in STATE_SHADES for end in (0, 1)]
    trace = {
        "type": "heatmap",
        "x0": instant(timeline.first + timeline.width / 2),
        "dx": ms(timeline.width),
        "y": [escape(member) for member in members],
        "z": list(grid.values()),
        "zmin": -0.5,
        "zmax": 2.5,
        "ygap": 1,
        "colorscale": scale,
        "showscale": False,
        "text": [["" if code is None else STATE_SHADES[int(code)][0] for code in grid[member]] for member in members],
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    row_px = max(8, min(16, ROWS_PX // len(members)))
    axis = {"type": "category", "autorange": "reversed", "dtick": 1, "showgrid": False}
    title = "engagement (blue: engaged, grey: not known yet, orange: unengaged)"
    return [Panel(title, row_px * len(members), [trace], axis | {"tickfont": {"size": min(11, row_px - 1)}})]


def _measures_panel(group: pl.DataFrame, timeline: Timeline) -> list[Panel]:
    """Synchrony, homogeneity and polarisation, those that are known."""
    known = [name for name in MEASURES if group[name].null_count() < group.height]
    if not known:
        return []
    curves = timeline.means(group, known)
    dashes = dict(zip(MEASURES, ("solid", "dash", "dot"), strict=True))
    traces = [
        timeline.steps(curves[name])
        | {"type": "scatter", "mode": "lines", "name": name, "line": {"color": INK, "width": 1.3, "dash": dashes[name]}}
        for name in known
    ]
    return [Panel(", ".join(f"{name} ({dashes[name]})" for name in known), 100, traces, {"nticks": 4})]


def _events_panel(happenings: Sequence[Happening]) -> list[Panel]:
    """A lane and a sign for each sort of event."""
    used = sorted_happenings(happenings)
    if not used:
        return []
    traces = [_marks(here, [name] * len(here), SORTS[name], name) for name, here in used.items()]
    axis = {"type": "category", "categoryarray": [*reversed(used)], "range": [-0.7, len(used) - 0.3]}
    return [Panel("events", 20 * len(used), traces, axis)]


def sorted_happenings(happenings: Sequence[Happening]) -> dict[str, list[Happening]]:
    """Events by lane, in the order of `SORTS`, without empty lanes."""
    sorts: dict[str, list[Happening]] = {name: [] for name in SORTS}
    for happening in happenings:
        sort = f"{happening.scope} change" if happening.kind == "change" else SORT_OF_KIND.get(happening.kind, "other")
        sorts.get(sort, sorts["other"]).append(happening)
    return {name: here for name, here in sorts.items() if here}


def _marks(happenings: Sequence[Happening], y: Sequence[float | str], symbol: str, name: str) -> dict[str, Any]:
    """Signs at the times of events; pointing at one says what happened."""
    filled = symbol == "diamond"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [instant(happening.second) for happening in happenings],
        "y": list(y),
        "text": [escape(f"{what(happening)} {who(happening, MAX_NAMED)}".strip()) for happening in happenings],
        "marker": {
            "symbol": ["triangle-left" if h.kind == "participant_left" else symbol for h in happenings],
            "size": 10 if filled else 8,
            "color": INK,
            # White rims keep neighbours apart where there are many.
            "line": {"width": 1, "color": "#FFFFFF"} if filled else {"width": 1.3},
        },
        "hovertemplate": "%{text}<extra></extra>",
        "cliponaxis": False,
    }


def who(happening: Happening, limit: int) -> str:
    """So many of the participants by their pseudonyms, and how many more."""
    named, more = happening.participants[:limit], len(happening.participants[limit:])
    return ", ".join(named) + (f" and {more} more" if more else "")


def what(happening: Happening) -> str:
    """An event in words, without who."""
    data = dict(happening.data)
    if happening.kind == "change":
        sort = f"{happening.scope or 'unknown'} change"
        return f"{sort}: {data.get('from', '?')} → {data.get('to', '?')}"
    turn = ""
    if {"from", "to"} <= data.keys():
        turn = f"{_said(data.pop('from'))} → {_said(data.pop('to'))}"
    details = ", ".join([*([turn] if turn else []), *(f"{key} {_said(value)}" for key, value in data.items())])
    return happening.kind.replace("_", " ") + (f": {details}" if details else "")


def _said(value: object) -> str:
    """A value in words: lists as their items, `not known yet` for nothing."""
    if isinstance(value, list):
        inner = [f"({_said(item)})" if isinstance(item, list) else _said(item) for item in value]
        return ", ".join(inner)
    if isinstance(value, float):
        return f"{value:.2f}"
    return "not known yet" if value is None else str(value)
