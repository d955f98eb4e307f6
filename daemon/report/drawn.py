"""The pictures of one recording, as they lie in `figures/`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from daemon.report.figures import TYPE_COLOURS, sorted_happenings
from daemon.report.findings import Findings, Synchrony
from daemon.report.judged_drawn import judged_pictures
from daemon.report.pictures import CORRELATION, Picture, heat, legend, plain, ribbon, stacked, time_axis
from daemon.report.study import adaptive_rows, group_means, tops
from daemon.report.tables import GROUP_TYPES, MEASURES, STATES
from daemon.report.timeline import INK, Timeline, Values, runs_of_seconds
from pipeline.emotions import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAMES: Final = (
    "group",
    "participants",
    "engagement",
    "synchrony",
    "models_correlation",
    "models_agreement",
    "adaptive",
    "agreement",
    "complementarity",
    "confusion",
)
"""All that may be there; which are depends on what is known."""
MAX_ROWS: Final = 12
"""So many people are drawn one below the other; the data hold everybody."""
MARKERS: Final = {
    "group change": "D",
    "individual change": "o",
    "dismissed as noise": "x",
    "group type": "s",
    "polarised": "*",
    "joined or left": ">",
    "other": "|",
}
"""Signs of the events, alike to those of the page."""
STATE_COLOURS: Final = {"engaged": "#0072B2", "unengaged": "#D55E00", "unknown": "#D9D9D9"}


def pictures_of(found: Findings) -> list[Picture]:
    """What can be drawn of a recording."""
    pictures = []
    if found.timeline.n_seconds and found.arms.who.size:
        pictures += [_participants(found)]
        if found.tables.group[f"p_{EMOTIONS[0]}"].count():
            pictures += [_group(found)]
        pictures += [_adaptive(found)]
    if found.engagement.height:
        pictures += [_engagement(found)]
    if found.synchrony is not None and found.synchrony.is_known:
        pictures += [_synchrony(found.synchrony, found.tables.participants)]
    if found.likeness.n:
        pictures += [_correlation(found), _agreement_of_models(found)]
    if found.judged is not None:
        pictures += judged_pictures(found.judged)
    return pictures


def _group(found: Findings) -> Picture:
    """The group over time: as it is, denoised, its type, and how strong."""
    timeline, group = found.timeline.coarser(), found.tables.group
    plain_series = [f"p_{name}" for name in EMOTIONS]
    clean = [f"denoised_{name}" for name in EMOTIONS]
    values = timeline.means(group, [*plain_series, *clean, *MEASURES])
    has_clean = any(p is not None for p in values[clean[0]])
    types = _types(group)
    known = [name for name in MEASURES if any(value is not None for value in values[name])]
    apart = _deviations(found, timeline)
    happenings = sorted_happenings(found.tables.happenings)
    wanted = {"denoised": 3.0 * has_clean, "types": 1.2 * bool(types), "measures": 1.6 * bool(known)}
    wanted |= {"apart": min(0.2 * len(apart) + 0.2, 3.0) * bool(apart), "events": 0.26 * len(happenings)}

    def draw(canvas: "Canvas") -> None:
        heights = [3.0, *(height for height in wanted.values() if height)]
        panels = list(canvas.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
        stacked(panels[0], _seven(values, "p_"), timeline)
        _head(panels.pop(0), "Group emotion: mean of the engaged members" + timeline.means_of)
        if has_clean:
            stacked(panels[0], _seven(values, "denoised_"), timeline)
            _head(panels.pop(0), "The same without its weak frequencies (denoised)")
        if types:
            _ribbon_of_types(panels[0], types, timeline)
            _head(panels.pop(0), "Group type, from the loosest to the closest")
        if known:
            for name, dash in zip(MEASURES, ("-", "--", ":"), strict=True):
                if name in known:
                    series = np.array([*values[name], values[name][-1]], dtype=np.float64)
                    edges = [timeline.edge(i) for i in range(timeline.n_bins + 1)]
                    panels[0].step(edges, series, dash, where="post", color=INK, linewidth=1.2)
            time_axis(panels[0], timeline)
            panels[0].set_ylim(bottom=0)
            styles = dict(zip(MEASURES, ("solid", "dashed", "dotted"), strict=True))
            _head(panels.pop(0), "How close: " + ", ".join(f"{name} ({styles[name]})" for name in known))
        if apart:
            _head(panels[0], f"Distance of each member from the group, white 0, black {_furthest(apart):.2f}")
            _grey_rows(panels.pop(0), apart, timeline)
        if happenings:
            _head(panels[0], "Events")
            for y, (name, here) in enumerate(happenings.items()):
                panels[0].plot([h.second for h in here], [y] * len(here), MARKERS[name], color=INK, markersize=6)
            time_axis(panels[0], timeline)
            panels[0].set_yticks(range(len(happenings)), list(happenings), fontsize=8)
            panels[0].set_ylim(len(happenings) - 0.5, -0.5)
        canvas.axes[-1].set_xlabel("time in the recording", fontsize=8)
        legend(canvas)

    data = pl.DataFrame({"second": [timeline.edge(i) for i in range(timeline.n_bins)]} | values)
    height = 4.4 + sum(wanted.values()) * 0.8 + 0.35 * sum(map(bool, wanted.values()))
    return Picture("group", "The group over time", height, draw, _floats(data))


def _deviations(found: Findings, timeline: Timeline) -> dict[str, Values]:
    """Each member's distance from the group in each bin."""
    long = found.tables.group.select("second", "deviation").explode("deviation").drop_nulls().unnest("deviation")
    members = set(long["participant"].to_list())
    return {
        member: timeline.means(long.filter(pl.col("participant") == member), ["value"])["value"]
        for member in found.tables.participants
        if member in members
    }


def _furthest(apart: dict[str, Values]) -> float:
    """The largest distance."""
    return max((value for values in apart.values() for value in values if value is not None), default=0.0)


def _grey_rows(axes: "Axes", apart: dict[str, Values], timeline: Timeline) -> None:
    """A row of grey per member, dark is far."""
    edges = [timeline.edge(i) for i in range(timeline.n_bins + 1)]
    grid = np.array(list(apart.values()), dtype=np.float64)
    axes.pcolormesh(edges, np.arange(len(apart) + 1) - 0.5, grid, cmap="Greys", vmin=0, vmax=_furthest(apart) or 1)
    time_axis(axes, timeline)
    axes.set_yticks(range(len(apart)), [plain(member) for member in apart], fontsize=8 if len(apart) < 16 else 4)  # noqa: PLR2004
    axes.set_ylim(len(apart) - 0.5, -0.5)


def _participants(found: Findings) -> Picture:
    """Everybody's probabilities over time."""
    timeline = found.timeline.coarser()
    people = [person.participant for person in found.adapted]
    shown = people[:MAX_ROWS]
    series = {person: timeline.means(found.tables.of(person), EMOTIONS) for person in people}

    def draw(canvas: "Canvas") -> None:
        for axes, person in zip(_rows(canvas, len(shown)), shown, strict=True):
            stacked(axes, series[person], timeline)
            _head(axes, person)
        canvas.axes[-1].set_xlabel("time in the recording", fontsize=8)
        legend(canvas)

    tables = []
    for person in people:
        columns = {"participant": [person] * timeline.n_bins}
        seconds = {"second": [timeline.edge(i) for i in range(timeline.n_bins)]}
        tables.append(_floats(pl.DataFrame(columns | seconds | series[person])))
    note = f"{_first(shown, people)}White: no face was read.{timeline.means_of.replace(', m', ' M')}"
    height = 1.3 + 1.15 * len(shown)
    return Picture("participants", "What each face expressed over time", height, draw, pl.concat(tables), note)


def _engagement(found: Findings) -> Picture:
    """Who was engaged when."""
    timeline, rows = found.timeline, found.engagement
    people = [p for p in found.tables.participants if p in set(rows["participant"].to_list())]

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for y, person in enumerate(people):
            own = rows.filter(pl.col("participant") == person)
            for state in STATES:
                runs = runs_of_seconds(own.filter(pl.col("state") == state)["second"].to_list())
                spans = [(begin, end - begin) for begin, end in runs]
                axes.broken_barh(spans, (y - 0.4, 0.8), facecolors=STATE_COLOURS[state], linewidth=0)
        time_axis(axes, timeline)
        axes.set_yticks(range(len(people)), [plain(p) for p in people], fontsize=8 if len(people) < 25 else 5)  # noqa: PLR2004
        axes.set_ylim(len(people) - 0.4, -0.6)
        axes.set_xlabel("time in the recording", fontsize=8)
        _swatches(canvas, STATE_COLOURS)

    height = 1.6 + (0.3 if len(people) < 25 else 0.16) * len(people)  # noqa: PLR2004 (names stay apart)
    return Picture("engagement", "Who moved with the others", height, draw, rows)


def _synchrony(synchrony: Synchrony, participants: Sequence[str]) -> Picture:
    """Largest correlation of each pair."""
    values = synchrony.correlation.copy()
    np.fill_diagonal(values, np.nan)

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        image = heat(axes, values, participants, participants, scale=CORRELATION)
        axes.set_aspect("equal")
        canvas.colorbar(image, ax=axes, shrink=0.7, label="correlation of movements")
        if len(participants) <= 16:  # noqa: PLR2004 (as the numbers)
            for i, j in np.argwhere(synchrony.p_value < 0.05):  # noqa: PLR2004 (what is called significant)
                dark = abs(values[i, j]) > 0.55  # noqa: PLR2004 (as the numbers)
                axes.text(j, i + 0.32, "p < 0.05", ha="center", va="center", fontsize=6, color="white" if dark else INK)

    return Picture(
        "synchrony", "Who moves with whom over the whole recording", 8.0, draw, synchrony.pairs(tuple(participants))
    )


def _correlation(found: Findings) -> Picture:
    """Fig. 1 of GROUP for one recording: the models with each other and each with itself."""
    rows = [
        {"model_of_rows": a, "row": EMOTIONS[i], "model_of_columns": b, "column": EMOTIONS[j], "correlation": value}
        for (a, b), table in found.likeness.correlation.items()
        for (i, j), value in np.ndenumerate(table)
    ]

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(1, 3)
        for axes, ((a, b), table) in zip(panels, found.likeness.correlation.items(), strict=True):
            image = heat(axes, table, EMOTIONS, EMOTIONS, scale=CORRELATION)
            axes.set_aspect("equal")
            axes.set_xlabel(f"{b} model", fontsize=9)
            axes.set_ylabel(f"{a} model", fontsize=9)
            axes.set_title("both models" if a != b else f"{a} model with itself", fontsize=10)
        canvas.colorbar(image, ax=panels, location="bottom", shrink=0.3, aspect=30, label="Pearson correlation")

    title = f"How the emotions of the two models go together ({found.likeness.n} seconds)"
    note = "Each participant's own mean is subtracted first. A dash: one of the two never moves."
    return Picture("models_correlation", title, 4.7, draw, pl.DataFrame(rows).fill_nan(None), note)


def _agreement_of_models(found: Findings) -> Picture:
    """Which class the one model names where the other names another."""
    counts = found.likeness.counts
    rows = [{"pixel": EMOTIONS[i], "landmark": EMOTIONS[j], "seconds": int(n)} for (i, j), n in np.ndenumerate(counts)]

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        scale = ("Blues", 0.0, float(max(counts.max(), 1)))
        heat(axes, counts.astype(np.float64), EMOTIONS, EMOTIONS, scale=scale, form="{:.0f}")
        axes.set_aspect("equal")
        axes.set_xlabel("most probable for the landmark model", fontsize=9)
        axes.set_ylabel("most probable for the pixel model", fontsize=9)

    agreed = f"they agree in {100 * found.likeness.agreed:.0f} % of {found.likeness.n}"
    return Picture("models_agreement", f"Seconds by what each model names: {agreed}", 6.4, draw, pl.DataFrame(rows))


def _adaptive(found: Findings) -> Picture:
    """Fig. 7 of GROUP: with the weights used, and with 0.5 and 0.5."""
    timeline, arms = found.timeline.coarser(), found.arms
    adaptive = timeline.means(group_means(arms, arms.fused, EMOTIONS), EMOTIONS)
    fixed = timeline.means(group_means(arms, arms.fixed, EMOTIONS), EMOTIONS)
    order = sorted(found.adapted, key=lambda person: -person.differing)[:MAX_ROWS]
    shown = [person.participant for person in found.adapted if person in order]
    classes = {"adaptive": tops(arms.fused), "fixed": tops(arms.fixed)}

    def draw(canvas: "Canvas") -> None:
        heights = [1.5, 1.5, 0.62 * len(shown)]
        panels = canvas.subplots(3, 1, sharex=True, height_ratios=heights)
        for axes, values, title in (
            (panels[0], adaptive, "adaptive weights"),
            (panels[1], fixed, "both models with weight 0.5"),
        ):
            stacked(axes, values, timeline)
            _head(axes, f"Everybody's mean, {title}{timeline.means_of}")
        for y, person in enumerate(shown):
            own = arms.who == arms.participants.index(person)
            for kind, offset in (("adaptive", -0.2), ("fixed", 0.2)):
                row = np.full(timeline.n_bins, -1)
                # Of a bin of several seconds the first is shown.
                bins, first = np.unique((arms.second[own] - timeline.first) // timeline.width, return_index=True)
                row[bins] = classes[kind][own][first]
                ribbon(panels[2], row.tolist(), y + offset, timeline, height=0.36)
        time_axis(panels[2], timeline)
        panels[2].set_yticks(range(len(shown)), [plain(person) for person in shown], fontsize=8)
        panels[2].set_ylim(len(shown) - 0.4, -0.6)
        panels[2].set_xlabel("time in the recording", fontsize=8)
        _head(panels[2], "Most probable class of each participant: above adaptive, below weights 0.5")
        legend(canvas)

    people = [person.participant for person in found.adapted]
    note = "" if len(shown) == len(people) else f"Drawn: the {len(shown)} of {len(people)} people who differ most."
    height = 5.0 + 0.42 * len(shown)
    title = "What the adaptive weights change"
    return Picture("adaptive", title, height, draw, adaptive_rows(arms), note)


def _ribbon_of_types(axes: "Axes", types: dict[str, list[int]], timeline: Timeline) -> None:
    """A lane per type, in rising order."""
    for y, name in enumerate(GROUP_TYPES):
        spans = [(begin, end - begin) for begin, end in runs_of_seconds(types.get(name, []))]
        axes.broken_barh(spans, (y - 0.4, 0.8), facecolors=TYPE_COLOURS[name], linewidth=0)
    time_axis(axes, timeline)
    axes.set_yticks(range(len(GROUP_TYPES)), GROUP_TYPES, fontsize=8)
    axes.set_ylim(-0.6, len(GROUP_TYPES) - 0.4)


def _types(group: pl.DataFrame) -> dict[str, list[int]]:
    """Seconds of each type that is known."""
    known = group.filter(pl.col("type").is_in(list(GROUP_TYPES)))
    return dict(known.group_by("type", maintain_order=True).agg("second").iter_rows())


def _rows(canvas: "Canvas", n: int) -> list["Axes"]:
    """Panels below each other over one time axis."""
    return list(canvas.subplots(n, 1, sharex=True, squeeze=False)[:, 0])


def _head(axes: "Axes", text: str) -> None:
    """A panel's title, above its left end."""
    axes.set_title(plain(text), loc="left", fontsize=9, color=INK)


def _swatches(canvas: "Canvas", colours: dict[str, str]) -> None:
    """What colours other than the classes' mean."""
    from matplotlib.patches import Patch  # noqa: PLC0415

    patches = [Patch(facecolor=colour, label=name) for name, colour in colours.items()]
    canvas.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=9)


def _seven(values: dict[str, list[float | None]], prefix: str) -> dict[str, list[float | None]]:
    """The seven series of a prefix by class name."""
    return {name: values[prefix + name] for name in EMOTIONS}


def _first(shown: Sequence[str], people: Sequence[str]) -> str:
    """Says that not everybody is drawn."""
    return "" if len(shown) == len(people) else f"The first {len(shown)} of {len(people)} people; the data hold all. "


def _floats(table: pl.DataFrame) -> pl.DataFrame:
    """Columns of nothing but nulls are numbers too."""
    return table.with_columns(pl.col(pl.Null).cast(pl.Float64))
