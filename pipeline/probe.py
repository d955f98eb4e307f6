"""Whether a picture still shows a layout, at little cost: a few thousand of its points are looked at."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64
from pipeline.page import Page, PageMask
from pipeline.types import U8, Box

FITS: Final = 0.85
"""Share of the points on the page that must still be page."""
FREE_ROWS, FREE_COLUMNS = 32, 54
"""The page outside of the tiles is looked at in so many rows and columns: two of each meet in the smallest tile."""
POINT_LEVELS: Final = 26
"""A point of the page has changed when a channel differs by more."""
ACCENT_SPREAD: Final = 60
"""Coloured points are the border around who speaks."""
SHOCK: Final = 14.0
"""Mean change of a picture without gutters, or of the big region, in levels, that calls for a search."""
SIDE_POINTS: Final = 5
"""A side of a tile with so many points on the page"""
SIDE_GONE: Final = 0.6
"""is gone where this share of them is no longer page: of a row that gets shorter only one gutter vanishes."""
CELL_POINTS: Final = 7
"""A tile is looked at in so many rows and columns."""
EMPTIED: Final = 0.3
"""So much more of a tile is page than before, or all of it: another tile stands there, or none."""
LINE_POINTS: Final = 6
"""And at so many points of each line across it, to see whether a new gutter goes through it."""
LINE_LEVELS: Final = 12
"""Such a point is page when no channel differs by more."""
LINE_STEPS: Final = 640
"""Lines are so close that a gutter of 2 px of a picture of 1280 has one."""
RIM: Final = 7
"""Of a tile's side this part at either end is left out: there is what was cut too wide, and names."""
LINES_NEAR: Final = 12
"""So many lines to either side of a new gutter there is a picture,"""
SIDE_MAX: Final = 0.34
"""of which no more than this is page."""
OPEN_MAX: Final = 0.5
"""Lines of which more is page at first are no sign of a gutter later."""


def thumbnail(image: U8) -> U8:
    """About 90 x 160 of the picture's pixels."""
    return image[:: max(1, image.shape[0] // 90), :: max(1, image.shape[1] // 160)]


def _look(image: U8, box: Box) -> NDArray[np.int16]:
    """About 24 x 24 of the pixels of a box, green."""
    x0, y0, x1, y1 = box
    return image[y0 : y1 : max(1, (y1 - y0) // 24), x0 : x1 : max(1, (x1 - x0) // 24), 1].astype(np.int16)


class Probe:
    """Points of a picture that tell at little cost whether it still shows a layout."""

    def __init__(self, image: U8, tiles: Sequence[Box], mask: PageMask | None, main: Box | None = None) -> None:
        height, width = image.shape[:2]
        self._thumbnail = thumbnail(image)[..., 1].astype(np.int16)
        points: list[tuple[int, int]] = []
        sides: list[int] = []
        cells: list[tuple[int, int]] = []
        inside = np.zeros((height, width), dtype=np.bool_)
        for x0, y0, x1, y1 in tiles:
            inside[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3] = True
            xs = np.linspace(x0 + 4, x1 - 5, CELL_POINTS + 2).astype(int).tolist()
            ys = np.linspace(y0 + 4, y1 - 5, CELL_POINTS + 2).astype(int).tolist()
            around = [[(y, x) for x in xs] for y in (y0 - 2, y1 + 1)] + [[(y, x) for y in ys] for x in (x0 - 2, x1 + 1)]
            for side in around:
                inner = [(y, x) for y, x in side if 0 <= y < height and 0 <= x < width]
                sides += [sides[-1] + 1 if sides else 0] * len(inner)
                points += inner
            cells += [(y, x) for y in ys[1:-1] for x in xs[1:-1]]
        step = max(2, max(height, width) // LINE_STEPS)
        lines: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
        for x0, y0, x1, y1 in tiles:
            down, across = (np.arange(a + (b - a) // RIM, b - (b - a) // RIM, step) for a, b in ((y0, y1), (x0, x1)))
            xs_of, ys_of = (np.linspace(a + 4, b - 5, LINE_POINTS).astype(np.intp) for a, b in ((x0, x1), (y0, y1)))
            lines.append((np.repeat(down, LINE_POINTS), np.tile(xs_of, len(down))))
            lines.append((np.tile(ys_of, len(across)), np.repeat(across, LINE_POINTS)))
        ys_of = np.arange(min(4, height - 1), height, max(1, height // FREE_ROWS))
        xs_of = np.arange(min(4, width - 1), width, max(1, width // FREE_COLUMNS))
        self._page = mask.page if mask is not None else None
        kept = self._is_page(image, points)
        self._gutters = np.array(points, dtype=np.intp).reshape(-1, 2)[kept]
        self._sides = np.array(sides, dtype=np.intp)[kept]
        self._grid = (len(ys_of), len(xs_of))
        points_of = np.stack([np.repeat(ys_of, len(xs_of)), np.tile(xs_of, len(ys_of))], axis=1).astype(np.intp)
        # Which points of the grid are page outside of the tiles.
        self._is_free = ~inside[points_of[:, 0], points_of[:, 1]]
        self._is_free[self._is_free] = self._is_page(image, points_of[self._is_free])
        self._free = points_of[self._is_free]
        self._main = main
        self._main_look = _look(image, main) if main else None
        self._cells = np.array(cells, dtype=np.intp).reshape(-1, 2)
        self._empty = self._emptiness(image)
        self._lines = np.concatenate([np.stack(line, axis=1) for line in lines]) if lines else self._cells[:0]
        lengths = [len(line[0]) // LINE_POINTS for line in lines]
        ends = np.cumsum(lengths, dtype=np.intp)
        # Where the lines of the same tile and direction begin and end.
        self._spans = np.repeat(np.stack([ends - lengths, ends], axis=1).astype(np.intp), lengths, axis=0)
        self._open = self._crossed(image) < OPEN_MAX

    def fits(self, image: U8) -> bool:
        """Whether the picture still shows the layout."""
        if self._page is None or len(self._gutters) == 0:
            now = thumbnail(image)[..., 1].astype(np.int16)
            change = float(np.abs(now - self._thumbnail).mean())
            self._thumbnail = now
            return change < SHOCK
        off = _off(self._page, image, self._gutters, accents=True)
        n = np.bincount(self._sides)
        if off.mean() > 1 - FITS or ((n >= SIDE_POINTS) & (np.bincount(self._sides, off) >= SIDE_GONE * n)).any():
            return False
        return not (
            self._main_cut(image)
            or self._is_covered(image, self._page)
            or (self._emptiness(image) - self._empty >= EMPTIED).any()
            or self._is_cut(image)
        )

    def _main_cut(self, image: U8) -> bool:
        """Whether the big region beside a strip shows something else all of a sudden."""
        if self._main is None or self._main_look is None:
            return False
        before, self._main_look = self._main_look, _look(image, self._main)
        return float(np.abs(self._main_look - before).mean()) >= SHOCK

    def _is_covered(self, image: U8, page: Page) -> bool:
        """Whether something shows where the page was: on much of it, or on a spot as large as a tile."""
        if not len(self._free):
            return False
        off = _off(page, image, self._free, accents=True)
        spots = np.zeros(self._grid[0] * self._grid[1], dtype=np.bool_)
        spots[self._is_free] = off
        spots = spots.reshape(self._grid)
        pairs = spots[1:] & spots[:-1]
        return bool(off.mean() > 1 - FITS or (pairs[:, 1:] & pairs[:, :-1]).any())

    def _is_cut(self, image: U8) -> bool:
        """Whether a gutter goes through a tile that was not there: a thin line of page where there was none.

        A dark room before a dark page has such lines too, but not between two bright sides.
        """
        shares = self._crossed(image)
        for i in np.flatnonzero(self._open & (shares >= 1)).tolist():
            begin, end = self._spans[i].tolist()
            before, after = shares[max(begin, i - LINES_NEAR) : i], shares[i + 1 : min(end, i + 1 + LINES_NEAR)]
            if before.min(initial=1) < SIDE_MAX and after.min(initial=1) < SIDE_MAX:
                return True
        return False

    def _is_page(self, image: U8, points: Sequence[tuple[int, int]] | NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which points are page in this picture; all where no page is known."""
        places = np.array(points, dtype=np.intp).reshape(-1, 2)
        if self._page is None:
            return np.ones(len(places), dtype=np.bool_)
        return ~_off(self._page, image, places, accents=False)

    def _emptiness(self, image: U8) -> F64:
        """Share of page of each tile; all page counts twice."""
        if self._page is None:
            return np.zeros(0)
        off = _off(self._page, image, self._cells, accents=False, levels=LINE_LEVELS)
        shares = 1 - off.reshape(-1, CELL_POINTS**2).mean(axis=1)
        empty = ~_off(self._page, image, self._cells, accents=False).reshape(-1, CELL_POINTS**2).any(axis=1)
        return np.asarray(shares + empty)

    def _crossed(self, image: U8) -> F64:
        """Share of page of lines across the tiles, from side to side and from top to bottom."""
        if self._page is None:
            return np.zeros(0)
        page = ~_off(self._page, image, self._lines, accents=False, levels=LINE_LEVELS)
        return np.asarray(page.reshape(-1, LINE_POINTS).mean(axis=1))


def _off(
    page: Page, image: U8, points: NDArray[np.intp], *, accents: bool, levels: int = POINT_LEVELS
) -> NDArray[np.bool_]:
    """Which of (n, 2) points, as row and column, are not page; with `accents` the border around who speaks is."""
    height, width = image.shape[:2]
    pixels = image[points[:, 0], points[:, 1]].astype(np.int16)
    x, y = points[:, 1] * 2 / max(1, width - 1) - 1, points[:, 0] * 2 / max(1, height - 1) - 1
    colours = np.stack([np.ones(len(x)), x, y], axis=1) @ page.plane.T
    off = np.abs(pixels - colours).max(axis=1) > levels
    return np.asarray(off & (np.ptp(pixels, axis=1) < ACCENT_SPREAD) if accents else off)
