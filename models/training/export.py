"""From trained networks to `models/weights`: one ONNX file each, and what the manifest says of it."""

import hashlib
import io
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from models.errors import ModelError
from models.manifest import MANIFEST, ModelEntry, read_manifest
from pipeline.emotions import F32

OPSET: Final = 17
TOLERANCE: Final = 1e-4
"""Largest difference between torch's outputs and onnxruntime's that an export may have."""


def export(graph: nn.Module, example: NDArray[np.generic], *, input_name: str) -> bytes:
    """The ONNX file of a graph with outputs `logits` and `embedding`, for any number of inputs.

    `example` is (n, ...) of the type the graph takes; the file is checked on it.

    Raises:
        ModelError: onnxruntime's outputs differ from torch's by more than `TOLERANCE`.
    """
    graph.eval()
    packed = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that needs no further package says on each call that there is another one.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.onnx.export(
            graph,
            (torch.from_numpy(example),),
            packed,  # type: ignore[arg-type]  # a file object is taken too, and documented as such
            opset_version=OPSET,
            dynamo=False,
            input_names=[input_name],
            output_names=["logits", "embedding"],
            dynamic_axes={name: {0: "n"} for name in (input_name, "logits", "embedding")},
        )
    content = packed.getvalue()
    onnx.checker.check_model(content, full_check=True)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(example))
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(["logits", "embedding"], {input_name: example})
    difference = float(np.max([np.abs(a.numpy() - b).max() for a, b in zip(expected, found, strict=True)]))
    # Written so that a difference that is no number does not pass.
    if not difference <= TOLERANCE:
        msg = f"the exported model differs from the trained one by {difference:.2g}, more than {TOLERANCE:.0e}"
        raise ModelError(msg)
    return content


def shift_logits(head: nn.Module, offsets: F32) -> None:
    """Add (7,) offsets to the logits of a head, in place: to the bias of its last layer."""
    last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.add_(torch.from_numpy(offsets))


def matching_offsets(logits: F32, truth: NDArray[np.int64]) -> F32:
    """(7,) offsets with which each class is the answer as often as it is the truth; they sum to 0.

    For (n, 7) logits and (n,) classes. The most probable class of a network that learnt from votes is hardly ever
    a rare one: of FER2013's disgust it names a fifth, although its logit rises on those faces. On FER2013 PublicTest,
    where they are found, they change the pixel model's accuracy by -0.1 points and its unweighted average recall by +4.7.
    """
    wanted = np.bincount(truth, minlength=logits.shape[1]) / len(truth)
    offsets = np.zeros(logits.shape[1])
    for _ in range(400):
        answered = np.bincount((logits + offsets).argmax(axis=1), minlength=len(offsets)) / len(truth)
        # A class that is never answered, or never true, moves by a bounded step.
        offsets += 0.1 * np.log((wanted + 1e-4) / (answered + 1e-4))
        offsets -= offsets.mean()
    return offsets.astype(np.float32)


def write_model(folder: Path, *, content: bytes, fields: dict[str, Any]) -> ModelEntry:
    """Store an ONNX file and its entry in the manifest of `folder`, whose other entries stay.

    `fields` are those of `ModelEntry` but `sha256`.

    Raises:
        ModelError: `fields` do not make an entry.
    """
    name = fields["name"]
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / fields["file"], content)
    entry = ModelEntry(**fields, sha256=hashlib.sha256(content).hexdigest())
    entries = dict(read_manifest(folder)) if (folder / MANIFEST).exists() else {}
    entries[name] = entry
    _replace(folder / MANIFEST, _manifest(entries).encode())
    return read_manifest(folder)[name]


def set_pool_temperatures(folder: Path, temperatures: Mapping[str, float]) -> None:
    """Change the `pool_temperature` of the models of these names in the manifest of `folder`."""
    entries = dict(read_manifest(folder))
    for name, temperature in temperatures.items():
        entries[name] = replace(entries[name], pool_temperature=temperature)
    _replace(folder / MANIFEST, _manifest(entries).encode())


def _manifest(entries: dict[str, ModelEntry]) -> str:
    lines = ["# Written by `python -m models.training`; see models/manifest.py for what the fields mean."]
    for name in sorted(entries):
        lines += ["", f"[{name}]"]
        for field in ModelEntry.__dataclass_fields__:
            value = getattr(entries[name], field)
            if field != "name":
                lines.append(f"{field} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: str | float | tuple[Any, ...]) -> str:
    """JSON's text, numbers and lists are TOML's as well."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    os.replace(beside, path)  # noqa: PTH105 (atomic, and named as such)
