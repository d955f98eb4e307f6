"""What a webcam does to a face: the distortions the pixel model is trained with."""

from typing import Final

import cv2
import numpy as np

from pipeline.types import U8

CROP: Final = 44
"""Side in px of what the network sees of a 48 px picture: the centre when it is used."""

_MIDDLE: Final = 23.5


def distorted(picture: U8, rng: np.random.Generator, *, share: float = 0.2) -> U8:
    """A (44, 44) uint8 picture of the same face as on the (48, 48) one, as another camera might show it.

    Mirrored half of the time; turned by up to 15 degrees, scaled by 0.87 to 1.15 and shifted by up to 4 px;
    then brightness, contrast and low light; then, each in this share of the pictures, blur, fewer pixels, JPEG
    blocks and sensor noise, and, in three quarters of it, something held before the face.
    """
    framed = _reframed(picture, rng)
    lit = _relit(framed, rng)
    return _covered(_degraded(lit, rng, share=share), rng, share=0.75 * share)


def other_views(pictures: U8, *, seed: int) -> tuple[U8, U8]:
    """(n, 48, 48) uint8 pictures in two more ways in which the landmark model learns them.

    Mirrored, in which the finder does not see quite the mirror image; and as a poor webcam shows them, half of them
    mirrored: the finder errs there in its own way, and the model learns what not to rely on.
    """
    worn = []
    for row, picture in enumerate(pictures):
        rng = np.random.default_rng([seed, row])
        seen = picture[:, ::-1] if rng.random() < 0.5 else picture  # noqa: PLR2004 (a fair coin)
        worn.append(_degraded(_relit(seen, rng), rng, share=0.5))
    return np.ascontiguousarray(pictures[:, :, ::-1]), np.stack(worn)


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


def _degraded(picture: U8, rng: np.random.Generator, *, share: float) -> U8:
    """Blur, fewer pixels, JPEG blocks and noise, each in this share of the pictures."""
    blur, fewer, jpeg, noise = rng.random(4) < share
    if blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.3)), dtype=np.uint8)
    if fewer:
        side = int(rng.integers(20, 40))
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(small, picture.shape, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if jpeg:
        done, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])
        if done:
            picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    if noise:
        grain = rng.normal(0, rng.uniform(2, 10), size=picture.shape)
        picture = (picture + grain).clip(0, 255).astype(np.uint8)
    return picture


def _covered(picture: U8, rng: np.random.Generator, *, share: float) -> U8:
    """A rectangle of 8 to 21 px a side before the face, of one grey level or of noise, in this share of the pictures."""
    if rng.random() >= share:
        return picture
    sides = rng.integers(8, 22, size=2)
    top, left = rng.integers(0, CROP - sides + 1)
    level = rng.integers(0, 256) if rng.random() < 0.5 else rng.integers(0, 256, size=sides)  # noqa: PLR2004
    picture = picture.copy()
    picture[top : top + sides[0], left : left + sides[1]] = level
    return picture
