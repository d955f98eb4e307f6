"""Sections of the page for researchers: the two models, adaptive weights, synchrony, human annotations."""

from html import escape
from typing import Final

import numpy as np
import polars as pl

from daemon.report.findings import Findings, Synchrony
from daemon.report.judged import MODELS, TRUTH, Figure95, Judged
from daemon.report.markup import RISING, UNKNOWN, chart, class_key, heat_table, number, percent, table, with_interval
from daemon.report.study import Likeness
from daemon.report.study_figures import adaptive_figure, synchrony_figure
from daemon.report.tables import GROUP_TYPES, STATES
from pipeline.agreement import BLOCK_S, MIN_BLOCKS
from pipeline.emotions import EMOTIONS
from pipeline.metrics import I64

MAX_PAIRS: Final = 20
INTERVALS: Final = (
    f"In brackets: 95 % intervals from drawing blocks of {BLOCK_S} seconds with replacement, since neighbouring seconds and "
    f"the people of one call are alike; from {MIN_BLOCKS} blocks on."
)


def analysis_sections(found: Findings) -> list[str]:
    """What researchers look for, after the group and the participants."""
    sections = []
    if found.synchrony is not None:
        sections.append(_synchrony(found, found.synchrony))
    if found.likeness.n:
        sections += [_models(found.likeness), _adaptive(found)]
    if found.judged is not None:
        sections.append(annotations_section(found.judged))
    return sections


def group_tables(found: Findings) -> str:
    """How long the group was of each type, and each member's engagement."""
    parts = []
    typed = found.tables.group.filter(pl.col("type").is_in(list(GROUP_TYPES)))
    if typed.height:
        shares = {name: typed.filter(pl.col("type") == name).height / typed.height for name in GROUP_TYPES}
        said = ", ".join(f"{name} {percent(shares[name])}" for name in reversed(GROUP_TYPES) if shares[name])
        parts.append(f"<p>Type: {said} of the {typed.height} seconds in which it is known.</p>")
    rows = found.engagement.filter(pl.col("state").is_in(list(STATES)))
    if rows.height:
        cells = []
        for participant in found.tables.participants:
            own = rows.filter(pl.col("participant") == participant)
            if own.height:
                shares = {state: own.filter(pl.col("state") == state).height / own.height for state in STATES}
                correlation = own["correlation"].median()
                cells.append(
                    [
                        f'<span class="id">{escape(participant)}</span>',
                        *(percent(shares[state]) for state in STATES),
                        number(correlation if isinstance(correlation, float) else None),
                    ]
                )
        caption = (
            "Engagement: share of the seconds in which a member moved with the others (engaged), on their own (unengaged), "
            "or it was not known yet. Correlation: median of the largest correlation with the mean of the others."
        )
        parts.append(table(caption, ["Participant", *STATES, "Correlation"], cells))
    return "".join(parts)


def annotations_section(judged: Judged, heading: str = "Against human annotations") -> str:
    """How far raters agree, and how far the models agree with them."""
    lead = (
        f"{judged.n_labels} labels by {len(judged.raters)} rater{'' if len(judged.raters) == 1 else 's'} "
        f"({escape(', '.join(judged.raters))}) of {judged.n_items} seconds of people. "
        f"{judged.n_true} of these have a truth: a label that at least two raters gave, and more of them than any other."
    )
    if judged.n_unread:
        lead += f" In {judged.n_unread} of these no face was read; they count in no figure."
    if not judged.n_true:
        lead += " So accuracy, recall and complementarity are not known."
    kappas = [*judged.of("fleiss_kappa"), *(f for f in judged.of("kappa") if f.other != TRUTH)]
    caption = f"Agreement beyond chance: 1 is always, 0 as by chance. Seconds: how many both labelled. {INTERVALS}"
    heads = ["Between", "and", "Kappa (95 % interval)", "Seconds"]
    parts = [f"<p>{lead}</p>", table(escape(caption), heads, [_kappa_row(figure) for figure in kappas], n_text=2)]
    if judged.n_true:
        parts += [_against_truth(judged), _table_one(judged), _confusion(judged.confusion["fused"])]
    return f"<section><h2>{escape(heading)}</h2>{''.join(parts)}</section>"


def _kappa_row(figure: Figure95) -> list[str]:
    """One line of agreement."""
    other = "each other (Fleiss)" if figure.figure == "fleiss_kappa" else figure.other
    return [escape(figure.one), escape(other), with_interval(figure.value, figure.ci95), str(figure.n)]


def _against_truth(judged: Judged) -> str:
    """Accuracy, recall and kappa of each model."""
    found = {(f.one, f.figure): f for f in judged.figures if f.other == TRUTH}
    rows = []
    for words in MODELS.values():
        accuracy, uar, kappa = (found[words, name] for name in ("accuracy", "uar", "kappa"))
        rows.append(
            [
                escape(words),
                with_interval(accuracy.value, accuracy.ci95, as_percent=True),
                with_interval(uar.value, uar.ci95),
                with_interval(kappa.value, kappa.ci95),
                str(accuracy.n),
            ]
        )
    caption = (
        "Models against the truth of two judges: the most probable class, also where the model abstained. UAR: mean recall "
        "over the classes that the truth has."
    )
    heads = ["Model", "Accuracy (95 % interval)", "UAR (95 % interval)", "Kappa (95 % interval)", "Seconds"]
    return table(escape(caption), heads, rows)


def _table_one(judged: Judged) -> str:
    """Table I of GROUP, by the definition of its text."""
    shared = judged.shared
    if shared is None or not shared.n:
        return "<p>No second has both a truth and readings of both models, so what they share is not known.</p>"
    pixel, landmark = (with_interval(f.value, f.ci95, as_percent=True) for f in judged.of("exclusive"))
    rows = [
        ["both right", str(shared.both_right), ""],
        ["only the pixel model right", str(shared.only_a), pixel],
        ["only the landmark model right", str(shared.only_b), landmark],
        ["none right", str(shared.none_right), ""],
    ]
    caption = (
        f"What the two models share in the {shared.n} seconds of people with a truth that both read. Exclusive: of the seconds "
        "that either got right, the share that only this one did."
    )
    return table(escape(caption), ["Outcome", "Seconds", "Exclusive (95 % interval)"], rows)


def _confusion(counts: I64) -> str:
    """What was said where two judges agreed."""
    of_row = counts.sum(axis=1)
    shares = np.divide(counts, of_row[:, None], out=np.full(counts.shape, np.nan), where=of_row[:, None] > 0)
    texts = [[str(n) if n else "0" for n in row] for row in counts.tolist()]
    rows = [f"{name} ({n})" for name, n in zip(EMOTIONS, of_row, strict=True)]
    caption = "Seconds by truth (rows) and by what both models together said (columns), shaded by share of the row"
    return heat_table(caption, "truth", rows, EMOTIONS, shares, texts=texts, colours=RISING)


def _models(like: Likeness) -> str:
    """How alike the two models are, without any truth."""
    tables = []
    for (a, b), values in like.correlation.items():
        caption = f"{a} model (rows) with {b} model (columns)" if a != b else f"{a} model with itself"
        tables.append(heat_table(caption, f"{a} \\ {b}", EMOTIONS, EMOTIONS, values))
    counts = like.counts / max(int(like.counts.max()), 1)
    texts = [[str(n) for n in row] for row in like.counts.tolist()]
    caption = "Seconds by the most probable class of the pixel model (rows) and of the landmark model (columns)"
    tables.append(heat_table(caption, "pixel \\ landmark", EMOTIONS, EMOTIONS, counts, texts=texts, colours=RISING))
    return f"""<section>
<h2>The two models</h2>
<p>In {like.n} seconds of people both models read a face. They name the same most probable class in
{with_interval(like.agreed, like.agreed_ci95, as_percent=True)} of them, kappa {with_interval(like.kappa, like.kappa_ci95)}.
Agreement is not truth: who is right only annotations can say. {INTERVALS}</p>
<p>Correlations over time of each emotion's probability, each participant's own mean subtracted first. A dash: it never
moves. Emotions that hardly occur correlate by small movements.</p>
<div class="tables">{"".join(tables)}</div>
</section>"""


def _adaptive(found: Findings) -> str:
    """What the weights changed."""
    rows = []
    for person in found.adapted:
        common = ", ".join(f"{before} → {after} ({n})" for before, after, n in person.commonest)
        rows.append(
            [
                f'<span class="id">{escape(person.participant)}</span>',
                f"{person.differing} of {person.n}",
                number(person.moved),
                str(person.switches),
                str(person.switches_fixed),
                common or UNKNOWN,
            ]
        )
    caption = (
        "Differing: seconds whose most probable class is another one than with weights 0.5. Moved: mean total variation between "
        "the two, 0 to 1. Switches: how often the most probable class changed from one second to the next; fewer with adaptive "
        "weights means that transients were removed, which may be noise or not. Commonest: class with weights 0.5 → class given."
    )
    heads = ["Participant", "Differing", "Moved", "Switches, adaptive", "Switches, weights 0.5", "Commonest"]
    figure = adaptive_figure(found.tables, found.arms, found.timeline)
    return f"""<section class="group">
<h2>Adaptive weights</h2>
<p>The same readings with the weights that were used, and with both models weighing 0.5 throughout.</p>
{class_key(has_signs=False)}
{chart("adaptive", "The mean of everybody with adaptive weights and with weights 0.5, and where they differ", figure)}
{table(escape(caption), heads, rows)}
</section>"""


def _p_value(p: float | None) -> str:
    """Three digits; none is ever 0."""
    if p is None:
        return UNKNOWN
    return "&lt;0.001" if p < 0.0005 else f"{p:.3f}"  # noqa: PLR2004 (rounds to 0)


def _synchrony(found: Findings, synchrony: Synchrony) -> str:
    """Who moves with whom."""
    people = found.tables.participants
    if not synchrony.is_known:
        why = "It is not known: that needs about a minute in which two faces are seen and move."
        return f"<section><h2>Who moves with whom</h2><p>{why}</p></section>"
    pairs = synchrony.pairs(people)
    n_known = pairs["p_value"].count()
    n_significant = pairs.filter(pl.col("p_value") < 0.05).height  # noqa: PLR2004 (what is called significant)
    shown = pairs.head(MAX_PAIRS)
    rows = [
        [
            f'<span class="id">{escape(one)}</span> and <span class="id">{escape(other)}</span>',
            number(correlation),
            _p_value(p),
        ]
        for one, other, correlation, p in shown.iter_rows()
    ]
    some = f" The {len(rows)} most significant of {pairs.height} pairs." if len(rows) < pairs.height else ""
    caption = f"p-value: against the same series shifted in time; {n_known} pairs are tested, so some are small by chance.{some}"
    return f"""<section class="group">
<h2>Who moves with whom</h2>
<p>Movements of expression of each pair over the whole recording: the largest correlation over small lags. Of {n_known} pairs
{n_significant} move together more than by chance (p &lt; 0.05). Moving together says nothing of feeling the same.</p>
{chart("synchrony", "Correlation of movements of each pair", synchrony_figure(people, synchrony.correlation))}
{table(escape(caption), ["Pair", "Correlation", "p-value"], rows)}
</section>"""
