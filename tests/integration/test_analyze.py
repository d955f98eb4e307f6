"""`attuned analyze` and the other commands, as a user meets them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from videos import write_pictures, write_sound, write_video

from daemon.demo.call import agreement
from pipeline.boxes import iou
from pipeline.emotions import EMOTIONS

pytestmark = pytest.mark.timeout(240)
OUTPUTS = [
    *("events.jsonl", "figures", "group.parquet", "report.html"),
    *("seconds.parquet", "summary.json", "tiles.jsonl"),
]


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that stderr holds besides the progress bar; fails on anything else."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and "━" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("attuned: ")
    return lines[0]


def tiles_by_second(folder: Path) -> list[list[dict[str, object]]]:
    """Lines of tiles.jsonl."""
    return [json.loads(line)["tiles"] for line in (folder / "tiles.jsonl").read_text().splitlines()]


def test_the_made_up_call_is_read_as_it_was_written(attuned, demo_call, tmp_path) -> None:  # noqa: ANN001
    """Six outputs; four people in their places, always covered; happiness and surprise read for everybody."""
    done = attuned("analyze", demo_call.path, "--out", "out", timeout=120)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == OUTPUTS
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["partial"], len(summary["participants"]), summary["seconds"]) == (False, 4, 30)

    for tiles in tiles_by_second(out):
        for tile, person in zip(tiles, demo_call.script.people, strict=True):
            assert iou(tuple(tile["xyxy"]), person.rect) >= 0.8
    seconds = pl.read_parquet(out / "seconds.parquet")
    assert {5} == set(seconds["n_frames"])
    assert seconds["coverage"].min() == 1.0

    readings = {
        person.name: seconds.filter(pl.col("participant") == who).sort("second")["top"].to_list()
        for who, person in zip(summary["participants"], demo_call.script.people, strict=True)
    }
    group = pl.read_parquet(out / "group.parquet")
    tops = [EMOTIONS[int(np.argmax(row))] for row in group.select(f"p_{name}" for name in EMOTIONS).rows()]
    agreed = agreement(demo_call.script, readings, tops)
    assert agreed.group_uar >= 0.35
    for person in agreed.people.values():
        assert person.recall["happiness"] >= 0.5
        assert person.recall["surprise"] >= 0.5


def test_tables_hold_what_the_contract_says(attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """Columns, sums, weights and events of the files are those of the design."""
    assert attuned("analyze", short_call.path, "--out", "out", "--start", "2026-01-31T12:00:00Z").returncode == 0
    seconds = pl.read_parquet(tmp_path / "out" / "seconds.parquet")
    seven = list(EMOTIONS)
    arms = [f"{arm}_{name}" for arm in ("pixel", "landmark") for name in seven]
    tail = [
        "weight_pixel",
        "weight_landmark",
        "top",
        "confidence",
        "abstain",
        "valence",
        "arousal",
        "head_pixel",
        "head_landmark",
    ]
    assert ["second", "participant", "n_frames", "coverage", "quality", *seven, *arms, *tail] == seconds.columns
    np.testing.assert_allclose(seconds.select(seven).sum_horizontal(), 1, atol=1e-9)
    for name in seven:
        pooled = seconds["weight_pixel"] * seconds[f"pixel_{name}"]
        pooled += seconds["weight_landmark"] * seconds[f"landmark_{name}"]
        np.testing.assert_allclose(seconds[name], pooled, atol=1e-9)
    group = pl.read_parquet(tmp_path / "out" / "group.parquet")
    names = [*(f"p_{name}" for name in seven), *(f"denoised_{name}" for name in seven)]
    tail = [
        "dominant",
        "members",
        "engaged",
        "excluded",
        "deviation",
        "polarisation",
        "clusters",
        "type",
        "synchrony",
        "homogeneity",
        "engagement",
    ]
    assert ["second", *names, *tail] == group.columns
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert list(range(len(events))) == [event["seq"] for event in events]
    assert events[0]["ts"] == "2026-01-31T12:00:00.000Z"
    assert {"session_started", "participant_joined", "session_ended"} <= {event["kind"] for event in events}


def test_the_same_recording_twice_gives_the_same_bytes(attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """Every file, byte by byte, figures too; also under another name."""
    renamed = tmp_path / "another name.mp4"
    shutil.copy(short_call.path, renamed)
    for path, out in ((short_call.path, "one"), (renamed, "two")):
        assert attuned("analyze", path, "--out", out).returncode == 0
    one, two = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_a_real_meeting_is_split_into_its_people(attuned, dev_data, tmp_path) -> None:  # noqa: ANN001
    """Four real people in their known tiles from first to last, five frames a second, and nobody else."""
    truth = json.loads((dev_data / "meeting_2x2.json").read_text())["layout"][0]["tiles"]
    done = attuned("analyze", dev_data / "meeting_2x2.mp4", "--out", "out", timeout=120)
    assert done.returncode == 0, done.stderr
    # Bars as dark as the page may belong to either.
    kinds = [[tile["rect"], tile["content_rect"]] for tile in truth]
    rects = [[(x, y, x + w, y + h) for x, y, w, h in kind] for kind in kinds]
    for tiles in tiles_by_second(tmp_path / "out"):
        for tile, either in zip(tiles, rects, strict=True):
            assert max(iou(tuple(tile["xyxy"]), rect) for rect in either) >= 0.8
    seconds = pl.read_parquet(tmp_path / "out" / "seconds.parquet")
    assert seconds["participant"].n_unique() == 4
    assert set(seconds["n_frames"]) == {5}
    assert seconds.group_by("participant").agg(pl.col("coverage").mean())["coverage"].min() >= 0.9


def test_one_person_needs_no_gallery(attuned, dev_data, tmp_path) -> None:  # noqa: ANN001
    """A webcam video is one participant in one tile, and no group."""
    assert attuned("analyze", dev_data / "clips" / "of_default.mp4", "--out", "out", timeout=120).returncode == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["participants"]) == 1
    group = pl.read_parquet(tmp_path / "out" / "group.parquet")
    assert group["p_neutral"].null_count() == len(group)


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    """Three seconds of noise."""
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(15))
    return write_pictures(tmp_path / "noise.mp4", pictures)


def test_a_video_without_a_face_is_a_result(attuned, faceless, tmp_path) -> None:  # noqa: ANN001
    """Coverage 0, nulls, a warning, exit code 0."""
    done = attuned("analyze", faceless, "--out", "out")
    assert done.returncode == 0
    assert "attuned: warning:" in done.stderr
    assert "no face was found" in done.stderr
    seconds = pl.read_parquet(tmp_path / "out" / "seconds.parquet")
    assert (3, {0.0}, {None}) == (len(seconds), set(seconds["coverage"]), set(seconds["top"]))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]


def test_a_recording_that_breaks_off_is_partial(attuned, tmp_path) -> None:  # noqa: ANN001
    """Exit code 1 and one line; the seconds before the break are there, and marked."""
    rng = np.random.default_rng(0)
    options = {"movflags": "+faststart"}
    whole = write_video(tmp_path / "w.mp4", rng.integers(0, 255, 500).tolist(), options=options)
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = attuned("analyze", half, "--out", "out")
    assert done.returncode == 1
    assert "after" in done.stderr.splitlines()[-1]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["partial"]
    assert 5 < len(pl.read_parquet(tmp_path / "out" / "group.parquet")) < 15
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == OUTPUTS


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_analysis_keeps_what_was_read(start_attuned, demo_call, tmp_path, how) -> None:  # noqa: ANN001
    """Exit code 1, tables up to there, marked partial."""
    process = start_attuned("analyze", demo_call.path, "--out", "out")
    tiles = tmp_path / "out" / "tiles.jsonl"
    deadline = time.monotonic() + 60
    while not (tiles.exists() and tiles.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["partial"], summary["reason"]) == (True, "stopped")
    assert len(tiles.read_text().splitlines()) == summary["seconds"] < 30
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == OUTPUTS


@pytest.mark.parametrize("limit", [4_000, 200_000], ids=["no room for the tables", "no room for the report"])
def test_a_full_disk_keeps_what_there_is(environment, short_call, tmp_path, limit) -> None:  # noqa: ANN001
    """One line and exit code 1 wherever it happens; the summary never says that all is there."""
    done = subprocess.run(
        ["prlimit", f"--fsize={limit}", sys.executable, "-m", "daemon", "analyze", short_call.path, "--out", "out"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in one_line(done)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["partial"]
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_reader_that_goes_away_ends_the_call(attuned, environment, demo_call, tmp_path) -> None:  # noqa: ANN001
    """`attuned join … | head` stops as Ctrl-C does, without a traceback."""
    command = f"{sys.executable} -m daemon join {demo_call.path} | head -n 2"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 2


def text_file(path: Path) -> None:
    """Not a video."""
    path.write_text("this is no video\n" * 1000)


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def cut_short(path: Path) -> None:
    """A video of which only the head is left."""
    whole = write_video(path.with_name("w.mp4"), [40] * 100, options={"movflags": "+faststart"})
    data = whole.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 8])


BAD_FILES = {
    "missing": (lambda path: None, "cannot be read: No such file"),
    "text": (text_file, "is not a video that can be read"),
    "empty": (lambda path: path.touch(), "is empty"),
    "sound only": (write_sound, "has no video track"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "pipe": (pipe, "is no ordinary file"),
}


@pytest.mark.parametrize(("make", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_files_are_one_line_and_exit_2(attuned, tmp_path, make, message) -> None:  # noqa: ANN001
    """Nothing is written, nothing else is said."""
    make(tmp_path / "v.mp4")
    done = attuned("analyze", "v.mp4", "--out", "out")
    assert done.returncode == 2
    assert message in one_line(done)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_content_is_refused(attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """Unless --force is given; then what is not ours stays."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    done = attuned("analyze", short_call.path, "--out", "out")
    assert done.returncode == 2
    assert "is not empty" in one_line(done)
    assert attuned("analyze", short_call.path, "--out", "out", "--force").returncode == 0
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_a_video_without_a_picture_is_one_line(attuned, tmp_path) -> None:  # noqa: ANN001
    """Opened, and nothing in it can be decoded: exit code 2, and no talk of a part before."""
    cut_short(tmp_path / "v.mp4")
    done = attuned("analyze", "v.mp4", "--out", "out")
    assert done.returncode == 2, done.stderr
    assert "no picture in it can be decoded" in one_line(done)


def test_one_bad_video_does_not_keep_the_others_from_being_read(attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """The head of a video and a whole one: the whole one is analysed, and the exit code is the bad one's."""
    cut_short(tmp_path / "bad.mp4")
    (tmp_path / "good.mp4").symlink_to(short_call.path)
    done = attuned("analyze", "bad.mp4", "good.mp4", "--out", "out")
    assert done.returncode == 2, done.stderr
    assert not json.loads((tmp_path / "out" / "good" / "summary.json").read_text())["partial"]


def test_odd_names_are_names(attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """A clock time is no protocol, a byte that is no UTF-8 and a bracket are no reason to fail."""
    for name in ("2026-01-31T12:00:00.mp4", os.fsdecode(b"b\xff[red]d.mp4")):
        (tmp_path / name).symlink_to(short_call.path)
        done = attuned("analyze", name, "--out", "out", "--force")
        assert done.returncode == 0, done.stderr


def test_force_touches_nothing_before_all_inputs_are_good(attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """One unusable video among several: what an earlier run wrote is still there."""
    (tmp_path / "good.mp4").symlink_to(short_call.path)
    text_file(tmp_path / "bad.mp4")
    old = tmp_path / "out" / "good" / "seconds.parquet"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    assert attuned("analyze", "good.mp4", "bad.mp4", "--out", "out", "--force").returncode == 2
    assert old.read_text() == "old"


BAD_OPTIONS = {
    "workplace": (["--purpose", "workplace"], "workplace is refused"),
    "other purpose": (["--purpose", "fun"], "give one of research"),
    "consent": (["--consent", "maybe"], "give `required` or `declared`"),
    "nobody to ask": (["--consent", "required"], "nobody in a recording can agree"),
    "start": (["--start", "yesterday"], "give a date and time"),
    "config": (["--config", "none.yaml"], "cannot be read"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_bad_options_are_one_line_and_exit_2(attuned, short_call, options, message) -> None:  # noqa: ANN001
    """Each says what to give instead."""
    done = attuned("analyze", short_call.path, "--out", "out", *options)
    assert done.returncode == 2
    assert message in one_line(done)


NOT_JOINED = {
    "no purpose": (["rtsp://127.0.0.1/x"], "a live call needs a declared purpose"),
    "refused purpose": (["rtsp://127.0.0.1/x", "--purpose", "workplace"], "workplace is refused"),
    "scheme": (["gopher://x", "--purpose", "research"], "no kind of source"),
    "no host": (["janus+http:///janus?room=1", "--purpose", "research"], "has no host"),
}


@pytest.mark.parametrize(("options", "message"), NOT_JOINED.values(), ids=NOT_JOINED.keys())
def test_calls_that_cannot_be_joined_say_so(attuned, options, message) -> None:  # noqa: ANN001
    """One line and exit code 2, before anything is started."""
    done = attuned("join", *options)
    assert done.returncode == 2
    assert message in one_line(done)


def test_a_live_call_is_no_recording(attuned) -> None:  # noqa: ANN001
    """`analyze` says what reads it."""
    done = attuned("analyze", "rtsp://maud:hidden@127.0.0.1/x", "--out", "out")
    assert done.returncode == 2
    assert "attuned join" in one_line(done)
    assert "hidden" not in done.stderr


def test_a_taken_http_port_is_named(attuned, environment, short_call) -> None:  # noqa: ANN001
    """Exit code 2, naming the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["ATTUNED_HTTP__PORT"])))
        taken.listen()
        done = attuned("join", short_call.path)
    assert done.returncode == 2
    assert "http.port" in one_line(done)


def test_one_daemon_per_state_folder(start_attuned, attuned, demo_call, tmp_path) -> None:  # noqa: ANN001
    """The second one is refused in one line and the first goes on."""
    first = start_attuned("join", demo_call.path)
    deadline = time.monotonic() + 20
    while not (tmp_path / "state" / "attuned" / "outbox.sqlite").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    done = attuned("join", demo_call.path)
    assert done.returncode == 2
    assert "another attuned is using it" in one_line(done)
    assert first.poll() is None


def test_config_check_tells_every_mistake(attuned, tmp_path) -> None:  # noqa: ANN001
    """Two mistakes, two lines, exit code 2; without them ok and 0."""
    path = tmp_path / "a.yaml"
    path.write_text("mqtt:\n  port: x\nhtttp: 1\n")
    done = attuned("config", "check", path)
    assert done.returncode == 2
    assert [int(line.split(":")[2]) for line in done.stderr.splitlines()] == [2, 3]
    path.write_text("mqtt:\n  port: 1884\n")
    assert attuned("config", "check", path).returncode == 0


def test_version_and_help_answer(attuned) -> None:  # noqa: ANN001
    """`--help` names every command and teaches the first two."""
    assert re.fullmatch(r"attuned \d+\.\d+\.\d+\n", attuned("--version").stdout)
    text = attuned("--help").stdout
    for word in (
        "demo",
        "analyze",
        "join",
        "run",
        "doctor",
        "bench",
        "evaluate",
        "config",
        "report",
        "compare",
        "attuned demo",
    ):
        assert word in text


def test_doctor_finds_the_models(attuned) -> None:  # noqa: ANN001
    """On a machine where the tests run nothing that is needed is missing."""
    done = attuned("doctor")
    assert done.returncode == 0, done.stdout
    assert "hashes as they should be" in done.stdout


def test_the_daemon_runs_its_sessions_until_it_is_stopped(start_attuned, short_call, tmp_path) -> None:  # noqa: ANN001
    """`run` plays the configured sessions, reports a broken one, stays, and ends with SIGTERM within 5 s."""
    config = tmp_path / "attuned.yaml"
    config.write_text(
        f"sessions:\n  - {{name: good, url: {short_call.path}, purpose: research}}\n"
        "  - {name: bad, url: none.mp4, purpose: research}\nmqtt: {port: 18830}\n"
    )
    process = start_attuned("run", "-c", config)
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if "session ended" in line:
            break
    assert "No such file" in seen
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - began < 5
