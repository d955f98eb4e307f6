"""`attuned label`: from an analysed recording to a sheet, and from the sheet to samples and to a personal analysis."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from analysed import HAPPY, NEUTRAL, reading, write_call, write_folder
from skimage import data as pictures
from typer.testing import CliRunner
from videos import write_pictures

from config.settings import Settings
from daemon.annotate import read_annotations
from daemon.catalogue import basis_of, people_of
from daemon.cli import app
from daemon.errors import UnusableInputError
from daemon.label import COLUMNS, N_BLIND, choose, write_sheet
from daemon.report.tables import read_tables
from daemon.sinks.features import read_features, samples_of
from models.personal.buffer import Buffer
from models.personal.samples import Origin
from pipeline.emotions import EMOTIONS

pytestmark = pytest.mark.timeout(180)
WHO = "p-0000ca11"
START = datetime(2026, 1, 2, tzinfo=UTC)


def invoke(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command whose state is in the folder."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env={"ATTUNED_STATE_DIR": str(folder / "state")})
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video of twenty seconds of a face, and what `analyze --features` made of it."""
    folder = tmp_path_factory.mktemp("label")
    face = pictures.astronaut()[:256, 96:352].astype(np.float64)
    shots = [(face * (0.6 + 0.4 * abs(np.sin(k / 9)))).astype(np.uint8) for k in range(100)]
    write_pictures(folder / "call.mp4", shots, fps=5)
    arguments = (
        "analyze",
        folder / "call.mp4",
        "--out",
        folder / "out",
        "--features",
        "--start",
        "2026-01-02T00:00:00Z",
    )
    code, _, err = invoke(folder, *arguments)
    assert code == 0, err
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    """Lines of a sheet."""
    return list(csv.DictReader(path.read_text().splitlines()))


def test_features_are_those_of_the_seconds_that_were_read(analysed: Path) -> None:
    """One row each, finite, for their owner alone; the tables are what they are without."""
    tables, features = read_tables(analysed / "out"), read_features(analysed / "out")
    assert features["second"].to_list() == list(range(20))
    assert features["participant"].unique().to_list() == list(tables.participants)
    samples = samples_of(features)
    assert (samples.pixel.shape, samples.interpretable.shape) == ((20, 256), (20, 51))
    assert np.isfinite(samples.landmark).all()
    assert (analysed / "out" / "features.parquet").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("method", ["gsx", "igs", "mcdue", "gsy", "random"])
def test_the_sheet_asks_about_seconds_that_lie_apart(analysed: Path, tmp_path: Path, method: str) -> None:
    """As many as asked for, in order of time, with what both models said, and nothing filled in."""
    out = tmp_path / "sheet.csv"
    arguments = ("label", analysed / "out", "--n", 5, "--apart", 3, "--method", method, "--out", out, "--json")
    code, told, err = invoke(analysed, *arguments)
    assert code == 0, err
    rows = rows_of(out)
    [(participant, seconds)] = json.loads(told)["seconds"].items()
    assert [(row["participant"], int(row["second"])) for row in rows] == [(participant, s) for s in seconds]
    assert seconds == sorted(seconds)
    assert len(seconds) == 5
    assert min(np.diff(seconds)) >= 3
    tables = read_tables(analysed / "out")
    for row in rows:
        said = tables.seconds.filter(pl.col("second") == int(row["second"]))
        assert (row["label"], row["both"]) == ("", said["top"][0])
        assert float(row["confidence"]) == pytest.approx(said["confidence"][0], abs=0.005)
        assert row["time"] == f"0:00:{int(row['second']):02d}"
        assert row["where"] == "50 % from the left, 50 % from the top"


def test_the_whole_way_round(analysed: Path, tmp_path: Path) -> None:
    """Asked, answered, kept: samples with the labels of the sheet, their own time and features; and again: no more of them."""
    sheet = tmp_path / "sheet.csv"
    assert invoke(tmp_path, "label", analysed / "out", "--n", 4, "--apart", 2, "--out", sheet)[0] == 0
    rows = rows_of(sheet)
    answers = ["happiness", "", "Fear", "sadness"]
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(row | {"label": said} for row, said in zip(rows, answers, strict=True))
    whose = rows[0]["participant"]
    read = ("label", analysed / "out", "--read", sheet, "--as", f"{whose}={WHO}")
    for _ in range(2):
        code, out, err = invoke(tmp_path, *read, "--consent", "declared")
        assert code == 0, err
        assert "kept fear 1, happiness 1, sadness 1 (seconds); 0 without a face" in out
        assert "for a training: 3 of 30 samples" in out
    settings = Settings(state_dir=tmp_path / "state")
    folder = people_of(settings).find(WHO)
    assert folder is not None
    with Buffer(folder, basis=basis_of(settings)) as buffer:
        samples = buffer.samples()
    asked = [int(row["second"]) for row, said in zip(rows, answers, strict=True) if said]
    assert [int(t - START.timestamp()) for t in samples.time_s] == asked
    assert [EMOTIONS[c] for c in samples.label] == ["happiness", "fear", "sadness"]
    assert set(samples.origin.tolist()) == {Origin.SHEET}
    features = read_features(analysed / "out").filter(pl.col("second").is_in(asked))
    assert np.allclose(samples.pixel, samples_of(features).pixel, atol=0.02, rtol=1e-3)
    # And the same sheet is what a personal analysis learns from, and what a report is judged by.
    again = ("analyze", analysed / "call.mp4", "--out", tmp_path / "again", "--personal", "--labels", sheet)
    assert invoke(tmp_path, *again)[0] == 0
    assert invoke(tmp_path, "report", analysed / "out", "--annotations", sheet)[0] == 0


def test_a_blind_sheet_says_nothing_of_the_models(analysed: Path, tmp_path: Path) -> None:
    """What they said could lead whoever labels."""
    out = tmp_path / "sheet.csv"
    assert invoke(tmp_path, "label", analysed / "out", "--blind", "--out", out)[0] == 0
    assert list(rows_of(out)[0]) == list(COLUMNS[:N_BLIND])
    with pytest.raises(UnusableInputError, match="holds no label"):
        read_annotations(out)


def test_tables_alone_do_too(tmp_path: Path) -> None:
    """Without features the models' answers choose: both of the two kinds of seconds there are, before any is asked for twice."""
    rows = [reading(s, WHO, HAPPY if s >= 30 else NEUTRAL) for s in range(60)]
    tables = read_tables(write_folder(tmp_path / "out", rows))
    used, chosen = choose(tmp_path / "out", tables, Settings(), method=None, n=2, apart_s=5)
    assert used == "gsy"
    low, high = chosen[WHO]
    assert low < 30 <= high
    with pytest.raises(UnusableInputError, match="--features"):
        choose(tmp_path / "out", tables, Settings(), method="mcdue", n=2, apart_s=5)


def test_a_sheet_never_replaces_anything(tmp_path: Path) -> None:
    """And without a face there is nothing to ask."""
    tables = read_tables(write_call(tmp_path))
    path = tmp_path / "labels.csv"
    path.write_text("work")
    with pytest.raises(UnusableInputError, match="left alone"):
        write_sheet(tables, {"p-00000000": [0]}, path, rater="r")
    assert path.read_text() == "work"
    with pytest.raises(UnusableInputError, match="no face was read"):
        write_sheet(tables, {}, tmp_path / "other.csv", rater="r")


def test_what_is_refused(analysed: Path, tmp_path: Path) -> None:
    """Exit code 2 and one line: no consent, nobody named, somebody strange, features of other models, a recording without a date."""
    [whose] = read_tables(analysed / "out").participants
    sheet = tmp_path / "s.csv"
    sheet.write_text(f"rater,participant,second,label\nr,{whose},3,fear\n")
    read = ("label", analysed / "out", "--read", sheet)
    own = ("--as", f"{whose}={WHO}")
    for arguments, told in (
        ((*read, *own), "must agree"),
        (read, "`attuned analyze VIDEO --personal --labels SHEET` needs none"),
        ((*read, "--as", "Anna=p-1"), "--as: give p-"),
        ((*read, "--as", f"p-00000000={WHO}", "--consent", "declared"), "is not in this recording"),
        (("label", analysed / "out", *own), "give --read SHEET"),
        (("label", analysed / "out", "--method", "best"), "choose from random"),
        (("label", tmp_path / "none"), "none"),
    ):
        code, out, err = invoke(tmp_path, *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert told in err
        assert "Anna" not in err
    for change, told in (
        ({"models": {"pixel": {"sha256": "x"}, "landmark": {}}}, "other expression models"),
        ({"recording": {"anchor": "1970-01-01T00:00:00.000Z"}}, "--start"),
    ):
        other = tmp_path / told.split()[0]
        other.mkdir()
        for path in (analysed / "out").glob("*.parquet"):
            (other / path.name).write_bytes(path.read_bytes())
        for name in ("events.jsonl", "summary.json"):
            (other / name).write_bytes((analysed / "out" / name).read_bytes())
        summary = json.loads((other / "summary.json").read_text())
        (other / "summary.json").write_text(json.dumps(summary | change))
        code, _, err = invoke(tmp_path, "label", other, "--read", sheet, *own, "--consent", "declared")
        assert code == 2
        assert told in err


def test_features_that_are_none(tmp_path: Path) -> None:
    """A file of another kind is refused by name."""
    folder = write_call(tmp_path / "out")
    pl.DataFrame({"a": [1]}).write_parquet(folder / "features.parquet")
    with pytest.raises(UnusableInputError, match="analyse the recording again"):
        read_features(folder)
