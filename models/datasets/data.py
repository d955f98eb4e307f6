"""Data sets for training and evaluation: FER2013 pictures, original labels and FER+ votes.

Original labels: Goodfellow et al. 2013, "Challenges in representation learning". Votes: Barsoum et al.
2016, "Training deep networks for facial expression recognition with crowd-sourced label distribution".
"""

import tokenize
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.datasets.meshes import Meshes, framed
from models.errors import DataError
from pipeline.emotions import F32, permutation
from pipeline.types import U8

VOTES: Final = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "not a face",
)
"""The ten answers an annotator of FER+ could give, in the order of the `votes` columns."""

_VOTE_COLUMNS: Final = permutation(VOTES)
_ARRAYS: Final = ("images", "label", "votes", "near_duplicate_in_dev")

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FaceData:
    """Pictures of n faces and what was said of them.

    images: (n, 48, 48) uint8 grey.
    label: (n,) int64, index into `EMOTIONS`, -1 where the original label is not known.
    votes: (n, 10) uint8, columns in `VOTES` order.
    near_duplicate: (n,) bool, the same photograph stands in the training set; None where not marked.
    meshes: Where the faces were found in larger pictures, from which `images` was cut as the daemon cuts it
        (black where no face was found); None where the pictures were 48 px from the start.
    """

    images: U8
    label: I64
    votes: U8
    near_duplicate: NDArray[np.bool_] | None = None
    meshes: Meshes | None = None

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.images)

    def rows(self, selection: slice | NDArray[np.intp]) -> "FaceData":
        """The same data, only these rows."""
        near = None if self.near_duplicate is None else self.near_duplicate[selection]
        meshes = None if self.meshes is None else Meshes(self.meshes.found[selection], self.meshes.landmarks[selection])
        return FaceData(self.images[selection], self.label[selection], self.votes[selection], near, meshes)

    def framed(self, meshes: Meshes) -> U8:
        """(n, 48, 48) the pictures as the daemon cuts them, by the `meshes` that were found in them; see `meshes`."""
        return framed(self.images, meshes) if self.meshes is None else self.images

    def with_votes(self) -> "FaceData":
        """The same data; where nobody voted on any of them, every label counts as ten votes for its class."""
        if self.votes.any():
            return self
        votes = np.zeros_like(self.votes)
        known = np.flatnonzero(self.label >= 0)
        votes[known, np.array(_VOTE_COLUMNS)[self.label[known]]] = 10
        return replace(self, votes=votes)

    @property
    def ferplus(self) -> I64:
        """(n,) index into `EMOTIONS` of the majority vote, -1 where contempt, unknown or not-a-face won.

        Ties go to the first class of the votes' order. Where nobody voted it is -1, too.
        """
        to_emotion = np.full(len(VOTES), -1, dtype=np.int64)
        to_emotion[_VOTE_COLUMNS] = np.arange(len(_VOTE_COLUMNS))
        winner = to_emotion[self.votes.argmax(axis=1)]
        return np.asarray(np.where(self.votes.any(axis=1), winner, -1))

    @property
    def vote_shares(self) -> tuple[F32, F32]:
        """Targets (n, 7), the votes for the seven classes normalised to one, and weights (n,) in [0, 1].

        Votes for contempt, unknown and not-a-face are dropped. The weight of a row is the share of its votes
        that is left, so that a face most annotators could not name pulls less; with none left the target
        is uniform and the weight 0.
        """
        named = self.votes[:, _VOTE_COLUMNS].astype(np.float32)
        left, cast = named.sum(axis=1), self.votes.sum(axis=1, dtype=np.float32)
        uniform = np.full_like(named, 1 / named.shape[1])
        targets = np.divide(named, left[:, None], out=uniform, where=left[:, None] > 0)
        weights = np.divide(left, cast, out=np.zeros_like(left), where=cast > 0)
        return targets, weights


def load_faces(path: Path) -> FaceData:
    """What an npz file with `images`, `label` and `votes` holds (`near_duplicate_in_dev` is optional).

    Raises:
        DataError: There is no such file, it is no npz, or its arrays are not of the documented shape.
    """
    try:
        arrays = _arrays(path)
    except FileNotFoundError:
        msg = f"{path}: no such file; give an npz with images, label and votes"
        raise DataError(msg) from None
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, tokenize.TokenError):
        msg = f"{path}: not a readable npz; give an npz with images, label and votes"
        raise DataError(msg) from None
    return _checked(path, arrays)


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            msg = "a lone array"
            raise ValueError(msg)  # noqa: TRY004 (of the file, not of an argument)
        return {name: archive[name] for name in _ARRAYS if name in archive.files}


def _checked(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> FaceData:
    missing = [name for name in _ARRAYS[:3] if name not in arrays]
    if missing:
        msg = f"{path}: expected images, label and votes, found no {', '.join(missing)}"
        raise DataError(msg)
    n = len(arrays["images"]) if arrays["images"].ndim else 0
    if n == 0:
        msg = f"{path}: holds no pictures"
        raise DataError(msg)
    expected = {"images": (n, 48, 48), "label": (n,), "votes": (n, len(VOTES))}
    near = arrays.get(_ARRAYS[3])
    if near is not None:
        expected[_ARRAYS[3]] = (n,)
    for name, shape in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "iub":
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            msg = f"{path}: expected integers of shape {shape} in {name}, found {found}"
            raise DataError(msg)
    images = arrays["images"]
    if images.dtype != np.uint8:
        msg = f"{path}: expected uint8 in images, found {images.dtype}"
        raise DataError(msg)
    label = arrays["label"].astype(np.int64)
    if label.min() < -1 or label.max() >= len(_VOTE_COLUMNS):
        msg = f"{path}: expected labels from -1 to 6, found {label.min()} to {label.max()}"
        raise DataError(msg)
    votes = arrays["votes"].astype(np.int64)
    if votes.min() < 0 or votes.max() > np.iinfo(np.uint8).max:
        msg = f"{path}: expected votes from 0 to 255, found {votes.min()} to {votes.max()}"
        raise DataError(msg)
    duplicate = None if near is None else near.astype(np.bool_)
    return FaceData(images.astype(np.uint8), label, votes.astype(np.uint8), duplicate)
