"""Small made-up models and data."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.datasets.data import VOTES, FaceData
from models.datasets.meshes import Meshes
from models.training.export import write_model
from pipeline.emotions import EMOTIONS
from pipeline.landmarks import RIGID_POINTS, RIGID_REFERENCE


def tiny_onnx(*, shape: tuple[int, ...] = (48, 48), n_out: int = 7, name: str = "faces") -> bytes:
    """A network whose logits are the first `n_out` numbers of each uint8 input, and whose embedding is all."""
    size = int(np.prod(shape))
    nodes = [
        helper.make_node("Cast", [name], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["cast", "to"], ["embedding"]),
        helper.make_node("Slice", ["embedding", "start", "stop", "axis"], ["logits"]),
    ]
    constants = {"to": [-1, size], "start": [0], "stop": [n_out], "axis": [1]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", *shape])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", n_out]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", size]),
        ],
        [helper.make_tensor(key, TensorProto.INT64, [len(value)], value) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


FIELDS: dict[str, Any] = {
    "name": "pixel",
    "file": "tiny.onnx",
    "kind": "pixel",
    "version": "pixel-0.1",
    "features": "picture",
    "input": "faces",
    "dtype": "uint8",
    "shape": (48, 48),
    "embedding": 2304,
    "classes": EMOTIONS,
    "temperature": 2.0,
    "pool_temperature": 0.5,
    "licence": "none",
    "training_data": "none",
    "card": "tiny.md",
}


@pytest.fixture
def tiny() -> Callable[..., bytes]:
    """Makes tiny networks."""
    return tiny_onnx


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder with one tiny model, some fields of its entry replaced."""

    def write(content: bytes | None = None, **fields: object) -> Path:
        write_model(tmp_path, content=tiny_onnx() if content is None else content, fields=FIELDS | fields)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def dev_data() -> Path:
    """The folder of FER2013, from ATTUNED_DEV_DATA or beside the repository."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("ATTUNED_DEV_DATA", default))
    if not (folder / "fer2013_valid.npz").exists():
        pytest.skip("needs fer2013_valid.npz: set ATTUNED_DEV_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def made_up_data() -> FaceData:
    """32 pictures of noise, every seventh of class k, and its votes for that class but two."""
    rng = np.random.default_rng(0)
    label = np.arange(32) % 7
    votes = np.zeros((32, 10), dtype=np.uint8)
    columns = np.array([VOTES.index(emotion) for emotion in EMOTIONS])
    votes[np.arange(32), columns[label]] = 8
    votes[:, VOTES.index("unknown")] = 2
    return FaceData(rng.integers(0, 256, (32, 48, 48), dtype=np.uint8), label, votes, near_duplicate=None)


@pytest.fixture(scope="session")
def made_up_meshes() -> Meshes:
    """32 symmetric meshes with a little noise; the first picture has none."""
    rng = np.random.default_rng(0)
    face = rng.normal(size=(468, 3))
    rigid = list(RIGID_POINTS)
    others = np.setdiff1d(np.arange(468), rigid)
    face[rigid] = RIGID_REFERENCE
    face[others[220:]] = face[others[:220]] * (-1, 1, 1)
    landmarks = (face + rng.normal(scale=1e-3, size=(32, 468, 3))).astype(np.float32)
    found = np.ones(32, dtype=np.bool_)
    found[0] = False
    return Meshes(found, landmarks)
