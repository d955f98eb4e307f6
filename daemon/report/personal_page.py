"""The page of the personal report: self-contained, with its pictures inside."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemon.errors import FailedError
from daemon.report.markup import UNKNOWN, number, table
from daemon.report.page import fill, pictures_section
from daemon.report.pictures import FIGURES, Picture
from daemon.report.portrait import BeforeAfter, Portrait
from models.personal.gate import Figures
from models.personal.samples import Origin, Samples
from pipeline.emotions import EMOTIONS

ORIGINS: Final = {
    Origin.GROUP: "the group",
    Origin.CORRECTION: "corrections",
    Origin.CALIBRATION: "calibration",
    Origin.SHEET: "sheets",
}
LEADS: Final[Mapping[str, str]] = {
    "curves": "Heads that learnt from a part of the earlier samples, chosen by each method, judged on the later ones (TRANSFER, "
    "Fig. 6). Where the bands hold the dashed line, the method is no better than chance.",
    "components": "Each dot is a second (PERSONAL, Fig. 3 and 5).",
    "feature_correlation": "Of the 51 interpretable features, over all samples (PERSONAL, Fig. 2).",
    "importances": "What is left of the noise's importance may be chance (PERSONAL, Fig. 6).",
}


def personal_page(portrait: Portrait, pictures: Sequence[Picture], folder: Path) -> str:
    """The whole page; the pictures have been written into `figures/` of the folder.

    Raises:
        FailedError: A picture cannot be read back.
    """
    drawn = {picture.name: _picture(picture, folder) for picture in pictures}
    body = [_header(portrait), _samples(portrait), _before_after(portrait, drawn), _history(portrait)]
    body += [
        f"<section><h2>{escape(picture.title)}</h2><p>{LEADS[picture.name]}</p>{drawn[picture.name]}</section>"
        for picture in pictures
        if picture.name != "before_after"
    ]
    if not portrait.curves:
        body.insert(3, "<section><h2>Learning curves</h2><p>There is too little to judge them on.</p></section>")
    body.append(pictures_section(pictures))
    return fill(f"attuned: {portrait.participant}", body, has_charts=False)


def _header(portrait: Portrait) -> str:
    """Who, and what the page is."""
    samples = portrait.samples
    facts = {
        "Participant": portrait.participant,
        "Read by": portrait.serves,
        "Samples": f"{len(samples)} seconds, {_day(samples.time_s[0])} to {_day(samples.time_s[-1])}",
        "Attempts": f"{len(portrait.attempts)} noted, {sum(a.version is not None for a in portrait.attempts)} promoted",
        "Next training": portrait.missing or "due in the next session",
    }
    rows = "".join(f"<div><dt>{dt}</dt><dd>{escape(dd)}</dd></div>" for dt, dd in facts.items())
    return f"""<header>
<p class="kicker">attuned personal report</p>
<h1>Personal models of {escape(portrait.participant)}</h1>
<dl class="facts">{rows}</dl>
<div class="note"><p><strong>These are apparent expressions, not feelings,</strong> and labels are what the others of a group
showed, or what somebody said. How a face moves is personal data: this page is for this person and those who may see it.
<code>attuned models forget {escape(portrait.participant)}</code> erases what it was made from.</p></div>
</header>"""


def _samples(portrait: Portrait) -> str:
    """How many of which class, and who said so."""
    samples = portrait.samples
    rows = []
    for c, emotion in enumerate(EMOTIONS):
        of = samples.label == c
        cells = [str(int((of & (samples.origin == origin)).sum())) for origin in ORIGINS]
        rows.append(
            [f'<span class="swatch {emotion}"></span>{emotion}', *cells, str(int(of.sum())), _confidence(samples, of)]
        )
    caption = "Seconds by their label's largest class, and by where it came from; what a person said counts for more. Confidence: mean."
    heads = ["Expression", *ORIGINS.values(), "all", "confidence"]
    return f"<section><h2>What was gathered</h2>{table(caption, heads, rows)}</section>"


def _confidence(samples: Samples, rows: Any) -> str:  # noqa: ANN401 (a mask)
    """Mean confidence of the labels."""
    return number(float(samples.confidence[rows].mean())) if rows.any() else UNKNOWN


def _before_after(portrait: Portrait, drawn: Mapping[str, str]) -> str:
    """Generic against personal on what is later."""
    found = portrait.before_after
    if found is None:
        why = escape(portrait.why_not or "there is no head")
        return f"<section><h2>Before and after</h2><p>Nothing can be compared yet: {why}.</p></section>"
    verdict = found.verdict
    how = (
        f"<strong>{escape(found.name)}</strong> reads this person now; it is judged on the {len(found.time_s)} samples that are "
        "later than those it learnt from."
        if found.serves
        else f"No personal head reads this person. One was trained for this report, on the earlier {verdict.n_trained} samples, "
        f"and judged on the {len(found.time_s)} later ones, as a session would; nothing of it is kept."
    )
    if verdict.passed:
        told = "<p>It passes every check of the gate.</p>"
    else:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
        told = f'<div class="warnings"><strong>The gate would reject it:</strong><ul>{items}</ul></div>'
    figures = "" if verdict.figures is None else _figures(found, verdict.figures)
    return f"<section><h2>Before and after</h2><p>{how}</p>{told}{drawn['before_after']}{figures}</section>"


def _figures(found: BeforeAfter, figures: Figures) -> str:
    """What the verdict rests on."""
    loss, moves = figures.log_loss, figures.correlation
    rows = [
        ["correlation with the label over time", number(moves.generic), number(moves.personal), f"{moves.low:+.2f}"],
        [
            "log-loss of the label, each at its best softness",
            number(loss.generic),
            number(loss.personal),
            f"{loss.low:+.2f}",
        ],
        ["calibration error", number(figures.ece_generic), number(figures.ece_personal), UNKNOWN],
    ]
    flipped = f"{figures.n_flipped} of {figures.n_confident} confident generic readings change"
    agrees = f"{figures.n_flipped_to_label} of them to what the label says"
    if figures.n_excused:
        agrees += f", besides {figures.n_excused} that the labels call wrong again and again, or a person did"
    pooled = "" if figures.pooled_silhouette is None else f", {figures.pooled_silhouette:.2f} for many people's faces"
    caption = (
        f"On {', '.join(found.verdict.classes)}; {found.verdict.n_judged} seconds in {found.verdict.n_blocks} blocks of time. Sure "
        f"gain: its one-sided 90 % bound. {flipped}, {agrees}. Silhouette of the classes: {figures.silhouette:.2f}{pooled}."
    )
    return table(escape(caption), ["Figure", "generic", "personal", "sure gain"], rows)


def _history(portrait: Portrait) -> str:
    """Versions and attempts."""
    versions = [
        [
            f'<span class="id">{escape(v.name)}</span>',
            escape(v.learner),
            _day(v.created_s),
            "reads" if v.name == portrait.serves else "rolled back" if v.state == "rolled_back" else "kept",
            escape(v.reason or ""),
        ]
        for v in portrait.versions
    ]
    attempts = [
        [
            _day(attempt.time_s),
            escape(attempt.learner),
            f"{attempt.n_trained} / {attempt.n_judged}",
            escape(attempt.version or "rejected"),
            escape("; ".join(attempt.reasons)) or UNKNOWN,
        ]
        for attempt in reversed(portrait.attempts)
    ]
    heads = table("Heads on disk.", ["Head", "Learner", "Made", "State", "Why"], versions, n_text=5) if versions else ""
    caption = "Every training of the last time, the newest first; learnt from / judged on so many samples."
    names = ["When (UTC)", "Learner", "Samples", "Outcome", "Reasons against it"]
    tried = table(caption, names, attempts, n_text=5) if attempts else "<p>Nothing was tried yet.</p>"
    return f"<section><h2>Heads and attempts</h2>{heads}{tried}</section>"


def _picture(picture: Picture, folder: Path) -> str:
    """The picture itself, so that the page can be given away alone."""
    try:
        data = (folder / FIGURES / f"{picture.name}.png").read_bytes()
    except OSError as error:
        msg = f"{folder}: its figures cannot be read back ({error.strerror})"
        raise FailedError(msg) from error
    return (
        f'<figure class="drawn"><img alt="{escape(picture.title)}" '
        f'src="data:image/png;base64,{b64encode(data).decode("ascii")}"></figure>'
    )


def _day(time_s: float) -> str:
    """UTC, to the minute."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M") if np.isfinite(time_s) else UNKNOWN
