"""The report: what stands in it, whatever the tables hold."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from analysed import HAPPY, NEUTRAL, absence, event, group_second, reading, write_call, write_folder

from daemon.errors import FailedError, UnusableInputError
from daemon.report.drawn import pictures_of
from daemon.report.figures import group_figure, participant_figure, what
from daemon.report.findings import find
from daemon.report.page import render, write_report
from daemon.report.tables import Happening, measure, read_tables
from daemon.report.timeline import MAX_LINES, PALETTE, Timeline, runs_of_flags
from pipeline.emotions import EMOTIONS

HOSTILE = '</script><script>alert("x")</script><img src=http://evil.example/x>&'


class _Page(HTMLParser):
    """Elements, text, and the figures' JSON of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.figures: dict[str, dict[str, Any]] = {}
        self._inside = ""
        self._chart = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if dict(attrs).get("class") == "chart":
            self._chart = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and dict(self.elements[-1][1]).get("type") == "application/json":
            self.figures[self._chart] = json.loads(data)
        elif self._inside not in {"script", "style"}:
            self.text += f" {data}"


def _page(folder: Path) -> _Page:
    """The page that the report of a folder shows; pictures are not drawn, which takes seconds."""
    found = find(read_tables(folder), None)
    return _Page(render(found, pictures_of(found)))


def test_page_loads_nothing(tmp_path: Path) -> None:
    """No element refers to anything outside of the page, and the page forbids itself the network."""
    page = _page(write_call(tmp_path))
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys()
    policy = next(a["content"] for tag, a in page.elements if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_plotly_stands_in_the_page_once_and_cannot_upload(tmp_path: Path) -> None:
    """The drawing library is inlined a single time, and its upload of figures is switched off."""
    text = write_report(write_call(tmp_path)).read_text(encoding="utf-8")
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert 'plotlyServerURL: ""' in text
    assert len(text) < 6_000_000


def test_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    """Two reports of the same tables are equal, pictures too; nothing else is left in the folder."""
    write_call(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    first = write_report(tmp_path).read_bytes()
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert write_report(tmp_path).read_bytes() == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == drawn
    assert {path.name for path in tmp_path.iterdir()} == before | {"report.html", "figures"}


def test_header_says_what_was_analysed(tmp_path: Path) -> None:
    """Recording, purpose and versions stand at the top, and that these are no feelings."""
    text = _page(write_call(tmp_path)).text
    for part in ("call.mp4", "research", "0.1.0", "pixel-1.0, landmark-1.0", "h264"):
        assert part in text
    assert "apparent expressions, not feelings" in text
    assert "settings.fusion.gain: 0.05" in text


def test_every_participant_has_a_figure_a_place_and_a_row(tmp_path: Path) -> None:
    """Each pseudonym stands in the table and above its own figure, with its place in the gallery."""
    page = _page(write_call(tmp_path, n=3))
    assert set(page.figures) == {"group", "participant-0", "participant-1", "participant-2", "adaptive"}
    for i in range(3):
        assert page.text.count(f"p-{i:08x}") >= 3
    assert sum(attributes.get("class") == "place" for _, attributes in page.elements) == 3


def test_every_figure_is_one_that_plotly_accepts(tmp_path: Path) -> None:
    """Plotly's own checks find no unknown property and no impossible value."""
    for figure in _page(write_call(tmp_path)).figures.values():
        assert len(go.Figure(figure).data) == len(figure["data"])


def test_classes_have_their_colours_and_gaps_stay_gaps(tmp_path: Path) -> None:
    """Each class is drawn in its one colour, and where no face was read there is no value, not even neutral."""
    figure = _page(write_call(tmp_path)).figures["participant-0"]
    stacked = {trace["name"]: trace for trace in figure["data"] if "stackgroup" in trace}
    assert {name: trace["fillcolor"] for name, trace in stacked.items()} == dict(PALETTE)
    for name, trace in stacked.items():
        assert trace["y"][5:8] == [None] * 3
        assert trace["y"][:5] == [NEUTRAL[EMOTIONS.index(name)]] * 5
    labels = [note["text"] for note in figure["layout"]["annotations"]]
    assert {"neutral", "happiness", "not read"} <= set(labels)


def test_abstained_seconds_are_hatched(tmp_path: Path) -> None:
    """The hatched area covers exactly the seconds that were read and abstained, not the absent ones."""
    figure = _page(write_call(tmp_path)).figures["participant-0"]
    hatched = next(trace for trace in figure["data"] if trace["name"] == "abstained")
    assert (hatched["x0"], hatched["dx"], hatched["line"]["shape"]) == ("1970-01-01 00:00:00.000", 1000, "hv")
    assert [second for second, height in enumerate(hatched["y"]) if height] == [10, 11]
    assert hatched["fillpattern"]["shape"] == "/"


def test_places_in_time_are_dates(tmp_path: Path) -> None:
    """No bare number stands for a time: of 5000 milliseconds Plotly would make the year 5000."""
    figures = _page(write_call(tmp_path)).figures
    assert figures
    for figure in figures.values():
        for trace in figure["data"]:
            places = [trace["x0"]] if "x0" in trace else trace["x"]
            assert all(
                place is None or re.fullmatch(r"1970-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", place) for place in places
            )
        assert all(isinstance(place, str) for place in figure["layout"]["xaxis"]["range"])


def test_group_and_individual_changes_have_different_signs(tmp_path: Path) -> None:
    """They differ in shape and lane, in a participant's figure and in the group's."""
    figures = _page(write_call(tmp_path)).figures
    for name in ("participant-0", "group"):
        signs = {trace["name"]: trace["marker"]["symbol"] for trace in figures[name]["data"] if "marker" in trace}
        assert signs["group change"] == ["diamond"]
        assert signs["individual change"] == ["circle-open"]
    changes = [trace["name"] for trace in figures["participant-1"]["data"] if "marker" in trace]
    assert changes == ["group change"]


def test_numbers_count_seconds_that_were_read(tmp_path: Path) -> None:
    """Shares of classes and of abstaining are of the 17 seconds read; coverage is of all 20."""
    share = measure(read_tables(write_call(tmp_path)), "p-00000000")
    assert (share.n_seconds, share.n_read, share.coverage) == (20, 17, 17 / 20)
    assert share.top["happiness"] == 8 / 17
    assert share.top["neutral"] == 7 / 17
    assert share.abstained == pytest.approx(2 / 17)
    assert sum(share.top.values()) + (share.abstained or 0) == pytest.approx(1)


def test_one_participant_has_nogroup_second(tmp_path: Path) -> None:
    """It is said that there is no group; the events keep their timeline."""
    page = _page(write_call(tmp_path, n=1))
    assert "There is no group emotion" in page.text
    assert [trace["name"] for trace in page.figures["group"]["data"]] == ["group change", "individual change", "other"]


def test_nobody_read(tmp_path: Path) -> None:
    """Without any reading there are no curves, and the page says so."""
    page = _page(write_folder(tmp_path, [absence(second, "p-1") for second in range(9)]))
    assert "No face was read in any second." in page.text
    assert "never read" in page.text
    assert not page.figures


def test_zero_participants(tmp_path: Path) -> None:
    """Empty tables make a page that says that nobody was found."""
    page = _page(write_folder(tmp_path, []))
    assert "No participant was found." in page.text
    assert not page.figures


def test_partial_recording_has_a_banner(tmp_path: Path) -> None:
    """What is partial says so with the reason, and lists the warnings; what is whole says nothing of it."""
    assert "Partial" not in _page(write_call(tmp_path)).text
    text = _page(
        write_call(tmp_path, partial=True, reason="no more frames after 0:20", warnings=["2 frames lost"])
    ).text
    assert "Partial: the analysis did not reach the end" in text
    assert "Reason: no more frames after 0:20." in text
    assert "2 frames lost" in text


def test_text_from_files_cannot_become_markup(tmp_path: Path) -> None:
    """Hostile names, reasons, pseudonyms, events and settings are shown as they are written."""
    folder = write_folder(
        tmp_path,
        [reading(second, HOSTILE) for second in range(5)],
        [group_second(second, [HOSTILE], dominant=["neutral"], type=HOSTILE) for second in range(5)],
        [event("change", 1, [HOSTILE], scope=HOSTILE, to=HOSTILE), event(HOSTILE, 2, [HOSTILE], note=HOSTILE)],
        [{"second": 0, "tiles": [{"participant": HOSTILE, "xyxy": [0, 0, 9, 9]}]}],
        recording={"name": HOSTILE, "codec": HOSTILE, "anchor": HOSTILE},
        purpose=HOSTILE,
        version=HOSTILE,
        models={HOSTILE: {"version": HOSTILE}},
        settings={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        partial=True,
        reason=HOSTILE,
    )
    page = _page(folder)
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert len([tag for tag, a in page.elements if tag == "script" and "type" not in a]) == 2
    assert page.text.count(HOSTILE) >= 10
    assert "<" not in json.dumps(page.figures).replace("<b>", "").replace("</b>", "").replace("<extra></extra>", "")


def test_many_participants_become_rows(tmp_path: Path) -> None:
    """More people than lines can tell apart are drawn as a heat map with everybody's pseudonym."""
    tables = read_tables(write_call(tmp_path, n=MAX_LINES + 1))
    figure = group_figure(tables, Timeline.of(tables))
    assert figure is not None
    rows = next(trace for trace in figure["data"] if trace["type"] == "heatmap")
    assert rows["y"] == list(tables.participants)


def test_denoised_type_and_measures_are_shown_where_they_are_known(tmp_path: Path) -> None:
    """What is null everywhere is left out; what is known has a panel."""
    known = {f"denoised_{name}": p for name, p in zip(EMOTIONS, NEUTRAL, strict=True)}
    group = [group_second(second, ["p-1", "p-2"], type="engaged", synchrony=0.5) | known for second in range(9)]
    seconds = [reading(second, person) for second in range(9) for person in ("p-1", "p-2")]
    titles = _titles(_page(write_folder(tmp_path, seconds, group)).figures["group"])
    assert {"probability, denoised", "group type", "synchrony (solid)"} <= titles
    assert not {"probability, denoised", "group type"} & _titles(_page(write_call(tmp_path)).figures["group"])


def _titles(figure: dict[str, Any]) -> set[str]:
    """Titles of a figure's panels."""
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    return {text.removeprefix("<b>").removesuffix("</b>") for text in texts if text.startswith("<b>")}


def test_long_recordings_are_drawn_as_means(tmp_path: Path) -> None:
    """Three hours are drawn in bins of three seconds, an hour of four people second by second."""
    seconds = [reading(0, "p-1", HAPPY), reading(1, "p-1"), absence(2, "p-1"), absence(3 * 3600 - 1, "p-1")]
    tables = read_tables(write_folder(tmp_path, seconds))
    timeline = Timeline.of(tables)
    assert (timeline.width, timeline.n_bins) == (3, 3600)
    figure = participant_figure(tables, "p-1", timeline)
    neutral = next(trace for trace in figure["data"] if trace["name"] == "neutral")
    assert neutral["y"][:2] == [0.375, None]  # (0.10 + 0.65) / 2, the absent second counts for nothing
    assert "probability, means of 3 s" in _titles(figure)
    hour = read_tables(write_folder(tmp_path, [reading(s, f"p-{i}") for i in range(4) for s in (0, 3599)]))
    assert Timeline.of(hour).width == 1


def test_events_table_keeps_what_matters_and_says_what_it_left_out(tmp_path: Path) -> None:
    """Of many events all group-wise ones and the largest individual ones are listed, with a note."""
    change = {"scope": "individual", "from": "anger", "to": "fear"}
    events = [event("change", s, ["p-1"], distance=s / 1000, **change) for s in range(300)]
    events += [event("change", 300, ["p-1", "p-2"], **change | {"scope": "group"})]
    text = _page(write_folder(tmp_path, [reading(s, "p-1") for s in range(301)], events=events)).text
    assert "200 of 301 events" in text
    assert "05:00 ◆ group change: anger → fear" in " ".join(text.split())
    assert "04:59 ○ individual change" in " ".join(text.split())
    assert "00:01 ○ individual change" not in " ".join(text.split())


def test_times_have_hours_only_in_long_recordings(tmp_path: Path) -> None:
    """Below an hour it is mm:ss, from an hour on h:mm:ss, in the table and on the axis."""
    formats = []
    for end in (3599, 3600):
        events = [event("participant_left", 65, ["p-1"])]
        page = _page(write_folder(tmp_path, [reading(0, "p-1"), reading(end - 1, "p-1")], events=events))
        formats.append((page.figures["group"]["layout"]["xaxis"]["tickformat"], "0:01:05" in page.text))
    assert formats == [("%M:%S", False), ("%-H:%M:%S", True)]


def test_lenient_with_a_bare_summary(tmp_path: Path) -> None:
    """A summary that says nothing, and no tiles, make a page all the same."""
    write_call(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "tiles.jsonl").unlink()
    page = _page(tmp_path)
    assert "p-00000001" in page.text
    assert "group" in page.figures


@pytest.mark.parametrize("name", ["seconds.parquet", "group.parquet", "events.jsonl", "summary.json"])
def test_missing_or_broken_tables_are_named(tmp_path: Path, name: str) -> None:
    """The error names the file in one line, and no page is written."""
    write_call(tmp_path)
    for spoilt in (b"no table", None):
        (tmp_path / name).write_bytes(spoilt) if spoilt else (tmp_path / name).unlink()
        with pytest.raises(UnusableInputError, match=re.escape(name)) as caught:
            write_report(tmp_path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("events.jsonl", '{"kind": "change"}'),
        ("events.jsonl", '{"kind": "change", "second": 1e999}'),
        ("events.jsonl", "[]"),
        ("tiles.jsonl", '{"tiles": [{"participant": "p-1", "xyxy": [0]}]}'),
    ],
)
def test_misshapen_lines_are_unusable(tmp_path: Path, name: str, line: str) -> None:
    """A line that is no event or no tiles is refused, not skipped."""
    write_call(tmp_path)
    (tmp_path / name).write_text(line + "\n")
    with pytest.raises(UnusableInputError, match=re.escape(name)):
        write_report(tmp_path)


def test_report_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the report cannot take its place, no temporary file stays."""
    write_call(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(FailedError, match=r"report\.html"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html.part").exists()


def test_runs() -> None:
    """Runs are found at both ends and in the middle."""
    assert runs_of_flags([True, False, True, True]) == [(0, 1), (2, 4)]
    assert runs_of_flags([]) == []


def test_events_in_words() -> None:
    """A change says from and to; other events their kind and data."""
    assert what(Happening(1, "change", (), "group", {"from": "fear", "to": "anger"})) == "group change: fear → anger"
    assert what(Happening(1, "layout_changed", (), "", {"tiles": 3})) == "layout changed: tiles 3"
    assert what(Happening(1, "camera_off", (), "", {})) == "camera off"
