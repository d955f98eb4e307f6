"""Measuring models: the figures of the JSON, which faces count, and the bars the shipped models have to clear."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError, ModelError
from models.training import evaluation
from models.training.data import FaceData, load_faces
from models.training.meshes import Meshes

KEYS = {
    "n",
    "accuracy",
    "accuracy_ci95",
    "accuracy_all",
    "coverage",
    "uar",
    "f1",
    "macro_f1",
    "log_loss",
    "ece",
    "confusion",
}


def one_hot(*classes: int) -> np.ndarray:
    """Certain predictions (n, 7)."""
    return np.eye(7)[list(classes)]


def test_figures_worked_by_hand() -> None:
    """Five rows: one without a label, one without a mesh; two of the other three right."""
    truth = np.array([0, 0, 3, 3, -1])
    readable = np.array([True, True, True, False, True])
    found = evaluation.figures(truth, one_hot(0, 1, 3, 3, 5), readable)
    assert set(found) == KEYS
    assert (found["n"], found["coverage"]) == (4, 3 / 4)
    assert found["accuracy"] == pytest.approx(2 / 3)
    # The unread face counts as wrong: 2 of 4.
    assert found["accuracy_all"] == 2 / 4
    # Anger 1 of 2, happiness 1 of 1.
    assert found["uar"] == pytest.approx((1 / 2 + 1) / 2)
    assert (found["f1"]["anger"], found["f1"]["disgust"], found["f1"]["fear"]) == (pytest.approx(2 / 3), 0, None)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    # One certain mistake of three, cut off at 1e-12; certainty is wrong by 1 in one of three.
    assert found["log_loss"] == pytest.approx(12 * np.log(10) / 3)
    assert found["ece"] == pytest.approx(1 / 3)
    assert found["confusion"][0] == [1, 1, 0, 0, 0, 0, 0]
    low, high = found["accuracy_ci95"]
    assert low <= 2 / 3 <= high


@pytest.mark.parametrize("truth", [[-1, -1], [0, 1]])
def test_figures_of_nothing_are_none(truth: list[int]) -> None:
    """Without labels, or without faces that can be read, what is not defined is null in the JSON."""
    found = evaluation.figures(np.array(truth), one_hot(0, 0), np.zeros(2, dtype=np.bool_))
    assert (found["accuracy"], found["accuracy_ci95"], found["uar"], found["ece"]) == (None, [None, None], None, None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert evaluation.format_evaluation({"pixel": {"original": found, "ferplus": found}}).count("-") > 10


@pytest.fixture
def meshes_given(monkeypatch: pytest.MonkeyPatch, made_up_meshes: Meshes) -> None:
    """The made-up pictures have the made-up meshes."""

    def find(images: np.ndarray, *, n_workers: int, progress: evaluation.Progress | None) -> Meshes:
        assert (len(images), n_workers) == (32, 2)
        if progress is not None:
            progress(32, 32)
        return made_up_meshes

    monkeypatch.setattr(evaluation, "find_meshes", find)


def test_every_model_against_both_label_sets(meshes_given: None, made_up_data: FaceData) -> None:
    """Pixel and fused read all pictures, the landmark arms only those with a mesh; near-duplicates are left out."""
    near = np.arange(32) < 10
    data = FaceData(made_up_data.images, made_up_data.label, made_up_data.votes, near)
    calls: list[tuple[int, int]] = []
    result = evaluation.evaluate_faces(data, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(32, 32)]
    assert list(result) == ["pixel", "landmark", "fused", "landmark-paper"]
    for name, measured in result.items():
        assert set(measured) == {"original", "ferplus", "without_near_duplicates"}
        assert measured["original"] == measured["ferplus"]
        assert measured["original"]["coverage"] == (31 / 32 if name.startswith("landmark") else 1)
        assert (measured["ferplus"]["n"], measured["without_near_duplicates"]["ferplus"]["n"]) == (32, 22)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    table = evaluation.format_evaluation(result).splitlines()
    assert (len(table), table[0].split()[0], table[1].split()[:2]) == (17, "model", ["pixel", "original"])


def test_fused_is_the_mean_and_pixel_without_a_mesh(meshes_given: None, made_up_data: FaceData) -> None:
    """Half of each arm's probabilities where there is a mesh; the first picture has none."""
    kinds = {"pixel": "pixel", "landmark": "landmark"}
    meshes = evaluation.find_meshes(made_up_data.images, n_workers=2, progress=None)
    arms = [
        evaluation._predictions(name, kinds, made_up_data, meshes, evaluation.WEIGHTS)[0]
        for name in ("pixel", "landmark", "fused")
    ]
    pixel, landmark, fused = arms
    np.testing.assert_array_equal(fused[0], pixel[0])
    np.testing.assert_allclose(fused[1:], (pixel[1:] + landmark[1:]) / 2)
    np.testing.assert_allclose(fused.sum(axis=1), 1)


def test_pixel_alone_looks_for_no_mesh(made_up_data: FaceData, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no mesh is not made to wait for one; data without the mark have no figures without duplicates."""
    monkeypatch.setattr(evaluation, "find_meshes", None)
    assert set(evaluation.evaluate_faces(made_up_data, ["pixel"])["pixel"]) == {"original", "ferplus"}


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    """An unknown model and an unusable file are named, the model first because it costs nothing to check."""
    with pytest.raises(ModelError, match="no model 'pixie'; choose from fused, landmark, landmark-paper, pixel"):
        evaluation.evaluate_expression(tmp_path / "none.npz", ["pixie"])
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        evaluation.evaluate_expression(tmp_path / "none.npz")


def test_evaluation_needs_no_torch() -> None:
    """A machine without the `train` extra can measure."""
    program = "import sys, models.training.evaluation; print('torch' in sys.modules, 'onnx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert done.stdout.split() == ["False", "False"]


def test_the_shipped_models_clear_the_bars(dev_data: Path) -> None:
    """On 600 pictures of FER2013 PublicTest, FER+ majority: pixel 78 %, landmark 67 %, fused 78 %, paper 55 %."""
    data = load_faces(dev_data / "fer2013_valid.npz").rows(slice(0, 600))
    result = evaluation.evaluate_faces(data)
    reached = {name: measured["ferplus"]["accuracy"] for name, measured in result.items()}
    bars = {"pixel": 0.78, "landmark": 0.67, "fused": 0.78, "landmark-paper": 0.55}
    assert {name: share for name, share in reached.items() if share < bars[name]} == {}
    assert result["landmark"]["ferplus"]["coverage"] > 0.93
