"""Training on tiny made-up data: resuming, exporting, calibrating, the command."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from models.errors import ModelError
from models.landmark import FEATURES, OnnxLandmarkModel
from models.manifest import MANIFEST
from models.pixel import OnnxPixelModel
from models.training import landmark, pixel
from models.training.__main__ import export_landmark, export_pixel, main
from models.training.augment import CROP, distorted
from models.training.data import FaceData
from models.training.export import export, fitted_temperature, matching_offsets, shift_logits
from models.training.loop import Recipe, logits_of, one_cycle
from models.training.meshes import Meshes, cached_meshes, find_meshes

SHORT = {"n_epochs": 2, "batch_size": 8}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how threads share them."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def weights_of(network: nn.Module) -> list[np.ndarray]:
    """Every number of a network."""
    return [tensor.numpy().copy() for tensor in network.state_dict().values()]


class KilledError(Exception):
    """Stands for the end of the process."""


def killed(done: int, total: int, loss: float) -> None:
    """Progress of a training that does not live through its second epoch."""
    assert np.isfinite(loss)
    if done > total // 2 + 1:
        raise KilledError


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, made_up_data: FaceData) -> None:
    """Killed in the second epoch and started again, the pixel model is that of a training without interruption."""
    recipe = replace(pixel.RECIPE, **SHORT, bfloat16=False)
    whole = pixel.train_pixel(made_up_data, checkpoint=tmp_path / "whole.ckpt", recipe=recipe)
    with pytest.raises(KilledError):
        pixel.train_pixel(made_up_data, checkpoint=tmp_path / "torn.ckpt", recipe=recipe, progress=killed)
    epochs = []
    torn = pixel.train_pixel(
        made_up_data,
        checkpoint=tmp_path / "torn.ckpt",
        recipe=recipe,
        after_epoch=lambda _network, epoch, _loss: epochs.append(epoch),
    )
    assert epochs == [1]
    for one, other in zip(weights_of(whole), weights_of(torn), strict=True):
        assert np.array_equal(one, other)


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(
    tmp_path: Path, made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """A training with another seed starts at its own beginning."""
    path = tmp_path / "model.ckpt"
    for seed in (1, 2):
        recipe = replace(landmark.PAPER_RECIPE, **SHORT, seed=seed)
        found = landmark.train_landmark_paper(made_up_data, made_up_meshes, checkpoint=path, recipe=recipe)
    alone = landmark.train_landmark_paper(
        made_up_data, made_up_meshes, checkpoint=tmp_path / "alone.ckpt", recipe=recipe
    )
    for one, other in zip(weights_of(found), weights_of(alone), strict=True):
        assert np.array_equal(one, other)


def test_the_papers_model_is_the_papers() -> None:
    """272 inputs, two hidden layers of 128, seven outputs: 35,000 + 16,512 + 903 weights and biases."""
    network = landmark.paper_network(torch.zeros(2, 272))
    # 272 * 128 + 128 = 34,944; 128 * 128 + 128 = 16,512; 128 * 7 + 7 = 903.
    assert sum(p.numel() for p in network.parameters()) == 34_944 + 16_512 + 903


def test_exported_models_say_what_the_trained_ones_said(
    tmp_path: Path, made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """All three, trained for two epochs, written, loaded through the manifest: logits equal within 1e-4."""
    checkpoint, out = tmp_path / "model.ckpt", tmp_path / "out"
    recipe = replace(pixel.RECIPE, **SHORT, bfloat16=False)
    network = pixel.train_pixel(made_up_data, checkpoint=checkpoint, recipe=recipe)
    entry = export_pixel(network, made_up_data, out)
    said = OnnxPixelModel(folder=out).predict(made_up_data.images)
    faces = pixel.central(torch.from_numpy(made_up_data.images).float()).numpy()
    np.testing.assert_allclose(said.logits, logits_of(network, faces), atol=1e-4)
    assert (said.embeddings.shape, entry.version) == ((32, 192), "pixel-1.0")

    meshes = made_up_meshes
    for name, train in (("landmark", landmark.train_landmark), ("landmark-paper", landmark.train_landmark_paper)):
        paper = name == "landmark-paper"
        recipe = replace(landmark.PAPER_RECIPE if paper else landmark.RECIPE, **SHORT)
        trained = train(made_up_data, meshes, checkpoint=checkpoint, recipe=recipe)
        export_landmark(trained, made_up_data, meshes, out, paper=paper)
        spoken = OnnxLandmarkModel(name, folder=out).predict(meshes.landmarks)
        inputs = FEATURES["paper" if paper else "mesh"](meshes.landmarks)
        np.testing.assert_allclose(spoken.logits, logits_of(trained, inputs), atol=1e-4)
        assert spoken.embeddings.shape == (32, 128)


def test_an_export_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose exported form says something else is not written."""
    monkeypatch.setattr("models.training.export.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differs from the trained one"):
        export(pixel.PixelGraph(pixel.PixelNetwork()), np.zeros((2, 48, 48), dtype=np.uint8), input_name="faces")


def test_the_temperature_is_that_of_least_loss() -> None:
    """Three of four right with logits 4 and 0 (among two live classes): exp(4 / T) = 3, T = 4 / ln 3 = 3.641."""
    logits = np.full((4, 7), -1e4, dtype=np.float32)
    logits[:, 0], logits[:, 1] = 4, 0
    assert fitted_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(4 / np.log(3), abs=2e-3)


def test_rare_classes_are_answered_as_often_as_they_are_true() -> None:
    """A tenth of the rows is of class 1, whose logit is larger on them but never the largest: then it is."""
    truth = np.arange(200) % 10 == 0
    logits = np.full((200, 7), -50, dtype=np.float32)
    logits[:, 0] = 2
    logits[:, 1] = np.where(truth, 0.5, -1) + np.linspace(0, 0.5, 200)
    assert (logits.argmax(axis=1) == 0).all()
    offsets = matching_offsets(logits, truth.astype(np.int64))
    assert np.array_equal((logits + offsets).argmax(axis=1) == 1, truth)
    assert offsets.sum() == pytest.approx(0, abs=1e-4)
    head = pixel.dense_head(4).eval()
    before = head(torch.ones(1, 4)).detach().numpy()
    shift_logits(head, offsets)
    np.testing.assert_allclose(head(torch.ones(1, 4)).detach().numpy() - before, offsets[None], atol=1e-5)


def test_the_learning_rate_rises_and_falls() -> None:
    """From 4 % of the peak, at the peak after the warm-up, at half of it midway down, at nothing in the end."""
    rates = [one_cycle(done, peak=2.0, warm_up=0.2) for done in (0, 0.1, 0.2, 0.6, 1)]
    assert rates == pytest.approx([0.08, 1.04, 2, 1, 0])


def test_mirrored_vertices_are_partners(made_up_meshes: Meshes) -> None:
    """Outer eye corners change places, the tip of the nose stays; what is no face is refused."""
    order = landmark.mirror_order(made_up_meshes.landmarks)
    assert (order[33], order[263], order[4]) == (263, 33, 4)
    noise = np.random.default_rng(0).normal(size=(3, 468, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="found 3 whose median is not symmetric"):
        landmark.mirror_order(noise)


def test_distortions_keep_the_face_and_follow_the_seed() -> None:
    """A distorted picture is (44, 44) uint8, the same for the same seed, and still much like the face."""
    rows, columns = np.indices((48, 48))
    picture = (127 + 60 * np.sin(rows / 6) + 60 * np.cos((columns - 23.5) / 5)).astype(np.uint8)
    runs = [[distorted(picture, np.random.default_rng(seed)) for seed in range(40)] for _ in range(2)]
    assert all(crop.shape == (CROP, CROP) and crop.dtype == np.uint8 for crop in runs[0])
    assert np.array_equal(runs[0], runs[1])
    likeness = [np.corrcoef(crop.ravel(), picture[2:-2, 2:-2].ravel())[0, 1] for crop in runs[0]]
    assert np.median(likeness) > 0.6


def test_meshes_are_kept(tmp_path: Path) -> None:
    """Pictures without a face have none; asked again, the kept answer is read, not searched for."""
    pictures = np.zeros((3, 48, 48), dtype=np.uint8)
    calls = []
    first = cached_meshes(pictures, folder=tmp_path, progress=lambda done, total: calls.append((done, total)))
    again = cached_meshes(pictures, folder=tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 3)]
    assert first.found.tolist() == again.found.tolist() == [False] * 3
    assert first.landmarks.shape == again.landmarks.shape == (3, 468, 3)


def test_meshes_are_those_of_the_small_picture() -> None:
    """A portrait shrunk to 48 px has its mesh within the 48 px, the same by one worker as by two."""
    face = cv2.cvtColor(data.astronaut()[50:200, 150:300], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(face, (48, 48), interpolation=cv2.INTER_AREA)
    one = find_meshes(np.repeat(small[None], 201, axis=0)[:2], n_workers=1)
    assert one.found.tolist() == [True, True]
    centre = one.landmarks[0, :, :2].mean(axis=0)
    assert np.abs(centre - 24).max() < 8
    two = find_meshes(np.repeat(small[None], 201, axis=0), n_workers=2)
    assert two.found.all()
    assert np.array_equal(two.landmarks[200], one.landmarks[0])


def test_the_command(
    tmp_path: Path, made_up_data: FaceData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m models.training pixel` writes the model and its manifest; without data it says so and exits 2."""
    arguments = ["pixel", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "var")]
    assert main(arguments) == 2
    assert "no such file" in capsys.readouterr().err.replace("\n", " ")
    for name in ("train", "valid"):
        np.savez(
            tmp_path / f"fer2013_{name}.npz",
            images=made_up_data.images,
            label=made_up_data.label,
            votes=made_up_data.votes,
        )
    short: Recipe = replace(pixel.RECIPE, **SHORT, bfloat16=False)
    monkeypatch.setattr(pixel.train_pixel, "__kwdefaults__", pixel.train_pixel.__kwdefaults__ | {"recipe": short})
    assert main(arguments) == 0
    assert (tmp_path / "out" / MANIFEST).is_file()
    assert OnnxPixelModel(folder=tmp_path / "out").version == "pixel-1.0"
    monkeypatch.setattr("models.training.export.TOLERANCE", -1.0)
    assert main(arguments) == 1
