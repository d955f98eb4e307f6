"""What an evaluation found as one picture: confusion, reliability, risk against coverage, and F1 of each class."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.errors import DataError
from models.evaluation.answers import I64, Answers
from models.evaluation.measure import Evaluation
from models.evaluation.text import LABEL_SETS
from pipeline import metrics
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito 2008, "Color universal design": told apart by colour-blind people, too; yellow, faint on white, left out."""

DASHES: Final = ("-", "--", "-.", ":")

_DPI: Final = 150
_PANEL_IN: Final = 4.3
_GREY: Final = "#777777"
_TILT: Final[dict[str, Any]] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}


def check_place(path: Path) -> None:
    """Nothing, where a picture can be written to `path`; told before anything is measured.

    Raises:
        DataError: It cannot.
    """
    if path.suffix.lower() != ".png":
        msg = f"{path}: pictures are PNG; give a name that ends in .png"
    elif not path.parent.is_dir():
        msg = f"{path}: there is no folder {path.parent}; make it first"
    elif path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        msg = f"{path}: cannot be written"
    else:
        return
    raise DataError(msg)


def draw_evaluation(evaluation: Evaluation, path: Path, *, title: str) -> None:
    """Writes the PNG: of each model a confusion table and a reliability diagram, and two panels of all of them.

    The labels are the FER+ majority, or the original ones where no face has votes. A file that is there is replaced.

    Raises:
        DataError: No face has a label, or the picture cannot be written.
    """
    # Takes a second and is seldom needed. No pyplot: its figures are global.
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    labels = next((name for name in LABEL_SETS if _n(evaluation, name)), None)
    if labels is None:
        msg = f"{path}: no face has a label, so there is nothing to draw"
        raise DataError(msg)
    truth = evaluation.data.ferplus if labels == "ferplus" else evaluation.data.label
    found = {name: model[labels] for name, model in evaluation.result.items()}
    n_columns = max(len(found), 2)
    heights = (4.8, 4.2) if len(found) == 1 else (4.6, 3.9, 4.0)
    figure = Figure(figsize=(_PANEL_IN * n_columns, sum(heights)), dpi=_DPI)
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    figure.suptitle(f"{title}: {LABEL_SETS[labels]}, {_n(evaluation, labels)} faces", fontsize=15, parse_math=False)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    rows = [grid[row] for row in range(len(heights))]
    # Those of a lone model stand in one row.
    cells = [row.subgridspec(1, n_columns) for row in rows[:-1]]
    panels = [row[column] for row in cells for column in range(n_columns)]
    outcomes = {name: _outcomes(truth, answers) for name, answers in evaluation.answers.items()}
    for at, (name, measured) in enumerate(found.items()):
        _confusion(figure.add_subplot(panels[at]), name, measured)
        _reliability(figure.add_subplot(panels[at + len(found)]), name, measured, *outcomes[name])
    below = rows[-1].subgridspec(1, 2)
    _risk(figure.add_subplot(below[0]), outcomes)
    _f1(figure.add_subplot(below[1]), found, tilted=n_columns < 3)  # noqa: PLR2004 (too narrow for seven words)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        msg = f"{path}: cannot be written ({error.strerror})"
        raise DataError(msg) from None


def _n(evaluation: Evaluation, labels: str) -> int:
    return max(int(model[labels]["n"]) for model in evaluation.result.values())


def _outcomes(truth: I64, answers: Answers) -> tuple[F64, metrics.Bool]:
    """Confidence and whether it was right, of the faces that have a label and can be read."""
    seen = (truth >= 0) & answers.readable
    given = answers.probabilities[seen]
    return given.max(axis=1, initial=0), given.argmax(axis=1) == truth[seen]


def _confusion(axes: "Axes", name: str, measured: Mapping[str, Any]) -> None:
    table = np.array(measured["confusion"], dtype=np.float64)
    of_class = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, of_class, out=np.zeros_like(table), where=of_class > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(N_EMOTIONS, N_EMOTIONS):
        colour = "white" if shares[row, column] > 0.55 else "black"  # noqa: PLR2004 (where dark blue begins)
        text = f"{100 * shares[row, column]:.0f}" if of_class[row, 0] else "-"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    counts = of_class[:, 0].astype(int)
    axes.set_xticks(range(N_EMOTIONS), EMOTIONS, **_TILT)
    axes.set_yticks(range(N_EMOTIONS), [f"{emotion} ({n})" for emotion, n in zip(EMOTIONS, counts, strict=True)])
    axes.set_xlabel("what the model said, % of each row")
    axes.set_ylabel("label (faces)")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if measured["accuracy"] is None:
        axes.set_title(f"{name}\nno face read")
        return
    axes.set_title(f"{name}\naccuracy {100 * measured['accuracy']:.1f} %, UAR {measured['uar']:.2f}")


def _reliability(axes: "Axes", name: str, measured: Mapping[str, Any], confidence: F64, correct: metrics.Bool) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    for x, y, side, text in ((0.04, 0.95, "left", "righter than sure"), (0.96, 0.04, "right", "surer than right")):
        axes.text(x, y, text, ha=side, color=_GREY, fontsize=9)
    if len(correct):
        bins = metrics.reliability(correct, confidence)
        axes.vlines(bins.confidence, bins.confidence, bins.accuracy, color=COLOURS[1], linewidth=2)
        axes.plot(bins.confidence, bins.accuracy, "o-", color=COLOURS[0], markersize=4, linewidth=1.2, clip_on=False)
        axes.set_title(f"{name}: ECE {measured['ece']:.3f}, {len(bins.size)} bins of equal mass", fontsize=11)
    axes.set(
        xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="mean confidence of the bin", ylabel="accuracy of the bin"
    )
    _plain(axes)


def _risk(axes: "Axes", outcomes: Mapping[str, tuple[F64, metrics.Bool]]) -> None:
    for at, (name, (confidence, correct)) in enumerate(outcomes.items()):
        coverage, risk = metrics.risk_coverage(confidence, correct)
        if len(risk) == 0:
            continue
        area = metrics.area_under_risk(coverage, risk)
        axes.plot(100 * coverage, 100 * risk, label=f"{name}, AURC {area:.3f}", **_line(at))
    axes.set_title("Risk against coverage")
    axes.set(
        xlim=(0, 100), xlabel="answers given, the surest first, % of the faces read", ylabel="wrong among these, %"
    )
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(frameon=False, loc="upper left")
    _plain(axes)


def _f1(axes: "Axes", found: Mapping[str, Mapping[str, Any]], *, tilted: bool) -> None:
    width = 0.8 / len(found)
    for at, (name, measured) in enumerate(found.items()):
        heights = [measured["f1"][emotion] or 0.0 for emotion in EMOTIONS]
        places = np.arange(N_EMOTIONS) + (at - (len(found) - 1) / 2) * width
        axes.bar(places, heights, width * 0.92, color=COLOURS[at % len(COLOURS)], label=name)
    axes.set_title("F1 of each class")
    axes.set_xticks(range(N_EMOTIONS), EMOTIONS, **_TILT if tilted else {})
    axes.set(ylim=(0, 1), ylabel="F1")
    if len(found) > 1:
        below = -0.22 if tilted else -0.1
        axes.legend(frameon=False, ncols=min(len(found), 4), loc="upper center", bbox_to_anchor=(0.5, below))
    _plain(axes)
    axes.grid(visible=False, axis="x")


def _line(at: int) -> dict[str, Any]:
    """Colours and dashes go round at different lengths, so that no two of the first 28 lines look the same."""
    return {"color": COLOURS[at % len(COLOURS)], "linestyle": DASHES[at % len(DASHES)], "linewidth": 1.8}


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
