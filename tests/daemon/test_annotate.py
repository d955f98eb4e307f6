"""Human annotations: the empty table, the filled one, and everything that can be wrong with it."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from analysed import write_call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from daemon.annotate import MAX_RATERS, check_fits, read_annotations, write_template
from daemon.cli import app
from daemon.errors import UnusableInputError
from daemon.report.page import write_report
from daemon.report.tables import read_tables
from pipeline.emotions import EMOTIONS

HEAD = "rater,participant,second,label\n"


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_template_has_a_line_for_everybody(tmp_path: Path) -> None:
    """Three raters, two people, seconds 0, 10 of 20: twelve lines, each rater's in one piece, labels empty."""
    tables = read_tables(write_call(tmp_path))
    path = tmp_path / "t.csv"
    assert write_template(tables, path, every=10) == 12
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["rater"] for row in rows] == ["rater-1"] * 4 + ["rater-2"] * 4 + ["rater-3"] * 4
    assert [(row["participant"], row["second"]) for row in rows[:4]] == [
        ("p-00000000", "0"),
        ("p-00000000", "10"),
        ("p-00000001", "0"),
        ("p-00000001", "10"),
    ]
    assert {row["label"] for row in rows} == {""}


def test_a_template_never_replaces_anything(tmp_path: Path) -> None:
    """A file that is there may hold somebody's work: it is left as it is."""
    tables = read_tables(write_call(tmp_path))
    path = _file(tmp_path, "work")
    with pytest.raises(UnusableInputError, match="left alone"):
        write_template(tables, path)
    assert path.read_text() == "work"
    with pytest.raises(UnusableInputError, match="cannot be written"):
        write_template(tables, tmp_path / "none" / "t.csv")


def test_a_template_that_cannot_be_finished_is_taken_back(tmp_path: Path) -> None:
    """With room for 4 kB only: exit code 1, one line, and no half of a table."""
    write_call(tmp_path, n_seconds=200)
    command = ["prlimit", "--fsize=4000", sys.executable, "-m", "daemon", "annotate-template", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 1, done.stderr
    assert "cannot be written (File too large)" in done.stderr
    assert not (tmp_path / "annotations.csv").exists()


@pytest.mark.parametrize("raters", [[], ["a", "a"], ["a", " "], [str(i) for i in range(MAX_RATERS + 1)]])
def test_raters_are_few_and_different(tmp_path: Path, raters: list[str]) -> None:
    """Nobody, the same twice, nameless, too many: one line, and no file."""
    tables = read_tables(write_call(tmp_path))
    with pytest.raises(UnusableInputError, match="different names"):
        write_template(tables, tmp_path / "t.csv", raters=raters)
    assert not (tmp_path / "t.csv").exists()


def test_nobody_to_label(tmp_path: Path) -> None:
    """Without participants there is no template."""
    tables = read_tables(write_call(tmp_path, n=0))
    with pytest.raises(UnusableInputError, match="no participant to label"):
        write_template(tables, tmp_path / "t.csv")


@given(st.lists(st.sampled_from(["", *EMOTIONS]), min_size=6, max_size=6).filter(any))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_what_is_filled_in_is_read_back(tmp_path: Path, labels: list[str]) -> None:
    """A template with labels: every label once, and the empty lines are counted."""
    tables = read_tables(write_call(tmp_path))
    path = tmp_path / "t.csv"
    path.unlink(missing_ok=True)
    write_template(tables, path, raters=["a", "b", "c"], every=20)
    lines = path.read_text().splitlines()
    filled = [line + label for line, label in zip(lines[1:], labels, strict=True)]
    path.write_text("\n".join([lines[0], *filled]) + "\n")
    found = read_annotations(path)
    check_fits(found, tables)
    assert [EMOTIONS[label] for label in found.rows["label"]] == [label for label in labels if label]
    assert found.n_empty == labels.count("")
    assert set(found.raters) <= {"a", "b", "c"}


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "a,p-1,3,fear\n",
        "label;comment;Rater ;participant;second\nFear;why, not?; a;p-1; 3\n\n;;;;\n",
        b"\xef\xbb\xbf" + HEAD.encode() + b'"a","p-1","3","FEAR"\r\n',
        HEAD + "a,p-1,3,fear,one more cell\n",
    ],
    ids=["plain", "semicolons, other order, spaces", "as spreadsheets save it", "surplus cells"],
)
def test_tables_of_all_sorts_are_read(tmp_path: Path, text: str | bytes) -> None:
    """What spreadsheets make of a CSV file is the same to us."""
    (row,) = read_annotations(_file(tmp_path, text)).rows.rows()
    assert row[1:] == ("a", "p-1", 3, EMOTIONS.index("fear"))


BAD = {
    "label": (HEAD + "a,p-1,3,fear\na,p-1,4,bored\n", r"csv:3: label 'bored' is none of anger, .*; write one of them"),
    "column": ("rater,participant,label\n", r"csv:1: column second is missing; the first line must be rater,"),
    "nothing": ("", r"csv:1: column rater is missing"),
    "second": (HEAD + "a,p-1,3.5,fear\n", r"csv:2: second '3\.5' is no whole number"),
    "far": (HEAD + "a,p-1,9999999999999999999,fear\n", r"csv:2: second is far outside"),
    "twice": (
        HEAD + "a,p-1,3,fear\nb,p-1,3,fear\na,p-1,3,\n",
        r"csv:4: rater a has labelled p-1 in second 3 on line 2",
    ),
    "short": (HEAD + "a,p-1,3\n", r"csv:2: has 3 cells of 4"),
    "who": (HEAD + ",p-1,3,fear\n", r"csv:2: names no rater or no participant"),
    "quotes": (HEAD + 'a,p-1,3,fear\n"a"b,p-1,4,fear\n', r"csv:3: is not CSV"),
    "empty": (HEAD + "a,p-1,3,\n", r"csv: holds no label; write one of"),
    "bytes": (HEAD.encode() + b"J\xfcrgen,p-1,3,fear\n", r"csv: is not UTF-8 text; save it"),
    "crowd": (HEAD + "".join(f"r{i},p-1,3,fear\n" for i in range(MAX_RATERS + 1)), r"more than 20 raters"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_tables_are_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    """The line is named, and what to do."""
    with pytest.raises(UnusableInputError, match=message) as caught:
        read_annotations(_file(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    """No file, and a folder in its place."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UnusableInputError, match="cannot be read"):
            read_annotations(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,p-9,3,fear", r"csv:3: participant p-9 is not in this recording; it has p-00000000, p-00000001$"),
        ("a,p-00000000,20,fear", r"csv:3: second 20 is outside of the recording; give 0 to 19$"),
        ("a,p-00000000,-1,fear", r"csv:3: second -1 is outside"),
    ],
)
def test_annotations_of_another_recording_are_told(tmp_path: Path, line: str, message: str) -> None:
    """The report that is there stays, and nothing else is written."""
    write_call(tmp_path)
    (tmp_path / "report.html").write_text("old")
    path = _file(tmp_path, f"{HEAD}a,p-00000001,3,fear\n{line}\n")
    with pytest.raises(UnusableInputError, match=message):
        write_report(tmp_path, annotations=read_annotations(path))
    assert (tmp_path / "report.html").read_text() == "old"
    assert not (tmp_path / "figures").exists()


def _run(*words: object) -> tuple[int, str]:
    """Exit code and stderr of a command."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr


def test_the_commands(tmp_path: Path) -> None:
    """A template, a report with labels, and one line with exit code 2 for what is wrong."""
    write_call(tmp_path, n=1)
    assert _run("annotate-template", tmp_path, "--raters", "a, b", "--every", 5) == (
        0,
        f"{tmp_path}/annotations.csv: 8 lines to label; leave out what you cannot tell\n",
    )
    path = tmp_path / "annotations.csv"
    code, said = _run("annotate-template", tmp_path)
    assert (code, said.count("\n")) == (2, 1)
    code, said = _run("report", tmp_path, "--annotations", path)
    assert (code, said.count("\n")) == (2, 1)
    assert "holds no label" in said
    path.write_text(re.sub(r",$", ",neutral", path.read_text(), flags=re.MULTILINE))
    assert _run("report", tmp_path, "--annotations", path) == (0, f"{tmp_path}/report.html\n")
    table = pl.read_parquet(tmp_path / "figures" / "agreement.parquet")
    assert set(table["figure"]) == {"kappa", "fleiss_kappa", "accuracy", "uar", "exclusive"}
    assert _run("report", tmp_path / "none")[0] == 2
    videos = ["analyze", "a.mp4", "b.mp4", "--out", tmp_path / "out", "--annotations", path]
    code, said = _run(*videos)
    assert (code, "--annotations are of one recording" in said) == (2, True)
