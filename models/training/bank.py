"""The bank of simulated groups: what both arms say of validation faces, in several takes of each.

A take is the picture moved, tilted and lit a little otherwise, as the frames of one second of one face are, and
perhaps degraded as a poor camera would. Only figures that the models gave are kept, and how the annotators voted.
"""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models.datasets.data import VOTES, FaceData
from models.datasets.meshes import Meshes, Progress, find_meshes, framed
from models.errors import DataError, ModelError
from models.evaluation.conditions import AS_IS, degraded
from models.landmark import OnnxLandmarkModel
from models.manifest import find_entry
from models.onnx import read_verified
from models.pixel import OnnxPixelModel
from pipeline.emotions import EMOTIONS, F32, F64, N_EMOTIONS, permutation
from pipeline.landmarks import head_pose
from pipeline.quality import sharpness
from pipeline.types import U8, Expressions

FILE: Final = "bank.npz"

POOR: Final = ("24px", "blurred", "jpeg", "noise", "dark")
"""Of `models.evaluation.conditions`: what a camera and a connection do for a while."""

N_CLEAR: Final = 5
N_POOR: Final = 2
"""Takes of a face as it is, the first of them the picture itself, and under each poor condition."""

TAKES: Final = (AS_IS,) * N_CLEAR + tuple(condition for condition in POOR for _ in range(N_POOR))

SHIFT_PX: Final = 2.0
TILT_DEG: Final = 4.0
ZOOM: Final = 0.04
LIGHT: Final = 0.08
"""A take is up to so much moved, tilted, nearer or farther, and lighter or darker."""

CLEAR: Final = 0.7
"""Least share of the votes for a face's class and for neutral together: what it shows is known, if it shows anything."""

LEVELS: Final = (0.7, 0.9)
"""Intensities from which on a face is no longer faint, and strong: as many of each of the three kinds are taken."""

N_A_KIND: Final = 30
N_NEUTRAL: Final = 60
SEED: Final = 5

_MIDDLE: Final = (23.5, 23.5)
_BATCH: Final = 64
_TINY: Final = 1e-6
_NEUTRAL: Final = EMOTIONS.index("neutral")

I64 = NDArray[np.int64]
Given = TypeVar("Given", U8, F32)


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """(n,) FER+ majority class (-1: none of the seven), and shares of the ten votes for it and for neutral."""

    emotion: I64
    own: F64
    neutral: F64

    @property
    def intensity(self) -> F64:
        """(n,) of those who saw its class or nothing, the share who saw its class; 1 of a neutral face."""
        return np.where(self.emotion == _NEUTRAL, 1, self.own / np.maximum(self._named, _TINY)).round(3)

    @property
    def clear(self) -> NDArray[np.bool_]:
        """(n,) whether so few saw another class that what it shows is known."""
        return (self.emotion >= 0) & (self._named >= CLEAR - _TINY)

    @property
    def _named(self) -> F64:
        return np.where(self.emotion == _NEUTRAL, self.own, self.own + self.neutral)


def shares_of(data: FaceData) -> Shares:
    """How the annotators voted on each face."""
    columns = permutation(VOTES)
    emotion = data.ferplus
    votes = data.votes[:, columns] / np.maximum(data.votes.sum(axis=1, keepdims=True), 1)
    own = np.where(emotion >= 0, votes[np.arange(len(data)), emotion], 0)
    return Shares(emotion, own, votes[:, _NEUTRAL])


def chosen(
    data: FaceData, *, n_a_kind: int = N_A_KIND, n_neutral: int = N_NEUTRAL, seed: int = SEED
) -> NDArray[np.intp]:
    """Rows for the bank: up to `n_a_kind` of each class and level of intensity, and `n_neutral` neutral ones.

    Without faces in which annotators saw too many different things, since what they show is not known, and without
    photographs that stand in the training set as well, since the models know these.
    """
    shares = shares_of(data)
    rng = np.random.default_rng(seed)
    level = np.digitize(shares.intensity, LEVELS)
    unknown = np.ones(len(data), dtype=np.bool_) if data.near_duplicate is None else ~data.near_duplicate
    kept: list[NDArray[np.intp]] = []
    for emotion in range(N_EMOTIONS):
        of_class = (shares.emotion == emotion) & shares.clear & unknown
        kinds = [of_class] if emotion == _NEUTRAL else [of_class & (level == k) for k in range(len(LEVELS) + 1)]
        for kind in kinds:
            rows = np.flatnonzero(kind)
            n = min(len(rows), n_neutral if emotion == _NEUTRAL else n_a_kind)
            kept.append(np.sort(rng.permutation(rows)[:n]))
    return np.concatenate(kept)


def takes(images: U8, *, seed: int = SEED) -> U8:
    """(n, t, 48, 48) uint8: the `TAKES` of (n, 48, 48) uint8 grey pictures.

    The takes of a poor condition start from those of the same number of the picture as it is, the first one left out.
    """
    rng = np.random.default_rng(seed)
    clear = np.stack([images] + [_moved(images, rng) for _ in range(N_CLEAR - 1)], axis=1)
    poor = [degraded(np.ascontiguousarray(clear[:, 1 + k]), condition) for condition in POOR for k in range(N_POOR)]
    return np.concatenate([clear, np.stack(poor, axis=1)], axis=1)


def _moved(images: U8, rng: np.random.Generator) -> U8:
    result = np.empty_like(images)
    drawn = rng.uniform(-1, 1, size=(len(images), 5))
    for row, (picture, (dx, dy, tilt, zoom, light)) in enumerate(zip(images, drawn.tolist(), strict=True)):
        matrix = cv2.getRotationMatrix2D(_MIDDLE, TILT_DEG * tilt, 1 + ZOOM * zoom)
        matrix = matrix + np.array([[0, 0, SHIFT_PX * dx], [0, 0, SHIFT_PX * dy]])
        warped = cv2.warpAffine(picture, matrix, picture.shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        result[row] = np.round(warped * (1 + LIGHT * light)).clip(0, 255)
    return result


def bank_arrays(data: FaceData, folder: Path, *, progress: Progress | None = None) -> dict[str, NDArray[np.generic]]:
    """The arrays of the bank, first axis f faces, second t takes; `models/weights/bank.md` says what they are.

    `folder` is that of the models.

    Raises:
        DataError: No face that was chosen has a mesh, or nobody voted.
        ModelError: A model is missing, damaged, or does not end in a dense head.
    """
    pixel, landmark = OnnxPixelModel(folder=folder), OnnxLandmarkModel(folder=folder)
    rows = chosen(data)
    pictures = takes(data.images[rows])
    n, t = pictures.shape[:2]
    flat = pictures.reshape(n * t, *pictures.shape[2:])
    meshes = (
        find_meshes(flat, progress=progress) if n else Meshes(np.zeros(0, np.bool_), np.zeros((0, 468, 3), np.float32))
    )
    with_mesh = meshes.found.reshape(n, t)
    # A call reads only faces whose mesh was found at first; the tracker keeps it while the picture is poor.
    known = with_mesh[:, 0]
    if not known.any():
        msg = "no face for the bank: give data with votes, and faces that a mesh can be found in"
        raise DataError(msg)
    faces = framed(flat, meshes)
    px = _in_batches(pixel.predict, faces)
    lm = _in_batches(landmark.predict, meshes.landmarks[meshes.found])
    shares = shares_of(data.rows(rows))

    def per_take(values: F32, *, of_meshes: bool = False) -> NDArray[np.generic]:
        full = values
        if of_meshes:
            full = np.zeros((n * t, values.shape[1]), dtype=np.float32)
            full[meshes.found] = values
        return np.asarray(full.reshape(n, t, -1)[known], dtype=np.float16)

    return {
        "takes": np.array(TAKES),
        "models": np.array([pixel.sha256, landmark.sha256]),
        "emotion": shares.emotion[known].astype(np.int8),
        "share": shares.own[known].astype(np.float16),
        "neutral_share": shares.neutral[known].astype(np.float16),
        "mesh": with_mesh[known],
        "quality": _quality(faces, meshes).reshape(n, t)[known].astype(np.float16),
        "pixel_logits": per_take(_stacked(px, "logits")),
        "landmark_logits": per_take(_stacked(lm, "logits"), of_meshes=True),
        "pixel_embedding": per_take(_stacked(px, "embeddings")),
        "landmark_embedding": per_take(_stacked(lm, "embeddings"), of_meshes=True),
        **head_arrays("pixel", folder),
        **head_arrays("landmark", folder),
    }


def head_arrays(name: str, folder: Path) -> dict[str, NDArray[np.generic]]:
    """The weights of the dense head that a model of the manifest ends in: `w1` (64, d), `b1`, `w2` (7, 64), `b2`.

    Raises:
        ModelError: The model does not end in such a head, or its classes have another order.
    """
    entry = find_entry(name, folder)
    content = read_verified(folder / entry.file, entry.sha256, meant_by="the manifest", remedy="train the models again")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer}
    parts = {"w1": "0.weight", "b1": "0.bias", "w2": "3.weight", "b2": "3.bias"}
    found = {
        key: [array for title, array in stored.items() if title.endswith(f"head.{end}")] for key, end in parts.items()
    }
    if any(len(arrays) != 1 for arrays in found.values()) or entry.classes != EMOTIONS:
        msg = f"{folder / entry.file}: does not end in a dense head of {', '.join(EMOTIONS)}; train the models again"
        raise ModelError(msg)
    return {f"{name}_head_{key}": np.asarray(arrays[0], dtype=np.float32) for key, arrays in found.items()}


def _in_batches(predict: Callable[[Given], Expressions], given: Given) -> list[Expressions]:
    return [predict(given[at : at + _BATCH]) for at in range(0, len(given), _BATCH)]


def _stacked(said: Iterable[Expressions], what: str) -> F32:
    return np.concatenate([getattr(part, what) for part in said])


def _quality(faces: U8, meshes: Meshes) -> F32:
    """(n,) in [0, 1]: what of `pipeline.quality` the picture itself decides: sharpness, and how far it faces the camera."""
    facing = np.ones(len(faces))
    yaw, pitch, _ = head_pose(meshes.landmarks[meshes.found]).T
    facing[meshes.found] = np.cos(yaw).clip(0) * np.cos(pitch).clip(0)
    return np.asarray(facing * [sharpness(face) for face in faces], dtype=np.float32)


def write_bank(path: Path, arrays: dict[str, NDArray[np.generic]]) -> int:
    """Bytes written: the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    beside = path.with_suffix(".part")
    beside.write_bytes(buffer.getvalue())
    beside.replace(path)
    return len(buffer.getvalue())
