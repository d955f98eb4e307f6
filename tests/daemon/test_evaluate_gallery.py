"""`attuned evaluate gallery` as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from videos import write_pictures

from daemon.cli import app

TILES = ((12, 12, 312, 182), (328, 12, 628, 182))


@pytest.fixture
def meeting(tmp_path: Path) -> tuple[Path, Path]:
    """Two people side by side for four seconds, five pictures a second, and the truth about them."""
    rng = np.random.default_rng(1)
    pictures = []
    rooms = [np.kron(rng.integers(90, 200, (5, 6, 3)), np.ones((34, 50, 1), int)) for _ in TILES]
    for _ in range(20):
        picture = np.full((194, 640, 3), 20)
        for (x0, y0, x1, y1), room in zip(TILES, rooms, strict=True):
            picture[y0:y1, x0:x1] = room + rng.integers(-3, 4, room.shape)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    video = write_pictures(tmp_path / "two.mp4", pictures, fps=5)
    return video, truth_file(tmp_path / "two.json")


def truth_file(path: Path, **changes: object) -> Path:
    """The truth about `meeting`, with other values where given."""
    tiles = [
        {"person": f"p{number}", "rect": [x0, y0, x1 - x0, y1 - y0], "content_rect": [x0, y0, x1 - x0, y1 - y0]}
        for number, (x0, y0, x1, y1) in enumerate(TILES, 1)
    ]
    truth = {"size": [640, 194], "people": {}, "layout": [{"t0": 0, "t1": 4, "tiles": tiles}]}
    path.write_text(json.dumps(truth | changes), encoding="utf-8")
    return path


def test_one_object(meeting: tuple[Path, Path]) -> None:
    """With --json stdout holds one object with the contract's keys, and nothing else is said."""
    done = CliRunner().invoke(app, ["evaluate", "gallery", *map(str, meeting), "--json"])
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert {
        key: found[key] for key in ("recall", "precision", "id_switches", "settle_s_max", "n_seconds", "n_tiles")
    } == {
        "recall": 1.0,
        "precision": 1.0,
        "id_switches": 0,
        "settle_s_max": None,
        "n_seconds": 4,
        "n_tiles": 8,
    }
    assert 0.9 < found["mean_iou"] <= 1


def test_a_table(meeting: tuple[Path, Path]) -> None:
    """Without --json every figure has a line."""
    done = CliRunner().invoke(app, ["evaluate", "gallery", *map(str, meeting)])
    assert done.exit_code == 0
    lines = {line[:28].strip(): line[28:].split() for line in done.stdout.splitlines()}
    assert lines["tiles found (recall)"] == ["1.000", "1.000"]
    assert lines["id switches"] == ["0"]
    assert lines["ids kept through re-flows"] == ["-"]
    assert lines["settled after re-flows"] == ["-"]


def test_a_change_that_nobody_saw(meeting: tuple[Path, Path], tmp_path: Path) -> None:
    """A truth in which the two change places after two seconds: the table says that ids never settled."""
    tiles = json.loads(meeting[1].read_text(encoding="utf-8"))["layout"][0]["tiles"]
    crossed = [tile | {"person": other["person"]} for tile, other in zip(tiles, reversed(tiles), strict=True)]
    layout = [{"t0": 0, "t1": 1, "tiles": tiles}, {"t0": 1, "t1": 4, "tiles": crossed}]
    done = CliRunner().invoke(
        app, ["evaluate", "gallery", str(meeting[0]), str(truth_file(tmp_path / "crossed.json", layout=layout))]
    )
    assert done.exit_code == 0
    assert "ids kept through re-flows      0 of 2" in done.stdout
    assert "settled after re-flows         3.0 s at most, 1 of 1 never" in done.stdout


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "truth.json:1: is no JSON (Expecting value); give the truth as JSON"),
        (b"\xff\xfe\x00", "truth.json: is no text; give the truth as JSON"),
        (b"[" * 100_000, "truth.json: is nested too deeply; give the truth as JSON"),
        (b"[]", "truth.json: the file: is no object"),
        (b"{}", "truth.json: the file: has no `layout`"),
        (b'{"layout": [{"t0": 0, "t1": 4, "tiles": []}], "size": 7}', "truth.json: size: 7 is no [width, height]"),
        (
            b'{"layout": [{"t0": 0, "t1": 4, "tiles": []}], "size": [64, 48]}',
            "truth.json: is about pictures of 64x48, ",
        ),
        (None, "truth.json: cannot be read (No such file or directory); give the truth as JSON"),
    ],
)
def test_a_truth_that_will_not_do_is_one_line(
    meeting: tuple[Path, Path], tmp_path: Path, content: bytes | None, line: str
) -> None:
    """Told on stderr with exit code 2, before anything is measured."""
    truth = tmp_path / "truth.json"
    if content is not None:
        truth.write_bytes(content)
    done = CliRunner().invoke(app, ["evaluate", "gallery", str(meeting[0]), str(truth), "--json"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"attuned: {tmp_path}/{line}")
    assert done.stderr.count("\n") == 1


def test_a_video_that_is_none_is_one_line(meeting: tuple[Path, Path]) -> None:
    """The truth in the place of the video."""
    done = CliRunner().invoke(app, ["evaluate", "gallery", str(meeting[1]), str(meeting[1])])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_recorded_meetings(dev_data: Path) -> None:
    """Everybody found in every second of both meetings, nobody else, and nobody mistaken for another."""
    for name in ("meeting_2x2", "sessions/meeting_personal_2x2"):
        video, truth = (str(dev_data / f"{name}.{kind}") for kind in ("mp4", "json"))
        done = CliRunner().invoke(app, ["evaluate", "gallery", video, truth, "--json"])
        assert done.exit_code == 0
        found = json.loads(done.stdout)
        assert (found["recall"], found["precision"], found["id_switches"]) == (1, 1, 0)
        assert found["mean_iou"] > 0.9
