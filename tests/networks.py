"""Tiny ONNX networks whose answers can be worked out by hand, and descriptions of them."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper

FERPLUS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]


def first_numbers(
    *,
    shape: tuple[Any, ...] = (1, 16, 16),
    n_out: int = 8,
    batch: int | str = "n",
    dtype: int = TensorProto.FLOAT,
    then: tuple[tuple[str, float | None], ...] = (),
    n_seen: int = 256,
) -> bytes:
    """A network whose `scores` are the first `n_out` numbers of each input, and `features` the first two.

    `then` are operations on the scores, each with a constant as its second operand, or none.
    """
    nodes = [
        helper.make_node("Cast", ["pictures"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["cast", "to"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "two", "axis"], ["features"]),
        helper.make_node("Slice", ["flat", "start", "stop", "axis"], ["step0"]),
    ]
    whole = {"to": [-1, n_seen], "start": [0], "two": [2], "stop": [n_out], "axis": [1]}
    constants = [helper.make_tensor(key, TensorProto.INT64, [len(value)], value) for key, value in whole.items()]
    for i, (operation, operand) in enumerate(then):
        second = [] if operand is None else [f"operand{i}"]
        constants += [helper.make_tensor(name, TensorProto.FLOAT, [1], [operand]) for name in second]
        nodes.append(helper.make_node(operation, [f"step{i}", *second], [f"step{i + 1}"]))
    nodes.append(helper.make_node("Identity", [f"step{len(then)}"], ["scores"]))
    outputs = {"scores": n_out, "features": 2}
    return packed(nodes, constants, ("pictures", dtype, [batch, *shape]), outputs, batch)


def channel_means(side: int, weights: np.ndarray) -> bytes:
    """A network whose scores are the means of the (3, side, side) input's channels times (3, k) weights."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
    ]
    constants = [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())]
    inputs = ("pictures", TensorProto.FLOAT, ["n", 3, side, side])
    return packed(nodes, constants, inputs, {"scores": weights.shape[1]}, "n")


def packed(
    nodes: list[Any],
    constants: list[Any],
    inputs: tuple[str, int, list[Any]],
    outputs: dict[str, int],
    batch: int | str,
) -> bytes:
    """The ONNX file of a graph."""
    answers = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width]) for name, width in outputs.items()
    ]
    graph = helper.make_graph(nodes, "tiny", [helper.make_tensor_value_info(*inputs)], answers, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def describe(folder: Path, content: bytes | None = None, *, without: tuple[str, ...] = (), **changes: object) -> Path:
    """Writes `mine.onnx` and `mine.yaml` into a folder; `input__size=…` changes one key of a section."""
    content = first_numbers() if content is None else content
    (folder / "mine.onnx").write_bytes(content)
    fields: dict[str, Any] = {
        "name": "mine",
        "file": "mine.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "kind": "pixel",
        "input": {"size": [16, 16], "colour": "grey"},
        "output": {"name": "scores", "scores": "logits"},
        "classes": FERPLUS,
        "licence": "none",
    }
    for key, value in changes.items():
        section, _, inner = key.partition("__")
        if inner:
            fields[section] = fields[section] | {inner: value}
        else:
            fields[section] = value
    for key in without:
        section, _, inner = key.partition("__")
        del (fields[section] if inner else fields)[inner or section]
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return path
