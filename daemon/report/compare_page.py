"""The page of a comparison: offset and pairs, how alike both are to each model, each pair over time, annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from daemon.report.align import MAX_OFFSET_S, Alignment, Pair
from daemon.report.compare_drawn import pair_figure, search_figure
from daemon.report.judged import Judged
from daemon.report.markup import RISING, chart, class_key, heat_table, number, percent, table, with_interval
from daemon.report.page import fill, name_of, pictures_section
from daemon.report.paired import COMPARED, MEAN, Paired
from daemon.report.pictures import Picture
from daemon.report.sections import INTERVALS, annotations_section
from daemon.report.study import Arms
from daemon.report.tables import Tables, measure
from pipeline.emotions import EMOTIONS

MAX_DRAWN: Final = 8
"""So many pairs have a figure over time."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two recordings: its letter, its tables, and what annotations say of it."""

    letter: str
    tables: Tables
    arms: Arms
    judged: Judged | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Everything that the page, the pictures and the JSON are made of."""

    a: Side
    b: Side
    alignment: Alignment
    paired: Paired


def comparison_page(found: Comparison, pictures: Sequence[Picture]) -> str:
    """The whole page."""
    body = [
        _header(found),
        *_banners(found),
        _alignment(found),
        _models(found.paired),
        *_timelines(found),
        _shares(found),
    ]
    body += [
        annotations_section(side.judged, f"{side.letter} against human annotations")
        for side in (found.a, found.b)
        if side.judged is not None
    ]
    body.append(pictures_section(pictures))
    return fill(f"attuned: {name_of(found.a.tables)} and {name_of(found.b.tables)}", body)


def _header(found: Comparison) -> str:
    """What is compared."""
    facts = {
        "A": name_of(found.a.tables),
        "B": name_of(found.b.tables),
        "Purpose": " / ".join(dict.fromkeys((found.a.tables.why, found.b.tables.why))),
        "Participants": f"{len(found.a.tables.participants)} and {len(found.b.tables.participants)}",
        "Seconds": f"{found.a.tables.n_seconds} and {found.b.tables.n_seconds}",
        "In common": f"{max(found.paired.n.values())} seconds of {len(found.alignment.pairs)} pairs",
    }
    rows = "".join(f"<div><dt>{dt}</dt><dd>{escape(dd)}</dd></div>" for dt, dd in facts.items())
    return f"""<header>
<p class="kicker">attuned comparison</p>
<h1>Apparent expressions in two recordings</h1>
<dl class="facts">{rows}</dl>
<div class="note"><p><strong>These are apparent expressions, not feelings.</strong> What is alike in both recordings may be
the faces, or what the models make of any face; what differs may be the faces, the picture, or the models' noise.</p></div>
</header>"""


def _banners(found: Comparison) -> list[str]:
    """Which of the two is not whole."""
    return [
        f'<div class="banner" role="note"><p><strong>{side.letter} is partial:</strong> its analysis did not reach the end of '
        "the recording.</p></div>"
        for side in (found.a, found.b)
        if side.tables.summary.get("partial")
    ]


def _alignment(found: Comparison) -> str:
    """The offset and the pairs, and how sure they are."""
    alignment = found.alignment
    if alignment.is_given:
        lead = f"Second 0 of A is second {alignment.offset_s} of B, as given."
    else:
        lead = (
            f"Second 0 of A is second {alignment.offset_s} of B: there the expressions go together best, of all offsets up "
            f"to {MAX_OFFSET_S} s with enough seconds in common. Offsets are whole seconds, as the tables are."
        )
    banner = ""
    if not alignment.is_clear:
        rival = "" if alignment.rival_s is None else f" {alignment.rival_s:+d} s does nearly as well."
        banner = (
            f'<div class="banner" role="note"><p><strong>The offset is not clear from the data.</strong>{rival} '
            "Give it with <code>--offset</code> if you know it.</p></div>"
        )
    rows = [_pair_row(found, pair) for pair in alignment.pairs]
    lone = [
        f"{escape(participant)} ({side.letter})"
        for side, used in (
            (found.a, {pair.a for pair in alignment.pairs}),
            (found.b, {pair.b for pair in alignment.pairs}),
        )
        for place, participant in enumerate(side.tables.participants)
        if place not in used
    ]
    alone = f"<p>Without a partner: {', '.join(lone)}.</p>" if lone else ""
    caption = "Correlation: of the seven probabilities of both over their common seconds. Found pairs are those that go together best."
    search = ""
    if not alignment.is_given and len(alignment.offsets) > 1:
        search = chart("offset", "How well the pairs go together at each offset", search_figure(alignment))
    return f"""<section>
<h2>Offset and pairs</h2>
<p>{lead}</p>{banner}
{table(caption, ["A", "B", "How", "Correlation", "Seconds"], rows, n_text=3)}
{alone}{search}
</section>"""


def _pair_row(found: Comparison, pair: Pair) -> list[str]:
    """One pair."""
    names = (found.a.tables.participants[pair.a], found.b.tables.participants[pair.b])
    shown = [f'<span class="id">{escape(name)}</span>' for name in names]
    return [*shown, "given" if pair.is_given else "found", number(pair.correlation), str(pair.n)]


def _models(paired: Paired) -> str:
    """Fig. 1 of GROUP, its diagonal with intervals, and equal classes."""
    heats = [
        heat_table(f"{words}: A (rows) with B (columns)", "A \\ B", EMOTIONS, EMOTIONS, paired.correlation[model])
        for model, words in COMPARED.items()
    ]
    counts = paired.counts["fused"]
    texts = [[str(n) for n in row] for row in counts.tolist()]
    caption = "Seconds by the most probable class in A (rows) and in B (columns), both models together"
    heats.append(
        heat_table(
            caption, "A \\ B", EMOTIONS, EMOTIONS, counts / max(int(counts.max()), 1), texts=texts, colours=RISING
        )
    )
    of = {(figure.one, figure.other): figure for figure in (*paired.diagonal, *paired.alike)}
    rows = []
    for name in (*EMOTIONS, MEAN):
        cells = [with_interval(of[words, name].value, of[words, name].ci95) for words in COMPARED.values()]
        rows.append([escape(name), *cells])
    alike = [
        [
            escape(f.one),
            "share of seconds with the same most probable class" if f.figure != "kappa" else "kappa",
            with_interval(f.value, f.ci95, as_percent=f.figure != "kappa"),
        ]
        for f in paired.alike
    ]
    difference = paired.diagonal[-1]
    said = with_interval(difference.value, difference.ci95)
    return f"""<section>
<h2>How alike both are to each model</h2>
<p>Correlations of each emotion in A with each in B, each person's own mean subtracted first (GROUP, Fig. 1). Where the
diagonal is strong, a model sees the same changes in both. Landmark model minus pixel model, mean of the diagonal: {
        said
    }.
{INTERVALS}</p>
<div class="tables">{"".join(heats)}</div>
{
        table(
            "Correlation of each emotion with itself in the other recording; a dash: it never moves.",
            ["Emotion", *COMPARED.values()],
            rows,
        )
    }
{table("Equal most probable classes.", ["Model", "Figure", "Value (95 % interval)"], alike, n_text=2)}
</section>"""


def _timelines(found: Comparison) -> list[str]:
    """Each pair over time."""
    sections = []
    for place, pair in enumerate(found.alignment.pairs[:MAX_DRAWN]):
        names = (found.a.tables.participants[pair.a], found.b.tables.participants[pair.b])
        figure = pair_figure(found.a.tables, found.b.tables, names, found.alignment.offset_s)
        title = f"{names[0]} (A) and {names[1]} (B)"
        heading = "<h2>Each pair</h2>" if place == 0 else ""
        more = len(found.alignment.pairs) - MAX_DRAWN
        if place == 0 and more > 0:
            heading += f"<p>The first {MAX_DRAWN} of {len(found.alignment.pairs)} pairs.</p>"
        drawing = chart(f"pair-{place}", f"Expressions of {title} over time", figure)
        sections.append(
            f'<section class="person">{heading}<h3 class="id">{escape(title)}</h3>{class_key(has_signs=False)}{drawing}</section>'
        )
    return sections


def _shares(found: Comparison) -> str:
    """How often each class was the most probable one, and the truth where there is one (GROUP, Fig. 2)."""
    rows = []
    for pair in found.alignment.pairs:
        for side, number_of in ((found.a, pair.a), (found.b, pair.b)):
            participant = side.tables.participants[number_of]
            share = measure(side.tables, participant)
            cells = [percent(share.top.get(name)) for name in EMOTIONS]
            rows.append(
                [f'<span class="id">{escape(participant)}</span> ({side.letter})', *cells, percent(share.abstained)]
            )
    for side in (found.a, found.b):
        if side.judged is not None and side.judged.n_true:
            shares = side.judged.truth / np.maximum(side.judged.n_true, 1)
            rows.append([f"truth of two judges ({side.letter})", *(percent(float(share)) for share in shares), ""])
    caption = (
        "Share of all seconds read in which each class was the most probable one and the models did not abstain; of the truth, "
        "share of the seconds that have one."
    )
    heads = ["Whose", *EMOTIONS, "abstained"]
    return f"<section><h2>What was expressed how often</h2>{table(escape(caption), heads, rows)}</section>"
