"""Boxes on a picture: their areas, what they share, and the rows and columns they stand in."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from pipeline.emotions import F64
from pipeline.page import Bools, Span
from pipeline.types import Box

SLACK: Final = 0.06
"""A tile may reach out of its region by this share of its side."""
WITHIN: Final = 0.9
"""A box lies in another with at least this share of it."""
SAME_PLACE: Final = 0.85
"""Overlap from which on two boxes are one place, but for a few pixels, such as a speaker's border."""
OVERLAP_MAX: Final = 0.04
"""Tiles may overlap by this share of their width or height."""


def area(box: Box) -> int:
    """Pixels of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def covered(box: Box, by: Sequence[Box]) -> float:
    """Share of a box that lies in other boxes that do not overlap each other."""
    shared = 0
    for other in by:
        width, height = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
        shared += max(0, width) * max(0, height)
    return shared / max(1, area(box))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / (area(a) + area(b) - inter)


def same_layout(a: Sequence[Box], b: Sequence[Box]) -> bool:
    """Whether two layouts are the same but for a few pixels, such as a speaker's border."""
    return len(a) == len(b) and all(iou(x, y) >= SAME_PLACE for x, y in zip(a, b, strict=True))


def shares(boxes: Sequence[Box], by: Sequence[Box]) -> F64:
    """(n,) float64: for each of n boxes the share that lies in others, which do not overlap each other."""
    x0, y0, x1, y1 = np.array(boxes, dtype=np.int64).reshape(-1, 4).T[:, :, None]
    a0, b0, a1, b1 = np.array(by, dtype=np.int64).reshape(-1, 4).T[:, None]
    across, down = np.minimum(x1, a1) - np.maximum(x0, a0), np.minimum(y1, b1) - np.maximum(y0, b0)
    shared = (np.maximum(across, 0) * np.maximum(down, 0)).sum(axis=1)
    return np.asarray(shared / np.maximum(1, (x1 - x0) * (y1 - y0))[:, 0])


def hull_of(boxes: Sequence[Box]) -> Box:
    """The smallest box around boxes."""
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def in_order(tiles: Sequence[Box]) -> tuple[Box, ...]:
    """Tiles row by row, each row from the left: a row begins below the middle of the one before."""
    ordered: list[Box] = []
    rest = sorted(tiles, key=lambda box: (box[1], box[0]))
    while rest:
        middle = rest[0][1] + min(box[3] - box[1] for box in rest) / 2
        row = [box for box in rest if box[1] < middle]
        ordered += sorted(row)
        rest = rest[len(row) :]
    return tuple(ordered)


def in_line(boxes: Sequence[Box]) -> bool:
    """Whether boxes stand in one row or in one column."""
    return any(max(box[side] for box in boxes) < min(box[side + 2] for box in boxes) for side in (0, 1))


def disjoint(boxes: Sequence[Box]) -> bool:
    """Whether no two boxes overlap by more than a dark bar at the side of one may have been cut too wide."""
    x0, y0, x1, y1 = np.array(boxes, dtype=np.int64).T
    across = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
    down = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
    over = (across > OVERLAP_MAX * (x1 - x0)) & (down > OVERLAP_MAX * (y1 - y0))
    return int(over.sum()) == len(boxes)


def part_of(box: Box, axis: int, span: Span) -> Box:
    """The part of a box between two rows (axis 1) or columns (axis 0)."""
    x0, y0, x1, y1 = box
    return (x0, span[0], x1, span[1]) if axis == 1 else (span[0], y0, span[1], y1)


def line_of(box: Box, axis: int, at: int) -> Box:
    """A line along the side of a box: a row (axis 1) or a column (axis 0)."""
    return part_of(box, axis, (at, at + 1))


def lie_in(boxes: Sequence[Box], others: Sequence[Box]) -> bool:
    """Whether each box lies in one of the others, but for a tenth of it."""
    return all(any(covered(box, [other]) >= WITHIN for other in others) for box in boxes)


def runs(line: Bools) -> list[Span]:
    """Spans of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def usual(starts: list[int], near: float) -> dict[int, int]:
    """For each start the commonest of those near it: a tile with a dark side begins where the others of its column do."""
    return {
        start: max(sorted(starts), key=lambda other: (abs(other - start) <= near, starts.count(other)))
        for start in starts
    }


def all_starts(starts: list[int], step: float, side: int, span: Span) -> list[int]:
    """Where tiles can begin within a span: the known starts, between them, and steps beyond them."""
    kept: list[int] = []
    for start in sorted(starts):
        if not kept or start - kept[-1] > step / 2:
            kept.append(start)
    between = [
        round(a + i * (b - a) / round((b - a) / step))
        for a, b in pairwise(kept)
        for i in range(1, round((b - a) / step))
    ]
    slack = SLACK * side
    before = [max(0, round(kept[0] - k * step)) for k in range(1, 1 + max(0, int((kept[0] - span[0] + slack) / step)))]
    room = span[1] + slack - side - kept[-1]
    after = [round(kept[-1] + k * step) for k in range(1, 1 + max(0, int(room / step)))]
    return sorted([*kept, *between, *before, *after])
