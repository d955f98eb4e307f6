"""Drawn galleries, and what is asked of them, in tests."""

from itertools import pairwise

import numpy as np
from builders import grid

from pipeline.gallery import (
    GallerySplitter,
    Layout,
    iou,
)
from pipeline.types import U8, Box

BOXES_2X2 = grid(2, 2)
SIZE_2X2 = (204, 344)


def close(found: tuple[tuple[int, ...], ...], truth: list[tuple[int, ...]]) -> bool:
    """Whether every tile of the truth was found, in order, at IoU >= 0.9."""
    return len(found) == len(truth) and all(iou(a, b) >= 0.9 for a, b in zip(found, truth, strict=True))


def strip(n: int = 4, side: str = "right") -> tuple[tuple[int, int], list[Box], Box]:
    """Size of a picture, a strip of `n` tiles of 160 x 90 at the right or at the bottom, and the big region beside."""
    if side == "right":
        height = n * 98 + 8
        return (height, 900), [(732, 8 + i * 98, 892, 98 + i * 98) for i in range(n)], (8, 8, 724, height - 8)
    width = n * 168 + 8
    return (500, width), [(8 + i * 168, 402, 168 + i * 168, 492) for i in range(n)], (8, 8, width - 8, 394)


def slide(image: U8, box: Box, ink: int = 20, paper: int = 250) -> U8:
    """The picture with lines of letters on paper in a box."""
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = paper
    rng = np.random.default_rng(1)
    for y in range(y0 + 20, y1 - 20, 24):
        letters = rng.random((8, (x1 - x0 - 60) // 3)) < 0.5
        image[y : y + 8, x0 + 30 : x0 + 30 + 3 * letters.shape[1]][np.repeat(letters, 3, axis=1)] = ink
    return image


def run(splitter: GallerySplitter, *pictures: U8, start: float = 0.0) -> list[Layout]:
    """The layouts of pictures that come five times a second."""
    return [splitter.update(picture, start + i / 5) for i, picture in enumerate(pictures)]


def stripes(image: U8, box: Box) -> U8:
    """The picture with what has more lines of one colour than the page: fourteen upright stripes."""
    x0, y0, x1, y1 = box
    edges = np.linspace(x0, x1, 15).astype(int).tolist()
    for k, (a, b) in enumerate(pairwise(edges)):
        image[y0:y1, a:b] = (60 + 97 * k % 190, 250 - 53 * k % 190, 90)
    return image
