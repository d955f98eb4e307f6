"""The pictures of what annotations say: figures of agreement, confusion, what both models share."""

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from daemon.report.judged import MODELS, TRUTH, Figure95, Judged
from daemon.report.pictures import UNKNOWN, Picture, heat, plain
from daemon.report.timeline import FAINT, INK
from pipeline.emotions import EMOTIONS, F64
from pipeline.metrics import I64

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MAX_BARS: Final = 40
"""So many figures of agreement are drawn; the data hold all."""


def judged_pictures(judged: Judged) -> list[Picture]:
    """What annotations say."""
    pictures = [_kappas(judged)]
    if judged.n_true:
        pictures += [_confusions(judged), _complementarity(judged)]
    return pictures


def _kappas(judged: Judged) -> Picture:
    """Every figure of agreement with its interval."""
    figures = [*judged.of("fleiss_kappa"), *judged.of("kappa"), *judged.of("uar"), *judged.of("accuracy")]
    figures = [figure for figure in figures if not np.isnan(figure.value)]
    shown = figures[:MAX_BARS]

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        for y, figure in enumerate(shown):
            low, high = figure.ci95
            if not np.isnan(low):
                axes.plot([low, high], [y, y], color=FAINT, linewidth=2.2, solid_capstyle="butt")
            axes.plot([figure.value], [y], "o", color=_colour(figure), markersize=6)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [plain(_words(figure)) for figure in shown], fontsize=8)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(min(-0.1, min((f.value for f in shown), default=0) - 0.05), 1.02)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(visible=True, axis="x", color="#E3E5E8", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_xlabel("0: as by chance (kappa), nothing found (recall, accuracy); 1: always", fontsize=8)

    title = f"How far raters and models agree ({len(judged.raters)} raters, {judged.n_items} seconds of people)"
    note = "Bars: 95 % intervals, blocks of 10 s drawn with replacement; none where there is too little to tell."
    note += f" The first {len(shown)} of {len(figures)} figures." if len(shown) < len(figures) else ""
    return Picture("agreement", title, 1.6 + 0.24 * len(shown), draw, judged.table(), note)


def _confusions(judged: Judged) -> Picture:
    """What each model said where two judges agreed."""
    rows = [
        {"model": model, "truth": EMOTIONS[i], "said": EMOTIONS[j], "seconds": int(n)}
        for model, table in judged.confusion.items()
        for (i, j), n in np.ndenumerate(table)
    ]

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(2, 2).ravel()
        for axes, (model, table) in zip(panels, judged.confusion.items(), strict=True):
            heat(axes, _shares(table), _counted(table), EMOTIONS, scale=("Blues", 0.0, 1.0), form="{:.0%}")
            axes.set_aspect("equal")
            axes.set_title(MODELS[model], fontsize=10)
            axes.set_ylabel(f"{TRUTH} (seconds)", fontsize=8)
            axes.set_xlabel("what was said, share of the row", fontsize=8)

    title = f"What was said where two judges agreed ({judged.n_true} seconds of people)"
    return Picture("confusion", title, 9.6, draw, pl.DataFrame(rows))


def _complementarity(judged: Judged) -> Picture:
    """Table I of GROUP as one bar."""
    shared = judged.shared
    if shared is None or not shared.n:
        cells = [0, 0, 0, 0]
    else:
        cells = [shared.both_right, shared.only_a, shared.only_b, shared.none_right]
    names = ("both right", "only pixel", "only landmark", "none right")
    colours = ("#009E73", "#E69F00", "#56B4E9", "#D9D9D9")

    def draw(canvas: "Canvas") -> None:
        axes = canvas.subplots()
        left = 0
        for name, n, colour in zip(names, cells, colours, strict=True):
            axes.barh([0], [n], left=left, color=colour, edgecolor="white", label=f"{name}: {n}")
            left += n
        axes.set_yticks([])
        axes.set_xlim(0, max(left, 1))
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlabel("seconds of people with a truth that both models read", fontsize=8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.28), frameon=False, fontsize=9)

    data = pl.DataFrame({"outcome": list(names), "seconds": cells})
    exclusive = ", ".join(f"{f.one} {_percent(f.value)}" for f in judged.of("exclusive"))
    note = f"Exclusive, of what either got right: {exclusive}."
    return Picture("complementarity", "What the two models get right together and alone", 2.6, draw, data, note)


def _shares(table: I64) -> F64:
    """Each row of counts as shares; nan for an empty one."""
    of_row = table.sum(axis=1, keepdims=True)
    return np.divide(table, of_row, out=np.full(table.shape, np.nan), where=of_row > 0)


def _counted(table: I64) -> list[str]:
    """Classes with how many seconds of them there are."""
    return [f"{name} ({n})" for name, n in zip(EMOTIONS, table.sum(axis=1), strict=True)]


def _words(figure: Figure95) -> str:
    """What a figure is of."""
    name = {"fleiss_kappa": "Fleiss' kappa", "kappa": "kappa", "uar": "recall (UAR)"}.get(figure.figure, figure.figure)
    return f"{name}: {figure.one} and {figure.other} ({figure.n})"


def _colour(figure: Figure95) -> str:
    """Raters among themselves are black, models are blue against a rater and orange against the truth."""
    if figure.other == TRUTH:
        return "#D55E00"
    return "#0072B2" if figure.one in MODELS.values() else INK


def _percent(share: float) -> str:
    """Whole per cent."""
    return UNKNOWN if np.isnan(share) else f"{100 * share:.0f} %"
