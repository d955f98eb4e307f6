"""Pieces of the page: numbers in words, charts, tables, and tables whose cells are shaded. All text is escaped here."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from math import isnan
from typing import Final

from daemon.report.timeline import MAX_LINES, PEOPLE, Figure
from pipeline.emotions import EMOTIONS, F64
from pipeline.intervals import Interval

UNKNOWN: Final = "\N{EN DASH}"
DIVERGING: Final = ("#2166AC", "#FFFFFF", "#B2182B")
RISING: Final = ("#FFFFFF", "#FFFFFF", "#08519C")
"""Colours of -1, 0 and 1; blue and red, and light and dark, are told apart with every common colour vision."""
_DARK: Final = 0.55


def text_of(value: object, unknown: str = UNKNOWN) -> str:
    """Escaped; a dash for what is not known."""
    return unknown if value in (None, "") else escape(str(value))


def number(value: float | None) -> str:
    """Two digits."""
    return UNKNOWN if value is None or isnan(value) else f"{round(value, 2) + 0.0:.2f}"  # no -0.00


def percent(share: float | None) -> str:
    """Whole per cent; what is little but not nothing does not become 0."""
    if share is None or isnan(share):
        return UNKNOWN
    return "&lt;1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"  # noqa: PLR2004 (rounds to 0)


def with_interval(value: float, interval: Interval, *, as_percent: bool = False) -> str:
    """A figure and its 95 % interval, or that there is none."""
    form = percent if as_percent else number
    if isnan(value):
        return UNKNOWN
    low, high = interval
    return form(value) + (" (interval not known)" if isnan(low) else f" ({form(low)} to {form(high)})")


def chart(identifier: str, label: str, figure: Figure) -> str:
    """A figure's place, and the figure, which the page's script draws there."""
    data = json.dumps(figure, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    height = figure["layout"]["height"]
    return (
        f'<div class="chart" id="{identifier}" role="img" aria-label="{escape(label)}" style="height:{height}px"></div>'
        f'<script type="application/json">{data}</script><noscript><p>The figures need JavaScript.</p></noscript>'
    )


def class_key(people: Sequence[str] = (), *, has_signs: bool = True) -> str:
    """What colours, signs and people's lines mean; stands at every figure, so that a printed page explains itself."""
    classes = "".join(f'<li><span class="swatch {name}"></span>{name}</li>' for name in EMOTIONS)
    shown = people if len(people) <= MAX_LINES else ()
    lines = "".join(f"<li>{line_of(index)}{escape(person)}</li>" for index, person in enumerate(shown))
    signs = '<li><span class="swatch abstained"></span>abstained</li><li>◆ group-wise change</li><li>○ individual change</li>'
    return f'<ul class="key">{classes}{signs if has_signs else ""}{lines}</ul>'


def line_of(index: int) -> str:
    """A bit of a participant's line in the figure of the group."""
    colour, dash = PEOPLE[index]
    dashes = {"solid": "", "dash": "6 4", "dot": "2 3", "dashdot": "7 3 2 3"}[dash]
    return (
        '<svg class="line" width="26" height="8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" '
        f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/></svg>'
    )


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, n_text: int = 1) -> str:
    """A table with a caption; the first `n_text` columns are words. Cells and caption are HTML, heads are escaped."""
    kinds = [' class="text"' if place < n_text else "" for place in range(len(heads))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(heads, kinds, strict=True))
    body = []
    for row in rows:
        first = f'<th scope="row" class="text">{row[0]}</th>'
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        body.append(f"<tr>{first}{cells}</tr>")
    return (
        f'<table class="plain"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def heat_table(
    caption: str,
    corner: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: F64,
    *,
    texts: Sequence[Sequence[str]] | None = None,
    colours: tuple[str, str, str] = DIVERGING,
) -> str:
    """A table of numbers in [-1, 1], shaded: a figure that is read out as well as it is seen.

    texts: what the cells say, where that is not the number with two digits. corner: what rows and columns are.
    """
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in columns)
    body = []
    for i, name in enumerate(rows):
        cells = "".join(
            _cell(float(value), texts[i][j] if texts else number(float(value)), colours)
            for j, value in enumerate(values[i])
        )
        body.append(f'<tr><th scope="row" class="text">{escape(name)}</th>{cells}</tr>')
    return (
        f'<table class="heat"><caption>{escape(caption)}</caption>'
        f'<thead><tr><th class="text" scope="col">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _cell(value: float, text: str, colours: tuple[str, str, str]) -> str:
    """A shaded cell; black or white text, whichever can be read."""
    if isnan(value):
        return f"<td>{text}</td>"
    share = min(abs(value), 1.0)
    end = colours[2] if value >= 0 else colours[0]
    shade = "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_rgb(colours[1]), _rgb(end), strict=True))
    ink = ";color:#fff" if share > _DARK else ""
    return f'<td style="background:#{shade}{ink}">{text}</td>'


def _rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of #rrggbb."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
