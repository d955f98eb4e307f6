"""Explanations of a picture of a video wall: how it was cut, what tiles were made of it, which is the better one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from pipeline.boxes import SAME_PLACE, area, covered, hull_of, iou, lie_in
from pipeline.types import Box

CLEARLY: Final = 0.01
"""An explanation is better than another from this difference in score on."""
FINER: Final = 0.05
"""And from this on where its tiles hold all of the other's."""
MORE: Final = 1.15
"""What joins two halves of a tile is so many times as large as the larger of them."""


@dataclass(frozen=True, slots=True)
class GallerySettings:
    """How tiles are told from the page they are drawn on.

    page_tolerance: largest difference of a channel (0-255) from the page's colour that is still page.
    page_share: share of a line's pixels that must be page, roughly, for the line to be gutter.
    gutter_min_px: narrowest gutter.
    gutter_max: widest gutter between two tiles, as a share of the picture's longer side.
    tile_min_px: smallest side of a tile; nor is a tile lower than 8 % of the picture or narrower than 5 %.
    size_tolerance: how far equal tiles may differ in width or height, as a share of the larger.
    aspect_min, aspect_max: width / height of a tile.
    max_tiles: a grid of more tiles is a pattern, not a call.
    contrast_min: a picture whose channels spread less than this (0-255) shows nothing, no tile at all.
    hold: how many looks in a row must agree on a better layout before it replaces one that still fits.
    """

    page_tolerance: int = 6
    page_share: float = 0.93
    gutter_min_px: int = 2
    gutter_max: float = 0.08
    tile_min_px: int = 24
    size_tolerance: float = 0.08
    aspect_min: float = 0.4
    aspect_max: float = 2.6
    max_tiles: int = 49
    contrast_min: float = 12.0
    hold: int = 3


DEFAULT_GALLERY: Final = GallerySettings()


@dataclass(frozen=True, slots=True)
class Node:
    """A region of the picture and what gutters cut it into; a leaf has no parts."""

    box: Box
    parts: tuple["Node", ...] = ()

    def leaves(self) -> list[Box]:
        """Boxes that are not cut any further."""
        return [box for part in self.parts for box in part.leaves()] if self.parts else [self.box]

    def pairs(self) -> list[tuple[Box, Box]]:
        """The largest leaves of regions right beside each other."""
        largest = [max(part.leaves(), key=area) for part in self.parts]
        beside = list(pairwise(largest))
        return beside + [pair for part in self.parts for pair in part.pairs()]


@dataclass(frozen=True, slots=True)
class Wall:
    """An explanation of a picture: tiles, and a big region beside them that may be a shared screen.

    score: in [0, 1]. whole_main: the big region is of one piece. camera_main: it may be a camera's: of somebody in the
    dark the rest is as dark as the page.
    regular: the tiles stand in equal cells.
    """

    tiles: tuple[Box, ...]
    main: Box | None
    score: float
    whole_main: bool = True
    camera_main: bool = True
    regular: bool = False


def alike(boxes: Sequence[Box], tolerance: float) -> list[list[Box]]:
    """Boxes of equal size, and boxes that are equally high or wide; each group once."""
    groups: list[list[Box]] = []
    sides = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    sizes = sides[:, 2:] - sides[:, :2]
    most = np.maximum(sizes[:, None], sizes[None])
    same = np.abs(sizes[:, None] - sizes[None]) <= np.maximum(3, tolerance * most)
    for i in np.argsort(-sizes.prod(axis=1), kind="stable").tolist():
        for chosen in (same[i].all(axis=1), same[i, :, 1], same[i, :, 0]):
            group = [boxes[k] for k in np.flatnonzero(chosen)]
            if group not in groups:
                groups.append(group)
    return groups


def is_more(pair: Sequence[Box]) -> bool:
    """Whether two boxes together are more than a box and what compression left of its border."""
    return area(hull_of(pair)) >= MORE * max(map(area, pair))


def to_beat(best: Wall | None, wall: Wall) -> float:
    """The score above which an explanation is better than the best so far."""
    if best is None:
        return -1.0
    if goes_on(wall, best):
        return best.score + FINER
    if wall.main is None and best.main is not None:
        # A grid in place of a big region needs to be no more than better: it explains what the region shows.
        return best.score - (FINER if goes_on(best, wall) else 0.0)
    if wall.main == best.main and wall.regular and len(wall.tiles) > len(best.tiles) and lie_in(wall.tiles, best.tiles):
        # Nor do tiles have tiles in them.
        return best.score - FINER
    if wall.main == best.main and best.regular and len(wall.tiles) < len(best.tiles) and lie_in(best.tiles, wall.tiles):
        return best.score + FINER
    return best.score + CLEARLY


def goes_on(wall: Wall, grid: Wall) -> bool:
    """Whether the tiles beside a big region are some of a grid, which leaves no such region."""
    if wall.main is None or grid.main is not None or not grid.regular or len(grid.tiles) <= len(wall.tiles):
        return False
    # They lie in tiles of their size: larger tiles would explain what is in them as a part of somebody.
    return all(any(iou(tile, other) >= SAME_PLACE for other in grid.tiles) for tile in wall.tiles)


def around(node: Node, boxes: list[Box]) -> list[Box]:
    """Regions of the tree that hold all boxes, the smallest first."""
    for part in node.parts:
        if all(covered(box, [part.box]) >= 0.99 for box in boxes):  # noqa: PLR2004 (parts do not overlap)
            return [*around(part, boxes), node.box]
    return [node.box]


def apart(main: Box, grid: list[Box]) -> bool:
    """Whether a big region lies beside all tiles of a grid."""
    return all(covered(box, [main]) <= 0.05 for box in grid)  # noqa: PLR2004 (a border may overlap)
