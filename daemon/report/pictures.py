"""Figures as PNG with their data as Parquet beside them, for papers and for programs.

The same tables give the same bytes: no date, no name of software, no setting of the reader's matplotlib.
"""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from daemon.errors import FailedError
from daemon.report.timeline import FAINT, GRID, INK, PALETTE, Timeline, Values
from pipeline.emotions import EMOTIONS, F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FIGURES: Final = "figures"
"""Folder of the pictures, beside the report."""
WIDTH_IN: Final = 10.0
UNKNOWN: Final = "\N{EN DASH}"
CORRELATION: Final = ("RdBu_r", -1.0, 1.0)
"""Colours of correlations: blue against each other, red with each other."""
_DPI: Final = 150
_HOUR_S: Final = 3600
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 864000)
"""What people count time in."""
_MAX_TICKS: Final = 10
_DARK: Final = 0.55
"""From this share of the scale on, text on a heat map is white."""
TILT: Final[dict[str, Any]] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One figure: `name` of its two files, what it shows in plain words, how it is drawn, and its data.

    note: what is not drawn, or how; it stands below the picture. height_in: in inches, at `WIDTH_IN`.
    """

    name: str
    title: str
    height_in: float
    draw: "Callable[[Canvas], None]"
    data: pl.DataFrame
    note: str = ""


def write_pictures(folder: Path, pictures: Sequence[Picture], *, ours: Collection[str]) -> None:
    """Writes `figures/<name>.png` and `.parquet` of each; those of `ours` that are not among them are removed.

    Raises:
        FailedError: The disk does not take it; no half-written file is left.
    """
    # Takes a second, and only who draws needs it. No pyplot: its figures are global.
    from matplotlib import style  # noqa: PLC0415

    place = folder / FIGURES
    try:
        place.mkdir(exist_ok=True)
        remove_pictures(folder, ours=set(ours) - {picture.name for picture in pictures})
        with style.context("default"), warnings.catch_warnings():
            # A rater's name in a script that the font does not have becomes boxes, which is no reason to fail.
            warnings.filterwarnings("ignore", message="Glyph")
            for picture in pictures:
                _write(place / f"{picture.name}.png", partial(_save, picture))
                _write(place / f"{picture.name}.parquet", picture.data.write_parquet)
    except OSError as error:
        msg = f"{place}: cannot be written ({error.strerror}); free space or choose another folder"
        raise FailedError(msg) from error


def remove_pictures(folder: Path, *, ours: Collection[str]) -> None:
    """Removes both files of each of these names; whatever else lies in `figures/` stays.

    Raises:
        OSError: The disk does not allow it.
    """
    place = folder / FIGURES
    if place.is_dir():
        for name in ours:
            for suffix in (".png", ".parquet"):
                (place / (name + suffix)).unlink(missing_ok=True)


def _write(path: Path, save: Callable[[Path], None]) -> None:
    """Writes a file atomically."""
    temporary = path.with_suffix(".part")
    try:
        save(temporary)
        temporary.replace(path)
    except pl.exceptions.ComputeError as error:
        raise OSError(0, str(error).rsplit(": ", 1)[-1]) from error
    finally:
        temporary.unlink(missing_ok=True)


def _save(picture: Picture, path: Path) -> None:
    """Draws one picture."""
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

    canvas = Canvas(figsize=(WIDTH_IN, picture.height_in), dpi=_DPI, layout="constrained")
    canvas.suptitle(plain(picture.title), fontsize=13, color=INK)
    picture.draw(canvas)
    if picture.note:
        # Both want the lower edge: the legend, where there is one, gets two empty lines of the note.
        canvas.supxlabel(plain(picture.note) + "\n\n" * bool(canvas.legends), fontsize=8, color=FAINT)
    canvas.savefig(path, format="png", metadata={"Software": None})


def plain(text: str) -> str:
    """Text in which a dollar is a dollar: between two of them matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def heat(
    axes: "Axes",
    values: F64,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    scale: tuple[str, float, float],
    form: str = "{:.2f}",
) -> Any:  # noqa: ANN401 (matplotlib's image, for a colour bar)
    """A table of numbers as colours, with the numbers where there is room; what is not known is a dash.

    scale: colour map, and the values at its two ends.
    """
    from matplotlib import colormaps  # noqa: PLC0415

    name, low, high = scale
    image = axes.imshow(values, cmap=colormaps[name], vmin=low, vmax=high, aspect="auto")
    crowded = max(values.shape) > 16  # noqa: PLR2004 (numbers would overlap)
    for at, value in np.ndenumerate(values):
        if crowded:
            break
        middle = (low + high) / 2 if low < 0 else low
        dark = abs(value - middle) / (high - middle) > _DARK if high > middle else False
        text = UNKNOWN if np.isnan(value) else form.format(round(float(value), 3) + 0.0).replace("-0.00", "0.00")
        axes.text(at[1], at[0], text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    size = 8 if max(values.shape) <= 24 else 5  # noqa: PLR2004 (names would overlap)
    axes.set_xticks(range(len(columns)), [plain(column) for column in columns], fontsize=size, **TILT)
    axes.set_yticks(range(len(rows)), [plain(row) for row in rows], fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def stacked(axes: "Axes", values: Mapping[str, Values], timeline: Timeline) -> None:
    """Stacked probabilities over time, a gap where nothing is known; classes in their colours."""
    rows = np.array([values[name] for name in EMOTIONS], dtype=np.float64)
    edges = [timeline.edge(i) for i in range(timeline.n_bins + 1)]
    steps = np.concatenate([rows, rows[:, -1:]], axis=1)
    axes.stackplot(edges, steps, colors=[PALETTE[name] for name in EMOTIONS], step="post", linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("probability", fontsize=8)
    time_axis(axes, timeline)


def ribbon(axes: "Axes", tops: Sequence[int], y: float, timeline: Timeline, *, height: float = 0.8) -> None:
    """One class per bin as a band of colour around y; nothing where it is -1."""
    for number, name in enumerate(EMOTIONS):
        at = [i for i, top in enumerate(tops) if top == number]
        spans = [(timeline.edge(i), timeline.edge(i + 1) - timeline.edge(i)) for i in at]
        axes.broken_barh(spans, (y - height / 2, height), facecolors=PALETTE[name], linewidth=0)


def time_axis(axes: "Axes", timeline: Timeline) -> None:
    """Minutes and seconds below, and no more lines than needed."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator  # noqa: PLC0415

    step = next((step for step in _STEPS_S if timeline.n_seconds <= _MAX_TICKS * step), _STEPS_S[-1])
    axes.set_xlim(timeline.first, timeline.end)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: _clock(int(second), timeline.end)))
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend(canvas: "Canvas", more: Sequence[tuple[str, str]] = ()) -> None:
    """What the colours of the classes mean, at the lower edge; further ones as (word, colour)."""
    from matplotlib.patches import Patch  # noqa: PLC0415

    named = [*PALETTE.items(), *more]
    patches = [Patch(facecolor=colour, edgecolor=FAINT, linewidth=0.5, label=plain(name)) for name, colour in named]
    canvas.legend(handles=patches, loc="outside lower center", ncols=min(len(named), 8), frameon=False, fontsize=8)


def _clock(second: int, end: int) -> str:
    """mm:ss, or h:mm:ss in a recording of an hour and more."""
    minutes, seconds = divmod(second, 60)
    if end < _HOUR_S:
        return f"{minutes:02d}:{seconds:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
