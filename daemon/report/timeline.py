"""One time axis and panels below each other: what all figures of the report are made of.

Figures are plain plotly figures, {"data": […], "layout": {…}}; plotly draws them in the reader's browser.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Self

import polars as pl

from daemon.report.tables import Tables
from pipeline.emotions import EMOTIONS
from pipeline.wire import EPOCH

Figure = dict[str, Any]
Values = list[float | None]

PALETTE: Final[Mapping[str, str]] = {
    "anger": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happiness": "#F0E442",
    "sadness": "#0072B2",
    "surprise": "#56B4E9",
    "neutral": "#D9D9D9",
}
"""Okabe & Ito 2008, "Color Universal Design", told apart with every common colour vision; neutral is grey."""
INK: Final = "#1A1A1A"
FAINT: Final = "#6B7280"
GRID: Final = "#E3E5E8"
ON_PALETTE: Final = {name: "#FFFFFF" if name == "sadness" else INK for name in EMOTIONS}
"""Colour of text on each class's colour, contrast at least 4.5."""
PEOPLE: Final = (
    ("#1A1A1A", "solid"),
    ("#B35806", "solid"),
    ("#54278F", "dash"),
    ("#00695C", "dash"),
    ("#1A1A1A", "dot"),
    ("#B35806", "dot"),
    ("#54278F", "dashdot"),
    ("#00695C", "dashdot"),
)
"""Colour and dash of each participant's line; people with the same dash differ in lightness or in blue."""
MAX_LINES: Final = len(PEOPLE)
"""More people than lines can tell apart are drawn as rows of a heat map."""

MAX_POINTS: Final = 3600
MAX_POINTS_ALL: Final = 72_000
"""Points of one timeline, and of all participants' together: what keeps the file small and the page quick."""
MAX_POINTS_LINE: Final = 600
"""Points of a line that would be a smear if it had more."""
FONT: Final = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
MARGIN: Final = {"l": 112, "r": 16, "t": 30, "b": 30}
GAP_PX: Final = 24


@dataclass(frozen=True, slots=True)
class Timeline:
    """Seconds of a recording in bins of `width` seconds."""

    first: int
    n_seconds: int
    width: int

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """As fine as the limits allow."""
        longest = max(tables.n_seconds / MAX_POINTS, tables.n_seconds * len(tables.participants) / MAX_POINTS_ALL)
        return cls(tables.first, tables.n_seconds, max(1, -int(-longest // 1)))

    @property
    def n_bins(self) -> int:
        """How many bins."""
        return -(-self.n_seconds // self.width)

    @property
    def means_of(self) -> str:
        """Said in titles, where a bin is more than a second."""
        return "" if self.width == 1 else f", means of {self.width} s"

    @property
    def end(self) -> int:
        """The first second after the last."""
        return self.first + self.n_seconds

    def coarser(self) -> "Timeline":
        """The same seconds for lines that go up and down a lot."""
        return Timeline(self.first, self.n_seconds, max(self.width, -(-self.n_seconds // MAX_POINTS_LINE)))

    def bin(self) -> pl.Expr:
        """Number of the bin in which a row lies."""
        return ((pl.col("second") - self.first) // self.width).alias("bin")

    def means(self, rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, Values]:
        """Mean of each column in each bin; None where it has no value."""
        binned = rows.group_by(self.bin()).agg(pl.col(columns).cast(pl.Float64).mean().round(3))
        every = pl.DataFrame({"bin": range(self.n_bins)}, schema={"bin": pl.Int64})
        joined = every.join(binned, on="bin", how="left").sort("bin")
        return {name: joined[name].to_list() for name in columns}

    def steps(self, values: Values) -> dict[str, Any]:
        """Coordinates of a step curve that keeps each value until its bin ends."""
        return {"x0": instant(self.first), "dx": ms(self.width), "y": [*values, *values[-1:]]}

    def edge(self, number: int) -> int:
        """Second at which a bin begins."""
        return min(self.first + number * self.width, self.end)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One row of a figure: its title, height, curves, y axis, and texts at (milliseconds, y)."""

    title: str
    height_px: int
    traces: Sequence[dict[str, Any]]
    axis: Mapping[str, Any]
    texts: Sequence[dict[str, Any]] = field(default=())


def instant(second: float) -> str:
    """A place on the time axis, as a date: of a bare number with four digits Plotly makes the year 5000."""
    return (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def ms(seconds: int) -> int:
    """A length on the time axis."""
    return seconds * 1000


def runs_of_flags(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and one past last index of each run of true values."""
    return runs_of_seconds([index for index, flag in enumerate(flags) if flag])


def runs_of_seconds(seconds: Iterable[int]) -> list[tuple[int, int]]:
    """First and one past last of each run of consecutive numbers, which come in rising order."""
    runs: list[tuple[int, int]] = []
    for second in seconds:
        if runs and runs[-1][1] == second:
            runs[-1] = (runs[-1][0], second + 1)
        else:
            runs.append((second, second + 1))
    return runs


def stack(panels: Sequence[Panel], timeline: Timeline) -> Figure:
    """Panels below each other over one time axis."""
    inner_px = sum(panel.height_px for panel in panels) + GAP_PX * (len(panels) - 1)
    text = {"showarrow": False, "font": {"size": 11, "color": INK}}
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    top_px = 0
    for number, panel in enumerate(panels, start=1):
        y, axis = ("y", "yaxis") if number == 1 else (f"y{number}", f"yaxis{number}")
        domain = [round(1 - (top_px + panel.height_px) / inner_px, 6), round(1 - top_px / inner_px, 6)]
        axes[axis] = {
            "domain": domain,
            "fixedrange": True,
            "gridcolor": GRID,
            "zeroline": False,
            "ticklabelstandoff": 5,
        } | dict(panel.axis)
        data += [trace | {"yaxis": y, "showlegend": False} for trace in panel.traces]
        place = {"xref": "paper", "x": 0, "yref": "paper", "y": domain[1], "xanchor": "left", "yanchor": "bottom"}
        notes.append(text | place | {"text": f"<b>{panel.title}</b>"})
        notes += [text | {"yref": y} | dict(note) for note in panel.texts]
        top_px += panel.height_px + GAP_PX
    time = {
        "type": "date",
        "range": [instant(timeline.first), instant(timeline.end)],
        "minallowed": instant(timeline.first),
        "maxallowed": instant(timeline.end),
        "tickformat": "%-H:%M:%S" if timeline.end >= 3600 else "%M:%S",  # noqa: PLR2004 (an hour)
        "hoverformat": "%-H:%M:%S",
        "anchor": "y" if len(panels) == 1 else f"y{len(panels)}",
        "gridcolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
    }
    layout = {
        "height": inner_px + MARGIN["t"] + MARGIN["b"],
        "margin": MARGIN,
        "font": {"family": FONT, "size": 11, "color": INK},
        "paper_bgcolor": "#FFFFFF",
        "plot_bgcolor": "#FFFFFF",
        "modebar": {"bgcolor": "rgba(0,0,0,0)"},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "dragmode": "zoom",
        "xaxis": time,
        "annotations": notes,
    }
    return {"data": data, "layout": layout | axes}
