"""What models say of the faces of a data set, and how long they take for it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.datasets.meshes import Meshes
from models.errors import ModelError
from models.evaluation.calibration import fitted_pool, fitted_temperature, pooled
from models.external import ExternalPixelModel, is_description
from models.landmark import OnnxLandmarkModel
from models.loading import description_path
from models.manifest import find_entry
from models.pixel import SIDE_PX, OnnxPixelModel, fitted
from pipeline.emotions import F32, F64, N_EMOTIONS, softmax
from pipeline.types import U8, Crop, Expressions

FUSED: Final = "fused"
ARMS: Final = ("pixel", "landmark")
"""The models whose mean `fused` is."""

BATCHES: Final = (1, 8)
"""Faces given at once when the time is taken."""

_N_TIMINGS: Final = 40
_N_WARM_UP: Final = 5
_BATCH: Final = 64
_BATCH_BYTES: Final = 16_000_000

Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model that was opened: what it is called and reads, and how it is asked about n of them."""

    name: str
    version: str
    sha256: str
    reads_meshes: bool
    predict: Callable[[Any], Expressions]
    crop: Crop = field(default_factory=Crop)

    @property
    def n_at_once(self) -> int:
        """Faces in a batch: 64, or as many as 16 MB of 32-bit numbers hold where they are large."""
        return max(1, min(_BATCH, _BATCH_BYTES // (4 * math.prod(self.crop.shape))))


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What n faces are given to models as.

    images: (n, 48, 48) uint8 grey, what pixel models read.
    in_picture: (n,) whether there is a face in the picture; where not, it is black.
    meshes: Of the same faces.
    """

    images: U8
    in_picture: Bool
    meshes: Meshes


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one model, or the mean of two, says of n faces.

    probabilities: (n, 7) calibrated, uniform where the face cannot be read.
    pool: (n, 7) the same as it enters the mean of two.
    readable: (n,) whether it can.
    logits: (n, 7) of the model, or of the pixel and of the landmark model whose mean it is.
    with_mesh: (n,) whether the landmark model could read the face; only where there are two.
    """

    probabilities: F64
    pool: F64
    readable: Bool
    logits: tuple[F64, ...]
    with_mesh: Bool

    def recalibrated(self, truth: I64, fit: I64, use: I64) -> F64:
        """Probabilities of the rows `use` at the temperatures that are best for the rows `fit` and their classes."""
        if len(self.logits) == 1:
            (logits,) = self.logits
            return softmax(logits[use], temperature=fitted_temperature(logits[fit], truth[fit]))
        pixel, landmark = self.logits
        found = self.with_mesh
        at_pixel, at_landmark = fitted_pool(pixel[fit], landmark[fit], found[fit], truth[fit])
        return pooled(
            softmax(pixel[use], temperature=at_pixel),
            softmax(landmark[use], temperature=at_landmark),
            found[use],
            softmax(pixel[use], temperature=fitted_temperature(pixel[fit], truth[fit])),
        )


class Measured:
    """The models that are measured, by name; `fused` brings its two along, a description the name that it gives.

    Args:
        names: Each of the manifest, or `fused`, or the path of a YAML file that describes a pixel model.
        folder: Where manifest and files lie.

    Raises:
        ModelError: A model is missing, damaged, or not what the manifest or its description says, or two have one name.
    """

    def __init__(self, names: Iterable[str], folder: Path) -> None:
        asked = tuple(dict.fromkeys(names))
        needed = dict.fromkeys(arm for name in asked for arm in (ARMS if name == FUSED else (name,)))
        opened = {name: _open(name, folder) for name in needed}
        self._models: dict[str, Model] = {}
        for name, model in opened.items():
            if model.name in self._models:
                msg = f"{name}: another of these models is called {model.name} as well; change the name of one"
                raise ModelError(msg)
            self._models[model.name] = model
        self.names = tuple(name if name == FUSED else opened[name].name for name in asked)
        self.doubts = tuple(line for name, model in opened.items() for line in _doubts(name, model.crop))

    @property
    def single(self) -> tuple[str, ...]:
        """The names without `fused`."""
        return tuple(name for name in self.names if name != FUSED)

    def identity(self, name: str) -> dict[str, Any]:
        """Version and hash of a single model, and the `versions` of both arms of `fused`."""
        if name == FUSED:
            return {"versions": {arm: self._models[arm].version for arm in ARMS}}
        return {"version": self._models[name].version, "sha256": self._models[name].sha256}

    def answers(self, faces: Inputs) -> dict[str, Answers]:
        """What each says, and what the two arms say where `fused` is among them."""
        said = {name: _answers(model, faces) for name, model in self._models.items()}
        if FUSED in self.names:
            said[FUSED] = _fused(*(said[arm] for arm in ARMS))
        return said

    def inference_ms(self, name: str, faces: Inputs) -> dict[str, Any]:
        """Median and 95th percentile in ms per face on one thread, by batch size; None without a face to read.

        With what it takes to make features of a mesh, without what it takes to find one.
        """
        parts = [self._models[arm] for arm in (ARMS if name == FUSED else (name,))]
        return {f"batch_{size}": _timed([_call(model, faces, size) for model in parts], size) for size in BATCHES}


def _open(name: str, folder: Path) -> Model:
    if is_description(name):
        external = ExternalPixelModel(description_path(name))
        called, crop = external.description.name, external.crop

        def predict(faces: U8) -> Expressions:
            return external.predict(fitted(faces, crop))

        return Model(called, external.version, external.sha256, reads_meshes=False, predict=predict, crop=crop)
    reads_meshes = find_entry(name, folder).kind != "pixel"
    shipped = (OnnxLandmarkModel if reads_meshes else OnnxPixelModel)(name, folder=folder)
    return Model(name, shipped.version, shipped.sha256, reads_meshes=reads_meshes, predict=shipped.predict)


def _doubts(name: str, crop: Crop) -> Iterator[str]:
    """A line where a model reads more than the pictures show that it is given here."""
    if crop.colour or crop.side_px > SIDE_PX:
        reads = f"{crop.side_px} px in {'colour' if crop.colour else 'grey'}"
        given = f"{SIDE_PX} px grey pictures{' enlarged' if crop.side_px > SIDE_PX else ''}"
        yield f"{name} reads {reads}: here it is given {given}, and may be worse than it is on video"


def _given(model: Model, faces: Inputs) -> tuple[U8 | F32, Bool]:
    """(n, ...) what the model reads of each face, and (n,) whether it is there."""
    if not model.reads_meshes:
        return faces.images, faces.in_picture
    return faces.meshes.landmarks, faces.meshes.found & faces.in_picture


def _answers(model: Model, faces: Inputs) -> Answers:
    given, readable = _given(model, faces)
    logits = np.zeros((len(given), N_EMOTIONS))
    probabilities, pool = np.full_like(logits, 1 / N_EMOTIONS), np.full_like(logits, 1 / N_EMOTIONS)
    rows = np.flatnonzero(readable)
    for start in range(0, len(rows), model.n_at_once):
        batch = rows[start : start + model.n_at_once]
        said = model.predict(given[batch])
        logits[batch], probabilities[batch], pool[batch] = said.logits, said.probabilities, said.pool
    return Answers(probabilities, pool, readable, (logits,), readable)


def _fused(pixel: Answers, landmark: Answers) -> Answers:
    """The mean of both where there is a mesh, the pixel model alone where there is none."""
    mean = pooled(pixel.pool, landmark.pool, landmark.readable, pixel.probabilities)
    return Answers(mean, mean, pixel.readable, (*pixel.logits, *landmark.logits), landmark.readable)


def _call(model: Model, faces: Inputs, size: int) -> Callable[[], object] | None:
    """What reads the first `size` faces once, one of them again where there are fewer; None without any."""
    given, readable = _given(model, faces)
    rows = np.flatnonzero(readable)[:size]
    if len(rows) == 0:
        return None
    inputs = given[np.resize(rows, size)]
    return lambda: model.predict(inputs)


def _timed(calls: list[Callable[[], object] | None], size: int) -> dict[str, float] | None:
    able = [call for call in calls if call is not None]
    if len(able) < len(calls):
        return None
    took_ms = []
    for _ in range(_N_WARM_UP + _N_TIMINGS):
        started = time.perf_counter()
        for call in able:
            call()
        took_ms.append(1000 * (time.perf_counter() - started) / size)
    median, p95 = np.percentile(took_ms[_N_WARM_UP:], [50, 95])
    return {"median": round(float(median), 4), "p95": round(float(p95), 4)}
