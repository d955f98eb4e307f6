"""What is written at the lower edge of a tile, or right below it, as strokes: whether two pictures have it in common.

Nothing is read. A name stands still while people move, and another one has its strokes elsewhere. Constants: chosen on 29
drawn meetings (decisions/0011).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.types import U8, Box

Strokes = NDArray[np.int16]

INSIDE: Final = 0.22
"""Names stand in this lowest part of a tile's height,"""
BELOW: Final = 0.2
"""or within this part of it below the tile."""
EDGE_PX: Final = 4
"""The border around who speaks is no part of a name."""
NEAR_PX: Final = 4
"""A stroke differs from the mean of what is so many pixels around it,"""
STROKE: Final = 30
"""by so many levels (of 255)."""
STEADY: Final = 14
"""It stands still where that has changed by no more levels from picture to picture."""
STROKES_MIN: Final = 20
"""So many pixels of strokes say something."""
WIDE_PX: Final = 640
"""Of tiles wider than this every second pixel is looked at, every third beyond twice this, and so on."""


def strokes_of(image: U8, tile: Box) -> Strokes:
    """(n,) int16: how far the green of each pixel at the lower edge of a tile, and below it, is from the mean around it.

    Of an (H, W, 3) uint8 picture; pictures of one size have the same pixels in the same places. Empty where the tile is
    too small for a name, or lies below the picture or beside it.
    """
    x0, y0, x1, y1 = tile
    low, left, right = image.shape[0], x0 + EDGE_PX, min(x1, image.shape[1]) - EDGE_PX
    side = y1 - y0
    bands = [
        (left, y1 - round(INSIDE * side), right, min(low, y1 - EDGE_PX)),
        (left, y1 + EDGE_PX, right, min(low, y1 + round(BELOW * side))),
    ]
    step = -(-(x1 - x0) // WIDE_PX)
    parts = [_detail(image, band, step) for band in bands if band[0] < band[2] and band[1] < band[3]]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)


def _detail(image: U8, box: Box, step: int) -> Strokes:
    x0, y0, x1, y1 = box
    green = image[y0:y1:step, x0:x1:step, 1].astype(np.int32)
    side = 2 * NEAR_PX + 1
    sums = np.pad(np.pad(green, NEAR_PX, mode="edge").cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    means = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) // side**2
    return np.asarray((green - means).ravel(), dtype=np.int16)


def common(before: tuple[Strokes, Strokes], after: tuple[Strokes, Strokes]) -> float | None:
    """How far the strokes that stood still in two pictures are those of two later ones, in [-1, 1]; None: too few.

    What is written over a picture goes on over another one, whose own strokes say nothing: so it is enough where the
    strokes of either are found in the other. Each pair in the order of time.
    """
    if len({part.shape for part in (*before, *after)}) > 1:
        return None
    (first, was), (now, last) = ((a.astype(np.int32), b.astype(np.int32)) for a, b in (before, after))
    stood, stands = np.abs(was - first) <= STEADY, np.abs(last - now) <= STEADY
    old, new = stood & (np.abs(was) >= STROKE), stands & (np.abs(now) >= STROKE)
    if min(old.sum(), new.sum()) < STROKES_MIN:
        return None
    shares = [_alike(was[ink], now[ink]) for ink in (old & stands, new & stood) if ink.sum() >= STROKES_MIN]
    return max(shares, default=None)


def _alike(a: NDArray[np.int32], b: NDArray[np.int32]) -> float:
    """The cosine of two rows of numbers; 0 where either is all 0."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(x @ y) / max(1.0, math.sqrt(float(x @ x) * float(y @ y)))
