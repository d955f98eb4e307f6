"""Figures as tables and sentences, and as a picture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.datasets.data import FaceData
from models.datasets.meshes import Meshes
from models.errors import DataError
from models.evaluation import measure as evaluation
from models.evaluation.measure import Evaluation
from models.evaluation.picture import check_place, draw_evaluation
from models.evaluation.text import format_evaluation

NAMES = ("pixel", "landmark", "fused", "landmark-paper")


@pytest.fixture
def measured(
    made_up_data: FaceData, made_up_meshes: Meshes, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Evaluation]:
    """Measures made-up faces, some arrays of the data replaced."""
    monkeypatch.setattr(evaluation, "find_meshes", lambda images, **_: made_up_meshes)

    def measure(
        names: tuple[str, ...] = NAMES, conditions: tuple[str, ...] = (), **changed: np.ndarray | Meshes
    ) -> Evaluation:
        return evaluation.evaluate_faces(replace(made_up_data, **changed), names, conditions=conditions)

    return measure


def blocks(found: Evaluation) -> dict[str, list[str]]:
    """Lines of each paragraph by the first of them."""
    paragraphs = (paragraph.splitlines() for paragraph in format_evaluation(found.result).split("\n\n"))
    return {lines[0]: lines[1:] for lines in paragraphs}


def test_every_figure_has_its_place(measured: Callable[..., Evaluation]) -> None:
    """Per set of labels a table, one without near-duplicates, one of classes, and sentences; then times and conditions."""
    found = blocks(measured(conditions=("dark", "jpeg"), near_duplicate=np.arange(32) < 10))
    titles = list(found)
    assert titles[:3] == [
        "FER+ majority: 32 faces",
        "FER+ majority, without near-duplicates of the training data: 22 faces",
        "FER+ majority: recall / F1 of each class",
    ]
    assert titles[4:7] == [title.replace("FER+ majority", "original labels") for title in titles[:3]]
    assert [len(found[title]) for title in titles[:3]] == [5, 5, 5]
    assert [line.split()[0] for line in found[titles[0]][1:]] == list(NAMES)
    times = found["Time per face on one thread, median (95th percentile)"]
    assert (times[0].split()[:4], len(times)) == (["model", "1", "at", "once"], 5)
    # A header, and for no condition and two of them a row of each of four models.
    assert len(found["FER+ majority: the same pictures degraded, with the change of `all` and UAR"]) == 1 + 3 * 4
    assert "Pictures of one person are taken as independent" in format_evaluation(measured().result).replace(
        "\n  ", " "
    )
    assert max(len(line) for lines in found.items() for line in (lines[0], *lines[1])) <= 100


def test_pairs_are_told_once(measured: Callable[..., Evaluation]) -> None:
    """Of three single models the two arms make a sentence, and the mean one; without one of the arms every pair does."""
    result = measured().result
    told = " ".join(format_evaluation(result).split()).partition("original labels:")[0]
    assert told.count("faces that both read: both right") == 1
    assert told.count("pixel and landmark, 31 faces that both read: both right") == 1
    others = {name: result[name] for name in ("pixel", "landmark-paper")}
    text = " ".join(format_evaluation(others).split()).partition("original labels:")[0]
    assert text.count("pixel and landmark-paper, 31 faces that both read: both right") == 1
    assert told.count("fused, on the 31 faces that both its models read:") == 1
    assert "on all 32: " in told


def test_losses_are_in_points() -> None:
    """From 80.0 to 70.5 % is -9.5 points; where nothing was read there is a dash."""
    plain = {"n": 10, "n_seen": 10, "accuracy": 0.8, "accuracy_all": 0.8, "coverage": 1.0, "uar": 0.5}
    worse = plain | {"accuracy": 0.75, "accuracy_all": 0.705, "coverage": 0.94, "uar": 0.55}
    nothing = plain | {"accuracy": None, "accuracy_all": 0.0, "coverage": 0.0, "uar": None}
    labels = ("ferplus", "original")
    conditions = {"dark": dict.fromkeys(labels, worse), "16px": dict.fromkeys(labels, nothing)}
    full = plain | {"accuracy_ci95": [0.7, 0.9], "recall": NO_CLASS, "f1": NO_CLASS}
    full |= dict.fromkeys(("macro_f1", "log_loss", "ece", "ece_cross_fitted", "aurc"), 0.5)
    result = {"pixel": dict.fromkeys(labels, full) | {"inference_ms": {"batch_1": None}, "conditions": conditions}}
    lines = format_evaluation(result).splitlines()
    rows = lines[next(at for at, line in enumerate(lines) if "degraded" in line) + 2 :]
    assert rows[0].split() == ["as", "they", "are", "pixel", "80.0", "%", "80.0", "%", "100.0", "%", "0.500"]
    assert rows[1].split() == ["dark", "pixel", "75.0", "%", "70.5", "%", "-9.5", "94.0", "%", "0.550", "+5.0"]
    assert rows[2].split() == ["16px", "pixel", "-", "0.0", "%", "-80.0", "0.0", "%", "-", "-"]
    assert "as-is" not in format_evaluation(result)
    # Cut from larger pictures: 70.5 % of the small ones undegraded, and their UAR, are what is compared with.
    result["pixel"]["conditions"] = {"as-is": conditions["dark"], "16px": dict.fromkeys(labels, plain)}
    lines = format_evaluation(result).splitlines()
    rows = lines[next(at for at, line in enumerate(lines) if "degraded" in line) + 2 :]
    assert rows[0].split() == ["as-is", "pixel", "75.0", "%", "70.5", "%", "94.0", "%", "0.550"]
    assert rows[1].split() == ["16px", "pixel", "80.0", "%", "80.0", "%", "+9.5", "100.0", "%", "0.500", "-5.0"]
    assert [line for line in lines if line.startswith("as-is: undegraded, but read like the degraded ones")]


NO_CLASS = dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"))


def test_labels_that_no_face_has_are_left_out(measured: Callable[..., Evaluation]) -> None:
    """Without votes there is no FER+ table; without anything one line says so."""
    no_votes = {"votes": np.zeros((32, 10), dtype=np.uint8)}
    text = format_evaluation(
        measured(**no_votes, conditions=("dark",), near_duplicate=np.ones(32, dtype=np.bool_)).result
    )
    assert "FER+" not in text
    assert "original labels: 32 faces" in text
    assert "without near-duplicates" not in text
    text = format_evaluation(measured(**no_votes, label=np.full(32, -1)).result)
    assert text.splitlines()[0] == "no face has a label: nothing to measure"


@pytest.mark.parametrize(("names", "width", "height"), [(NAMES, 2580, 1875), (("pixel",), 1290, 1350)])
def test_the_picture(
    measured: Callable[..., Evaluation], tmp_path: Path, names: tuple[str, ...], width: int, height: int
) -> None:
    """A PNG of a column per model, or of two for one; there is something in each of its rows."""
    path = tmp_path / "figures.png"
    path.write_text("an older one")
    draw_evaluation(measured(names), path, title="made-up.npz")
    picture = cv2.imread(str(path))
    assert picture.shape == (height, width, 3)
    for part in np.array_split(picture, 3):
        assert (part < 128).any(axis=2).mean() > 0.005


def test_dollars_in_the_name_of_the_data_are_no_formula(measured: Callable[..., Evaluation], tmp_path: Path) -> None:
    """What matplotlib would fail to read as one is written as it is."""
    draw_evaluation(measured(("pixel",)), tmp_path / "figures.png", title=r"$\frac$.npz")
    assert (tmp_path / "figures.png").exists()


def test_the_picture_of_faces_nobody_reads(measured: Callable[..., Evaluation], tmp_path: Path) -> None:
    """Models that read no face have empty panels; without votes the original labels are drawn."""
    nothing = Meshes(np.zeros(32, dtype=np.bool_), np.zeros((32, 468, 3), dtype=np.float32))
    found = measured(("pixel", "landmark"), meshes=nothing, votes=np.zeros((32, 10), dtype=np.uint8))
    draw_evaluation(found, tmp_path / "figures.png", title="black.npz")
    assert (tmp_path / "figures.png").exists()


def test_what_cannot_be_drawn_is_one_line(measured: Callable[..., Evaluation], tmp_path: Path) -> None:
    """No label at all, or a disk that refuses."""
    unlabelled = measured(("pixel",), label=np.full(32, -1), votes=np.zeros((32, 10), dtype=np.uint8))
    with pytest.raises(DataError, match="no face has a label"):
        draw_evaluation(unlabelled, tmp_path / "figures.png", title="x")
    with pytest.raises(DataError, match=r"gone/figures\.png: cannot be written \(No such file"):
        draw_evaluation(measured(("pixel",)), tmp_path / "gone" / "figures.png", title="x")


def test_places_are_checked_before_the_work(tmp_path: Path) -> None:
    """A folder that is not there, one in the file's place, and another kind of file."""
    check_place(tmp_path / "new.png")
    (tmp_path / "old.PNG").touch()
    check_place(tmp_path / "old.PNG")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"there is no folder .*gone; make it first"):
        check_place(tmp_path / "gone" / "new.png")
    with pytest.raises(DataError, match=r"folder\.png: cannot be written"):
        check_place(tmp_path / "folder.png")
    with pytest.raises(DataError, match=r"give a name that ends in \.png"):
        check_place(tmp_path / "new.pdf")
