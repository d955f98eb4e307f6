"""Worse cameras, light and views: the same pictures degraded in a fixed way, to see what a model loses by it.

Each condition is the same for every run, so that figures can be compared. Unlike `models.training.augment`, which
draws at random while a model is trained, it is meant for measuring.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from models.errors import DataError
from pipeline.types import U8

BLUR_SIGMA_PX: Final = 1.5
JPEG_QUALITY: Final = 15
NOISE_SIGMA: Final = 15.0
TURN_DEG: Final = 20.0

AS_IS: Final = "as-is"
"""What the pictures themselves are called beside the conditions, where they are measured like these."""

MOUTH: Final = (10, 31, 38, 46)
EYES: Final = (4, 12, 44, 25)
"""x0, y0, x1, y1 in px of the 48 px picture: hides the part in nearly every picture framed as FER2013's are.

Of the meshes of FER2013 PublicTest the mouth lies between 12.8 and 35.7 px across and 29.9 and 44.5 px down, the eyes
between 8.1 and 40.3 px and 10.9 and 24.4 px (10th percentile of the one end, 90th of the other).
"""

_LEVELS: Final = np.arange(256) / 255
_DIM: Final = np.round(255 * 0.4 * _LEVELS**1.5).astype(np.uint8)
_GLARING: Final = np.round((255 * 1.2 * _LEVELS**0.7).clip(0, 255)).astype(np.uint8)
_MIDDLE: Final = (23.5, 23.5)


def degraded(images: U8, condition: str) -> U8:
    """(n, 48, 48) uint8 grey pictures under a condition, one of `CONDITIONS`.

    Raises:
        KeyError: There is no such condition.
    """
    change = CONDITIONS[condition]
    result = np.empty_like(images)
    for row, picture in enumerate(images):
        result[row] = change(picture, row)
    return result


def check_conditions(names: Iterable[str]) -> None:
    """Nothing, where every name is one of `CONDITIONS`.

    Raises:
        DataError: A name is not.
    """
    for name in names:
        if name not in CONDITIONS:
            msg = f"no condition {name!r}; choose from {', '.join(CONDITIONS)}"
            raise DataError(msg)


def _fewer_pixels(side: int) -> Callable[[U8, int], U8]:
    def change(picture: U8, _row: int) -> U8:
        """As from a face of that many pixels: averaged over the area of each, and enlarged again."""
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, picture.shape, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)

    return change


def _dark(picture: U8, _row: int) -> U8:
    """A dim room: 0.4 of the light, and what is dark even darker (gamma 1.5)."""
    return np.asarray(_DIM[picture])


def _bright(picture: U8, _row: int) -> U8:
    """Too much light: gamma 0.7 and a gain of 1.2, with which three quarters of white are white."""
    return np.asarray(_GLARING[picture])


def _blurred(picture: U8, _row: int) -> U8:
    """Out of focus: Gaussian."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), BLUR_SIGMA_PX), dtype=np.uint8)


def _jpeg(picture: U8, _row: int) -> U8:
    """The blocks of strong compression."""
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _noise(picture: U8, row: int) -> U8:
    """A sensor in the dark: normal noise, of its own seed in every row."""
    grain = np.random.default_rng(row).normal(0, NOISE_SIGMA, size=picture.shape)
    return np.round(picture + grain).clip(0, 255).astype(np.uint8)


def _turned(picture: U8, row: int) -> U8:
    """A tilted head: anticlockwise in even rows, clockwise in odd ones."""
    matrix = cv2.getRotationMatrix2D(_MIDDLE, TURN_DEG if row % 2 == 0 else -TURN_DEG, 1)
    warped = cv2.warpAffine(picture, matrix, picture.shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _occluded(box: tuple[int, int, int, int]) -> Callable[[U8, int], U8]:
    x0, y0, x1, y1 = box

    def change(picture: U8, _row: int) -> U8:
        """Hidden behind a plain thing as bright as the picture is on average."""
        hidden = picture.copy()
        hidden[y0:y1, x0:x1] = round(float(picture.mean()))
        return hidden

    return change


def _mirrored(picture: U8, _row: int) -> U8:
    """Left is right: a model should not care."""
    return picture[:, ::-1]


CONDITIONS: Final[Mapping[str, Callable[[U8, int], U8]]] = MappingProxyType(
    {
        "24px": _fewer_pixels(24),
        "16px": _fewer_pixels(16),
        "dark": _dark,
        "bright": _bright,
        "blurred": _blurred,
        "jpeg": _jpeg,
        "noise": _noise,
        "turned": _turned,
        "occluded-mouth": _occluded(MOUTH),
        "occluded-eyes": _occluded(EYES),
        "mirrored": _mirrored,
    }
)
"""What makes a picture of one, given its row, by the name that `--condition` takes."""
