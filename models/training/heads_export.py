"""The dense heads inside the ONNX files, as arrays: what personalisation starts from."""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from models.errors import ModelError
from models.manifest import ModelEntry, read_manifest
from models.onnx import read_verified
from models.personal.heads import FILE, DenseHead, write_arrays
from pipeline.emotions import F32, permutation

_REMEDY: Final = "train the models with `make train`"


def export_heads(folder: Path) -> Path:
    """The file that was written: the heads of all models in the manifest of `folder`.

    Raises:
        ModelError: A model is damaged, or does not end in one or two linear layers behind its embedding.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, entry in read_manifest(folder).items():
        content = read_verified(folder / entry.file, entry.sha256, meant_by="the manifest", remedy=_REMEDY)
        arrays |= head_inside(content, entry).arrays(f"{name}.")
        arrays[f"{name}.model"] = np.array(entry.sha256)
    write_arrays(folder / FILE, arrays)
    return folder / FILE


def head_inside(content: bytes, entry: ModelEntry) -> DenseHead:
    """What lies between the outputs `embedding` and `logits` of an ONNX file, its rows in `EMOTIONS` order.

    A single linear layer (the paper's model) becomes a head whose first layer is the identity: embeddings behind a ReLU
    pass it unchanged.

    Raises:
        ModelError: Something else lies there.
    """
    graph = onnx.load_from_string(content).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    chain = _chain({name: node for node in graph.node for name in node.output}, entry)
    kinds = [node.op_type for node in chain]
    linear = [_linear(node, stored) for node in chain if node.op_type == "Gemm"]
    if kinds == ["Gemm", "Relu", "Gemm"]:
        (w1, b1), (w2, b2) = linear
    elif kinds == ["Gemm"]:
        ((w2, b2),) = linear
        w1, b1 = np.eye(w2.shape[1], dtype=np.float32), np.zeros(w2.shape[1], dtype=np.float32)
    else:
        msg = f"{entry.file}: expected linear layers from embedding to logits, found {', '.join(kinds) or 'nothing'}"
        raise ModelError(msg)
    order = permutation(entry.classes)
    return DenseHead(w1, b1, np.ascontiguousarray(w2[order]), np.ascontiguousarray(b2[order]))


def _chain(made_by: dict[str, NodeProto], entry: ModelEntry) -> list[NodeProto]:
    """The nodes from the embedding to the logits."""
    nodes: list[NodeProto] = []
    name = "logits"
    while name != "embedding":
        if name not in made_by:
            msg = f"{entry.file}: logits do not come from the embedding"
            raise ModelError(msg)
        nodes.append(made_by[name])
        name = made_by[name].input[0]
    return nodes[::-1]


def _linear(node: NodeProto, stored: dict[str, NDArray[np.generic]]) -> tuple[F32, F32]:
    """Weight (out, in) and bias of a Gemm as torch exports linear layers."""
    weight, bias = (np.asarray(stored[name], dtype=np.float32) for name in node.input[1:])
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return (weight if turned else np.ascontiguousarray(weight.T)), bias
