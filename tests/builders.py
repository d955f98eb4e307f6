"""Short ways to write distributions, readings and pictures in tests."""

import numpy as np

from pipeline.emotions import EMOTIONS, F64
from pipeline.types import U8, Box, FaceReading, FusedReading, SecondReading


def p(**shares: float) -> F64:
    """A distribution by class name; what is left over goes to neutral."""
    vector = np.array([shares.get(name, 0.0) for name in EMOTIONS])
    vector[-1] += 1.0 - vector.sum()
    return vector


def face(participant: str, time_s: float, pixel: F64, landmark: F64 | None = None, quality: float = 1.0) -> FaceReading:
    """One face in one frame."""
    return FaceReading(participant, time_s, quality, pixel, landmark)


def arms(participant: str, second: int, pixel: F64 | None, landmark: F64 | None = None) -> SecondReading:
    """One participant in one second; None is absence."""
    if pixel is None:
        return SecondReading(participant, second, 0, 0.0, None, None, None)
    return SecondReading(participant, second, 5, 1.0, 0.9, pixel, landmark)


def fused(participant: str, second: int, probabilities: F64 | None) -> FusedReading:
    """A fused reading; None is absence."""
    return FusedReading(arms(participant, second, probabilities), 0.5, 0.5, probabilities, abstain=False)


def wall(size: tuple[int, int], boxes: list[Box], page: int = 20, seed: int = 0) -> U8:
    """A (height, width, 3) picture of a video wall: noise of differing brightness in the boxes, page elsewhere."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), page, dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        base = rng.integers(70, 200)
        image[y0:y1, x0:x1] = rng.integers(base - 40, base + 40, (y1 - y0, x1 - x0, 3))
    return image


def grid(columns: int, rows: int, tile: tuple[int, int] = (160, 90), gutter: int = 8) -> list[Box]:
    """Boxes of a regular grid with a margin as wide as its gutters."""
    width, height = tile
    return [
        (
            gutter + c * (width + gutter),
            gutter + r * (height + gutter),
            gutter + c * (width + gutter) + width,
            gutter + r * (height + gutter) + height,
        )
        for r in range(rows)
        for c in range(columns)
    ]
