"""Training on tiny made-up data: resuming, exporting, calibrating, the command."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from models.datasets.data import FaceData
from models.datasets.meshes import Meshes, cached_meshes, find_meshes, framed
from models.errors import ModelError
from models.evaluation.calibration import fitted_pool
from models.landmark import FEATURES, OnnxLandmarkModel
from models.manifest import MANIFEST, read_manifest
from models.pixel import OnnxPixelModel
from models.training import landmark, pixel
from models.training.__main__ import main
from models.training.augment import CROP, distorted
from models.training.entries import central_faces, export_landmark, export_pixel, fit_pool
from models.training.export import export, matching_offsets, shift_logits
from models.training.heads import TwoHeads, dense_head, joint_loss, logits_of
from models.training.loop import Recipe, one_cycle

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


def short_recipes() -> tuple[Recipe, Recipe]:
    """Both cycles of the pixel model in two epochs each, in full precision."""
    first, second = (replace(recipe, **SHORT, bfloat16=False) for recipe in (pixel.RECIPE, pixel.FINISH))
    return first, second


class KilledError(Exception):
    """Stands for the end of the process."""


def killed(done: int, total: int, loss: float) -> None:
    """Progress of a training that does not live through its second epoch."""
    assert np.isfinite(loss)
    if done > total // 2 + 1:
        raise KilledError


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, made_up_data: FaceData) -> None:
    """Killed in the second of four epochs and started again, the pixel model is that of a training without interruption."""
    recipes = short_recipes()
    whole = pixel.train_pixel(made_up_data, [made_up_data.images], checkpoint=tmp_path / "whole.ckpt", recipes=recipes)
    with pytest.raises(KilledError):
        pixel.train_pixel(
            made_up_data, [made_up_data.images], checkpoint=tmp_path / "torn.ckpt", recipes=recipes, progress=killed
        )
    epochs = []
    torn = pixel.train_pixel(
        made_up_data,
        [made_up_data.images],
        checkpoint=tmp_path / "torn.ckpt",
        recipes=recipes,
        after_epoch=lambda _network, epoch, _loss: epochs.append(epoch),
    )
    assert epochs == [1, 0, 1]
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


def test_another_first_cycle_makes_another_second(tmp_path: Path, made_up_data: FaceData) -> None:
    """After the recipe of the first cycle changed, the finished second one is not taken for its end."""
    first, second = short_recipes()
    epochs: list[int] = []
    for recipe in (first, replace(first, seed=9)):
        epochs.clear()
        pixel.train_pixel(
            made_up_data,
            [made_up_data.images],
            checkpoint=tmp_path / "pixel.ckpt",
            recipes=(recipe, second),
            after_epoch=lambda _network, epoch, _loss: epochs.append(epoch),
        )
    assert epochs == [0, 1, 0, 1]


def test_a_checkpoint_of_other_data_is_not_gone_on_from(
    tmp_path: Path, made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """The same recipe with labels exchanged starts anew, and so does one whose checkpoint is damaged."""
    recipe = replace(landmark.PAPER_RECIPE, **SHORT)
    exchanged = replace(made_up_data, label=(made_up_data.label + 1) % 7)
    alone = landmark.train_landmark_paper(exchanged, made_up_meshes, checkpoint=tmp_path / "alone.ckpt", recipe=recipe)
    path = tmp_path / "model.ckpt"
    landmark.train_landmark_paper(made_up_data, made_up_meshes, checkpoint=path, recipe=recipe)
    after_another = landmark.train_landmark_paper(exchanged, made_up_meshes, checkpoint=path, recipe=recipe)
    path.write_bytes(b"damaged")
    after_damage = landmark.train_landmark_paper(exchanged, made_up_meshes, checkpoint=path, recipe=recipe)
    for found in (after_another, after_damage):
        for one, other in zip(weights_of(found), weights_of(alone), strict=True):
            assert np.array_equal(one, other)


def test_a_training_that_diverges_says_so(tmp_path: Path, made_up_data: FaceData, made_up_meshes: Meshes) -> None:
    """A loss that is no number ends it, before anything is exported."""
    broken = replace(made_up_meshes, landmarks=np.full_like(made_up_meshes.landmarks, np.nan))
    with pytest.raises(ModelError, match="the training of model diverged in epoch 1"):
        landmark.train_landmark_paper(
            made_up_data, broken, checkpoint=tmp_path / "model.ckpt", recipe=replace(landmark.PAPER_RECIPE, **SHORT)
        )


def test_the_papers_model_is_the_papers() -> None:
    """272 inputs, two hidden layers of 128, seven outputs: 35,000 + 16,512 + 903 weights and biases."""
    network = landmark.paper_network(torch.zeros(2, 272))
    # 272 * 128 + 128 = 34,944; 128 * 128 + 128 = 16,512; 128 * 7 + 7 = 903.
    assert sum(p.numel() for p in network.parameters()) == 34_944 + 16_512 + 903


def test_exported_models_say_what_the_trained_ones_said(
    tmp_path: Path, made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """All five, trained for two epochs, written, loaded through the manifest: logits equal within 1e-4."""
    checkpoint, out, meshes = tmp_path / "model.ckpt", tmp_path / "out", made_up_meshes
    network = pixel.train_pixel(
        made_up_data,
        [made_up_data.images],
        checkpoint=checkpoint,
        recipes=short_recipes(),
    )
    faces = central_faces(made_up_data.images)
    for labels, name in (("votes", "pixel"), ("original", "pixel-fer2013")):
        entry = export_pixel(network.only(labels), labels, made_up_data, made_up_data.images, out)
        said = OnnxPixelModel(name, folder=out).predict(made_up_data.images)
        np.testing.assert_allclose(said.logits, logits_of(network.only(labels), faces), atol=1e-4)
        assert (said.embeddings.shape, entry.version) == ((32, 256), f"{name}-{pixel.RECIPE.version}")

    recipe = replace(landmark.RECIPE, **SHORT)
    trained = landmark.train_landmark(made_up_data, [meshes, meshes], checkpoint=checkpoint, recipe=recipe)
    inputs = FEATURES["mesh"](meshes.landmarks)
    for labels, name in (("votes", "landmark"), ("original", "landmark-fer2013")):
        export_landmark(trained.only(labels), labels, made_up_data, meshes, out)
        spoken = OnnxLandmarkModel(name, folder=out).predict(meshes.landmarks)
        np.testing.assert_allclose(spoken.logits, logits_of(trained.only(labels), inputs), atol=1e-4)
        assert spoken.embeddings.shape == (32, 256)

    recipe = replace(landmark.PAPER_RECIPE, **SHORT)
    paper = landmark.train_landmark_paper(made_up_data, meshes, checkpoint=checkpoint, recipe=recipe)
    export_landmark(paper, "original", made_up_data, meshes, out, paper=True)
    spoken = OnnxLandmarkModel("landmark-paper", folder=out).predict(meshes.landmarks)
    np.testing.assert_allclose(spoken.logits, logits_of(paper, FEATURES["paper"](meshes.landmarks)), atol=1e-4)
    assert spoken.embeddings.shape == (32, 128)


def test_the_arms_get_their_temperatures_for_the_mean(
    tmp_path: Path, made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """With one arm there is nothing to fit; with both the manifest says what `fitted_pool` found, and nothing else changes."""
    out = tmp_path / "out"
    network = pixel.train_pixel(
        made_up_data,
        [made_up_data.images],
        checkpoint=tmp_path / "pixel.ckpt",
        recipes=short_recipes(),
    )
    alone = export_pixel(network.only("votes"), "votes", made_up_data, made_up_data.images, out)
    fit_pool(made_up_data, made_up_meshes, out)
    assert read_manifest(out) == {"pixel": alone}
    assert alone.pool_temperature == alone.temperature
    recipe = replace(landmark.RECIPE, **SHORT)
    trained = landmark.train_landmark(made_up_data, [made_up_meshes], checkpoint=tmp_path / "mesh.ckpt", recipe=recipe)
    export_landmark(trained.only("votes"), "votes", made_up_data, made_up_meshes, out)
    fit_pool(made_up_data, made_up_meshes, out)
    logits = OnnxPixelModel(folder=out).predict(framed(made_up_data.images, made_up_meshes)).logits
    others = OnnxLandmarkModel(folder=out).predict(made_up_meshes.landmarks).logits
    found = fitted_pool(logits, others, made_up_meshes.found, made_up_data.ferplus)
    entries = read_manifest(out)
    assert (entries["pixel"].pool_temperature, entries["landmark"].pool_temperature) == found
    assert replace(entries["pixel"], pool_temperature=alone.pool_temperature) == alone


def test_each_head_learns_from_its_own_labels() -> None:
    """Of four faces, one without a vote and one without a label, each loss is the mean over the faces it knows."""
    logits = torch.log(torch.tensor([[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]]).repeat(4, 1))
    shares = torch.zeros(4, 7)
    shares[:, 0] = 1
    weights = torch.tensor([1.0, 1.0, 0.5, 0.0])
    label = torch.tensor([1, 0, 0, -1])

    class Fixed(nn.Module):
        def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return logits, logits

    # Votes: every face that counts has -ln 0.4 = 0.9163. Labels: (-ln 0.1 - 2 ln 0.4) / 3 = (2.3026 + 1.8326) / 3.
    expected = 0.9163 + 0.6 * (2.3026 + 1.8326) / 3
    loss = joint_loss(Fixed(), (torch.zeros(4, 1), shares, weights, label))
    assert float(loss) == pytest.approx(expected, abs=1e-3)
    nothing = (torch.zeros(4, 1), shares, torch.zeros(4), torch.full((4,), -1))
    assert float(joint_loss(Fixed(), nothing)) == 0


def test_an_export_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose exported form says something else is not written."""
    monkeypatch.setattr("models.training.export.TOLERANCE", -1.0)
    graph = pixel.PixelGraph(TwoHeads(pixel.PixelTrunk(), pixel.N_EMBEDDING).only("votes"))
    with pytest.raises(ModelError, match="differs from the trained one"):
        export(graph, np.zeros((2, 48, 48), dtype=np.uint8), input_name="faces")


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
    head = dense_head(4).eval()
    before = head(torch.ones(1, 4)).detach().numpy()
    shift_logits(head, offsets)
    np.testing.assert_allclose(head(torch.ones(1, 4)).detach().numpy() - before, offsets[None], atol=1e-5)


def test_the_learning_rate_rises_and_falls() -> None:
    """From 4 % of the peak, at the peak after the warm-up, at half of it midway down, at nothing in the end."""
    rates = [one_cycle(done, peak=2.0, warm_up=0.2) for done in (0, 0.1, 0.2, 0.6, 1)]
    assert rates == pytest.approx([0.08, 1.04, 2, 1, 0])


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
    assert "no known data set" in " ".join(capsys.readouterr().err.split())
    for name in ("train", "valid"):
        np.savez(
            tmp_path / f"fer2013_{name}.npz",
            images=made_up_data.images,
            label=made_up_data.label,
            votes=made_up_data.votes,
        )
    recipes = short_recipes()
    monkeypatch.setattr(pixel.train_pixel, "__kwdefaults__", pixel.train_pixel.__kwdefaults__ | {"recipes": recipes})
    assert main(arguments) == 0
    assert (tmp_path / "out" / MANIFEST).is_file()
    assert OnnxPixelModel(folder=tmp_path / "out").version == "pixel-1.1"
    monkeypatch.setattr("models.training.export.TOLERANCE", -1.0)
    assert main(arguments) == 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixel model is trained for two epochs a cycle."""
    defaults = pixel.train_pixel.__kwdefaults__ | {"recipes": short_recipes()}
    monkeypatch.setattr(pixel.train_pixel, "__kwdefaults__", defaults)


def test_other_data_sets_can_be_learnt(
    tmp_path: Path, made_up_data: FaceData, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kaggle's CSV without votes: labels stand in for votes, and the manifest names what was learnt, no licence of others."""
    rows = [
        f"{label},{' '.join(map(str, image.ravel()))},{usage}"
        for usage in ("Training", "PrivateTest")
        for label, image in zip(made_up_data.label, made_up_data.images, strict=True)
    ]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    out, data = tmp_path / "out", str(tmp_path / "fer2013.csv")
    places = ["--data", data, "--cache", str(tmp_path / "var")]
    assert main(["pixel", *places, "--splits", "Training", "PrivateTest"]) == 2
    assert "--out: say where" in capsys.readouterr().err
    places += ["--out", str(out)]
    assert main(["pixel", *places, "--splits", "Training", "PrivateTest"]) == 0
    entry = read_manifest(out)["pixel"]
    assert entry.training_data == "fer2013.csv Training with labels; temperature: fer2013.csv PrivateTest, labels"
    assert "not stated" in entry.licence
    assert main(["pixel", *places, "--splits", "Training", "Holidays"]) == 2
    assert "Holidays" in capsys.readouterr().err


def test_larger_pictures_are_learnt_as_they_were_cut(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meshes in px of the pictures are not taken for those of the 48 px crops: what is learnt shows the face."""
    seen: list[np.ndarray] = []
    train = pixel.train_pixel

    def spy(faces: FaceData, framings: list[np.ndarray], **options: Any) -> TwoHeads:  # noqa: ANN401 (passed on)
        seen.extend(framings)
        return train(faces, framings, **options)

    monkeypatch.setattr("models.training.__main__.train_pixel", spy)
    face = cv2.cvtColor(data.astronaut()[:300, 80:380], cv2.COLOR_RGB2BGR)
    for part in ("one", "two"):
        for number, name in enumerate(("happy", "sad")):
            (tmp_path / part / name).mkdir(parents=True)
            for copy in range(4):
                turned = np.ascontiguousarray(face[:, ::-1]) if copy % 2 else face
                cv2.imwrite(str(tmp_path / part / name / f"{copy}.png"), turned + np.uint8(number))
    parts = [str(tmp_path / "one"), str(tmp_path / "two")]
    places = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "var")]
    assert main(["pixel", "--data", *parts, *places]) == 0
    (faces,) = seen
    assert faces.shape == (8, 48, 48)
    assert min(picture.std() for picture in faces) > 30
    assert main(["pixel", "--data", *parts, parts[0], *places]) == 2
