"""Two recordings of one event: the offset, the pairs, and what is said of them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from analysed import HAPPY, absence, reading, write_folder
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from daemon.annotate import read_annotations
from daemon.cli import app
from daemon.errors import FailedError, UnusableInputError
from daemon.report.align import Alignment, align
from daemon.report.compare import compare
from daemon.report.compare_drawn import compare_pictures, pair_figure, search_figure
from daemon.report.paired import compare_pairs, mean_correlation, self_correlations
from daemon.report.study import arms_of, cube
from daemon.report.tables import read_tables
from pipeline.emotions import EMOTIONS, F64

pytestmark = pytest.mark.timeout(180)


def _series(n_seconds: int, n: int, seed: int = 0) -> F64:
    """(T, n, 7) distributions that turn every five seconds, everybody on their own."""
    rng = np.random.default_rng(seed)
    turns = np.repeat(rng.dirichlet(np.ones(7), size=(n_seconds // 5 + 1, n)), 5, axis=0)[:n_seconds]
    return np.asarray(0.9 * turns + 0.1 * rng.dirichlet(np.ones(7), size=(n_seconds, n)))


def _folder(
    folder: Path, series: F64, names: Sequence[str], *, first: int = 0, landmark_noise: float = 0.0, **summary: object
) -> Path:
    """A folder in which these (T, n, 7) distributions were read; nan is absence."""
    rng = np.random.default_rng(9)
    rows = []
    for second in range(len(series)):
        for number, name in enumerate(names):
            p = series[second, number]
            if np.isnan(p[0]):
                rows.append(absence(first + second, name))
                continue
            other = (1 - landmark_noise) * p + landmark_noise * rng.dirichlet(np.ones(7))
            rows.append(reading(first + second, name, p.tolist(), landmark=other.tolist()))
    return write_folder(folder, rows, **summary)


def _pairs(found: Alignment) -> list[tuple[int, int]]:
    return [(pair.a, pair.b) for pair in found.pairs]


@given(st.integers(-40, 40), st.permutations(range(3)), st.integers(0, 5))
def test_offset_and_pairs_are_found(offset: int, order: list[int], shift: int) -> None:
    """Whatever the offset, the order of the people and the first second of B: found, and clear."""
    whole = _series(200, 3, seed=4)
    a = whole[50:150]
    b = whole[50 - offset : 150 - offset][:, order]
    # b's row j is the whole's second 50 - offset + j; a's row i is 50 + i: the same moment where j = i + offset.
    found = align(a, b, shift_s=shift)
    assert found.offset_s == offset + shift
    assert _pairs(found) == [(i, order.index(i)) for i in range(3)]
    assert found.is_clear
    assert all(pair.correlation == pytest.approx(1) for pair in found.pairs)
    assert {pair.n for pair in found.pairs} == {100 - abs(offset)}


def test_correlation_of_a_pair_by_hand() -> None:
    """Ten seconds, five of happiness 1 and five of 0 in A; B is the same but the other way round: r = -1.

    Two lone participants are a pair all the same.
    """
    a = np.zeros((10, 1, 7))
    a[:5, 0, 3], a[5:, 0, 6] = 1, 1
    found = align(a, a[::-1], offset_s=0)
    assert found.pairs[0].correlation == pytest.approx(-1)
    assert (found.pairs[0].n, found.is_given, found.is_clear) == (10, True, True)


def test_gaps_count_for_nothing() -> None:
    """Seconds in which one of the two was not read are left out of the correlation and of the count."""
    a, b = _series(60, 1), _series(60, 1).copy()
    b[10:30] = np.nan
    found = align(a, b)
    assert (found.offset_s, found.pairs[0].n) == (0, 40)
    assert found.pairs[0].correlation == pytest.approx(1)


def test_strangers_stay_alone() -> None:
    """Who goes with nobody is no pair; who is absent throughout neither."""
    a = _series(80, 2)
    b = np.concatenate([a[:, :1], np.full((80, 1, 7), np.nan)], axis=1)
    assert _pairs(align(a, b)) == [(0, 0)]


def test_given_pairs_are_kept() -> None:
    """Even the wrong ones; the others are found among those that are left."""
    a = _series(80, 3)
    found = align(a, a, offset_s=0, given={0: 1})
    assert (0, 1) in _pairs(found)
    assert [pair.is_given for pair in found.pairs if (pair.a, pair.b) == (0, 1)] == [True]
    assert (2, 2) in _pairs(found)


def test_what_repeats_is_not_clear() -> None:
    """A recording that repeats itself every 20 s fits nearly as well 20 s later, and that is said."""
    a = np.tile(_series(20, 1), (6, 1, 1))
    found = align(a, a)
    assert found.offset_s == 0
    assert found.rival_s is not None
    assert found.rival_s % 20 == 0
    assert not found.is_clear


def test_an_offset_beyond_the_recordings_has_nothing_in_common() -> None:
    """It does not come round from the other end."""
    a = _series(50, 2)
    assert align(a, a, offset_s=1000).pairs == ()
    assert align(a, a, offset_s=-50).pairs == ()
    alone = align(a[:, :1], a[:, :1], offset_s=1000).pairs[0]
    assert (np.isnan(alone.correlation), alone.n) == (True, 0)


def test_clocks_far_apart_are_taken_as_they_are() -> None:
    """Where B's seconds begin beyond what is searched, both are taken to begin together."""
    a = _series(50, 1)
    found = align(a, a, shift_s=5000)
    assert (found.offset_s, found.pairs[0].n, found.pairs[0].is_given) == (5000, 50, False)


def test_silence_has_no_offset() -> None:
    """Faces that never move go with nothing: no pair, and not clear."""
    lone = np.tile(np.array(HAPPY), (40, 1, 1))
    assert np.isnan(align(lone, lone).pairs[0].correlation)
    still = np.tile(np.array(HAPPY), (40, 2, 1))
    found = align(still, still)
    assert found.pairs == ()
    assert not found.is_clear


def test_self_correlations_by_hand() -> None:
    """xy, xx, yy of 2, 4, 1: 2 / sqrt(4) = 1; of 1, 1, 4: 0.5; the others rest. The mean is 0.75."""
    sums = np.zeros((7, 3))
    sums[0], sums[1] = (2, 4, 1), (1, 1, 4)
    assert self_correlations(sums)[:2].tolist() == [1, 0.5]
    assert mean_correlation(sums) == pytest.approx(0.75)
    assert np.isnan(mean_correlation(np.zeros((7, 3))))


def test_a_model_that_loses_detail_is_less_alike(tmp_path: Path) -> None:
    """The landmark model of B is noise for the half: its diagonal is lower, and the interval of the difference below 0."""
    series = _series(150, 2)
    a = _folder(tmp_path / "a", series, ["p-1", "p-2"])
    b = _folder(tmp_path / "b", series, ["p-3", "p-4"], landmark_noise=0.5)
    sides = [read_tables(folder) for folder in (a, b)]
    alignment = align(cube(sides[0]), cube(sides[1]))
    paired = compare_pairs(arms_of(sides[0]), arms_of(sides[1]), alignment)
    assert paired.n == {"pixel": 300, "landmark": 300, "fused": 300}
    np.testing.assert_allclose(np.diag(paired.correlation["pixel"]), 1)
    difference = paired.diagonal[-1]
    assert difference.value < 0
    assert difference.ci95[1] < 0
    assert paired.table().height == 3 * 8 + 1 + 6


def test_the_whole_comparison(tmp_path: Path) -> None:
    """Files, JSON, page and pictures; the same bytes again; the folder is not touched without --force."""
    series = _series(120, 3)
    a = _folder(tmp_path / "a", series[:100], ["p-1", "p-2", "p-3"], recording={"fingerprint": "aaaaaaaa11"})
    b = _folder(
        tmp_path / "b", series[20:, :2], ["p-5", "p-4"], first=3, recording={"fingerprint": "bbbbbbbb22"}, partial=True
    )
    labels = tmp_path / "labels.csv"
    lines = [f"{r},{p},{s},{EMOTIONS[s // 10 % 7]}" for r in "xy" for p in ("p-1", "p-4") for s in range(5, 95)]
    labels.write_text("rater,participant,second,label\n" + "\n".join(lines))
    out = tmp_path / "out"
    told = compare((a, b), out, annotations=(read_annotations(labels), None))
    assert told == json.loads((out / "compare.json").read_text())
    assert (told["offset_s"], told["offset_given"], told["offset_clear"]) == (-17, False, True)
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [("p-1", "p-5"), ("p-2", "p-4")]
    assert set(told["annotations"]) == {"a", "b"}
    page = (out / "compare.html").read_text()
    assert "recording aaaaaaaa" in page
    assert "Without a partner: p-3 (A)." in page
    assert "Second 0 of A is second -17 of B" in page
    assert "B against human annotations" in page
    assert "B is partial:" in page
    assert "A is partial:" not in page
    assert not re.search(r'(src|href)="', page.split("<script>")[0])
    names = {path.name for path in (out / "figures").iterdir()}
    assert {
        "compare_correlation.png",
        "compare_diagonal.parquet",
        "compare_offset.png",
        "compare_agreement_b.png",
    } <= names
    assert pl.read_parquet(out / "figures" / "compare_correlation.parquet").height == 3 * 49
    pairs = pl.read_parquet(out / "figures" / "compare_pairs.parquet")
    assert set(pairs["participant"]) == {"p-1", "p-5", "p-2", "p-4"}
    with pytest.raises(UnusableInputError, match="is not empty"):
        compare((a, b), out)
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    compare((a, b), out, annotations=(read_annotations(labels), None), force=True)
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_figures_are_ones_that_plotly_accepts(tmp_path: Path) -> None:
    """The search and a pair over time; of a given offset there is no search to draw."""
    series = _series(60, 1)
    a = read_tables(_folder(tmp_path / "a", series, ["p-1"]))
    b = read_tables(_folder(tmp_path / "b", series[10:], ["p-2"]))
    found = align(cube(a), cube(b))
    for figure in (search_figure(found), pair_figure(a, b, ("p-1", "p-2"), found.offset_s)):
        assert len(go.Figure(figure).data) == len(figure["data"])
    given_offset = align(cube(a), cube(b), offset_s=-10)
    paired = compare_pairs(arms_of(a), arms_of(b), given_offset)
    assert "compare_offset" not in {picture.name for picture in compare_pictures(a, b, paired, given_offset)}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two short folders with one pseudonym in common."""
    series = _series(40, 2)
    return (
        _folder(tmp_path / "a", series, ["p-1", "p-2"]),
        _folder(tmp_path / "b", series, ["p-1", "p-3"]),
    )


def _labels(path: Path, participant: str, second: int = 1) -> Path:
    path.write_text(f"rater,participant,second,label\nx,{participant},{second},fear\n")
    return path


def test_whose_labels(two: tuple[Path, Path], tmp_path: Path) -> None:
    """A pseudonym that both have needs a second file; with it, each is read against its own recording."""
    one = read_annotations(_labels(tmp_path / "one.csv", "p-1"))
    with pytest.raises(UnusableInputError, match="p-1 is in both recordings; give the labels of B"):
        compare(two, tmp_path / "out", annotations=(one, None))
    nobody = read_annotations(_labels(tmp_path / "nobody.csv", "p-9"))
    with pytest.raises(UnusableInputError, match=r"nobody\.csv:2: participant p-9 is not in this recording"):
        compare(two, tmp_path / "out", annotations=(nobody, None))
    wrong = read_annotations(_labels(tmp_path / "wrong.csv", "p-2"))
    with pytest.raises(UnusableInputError, match="p-2 is not in this recording"):
        compare(two, tmp_path / "out", annotations=(None, wrong))
    late = read_annotations(_labels(tmp_path / "late.csv", "p-3", 99))
    with pytest.raises(UnusableInputError, match="second 99 is outside"):
        compare(two, tmp_path / "out", annotations=(late, None))
    assert not (tmp_path / "out").exists()
    told = compare(two, tmp_path / "out", annotations=(None, one))
    assert set(told["annotations"]) == {"b"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("p-9", "p-1")], "A has no p-9; it has p-1, p-2"),
        ([("p-1", "p-2")], "B has no p-2"),
        ([("p-1", "p-1"), ("p-1", "p-3")], "in another pair already"),
        ([("p-1", "p-1"), ("p-2", "p-1")], "in another pair already"),
    ],
)
def test_pairs_that_cannot_be(
    two: tuple[Path, Path], tmp_path: Path, pairs: list[tuple[str, str]], message: str
) -> None:
    """Told before anything is written."""
    with pytest.raises(UnusableInputError, match=message):
        compare(two, tmp_path / "out", pairs=pairs)
    assert not (tmp_path / "out").exists()


def test_nothing_in_common(two: tuple[Path, Path], tmp_path: Path) -> None:
    """No common second, nobody at all, a place that is a file: each is one clear line."""
    with pytest.raises(UnusableInputError, match="share enough seconds"):
        compare(two, tmp_path / "out", offset_s=500)
    empty = write_folder(tmp_path / "empty", [])
    with pytest.raises(UnusableInputError, match="nobody was seen"):
        compare((two[0], empty), tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FailedError, match="cannot be written"):
        compare(two, tmp_path / "file")


def test_the_command(two: tuple[Path, Path], tmp_path: Path) -> None:
    """One object on stdout with --json; what is wrong is one line with exit code 2."""
    words = ["compare", *map(str, two), "--out", str(tmp_path / "out"), "--offset", "0", "--pair", "p-1=p-1", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["offset_given"]
    assert [pair["given"] for pair in told["pairs"]] == [True, False]
    for bad in ("p-1", "p-1=p-1=p-1", "=p-1"):
        done = CliRunner().invoke(app, ["compare", *map(str, two), "--out", str(tmp_path / "new"), "--pair", bad])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert f"--pair {bad}: give p-…=p-…" in done.stderr
    done = CliRunner().invoke(app, ["compare", *map(str, two), "--out", str(tmp_path / "quiet")])
    assert "offset +0 s, 2 pairs" in done.stderr
