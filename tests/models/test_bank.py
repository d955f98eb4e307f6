"""The bank of simulated groups: which faces, which takes, and what is kept of them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from daemon.simulate.bank import load_bank
from models.datasets.data import VOTES, FaceData, load_faces
from models.errors import DataError, ModelError
from models.manifest import WEIGHTS
from models.training.__main__ import main
from models.training.bank import LEVELS, TAKES, bank_arrays, chosen, head_arrays, shares_of, takes, write_bank
from pipeline.emotions import EMOTIONS


def voted(*rows: dict[str, int], duplicate: list[bool] | None = None) -> FaceData:
    """Faces with these votes out of ten."""
    votes = np.array([[row.get(name, 0) for name in VOTES] for row in rows], dtype=np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (len(rows), 48, 48), dtype=np.uint8)
    near = None if duplicate is None else np.array(duplicate)
    return FaceData(images, np.full(len(rows), -1), votes, near_duplicate=near)


def test_intensity_is_the_share_of_those_who_saw_the_emotion_or_nothing() -> None:
    """Worked by hand: 6 of 6 + 3 saw anger, 7 of 7 + 0 fear; a neutral face has 1; contempt has no class."""
    shares = shares_of(
        voted(
            {"anger": 6, "neutral": 3, "fear": 1},
            {"fear": 7, "surprise": 3},
            {"neutral": 8, "sadness": 2},
            {"contempt": 9, "neutral": 1},
            {"happiness": 5, "sadness": 4, "neutral": 1},
        )
    )
    assert [EMOTIONS[k] if k >= 0 else None for k in shares.emotion] == ["anger", "fear", "neutral", None, "happiness"]
    assert shares.intensity.tolist()[:3] == [pytest.approx(0.667), 1.0, 1.0]
    # 9 of 10, 7, 8; nothing; 6 of 10 of which four saw something else
    assert shares.clear.tolist() == [True, True, True, False, False]


def test_intensities_at_a_boundary_belong_to_the_upper_level() -> None:
    """7 of 7 + 3 is no longer faint, 9 of 9 + 1 is strong: in decimal, not in what a float makes of it."""
    shares = shares_of(voted({"sadness": 7, "neutral": 3}, {"sadness": 9, "neutral": 1}, {"sadness": 6, "neutral": 4}))
    assert np.digitize(shares.intensity, LEVELS).tolist() == [1, 2, 0]


def test_faces_of_each_kind_are_drawn_and_known_ones_left_out() -> None:
    """As many as asked for where there are, the same for the same seed, none that stands in the training set."""
    kinds = [{"sadness": 6, "neutral": 4}, {"sadness": 8, "neutral": 2}, {"sadness": 10}, {"neutral": 10}]
    data = voted(*[kind for kind in kinds for _ in range(5)], duplicate=[k % 5 == 0 for k in range(20)])
    rows = chosen(data, n_a_kind=3, n_neutral=2)
    assert Counter((rows // 5).tolist()) == {0: 3, 1: 3, 2: 3, 3: 2}
    assert not (rows % 5 == 0).any()
    assert chosen(data, n_a_kind=3, n_neutral=2).tolist() == rows.tolist()
    assert len(chosen(data, n_a_kind=9, n_neutral=9)) == 16


def test_takes_begin_with_the_picture_and_differ_a_little() -> None:
    """The first is untouched; the others are near it, unlike each other, and the same for the same seed."""
    image = np.tile(np.linspace(20, 220, 48).astype(np.uint8), (48, 1))
    made = takes(np.stack([image, image.T]))
    assert made.shape == (2, len(TAKES), 48, 48)
    assert (made[0, 0] == image).all()
    distance = np.abs(made[0].astype(int) - image).mean(axis=(1, 2))
    assert (distance[1:5] > 0).all()
    assert (distance[1:5] < 40).all()
    assert len({take.tobytes() for take in made[0]}) == len(TAKES)
    assert (takes(np.stack([image, image.T])) == made).all()
    assert Counter(TAKES) == {"as-is": 5, "24px": 2, "blurred": 2, "jpeg": 2, "noise": 2, "dark": 2}


def test_a_bank_without_faces_is_told() -> None:
    """Pictures nobody voted on, and pictures in which nobody is."""
    with pytest.raises(DataError, match="no face for the bank"):
        bank_arrays(voted({}), WEIGHTS)
    with pytest.raises(DataError, match="no face for the bank"):
        bank_arrays(voted({"sadness": 10}), WEIGHTS)


def test_a_model_without_a_dense_head_is_refused(weights: Callable[..., Path]) -> None:
    """The tiny one slices its input."""
    with pytest.raises(ModelError, match="does not end in a dense head"):
        head_arrays("pixel", weights())


def test_the_head_of_the_bank_is_that_of_the_model() -> None:
    """Weights are those of the ONNX file, and make of the embeddings the logits that the model gave, to half precision."""
    content = onnx.load(str(WEIGHTS / "pixel.onnx"))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in content.graph.initializer}
    assert (head_arrays("pixel", WEIGHTS)["pixel_head_w2"] == stored["network.head.3.weight"]).all()
    bank = load_bank()
    with np.load(WEIGHTS / "bank.npz") as arrays:
        for name, arm in (("pixel", bank.pixel), ("landmark", bank.landmark)):
            made = arm.head.logits(arm.embeddings[bank.mesh])
            np.testing.assert_allclose(made, arrays[f"{name}_logits"][bank.mesh], atol=0.01)


def test_the_shipped_bank_holds_what_its_card_says() -> None:
    """Faces of every class, takes under every condition, a mesh as they are; nothing but figures, and no pictures."""
    with np.load(WEIGHTS / "bank.npz") as arrays:
        assert not any(array.dtype == np.uint8 or 48 in array.shape or 468 in array.shape for array in arrays.values())
        assert set(arrays.files) == {
            "takes", "models", "emotion", "share", "neutral_share", "mesh", "quality",
            *(f"{arm}_{what}" for arm in ("pixel", "landmark") for what in ("logits", "embedding")),
            *(f"{arm}_head_{part}" for arm in ("pixel", "landmark") for part in ("w1", "b1", "w2", "b2")),
        }  # fmt: skip
    bank = load_bank()
    assert bank.takes == TAKES
    assert bank.mesh[:, 0].all()
    assert (np.bincount(bank.emotion, minlength=7) > 0).all()
    assert ((bank.quality >= 0) & (bank.quality <= 1)).all()
    assert (WEIGHTS / "bank.npz").stat().st_size < 5e6


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the time of writing is in the file."""
    arrays = {"a": np.arange(5), "b": np.array(["x"])}
    sizes = [write_bank(tmp_path / name, arrays) for name in ("one.npz", "two.npz")]
    assert sizes[0] == (tmp_path / "one.npz").stat().st_size
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]


def test_the_command_makes_a_bank_that_can_be_read(tmp_path: Path, dev_data: Path) -> None:
    """Of a few real faces, beside the models it is made with."""
    for name in ("manifest.toml", "pixel.onnx", "landmark.onnx"):
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    data = load_faces(dev_data / "fer2013_valid.npz")
    shares = shares_of(data)
    rows = [np.flatnonzero((shares.emotion == k) & shares.clear & ~data.near_duplicate)[:2] for k in range(7)]
    few = data.rows(np.concatenate(rows))
    for name in ("fer2013_train.npz", "fer2013_valid.npz"):
        np.savez(tmp_path / name, images=few.images, label=few.label.astype(np.int8), votes=few.votes)
    arguments = ["bank", "--data", str(tmp_path), "--out", str(tmp_path), "--cache", str(tmp_path / "var")]
    assert main(arguments) == 0
    first = (tmp_path / "bank.npz").read_bytes()
    bank = load_bank(tmp_path)
    assert set(bank.emotion.tolist()) == set(range(7))
    assert bank.mesh.shape == (len(bank.emotion), len(TAKES))
    assert main(arguments) == 0
    assert (tmp_path / "bank.npz").read_bytes() == first
