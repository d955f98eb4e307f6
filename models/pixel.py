"""The pixel model: what a grey picture of a face expresses, and how pictures of faces are cut from a frame."""

from math import ceil
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from models.errors import ModelError
from models.manifest import WEIGHTS, ModelEntry, find_entry
from models.onnx import ExpressionSession
from pipeline.emotions import F32, F64
from pipeline.landmarks import N_LANDMARKS, head_pose
from pipeline.types import U8, Crop, Expressions

SIDE_PX: Final = 48

FACE_CENTRE_PX: Final = (24.0, 27.5)
"""Where the mean of the levelled mesh lies in FER2013 training pictures, from the top left corner.

Medians over 27,227 meshes: 24.1 and 27.5 px, with median absolute deviations of 1.4 and 1.8 px; 24 is the middle,
since the model is trained on mirrored pictures too.
"""

FACE_SIZE_PX: Final = 14.4
"""Root mean square distance of the mesh from its mean, in three dimensions: the median of the same meshes."""

_MAX_SUPERSAMPLING: Final = 16


def face_crop(image: U8, landmarks: F32, *, side_px: int = SIDE_PX, colour: bool = False) -> U8:
    """(side_px, side_px) uint8 grey: the face levelled by its roll and framed as FER2013 pictures are.

    `image` is (H, W, 3) uint8 RGB and `landmarks` its (468, 3) mesh. The size is measured on the three-dimensional
    mesh, so a turned head is not enlarged. Where the crop leaves the picture, the border is replicated. A face
    larger than the crop is averaged over the area of each pixel. With `colour` the crop is (side_px, side_px, 3) RGB;
    another `side_px` shows the same part of the head, larger or smaller.

    Raises:
        ValueError: The picture is not (H, W, 3) uint8, or the mesh is not a finite (468, 3) of some size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:  # noqa: PLR2004
        msg = f"image: expected (H, W, 3) uint8, found {image.shape} {image.dtype}"
        raise ValueError(msg)
    if landmarks.shape != (N_LANDMARKS, 3):
        msg = f"landmarks: expected shape ({N_LANDMARKS}, 3), found {landmarks.shape}"
        raise ValueError(msg)
    mesh = landmarks.astype(np.float64)
    centre = mesh.mean(axis=0)
    size = float(np.sqrt(((mesh - centre) ** 2).sum(axis=1).mean()))
    if not (np.isfinite(size) and size > 0):
        msg = f"landmarks: expected finite points apart from each other, found a size of {size}"
        raise ValueError(msg)
    zoom = side_px / SIDE_PX
    scale = FACE_SIZE_PX * zoom / size
    finer = min(ceil(1 / scale), _MAX_SUPERSAMPLING) if scale < 1 else 1
    roll = float(head_pose(landmarks[None])[0, 2])
    target = np.array(FACE_CENTRE_PX, dtype=np.float64) * zoom * finer
    matrix = _similarity(centre[:2], roll, scale * finer, target)
    picture = image if colour else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    side = side_px * finer
    warped = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if finer > 1:
        warped = cv2.resize(warped, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(warped, dtype=np.uint8)


def fitted(faces: U8, crop: Crop) -> U8:
    """(n, *crop.shape) uint8 from (n, 48, 48) uint8 grey faces, for data sets that have no larger pictures.

    Enlarged by cubic interpolation (made smaller: averaged), with grey in all three channels: a model for large or
    coloured faces reads them worse than the faces of a video, which `face_crop` cuts at its own size.

    Raises:
        ValueError: `faces` is of another shape or type.
    """
    if faces.shape[1:] != (SIDE_PX, SIDE_PX) or faces.dtype != np.uint8:
        msg = f"faces: expected (n, {SIDE_PX}, {SIDE_PX}) uint8, found {faces.shape} {faces.dtype}"
        raise ValueError(msg)
    if crop == Crop():
        return faces
    how = cv2.INTER_CUBIC if crop.side_px > SIDE_PX else cv2.INTER_AREA
    out = np.empty((len(faces), *crop.shape), dtype=np.uint8)
    for face, place in zip(faces, out, strict=True):
        grey = cv2.resize(face, (crop.side_px, crop.side_px), interpolation=how)
        place[:] = grey[..., None] if crop.colour else grey
    return out


def _similarity(
    source: F64,
    roll: float,
    scale: float,
    target: F64,
) -> F64:
    """(2, 3) matrix for warpAffine: turns by -roll, scales, and brings `source` to `target`.

    Meshes measure from the corner of the picture, warpAffine from the centre of its first pixel: half a pixel.
    """
    cos, sin = np.cos(roll) * scale, np.sin(roll) * scale
    linear = np.array([[cos, sin], [-sin, cos]])
    offset = (target - 0.5) - linear @ (source - 0.5)
    return np.hstack([linear, offset[:, None]])


class OnnxPixelModel:
    """Implements `PixelModel` with a network of the manifest.

    Args:
        name: The model's name in the manifest.
        folder: Where manifest and files lie.
        n_threads: Threads within one operator, at least 1.

    Raises:
        ModelError: See `ExpressionSession`; or the model is not one for pictures.
    """

    def __init__(self, name: str = "pixel", *, folder: Path = WEIGHTS, n_threads: int = 1) -> None:
        entry = find_entry(name, folder)
        if entry.kind != "pixel":
            msg = f"model {name!r} reads {entry.kind}s; choose one of kind pixel"
            raise ModelError(msg)
        self._session = ExpressionSession(folder=folder, entry=entry, n_threads=n_threads)

    @property
    def version(self) -> str:
        """Name and version, such as `pixel-1.0`."""
        return self._session.entry.version

    @property
    def sha256(self) -> str:
        """Hash of the ONNX file, 64 hexadecimal digits."""
        return self._session.entry.sha256

    @property
    def crop(self) -> Crop:
        """48 px, grey."""
        return Crop()

    @property
    def entry(self) -> ModelEntry:
        """What the manifest says of this model."""
        return self._session.entry

    def predict(self, faces: U8) -> Expressions:
        """What (n, 48, 48) uint8 grey face crops express.

        Raises:
            ValueError: `faces` is of another shape or type.
        """
        return self._session.run(faces)
