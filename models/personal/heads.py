"""The dense heads that personalisation replaces: what they are, the generic ones, and files of them.

Each arm ends in embedding -> 64 -> 7 (TRANSFER, section 3.3: the features stay frozen, these layers are fine-tuned). The
generic ones lie inside the ONNX files; `models/weights/heads.npz` holds the same numbers as arrays, with the hash of the
ONNX file that each was taken from and a hash of all of them.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.manifest import WEIGHTS, find_entry
from models.personal.samples import Samples
from pipeline.emotions import F32, F64, N_EMOTIONS, softmax
from pipeline.metrics import Bool

FILE: Final = "heads.npz"
_HASH: Final = "sha256"
_LARGEST_BYTES: Final = 1 << 26
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class DenseHead:
    """Linear, ReLU, linear: (7,) logits in `EMOTIONS` order from a (d,) embedding.

    w1: (h, d), b1: (h,), w2: (7, h), b2: (7,), all float32 and finite. Dropout is for training only.

    Raises:
        ValueError: The shapes do not fit together, or a number is not finite.
    """

    w1: F32
    b1: F32
    w2: F32
    b2: F32

    def __post_init__(self) -> None:
        h, d = self.w1.shape if self.w1.ndim == 2 else (-1, -1)  # noqa: PLR2004 (rows, columns)
        found = (self.b1.shape, self.w2.shape, self.b2.shape)
        if found != ((h,), (N_EMOTIONS, h), (N_EMOTIONS,)):
            msg = f"head: expected (h, d), (h,), ({N_EMOTIONS}, h) and ({N_EMOTIONS},), found {self.w1.shape}, {found}"
            raise ValueError(msg)
        if not all(np.isfinite(part).all() for part in self.parts):
            msg = f"head: expected finite numbers for {d} inputs, found others"
            raise ValueError(msg)

    @property
    def parts(self) -> tuple[F32, F32, F32, F32]:
        """w1, b1, w2, b2."""
        return self.w1, self.b1, self.w2, self.b2

    def hidden(self, embeddings: F32) -> F32:
        """(n, h) activations of the hidden layer."""
        return np.maximum(embeddings @ self.w1.T + self.b1, 0)

    def logits(self, embeddings: F32) -> F32:
        """(n, 7) logits of (n, d) embeddings."""
        return np.asarray(self.hidden(embeddings) @ self.w2.T + self.b2)

    def arrays(self, prefix: str = "") -> dict[str, F32]:
        """The four arrays by name, such as `pixel.w1` with the prefix `pixel.`."""
        return {prefix + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.generic]], prefix: str = "") -> Self:
        """The head of these arrays.

        Raises:
            KeyError: One of the four is missing.
            ValueError: Their shapes do not fit together, or a number is not finite.
        """
        return cls(*(np.asarray(arrays[prefix + field.name], dtype=np.float32) for field in fields(cls)))


@dataclass(frozen=True, slots=True, eq=False)
class Retained:
    """What of the generic head goes on being read beside the one that learnt.

    A head that learns some classes forgets the others: nothing holds these while the hidden layer and the logits beside
    theirs move (catastrophic interference: McCloskey and Cohen 1989). kept: (7,) which these are; they have the generic
    probabilities, the others share the rest. share: in [0, 1], of the generic head's logits in the others, too: two that
    err differently are better read together than either. The mean of logits (a logarithmic opinion pool: Genest and
    Zidek 1986, "Combining probability distributions") is as sure as both together are; that of probabilities is too unsure
    wherever the generic head is surely wrong.
    """

    head: DenseHead
    kept: Bool
    share: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """A head and the temperatures of its model: alone, and as it enters the mean of both (decisions/0008).

    retained: of a head that learnt, what it did not replace; None: nothing.
    """

    head: DenseHead
    temperature: float
    pool_temperature: float
    retained: Retained | None = None

    def pool(self, embeddings: F32) -> F64:
        """(n, 7) probabilities as they enter the mean of both arms."""
        logits = self.head.logits(embeddings)
        if self.retained is None:
            return softmax(logits, temperature=self.pool_temperature)
        before = self.retained.head.logits(embeddings)
        kept, share = self.retained.kept, self.retained.share
        generic = softmax(before, temperature=self.pool_temperature)
        p = softmax((1 - share) * logits + share * before, temperature=self.pool_temperature)
        p[:, kept] = 0
        p *= (1 - generic[:, kept].sum(axis=1, keepdims=True)) / p.sum(axis=1, keepdims=True).clip(_TINY)
        p[:, kept] = generic[:, kept]
        return p


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """The heads of both arms."""

    pixel: Arm
    landmark: Arm

    def predict_proba(self, samples: Samples, *, weight_landmark: float = 0.5) -> F64:
        """(n, 7) fused as the pipeline fuses; the pixel arm alone where there is no mesh; nan without any embedding."""
        pixel = self.pixel.pool(samples.pixel)
        with_mesh = np.isfinite(samples.landmark).all(axis=1)
        pixel[with_mesh] *= 1 - weight_landmark
        pixel[with_mesh] += weight_landmark * self.landmark.pool(samples.landmark[with_mesh])
        return pixel


def generic_arms(pixel: str = "pixel", landmark: str = "landmark", *, folder: Path = WEIGHTS) -> Arms:
    """The heads and temperatures of two models of the manifest.

    Raises:
        ModelError: See `generic_head` and `find_entry`.
    """
    return Arms(_generic_arm(pixel, folder), _generic_arm(landmark, folder))


def _generic_arm(name: str, folder: Path) -> Arm:
    entry = find_entry(name, folder)
    return Arm(generic_head(name, folder=folder), entry.temperature, entry.pool_temperature)


def generic_head(name: str, *, folder: Path = WEIGHTS) -> DenseHead:
    """The head of a model of the manifest.

    Raises:
        ModelError: There is none, the file is damaged, or it was made from another version of the model.
    """
    entry, path = find_entry(name, folder), folder / FILE
    arrays = read_arrays(path)
    if f"{name}.model" not in arrays:
        msg = f"{path} has no head of {name!r}; make it with `python -m models.training heads`"
        raise ModelError(msg)
    if str(arrays[f"{name}.model"]) != entry.sha256:
        msg = (
            f"{path} has the head of another {name!r} than the manifest; make it with `python -m models.training heads`"
        )
        raise ModelError(msg)
    return head_of(arrays, f"{name}.", path)


def head_of(arrays: Mapping[str, NDArray[np.generic]], prefix: str, path: Path) -> DenseHead:
    """The head of verified arrays; `path` is for the message.

    Raises:
        ModelError: They are no head.
    """
    try:
        return DenseHead.of(arrays, prefix)
    except KeyError as error:
        msg = f"{path} lacks {error}; it is not a file of heads"
        raise ModelError(msg) from None
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ModelError(msg) from None


def digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """SHA-256 of names, types, shapes and contents, in the order of the names; 64 hexadecimal digits."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """The digest of the arrays that were written to an npz, atomically and without pickle: the same bytes for the same arrays."""
    found = digest(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_HASH: np.array(found)})
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return found


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of an npz that `write_arrays` wrote.

    Raises:
        ModelError: It is missing, is no such file, or its contents are not those that were written.
    """
    remedy = "take another version with `attuned models rollback`, or reinstall attuned"
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            msg = f"{path} is too large for a file of heads; {remedy}"
            raise ModelError(msg)
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
    except FileNotFoundError:
        msg = f"{path} is missing; {remedy}"
        raise ModelError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror or error}); {remedy}"
        raise ModelError(msg) from None
    except (ValueError, EOFError, AttributeError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # What numpy raises of files that are none of its own, whatever they are.
        msg = f"{path} is damaged ({type(error).__name__}); {remedy}"
        raise ModelError(msg) from None
    if str(arrays.pop(_HASH, None)) != digest(arrays):
        msg = f"{path} is damaged: its contents are not those that its hash means; {remedy}"
        raise ModelError(msg)
    return arrays
