"""One picture of a video wall → its tiles: the picture is cut along its gutters, and the cells are put in order.

Cutting alone misses tiles that are as dark as the page; so what was cut is explained as a grid of equal tiles, or
as a big region beside such a grid, and the cells that the grid asks for are looked at again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.boxes import (
    SLACK,
    WITHIN,
    area,
    covered,
    disjoint,
    hull_of,
    in_line,
    lie_in,
    line_of,
    part_of,
    places,
    runs,
    shares,
    usual,
)
from pipeline.emotions import F64
from pipeline.page import ACCENT_MAX_PX, BAR_MAX, Bools, PageMask, Span, within
from pipeline.types import Box
from pipeline.walls import GallerySettings, Node, Wall, alike, apart, around, is_more, to_beat

NEAR_LINE: Final = 0.9
"""Share of a gutter's line that must have exactly the page's colour; the rest is what compression left of it."""
BESIDE: Final = 0.6
"""And of one of the lines beside the only one that is left of a gutter."""
THIN_PX: Final = 8
"""A gutter that compression blurred is at most this wide."""
FULL, LINE_APART, ELSEWHERE = 0.97, 3, 0.5
"""Or it is page on at least the first of it, and so many pixels to either side no more than the last is."""
THIN_APART: Final = 4
"""Such a gutter is nearer to the page than what lies so many pixels beside it:"""
THIN_AROUND, THIN_RARE = 48, 20
"""and than all but so many in a hundred of so many lines around:"""
THIN_DEPTH: Final = 0.85
"""its distance is at most this part."""
DEPTH: Final = 5
"""Cuts within cuts: a strip beside rows of rows needs four."""
FILLED: Final = 0.01
"""A cell of which less than this is not page is empty."""
CELLS_PER_TILE: Final = 7
"""A grid has at most so many cells for each tile that was seen clearly."""
FILLED_BEYOND: Final = 0.25
"""The same for rows above and below what was cut, where names and tool bars are."""
EVIDENT: Final = 0.5
"""A box whose edges are as clear as this is no accident."""
LEFT_OVER: Final = 0.3
"""What shows beside a grid and is smaller than this part of a tile is nothing."""
SUPPORT: Final = 0.55
"""A grid explains a region from here on."""
MAIN: Final = 1.5
"""The big region beside a strip is at least so many tiles large."""
WIDTH_MIN: Final = 0.05
HEIGHT_MIN: Final = 0.08
"""A tile takes at least this share of the picture's width and height."""
AREA_MIN: Final = 0.007
"""And of its area."""
GUTTER_PX: Final = 8
"""The gutter of a grid that shows none."""
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
INSIDE_CELL: Final = 0.9
"""What lies in a cell by this share is part of its tile."""
BORDER_PX: Final = 4
"""So far inside of a tile's edge is at least a part of the border around who speaks."""
CENTRED: Final = 0.12
"""Twice the way from the middle of a cell to that of a narrower tile is at most this share of the cell's width."""
PAGE_BESIDE: Final = 0.95
"""What lies beside a narrow tile in its place in the row is page, but for so much."""
EXPECTED: Final = 0.5
"""A tile that the grid asks for is at least so evident, where it is surrounded by page,"""
EXPECTED_SHOWS: Final = 0.25
"""and shows something on so much of it."""
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
OBVIOUS: Final = 0.9
"""A tile with edges so clear needs no place to be told by."""
NARROWER: Final = 0.85
"""A tile that is less than this part of one of before is another."""
GROUPS_MAX: Final = 8
"""So many sizes of tiles are tried, the largest total area first."""


SLACK_INSIDE: Final = 0.95
"""At least this share of a tile lies inside the picture."""


class Search:
    """The search for tiles in one picture on one page."""

    def __init__(self, mask: PageMask, settings: GallerySettings) -> None:
        self.mask = mask
        self._settings = settings
        self._root = self._cut(mask.stage, DEPTH) or Node(mask.stage)
        self._leaves = self._root.leaves()
        self._known: dict[Box, float] = {}
        self._sound = [box for box in self._leaves if self._is_clear(box)]
        # Of somebody who sits half in the dark the tile was cut in two.
        halves = [pair for pair in self._root.pairs() if sum(map(self._is_clear, pair)) == 1]
        self._joined = [hull_of(pair) for pair in halves if self._is_clear(hull_of(pair)) and is_more(pair)]

    def best(self) -> Wall | None:
        """The best explanation of the picture; None where it shows no tile on this page."""
        best: Wall | None = None
        for group in self._groups():
            for wall in self._walls(group):
                if wall.score > to_beat(best, wall) and disjoint(wall.tiles):
                    best = wall
        return best

    def fits(self, box: Box) -> bool:
        """Whether the box has the size and the shape of a tile."""
        height, width = self.mask.size
        across, down = box[2] - box[0], box[3] - box[1]
        least = self._settings.tile_min_px
        return (
            across >= max(least, WIDTH_MIN * width)
            and down >= max(least, HEIGHT_MIN * height)
            and across * down >= AREA_MIN * width * height
            and self._settings.aspect_min <= across / down <= self._settings.aspect_max
        )

    def _is_clear(self, box: Box) -> bool:
        """Whether a box looks like a tile."""
        return self.fits(box) and self.evidence(box) >= EVIDENT

    def evidence(self, box: Box) -> float:
        """How clearly a box stands out from the page, in [0, 1]: page just outside, something else just inside.

        Sides at the edge of the picture or at a tool bar say nothing; 0.5 where all four are.
        """
        if box in self._known:
            return self._known[box]
        x0, y0, x1, y1 = box
        inset_x, inset_y = (x1 - x0) // 10, (y1 - y0) // 10
        sides = []
        for axis, inner, outer in self._sides(box):
            if axis == 1:
                inside, outside = (x0 + inset_x, inner, x1 - inset_x, inner + 1), (x0, outer, x1, outer + 1)
            else:
                inside, outside = (inner, y0 + inset_y, inner + 1, y1 - inset_y), (outer, y0, outer + 1, y1)
            full = 1 - float(self.mask.share(inside, axis)[0])
            step = float(self.mask.profile(inside, axis)[0]) - float(self.mask.profile(outside, axis)[0])
            # A page that changes slowly is no nearer to its colour outside of what seems to be an edge.
            sides.append(min(1.0, max(0.0, step)) * full * float(self.mask.share(outside, axis, wide=True)[0]))
        self._known[box] = sum(sides) / len(sides) if sides else 0.5
        return self._known[box]

    def _score(self, tiles: Sequence[Box], main: Box | None, *, whole_main: bool, regular: bool) -> float:
        """How well tiles and a big region beside them explain the picture, in [0, 1].

        Their edges are clear, and what is neither of them is page. `whole_main`: the big region is of one piece.
        `regular`: the tiles stand in equal cells, which some may not fill.
        """
        height, width = self.mask.size
        boxes = [*tiles, *([main] if main else [])]
        total = sum(map(area, boxes))
        regular = regular and len(tiles) > 1
        clear = sum(area(box) * (self._expected(box) if regular else self.evidence(box)) for box in tiles)
        if main:
            # A shared page with lines of the gallery's colour is cut into pieces, but its outline is clear.
            clear += area(main) * max(self.evidence(main), 0.0 if whole_main else SCATTERED)
        form = LONELY if len(boxes) == 1 else 1.0
        if regular:
            form = REGULAR if main is None else REGULAR_STRIP
        elif main and not in_line(tiles):
            form = UNEVEN_STRIP
        cover = float(min(1.0, total / (height * width)) ** COVER)
        missed = int((shares(self._sound, boxes) < MISSED_FROM).sum())
        missed += sum(map(self._is_filled, tiles))
        form *= 1 - MISSED * missed / (len(boxes) + missed)
        return clear / total * self._outside(boxes) * cover * form

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
                line = [other for other in tiles if self._in_line(other, box, 1 - axis)]
                for side, largest in ((axis, min), (axis + 2, max)):
                    edge = largest(other[side] for other in line)
                    sides[side] = edge if abs(edge - box[side]) <= ACCENT_MAX_PX else box[side]
            whole = (sides[0], sides[1], sides[2], sides[3])
            yield whole if self.evidence(whole) > self.evidence(box) else box

    def _expected(self, box: Box) -> float:
        """Evidence of a box where a grid asks for one: edges as dark as the page count half where the middle shows."""
        evidence = self.evidence(box)
        if evidence >= EXPECTED:
            return evidence
        outer = [float(self.mask.share(line_of(box, axis, at), axis, wide=True)[0]) for axis, _, at in self._sides(box)]
        shown = 1 - float(self.mask.share(box, 1, wide=True).mean())
        free = min(outer, default=0.0) >= self._settings.page_share
        return max(evidence, EXPECTED * free * min(1.0, shown / EXPECTED_SHOWS))

    def _sides(self, box: Box) -> list[tuple[int, int, int]]:
        """Axis, a line just inside and one just outside, for each side that is not at the edge or at a tool bar."""
        width = self.mask.size[1]
        _, top, _, bottom = self.mask.stage
        x0, y0, x1, y1 = box
        sides = [(1, y0 + 2, y0 - 2)] if y0 > top + 2 else []
        sides += [(1, y1 - 3, y1 + 1)] if y1 < bottom - 2 else []
        sides += [(0, x0 + 2, x0 - 2)] if x0 > 2 else []  # noqa: PLR2004
        return sides + ([(0, x1 - 3, x1 + 1)] if x1 < width - 2 else [])

    def _outside(self, boxes: list[Box]) -> float:
        """Share of page in what is neither tile nor tool bar, in [0, 1]."""
        stage = self.mask.stage
        boxes = [within(box, self.mask.size) for box in boxes]
        page = self._page_area(stage) - sum(map(self._page_area, boxes))
        return min(1.0, max(0.0, page) / max(1, area(stage) - sum(map(area, boxes))))

    def page_around(self, box: Box, tiles: Sequence[Box]) -> float:
        """Share of page of what is in a box but not in these tiles, in [0, 1]."""
        page = self._page_area(box) - sum(map(self._page_area, tiles))
        return page / max(1, area(box) - sum(map(area, tiles)))

    def is_divided(self, tile: Box) -> bool:
        """Whether a tile of an earlier picture holds several clear tiles of this one."""
        return sum(covered(box, [tile]) >= WITHIN for box in self._sound) > 1

    def is_narrower(self, tiles: Sequence[Box], before: Sequence[Box]) -> bool:
        """Whether one of these tiles is clear and a part of one of before: an upright phone's, say, with page beside it."""
        clear = [box for box in tiles if box in self._sound]
        return any(
            covered(box, [tile]) >= WITHIN and covered(tile, [box]) < NARROWER for box in clear for tile in before
        )

    def _is_filled(self, tile: Box) -> bool:
        """Whether several clear tiles fill a tile: bars like the page at their edges joined two in the next column."""
        parts = [box for box in self._sound if box != tile and covered(box, [tile]) >= WITHIN]
        return len(parts) > 1 and covered(tile, parts) >= WITHIN

    def _page_area(self, box: Box) -> float:
        return float(self.mask.share(box, 1).sum()) * (box[2] - box[0])

    def _cut(self, box: Box, depth: int) -> Node | None:
        """The box without its margins, cut along all gutters; None where it is all page."""
        for axis in (1, 0, 1):
            spans = self._spans(box, axis)
            if not spans:
                return None
            box = part_of(box, axis, (spans[0][0], spans[-1][1]))
        if min(box[2] - box[0], box[3] - box[1]) < self._settings.tile_min_px:
            return Node(box)
        for axis in (1, 0):
            spans = self._spans(box, axis)
            if len(spans) > 1 and depth:
                parts = [self._cut(part_of(box, axis, span), depth - 1) for span in spans]
                return Node(box, tuple(part for part in parts if part is not None))
        return Node(box)

    def _spans(self, box: Box, axis: int) -> list[Span]:
        """Spans between the gutters of a box, along y (axis 1) or x (axis 0)."""
        start = box[1] if axis == 1 else box[0]
        shares = self.mask.share(box, axis)
        near = shares >= NEAR_LINE
        wide = self.mask.share(box, axis, wide=True) >= self._settings.page_share
        least, n = self._settings.gutter_min_px, len(near)
        gutter = np.zeros(n, dtype=np.bool_)
        for a, b in runs(wide):
            if b - a <= THIN_PX:
                # The border around who speaks takes a part of one of a narrow gutter's lines.
                beside = float(max(shares[a - 1], shares[b])) if a > 0 and b < n else 0.0
                line = near[a:b].all() and (beside >= BESIDE or _is_line(shares, (a, b)))
                whole = b - a >= least or a == 0 or b == n or line
                gutter[a:b] = whole and self._is_valley(box, axis, (a, b), near)
                continue
            for c, d in runs(near[a:b]):
                if d - c >= least or a + c == 0 or a + d == n:
                    # Next to a bright tile compression leaves a pixel or two that are page only roughly.
                    gutter[max(a, a + c - 2) : min(b, a + d + 2)] = True
        return [(start + a, start + b) for a, b in runs(~gutter)]

    def _is_valley(self, box: Box, axis: int, span: Span, near: Bools) -> bool:
        """Whether thin lines are page, or nearer to the page than the lines to both sides: not a part of a pale tile."""
        start, stop = span
        if near[start:stop].any():
            return True
        far = self.mask.profile(box, axis)
        inner = float(far[start:stop].min())
        outer = [far[i] for i in (start - THIN_APART, stop - 1 + THIN_APART) if 0 <= i < len(far)]
        # Nor is what lies between the letters of a name on a pale tile, as near as the rest of it.
        around = [*range(max(0, start - THIN_AROUND), start), *range(stop, min(len(far), stop + THIN_AROUND))]
        shown = [far[i] for i in around if not near[i]]
        outer += [np.percentile(shown, THIN_RARE)] if shown else []
        return all(inner <= THIN_DEPTH * side for side in outer)

    def _groups(self) -> list[list[Box]]:
        """Boxes of equal size, and boxes that are equally high or wide, the largest total area first."""
        groups = alike(self._sound, self._settings.size_tolerance)
        if self._joined:
            whole = [box for box in self._sound if not any(covered(box, [joined]) >= WITHIN for joined in self._joined)]
            groups += [
                group for group in alike([*whole, *self._joined], self._settings.size_tolerance) if group not in groups
            ]
        groups.sort(key=lambda group: -sum(map(area, group)))
        return groups[:GROUPS_MAX]

    def _same(self, a: Box, b: Box, side: int) -> bool:
        """Whether two boxes are about equally wide (side 0) or high (side 1)."""
        one, other = a[side + 2] - a[side], b[side + 2] - b[side]
        return abs(one - other) <= max(3, self._settings.size_tolerance * max(one, other))

    def _walls(self, group: list[Box]) -> list[Wall]:
        """Explanations in which these boxes are tiles of one grid."""
        grids = [group]
        regular = all(self._same(box, group[0], side) for box in group for side in (0, 1))
        if regular:
            for region in self._regions(group):
                grid = self._complete(region, group)
                if grid and grid not in grids and self._support(region, grid) >= SUPPORT:
                    grids.append(grid)
        half = any(group[0] != box and lie_in(group, [box]) for box in self._joined)
        if len(group) == 1 and half and self.evidence(group[0]) < OBVIOUS:
            # Nothing says that half a tile is a whole one.
            grids.remove(group)
        walls = (self._with_main(grid, regular=regular) for grid in grids if len(grid) <= self._settings.max_tiles)
        return [wall for wall in walls if wall is not None]

    def _regions(self, group: list[Box]) -> list[Box]:
        """Regions of the tree that hold all boxes, the smallest first, and the column or row that these stand in.

        A gutter that goes on in what is shared beside a strip cuts the strip apart: then the tree has no such region.
        """
        regions = around(self._root, group)
        _, top, width, bottom = self.mask.stage
        hull = hull_of(group)
        for axis, band in ((0, part_of(hull, 1, (top, bottom))), (1, part_of(hull, 0, (0, width)))):
            if band not in regions and all(self._in_line(box, group[0], 1 - axis) for box in group):
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
        level = any(self._same(main, box, side) for box in grid for side in (0, 1))
        if level and (len(left) > 1 or self._hangs(main, grid)):
            # As high or as wide as a tile, and in pieces or as long as several: a row or column of the grid.
            return None
        # What is shared is cut into lines; of somebody in the dark what shows reaches from top to bottom.
        upright = sum(area(box) for box in left if self._same(box, main, 1))
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
            if ways and all(self._in_line(box, main, axis) for box in grid):
                n, over = divmod(main[axis + 2] - main[axis] + min(ways) - side + HANG_PX, min(ways))
                if n > 1 and over <= 2 * HANG_PX:
                    return True
        return False

    def _to_the_edge(self, main: Box) -> Box:
        """A big region with what shows right above and below it where tool bars are: lines of a shared page."""
        near = NEXT_LINE * self.mask.size[0]
        main = self._between_lines(main)
        for box in sorted(self._leaves, key=lambda box: abs(box[1] + box[3] - main[1] - main[3])):
            gap = max(box[1] - main[3], main[1] - box[3])
            if self._is_bar(box) and main[0] <= box[0] and box[2] <= main[2] and 0 <= gap <= near:
                main = hull_of([main, box])
        return main

    def _between_lines(self, main: Box) -> Box:
        """A big region with what is nearly of the page's colour right above and below it, up to the next line of page."""
        x0, y0, x1, y1 = main
        _, top, _, bottom = self.mask.stage
        page = self.mask.share((x0, top, x1, bottom), 1) >= HALF
        above, below = np.flatnonzero(page[: y0 - top]), np.flatnonzero(page[y1 - top :])
        return x0, top + int(above[-1]) + 1 if len(above) else y0, x1, y1 + int(below[0]) if len(below) else y1

    def _is_strip(self, boxes: list[Box]) -> bool:
        """Whether boxes are clear tiles of one size in one row or column."""
        equal = all(self._same(box, boxes[0], side) for box in boxes for side in (0, 1))
        return equal and in_line(boxes) and all(box in self._sound for box in boxes)

    def _left_over(self, grid: list[Box]) -> list[Box]:
        """What shows beside a grid: not tool bars, nor names below tiles, nor specks between them."""
        height = self.mask.size[0]
        largest, hull = max(map(area, grid)), hull_of(grid)
        left = []
        for box, share in zip(self._leaves, shares(self._leaves, grid).tolist(), strict=True):
            x0, y0, x1, y1 = box
            if share >= 0.5 or self._is_bar(box) or min(x1 - x0, y1 - y0) < 6:  # noqa: PLR2004
                continue
            above = (x0, y0 - round(0.04 * height), x1, y0)
            name = y1 - y0 <= 0.05 * height and covered(above, grid) > 0.1  # noqa: PLR2004
            if not name and (area(box) >= LEFT_OVER * largest or covered(box, [hull]) < 0.5):  # noqa: PLR2004
                left.append(box)
        worth = sum(map(area, left)) >= LEFT_OVER * largest or any(box in self._sound for box in left)
        return left if worth else []

    def _is_bar(self, box: Box) -> bool:
        """Whether a box lies where tool bars do, and is no clear tile."""
        if box in self._sound:
            return False
        height, width = self.mask.size
        x0, y0, x1, y1 = box
        low, high = BAR_MAX, 1 - BAR_MAX
        return y1 <= low * height or y0 >= high * height or x1 <= low / 2 * width or x0 >= (1 - low / 2) * width

    def _complete(self, region: Box, anchors: list[Box]) -> list[Box]:
        """All cells of the grid of equal tiles that the anchors lie on and that show something; [] where it is none."""
        x0, y0, x1, y1 = region
        width = int(np.median([box[2] - box[0] for box in anchors]))
        height = int(np.median([box[3] - box[1] for box in anchors]))
        step_x, step_y = self._pitch(anchors, 0, width), self._pitch(anchors, 1, height)
        if step_x is None:
            step_x = width + (step_y - height if step_y is not None else GUTTER_PX)
        if step_y is None:
            step_y = height + (step_x - width)
        # A tile at the end that is like the page, but for somebody in its middle, lies partly outside of what was cut.
        reach = (max(0, x0 - width // 2), min(self.mask.size[1], x1 + width // 2))
        tall = (max(self.mask.stage[1], y0 - height // 2), min(self.mask.stage[3], y1 + height // 2))
        middle = (x0 + x1) / 2
        columns = usual([box[0] for box in anchors], width / 10)
        cells: list[Box] = []
        for top in places([box[1] for box in anchors], step_y, height, tall):
            starts = [[columns[box[0]] for box in anchors if abs(box[1] - top) <= height / 10]]
            if not starts[0]:
                odd, even = round(middle - width / 2), round(middle + (step_x - width) / 2 - step_x)
                starts = [[anchors[0][0]], [odd], [even]]
            beyond = top < y0 - SLACK * height or top + height > y1 + SLACK * height
            rows = []
            for start in starts:
                row = [(a, top, a + width, top + height) for a in places(start, step_x, width, reach)]
                # Half a tile is none, also where the picture ends in it.
                row = [cell for cell in row if area(within(cell, self.mask.size)) > SLACK_INSIDE * area(cell)]
                row = [cell for cell in row if self._shows(cell, FILLED_BEYOND if beyond else FILLED)]
                if row:
                    rows.append((self._support((x0, top, x1, top + height), row), row))
            if rows:
                cells += max(rows, key=lambda option: option[0])[1]
            if len(cells) > min(self._settings.max_tiles, CELLS_PER_TILE * len(anchors)):
                return []
        return [self._own(within(cell, self.mask.size)) for cell in cells]

    def _own(self, cell: Box) -> Box:
        """The cell, or the narrower tile that stands in its middle with page beside it, such as an upright phone's."""
        over = [box for box in self._sound if self._is_about(box, cell)]
        if over:
            return over[0]
        lies_in = shares(self._leaves, [cell]) >= INSIDE_CELL
        inside = [self._leaves[i] for i in np.flatnonzero(lies_in).tolist()]
        # Where it hangs together with what is above or below, it is cut anew.
        x0, y0, x1, y1 = hull_of(inside or [self._trimmed(cell, 0)])
        # What is so narrow that its last lines are page for the rest of the picture has them all the same.
        box = self._trimmed((x0, min(y0, cell[1]), x1, max(y1, cell[3])), 1)
        slack = max(3, self._settings.size_tolerance * (cell[3] - cell[1]))
        level = all(abs(box[i] - cell[i]) <= slack for i in (1, 3))
        # The border around who speaks is page: within it the edges are as clear.
        x0, y0, x1, y1 = box
        evidence = max(
            self.evidence(box), self.evidence((x0 + BORDER_PX, y0 + BORDER_PX, x1 - BORDER_PX, y1 - BORDER_PX))
        )
        # Where the tile is the only one of its column, the place of its cell is a guess.
        centred = abs(x0 + x1 - cell[0] - cell[2]) <= CENTRED * (cell[2] - cell[0])
        tiles = [other for other in self._sound if all(self._same(other, cell, side) for side in (0, 1))]
        guess = all(abs(other[0] - cell[0]) > CENTRED * (cell[2] - cell[0]) for other in tiles)
        told = evidence >= EVIDENT if centred else guess and evidence >= OBVIOUS
        upright = box[2] - box[0] >= self._settings.aspect_min * (box[3] - box[1])
        sides = [(cell[0], cell[1], x0 - ACCENT_MAX_PX, cell[3]), (x1 + ACCENT_MAX_PX, cell[1], cell[2], cell[3])]
        sides = [side for side in sides if side[0] < side[2]]
        beside = sum(map(self._page_area, sides)) >= PAGE_BESIDE * sum(map(area, sides))
        return box if level and told and upright and beside else cell

    def _is_about(self, box: Box, cell: Box) -> bool:
        """Whether a box has the middle of a cell, is higher and no wider: other pictures of the grid have bars on the page."""
        middles = (
            abs(box[i] + box[i + 2] - cell[i] - cell[i + 2]) <= CENTRED * (cell[i + 2] - cell[i]) for i in (0, 1)
        )
        higher = box[3] - box[1] > (1 + self._settings.size_tolerance) * (cell[3] - cell[1])
        return all(middles) and higher and box[2] - box[0] <= cell[2] - cell[0]

    def _trimmed(self, box: Box, axis: int) -> Box:
        """A box without the page above and below it (axis 1), or to the left and to the right (axis 0)."""
        start = box[1] if axis == 1 else box[0]
        shows = np.flatnonzero(self.mask.share(box, axis) < NEAR_LINE)
        return part_of(box, axis, (start + int(shows[0]), start + int(shows[-1]) + 1)) if len(shows) else box

    def _pitch(self, anchors: list[Box], axis: int, side: int) -> float | None:
        """Distance from one tile to the next in x (axis 0) or y (axis 1); None where no two are neighbours."""
        most = side + self._settings.gutter_max * max(self.mask.size)
        # Of somebody beside a dark wall a part was seen, as high as the tile or as wide; and what is as large as a tile
        # need not be clear.
        parts = [
            box
            for box in self._leaves
            if any(
                self._same(box, a, axis)
                and self._in_line(a, box, axis)
                and (box in self._sound or self._same(box, a, 1 - axis))
                for a in anchors
            )
        ]
        anchors = [*anchors, *(box for box in parts if box not in anchors)]
        steps = [
            b[axis] - a[axis]
            for a in anchors
            for b in anchors
            if side <= b[axis] - a[axis] <= most and (axis == 1 or self._in_line(a, b, axis))
        ]
        if steps:
            return float(np.median(steps))
        # Between two of a row there may be some that were not seen: as many as fit. What overlaps is no row.
        ways = [b[axis] - a[axis] for a in anchors for b in anchors if self._in_line(a, b, axis)]
        for way in sorted(way for way in ways if way >= side)[:1]:
            step = way / max(1, way // (side + self._settings.gutter_min_px))
            if step <= most:
                return float(step)
        # One tile alone: the gutter to whatever is next to it.
        gaps = [
            max(box[axis] - other[axis + 2], other[axis] - box[axis + 2])
            for box in anchors
            for other in self._sound
            if min(box[3 - axis], other[3 - axis]) > max(box[1 - axis], other[1 - axis])
        ]
        gaps = [gap for gap in gaps if 0 < gap <= most - side]
        return float(side + min(gaps)) if gaps else None

    @staticmethod
    def _in_line(a: Box, b: Box, axis: int) -> bool:
        """Whether two boxes of one size, or a part of one, stand in one row (axis 0) or in one column (axis 1)."""
        other = 1 - axis
        slack = (a[other + 2] - a[other]) / 10
        return any(p[other] >= q[other] - slack and p[other + 2] <= q[other + 2] + slack for p, q in ((a, b), (b, a)))

    def _shows(self, cell: Box, least: float) -> bool:
        """Whether a share of a cell, but for its edges, is not page, and more than a tool bar's signs."""
        x0, y0, x1, y1 = within(cell, self.mask.size)
        filled = 1 - float(self.mask.share((x0 + 3, y0 + 3, x1 - 3, y1 - 3), 1).mean())
        return filled >= least and any(
            box[0] < x1 and box[2] > x0 and box[1] < y1 and box[3] > y0 and not self._is_bar(box)
            for box in self._leaves
        )

    def _support(self, region: Box, cells: list[Box]) -> float:
        """How well cells explain a region, in [0, 1]: what shows lies in cells, and it is page around them."""
        cells = [within(cell, self.mask.size) for cell in cells]
        shown = area(within(region, self.mask.size)) - self._page_area(region)
        inside = sum(area(cell) - self._page_area(cell) for cell in cells)
        free = []
        for x0, y0, x1, y1 in cells:
            for axis, _, outer in self._sides((x0, y0, x1, y1)):
                free.append(float(self.mask.share(line_of((x0, y0, x1, y1), axis, outer), axis, wide=True)[0]))
        return min(1.0, inside / max(1.0, shown)) * (sum(free) / max(1, len(free))) ** 2


def _is_line(shares: F64, span: Span) -> bool:
    """Whether so thin lines are page from end to end, and nothing near them is: by chance a picture has no such line."""
    start, stop = span
    beside = [shares[i] for i in (start - LINE_APART, stop - 1 + LINE_APART) if 0 <= i < len(shares)]
    return bool(shares[start:stop].max() >= FULL and max(beside, default=1.0) <= ELSEWHERE)
