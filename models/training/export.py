"""From trained networks to `models/weights`: one ONNX file each, and what the manifest says of it."""

import hashlib
import io
import json
import os
import warnings
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
from pipeline.emotions import F32, softmax

OPSET: Final = 17
RARE_CLASSES: Final = 0.2
"""How much of the log-frequency of a class is taken back.

On FER2013 PublicTest against the FER+ majority, 0.2 changes the accuracy of pixel and landmark model by 0.0 and -0.4
points and their unweighted average recall by +1.5 and +1.8; 0.5 by -1.6 and -1.5, +3.4 and +4.2.
"""

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
    difference = max(float(np.abs(a.numpy() - b).max()) for a, b in zip(expected, found, strict=True))
    if difference > TOLERANCE:
        msg = f"the exported model differs from the trained one by {difference:.2g}, more than {TOLERANCE:.0e}"
        raise ModelError(msg)
    return content


def raise_rare_classes(head: nn.Module, shares: F32, *, strength: float = RARE_CLASSES) -> None:
    """Lower each logit of a head's last layer, in place, by `strength` times the log of its (7,) share.

    A network trained on the frequencies of web pictures (1.6 % disgust) all but never says the rare classes. The
    frequencies in a call are not known, so that part of the prior is taken back: Menon et al. 2021, "Long-tail
    learning via logit adjustment", section 4.1.
    """
    last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.sub_(strength * torch.from_numpy(np.log(shares.clip(1e-3)).astype(np.float32)))


def fitted_temperature(logits: F32, truth: NDArray[np.int64]) -> float:
    """The temperature of least log-loss for (n, 7) logits and (n,) classes, from 0.2 to 5, to three digits.

    Guo et al. 2017, "On calibration of modern neural networks". The loss has one minimum in the inverse of
    the temperature, found by golden section.
    """
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, temperature=float(np.exp(log_temperature)))
        return float(-np.log(probabilities[rows, truth].clip(1e-12)).mean())

    low, high = np.log(0.2), np.log(5.0)
    golden = (np.sqrt(5) - 1) / 2
    while high - low > 1e-5:  # noqa: PLR2004 (far below the digits kept)
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 3)


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
