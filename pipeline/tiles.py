"""One picture of a video wall → its tiles: the picture is cut along its gutters, and the cells are put in order.

Cutting alone misses tiles that are as dark as the page; so what was cut is explained as a grid of equal tiles, or
as a big region beside such a grid, and the cells that the grid asks for are looked at again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.boxes import WITHIN, area, covered, disjoint, hull_of, in_line, lie_in, part_of, shares
from pipeline.cells import OBVIOUS, Cells, aligned
from pipeline.grids import complete, support
from pipeline.page import ACCENT_MAX_PX, PageMask
from pipeline.types import Box
from pipeline.walls import GallerySettings, Wall, alike, apart, around, to_beat

LEFT_OVER: Final = 0.3
"""What shows beside a grid and is smaller than this part of a tile is nothing."""
SUPPORT: Final = 0.55
"""A grid explains a region from here on."""
MAIN: Final = 1.5
"""The big region beside a strip is at least so many tiles large."""
COVER: Final = 0.15
"""How much it counts that an explanation covers more of the picture: little."""
LONELY: Final = 0.4
"""One tile can be found on any page; it takes two that stand free of each other to make a wall."""
REGULAR: Final = 1.2
"""Tiles that are all equal are no accident."""
REGULAR_STRIP: Final = 1.1
"""The same beside a big region."""
UNEVEN_STRIP: Final = 0.85
"""Beside a big region tiles of several sizes stand in one row or column, or this is no strip."""
MISSED: Final = 0.3
"""Clear tiles that an explanation leaves out count so much against it,"""
MISSED_FROM: Final = 0.75
"""as those do of which it has less than this share."""
SCATTERED: Final = 0.6
"""How far a big region that is cut into pieces counts as evident: slides are."""
MOSTLY: Final = 0.6
"""A piece that takes so much of a big region is what it shows."""
HALF: Final = 0.5
"""A line of a big region is not page on more than this share."""
HANG_PX: Final = 4
"""Tiles that hang together are as long as so many with their gutters, but for so much."""
NEXT_LINE: Final = 0.04
"""Lines of a shared page are no further apart than this share of the picture's height."""
GROUPS_MAX: Final = 8
"""So many sizes of tiles are tried, the largest total area first."""


class Search:
    """The search for tiles in one picture on one page."""

    def __init__(self, mask: PageMask, settings: GallerySettings) -> None:
        self.cells = Cells(mask, settings)

    def best(self) -> Wall | None:
        """The best explanation of the picture; None where it shows no tile on this page."""
        best: Wall | None = None
        for group in self._groups():
            for wall in self._walls(group):
                if wall.score > to_beat(best, wall) and disjoint(wall.tiles):
                    best = wall
        return best

    def _score(self, tiles: Sequence[Box], main: Box | None, *, whole_main: bool, regular: bool) -> float:
        """How well tiles and a big region beside them explain the picture, in [0, 1].

        Their edges are clear, and what is neither of them is page. `whole_main`: the big region is of one piece.
        `regular`: the tiles stand in equal cells, which some may not fill. Where a tile shows nothing but page: not at all.
        """
        if any(map(self.cells.is_page, tiles)):
            return 0.0
        height, width = self.cells.mask.size
        boxes = [*tiles, *([main] if main else [])]
        total = sum(map(area, boxes))
        regular = regular and len(tiles) > 1
        clear = sum(area(box) * (self.cells.expected(box) if regular else self.cells.evidence(box)) for box in tiles)
        if main:
            # A shared page with lines of the gallery's colour is cut into pieces, but its outline is clear.
            clear += area(main) * max(self.cells.evidence(main), 0.0 if whole_main else SCATTERED)
        form = LONELY if len(boxes) == 1 else 1.0
        if regular:
            form = REGULAR if main is None else REGULAR_STRIP
        elif main and not in_line(tiles):
            form = UNEVEN_STRIP
        cover = float(min(1.0, total / (height * width)) ** COVER)
        missed = int((shares(self.cells.sound, boxes) < MISSED_FROM).sum())
        missed += sum(map(self.cells.n_joined, tiles)) + (self.cells.n_joined(main, equal=True) if main else 0)
        form *= 1 - MISSED * missed / (len(boxes) + missed)
        return clear / total * self.cells.outside(boxes) * cover * form

    def score_again(self, wall: Wall) -> float:
        """How well an explanation of an earlier picture explains this one, in [0, 1]."""
        return self._score(wall.tiles, wall.main, whole_main=wall.whole_main, regular=wall.regular)

    def again(self, wall: Wall) -> Wall:
        """The tiles of an earlier picture and what is beside them in this one, with the score of that."""
        whole = replace(wall, tiles=tuple(self._without_border(wall.tiles)) if wall.regular else wall.tiles)
        beside = self._with_main(list(whole.tiles), regular=wall.regular) if wall.main else None
        walls = [replace(whole, score=self.score_again(whole)), *([beside] if beside else [])]
        # The same layout keeps its boxes.
        return replace(max(walls, key=lambda wall: wall.score), tiles=wall.tiles)

    def _without_border(self, tiles: Sequence[Box]) -> Iterator[Box]:
        """Equal tiles, each as large as its row and its column where it was cut along the border around who spoke."""
        for box in tiles:
            sides = list(box)
            for axis in (0, 1):
                line = [other for other in tiles if aligned(other, box, 1 - axis)]
                for side, largest in ((axis, min), (axis + 2, max)):
                    edge = largest(other[side] for other in line)
                    sides[side] = edge if abs(edge - box[side]) <= ACCENT_MAX_PX else box[side]
            whole = (sides[0], sides[1], sides[2], sides[3])
            yield whole if self.cells.evidence(whole) > self.cells.evidence(box) else box

    def _groups(self) -> list[list[Box]]:
        """Boxes of equal size, and boxes that are equally high or wide, the largest total area first."""
        groups = alike(self.cells.sound, self.cells.settings.size_tolerance)
        if self.cells.joined:
            whole = [
                box
                for box in self.cells.sound
                if not any(covered(box, [joined]) >= WITHIN for joined in self.cells.joined)
            ]
            groups += [
                group
                for group in alike([*whole, *self.cells.joined], self.cells.settings.size_tolerance)
                if group not in groups
            ]
        groups.sort(key=lambda group: -sum(map(area, group)))
        return groups[:GROUPS_MAX]

    def _walls(self, group: list[Box]) -> list[Wall]:
        """Explanations in which these boxes are tiles of one grid."""
        grids = [group]
        regular = all(self.cells.same(box, group[0], side) for box in group for side in (0, 1))
        if regular:
            for region in self._regions(group):
                grid = complete(self.cells, region, group)
                if grid and grid not in grids and support(self.cells, region, grid) >= SUPPORT:
                    grids.append(grid)
        half = any(group[0] != box and lie_in(group, [box]) for box in self.cells.joined)
        if len(group) == 1 and half and self.cells.evidence(group[0]) < OBVIOUS:
            # Nothing says that half a tile is a whole one.
            grids.remove(group)
        walls = (self._with_main(grid, regular=regular) for grid in grids if len(grid) <= self.cells.settings.max_tiles)
        return [wall for wall in walls if wall is not None]

    def _regions(self, group: list[Box]) -> list[Box]:
        """Regions of the tree that hold all boxes, the smallest first, and the column or row that these stand in.

        A gutter that goes on in what is shared beside a strip cuts the strip apart: then the tree has no such region.
        """
        regions = around(self.cells.root, group)
        _, top, width, bottom = self.cells.mask.stage
        hull = hull_of(group)
        for axis, band in ((0, part_of(hull, 1, (top, bottom))), (1, part_of(hull, 0, (0, width)))):
            if band not in regions and all(aligned(box, group[0], 1 - axis) for box in group):
                regions.append(band)
        return regions

    def _with_main(self, grid: list[Box], *, regular: bool) -> Wall | None:
        """The grid alone, or with what is left as a big region beside it; None where that is none."""
        left = self._left_over(grid)
        if not left:
            return Wall(tuple(grid), None, self._score(grid, None, whole_main=True, regular=regular), regular=regular)
        main = hull_of(left)
        if not apart(main, grid):
            # Letters and specks between the tiles are no part of what lies beside them.
            least, hull = LEFT_OVER * max(map(area, grid)), [hull_of(grid)]
            left = [box for box in left if area(box) >= least and covered(box, hull) <= 0.05]  # noqa: PLR2004
            main = hull_of(left or grid)
        if area(main) < MAIN * max(map(area, grid)) or not apart(main, grid):
            return None
        if len(left) > 1 and area(main) < area(hull_of(grid)) and self._is_strip(left):
            # Nobody shares a row of equal pictures: the row is the strip, and the grid is on the page that is shared.
            return None
        level = any(self.cells.same(main, box, side) for box in grid for side in (0, 1))
        if level and (len(left) > 1 or self._hangs(main, grid)):
            # As high or as wide as a tile, and in pieces or as long as several: a row or column of the grid.
            return None
        # What is shared is cut into lines; of somebody in the dark what shows reaches from top to bottom.
        upright = sum(area(box) for box in left if self.cells.same(box, main, 1))
        mostly = max(upright, *map(area, left)) >= MOSTLY * area(main)
        walls = []
        to_the_edge = self._to_the_edge(main)
        for whole in dict.fromkeys((main, to_the_edge if apart(to_the_edge, grid) else main)):
            one = len(left) == 1 and whole == main
            score = self._score(grid, whole, whole_main=one, regular=regular)
            walls.append(Wall(tuple(grid), whole, score, one, mostly, regular))
        return max(walls, key=lambda wall: wall.score)

    def _hangs(self, main: Box, grid: list[Box]) -> bool:
        """Whether a region in line with equal tiles is as long as some of them with their gutters: these hang together."""
        for axis in (0, 1):
            side = round(float(np.median([box[axis + 2] - box[axis] for box in grid])))
            ways = [b[axis] - a[axis] for a in grid for b in grid if b[axis] - a[axis] >= side]
            if ways and all(aligned(box, main, axis) for box in grid):
                n, over = divmod(main[axis + 2] - main[axis] + min(ways) - side + HANG_PX, min(ways))
                if n > 1 and over <= 2 * HANG_PX:
                    return True
        return False

    def _to_the_edge(self, main: Box) -> Box:
        """A big region with what shows right above and below it where tool bars are: lines of a shared page."""
        near = NEXT_LINE * self.cells.mask.size[0]
        main = self._between_lines(main)
        for box in sorted(self.cells.leaves, key=lambda box: abs(box[1] + box[3] - main[1] - main[3])):
            gap = max(box[1] - main[3], main[1] - box[3])
            if self.cells.is_bar(box) and main[0] <= box[0] and box[2] <= main[2] and 0 <= gap <= near:
                main = hull_of([main, box])
        return main

    def _between_lines(self, main: Box) -> Box:
        """A big region with what is nearly of the page's colour right above and below it, up to the next line of page."""
        x0, y0, x1, y1 = main
        _, top, _, bottom = self.cells.mask.stage
        page = self.cells.mask.share((x0, top, x1, bottom), 1) >= HALF
        above, below = np.flatnonzero(page[: y0 - top]), np.flatnonzero(page[y1 - top :])
        return x0, top + int(above[-1]) + 1 if len(above) else y0, x1, y1 + int(below[0]) if len(below) else y1

    def _is_strip(self, boxes: list[Box]) -> bool:
        """Whether boxes are clear tiles of one size in one row or column."""
        equal = all(self.cells.same(box, boxes[0], side) for box in boxes for side in (0, 1))
        return equal and in_line(boxes) and all(box in self.cells.sound for box in boxes)

    def _left_over(self, grid: list[Box]) -> list[Box]:
        """What shows beside a grid: not tool bars, nor names below tiles, nor specks between them."""
        height = self.cells.mask.size[0]
        largest, hull = max(map(area, grid)), hull_of(grid)
        left = []
        for box, share in zip(self.cells.leaves, shares(self.cells.leaves, grid).tolist(), strict=True):
            x0, y0, x1, y1 = box
            if share >= 0.5 or self.cells.is_bar(box) or min(x1 - x0, y1 - y0) < 6:  # noqa: PLR2004
                continue
            above = (x0, y0 - round(0.04 * height), x1, y0)
            name = y1 - y0 <= 0.05 * height and covered(above, grid) > 0.1  # noqa: PLR2004
            if not name and (area(box) >= LEFT_OVER * largest or covered(box, [hull]) < 0.5):  # noqa: PLR2004
                left.append(box)
        worth = sum(map(area, left)) >= LEFT_OVER * largest or any(box in self.cells.sound for box in left)
        return left if worth else []
