"""`attuned export`: the history of a span of time as CSV, Parquet or EmotionML 1.0 (W3C Recommendation, 22 May 2014).

A daemon may be writing meanwhile: everything is read in one transaction, so the tables of an export agree.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import polars as pl

from daemon.erasure_register import register
from daemon.errors import FailedError, UnusableInputError
from daemon.sinks.history import READING_COLUMNS, VERSION
from pipeline.emotions import EMOTIONS

Format = Literal["csv", "parquet", "emotionml"]

CHUNK_ROWS = 20_000
TEXTS = {"session", "boot", "purpose", "basis", "participant", "top", "head_pixel", "head_landmark"}
COUNTS = {"n_frames": pl.Int64, "abstain": pl.Boolean}
SECONDS_SCHEMA: dict[str, Any] = {
    name: pl.String if name in TEXTS else COUNTS.get(name, pl.Float64) for name in READING_COLUMNS
}
GROUP_FIELDS = ("dominant", "members", "engaged", "excluded", "deviation", "clusters")
"""JSON in one cell, in both formats: their shape differs from second to second."""
GROUP_SCHEMA: dict[str, Any] = {
    "session": pl.String,
    "boot": pl.String,
    "purpose": pl.String,
    "basis": pl.String,
    "ts": pl.Float64,
    **{f"p_{name}": pl.Float64 for name in EMOTIONS},
    **{f"denoised_{name}": pl.Float64 for name in EMOTIONS},
    **dict.fromkeys(GROUP_FIELDS, pl.String),
    "polarisation": pl.Float64,
    "type": pl.String,
    "synchrony": pl.Float64,
    "homogeneity": pl.Float64,
}
NAMESPACE = "http://www.w3.org/2009/10/emotionml"
PUBLISHED = "http://www.w3.org/TR/emotion-voc/xml"
"""Vocabularies for EmotionML, W3C Working Group Note: `big6` has six of our classes, `fsre-dimensions` has valence
and arousal on a scale from 0 to 1."""
INFO_NAMESPACE = "urn:attuned:emotionml-info"
"""Of what `info` tells beyond EmotionML: which sessions these are, why they were read, and how far to trust a reading."""
OWN = "attuned-neutral"
"""The seventh class is in no published vocabulary beside the six; the document declares it."""
BIG6 = tuple(name for name in EMOTIONS if name != "neutral")


@dataclass(frozen=True, slots=True)
class Span:
    """What is wanted: UTC from `start` (included) to `end` (not included), of one session or all; None: no bound."""

    start: datetime | None = None
    end: datetime | None = None
    session: str | None = None

    def where(self) -> tuple[str, tuple[object, ...]]:
        """A condition in SQL and its values."""
        terms: list[tuple[str, object]] = []
        if self.start is not None:
            terms.append(("ts >= ?", self.start.timestamp()))
        if self.end is not None:
            terms.append(("ts < ?", self.end.timestamp()))
        if self.session is not None:
            terms.append(("session = ?", self.session))
        return " AND ".join(term for term, _ in terms) or "1", tuple(value for _, value in terms)


def export(history: Path, out: Path, span: Span, style: Format, *, force: bool = False) -> dict[str, object]:
    """Writes what the history has of a span into the folder `out`; which files, and how many rows.

    `csv` and `parquet`: `seconds`, `group`, and `events.jsonl`. `emotionml`: `emotions.xml`.

    Raises:
        UnusableInputError: There is no history, or the folder is not empty, or the span is.
        FailedError: The history cannot be read, or the files cannot be written.
    """
    if span.start is not None and span.end is not None and span.start >= span.end:
        msg = f"--from {span.start.isoformat()} is not before --to {span.end.isoformat()}"
        raise UnusableInputError(msg)
    if not history.is_file():
        msg = f"{history}: there is no history; set history.enabled: true and run a session"
        raise UnusableInputError(msg)
    try:
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not force)):
            msg = f"{out}: is not an empty folder; give another OUT, or --force"
            raise UnusableInputError(msg)
        out.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(f"file:{quote(str(history.resolve()))}?mode=ro", uri=True)) as db:
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found != VERSION:
                what = "start attuned run once, which brings it up to date" if found < VERSION else "use that one"
                msg = f"{history}: was written by another version of attuned ({found}, not {VERSION}); {what}"
                raise UnusableInputError(msg)
            db.execute("BEGIN")
            written = _emotionml(db, out, span) if style == "emotionml" else _tables(db, out, span, style)
    except sqlite3.Error as error:
        msg = f"{history}: cannot be read ({error}); a damaged history is moved aside by the next attuned run"
        raise FailedError(msg) from error
    except (OSError, pl.exceptions.ComputeError) as error:
        msg = f"{out}: cannot be written ({error}); free the disk, or give another OUT"
        raise FailedError(msg) from error
    register(history.parent, "export", out)
    return {"out": str(out), "format": style, "files": written}


def _tables(db: sqlite3.Connection, out: Path, span: Span, style: Format) -> dict[str, int]:
    """Seconds, group and events as files."""
    seconds = (
        {**dict(zip(READING_COLUMNS, row, strict=True)), "abstain": bool(row[READING_COLUMNS.index("abstain")])}
        for row in _select(db, "readings", ", ".join(READING_COLUMNS), span)
    )
    groups = (_group(*row) for row in _select(db, "groups", "session, boot, purpose, basis, ts, payload", span))
    written = {
        f"seconds.{style}": _write(out / f"seconds.{style}", seconds, SECONDS_SCHEMA),
        f"group.{style}": _write(out / f"group.{style}", groups, GROUP_SCHEMA),
        "events.jsonl": 0,
    }
    with (out / "events.jsonl").open("w", encoding="utf-8") as file:
        for (payload,) in _select(db, "events", "payload", span):
            file.write(f"{payload}\n")
            written["events.jsonl"] += 1
    return written


def _select(db: sqlite3.Connection, table: str, columns: str, span: Span) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of time."""
    condition, values = span.where()
    yield from db.execute(f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY ts, id", values)  # noqa: S608 (both are ours)


def _group(session: str, boot: str, purpose: str, basis: str | None, ts: float, payload: str) -> dict[str, object]:
    """A row of `GROUP_SCHEMA`."""
    told: dict[str, Any] = json.loads(payload)
    row: dict[str, object] = {"session": session, "boot": boot, "purpose": purpose, "basis": basis, "ts": ts}
    for prefix, key in (("p_", "probabilities"), ("denoised_", "denoised")):
        row |= {prefix + name: (told[key] or {}).get(name) for name in EMOTIONS}
    row |= {name: json.dumps(told[name], separators=(",", ":")) for name in GROUP_FIELDS}
    return row | {name: told[name] for name in ("polarisation", "type", "synchrony", "homogeneity")}


def _write(path: Path, rows: Iterator[dict[str, object]], schema: dict[str, Any]) -> int:
    """One table as CSV or Parquet; how many rows."""
    chunks = [pl.DataFrame(schema=schema)]
    waiting: list[dict[str, object]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == CHUNK_ROWS:
            chunks.append(pl.DataFrame(waiting, schema=schema))
            waiting.clear()
    table = pl.concat([*chunks, pl.DataFrame(waiting, schema=schema)])
    if path.suffix == ".csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)
    return table.height


# EmotionML


def _emotionml(db: sqlite3.Connection, out: Path, span: Span) -> dict[str, int]:
    """One document: each participant and the group, in every second in which they were read."""
    n = 0
    with (out / "emotions.xml").open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f'<emotionml version="1.0" xmlns="{NAMESPACE}" xmlns:attuned="{INFO_NAMESPACE}">\n')
        condition, bounds = span.where()
        selects = (f"SELECT session, purpose, basis FROM {name} WHERE {condition}" for name in ("readings", "groups"))  # noqa: S608 (ours)
        query = f"{' UNION '.join(selects)} ORDER BY session, purpose"
        sessions = "".join(
            f"<attuned:session name={quoteattr(session)} purpose={quoteattr(purpose)}"
            f" basis={quoteattr(basis or 'unknown')}/>"
            for session, purpose, basis in db.execute(query, (*bounds, *bounds))
        )
        file.write(f" <info>{sessions}</info>\n" if sessions else "")
        file.write(f' <vocabulary type="category" id="{OWN}"><item name="neutral"/></vocabulary>\n')
        columns = ", ".join(
            ("session", "ts", "participant", "abstain", "coverage", "quality", *EMOTIONS, "valence", "arousal")
        )
        for session, ts, who, abstain, coverage, quality, *values in _select(db, "readings", columns, span):
            if values[0] is None:
                continue
            shares = dict(zip(EMOTIONS, values[: len(EMOTIONS)], strict=True))
            valence, arousal = values[len(EMOTIONS) :]
            uri = f"attuned:session/{quote(session)}/participant/{quote(who)}"
            trust = {
                "abstain": "true" if abstain else "false",
                "coverage": _scale(coverage),
                "quality": _scale(quality),
            }
            file.write(_emotion(ts, uri, shares, {"valence": valence, "arousal": arousal}, trust))
            n += 1
        for session, ts, payload in _select(db, "groups", "session, ts, payload", span):
            shares = json.loads(payload)["probabilities"]
            if shares is not None:
                file.write(_emotion(ts, f"attuned:session/{quote(session)}/group", shares, {}))
                n += 1
        file.write("</emotionml>\n")
    return {"emotions.xml": n}


def _emotion(
    ts: float, uri: str, shares: dict[str, float], affect: dict[str, float], trust: dict[str, str] | None = None
) -> str:
    """Two emotions of the same second and person, since each takes its categories from one vocabulary.

    Values are probabilities; valence and arousal go from [-1, 1] to EmotionML's scale, 0 to 1. `trust` says, as `info`,
    how far the reading can be trusted.

    Raises:
        UnusableInputError: It was before 1970, which EmotionML's times cannot say.
    """
    start_ms = round(ts * 1000)
    if start_ms < 0:
        msg = "EmotionML has no times before 1970; give --from 1970-01-01T00:00:00Z"
        raise UnusableInputError(msg)
    head = f'start="{start_ms}" end="{start_ms + 1000}" expressed-through="face"'
    who = f'<reference role="expressedBy" uri={quoteattr(uri)}/>'
    told = "".join(f" {name}={quoteattr(value)}" for name, value in (trust or {}).items())
    info = f"<info><attuned:reading{told}/></info>" if told else ""
    six = "".join(f'<category name="{name}" value="{_scale(shares[name])}"/>' for name in BIG6)
    dimensions = "".join(f'<dimension name="{name}" value="{_scale((v + 1) / 2)}"/>' for name, v in affect.items())
    uses = f' dimension-set="{PUBLISHED}#fsre-dimensions"' if affect else ""
    return (
        f' <emotion category-set="{PUBLISHED}#big6"{uses} {head}>{info}{six}{dimensions}{who}</emotion>\n'
        f' <emotion category-set="#{OWN}" {head}>{info}'
        f'<category name="neutral" value="{_scale(shares["neutral"])}"/>{who}</emotion>\n'
    )


def _scale(value: float) -> str:
    """Six digits in [0, 1], without an exponent."""
    return f"{min(1.0, max(0.0, value)):.6f}"
