"""Some equal tiles → the grid that they lie on: its other cells are looked at again, for they may be as dark as the page."""

from typing import Final

import numpy as np

from pipeline.boxes import SLACK, all_starts, area, hull_of, line_of, part_of, shares, usual
from pipeline.cells import EVIDENT, OBVIOUS, Cells, aligned
from pipeline.cutting import NEAR_LINE
from pipeline.page import ACCENT_MAX_PX, within
from pipeline.types import Box

FILLED: Final = 0.01
"""A cell of which less than this is not page is empty."""
CELLS_PER_TILE: Final = 7
"""A grid has at most so many cells for each tile that was seen clearly."""
FILLED_BEYOND: Final = 0.25
"""The same for rows above and below what was cut, where names and tool bars are."""
GUTTER_PX: Final = 8
"""The gutter of a grid that shows none."""
INSIDE_CELL: Final = 0.9
"""What lies in a cell by this share is part of its tile."""
BORDER_PX: Final = 4
"""So far inside of a tile's edge is at least a part of the border around who speaks."""
CENTRED: Final = 0.12
"""Twice the way from the middle of a cell to that of a narrower tile is at most this share of the cell's width."""
PAGE_BESIDE: Final = 0.95
"""What lies beside a narrow tile in its place in the row is page, but for so much."""
SLACK_INSIDE: Final = 0.95
"""At least this share of a tile lies inside the picture."""


def complete(cells: Cells, region: Box, anchors: list[Box]) -> list[Box]:
    """All cells of the grid of equal tiles that the anchors lie on and that show something; [] where it is none."""
    x0, y0, x1, y1 = region
    width = int(np.median([box[2] - box[0] for box in anchors]))
    height = int(np.median([box[3] - box[1] for box in anchors]))
    step_x, step_y = _pitch(cells, anchors, 0, width), _pitch(cells, anchors, 1, height)
    if step_x is None:
        step_x = width + (step_y - height if step_y is not None else GUTTER_PX)
    if step_y is None:
        step_y = height + (step_x - width)
    # A tile at the end that is like the page, but for somebody in its middle, lies partly outside of what was cut.
    reach = (max(0, x0 - width // 2), min(cells.mask.size[1], x1 + width // 2))
    tall = (max(cells.mask.stage[1], y0 - height // 2), min(cells.mask.stage[3], y1 + height // 2))
    middle = (x0 + x1) / 2
    columns = usual([box[0] for box in anchors], width / 10)
    grid: list[Box] = []
    for top in all_starts([box[1] for box in anchors], step_y, height, tall):
        starts = [[columns[box[0]] for box in anchors if abs(box[1] - top) <= height / 10]]
        if not starts[0]:
            odd, even = round(middle - width / 2), round(middle + (step_x - width) / 2 - step_x)
            starts = [[anchors[0][0]], [odd], [even]]
        beyond = top < y0 - SLACK * height or top + height > y1 + SLACK * height
        rows = []
        for start in starts:
            row = [(a, top, a + width, top + height) for a in all_starts(start, step_x, width, reach)]
            # Half a tile is none, also where the picture ends in it.
            row = [cell for cell in row if area(within(cell, cells.mask.size)) > SLACK_INSIDE * area(cell)]
            row = [cell for cell in row if _shows(cells, cell, FILLED_BEYOND if beyond else FILLED)]
            if row:
                rows.append((support(cells, (x0, top, x1, top + height), row), row))
        if rows:
            grid += max(rows, key=lambda option: option[0])[1]
        if len(grid) > min(cells.settings.max_tiles, CELLS_PER_TILE * len(anchors)):
            return []
    return [_own(cells, within(cell, cells.mask.size)) for cell in grid]


def _own(cells: Cells, cell: Box) -> Box:
    """The cell, or the narrower tile that stands in its middle with page beside it, such as an upright phone's."""
    over = [box for box in cells.sound if _is_about(cells, box, cell)]
    if over:
        return over[0]
    lies_in = shares(cells.leaves, [cell]) >= INSIDE_CELL
    inside = [cells.leaves[i] for i in np.flatnonzero(lies_in).tolist()]
    # Where it hangs together with what is above or below, it is cut anew.
    x0, y0, x1, y1 = hull_of(inside or [_trimmed(cells, cell, 0)])
    # What is so narrow that its last lines are page for the rest of the picture has them all the same.
    box = _trimmed(cells, (x0, min(y0, cell[1]), x1, max(y1, cell[3])), 1)
    slack = max(3, cells.settings.size_tolerance * (cell[3] - cell[1]))
    level = all(abs(box[i] - cell[i]) <= slack for i in (1, 3))
    # The border around who speaks is page: within it the edges are as clear.
    x0, y0, x1, y1 = box
    evidence = max(
        cells.evidence(box), cells.evidence((x0 + BORDER_PX, y0 + BORDER_PX, x1 - BORDER_PX, y1 - BORDER_PX))
    )
    # Where the tile is the only one of its column, the place of its cell is a guess.
    centred = abs(x0 + x1 - cell[0] - cell[2]) <= CENTRED * (cell[2] - cell[0])
    tiles = [other for other in cells.sound if all(cells.same(other, cell, side) for side in (0, 1))]
    guess = all(abs(other[0] - cell[0]) > CENTRED * (cell[2] - cell[0]) for other in tiles)
    told = evidence >= EVIDENT if centred else guess and evidence >= OBVIOUS
    upright = box[2] - box[0] >= cells.settings.aspect_min * (box[3] - box[1])
    sides = [(cell[0], cell[1], x0 - ACCENT_MAX_PX, cell[3]), (x1 + ACCENT_MAX_PX, cell[1], cell[2], cell[3])]
    sides = [side for side in sides if side[0] < side[2]]
    beside = sum(map(cells.page_area, sides)) >= PAGE_BESIDE * sum(map(area, sides))
    return box if level and told and upright and beside else cell


def _is_about(cells: Cells, box: Box, cell: Box) -> bool:
    """Whether a box has the middle of a cell, is higher and no wider: other pictures of the grid have bars on the page."""
    middles = (abs(box[i] + box[i + 2] - cell[i] - cell[i + 2]) <= CENTRED * (cell[i + 2] - cell[i]) for i in (0, 1))
    higher = box[3] - box[1] > (1 + cells.settings.size_tolerance) * (cell[3] - cell[1])
    return all(middles) and higher and box[2] - box[0] <= cell[2] - cell[0]


def _trimmed(cells: Cells, box: Box, axis: int) -> Box:
    """A box without the page above and below it (axis 1), or to the left and to the right (axis 0)."""
    start = box[1] if axis == 1 else box[0]
    shows = np.flatnonzero(cells.mask.share(box, axis) < NEAR_LINE)
    return part_of(box, axis, (start + int(shows[0]), start + int(shows[-1]) + 1)) if len(shows) else box


def _pitch(cells: Cells, anchors: list[Box], axis: int, side: int) -> float | None:
    """Distance from one tile to the next in x (axis 0) or y (axis 1); None where no two are neighbours."""
    most = side + cells.settings.gutter_max * max(cells.mask.size)
    # Of somebody beside a dark wall a part was seen, as high as the tile or as wide; and what is as large as a tile
    # need not be clear.
    parts = [
        box
        for box in cells.leaves
        if any(
            cells.same(box, a, axis) and aligned(a, box, axis) and (box in cells.sound or cells.same(box, a, 1 - axis))
            for a in anchors
        )
    ]
    anchors = [*anchors, *(box for box in parts if box not in anchors)]
    steps = [
        b[axis] - a[axis]
        for a in anchors
        for b in anchors
        if side <= b[axis] - a[axis] <= most and (axis == 1 or aligned(a, b, axis))
    ]
    if steps:
        return float(np.median(steps))
    # Between two of a row there may be some that were not seen: as many as fit. What overlaps is no row.
    ways = [b[axis] - a[axis] for a in anchors for b in anchors if aligned(a, b, axis)]
    for way in sorted(way for way in ways if way >= side)[:1]:
        step = way / max(1, way // (side + cells.settings.gutter_min_px))
        if step <= most:
            return float(step)
    # One tile alone: the gutter to whatever is next to it, be it others in line that hang together.
    gaps = [
        max(box[axis] - other[axis + 2], other[axis] - box[axis + 2])
        for box in anchors
        for other in cells.leaves
        if other in cells.sound or (cells.same(box, other, 1 - axis) and aligned(box, other, axis))
        if min(box[3 - axis], other[3 - axis]) > max(box[1 - axis], other[1 - axis])
    ]
    gaps = [gap for gap in gaps if 0 < gap <= most - side]
    return float(side + min(gaps)) if gaps else None


def _shows(cells: Cells, cell: Box, least: float) -> bool:
    """Whether a share of a cell, but for its edges, is not page, and more than a tool bar's signs."""
    x0, y0, x1, y1 = within(cell, cells.mask.size)
    filled = 1 - float(cells.mask.share((x0 + 3, y0 + 3, x1 - 3, y1 - 3), 1).mean())
    return (
        filled >= least
        and any(
            box[0] < x1 and box[2] > x0 and box[1] < y1 and box[3] > y0 and not cells.is_bar(box)
            for box in cells.leaves
        )
        and cells.shows(cell)
    )


def support(cells: Cells, region: Box, grid: list[Box]) -> float:
    """How well cells explain a region, in [0, 1]: what shows lies in cells, and it is page around them."""
    grid = [within(cell, cells.mask.size) for cell in grid]
    shown = area(within(region, cells.mask.size)) - cells.page_area(region)
    inside = sum(area(cell) - cells.page_area(cell) for cell in grid)
    free = []
    for x0, y0, x1, y1 in grid:
        for axis, _, outer in cells.sides((x0, y0, x1, y1)):
            free.append(float(cells.mask.share(line_of((x0, y0, x1, y1), axis, outer), axis, wide=True)[0]))
    return min(1.0, inside / max(1.0, shown)) * (sum(free) / max(1, len(free))) ** 2
