"""The report of `attuned analyze`: one self-contained HTML file and a folder of figures, made from the tables alone.

The same tables and annotations give the same bytes, whenever it is made. Whatever comes from a file is escaped, and the
page forbids itself every network access.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

import polars as pl
from plotly.offline import get_plotlyjs

from daemon.annotate import Annotations, check_fits
from daemon.errors import FailedError
from daemon.report.drawn import NAMES, pictures_of
from daemon.report.figures import group_figure, participant_figure, what, who
from daemon.report.findings import Findings, find
from daemon.report.markup import UNKNOWN, chart, class_key, line_of, number, percent, text_of
from daemon.report.pictures import FIGURES, Picture, write_pictures
from daemon.report.sections import analysis_sections, group_tables
from daemon.report.tables import Happening, Layout, Shares, Tables, measure, read_tables, strings
from daemon.report.timeline import MAX_LINES, PALETTE, Timeline
from pipeline import wire
from pipeline.emotions import EMOTIONS

TEMPLATE: Final = Path(__file__).with_name("page.html.tmpl")
MAX_EVENTS: Final = 200
MAX_NAMED: Final = 8
HOUR_S: Final = 3600


def write_report(folder: Path, *, annotations: Annotations | None = None) -> Path:
    """The path of `report.html`, made with `figures/` from the tables that `attuned analyze` left in `folder`.

    Raises:
        UnusableInputError: A table is missing or unreadable, or the annotations do not fit it; nothing is written.
        FailedError: The report cannot be written; an older page stays as it was.
    """
    tables = read_tables(folder)
    if annotations is not None:
        check_fits(annotations, tables)
    found = find(tables, annotations)
    pictures = pictures_of(found)
    write_pictures(folder, pictures, ours=NAMES)
    return write_page(folder / "report.html", render(found, pictures))


def write_page(path: Path, page: str) -> Path:
    """The path, once the page is there; atomically.

    Raises:
        FailedError: The disk does not take it.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        msg = f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        raise FailedError(msg) from error
    return path


def render(found: Findings, pictures: Sequence[Picture]) -> str:
    """The whole page."""
    tables, timeline = found.tables, found.timeline
    name = name_of(tables)
    shares = [measure(tables, participant) for participant in tables.participants]
    body = [
        _header(tables, name),
        *_banners(tables, shares),
        _overview(shares, timeline),
        _group_section(found),
        *_participant_sections(tables, shares, timeline),
        *analysis_sections(found),
        _events_section(tables),
        pictures_section(pictures),
        _provenance(tables),
    ]
    return fill(f"attuned: {name}", body)


def fill(title: str, body: Iterable[str], *, has_charts: bool = True) -> str:
    """A page with its style and its script; four megabytes of these are left out where nothing is to be drawn."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        palette="\n".join(f".{emotion} {{ background: {colour}; }}" for emotion, colour in PALETTE.items()),
        body="\n".join(body),
        plotly=get_plotlyjs() if has_charts else "",
    )


def name_of(tables: Tables) -> str:
    """A recording by its fingerprint: file names may say whose it is."""
    return f"recording {str(_part(tables.summary, 'recording').get('fingerprint') or '')[:8]}".strip()


def pictures_section(pictures: Sequence[Picture]) -> str:
    """Which files hold the figures."""
    if not pictures:
        return ""
    items = "".join(f"<li><code>{picture.name}</code>: {escape(picture.title)}</li>" for picture in pictures)
    return (
        f"<section><h2>Figures as files</h2><p>In <code>{FIGURES}/</code> beside this page, each as <code>.png</code> for "
        f'papers and with its data as <code>.parquet</code>:</p><ul class="files">{items}</ul></section>'
    )


def _header(tables: Tables, name: str) -> str:
    """What was analysed, why and with what; and what it is not."""
    recording = _part(tables.summary, "recording")
    models = _part(tables.summary, "models")
    anchor = recording.get("anchor")  # the epoch stands for a recording that does not say when it was made
    facts = {
        "Recording": name,
        "Length": _clock(tables.n_seconds, tables) if tables.n_seconds else UNKNOWN,
        "Picture": _picture(recording),
        "Begins at": None if anchor == wire.rfc3339(wire.EPOCH) else anchor,
        "Purpose": tables.why,
        "Participants": len(tables.participants),
        "attuned": tables.summary.get("version"),
        "Models": ", ".join(str(_part(models, arm).get("version", arm)) for arm in models),
    }
    rows = "".join(f"<div><dt>{dt}</dt><dd>{text_of(dd)}</dd></div>" for dt, dd in facts.items())
    return f"""<header>
<p class="kicker">attuned report</p>
<h1>Apparent expressions in {escape(name)}</h1>
<dl class="facts">{rows}</dl>
<div class="note"><p><strong>These are apparent expressions, not feelings.</strong> Two models estimated from
pictures of faces what an onlooker might read in them. They err, and more often on faces unlike those they learned
from. Where the models abstained, the second is hatched and should not be acted upon. Where no face was seen there
is a gap: absence is never counted as neutral.</p></div>
</header>"""


def _banners(tables: Tables, shares: Sequence[Shares]) -> list[str]:
    """What a reader has to know before anything else."""
    banners = []
    if tables.summary.get("partial"):
        reason = text_of(tables.summary.get("reason"), "no reason was recorded")
        banners.append(
            '<div class="banner" role="note"><p><strong>Partial: the analysis did not reach the end of the recording.'
            f"</strong></p><p>Reason: {reason}. What was read until then is shown.</p></div>"
        )
    if not shares:
        banners.append('<div class="banner" role="note"><p><strong>No participant was found.</strong></p></div>')
    elif not any(share.n_read for share in shares):
        banners.append('<div class="banner" role="note"><p><strong>No face was read in any second.</strong></p></div>')
    warnings = strings(tables.summary.get("warnings"))
    if warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
        banners.append(f'<div class="warnings"><strong>Warnings</strong><ul>{items}</ul></div>')
    return banners


def _overview(shares: Sequence[Shares], timeline: Timeline) -> str:
    """A row per participant."""
    if not shares:
        return ""
    heads = "".join(f'<th scope="col"><span class="swatch {name}"></span>{name}</th>' for name in EMOTIONS)
    rows = []
    for index, share in enumerate(shares):
        most = max(share.top.values(), default=0.0)
        tops = "".join(_top_cell(share.top.get(name), most) for name in EMOTIONS)
        stroke = line_of(index) if len(shares) <= MAX_LINES else ""
        rows.append(
            f'<tr><th scope="row" class="text">{stroke}<span class="id">{escape(share.participant)}</span></th>'
            f"<td>{share.n_read} / {share.n_seconds}</td><td>{percent(share.coverage)}</td>{tops}"
            f"<td>{percent(share.abstained)}</td><td>{number(share.confidence)}</td>"
            f"<td>{number(share.quality)}</td></tr>"
        )
    coarse = "" if timeline.width == 1 else f" Curves show means over {timeline.width} s; numbers use every second."
    return f"""<section>
<h2>Participants</h2>
<table class="people">
<caption>Classes: share of the seconds read in which this was the most probable class and the models did not abstain;
with the abstained share they make 100 %. Coverage: frames read of frames expected. Confidence: mean probability of
the most probable class. Quality: how far the pictures of the face can be trusted, 0 to 1.{coarse}</caption>
<thead><tr><th scope="col" class="text">Participant</th><th scope="col">Seconds read / in call</th>
<th scope="col">Coverage</th>{heads}<th scope="col"><span class="swatch abstained"></span>abstained</th>
<th scope="col">Confidence</th><th scope="col">Quality</th></tr></thead>
<tbody>{"".join(rows)}</tbody>
</table>
</section>"""


def _top_cell(share: float | None, most: float) -> str:
    """A share of a class: the largest of its row is bold, nothing is faint."""
    kind = "" if share is None else ' class="faint"' if share == 0 else ' class="most"' if share == most else ""
    return f"<td{kind}>{percent(share)}</td>"


def _group_section(found: Findings) -> str:
    """The group and the events over time."""
    tables, timeline = found.tables, found.timeline
    if not timeline.n_seconds:
        return ""
    figure = group_figure(tables, timeline)
    known = tables.group.drop_nulls(f"p_{EMOTIONS[0]}").select("dominant")
    if known.height:
        title = "The group"
        shares = {n: known.filter(pl.col("dominant").list.contains(n)).height / known.height for n in EMOTIONS}
        most = sorted((n for n in EMOTIONS if shares[n]), key=lambda n: -shares[n])
        said = ", ".join(f"{n} {percent(shares[n])}" for n in most)
        lead = f"Dominant: {said} of {known.height} seconds. Several classes can be dominant at once."
    else:
        title, lead = "Events over time", "There is no group emotion: it needs two members whose faces are read."
    if figure is None:
        return f"<section><h2>{title}</h2><p>{lead}</p></section>"
    return f"""<section class="group">
<h2>{title}</h2>
<p>{lead}</p>
{class_key(tables.participants) if known.height else ""}
{chart("group", "The group and the events over time", figure)}
{group_tables(found)}
</section>"""


def _participant_sections(tables: Tables, shares: Sequence[Shares], timeline: Timeline) -> Iterable[str]:
    """A timeline per participant."""
    for index, share in enumerate(shares):
        who = f'<h3 class="id">{escape(share.participant)}</h3>'
        place = _place(tables.layouts.get(share.participant), share.participant, _part(tables.summary, "recording"))
        heading = "<h2>Each participant</h2>" if index == 0 else ""
        if share.n_read == 0:
            lead = '<p class="faint">never read: no face was seen in any second</p>'
            yield f'{heading}<section class="person"><div class="who">{place}{who}{lead}</div></section>'
            continue
        top = max(EMOTIONS, key=share.top.__getitem__)
        lead = (
            f"<p>{share.n_read} of {share.n_seconds} s read, coverage {percent(share.coverage)}, "
            f"abstained {percent(share.abstained)}, most often {top} ({percent(share.top[top])})</p>"
        )
        figure = participant_figure(tables, share.participant, timeline)
        drawing = chart(f"participant-{index}", f"Expressions of {share.participant} over time", figure)
        yield f'<section class="person">{heading}<div class="who">{place}{who}{lead}</div>{class_key()}{drawing}</section>'


def _events_section(tables: Tables) -> str:
    """Events in words, for paper and for screen readers."""
    happenings = tables.happenings
    if not happenings:
        return "<section><h2>Events</h2><p>Nothing happened that makes an event.</p></section>"
    shown = sorted(sorted(happenings, key=_importance)[:MAX_EVENTS], key=lambda happening: happening.second)
    rows = "".join(
        f'<tr><td>{_clock(h.second, tables)}</td><td class="text">{_sign(h)} {escape(what(h))}</td>'
        f'<td class="text">{escape(who(h, MAX_NAMED))}</td>'
        f"<td>{number(_as_number(h.data.get('distance'))) if h.kind == 'change' else ''}</td></tr>"
        for h in shown
    )
    note = (
        f" {len(shown)} of {len(happenings)} events: group changes and other events first, then the largest individual "
        "changes; all of them are in events.jsonl."
        if len(shown) < len(happenings)
        else ""
    )
    return f"""<section>
<h2>Events</h2>
<table class="events">
<caption>◆ group-wise, ○ individual. Distance: total variation between the expression before and after, 0 to 1.{note}
</caption>
<thead><tr><th scope="col">Time</th><th scope="col" class="text">What</th><th scope="col" class="text">Who</th>
<th scope="col">Distance</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</section>"""


def _provenance(tables: Tables) -> str:
    """What it takes to make the same tables again."""
    summary = tables.summary
    named = {key: summary[key] for key in ("recording", "models", "counts", "settings") if key in summary}
    items = "".join(f"<li>{escape(key)}: {text_of(value)}</li>" for key, value in _flat(named))
    return f'<section><h2>Provenance</h2><ul class="settings">{items}</ul></section>'


def _place(layout: Layout | None, participant: str, recording: Mapping[str, Any]) -> str:
    """Where in the gallery a participant sat when first seen: a pseudonym that can be found, without a picture."""
    if not layout:
        return ""
    width = _as_number(recording.get("width")) or max(box[2] for _, box in layout)
    height = _as_number(recording.get("height")) or max(box[3] for _, box in layout)
    if width <= 0 or height <= 0:
        return ""
    boxes = "".join(
        f'<rect x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}" '
        f'fill="{"#1A1A1A" if name == participant else "#FFFFFF"}"/>'
        for name, (x0, y0, x1, y1) in layout
    )
    return (
        f'<svg class="place" width="56" height="{56 * height / width:.0f}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="Place in the gallery when first seen"><g stroke="#6B7280" stroke-width="{width / 56:.1f}">'
        f"{boxes}</g></svg>"
    )


def _importance(happening: Happening) -> tuple[bool, float]:
    """Sorts what must not be missed first."""
    if happening.kind == "change" and happening.scope != "group":
        return True, -(_as_number(happening.data.get("distance")) or 0.0)
    return False, float(happening.second)


def _sign(happening: Happening) -> str:
    """The sign that an event has in the figures."""
    return {"group": "◆", "individual": "○"}.get(happening.scope, "") if happening.kind == "change" else ""


def _clock(second: int, tables: Tables) -> str:
    """mm:ss, or h:mm:ss in recordings of an hour and more."""
    minutes, seconds = divmod(second, 60)
    if tables.first + tables.n_seconds < HOUR_S:
        return f"{minutes:02d}:{seconds:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _picture(recording: Mapping[str, Any]) -> str:
    """Size, rate and codec, as far as they are known."""
    parts = (
        [f"{recording['width']} \N{MULTIPLICATION SIGN} {recording['height']}"]
        if {"width", "height"} <= recording.keys()
        else []
    )
    fps = _as_number(recording.get("fps"))
    parts += [f"{fps:g} fps"] if fps else []
    parts += [str(recording["codec"])] if recording.get("codec") else []
    return ", ".join(parts)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves of nested objects with dotted names."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _part(summary: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object of the summary; empty where there is none."""
    part = summary.get(key)
    return part if isinstance(part, dict) else {}


def _as_number(value: object) -> float | None:
    """A number, if it is one."""
    return float(value) if isinstance(value, int | float) else None
