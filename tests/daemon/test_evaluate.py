"""`attuned evaluate expression` as a user types it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from networks import channel_means, describe
from typer.testing import CliRunner

from daemon.cli import app
from pipeline.emotions import EMOTIONS


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty pictures of noise with labels and votes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    np.savez(
        path,
        images=rng.integers(0, 256, (20, 48, 48), dtype=np.uint8),
        label=np.arange(20) % 7,
        votes=np.full((20, 10), 1, dtype=np.uint8),
    )
    return path


def test_one_object_and_a_picture(data: Path, tmp_path: Path) -> None:
    """With --json stdout holds one object; the picture and the conditions are as asked for."""
    plot = tmp_path / "figures.png"
    done = CliRunner().invoke(
        app,
        ["evaluate", "expression", str(data), "--model", "pixel", "--condition", "dark", "--plot", str(plot), "--json"],
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert list(json.loads(done.stdout)["pixel"]["conditions"]) == ["dark"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_working_folder_has_its_name_in_the_title(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title of `.` would say nothing."""
    titles: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("daemon.evaluate.measure_expression", lambda *_, **__: SimpleNamespace(result={}))
    monkeypatch.setattr("models.evaluation.picture.draw_evaluation", lambda *_, title: titles.append(title))
    done = CliRunner().invoke(app, ["evaluate", "expression", ".", "--plot", "figures.png", "--json"])
    assert (done.exit_code, titles) == (0, [tmp_path.name])


def test_models_for_other_pictures_are_named_on_stderr(data: Path, tmp_path: Path) -> None:
    """A line of its own, and the object on stdout is whole."""
    content = channel_means(64, np.ones((3, 7), dtype=np.float32))
    path = describe(tmp_path, content, classes=list(EMOTIONS), input__size=[64, 64], input__colour="rgb")
    done = CliRunner().invoke(app, ["evaluate", "expression", str(data), "--model", str(path), "--json"])
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert "mine.yaml reads 64 px in colour: here it is given 48 px grey pictures enlarged" in done.stderr
    assert list(json.loads(done.stdout)) == ["mine"]


def test_default_models_as_text(data: Path) -> None:
    """Pixel, landmark and fused, then the others, in tables."""
    done = CliRunner().invoke(app, ["evaluate", "expression", str(data)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:5]] == ["pixel", "landmark", "fused"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--plot", "gone/figures.png"], "attuned: gone/figures.png: there is no folder gone; make it first"),
        (["--condition", "foggy"], "attuned: no condition 'foggy'; choose from 24px, "),
        (["--model", "pixie"], "attuned: no model 'pixie'; choose from fused, landmark, "),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(data: Path, arguments: list[str], line: str) -> None:
    """Told on stderr before anything is measured, nothing on stdout."""
    done = CliRunner().invoke(app, ["evaluate", "expression", str(data), *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
