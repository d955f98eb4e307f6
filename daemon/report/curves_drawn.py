"""Learning curves as a picture: gain over the generic model by the samples learnt from, a panel per method (TRANSFER, Fig. 6)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from daemon.report.timeline import FAINT, GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHOD_COLOURS: Final = {
    "random": "#6B7280",
    "gsx": "#0072B2",
    "gsy": "#009E73",
    "igs": "#D55E00",
    "mcdue": "#CC79A7",
}
"""Okabe & Ito, as elsewhere; random selection, with which all are compared, is grey."""
METHOD_WORDS: Final = {
    "random": "random",
    "gsx": "GSx (features)",
    "gsy": "GSy (predictions)",
    "igs": "iGS (both)",
    "mcdue": "MCDUE (uncertainty)",
}

Curve = Sequence[tuple[float, float, float, float, float]]
"""Points: fraction, samples, gain, low, high; ends of intervals are nan where there are none."""


def draw_curves(panels: "Sequence[Axes]", curves: Mapping[str, Curve], enough: Mapping[str, float]) -> None:
    """A panel for each method, with random selection behind it.

    enough: the fraction from which on 95 % of the full gain are reached, where there is one.
    """
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    ends = [100 * end for curve in curves.values() for point in curve for end in point[2:] if end == end]  # noqa: PLR0124
    low, high = min([0.0, *ends]), max([1.0, *ends])
    edge = 0.06 * (high - low)
    for axes, (method, curve) in zip(panels, curves.items(), strict=True):
        colour = METHOD_COLOURS.get(method, INK)
        at = [100 * point[0] for point in curve]
        axes.axhline(0, color=FAINT, linewidth=0.9)
        if "random" in curves and method != "random":
            axes.plot(at, [100 * p[2] for p in curves["random"]], "--", color=METHOD_COLOURS["random"], linewidth=1.2)
        axes.fill_between(
            at, [100 * p[3] for p in curve], [100 * p[4] for p in curve], color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(at, [100 * p[2] for p in curve], "o-", color=colour, linewidth=1.8, markersize=4)
        reached = enough.get(method)
        if reached is not None:
            axes.axvline(100 * reached, color=colour, linewidth=1, linestyle=":")
        axes.set_title(METHOD_WORDS.get(method, method), fontsize=10, color=INK)
        axes.set_xlim(0, 102)
        axes.set_ylim(low - edge, high + edge)
        axes.set_xticks([5, 50, 100])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0f} %"))
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("gain in mean recall (UAR),\npoints over the generic model", fontsize=8)


def curve_table(curves: Mapping[str, Curve]) -> pl.DataFrame:
    """A row per method and point."""
    names = ("fraction", "samples", "gain", "low", "high")
    rows = [(method, *point) for method, curve in curves.items() for point in curve]
    schema = {"method": pl.String} | dict.fromkeys(names, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)
