"""What is shipped of each trained network: file, calibration and what the manifest says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.datasets.data import FaceData
from models.datasets.meshes import Meshes
from models.evaluation.calibration import fitted_pool, fitted_temperature
from models.landmark import FEATURES, OnnxLandmarkModel
from models.manifest import ModelEntry, read_manifest
from models.pixel import OnnxPixelModel
from models.training.export import export, matching_offsets, set_pool_temperatures, shift_logits, write_model
from models.training.heads import Labels, OneHead, logits_of
from models.training.landmark import N_EMBEDDING as N_MESH_EMBEDDING
from models.training.landmark import PAPER_HIDDEN, PAPER_RECIPE
from models.training.landmark import RECIPE as LANDMARK_RECIPE
from models.training.pixel import N_EMBEDDING, PixelGraph, central
from models.training.pixel import RECIPE as PIXEL_RECIPE
from pipeline.emotions import EMOTIONS, F32
from pipeline.types import U8

_N_CHECKED: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What the manifest says of the data: the faces learnt from and calibrated on, their licence, whether any had votes."""

    train: str
    valid: str
    licence: str
    voted: bool


FER2013: Final = Provenance(
    train="FER2013 Training",
    valid="FER2013 PublicTest",
    licence="Apache-2.0 (weights); FER+ votes: MIT; FER2013 pictures: no licence stated",
    voted=True,
)


def balance(network: OneHead, inputs: F32, truth: NDArray[np.int64]) -> None:
    """Shift the logits of the network's head, in place, by the `matching_offsets` on inputs with a truth (not -1)."""
    known = truth >= 0
    shift_logits(network.head, matching_offsets(logits_of(network, inputs[known]), truth[known]))


def central_faces(images: U8) -> F32:
    """What the pixel network is given of (n, 48, 48) uint8 pictures."""
    return central(torch.from_numpy(images.astype(np.float32))).numpy()


def export_pixel(
    network: OneHead, labels: Labels, valid: FaceData, faces: U8, out: Path, *, source: Provenance = FER2013
) -> ModelEntry:
    """The entry of the pixel model for a set of labels, calibrated on that of `valid` and written to `out`.

    `faces` are the pictures of `valid`, `framed`.
    """
    name = "pixel" if labels == "votes" else "pixel-fer2013"
    fields = {
        "name": name,
        "kind": "pixel",
        "version": f"{name}-{PIXEL_RECIPE.version}",
        "features": "picture",
        "input": "faces",
        "dtype": "uint8",
        "shape": (48, 48),
        "embedding": N_EMBEDDING,
        "temperature": _temperature(network, central_faces(faces), _truth(valid, labels)),
    }
    content = export(PixelGraph(network), faces[:_N_CHECKED], input_name="faces")
    return _write(out, content, labels, fields, source)


def export_landmark(
    network: OneHead,
    labels: Labels,
    valid: FaceData,
    meshes: Meshes,
    out: Path,
    *,
    paper: bool = False,
    source: Provenance = FER2013,
) -> ModelEntry:
    """The entry of a landmark model for a set of labels, calibrated on that of `valid` and written to `out`."""
    name = "landmark-paper" if paper else "landmark" if labels == "votes" else "landmark-fer2013"
    features = "paper" if paper else "mesh"
    inputs = FEATURES[features](meshes.landmarks)
    fields = {
        "name": name,
        "kind": "landmark",
        "version": f"{name}-{(PAPER_RECIPE if paper else LANDMARK_RECIPE).version}",
        "features": features,
        "input": "features",
        "dtype": "float32",
        "shape": inputs.shape[1:],
        "embedding": PAPER_HIDDEN if paper else N_MESH_EMBEDDING,
        "temperature": _temperature(network, inputs, np.where(meshes.found, _truth(valid, labels), -1)),
    }
    content = export(network, inputs[:_N_CHECKED], input_name="features")
    return _write(out, content, labels, fields, source)


def fit_pool(valid: FaceData, meshes: Meshes, folder: Path) -> None:
    """Write the temperatures with which `pixel` and `landmark` enter their mean, where `folder` has both."""
    if not {"pixel", "landmark"} <= set(read_manifest(folder)):
        return
    known = valid.ferplus >= 0
    pixel = OnnxPixelModel(folder=folder).predict(valid.framed(meshes)[known]).logits
    landmark = OnnxLandmarkModel(folder=folder).predict(meshes.landmarks[known]).logits
    temperatures = fitted_pool(pixel, landmark, meshes.found[known], valid.ferplus[known])
    set_pool_temperatures(folder, dict(zip(("pixel", "landmark"), temperatures, strict=True)))


def _truth(data: FaceData, labels: Labels) -> NDArray[np.int64]:
    return data.ferplus if labels == "votes" else data.label


def _temperature(network: OneHead, inputs: F32, truth: NDArray[np.int64]) -> float:
    known = truth >= 0
    return fitted_temperature(logits_of(network, inputs[known]), truth[known])


def _write(out: Path, content: bytes, labels: Labels, fields: dict[str, Any], source: Provenance) -> ModelEntry:
    learnt, calibrated = (
        ("FER+ votes", "FER+ majority") if labels == "votes" else ("original labels", "original labels")
    )
    if not source.voted:
        learnt, calibrated = "labels", "labels"
    elif fields["name"] != "landmark-paper":
        learnt += ", beside them the original labels" if labels == "votes" else ", beside them the FER+ votes"
    what = f"meshes of {source.train}" if fields["kind"] == "landmark" else source.train
    common = {
        "file": f"{fields['name']}.onnx",
        "card": f"{fields['name']}.md",
        "classes": EMOTIONS,
        "licence": source.licence,
        "training_data": f"{what} with {learnt}; temperature: {source.valid}, {calibrated}",
        "pool_temperature": fields["temperature"],
    }
    return write_model(out, content=content, fields=common | fields)
