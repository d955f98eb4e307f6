"""The bank: what both arms said of real validation faces, from which the faces of simulated groups are drawn.

`models/weights/bank.md` says what is in it and how it is made.
"""

import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.manifest import WEIGHTS, ModelEntry, find_entry
from pipeline.emotions import EMOTIONS, F32, F64, N_EMOTIONS, softmax

AS_IS: Final = "as-is"
NEUTRAL: Final = EMOTIONS.index("neutral")

_REMEDY: Final = "reinstall attuned, or make it with `python -m models.training bank`"
_REGULARISED: Final = 1e-3

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Head:
    """The generic dense head of an arm: embedding -> 64 -> 7."""

    hidden_weight: F32
    hidden_bias: F32
    weight: F32
    bias: F32

    def logits(self, embeddings: F32) -> F32:
        """(n, 7) of (n, d) embeddings."""
        hidden = np.maximum(embeddings @ self.hidden_weight.T + self.hidden_bias, 0)
        return np.asarray(hidden @ self.weight.T + self.bias)

    def shift_for(self, wanted: F64, embeddings: F32) -> F32:
        """(d,) the small step that adds (7,) `wanted` to the logits, on average over (n, d) embeddings.

        Along the mean Jacobian of the head there, the shortest step of least squares; a head that is trained on
        embeddings so moved can learn it away.
        """
        active = (embeddings @ self.hidden_weight.T + self.hidden_bias > 0).mean(axis=0)
        jacobian = (self.weight * active) @ self.hidden_weight
        inner = jacobian @ jacobian.T
        inverse = np.linalg.inv(inner + _REGULARISED * np.trace(inner) / N_EMOTIONS * np.eye(N_EMOTIONS))
        return np.asarray(jacobian.T @ inverse @ wanted, dtype=np.float32)


@dataclass(frozen=True)
class Arm:
    """One arm's part of the bank: (f, t, d) embeddings, its head, and the temperatures of the manifest."""

    embeddings: F32
    head: Head
    temperature: float
    pool_temperature: float

    def pool(self, embeddings: F32) -> F64:
        """(n, 7) probabilities as they enter the mean of both arms, of (n, d) embeddings."""
        return softmax(self.head.logits(embeddings), temperature=self.pool_temperature)


@dataclass(frozen=True)
class Bank:
    """f faces in t takes each.

    emotion: (f,) index of what most annotators saw; intensity: (f,) in (0, 1], of those who saw that or nothing the
        share who saw that.
    takes: (t,) condition of each take; the first is the picture as it is.
    mesh, quality: (f, t) whether a mesh was found, and what of the quality of a frame the picture decides.
    """

    emotion: NDArray[np.int8]
    intensity: F64
    takes: tuple[str, ...]
    mesh: Bool
    quality: F64
    pixel: Arm
    landmark: Arm

    @cached_property
    def clear(self) -> Index:
        """Takes of the face as it is."""
        return self.under(AS_IS)

    @cached_property
    def looks(self) -> F64:
        """(f, 14) logits of both arms for each picture as it is: faces that lie near look alike to the models."""
        arms = (self.pixel, self.landmark)
        return np.concatenate([arm.head.logits(arm.embeddings[:, 0]) for arm in arms], axis=1).astype(np.float64)

    def under(self, condition: str) -> Index:
        """Takes under a condition."""
        return np.flatnonzero(np.array(self.takes) == condition)

    def levels(self, faint_below: float, strong_from: float) -> NDArray[np.int64]:
        """(f,) 0 faint, 1 moderate, 2 strong."""
        return np.asarray((self.intensity >= faint_below).astype(np.int64) + (self.intensity >= strong_from))


def load_bank(folder: Path = WEIGHTS) -> Bank:
    """The bank in a folder of models.

    Raises:
        ModelError: It is missing or damaged, or was made with other models than those of the folder.
    """
    path = folder / "bank.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        msg = f"{path} is missing; {_REMEDY}"
        raise ModelError(msg) from None
    except (OSError, ValueError, EOFError, TypeError, TokenError, zipfile.BadZipFile, zlib.error):
        msg = f"{path} is damaged; {_REMEDY}"
        raise ModelError(msg) from None
    entries = [find_entry(arm, folder) for arm in ("pixel", "landmark")]
    try:
        if arrays["models"].tolist() != [entry.sha256 for entry in entries]:
            msg = f"{path} was made with other models than those of {folder}; {_REMEDY}"
            raise ModelError(msg)
        share, neutral = (arrays[name].astype(np.float64).round(3) for name in ("share", "neutral_share"))
        emotion = arrays["emotion"]
        bank = Bank(
            emotion=emotion,
            intensity=np.where(emotion == NEUTRAL, 1.0, share / (share + neutral)).round(3),
            takes=tuple(arrays["takes"].tolist()),
            mesh=arrays["mesh"],
            quality=arrays["quality"].astype(np.float64),
            pixel=_arm(arrays, entries[0]),
            landmark=_arm(arrays, entries[1]),
        )
    except KeyError as error:
        msg = f"{path} lacks {error}; {_REMEDY}"
        raise ModelError(msg) from None
    missing = [name for k, name in enumerate(EMOTIONS) if not (emotion == k).any()]
    if missing:
        msg = f"{path} has no face of {', '.join(missing)}; {_REMEDY}"
        raise ModelError(msg)
    return bank


def _arm(arrays: dict[str, NDArray[np.generic]], entry: ModelEntry) -> Arm:
    name = entry.kind
    head = [arrays[f"{name}_head_{part}"].astype(np.float32) for part in ("w1", "b1", "w2", "b2")]
    return Arm(arrays[f"{name}_embedding"].astype(np.float32), Head(*head), entry.temperature, entry.pool_temperature)
