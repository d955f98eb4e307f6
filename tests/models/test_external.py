"""Models that users bring: their answers in our order, and one clear line for everything that does not fit."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import FERPLUS, channel_means, describe, first_numbers
from numpy.testing import assert_allclose
from onnx import TensorProto, helper

from models.description import read_description
from models.errors import ModelError
from models.external import ExternalPixelModel
from models.loading import load_models
from models.pixel import OnnxPixelModel, fitted
from pipeline.emotions import EMOTIONS
from pipeline.types import Crop

HSEMOTION = ["Anger", "Contempt", "Disgust", "Fear", "Happiness", "Neutral", "Sadness", "Surprise"]


def grey(*rows: list[int], side: int = 16) -> np.ndarray:
    """(n, side, side) uint8 faces, black but for the first pixels of each."""
    faces = np.zeros((len(rows), side, side), dtype=np.uint8)
    for face, values in zip(faces, rows, strict=True):
        face[0, : len(values)] = values
    return faces


def coloured(first: tuple[int, int, int], side: int = 16) -> np.ndarray:
    """(1, side, side, 3) uint8 RGB, black but for the first pixel."""
    face = np.zeros((1, side, side, 3), dtype=np.uint8)
    face[0, 0, 0] = first
    return face


def softmax(*logits: float) -> np.ndarray:
    """By its definition."""
    powers = np.exp(np.array(logits) - max(logits))
    return powers / powers.sum()


def refused(path: Path) -> str:
    """What a description is refused with: lines without a traceback."""
    with pytest.raises(ModelError) as refusal:
        ExternalPixelModel(path)
    return str(refusal.value)


def test_the_models_own_order_becomes_ours(tmp_path: Path) -> None:
    """Columns in the order of FER+ come out in the order of attuned, contempt left out before the softmax."""
    model = ExternalPixelModel(describe(tmp_path))
    #                    neu hap sur sad ang dis fea con
    said = model.predict(grey([1, 2, 3, 4, 5, 6, 7, 90], [9, 0, 0, 0, 0, 0, 0, 0]))
    #                                 ang dis fea hap sad sur neu
    assert said.logits.tolist() == [[5, 6, 7, 2, 4, 3, 1], [0, 0, 0, 0, 0, 0, 9]]
    assert_allclose(said.probabilities[0], softmax(5, 6, 7, 2, 4, 3, 1))
    assert said.embeddings.shape == (2, 0)
    assert (model.crop, model.sha256) == (Crop(16), hashlib.sha256((tmp_path / "mine.onnx").read_bytes()).hexdigest())


def test_another_order_is_another_answer(tmp_path: Path) -> None:
    """The same file with two classes exchanged says the other class, and calls itself another version."""
    faces = grey([0, 0, 0, 0, 5, 0, 0, 0])
    one = ExternalPixelModel(describe(tmp_path))
    other = ExternalPixelModel(describe(tmp_path, classes=[*FERPLUS[:4], "disgust", "anger", *FERPLUS[6:]]))
    assert EMOTIONS[one.predict(faces).probabilities[0].argmax()] == "anger"
    assert EMOTIONS[other.predict(faces).probabilities[0].argmax()] == "disgust"
    assert one.version != other.version
    assert one.version.startswith("mine-")


def test_usual_spellings(tmp_path: Path) -> None:
    """Adjectives and capital letters are understood."""
    words = ["Angry", "Disgusted", "scared", "HAPPY", "sad", "surprised", " Neutral "]
    content = first_numbers(n_out=7)
    said = ExternalPixelModel(describe(tmp_path, content, classes=words)).predict(grey([1, 2, 3, 4, 5, 6, 7]))
    assert said.logits.tolist() == [[1, 2, 3, 4, 5, 6, 7]]


def test_numbers_that_yaml_takes_for_text(tmp_path: Path) -> None:
    """YAML 1.1 wants a dot before an exponent; people do not."""
    path = describe(tmp_path, input__scale=0.001, input__mean=0.001, input__std=[1000.0], temperature=1000.0)
    text = path.read_text()
    assert (text.count("0.001"), text.count("1000.0")) == (2, 2)
    path.write_text(text.replace("0.001", "1e-3").replace("1000.0", "1e3"))
    mine = read_description(path)
    assert (mine.input.scale, mine.input.mean, mine.input.std, mine.temperature) == (1e-3, (1e-3,), (1e3,), 1e3)


def test_probabilities_are_shared_out_anew_without_contempt(tmp_path: Path) -> None:
    """Half of it contempt, the other half doubles; the temperature works on their logarithms."""
    content = first_numbers(then=(("Softmax", None),))
    path = describe(tmp_path, content, output__scores="probabilities")
    said = ExternalPixelModel(path).predict(grey([1, 2, 3, 4, 5, 6, 7, 9]))
    assert_allclose(said.probabilities[0], softmax(5, 6, 7, 2, 4, 3, 1), atol=1e-6)
    describe(tmp_path, content, output__scores="probabilities", temperature=2.0)
    said = ExternalPixelModel(path).predict(grey([1, 2, 3, 4, 5, 6, 7, 9]))
    assert_allclose(said.probabilities[0], softmax(2.5, 3, 3.5, 1, 2, 1.5, 0.5), atol=1e-6)


def test_the_mean_of_both_arms_may_have_a_temperature_of_its_own(tmp_path: Path) -> None:
    """Without one it is that of the model alone."""
    faces = grey([1, 2, 3, 4, 5, 6, 7, 90])
    said = ExternalPixelModel(describe(tmp_path, temperature=2.0)).predict(faces)
    assert_allclose(said.pool, said.probabilities)
    said = ExternalPixelModel(describe(tmp_path, temperature=2.0, pool_temperature=0.5)).predict(faces)
    assert_allclose(said.probabilities[0], softmax(2.5, 3, 3.5, 1, 2, 1.5, 0.5))
    assert_allclose(said.pool[0], softmax(10, 12, 14, 4, 8, 6, 2))


def test_certain_contempt_is_no_division_by_zero(tmp_path: Path) -> None:
    """Where the model leaves nothing to the seven, they are even."""
    path = describe(tmp_path, first_numbers(then=(("Softmax", None),)), output__scores="probabilities")
    said = ExternalPixelModel(path).predict(grey([0, 0, 0, 0, 0, 0, 0, 250]))
    assert_allclose(said.probabilities, 1 / 7)


def test_ten_columns_of_which_two_are_no_classes(tmp_path: Path) -> None:
    """Valence and arousal behind the eight classes are ignored when that is said, and an error when it is not."""
    content = first_numbers(n_out=10)
    model = ExternalPixelModel(describe(tmp_path, content, classes=HSEMOTION, ignored=2))
    #                                ang con dis fea hap neu sad sur val aro
    assert model.predict(grey([1, 99, 2, 3, 4, 5, 6, 7, 200, 200])).logits.tolist() == [[1, 2, 3, 4, 6, 7, 5]]
    message = refused(describe(tmp_path, content, classes=HSEMOTION))
    assert "expected (n, 8) scores for 8 classes and 0 ignored columns, found (n, 10)" in message


def test_a_network_for_one_face_is_run_face_by_face(tmp_path: Path) -> None:
    """A fixed batch of one answers three faces; any other fixed batch is refused."""
    model = ExternalPixelModel(describe(tmp_path, first_numbers(batch=1), embedding="features"))
    said = model.predict(grey([1, 2], [3, 4], [5, 6]))
    assert said.logits[:, [6, 3]].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert said.embeddings.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert "takes 4 faces at a time" in refused(describe(tmp_path, first_numbers(batch=4)))


@pytest.mark.parametrize("batch", ["n", 1])
def test_no_faces_no_expressions(tmp_path: Path, batch: int | str) -> None:
    """No faces are answered with empty arrays of the usual shapes."""
    model = ExternalPixelModel(describe(tmp_path, first_numbers(batch=batch), embedding="features"))
    said = model.predict(grey())
    assert (said.logits.shape, said.probabilities.shape, said.embeddings.shape) == ((0, 7), (0, 7), (0, 2))


NORMALISED: dict[str, Any] = {
    "input__scale": 0.01,
    "input__mean": [0.5, 0.25, 0.0],
    "input__std": [0.5, 0.25, 0.125],
    "output__name": "scores",
}


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        # R = 200, G = 100, B = 50, in hundredths 2, 1, 0.5:
        # (2 - 0.5) / 0.5 = 3, (1 - 0.25) / 0.25 = 3, (0.5 - 0) / 0.125 = 4
        ("rgb", [3, 3, 4]),
        # mean and std are in the order of the channels, blue first:
        # (0.5 - 0.5) / 0.5 = 0, (1 - 0.25) / 0.25 = 3, (2 - 0) / 0.125 = 16
        ("bgr", [0, 3, 16]),
    ],
)
def test_normalisation_by_hand(tmp_path: Path, colour: str, expected: list[float]) -> None:
    """(pixel * scale - mean) / std for each channel, in the order that the network wants."""
    # (n, 16, 16, 3) flattened begins with the channels of the first pixel, then those of the next: black.
    content = first_numbers(shape=(16, 16, 3), n_seen=768)
    path = describe(tmp_path, content, input__colour=colour, input__layout="nhwc", **NORMALISED)
    logits = ExternalPixelModel(path).predict(coloured((200, 100, 50))).logits[0]
    # neutral, happiness and surprise are the first columns; black is -mean / std: -1, -1, 0
    assert_allclose(logits[[6, 3, 5]], expected, rtol=1e-6)
    assert_allclose(logits[[4, 0, 1, 2]], [-1, -1, 0, -1], rtol=1e-6)


def test_channels_first(tmp_path: Path) -> None:
    """In nchw the first numbers are a row of the first channel."""
    content = first_numbers(shape=(3, 16, 16), n_seen=768)
    faces = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    faces[0, 0, :3] = [(1, 50, 60), (2, 50, 60), (3, 50, 60)]
    for colour, expected in (("rgb", [1, 2, 3]), ("bgr", [60, 60, 60])):
        logits = ExternalPixelModel(describe(tmp_path, content, input__colour=colour)).predict(faces).logits[0]
        assert logits[[6, 3, 5]].tolist() == expected


def test_a_network_that_takes_bytes(tmp_path: Path) -> None:
    """Pixels go in as they are, and whoever wants them scaled is told that they are not."""
    content = first_numbers(dtype=TensorProto.UINT8)
    model = ExternalPixelModel(describe(tmp_path, content, input__dtype="uint8"))
    assert model.predict(grey([255])).logits[0, 6] == 255
    assert "input.scale: a uint8 input takes pixels as they are" in refused(
        describe(tmp_path, content, input__dtype="uint8", input__scale=0.5)
    )


def test_sides_that_the_network_leaves_open(tmp_path: Path) -> None:
    """Dynamic height and width are what the description says."""
    model = ExternalPixelModel(describe(tmp_path, first_numbers(shape=(1, "h", "w"))))
    assert model.predict(grey([4])).logits[0, 6] == 4


def test_old_files_that_list_their_weights_as_inputs(tmp_path: Path) -> None:
    """FER+ of the ONNX zoo does so; there is one input all the same."""
    model = onnx.load_from_string(first_numbers())
    for constant in model.graph.initializer:
        info = helper.make_tensor_value_info(constant.name, constant.data_type, list(constant.dims))
        model.graph.input.append(info)
    path = describe(tmp_path, model.SerializeToString(), input__name="pictures")
    assert ExternalPixelModel(path).predict(grey([4])).logits[0, 6] == 4


@pytest.mark.parametrize(
    "faces", [np.zeros((1, 48, 48), np.uint8), np.zeros((16, 16), np.uint8), np.zeros((1, 16, 16))]
)
def test_other_faces_are_refused(tmp_path: Path, faces: np.ndarray) -> None:
    """The message has the expected and the actual shape and type."""
    model = ExternalPixelModel(describe(tmp_path))
    with pytest.raises(ValueError, match=r"mine: expected \(n, 16, 16\) uint8, found \("):
        model.predict(faces)


def test_what_is_not_finite_does_not_go_on(tmp_path: Path) -> None:
    """Neither when the model is loaded nor when one face of many breaks it: never a neutral face instead."""
    always = first_numbers(then=(("Sub", 1.0), ("Sqrt", None)))
    assert "mine: scores are not finite" in refused(describe(tmp_path, always))
    at_seven = first_numbers(then=(("Sub", 7.0), ("Reciprocal", None)))
    model = ExternalPixelModel(describe(tmp_path, at_seven))
    model.predict(grey([1], [2]))
    with pytest.raises(ModelError, match="scores are not finite"):
        model.predict(grey([1], [7]))


def test_logits_called_probabilities_and_the_other_way_round(tmp_path: Path) -> None:
    """Both would be taken for something else without anybody noticing."""
    assert "write scores: logits" in refused(describe(tmp_path, output__scores="probabilities"))
    certain = describe(tmp_path, first_numbers(then=(("Softmax", None),)))
    assert "the scores of each test picture sum to 1; write scores: probabilities" in refused(certain)


@pytest.mark.parametrize(
    ("content", "changes", "complaint"),
    [
        ({"shape": (1, 24, 24)}, {}, "expected input (n, 1, 16, 16) float32, found ['n', 1, 24, 24] tensor(float)"),
        ({"shape": (3, 16, 16)}, {}, "expected input (n, 1, 16, 16) float32, found ['n', 3, 16, 16]"),
        ({}, {"input__colour": "rgb"}, "expected input (n, 3, 16, 16) float32, found ['n', 1, 16, 16]"),
        ({}, {"input__layout": "nhwc"}, "expected input (n, 16, 16, 1) float32"),
        ({}, {"input__dtype": "uint8"}, "expected input (n, 1, 16, 16) uint8"),
        ({"shape": (256,)}, {}, "found ['n', 256]"),
        ({}, {"input__name": "Input3"}, "expected one input Input3, found pictures"),
        ({}, {"output__name": "Plus692"}, "output.name: no output Plus692; there are scores, features"),
        ({}, {"embedding": "pool"}, "embedding: no output pool; there are scores, features"),
        ({}, {"embedding": "scores"}, "has outputs scores, features; say which are the scores"),
        ({}, {"output__name": None}, "has outputs scores, features; say which are the scores with output.name"),
        ({"n_out": 7}, {}, "expected (n, 8) scores for 8 classes and 0 ignored columns, found (n, 7)"),
        ({"shape": ("c", "h", "w"), "n_seen": 100}, {}, "cannot be run on a picture as the description gives it"),
    ],
)
def test_a_network_that_is_not_what_is_said(
    tmp_path: Path, content: dict[str, Any], changes: dict[str, Any], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Input and outputs are compared with the description at load; one line, and nothing from native libraries."""
    message = refused(describe(tmp_path, first_numbers(**content), **changes))
    assert complaint in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"classes": FERPLUS[1:]}, "classes: neutral missing (not among the seven: contempt); name"),
        ({"classes": [*FERPLUS[:7], "sad"]}, "classes: sadness more than once"),
        (
            {"classes": ["hapiness", *FERPLUS[2:], "anger"]},
            "happiness, neutral missing (not among the seven: hapiness, contempt); anger more",
        ),
        ({"classes": "happy"}, "classes: Input should be a valid tuple"),
        ({"classes": [*FERPLUS[:7], True]}, "classes.7: Input should be a valid string"),
        ({"colour": "grey"}, "mine.yaml:23: colour: no such key"),
        ({"input__color": "grey"}, "mine.yaml:10: input.color: no such key"),
        ({"input__size": [16, 24]}, "input.size: expected a square, found 16 x 24"),
        ({"input__size": [16]}, "input.size.1: is missing"),
        ({"input__size": [16, 4]}, "input.size.1: Input should be greater than or equal to 16"),
        ({"input__size": 16}, "input.size.1: is missing"),
        ({"input__colour": "gray"}, "mine.yaml:9: input.colour: Input should be 'grey', 'rgb' or 'bgr'"),
        ({"input__mean": [0, 0, 0]}, "input.mean: expected 1 number, found 3"),
        ({"input__std": 0}, "input.std: expected above 0, found 0"),
        ({"input__mean": "ImageNet"}, "input.mean: Input should be a valid tuple"),
        ({"input__scale": "1e-3x"}, "input.scale: Input should be a valid number"),
        ({"input__scale": "nan"}, "input.scale: Input should be"),
        ({"input__scale": True}, "input.scale: Input should be a valid number"),
        ({"input__scale": float("nan")}, "input.scale: Input should be"),
        ({"input": None}, "mine.yaml:5: input: Input should be a valid dictionary"),
        ({"kind": "landmark"}, "mine.yaml:4: kind: expected pixel; only models that read pictures can be described"),
        ({"name": "my model"}, "mine.yaml:1: name: String should match"),
        ({"name": "pixel"}, "mine.yaml:1: name: pixel is what attuned calls one of its own"),
        ({"name": "fused"}, "name: fused is what attuned calls one of its own"),
        ({"output__scores": "scores"}, "output.scores: Input should be 'logits' or 'probabilities'"),
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"ignored": -1}, "ignored: Input should be greater than or equal to 0"),
        ({"sha256": "abc"}, "mine.yaml:3: sha256: expected 64 hexadecimal digits; if mine.onnx is the file you mean"),
    ],
)
def test_a_description_with_a_mistake(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    """One line with file, line and key."""
    message = refused(describe(tmp_path, **changes))
    assert complaint in message
    assert "\n" not in message
    assert message.startswith(f"{tmp_path}/mine.yaml:")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """A line for each."""
    lines = refused(describe(tmp_path, input__colour="gray", temperature=0, kind="voice")).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["kind", "input.colour", "temperature"]


@pytest.mark.parametrize("key", ["name", "file", "kind", "input", "output", "classes", "input__size", "output__scores"])
def test_what_cannot_be_left_out(tmp_path: Path, key: str) -> None:
    """It is named."""
    assert f"{key.replace('__', '.')}: is missing" in refused(describe(tmp_path, without=(key,)))


def test_a_missing_hash_is_offered(tmp_path: Path) -> None:
    """Whoever trusts the file can copy the line; without a file there is nothing to copy."""
    path = describe(tmp_path, without=("sha256",))
    real = hashlib.sha256((tmp_path / "mine.onnx").read_bytes()).hexdigest()
    assert refused(path) == f"{path}: sha256: is missing; if mine.onnx is the file you mean, add sha256: {real}"
    (tmp_path / "mine.onnx").unlink()
    assert refused(path) == f"{path}: sha256: is missing; give the SHA-256 of the ONNX file"


def test_capital_letters_in_a_hash(tmp_path: Path) -> None:
    """Some tools print hashes so."""
    digest = hashlib.sha256(first_numbers()).hexdigest().upper()
    assert ExternalPixelModel(describe(tmp_path, sha256=digest)).sha256 == digest.lower()


def test_another_file(tmp_path: Path) -> None:
    """One changed byte is noticed before anything is loaded."""
    path = describe(tmp_path)
    content = bytearray((tmp_path / "mine.onnx").read_bytes())
    content[100] ^= 1
    (tmp_path / "mine.onnx").write_bytes(content)
    assert f"mine.onnx is not the file that {path} means (SHA-256 " in refused(path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """No ONNX file, no description, one that is no mapping, no YAML, no text, or says a key twice."""
    path = describe(tmp_path)
    (tmp_path / "mine.onnx").unlink()
    assert "mine.onnx is missing; correct it, or file and sha256 in" in refused(path)
    assert "cannot be read: No such file" in refused(tmp_path / "none.yaml")
    for text, complaint in (
        ("- 1\n", ":1: expected a description as `key: value`, found list"),
        ("", ":1: expected a description as `key: value`, found NoneType"),
        ("name: [1\n", "is not YAML: "),
        ("&a [*a]", ":1: expected a description as `key: value`, found list"),
        ("1: 2\n", ": Keys should be strings"),
        ("name: a\nname: b\n", "mine.yaml:2: name: stands there twice\n"),
        ("input:\n  size: [1, 2]\n  size: [3, 4]\n", "mine.yaml:3: input.size: stands there twice\n"),
    ):
        path.write_text(text)
        assert complaint in refused(path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in refused(path)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """A file with the right hash that onnxruntime cannot read."""
    assert "mine.onnx cannot be run" in refused(describe(tmp_path, b"not a model"))


def test_weights_in_other_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no hash: neither beside the model nor in the working folder are they looked for."""
    weights = np.ones((3, 8), dtype=np.float32)
    model = onnx.load_from_string(channel_means(16, weights))
    del model.graph.initializer[:]
    elsewhere = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=weights.shape)
    elsewhere.data_location = TensorProto.EXTERNAL
    elsewhere.external_data.add(key="location", value="weights.bin")
    elsewhere.external_data.add(key="length", value=str(weights.nbytes))
    model.graph.initializer.append(elsewhere)
    path = describe(tmp_path, model.SerializeToString(), input__colour="rgb")
    (tmp_path / "weights.bin").write_bytes(weights.tobytes())
    monkeypatch.chdir(tmp_path)
    assert "its weights lie in other files; save it as one file" in refused(path)


def test_a_description_in_place_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load_models` takes a path, relative to the working folder; for landmarks there is none."""
    describe(tmp_path)
    monkeypatch.chdir(tmp_path)
    models = load_models("mine.yaml", "landmark-paper")
    assert models.pixel.version == read_description(Path("mine.yaml")).version
    assert models.landmark.version == "landmark-paper-1.1"
    with pytest.raises(ModelError, match="landmark models cannot be described"):
        load_models("pixel", "mine.yaml")


def test_small_grey_faces_are_fitted() -> None:
    """Enlarged and repeated over the channels; for the shipped model they are what they were."""
    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    assert fitted(faces, OnnxPixelModel().crop) is faces
    large = fitted(faces, Crop(96, colour=True))
    assert large.shape == (2, 96, 96, 3)
    assert (large == large[..., :1]).all()
    assert_allclose(large[..., 0].mean(axis=(1, 2)), faces.mean(axis=(1, 2)), atol=1)
    # 24 px: the mean of each 2 x 2, within rounding
    halves = faces.reshape(2, 24, 2, 24, 2).mean(axis=(2, 4))
    assert_allclose(fitted(faces, Crop(24)), halves, atol=1)
    assert fitted(faces[:0], Crop(64)).shape == (0, 64, 64)
    with pytest.raises(ValueError, match=r"expected \(n, 48, 48\) uint8, found \(2, 96, 96, 3\)"):
        fitted(large, Crop())
