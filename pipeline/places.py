"""Where tiles are on the wall, whatever the picture's resolution, and which place of before one of them is."""

import numpy as np

from pipeline.boxes import SAME_PLACE, WITHIN, area, covered, iou
from pipeline.emotions import F64
from pipeline.types import Box

WALL = 10_000
"""Width and height of the picture on which places are kept: a change of resolution is no re-flow."""
CUT_ANEW = 0.5
"""Overlap from which on a rectangle is another way to cut out the same tile."""
PART, PART_IOU = 0.75, 0.02
"""What the picture at the old place is worth to a part of it, or to what it is a part of, as a tile was split or two were joined; the overlap breaks ties."""


def same_places(boxes: list[Box], before: list[Box]) -> list[int] | None:
    """For each box which one of those before is at its place; None where the layout is another."""
    if len(boxes) != len(before):
        return None
    order = []
    for i, box in enumerate(boxes):
        # Tiles nearly always come in the order they came in before.
        found = next((j for j in (i, *range(len(before))) if iou(box, before[j]) >= SAME_PLACE), None)
        if found is None:
            return None
        order.append(found)
    return order if len(set(order)) == len(order) else None


def nearness(boxes: list[Box], before: list[Box]) -> F64:
    """(boxes, before) in [0, 1]: half of it overlap, half how short the way is across the wall."""
    ways = [[(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) for b in before] for a in boxes]
    short = 1 - np.hypot(*np.moveaxis(np.array(ways), -1, 0)) / (3 * WALL)
    overlaps = np.array([[iou(a, b) for b in before] for a in boxes])
    return np.asarray((overlaps + short) / 2, dtype=np.float64)


def overlap(box: Box, before: Box) -> float:
    """1 where both are about one place, less where one is a part of the other, 0 elsewhere."""
    both = iou(box, before)
    if both >= CUT_ANEW:
        return 1.0
    smaller, larger = sorted((box, before), key=area)
    return PART + PART_IOU * both if covered(smaller, [larger]) >= WITHIN else 0.0


def on_wall(box: Box, size: tuple[int, int]) -> Box:
    """The box on a picture of `WALL` x `WALL`."""
    x0, y0, x1, y1 = (round(WALL * side / size[i % 2]) for i, side in enumerate(box))
    return x0, y0, x1, y1


def on_picture(box: Box, size: tuple[int, int]) -> Box:
    """A box of the wall on a picture of that size; one pixel or more."""
    x0, y0, x1, y1 = (round(side * size[i % 2] / WALL) for i, side in enumerate(box))
    x0, y0 = min(x0, size[0] - 1), min(y0, size[1] - 1)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)
