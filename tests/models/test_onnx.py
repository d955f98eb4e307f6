"""Loading models: what the manifest promises is checked, and every mistake is one clear line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose

from models.errors import ModelError
from models.landmark import OnnxLandmarkModel
from models.loading import load_models
from models.manifest import MANIFEST, WEIGHTS, read_manifest
from models.pixel import OnnxPixelModel
from pipeline.emotions import EMOTIONS

Weights = Callable[..., Path]
Tiny = Callable[..., bytes]


def test_logits_probabilities_and_embedding(weights: Weights) -> None:
    """Probabilities are the softmax of the logits over the temperature; the version is the manifest's."""
    model = OnnxPixelModel(folder=weights())
    faces = np.zeros((2, 48, 48), dtype=np.uint8)
    faces[1, 0, :7] = range(7)
    said = model.predict(faces)
    assert said.logits.tolist() == [[0] * 7, [0, 1, 2, 3, 4, 5, 6]]
    assert_allclose(said.probabilities[0], 1 / 7)
    powers = np.exp(np.arange(7) / 2)
    assert_allclose(said.probabilities[1], powers / powers.sum())
    assert said.embeddings.shape == (2, 2304)
    assert model.version == "pixel-0.1"


def test_the_models_own_class_order_is_permuted_by_name(weights: Weights, tiny: Tiny) -> None:
    """A model that declares another order gives its columns in ours, and classes we do not have are left out."""
    folder = weights(tiny(n_out=8), classes=("neutral", *EMOTIONS[:6], "contempt"))
    faces = np.zeros((1, 48, 48), dtype=np.uint8)
    faces[0, 0, :8] = [70, 0, 10, 20, 30, 40, 50, 90]
    assert OnnxPixelModel(folder=folder).predict(faces).logits.tolist() == [[0, 10, 20, 30, 40, 50, 70]]


def test_no_faces_no_expressions(weights: Weights) -> None:
    """No faces are answered with empty arrays of the usual shapes."""
    said = OnnxPixelModel(folder=weights()).predict(np.zeros((0, 48, 48), dtype=np.uint8))
    assert (said.logits.shape, said.probabilities.shape, said.embeddings.shape) == ((0, 7), (0, 7), (0, 2304))


@pytest.mark.parametrize(
    "faces", [np.zeros((1, 48, 47), np.uint8), np.zeros((48, 48), np.uint8), np.zeros((1, 48, 48))]
)
def test_other_inputs_are_refused(weights: Weights, faces: np.ndarray) -> None:
    """The message has the expected and the actual shape and type."""
    model = OnnxPixelModel(folder=weights())
    with pytest.raises(ValueError, match=r"faces: expected \(n, 48, 48\) uint8, found \("):
        model.predict(faces)


def refused(folder: Path, name: str = "pixel") -> str:
    """The one line that a model is refused with."""
    with pytest.raises(ModelError) as refusal:
        OnnxPixelModel(name, folder=folder)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def test_a_missing_file(weights: Weights) -> None:
    """A file the manifest names but that is not there is named, with what to do."""
    folder = weights()
    (folder / "tiny.onnx").unlink()
    assert "tiny.onnx is missing; reinstall attuned" in refused(folder)


def test_a_damaged_file(weights: Weights) -> None:
    """One changed byte is noticed before anything is loaded."""
    folder = weights()
    content = bytearray((folder / "tiny.onnx").read_bytes())
    content[100] ^= 1
    (folder / "tiny.onnx").write_bytes(content)
    assert "is not the file that the manifest means (SHA-256 " in refused(folder)


def test_a_file_that_is_no_model(weights: Weights) -> None:
    """A file with the right hash that onnxruntime cannot read is a ModelError too."""
    assert "cannot be run" in refused(weights(b"not a model"))


def test_another_input_shape(weights: Weights, tiny: Tiny) -> None:
    """The network's input must be what the manifest says."""
    message = refused(weights(tiny(shape=(44, 44))))
    assert "expected input (n, 48, 48) uint8, found ['n', 44, 44] tensor(uint8)" in message


def test_another_input_type(weights: Weights) -> None:
    """So must its type."""
    assert "expected input (n, 48, 48) float32" in refused(weights(dtype="float32"))


def test_another_input_name(weights: Weights, tiny: Tiny) -> None:
    """So must its name."""
    assert "expected input faces and outputs" in refused(weights(tiny(name="pictures")))


def test_another_number_of_classes(weights: Weights, tiny: Tiny) -> None:
    """Eight logits for seven declared classes would be misread."""
    assert "expected (n, 7) logits" in refused(weights(tiny(n_out=8)))


def test_another_embedding(weights: Weights) -> None:
    """The embedding's length is a contract with the personal heads."""
    assert "(n, 64) embeddings, found (1, 7) and (1, 2304)" in refused(weights(embedding=64))


@pytest.mark.parametrize("bad", ["logits", "embedding"])
def test_numbers_that_are_not_finite(weights: Weights, tiny: Tiny, bad: str) -> None:
    """A network that answers a black face with the logarithm of 0 is refused."""
    model = onnx.load_from_string(tiny())
    for node in model.graph.node:
        if bad in node.output:
            node.output[:] = ["before"]
        elif bad in node.input:
            node.input[:] = ["before" if name == bad else name for name in node.input]
    model.graph.node.append(onnx.helper.make_node("Log", ["before"], [bad]))
    message = refused(weights(model.SerializeToString()))
    assert "tiny.onnx: expected finite numbers, found others; reinstall attuned" in message


def test_an_unknown_name(weights: Weights) -> None:
    """The models there are, are named."""
    assert "no model 'pixie'" in refused(weights(), "pixie")
    assert "there are pixel" in refused(weights(), "pixie")


def test_a_model_of_the_other_kind(weights: Weights) -> None:
    """A picture model cannot be asked to read meshes, nor the other way round."""
    with pytest.raises(ModelError, match="choose one of kind landmark"):
        OnnxLandmarkModel("pixel", folder=weights())
    assert "choose one of kind pixel" in refused(WEIGHTS, "landmark")


def test_no_manifest(tmp_path: Path) -> None:
    """A folder without a manifest says so."""
    with pytest.raises(ModelError, match=r"manifest\.toml is missing; reinstall"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('kind = "pixel"', 'kind = "voice"', "expected one of pixel, landmark, found 'voice'"),
        ('kind = "pixel"', "", "lacks 'kind'"),
        ('kind = "pixel"', 'kind = "landmark"', "a landmark model does not read 'picture'"),
        ("temperature = 2.0", "temperature = 0", "temperature: expected above 0, found 0"),
        ("temperature = 2.0", "temperature = nan", "temperature: expected above 0, found nan"),
        ('version = "pixel-0.1"', "version = 1", "expected text, found 1"),
        ('"fear"', '"joy"', "expected 'fear' exactly once"),
        ("[pixel]", "[pixel", "is damaged"),
    ],
)
def test_a_manifest_with_a_mistake(weights: Weights, before: str, after: str, complaint: str) -> None:
    """Each mistake in an entry is named, with the entry."""
    path = weights() / MANIFEST
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ModelError) as refusal:
        read_manifest(path.parent)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_shipped_models_load() -> None:
    """Every model of the manifest is there, verified, and has its card; the two arms load together."""
    for name, entry in read_manifest().items():
        make = OnnxPixelModel if entry.kind == "pixel" else OnnxLandmarkModel
        assert make(name).entry == entry
        assert (WEIGHTS / entry.card).is_file()
    models = load_models()
    assert models.pixel.entry == read_manifest()["pixel"]
    assert models.landmark.entry == read_manifest()["landmark"]


def test_nothing_calls_home(tmp_path: Path) -> None:
    """Loading the models leaves no id of this machine behind, which the wheel's telemetry would make first of all."""
    subprocess.run(
        [sys.executable, "-c", "from models.loading import load_models; load_models()"],
        check=True,
        env=os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert list(tmp_path.rglob("*")) == []
