"""`attuned export`: three formats of one history."""

import json
import re
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import emotionml
import polars as pl
import pytest
from builders import fused, p
from typer.testing import CliRunner
from videos import run

from daemon.cli import app
from daemon.errors import FailedError, UnusableInputError
from daemon.export import NAMESPACE, Span, export
from daemon.session import SessionInfo
from daemon.sinks.history import FILE, History
from pipeline.group import synthesise
from pipeline.types import CallSecond, Event
from pipeline.wire import Stamp, Versions

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PEOPLE = ("p-00000001", "p-00000002")


def info(session: str, anchor: datetime = NOON) -> SessionInfo:
    """A session."""
    return SessionInfo(Stamp(session, f"boot-{session}", anchor), "seed", "research", Versions("px-1", "lm-1"), 2)


def keep(path: Path, *sessions: SessionInfo) -> None:
    """Four seconds of two people, the second of whom is away in second 2; an event in each."""

    async def main() -> None:
        async with History(path) as history:
            for session in sessions:
                for number in range(4):
                    readings = (
                        fused(PEOPLE[0], number, p(happiness=0.75)),
                        fused(PEOPLE[1], number, None if number == 2 else p(anger=0.5)),
                    )
                    events = (Event("camera_on", float(number), PEOPLE[:1]),)
                    await history.second(
                        session, CallSecond(number, readings, synthesise(number, readings), events, ())
                    )

    run(main())


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Two sessions, an hour apart."""
    path = tmp_path / FILE
    keep(path, info("monday"), info("tuesday", NOON + timedelta(hours=1)))
    return path


@pytest.mark.parametrize("style", ["csv", "parquet"])
def test_tables_hold_what_was_kept(history: Path, tmp_path: Path, style: str) -> None:
    """Both formats say the same; absence is empty; events are the payloads of MQTT."""
    done = export(history, tmp_path / "out", Span(session="monday"), style)
    assert done["files"] == {f"seconds.{style}": 8, f"group.{style}": 4, "events.jsonl": 4}
    read = pl.read_csv if style == "csv" else pl.read_parquet
    seconds = read(tmp_path / "out" / f"seconds.{style}")
    assert seconds["happiness"].to_list() == [0.75, 0.0, 0.75, 0.0, 0.75, None, 0.75, 0.0]
    assert seconds["ts"].to_list() == [NOON.timestamp() + s for s in (0, 0, 1, 1, 2, 2, 3, 3)]
    assert seconds["abstain"].to_list() == [False] * 8
    group = read(tmp_path / "out" / f"group.{style}")
    assert set(seconds["purpose"]) | set(group["purpose"]) == {"research"}
    assert set(seconds["basis"]) | set(group["basis"]) == {"consent"}
    assert group["p_happiness"].to_list() == [0.375, 0.375, None, 0.375]
    assert json.loads(group["members"][0]) == list(PEOPLE)
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert [(event["seq"], event["kind"]) for event in events] == [(n, "camera_on") for n in range(4)]


def test_a_span_includes_its_start_and_not_its_end(history: Path, tmp_path: Path) -> None:
    """Of all sessions where none is named."""
    span = Span(NOON + timedelta(seconds=3), NOON + timedelta(hours=1, seconds=1))
    export(history, tmp_path / "out", span, "parquet")
    seconds = pl.read_parquet(tmp_path / "out" / "seconds.parquet")
    assert seconds["session"].to_list() == ["monday"] * 2 + ["tuesday"] * 2


def test_an_empty_span_of_the_history_has_tables_with_columns(history: Path, tmp_path: Path) -> None:
    """Nothing was kept of that session; more rows than a chunk are all there."""
    assert export(history, tmp_path / "out", Span(session="never"), "csv")["files"] == {
        "seconds.csv": 0,
        "group.csv": 0,
        "events.jsonl": 0,
    }
    assert (tmp_path / "out" / "seconds.csv").read_text().startswith("session,boot,purpose,basis,ts,participant,")


def test_tables_longer_than_a_chunk_are_whole(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is lost or doubled where chunks meet."""
    monkeypatch.setattr("daemon.export.CHUNK_ROWS", 4)
    export(history, tmp_path / "out", Span(session="monday"), "parquet")
    assert pl.read_parquet(tmp_path / "out" / "seconds.parquet").height == 8


MUTATIONS: dict[str, tuple[str, str]] = {
    "root": (r"emotionml", "emotion-ml"),
    "namespace": (r"2009/10/emotionml", "2009/10/emotion"),
    "no version": (r' version="1.0" xmlns', " xmlns"),
    "version": (r'version="1.0" xmlns', 'version="2.0" xmlns'),
    "unknown attribute": (r"<emotion ", '<emotion mood="1" '),
    "unknown element": (r"</emotionml>", "<mood/></emotionml>"),
    "info of ours": (r"attuned:reading", "category"),
    "info last": (r"(<info>.*?</info>)(<category[^>]*>)", r"\2\1"),
    "reference first": (r"(<category.*?)(<reference[^>]*>)", r"\2\1"),
    "no description": (r"<(category|dimension) [^>]*>", ""),
    "value too large": (r'value="0', 'value="2'),
    "value no number": (r'value="0', 'value="x'),
    "twice": (r'(<category name="fear"[^>]*>)', r"\1\1"),
    "name of no vocabulary": (r'name="fear"', 'name="contempt"'),
    "another vocabulary": (r"#big6", "#occ-categories"),
    "no vocabulary": (r' category-set="[^"]*"', ""),
    "negative time": (r'start="', 'start="-'),
    "time no number": (r'end="', 'end="now'),
    "no uri": (r' uri="[^"]*"', ""),
    "role": (r'role="expressedBy"', 'role="saidBy"'),
    "vocabulary without type": (r' type="category"', ""),
    "vocabulary of another type": (r' type="category"', ' type="mood"'),
    "vocabulary without id": (r' id="attuned-neutral"', ""),
    "id no name": (r' id="attuned-neutral"', ' id="7 up"'),
    "vocabulary without items": (r"<item [^>]*>", ""),
    "item twice": (r"(<item [^>]*>)", r"\1\1"),
    "item with blanks": (r'<item name="neutral"', '<item name="quite neutral"'),
}


@pytest.mark.parametrize(("wrong", "right"), MUTATIONS.values(), ids=MUTATIONS)
def test_the_rules_of_emotionml_find_what_is_wrong(wrong: str, right: str, history: Path, tmp_path: Path) -> None:
    """Our own document, changed in one way, is refused: the check below means something."""
    export(history, tmp_path / "out", Span(session="monday"), "emotionml")
    text = (tmp_path / "out" / "emotions.xml").read_text()
    changed = re.sub(wrong, right, text)
    assert changed != text
    assert emotionml.complaints(ET.fromstring(changed)) != []  # noqa: S314 (we wrote it)


def test_emotionml_is_what_the_recommendation_demands(history: Path, tmp_path: Path) -> None:
    """Published vocabularies where there are some, the seventh class declared; absence is no emotion."""
    done = export(history, tmp_path / "out", Span(session="monday"), "emotionml")
    assert done["files"] == {"emotions.xml": 7 + 3}
    root = ET.parse(tmp_path / "out" / "emotions.xml").getroot()  # noqa: S314 (we wrote it)
    assert emotionml.complaints(root) == []
    (told,) = root[0]
    assert told.attrib == {"name": "monday", "purpose": "research", "basis": "consent"}
    emotions = root[2:]
    assert len(emotions) == 2 * 10
    first = emotions[0]
    [trust] = first[0]
    assert trust.attrib == {"abstain": "false", "coverage": "1.000000", "quality": "0.900000"}
    assert first.attrib["start"] == str(int(NOON.timestamp()) * 1000)
    values = {part.attrib["name"]: part.attrib.get("value") for part in first if "name" in part.attrib}
    assert values["happiness"] == "0.750000"
    assert 0.5 < float(values["valence"] or 0) < 1
    assert [part.attrib["value"] for part in emotions[1] if "name" in part.attrib] == ["0.250000"]
    assert {e.find(f"{{{NAMESPACE}}}reference").attrib["uri"].rsplit("/", 1)[-1] for e in emotions} == {  # type: ignore[union-attr]
        *PEOPLE,
        "group",
    }


def test_emotionml_escapes_what_a_session_is_called(tmp_path: Path) -> None:
    """Names reach the document as parts of an address."""
    keep(tmp_path / FILE, info('a"<&'))
    export(tmp_path / FILE, tmp_path / "out", Span(), "emotionml")
    assert emotionml.complaints(ET.parse(tmp_path / "out" / "emotions.xml").getroot()) == []  # noqa: S314


def test_emotionml_has_no_times_before_1970(tmp_path: Path) -> None:
    """Said, and what to do."""
    keep(tmp_path / FILE, info("old", datetime(1960, 1, 1, tzinfo=UTC)))
    with pytest.raises(UnusableInputError, match="--from 1970"):
        export(tmp_path / FILE, tmp_path / "out", Span(), "emotionml")


def test_what_cannot_be_exported_is_told(history: Path, tmp_path: Path) -> None:
    """No history, a folder in use, a span without length, a damaged file, another version: one line each."""
    with pytest.raises(UnusableInputError, match=r"there is no history; set history\.enabled"):
        export(tmp_path / "none.sqlite", tmp_path / "out", Span(), "csv")
    with pytest.raises(UnusableInputError, match="not an empty folder"):
        export(history, tmp_path, Span(), "csv")
    with pytest.raises(UnusableInputError, match="not an empty folder"):
        export(history, history, Span(), "csv")
    with pytest.raises(UnusableInputError, match="is not before --to"):
        export(history, tmp_path / "out", Span(NOON, NOON), "csv")
    with pytest.raises(FailedError, match="cannot be written"):
        export(history, history / "in a file", Span(), "csv")
    with closing(sqlite3.connect(history)) as db:
        db.execute("PRAGMA user_version = 7")
    with pytest.raises(UnusableInputError, match="another version of attuned"):
        export(history, tmp_path / "out", Span(), "csv")
    history.write_bytes(b"nothing that SQLite knows" * 100)
    with pytest.raises(FailedError, match="cannot be read"):
        export(history, tmp_path / "out", Span(), "csv")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Span, session and format from the command line; mistakes end with exit code 2."""
    state = tmp_path / "state" / "attuned"
    state.mkdir(parents=True)
    keep(state / FILE, info("monday"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    command = CliRunner()
    times = ("--from", "2026-01-31T12:00:01Z", "--to", "2026-01-31T12:00:03Z")
    done = command.invoke(app, ["export", "out", *times, "--format", "csv", "--session", "monday", "--json"])
    assert json.loads(done.stdout)["files"] == {"seconds.csv": 4, "group.csv": 2, "events.jsonl": 2}
    again = command.invoke(app, ["export", "out", "--format", "emotionml", "--force"])
    assert again.stdout == "out/emotions.xml: 10\n"
    for wrong in (["--format", "xls"], ["--from", "yesterday"], ["--to", "never"], []):
        assert command.invoke(app, ["export", "out", *wrong]).exit_code == 2
