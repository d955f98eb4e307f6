"""What the report says to researchers: models, weights, synchrony, engagement, annotations; and the pictures."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from analysed import HAPPY, NEUTRAL, absence, event, group_second, reading, write_call, write_folder

from daemon import analyze
from daemon.annotate import Annotations, read_annotations
from daemon.errors import FailedError, UnusableInputError
from daemon.report.drawn import NAMES, pictures_of
from daemon.report.figures import group_figure
from daemon.report.findings import Findings, find
from daemon.report.markup import RISING, heat_table, number, with_interval
from daemon.report.page import render, write_report
from daemon.report.pictures import plain, write_pictures
from daemon.report.sections import _p_value
from daemon.report.study import adapted, arms_of, correlations, cube, likeness, tops
from daemon.report.study_figures import adaptive_figure, synchrony_figure
from daemon.report.tables import read_tables
from pipeline.emotions import EMOTIONS

pytestmark = pytest.mark.timeout(180)  # pictures take their time where many share the machine
SAD: Final = (0.05, 0.05, 0.05, 0.05, 0.7, 0.05, 0.05)
UNKNOWN: Final = (float("nan"), float("nan"))


class _Text(HTMLParser):
    """The words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self._silent = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else f" {data}"


def _words(folder: Path, annotations: Annotations | None = None) -> str:
    """What the page of a folder says, with single spaces."""
    found = find(read_tables(folder), annotations)
    return " ".join(_Text(render(found, pictures_of(found))).text.split())


def _found(folder: Path) -> Findings:
    return find(read_tables(folder), None)


def _two_models(folder: Path) -> Path:
    """One person, 60 s: the pixel model says sad and happy in turns of 5 s, the landmark model only happy or neutral.

    Both weigh: what is given out leans on the landmarks (0.6). In 30 of the 60 seconds both say happy.
    """
    rows = []
    for second in range(60):
        happy = (second // 5) % 2 == 1
        pixel, landmark = (HAPPY, HAPPY) if happy else (SAD, NEUTRAL)
        fused = [0.4 * a + 0.6 * b for a, b in zip(pixel, landmark, strict=True)]
        rows.append(reading(second, "p-1", fused, pixel=pixel, landmark=landmark))
    return write_folder(folder, rows)


def _annotated(folder: Path, text: str) -> Annotations:
    path = folder / "labels.csv"
    path.write_text("rater,participant,second,label\n" + text)
    return read_annotations(path)


def test_correlations_by_hand() -> None:
    """Columns that move together, against each other, and not at all."""
    a = np.zeros((4, 7))
    a[:, 0], a[:, 1] = [1, -1, 1, -1], [1, 1, -1, -1]
    b = np.zeros((4, 7))
    b[:, 0], b[:, 3] = [2, -2, 2, -2], [-1, 1, -1, 1]
    found = correlations(a, b)
    assert found[0, 0] == pytest.approx(1)
    assert found[0, 3] == pytest.approx(-1)
    assert found[1, 0] == pytest.approx(0)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 5]).all()


def test_a_persons_offset_is_no_correlation(tmp_path: Path) -> None:
    """Two people who never move, one always happy and one always sad for both models: nothing correlates."""
    seconds = [reading(s, p, x) for s in range(20) for p, x in (("p-1", HAPPY), ("p-2", SAD))]
    like = likeness(arms_of(read_tables(write_folder(tmp_path, seconds))))
    assert np.isnan(like.correlation["pixel", "landmark"]).all()
    assert like.agreed == 1


def test_likeness_of_two_models(tmp_path: Path) -> None:
    """Half of the 60 seconds are named alike; happiness goes up and down together; the page says both."""
    _two_models(tmp_path)
    like = likeness(arms_of(read_tables(tmp_path)))
    assert (like.n, like.agreed) == (60, 0.5)
    happiness = EMOTIONS.index("happiness")
    assert like.correlation["pixel", "landmark"][happiness, happiness] == pytest.approx(1)
    assert like.counts[EMOTIONS.index("sadness"), EMOTIONS.index("neutral")] == 30
    words = _words(tmp_path)
    assert "In 60 seconds of people both models read a face." in words
    # In every block of 10 s it is half of them, so that no resample differs.
    assert "same most probable class in 50 % (interval not known) of them" in words


def test_adaptive_against_fixed_weights(tmp_path: Path) -> None:
    """0.4 sad + 0.6 neutral is neutral (0.41 against 0.31), with 0.5 each it is sad (0.375 against 0.35).

    The two are 0.1 TV(sad, neutral) = 0.1 (0.05 + 0.65 + 0.6) / 2 = 0.065 apart in half of the seconds.
    """
    _two_models(tmp_path)
    arms = arms_of(read_tables(tmp_path))
    (person,) = adapted(arms)
    assert (person.n, person.differing) == (60, 30)
    assert person.commonest == (("sadness", "neutral", 30),)
    assert (person.switches, person.switches_fixed) == (11, 11)
    assert person.moved == pytest.approx(0.0325)
    assert "30 of 60" in _words(tmp_path)


def test_without_a_mesh_the_pixel_model_is_all_there_is(tmp_path: Path) -> None:
    """No landmark reading: fixed weights change nothing, and no likeness is claimed."""
    row = reading(0, "p-1", HAPPY) | {f"landmark_{name}": None for name in EMOTIONS}
    arms = arms_of(read_tables(write_folder(tmp_path, [row])))
    assert tops(arms.landmark).tolist() == [-1]
    np.testing.assert_allclose(arms.fixed, arms.fused)
    assert likeness(arms).n == 0
    assert "The two models" not in _words(tmp_path)


def test_half_a_reading_is_none(tmp_path: Path) -> None:
    """A row in which single cells of a model are missing counts for nothing, rather than for half."""
    rows = [reading(s, "p-1", HAPPY) for s in range(4)]
    rows[1]["landmark_sadness"] = None
    rows[2]["pixel_neutral"] = float("nan")
    arms = arms_of(read_tables(write_folder(tmp_path, rows)))
    assert (arms.second.tolist(), likeness(arms).n) == ([0, 1, 3], 2)


def test_cube_has_gaps_where_nobody_was_read(tmp_path: Path) -> None:
    """Absence is nan, and seconds count from the first of the tables."""
    rows = [reading(7, "p-1", HAPPY), absence(8, "p-1"), reading(8, "p-2", SAD)]
    series = cube(read_tables(write_folder(tmp_path, rows)))
    assert series.shape == (2, 2, 7)
    np.testing.assert_allclose(series[0, 0], HAPPY)
    np.testing.assert_allclose(series[1, 1], SAD)
    assert np.isnan(series[0, 1]).all()
    assert np.isnan(series[1, 0]).all()


def _engaged_group(folder: Path, n_seconds: int = 90) -> Path:
    """Three people, of whom two move together every 15 s, with types, engagement and events of the group."""
    people = ["p-1", "p-2", "p-3"]
    rng = np.random.default_rng(5)
    turn = np.repeat(rng.random(n_seconds) < 0.5, 1)
    rows, group = [], []
    for second in range(n_seconds):
        together = HAPPY if turn[second // 6] else NEUTRAL
        own = HAPPY if rng.random() < 0.5 else SAD
        rows += [reading(second, person, together) for person in people[:2]] + [reading(second, "p-3", own)]
        states = ["unknown"] * 3 if second < 30 else ["engaged", "engaged", "unengaged"]
        engagement = [
            {"participant": p, "state": state, "correlation": 0.5, "lag_s": 1, "p_value": 0.01}
            for p, state in zip(people, states, strict=True)
        ]
        kind = "engaged" if second < 60 else "homogeneous"
        group.append(group_second(second, people, together, type=kind, engagement=engagement, polarisation=0.1))
    events = [
        event("dismissed", 10, ["p-3"], was="fear"),
        event("group_type_changed", 60, people, **{"from": "engaged", "to": "homogeneous"}),
        event("group_type_changed", 5, people, **{"from": None, "to": "engaged"}),
        event("polarised", 40, people, clusters=[["p-1", "p-2"], ["p-3"]], distance=0.5),
    ]
    return write_folder(folder, rows, group, events)


def test_engagement_types_and_group_events_are_shown(tmp_path: Path) -> None:
    """Lanes of types in rising order, a row per member, signs for the events, and all of it in words."""
    _engaged_group(tmp_path)
    found = _found(tmp_path)
    figure = group_figure(found.tables, found.timeline)
    assert figure is not None
    grid = next(t for t in figure["data"] if t["type"] == "heatmap")
    assert grid["y"] == ["p-1", "p-2", "p-3"]
    assert [grid["text"][2][0], grid["text"][2][-1]] == ["unknown", "unengaged"]
    names = [trace["name"] for trace in figure["data"] if "name" in trace]
    assert names.index("homogeneous") < names.index("engaged")
    assert {"dismissed as noise", "group type", "polarised"} <= set(names)
    words = _words(tmp_path)
    assert "Type: homogeneous 33 %, engaged 67 % of the 90 seconds" in words
    assert "p-3 0 % 67 % 33 % 0.50" in words
    assert "group type changed: engaged → homogeneous" in words
    assert "group type changed: not known yet → engaged" in words
    assert "polarised: clusters (p-1, p-2), (p-3), distance 0.50" in words


def test_old_tables_without_engagement_are_read(tmp_path: Path) -> None:
    """What an earlier version wrote has no such column; nothing is shown of it."""
    write_call(tmp_path)
    path = tmp_path / "group.parquet"
    pl.read_parquet(path).drop("engagement").write_parquet(path)
    assert not _found(tmp_path).engagement.height


def test_who_moves_with_whom(tmp_path: Path) -> None:
    """The two who move together are the most significant pair; a figure, a table, and a warning about chance."""
    _engaged_group(tmp_path, n_seconds=240)
    found = _found(tmp_path)
    assert found.synchrony is not None
    first = found.synchrony.pairs(found.tables.participants).row(0)
    assert first[:2] == ("p-1", "p-2")
    assert first[3] < 0.05
    words = _words(tmp_path)
    assert "3 pairs are tested, so some are small by chance" in words
    figure = synchrony_figure(found.tables.participants, found.synchrony.correlation)
    assert len(go.Figure(figure).data) == 1
    assert [figure["data"][0]["z"][i][i] for i in range(3)] == [None] * 3


def test_no_p_value_is_nothing() -> None:
    """What rounds to 0 is said to be small; what is not known is a dash."""
    assert [_p_value(p) for p in (0.0004, 0.0123, None)] == ["&lt;0.001", "0.012", "\N{EN DASH}"]


def test_short_calls_say_that_synchrony_is_not_known(tmp_path: Path) -> None:
    """Twenty seconds are too few; one person has nobody to move with."""
    assert "It is not known: that needs about a minute" in _words(write_call(tmp_path / "two"))
    assert "Who moves with whom" not in _words(write_call(tmp_path / "one", n=1))


@pytest.mark.parametrize("n", [1, 3, 9, 49])
def test_adaptive_figure_is_one_that_plotly_accepts(tmp_path: Path, n: int) -> None:
    """For one, for as many as lines can tell apart, and for more."""
    tables = read_tables(write_call(tmp_path, n=n))
    found = _found(tmp_path)
    figure = adaptive_figure(tables, found.arms, found.timeline)
    assert len(go.Figure(figure).data) == len(figure["data"])
    assert ("least" in [trace.get("name") for trace in figure["data"]]) == (n > 8)


def _labels(n_seconds: int = 60) -> str:
    """Two raters who see what is there, a third who always says neutral; the last ten seconds are nobody's truth."""
    lines = []
    for second in range(n_seconds):
        seen = "happiness" if (second // 5) % 2 == 1 else "sadness"
        odd = second >= n_seconds - 10
        lines += [f"a,p-1,{second},{'anger' if odd else seen}", f"b,p-1,{second},{seen}", f"c,p-1,{second},neutral"]
    return "\n".join(lines) + "\n"


def test_annotations_against_the_models(tmp_path: Path) -> None:
    """50 of 60 seconds have a truth; the pixel model is always right, the landmark model in the 25 happy ones."""
    _two_models(tmp_path)
    judged = find(read_tables(tmp_path), _annotated(tmp_path, _labels())).judged
    assert judged is not None
    assert (judged.n_labels, judged.n_items, judged.n_true, judged.n_unread) == (180, 60, 50, 0)
    assert judged.shared is not None
    assert (judged.shared.both_right, judged.shared.only_a, judged.shared.only_b) == (25, 25, 0)
    figures = {(f.one, f.other, f.figure): f for f in judged.figures}
    truth = "truth of two judges"
    assert figures["pixel model", truth, "accuracy"].value == 1
    assert figures["pixel model", truth, "accuracy"].ci95[0] == pytest.approx(5 / (5 + 1.959964**2))
    assert figures["landmark model", truth, "uar"].value == 0.5
    assert figures["pixel model", truth, "exclusive"].value == 0.5
    assert figures["rater a", "rater c", "kappa"].value == pytest.approx(0)
    words = _words(tmp_path, _annotated(tmp_path, _labels()))
    assert "180 labels by 3 raters (a, b, c) of 60 seconds of people. 50 of these have a truth" in words
    assert re.search(r"only the pixel model right 25 50 % \(", words)


def test_one_rater_makes_no_truth(tmp_path: Path) -> None:
    """Kappa with the models is there, accuracy is not, and it is said."""
    _two_models(tmp_path)
    labels = _annotated(tmp_path, "a,p-1,0,sadness\na,p-1,1,sadness\n")
    words = _words(tmp_path, labels)
    assert "So accuracy, recall and complementarity are not known." in words
    assert "Models against the truth" not in words
    assert {picture.name for picture in pictures_of(find(read_tables(tmp_path), labels))} >= {"agreement"}


def test_labelled_seconds_without_a_face_count_in_no_figure(tmp_path: Path) -> None:
    """A truth where nothing was read is counted, and said."""
    write_call(tmp_path, n=1)
    labels = _annotated(tmp_path, "".join(f"{r},p-00000000,{s},neutral\n" for r in "ab" for s in (5, 6)))
    judged = find(read_tables(tmp_path), labels).judged
    assert judged is not None
    assert (judged.n_true, judged.n_unread) == (2, 2)
    words = _words(tmp_path, labels)
    assert "In 2 of these no face was read" in words
    assert "No second has both a truth and readings of both models" in words


def test_pictures_and_their_data(tmp_path: Path) -> None:
    """All pictures of a rich call, twice the same bytes, data that polars reads, and what is not ours stays."""
    _engaged_group(tmp_path, n_seconds=120)
    rows = [f"{r},p-{p},{s},{'happiness' if s % 2 else 'neutral'}\n" for r in "ab$" for p in (1, 2) for s in range(60)]
    labels = _annotated(tmp_path, "".join(rows))
    place = tmp_path / "figures"
    place.mkdir()
    (place / "mine.png").write_text("mine")
    write_report(tmp_path, annotations=labels)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert set(before) == {f"{name}.{kind}" for name in NAMES for kind in ("png", "parquet")} | {"mine.png"}
    for name in NAMES:
        assert before[f"{name}.png"].startswith(b"\x89PNG")
        assert b"matplotlib" not in before[f"{name}.png"]
        assert pl.read_parquet(place / f"{name}.parquet").height
    write_report(tmp_path, annotations=labels)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    write_report(tmp_path)
    left = {path.name for path in place.iterdir()}
    assert not {"agreement.png", "confusion.parquet"} & left
    assert {"mine.png", "group.png"} <= left


def test_annotations_that_do_not_fit_lose_nothing(tmp_path: Path) -> None:
    """At the end of an analysis the report is written without them, and then it is told what is wrong."""
    write_call(tmp_path)
    assert analyze._report(tmp_path, None) is None
    plain_report = (tmp_path / "report.html").read_bytes()
    error = analyze._report(tmp_path, _annotated(tmp_path, "a,p-9,1,fear\n"))
    assert "labels.csv:2: participant p-9" in str(error)
    assert (tmp_path / "report.html").read_bytes() == plain_report
    (tmp_path / "seconds.parquet").unlink()
    with pytest.raises(UnusableInputError, match="seconds"):
        analyze._report(tmp_path, None)


def test_force_takes_old_figures_away(tmp_path: Path) -> None:
    """Those of an earlier recording must not lie beside the tables of a new one; what is not ours stays."""
    place = tmp_path / "figures"
    place.mkdir()
    for name in ("group.png", "group.parquet", "mine.png"):
        (place / name).write_text("old")
    analyze.prepare_folder(tmp_path, force=True)
    assert [path.name for path in place.iterdir()] == ["mine.png"]


def test_a_crowd_is_drawn_in_part_and_says_so(tmp_path: Path) -> None:
    """Of 20 people twelve are drawn over time; the data hold all."""
    pictures = {p.name: p for p in pictures_of(_found(write_call(tmp_path, n=20)))}
    assert "The first 12 of 20 people" in pictures["participants"].note
    assert pictures["participants"].data["participant"].n_unique() == 20
    assert "the 12 of 20 people who differ most" in pictures["adaptive"].note
    write_pictures(tmp_path, [pictures["participants"], pictures["adaptive"]], ours=NAMES)


def test_nothing_read_makes_no_pictures(tmp_path: Path) -> None:
    """No figure without data; the page says nothing of files."""
    write_folder(tmp_path, [absence(s, "p-1") for s in range(5)])
    assert pictures_of(_found(tmp_path)) == []
    assert "Figures as files" not in _words(tmp_path)


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    """Where `figures` is a file, it is one clear error, and the file stays."""
    write_call(tmp_path)
    (tmp_path / "figures").write_text("a list of mine")
    with pytest.raises(FailedError, match=r"figures: cannot be written"):
        write_report(tmp_path)
    assert (tmp_path / "figures").read_text() == "a list of mine"


def test_numbers_in_words() -> None:
    """No minus before nothing, a dash for what is unknown, and an interval only where there is one."""
    assert number(-0.001) == "0.00"
    assert number(float("nan")) == "\N{EN DASH}"
    assert with_interval(0.5, (0.4, 0.6)) == "0.50 (0.40 to 0.60)"
    assert with_interval(0.5, UNKNOWN, as_percent=True) == "50 % (interval not known)"
    assert with_interval(float("nan"), UNKNOWN) == "\N{EN DASH}"
    assert plain("$x$") == r"\$x\$"


def test_shaded_tables_are_escaped_and_readable() -> None:
    """Names are text; a dark cell has white letters; what is unknown has no shade."""
    page = heat_table("c", "<b>", ["<i>"], ["x", "y", "z"], np.array([[1.0, 0.1, np.nan]]), colours=RISING)
    assert "&lt;i&gt;" in page
    assert "&lt;b&gt;" in page
    assert page.count("color:#fff") == 1
    assert "<td>\N{EN DASH}</td>" in page
