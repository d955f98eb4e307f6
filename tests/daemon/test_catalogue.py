"""`attuned models list` and `show`, and models that the configuration names."""

import json
from pathlib import Path

import pytest
from networks import FERPLUS, describe
from typer.testing import CliRunner

from config.settings import load_settings
from daemon.assembly import models_of
from daemon.cli import app
from models.manifest import WEIGHTS, read_manifest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose configuration names a model of its own."""
    describe(tmp_path)
    (tmp_path / "attuned.yaml").write_text("models: {pixel: mine.yaml, landmark: landmark-paper}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*arguments: str) -> str:
    """What a command that works prints."""
    done = CliRunner().invoke(app, ["models", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_configured_models_are_those_that_read(folder: Path) -> None:
    """A path for pixels and a name for landmarks."""
    models = models_of(load_settings(folder / "attuned.yaml"))
    assert models.pixel.version.startswith("mine-")
    assert models.landmark.version == "landmark-paper-1.1"


def test_list_shows_what_there_is_and_what_is_used(folder: Path) -> None:
    """All of the manifest and the configured one, as a table and as JSON."""
    rows = json.loads(said("list", "--json"))["models"]
    assert [row["name"] for row in rows] == [*read_manifest(), "mine"]
    assert [row["name"] for row in rows if row["in_use"]] == ["landmark-paper", "mine"]
    header, *lines = said("list").splitlines()
    assert header.split() == ["name", "version", "reads", "in", "use", "SHA-256", "file"]
    assert lines[-1].split()[:4] == ["mine", rows[-1]["version"], "pixel", "yes"]


def test_show_says_everything_of_a_model(folder: Path) -> None:
    """Fields, card and paths of a shipped one; fields and paths of a described one."""
    shown = json.loads(said("show", "pixel", "--json"))
    assert (shown["version"], shown["verified"]) == (read_manifest()["pixel"].version, True)
    assert shown["card"] == str(WEIGHTS / "pixel.md")
    assert Path(shown["card"]).is_file()
    shown = json.loads(said("show", "mine.yaml", "--json"))
    assert (shown["classes"], shown["description"], shown["verified"]) == (FERPLUS, "mine.yaml", True)
    lines = dict(line.split(maxsplit=1) for line in said("show", "mine.yaml").splitlines())
    assert lines["classes"] == ", ".join(FERPLUS)
    assert lines["verified"] == "yes"
    assert lines["embedding"] == "-"


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("pixie", "attuned: no model 'pixie' in "),
        ("none.yaml", "attuned: none.yaml: cannot be read: No such file or directory\n"),
    ],
)
def test_models_that_are_not_there(folder: Path, model: str, line: str) -> None:
    """One line and exit code 2."""
    done = CliRunner().invoke(app, ["models", "show", model])
    assert done.exit_code == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_a_damaged_model_is_told_by_show(folder: Path) -> None:
    """The hash is looked at."""
    (folder / "mine.onnx").write_bytes(b"something else")
    done = CliRunner().invoke(app, ["models", "show", "mine.yaml"])
    assert done.exit_code == 2
    assert "mine.onnx is not the file that mine.yaml means" in done.stderr
