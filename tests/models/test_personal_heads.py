"""Dense heads: those inside the shipped models, files of them, and both arms fused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models.errors import ModelError
from models.landmark import OnnxLandmarkModel
from models.manifest import WEIGHTS, read_manifest
from models.personal.heads import Arm, Arms, DenseHead, generic_arms, generic_head, read_arrays, write_arrays
from models.personal.samples import Samples
from models.pixel import OnnxPixelModel
from models.training.__main__ import main
from models.training.heads_export import export_heads, head_inside
from pipeline.emotions import softmax


def head(seed: int = 0, d: int = 5, h: int = 4) -> DenseHead:
    """A small head of random numbers."""
    rng = np.random.default_rng(seed)
    shapes = ((h, d), (h,), (7, h), (7,))
    return DenseHead(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def samples(pixel: np.ndarray, landmark: np.ndarray) -> Samples:
    """Samples of these embeddings."""
    n = len(pixel)
    return Samples(
        np.arange(n, dtype=np.float64),
        pixel.astype(np.float32),
        landmark.astype(np.float32),
        np.zeros((n, 51), np.float32),
        np.full((n, 7), 1 / 7),
        np.ones(n),
        np.ones(n),
        np.zeros(n, np.uint8),
    )


def test_worked_by_hand() -> None:
    """Of (1, -2): the hidden layer is max(0, (1 - 2 + 0.5, 2 + 1)) = (0, 3); logits are 3 k + 0.1 k for class k."""
    w1 = np.array([[1, 1], [2, -0.5]], dtype=np.float32)
    k = np.arange(7, dtype=np.float32)
    of = DenseHead(w1, np.array([0.5, 0], np.float32), np.stack([k, k], axis=1), 0.1 * k)
    found = of.logits(np.array([[1, -2]], dtype=np.float32))
    assert_allclose(of.hidden(np.array([[1, -2]], dtype=np.float32)), [[0, 3]])
    assert_allclose(found[0], 3.1 * k, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(read_manifest()))
def test_a_shipped_head_gives_the_models_own_logits(name: str) -> None:
    """head(embedding) is what the whole network says, to 1e-4, for every model that comes with attuned."""
    rng = np.random.default_rng(0)
    entry = read_manifest()[name]
    model: OnnxPixelModel | OnnxLandmarkModel
    if entry.kind == "pixel":
        model = OnnxPixelModel(name)
        said = model.predict(rng.integers(0, 256, (8, 48, 48), dtype=np.uint8))
    else:
        model = OnnxLandmarkModel(name)
        said = model.predict(rng.normal(size=(8, 468, 3)).astype(np.float32))
    assert_allclose(generic_head(name).logits(said.embeddings), said.logits, atol=1e-4)


def test_the_shipped_file_is_what_the_step_writes(tmp_path: Path) -> None:
    """Exporting from the shipped ONNX files gives the same arrays again."""
    for file in WEIGHTS.iterdir():
        if file.suffix in {".onnx", ".toml"}:
            (tmp_path / file.name).symlink_to(file)
    written, shipped = read_arrays(export_heads(tmp_path)), read_arrays(WEIGHTS / "heads.npz")
    assert sorted(written) == sorted(shipped)
    for name, array in written.items():
        assert_array_equal(array, shipped[name])


def test_both_arms_are_fused_and_the_pixels_stand_alone_without_a_mesh() -> None:
    """Half of each at its own pool temperature; the pixel arm alone where the other's embedding is nan."""
    arms = Arms(Arm(head(0), 1.0, 0.5), Arm(head(1), 1.0, 2.0))
    pixel, landmark = np.ones((2, 5)), np.array([np.full(5, 2.0), np.full(5, np.nan)])
    found = arms.predict_proba(samples(pixel, landmark), weight_landmark=0.25)
    own = softmax(head(0).logits(np.ones((1, 5), np.float32)), temperature=0.5)[0]
    other = softmax(head(1).logits(np.full((1, 5), 2, np.float32)), temperature=2.0)[0]
    assert_allclose(found[0], 0.75 * own + 0.25 * other, atol=1e-6)
    assert_allclose(found[1], own, atol=1e-6)


def test_generic_arms_have_the_manifests_temperatures() -> None:
    """Those of the entries of both models."""
    arms, manifest = generic_arms(), read_manifest()
    assert arms.pixel.pool_temperature == manifest["pixel"].pool_temperature
    assert arms.landmark.temperature == manifest["landmark"].temperature


@pytest.mark.parametrize(
    "parts",
    [
        (np.zeros((4, 5)), np.zeros(3), np.zeros((7, 4)), np.zeros(7)),
        (np.zeros((4, 5)), np.zeros(4), np.zeros((6, 4)), np.zeros(7)),
        (np.zeros(4), np.zeros(4), np.zeros((7, 4)), np.zeros(7)),
        (np.full((4, 5), np.inf), np.zeros(4), np.zeros((7, 4)), np.zeros(7)),
    ],
)
def test_what_is_no_head_is_refused(parts: tuple[np.ndarray, ...]) -> None:
    """Shapes that do not fit, and numbers that are none."""
    with pytest.raises(ValueError, match="head: expected"):
        DenseHead(*(part.astype(np.float32) for part in parts))


def test_arrays_come_back(tmp_path: Path) -> None:
    """What was written is read again; twice the same bytes; nothing else is left in the folder."""
    path = tmp_path / "a.npz"
    digest = write_arrays(path, head().arrays("pixel."))
    first = path.read_bytes()
    assert digest == write_arrays(path, head().arrays("pixel."))
    assert (path.read_bytes(), [file.name for file in tmp_path.iterdir()]) == (first, ["a.npz"])
    assert_array_equal(DenseHead.of(read_arrays(path), "pixel.").w1, head().w1)


def test_damage_is_one_line(tmp_path: Path) -> None:
    """Changed, cut off, something else, a pickle, missing: a ModelError of one line each, and never a traceback."""
    path = tmp_path / "a.npz"
    write_arrays(path, head().arrays())
    whole = path.read_bytes()
    # One bit of a number: zip's own checksum, or ours, tells.
    at = whole.index(head().w1.tobytes())
    objects = tmp_path / "objects.npz"
    np.savez(objects, w1=np.array([{}], dtype=object))
    bad = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:100], b"", b"PK\x03\x04", objects.read_bytes()]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is damaged") as caught:
            read_arrays(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="is missing"):
        read_arrays(tmp_path / "gone.npz")
    with pytest.raises(ModelError, match="cannot be read"):
        read_arrays(tmp_path)


def test_arrays_with_another_hash_are_refused(tmp_path: Path) -> None:
    """A whole npz whose numbers are not those that were hashed."""
    path = tmp_path / "a.npz"
    np.savez(path, **head().arrays(), sha256=np.array("0" * 64))
    with pytest.raises(ModelError, match="not those that its hash means"):
        read_arrays(path)


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A sparse file of 65 MiB."""
    path = tmp_path / "large.npz"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(ModelError, match="too large"):
        read_arrays(path)


def test_heads_of_another_model_are_refused(tmp_path: Path) -> None:
    """The file names the ONNX file of each head: after a new one, the old head does not fit."""
    (tmp_path / "manifest.toml").write_bytes((WEIGHTS / "manifest.toml").read_bytes())
    path = tmp_path / "heads.npz"
    write_arrays(path, {**head().arrays("pixel."), "pixel.model": np.array("0" * 64)})
    with pytest.raises(ModelError, match="head of another 'pixel'"):
        generic_head("pixel", folder=tmp_path)
    with pytest.raises(ModelError, match="no head of 'landmark'"):
        generic_head("landmark", folder=tmp_path)
    sha = read_manifest()["pixel"].sha256
    write_arrays(path, {"pixel.w1": np.zeros((2, 2), np.float32), "pixel.model": np.array(sha)})
    with pytest.raises(ModelError, match=r"lacks 'pixel\.b1'"):
        generic_head("pixel", folder=tmp_path)
    flat = {f"pixel.{name}": np.zeros(3, np.float32) for name in ("w1", "b1", "w2", "b2")}
    write_arrays(path, {**flat, "pixel.model": np.array(sha)})
    with pytest.raises(ModelError, match="expected \\(h, d\\)"):
        generic_head("pixel", folder=tmp_path)


def test_a_model_without_linear_layers_has_no_head(tmp_path: Path, weights) -> None:  # noqa: ANN001
    """The step says which file it is."""
    folder = weights()
    entry = read_manifest(folder)["pixel"]
    with pytest.raises(ModelError, match=r"tiny\.onnx: expected linear layers from embedding to logits, found Slice"):
        head_inside((folder / entry.file).read_bytes(), entry)


def test_the_step_of_the_command_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m models.training heads` says where it wrote; a damaged model ends it with exit code 1."""
    for file in WEIGHTS.iterdir():
        if file.suffix in {".onnx", ".toml"}:
            (tmp_path / file.name).symlink_to(file)
    assert main(["heads", "--out", str(tmp_path)]) == 0
    assert "heads.npz" in "".join(capsys.readouterr().err.split())
    assert generic_head("landmark-paper", folder=tmp_path).w1.shape == (128, 128)
    (tmp_path / "pixel.onnx").unlink()
    assert main(["heads", "--out", str(tmp_path)]) == 1
    with pytest.raises(SystemExit):
        main(["pixel"])
    assert "--data: say what to learn from" in capsys.readouterr().err
