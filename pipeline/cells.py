"""What a picture of a video wall was cut into, and how clearly a box stands out from the page."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.boxes import WITHIN, area, covered, hull_of, line_of
from pipeline.cutting import cut
from pipeline.page import BAR_MAX, PageMask, within
from pipeline.types import Box
from pipeline.walls import GallerySettings, Node, is_more

EVIDENT: Final = 0.5
"""A box whose edges are as clear as this is no accident."""
OBVIOUS: Final = 0.9
"""A tile with edges so clear needs no place to be told by."""
WIDTH_MIN: Final = 0.05
HEIGHT_MIN: Final = 0.08
"""A tile takes at least this share of the picture's width and height."""
AREA_MIN: Final = 0.007
"""And of its area."""
EXPECTED: Final = 0.5
"""A tile that the grid asks for is at least so evident, where it is surrounded by page,"""
EXPECTED_SHOWS: Final = 0.25
"""and shows something on so much of it."""
NARROW_PX: Final = 4
"""A gutter no wider has hardly a pixel that compression leaves alone."""
EDGE, SAMPLES, FEW = 0.05, 32, 300
"""What a box shows is looked at but for this share at either edge, at so many points across and down; of so many one
may be anything."""
ALL_PAGE: Final = 0.97
"""A box that is page on so much of it shows nobody."""
MOSTLY_PAGE: Final = 0.5
"""Where so much of a picture is page, tiles may hide in it,"""
PIECES: Final = 4
"""and what shows is in no more pieces for each tile that there may be."""
NARROWER: Final = 0.85
"""A tile that is less than this part of one of before is another."""


class Cells:
    """The cells of one picture on one page.

    root: how it was cut. leaves: what was not cut any further; sound: those that look like tiles. joined: what two
    leaves make together, of which only one does.
    """

    def __init__(self, mask: PageMask, settings: GallerySettings) -> None:
        self.mask = mask
        self.settings = settings
        self.root = cut(mask, settings, mask.stage) or Node(mask.stage)
        self.leaves = self.root.leaves()
        self._known: dict[Box, float] = {}
        self._blurred: dict[tuple[Box, int], float] = {}
        self._shown: dict[Box, bool] = {}
        self.sound = [box for box in self.leaves if self.is_clear(box)]
        # Of somebody who sits half in the dark the tile was cut in two.
        halves = [pair for pair in self.root.pairs() if sum(map(self.is_clear, pair)) == 1]
        self.joined = [hull_of(pair) for pair in halves if self.is_clear(hull_of(pair)) and is_more(pair)]

    def fits(self, box: Box) -> bool:
        """Whether the box has the size and the shape of a tile."""
        height, width = self.mask.size
        across, down = box[2] - box[0], box[3] - box[1]
        least = self.settings.tile_min_px
        return (
            across >= max(least, WIDTH_MIN * width)
            and down >= max(least, HEIGHT_MIN * height)
            and across * down >= AREA_MIN * width * height
            and self.settings.aspect_min <= across / down <= self.settings.aspect_max
        )

    def is_clear(self, box: Box) -> bool:
        """Whether a box looks like a tile."""
        return self.fits(box) and self.evidence(box) >= EVIDENT and self.shows(box)

    def shows(self, box: Box) -> bool:
        """Whether a box is not all of one colour that fills lines through it: what is left of another page shows nobody.

        Of one colour alone a tile may be: somebody has covered the camera.
        """
        if box not in self._shown:
            x0, y0, x1, y1 = within(box, self.mask.size)
            inset_x, inset_y = round(EDGE * (x1 - x0)), round(EDGE * (y1 - y0))
            levels = np.sort(
                self.mask.sample((x0 + inset_x, y0 + inset_y, x1 - inset_x, y1 - inset_y), SAMPLES).ravel()
            )
            low, high = (int(levels[i]) for i in (len(levels) // FEW, -1 - len(levels) // FEW))
            self._shown[box] = high - low > self.mask.near or not self.mask.crosses(box, (low + high) // 2)
        return self._shown[box]

    def evidence(self, box: Box) -> float:
        """How clearly a box stands out from the page, in [0, 1]: page just outside, something else just inside.

        Sides at the edge of the picture or at a tool bar say nothing; 0.5 where all four are.
        """
        if box in self._known:
            return self._known[box]
        x0, y0, x1, y1 = box
        inset_x, inset_y = (x1 - x0) // 10, (y1 - y0) // 10
        sides = []
        for axis, inner, outer in self.sides(box):
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

    def expected(self, box: Box) -> float:
        """Evidence of a box where a grid asks for one: edges as dark as the page count half where the middle shows."""
        evidence = self.evidence(box)
        if evidence >= EXPECTED:
            return evidence
        outer = [float(self.mask.share(line_of(box, axis, at), axis, wide=True)[0]) for axis, _, at in self.sides(box)]
        shown = 1 - float(self.mask.share(box, 1, wide=True).mean())
        free = min(outer, default=0.0) >= self.settings.page_share
        return max(evidence, EXPECTED * free * min(1.0, shown / EXPECTED_SHOWS))

    def sides(self, box: Box) -> list[tuple[int, int, int]]:
        """Axis, a line just inside and one just outside, for each side that is not at the edge or at a tool bar."""
        width = self.mask.size[1]
        _, top, _, bottom = self.mask.stage
        x0, y0, x1, y1 = box
        sides = [(1, y0 + 2, y0 - 2)] if y0 > top + 2 else []
        sides += [(1, y1 - 3, y1 + 1)] if y1 < bottom - 2 else []
        sides += [(0, x0 + 2, x0 - 2)] if x0 > 2 else []  # noqa: PLR2004
        return sides + ([(0, x1 - 3, x1 + 1)] if x1 < width - 2 else [])

    def outside(self, boxes: list[Box]) -> float:
        """Share of page in what is neither tile nor tool bar, in [0, 1]; in narrow gutters what is so roughly is page."""
        stage = self.mask.stage
        boxes = [within(box, self.mask.size) for box in boxes]
        page = self.page_area(stage) - sum(map(self.page_area, boxes))
        sides = np.array(boxes, dtype=np.int64)
        x0, y0, x1, y1 = (sides[:, i] for i in range(4))
        across = (x0[:, None] < x1) & (x0 < x1[:, None])
        down = (y0[:, None] < y1) & (y0 < y1[:, None])
        for i, (axis, beside) in enumerate(((1, down), (0, across), (1, down), (0, across))):
            # Left, top, right, bottom: whatever is next on this side, another tile or the end of the picture.
            here, there, step = sides[:, i], sides[:, (i + 2) % 4], 1 if i > 1 else -1
            gap = np.where(beside, step * (there[None] - here[:, None]), NARROW_PX + 1)
            gap[gap < 0] = NARROW_PX + 1
            end = step * (stage[i] - here)
            narrow = np.minimum(gap.min(axis=1), end)
            for k in np.flatnonzero((narrow > 0) & (narrow <= NARROW_PX)).tolist():
                page += self._blurred_page(boxes[k], 1 - axis, int(here[k]) - (step < 0))
        return min(1.0, max(0.0, page) / max(1, area(stage) - sum(map(area, boxes))))

    def _blurred_page(self, box: Box, axis: int, at: int) -> float:
        """Pixels of a line right beside a box that are page roughly, but not exactly: compression blurred it."""
        line = line_of(box, axis, at)
        if (line, axis) not in self._blurred:
            roughly, exactly = (float(self.mask.share(line, axis, wide=wide)[0]) for wide in (True, False))
            self._blurred[line, axis] = (roughly - exactly) * area(line)
        return self._blurred[line, axis]

    def may_hide_tiles(self) -> bool:
        """Whether so much is page that tiles nearly of its colour may be a part of it; what is in many pieces is print."""
        is_page = self.page_area(self.mask.stage) >= MOSTLY_PAGE * area(self.mask.stage)
        return is_page and len(self.leaves) <= PIECES * self.settings.max_tiles

    def page_around(self, box: Box, tiles: Sequence[Box]) -> float:
        """Share of page of what is in a box but not in these tiles, in [0, 1]."""
        page = self.page_area(box) - sum(map(self.page_area, tiles))
        return page / max(1, area(box) - sum(map(area, tiles)))

    def is_divided(self, tile: Box) -> bool:
        """Whether a tile of an earlier picture holds several clear tiles of this one."""
        return sum(covered(box, [tile]) >= WITHIN for box in self.sound) > 1

    def is_narrower(self, tiles: Sequence[Box], before: Sequence[Box]) -> bool:
        """Whether one of these tiles is clear and a part of one of before: an upright phone's, say, with page beside it."""
        clear = [box for box in tiles if box in self.sound]
        return any(
            covered(box, [tile]) >= WITHIN and covered(tile, [box]) < NARROWER for box in clear for tile in before
        )

    def n_joined(self, tile: Box, *, equal: bool = False) -> int:
        """How many clear tiles more than one fill a box, which joined them: bars like the page at their edges did.

        `equal`: only where all are of one size, as those of a grid, not pieces of what is shared.
        """
        parts = [box for box in self.sound if box != tile and covered(box, [tile]) >= WITHIN]
        if len(parts) < 2 or covered(tile, parts) < WITHIN:  # noqa: PLR2004 (one joins nothing)
            return 0
        is_grid = all(self.same(box, parts[0], side) for box in parts for side in (0, 1))
        return len(parts) - 1 if is_grid or not equal else 0

    def is_page(self, box: Box) -> bool:
        """Whether a box, but for its edges, is page."""
        x0, y0, x1, y1 = within(box, self.mask.size)
        return not self.shows(box) and bool(self.mask.share((x0 + 3, y0 + 3, x1 - 3, y1 - 3), 1).mean() >= ALL_PAGE)

    def page_area(self, box: Box) -> float:
        """Pixels of page in a box."""
        return float(self.mask.share(box, 1).sum()) * (box[2] - box[0])

    def same(self, a: Box, b: Box, side: int) -> bool:
        """Whether two boxes are about equally wide (side 0) or high (side 1)."""
        one, other = a[side + 2] - a[side], b[side + 2] - b[side]
        return abs(one - other) <= max(3, self.settings.size_tolerance * max(one, other))

    def is_bar(self, box: Box) -> bool:
        """Whether a box lies where tool bars do, and is no clear tile."""
        if box in self.sound:
            return False
        height, width = self.mask.size
        x0, y0, x1, y1 = box
        low, high = BAR_MAX, 1 - BAR_MAX
        return y1 <= low * height or y0 >= high * height or x1 <= low / 2 * width or x0 >= (1 - low / 2) * width


def aligned(a: Box, b: Box, axis: int) -> bool:
    """Whether two boxes of one size, or a part of one, stand in one row (axis 0) or in one column (axis 1)."""
    other = 1 - axis
    slack = (a[other + 2] - a[other]) / 10
    return any(p[other] >= q[other] - slack and p[other + 2] <= q[other + 2] + slack for p, q in ((a, b), (b, a)))
