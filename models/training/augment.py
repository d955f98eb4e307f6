"""What a webcam does to a face: the distortions the pixel model is trained with."""

from typing import Final

import cv2
import numpy as np

from pipeline.types import U8

CROP: Final = 44
"""Side in px of what the network sees of a 48 px picture: the centre when it is used."""

_MIDDLE: Final = 23.5


def distorted(picture: U8, rng: np.random.Generator) -> U8:
    """A (44, 44) uint8 picture of the same face as on the (48, 48) one, as another camera might show it.

    Mirrored half of the time; turned by up to 15 degrees, scaled by 0.87 to 1.15 and shifted by up to 4 px;
    then brightness, contrast and low light; then, each in some of the pictures, blur, fewer pixels, JPEG
    blocks and sensor noise.
    """
    framed = _reframed(picture, rng)
    lit = _relit(framed, rng)
    return _degraded(lit, rng)


def _reframed(picture: U8, rng: np.random.Generator) -> U8:
    turn = float(np.clip(rng.normal(0, np.deg2rad(6)), -np.deg2rad(15), np.deg2rad(15)))
    scale = float(np.exp(rng.uniform(-0.14, 0.14)))
    shift = rng.uniform(-4, 4, size=2)
    flip = -1.0 if rng.random() < 0.5 else 1.0  # noqa: PLR2004 (a fair coin)
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    linear = np.array([[cos * flip, -sin], [sin * flip, cos]])
    centre = np.full(2, _MIDDLE - (48 - CROP) / 2) + shift
    matrix = np.hstack([linear, (centre - linear @ np.full(2, _MIDDLE))[:, None]])
    warped = cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _relit(picture: U8, rng: np.random.Generator) -> U8:
    gamma = float(np.exp(rng.normal(0, 0.25)))
    contrast, brightness = rng.uniform(0.6, 1.3), rng.uniform(-30, 30)
    if rng.random() < 0.1:  # noqa: PLR2004 (a dim room in one of ten pictures)
        contrast, brightness = rng.uniform(0.15, 0.5), rng.uniform(-90, -40)
    level = np.power(np.arange(256) / 255, gamma) * 255
    table = ((level - 127.5) * contrast + 127.5 + brightness).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), dtype=np.uint8)


def _degraded(picture: U8, rng: np.random.Generator) -> U8:
    blur, fewer, jpeg, noise = rng.random(4)
    if blur < 0.2:  # noqa: PLR2004
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.3)), dtype=np.uint8)
    if fewer < 0.2:  # noqa: PLR2004
        side = int(rng.integers(20, 40))
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if jpeg < 0.2:  # noqa: PLR2004
        done, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])
        if done:
            picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    if noise < 0.2:  # noqa: PLR2004
        grain = rng.normal(0, rng.uniform(2, 10), size=picture.shape)
        picture = (picture + grain).clip(0, 255).astype(np.uint8)
    return picture
