"""The page that a meeting application draws its tiles on: its colour, and where a picture shows it.

A page is of one colour or changes slowly across the picture. Gutters are page from one end of a row or column of
tiles to the other, so candidates for its colour are those that fill whole lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F32, F64
from pipeline.types import U8, Box

Bools = NDArray[np.bool_]
Span = tuple[int, int]

STEP: Final = 4
"""Lines are judged at every pixel across and at every fourth along: edges stay exact, and it costs a quarter."""
NEAR: Final = 6
"""Largest difference of a channel (0-255) from the page's colour that is page."""
WIDE: Final = 20
"""The same for gutters so narrow that compression blurs them."""
VALLEY_PX: Final = 4
"""What compression left of a narrow gutter is nearer to the page than what lies so many pixels to both sides,"""
VALLEY_DEPTH: Final = 8
"""by so many levels at least,"""
VALLEY_MAX: Final = 72
"""and no further from the page than this."""
ACCENT_SPREAD: Final = 60
"""Channels of the border around who speaks differ by more than this; it lies in the gutter and counts as page."""
ACCENT_MAX_PX: Final = 8
"""The border around who speaks is no wider."""
STEADY: Final = 14
"""Neighbours along such a border differ by no more than this."""
GRADIENT_MAX: Final = 45
"""A page's colour changes by less than this from the middle of the picture to its edge."""
BAR_MAX: Final = 0.13
"""Tool bars take at most this share of the height."""
BAR_EVEN: Final = 0.9
"""Share of a line of a tool bar, where it begins, that has the bar's colour."""
BAR_SHOWS: Final = 0.6
"""And of all its lines: the rest are signs and titles."""
NEAR_BAR: Final = 5
"""A tool bar whose colour differs less from the page is page."""
SMALLEST: Final = 32
"""A picture with a shorter side shows no gallery."""
LINE_MIN: Final = 0.85
"""A page fills this share of a row or column, roughly."""
LINE_SAMPLES: Final = 16
"""So many pixels of such a line are looked at,"""
FULL_LINE: Final = 0.85
"""of which this share has exactly the page's colour where the line is gutter."""
COLOURS_MAX: Final = 12
"""So many colours of lines are tried, the commonest first."""
BAR_LINES: Final = 4
"""A tool bar has the page's colour where so many lines between the bars have it."""
SAME_PAGE: Final = 4
"""Pages that differ by less are one."""
AROUND: Final = 10
"""Lines whose colours differ by no more than this are of one page, and the commonest of their gradients is its own."""
END: Final = 5
"""So many of a line's samples at either end tell its gradient: what stands in the middle of some does not."""
FIT_MIN: Final = 40
"""A page is fitted to no fewer pixels,"""
FIT_MOST: Final = 3000
"""of which about so many are looked at where there are more,"""
FIT_TURNS: Final = 4
"""in so many turns: what is as near as the page varies joins from turn to turn."""
GRID: Final = 16
"""Of the whole picture every pixel so far from the next is looked at."""
GROWS: Final = 1.5
"""A page that goes on beside its lines has so many times as many pixels exactly of its colour as one that does not."""
LEVEL: Final = np.diag([0.0, 0.1, 0.1])
"""Where the pixels tell nothing of a slope, as along x in one column, there is none."""
PART_OF, MORE_PAGE = 0.9, 1.1
"""A page is a part of another that has so much of it, and so many times as much in all."""
EXACT: Final = 3
"""A plane is better than one colour where a tenth more pixels are as near as this."""


class Lines:
    """Every fourth column and every fourth row of an (H, W, 3) uint8 picture, channels first.

    rows: (3, H, W/4): rows are read along their last axis. columns: (3, H/4, W): columns, along their middle axis.
    """

    def __init__(self, image: U8) -> None:
        self.size: Span = (image.shape[0], image.shape[1])
        self.rows = np.ascontiguousarray(image[:, ::STEP].transpose(2, 0, 1))
        self.columns = np.ascontiguousarray(image[::STEP].transpose(2, 0, 1))
        self.bars = _bars(self.rows)
        self.accents = (_accent(self.rows, 1), _accent(self.columns.transpose(0, 2, 1), 1).T)


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Colour of the page: `plane` (3, 3) float64 is, per channel, its mean, its slope along x and along y.

    x and y run from -1 to 1 across the picture.
    """

    plane: F64

    @property
    def is_flat(self) -> bool:
        """Whether it is of one colour."""
        return bool(np.abs(self.plane[:, 1:]).max() < 1)

    def distance(self, lines: U8) -> U8:
        """(h, w): how far each pixel of (3, h, w) lines is from the page, the largest channel."""
        height, width = lines.shape[1:]
        worst: U8 | None = None
        for channel, (mean, along, down) in zip(lines, self.plane, strict=True):
            page: U8 = np.full((1, 1), round(mean), dtype=np.uint8)
            if max(abs(along), abs(down)) >= 1:
                ramp = mean + along * _units(width)[None, :] + down * _units(height)[:, None]
                page = np.clip(ramp + 0.5, 0, 255).astype(np.uint8)
            far = np.maximum(channel, page)
            far -= np.minimum(channel, page)
            worst = far if worst is None else np.maximum(worst, far, out=worst)
        return worst if worst is not None else np.zeros((height, width), dtype=np.uint8)


def _units(length: int) -> F64:
    """Positions of `length` pixels from -1 to 1."""
    return np.linspace(-1.0, 1.0, length)


def find_pages(lines: Lines, *, limit: int = 8) -> list[Page]:
    """The likeliest pages of a picture, best first: colours that fill whole lines; none in pictures below 32 px."""
    if min(lines.size) < SMALLEST:
        return []
    samples = _Samples(lines)
    found: list[tuple[int, Page]] = []
    pages = [page for colour in samples.colours() for page in samples.pages(colour)]
    # Many applications draw their tool bars in the page's colour.
    bars = [Page(colour[:, 0] * np.array([1.0, 0.0, 0.0])) for height, colour in lines.bars if height]
    for page in [*(page for page in bars if samples.count(page) >= BAR_LINES), *pages, *samples.grown(pages)]:
        if not any(np.abs(page.plane - other.plane).max() <= SAME_PAGE for _, other in found):
            found.append((samples.count(page), page))
    found.sort(key=lambda pair: -pair[0])
    return [page for _, page in found[:limit]]


class _Samples:
    """Pixels of the lines of a picture that are nearly of one colour from end to end, between the tool bars."""

    def __init__(self, lines: Lines) -> None:
        height, width = lines.size
        top, bottom = lines.bars[0][0], height - lines.bars[1][0]
        ys, medians_y = _even(lines.rows[:, top:bottom, ::2])
        columns = lines.columns[:, -(-top // STEP) : max(1, bottom // STEP)]
        xs, medians_x = _even(columns.transpose(0, 2, 1)[:, :, ::2])
        self._n_rows = len(ys)
        self._medians = np.concatenate([medians_y, medians_x], axis=1)
        across = np.linspace(0, width - 1, LINE_SAMPLES).astype(np.intp)
        down = np.linspace(top, bottom - 1, LINE_SAMPLES).astype(np.intp)
        rows = lines.rows[:, ys + top][:, :, across // STEP]
        cols = lines.columns[:, np.minimum(down // STEP, lines.columns.shape[1] - 1)][:, :, xs]
        self._ends = np.concatenate(
            [
                np.concatenate([np.median(rows[:, :, end], axis=2), np.median(cols[:, end], axis=1)], axis=1)
                for end in (slice(END), slice(-END, None))
            ]
        ).astype(np.int16)
        self._pixels = np.concatenate([rows.reshape(3, -1), cols.reshape(3, -1)], axis=1).T.astype(np.float32)
        x = np.concatenate([np.tile(across, len(ys)), np.tile(xs, LINE_SAMPLES)])
        y = np.concatenate([np.repeat(ys + top, LINE_SAMPLES), np.repeat(down, len(xs))])
        places = [np.ones(len(x)), x * 2 / max(1, width - 1) - 1, y * 2 / max(1, height - 1) - 1]
        self._design = np.stack(places, axis=1).astype(np.float32)
        picture = lines.rows[:, top:bottom:GRID, :: GRID // STEP]
        ys, xs = np.arange(picture.shape[1]) * GRID + top, np.arange(picture.shape[2]) * GRID
        places = [np.ones(picture[0].size), np.tile(xs, len(ys)) * 2 / max(1, width - 1) - 1]
        places.append(np.repeat(ys, len(xs)) * 2 / max(1, height - 1) - 1)
        self._all = picture.reshape(3, -1).T.astype(np.float32), np.stack(places, axis=1).astype(np.float32)
        # An odd step reads all places along the lines.
        self._few = slice(None, None, len(x) // FIT_MOST | 1)
        self._tried: dict[int, list[F64]] = {NEAR: [], AROUND: []}

    def colours(self) -> list[F64]:
        """Coarsely different colours of lines, the commonest first."""
        exact = self._medians.astype(np.int32)
        colours, counts = np.unique(exact[0] << 16 | exact[1] << 8 | exact[2], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        colours, counts = colours[order], counts[order]
        # The commonest of each group of colours that are alike stands for it.
        _, index, group = np.unique(colours >> 3 & 0x1F1F1F, return_index=True, return_inverse=True)
        chosen = index[np.argsort(-np.bincount(group, counts), kind="stable")[:COLOURS_MAX]]
        return [np.array([c >> 16, c >> 8 & 255, c & 255], dtype=np.float64) for c in colours[chosen].tolist()]

    def count(self, page: Page) -> int:
        """How many lines have the page's colour from end to end."""
        near = self._off(page.plane) <= NEAR
        n_rows = self._n_rows * LINE_SAMPLES
        rows, columns = near[:n_rows].reshape(-1, LINE_SAMPLES), near[n_rows:].reshape(LINE_SAMPLES, -1)
        return int((rows.mean(axis=1) >= FULL_LINE).sum() + (columns.mean(axis=0) >= FULL_LINE).sum())

    def pages(self, colour: F64) -> list[Page]:
        """Pages around a colour: flat, and a plane where the page changes slowly and a plane fits better."""
        flat = np.zeros((3, 3))
        near = np.abs(self._pixels - colour.astype(np.float32)).max(axis=1) <= NEAR
        flat[:, 0] = np.median(self._pixels[near], axis=0) if near.any() else colour
        pages = [Page(flat)]
        # Lines tell how the page changes along them; where there is none that way, rows above each other do.
        for start, within in ((self._gradient(colour), NEAR), (flat, AROUND)):
            if not any((start == other).all() for other in self._tried[within]):
                self._tried[within].append(start)
                plane = self._fit(start, within)
                if plane is not None and self._n_exact(plane) > 1.1 * self._n_exact(flat):
                    pages.append(Page(plane))
        return pages

    def grown(self, pages: list[Page]) -> list[Page]:
        """The commonest page as it goes on beside its lines, where these are too few to tell how it changes."""
        flat = max((page for page in pages if page.is_flat), key=self.count, default=None)
        if flat is None or any(not page.is_flat and _meet(page, flat) for page in pages):
            return []
        pixels, design = self._all
        plane = _fit(flat.plane, NEAR, pixels, design)
        if plane is None:
            return []
        exact = [int((_from(one, pixels, design) <= EXACT).sum()) for one in (plane, flat.plane)]
        return [Page(plane)] if exact[0] > GROWS * exact[1] else []

    def _fit(self, plane: F64, within: int) -> F64 | None:
        """The plane of the lines' samples that are near to a first plane; see `_fit`."""
        return _fit(plane, within, self._pixels[self._few], self._design[self._few], step=self._few.step)

    def _n_exact(self, plane: F64) -> int:
        """How many pixels have exactly the colour of a plane."""
        return int((self._off(plane) <= EXACT).sum())

    def _gradient(self, colour: F64) -> F64:
        """(3, 3) plane of the commonest of the gradients of lines about this colour."""
        lines = np.flatnonzero((np.abs(self._medians - colour[:, None]) <= AROUND).all(axis=0))
        _, first, counts = np.unique(self._ends[:, lines] >> 3, axis=1, return_index=True, return_counts=True)
        line = int(lines[first[counts.argmax()]])
        start, stop = self._ends[:, line].reshape(2, 3).astype(np.float64)
        plane = np.zeros((3, 3))
        plane[:, 0] = (start + stop) / 2
        # The ends' middles lie END - 1 samples further inside than the picture's edges.
        plane[:, 1 if line < self._n_rows else 2] = (stop - start) / 2 * (LINE_SAMPLES - 1) / (LINE_SAMPLES - END)
        return plane

    def _off(self, plane: F64) -> F32:
        return _from(plane, self._pixels, self._design)


def _fit(plane: F64, within: int, pixels: F32, design: F32, *, step: int = 1) -> F64 | None:
    """The plane of what is near to a first plane, and then to what comes out; None where that is flat or steep.

    pixels: (n, 3), one of so many as `step` tells; design: (n, 3).
    """
    for _ in range(FIT_TURNS):
        near = _from(plane, pixels, design) <= within
        if near.sum() * step < FIT_MIN:
            return None
        own = design[near]
        plane = np.linalg.solve(own.T @ own + LEVEL, own.T @ pixels[near]).T
        if np.abs(plane[:, 1:]).sum(axis=1).max() > GRADIENT_MAX:
            return None
        within = NEAR
    return plane if np.abs(plane[:, 1:]).max() >= 1 else None


def _meet(page: Page, flat: Page) -> bool:
    """Whether a page has the colour of a flat one somewhere in the picture."""
    reach = np.abs(page.plane[:, 1:]).sum(axis=1)
    return bool((np.abs(page.plane[:, 0] - flat.plane[:, 0]) <= reach + NEAR).all())


def _from(plane: F64, pixels: F32, design: F32) -> F32:
    """(n,) how far (n, 3) pixels are from a plane at their places, the largest channel."""
    off: F32 = np.abs(pixels - design @ plane.T.astype(np.float32)).max(axis=1)
    return off


def _even(lines: U8) -> tuple[NDArray[np.intp], U8]:
    """Which rows of (3, n, m) are nearly of one colour, and their (3, k) colours."""
    few = lines[:, :, :: max(1, lines.shape[2] // 48)]
    half = few.shape[2] // 2
    medians = np.partition(few, half, axis=2)[:, :, half]
    off = np.maximum(lines, medians[:, :, None]) - np.minimum(lines, medians[:, :, None])
    share = (off.max(axis=0) <= WIDE).mean(axis=1)
    which = np.flatnonzero(share >= LINE_MIN)
    return which, medians[:, which]


class PageMask:
    """Where a picture is page, summed so that a line's share costs two reads.

    With `before`, the mask of the picture before on the same page, distances from the page are averaged over time: a
    gutter is page in all pictures, somebody before a dark wall moves.
    """

    def __init__(self, lines: Lines, page: Page, *, near: int = NEAR, before: "PageMask | None" = None) -> None:
        self.size = lines.size
        self.page = page
        self.near = near
        self.far: dict[int, U8] = {}
        self._sums: dict[tuple[int, bool], NDArray[np.int32]] = {}
        for axis, pixels in ((1, lines.rows), (0, lines.columns)):
            far = page.distance(pixels)
            far[lines.accents[1 - axis]] = 0
            if before is not None:
                # The newest picture counts for half: what has gone is soon forgotten.
                far = (before.far[axis].astype(np.uint16) + far + 1 >> 1).astype(np.uint8)
            self.far[axis] = far
            blurred = far <= WIDE
            blurred |= _valley(far) if axis == 1 else _valley(far.T).T
            for wide, mask in ((False, far <= near), (True, blurred)):
                sums = np.zeros((mask.shape[0] + (axis == 0), mask.shape[1] + (axis == 1)), dtype=np.int32)
                np.cumsum(mask, axis=axis, dtype=np.int32, out=sums[:, 1:] if axis == 1 else sums[1:])
                self._sums[axis, wide] = sums
        self.stage = _stage(lines, page, self.far[0])

    def share(self, box: Box, axis: int, *, wide: bool = False) -> F64:
        """Share of page of every row (axis 1) or column (axis 0) of the box, in [0, 1]."""
        x0, y0, x1, y1 = within(box, self.size)
        sums = self._sums[axis, wide]
        if axis == 1:
            a, b = _ends(x0, x1)
            return np.asarray((sums[y0:y1, b] - sums[y0:y1, a]) / (b - a))
        a, b = _ends(y0, y1)
        return np.asarray((sums[b, x0:x1] - sums[a, x0:x1]) / (b - a))

    def profile(self, box: Box, axis: int) -> F64:
        """Mean distance from the page of every row (axis 1) or column (axis 0) of the box, in levels."""
        x0, y0, x1, y1 = within(box, self.size)
        a, b = _ends(x0, x1) if axis == 1 else _ends(y0, y1)
        part = self.far[1][y0:y1, a:b] if axis == 1 else self.far[0][a:b, x0:x1]
        return np.asarray(part.mean(axis=axis))

    def goes_beyond(self, other: "PageMask", boxes: Sequence[Box]) -> bool:
        """Whether what is page on another page, but for these boxes, is page on this one as well, and more is."""
        own, others = self.far[1] <= self.near, other.far[1] <= other.near
        for x0, y0, x1, y1 in boxes:
            own[y0:y1, -(-x0 // STEP) : -(-x1 // STEP)] = others[y0:y1, -(-x0 // STEP) : -(-x1 // STEP)] = False
        n_own, n_others, n_both = int(own.sum()), int(others.sum()), int((own & others).sum())
        return n_both >= PART_OF * max(1, n_others) and n_own >= MORE_PAGE * n_others

    def crosses(self, box: Box, level: int) -> bool:
        """Whether a row or column through a box is so many levels from this page from end to end, between tool bars.

        So is what the box shows of another page; a tile of one colour has gutters at its sides.
        """
        _, top, _, bottom = self.stage
        x0, y0, x1, y1 = within(box, self.size)
        rows = self.far[1][max(top, y0) : min(bottom, y1)]
        columns = self.far[0][-(-top // STEP) : max(1, bottom // STEP), x0:x1]
        for lines in (rows, columns.T):
            like = np.abs(lines.astype(np.int16) - level) <= self.near
            if (like[:, 0] & like[:, -1] & (like.mean(axis=1) >= FULL_LINE)).any():
                return True
        return False

    def sample(self, box: Box, most: int) -> U8:
        """Distances from the page, in levels, at `most` points or some more across and down a box in the picture."""
        x0, y0, x1, y1 = box
        a, b = _ends(x0, x1)
        return self.far[1][y0 : y1 : max(1, (y1 - y0) // most), a : b : max(1, (b - a) // most)]

    def line(self, box: Box, axis: int, at: int) -> NDArray[np.int16]:
        """Distances from the page, in levels, along row (axis 1) or column (axis 0) number `at` of the box."""
        x0, y0, x1, y1 = within(box, self.size)
        a, b = _ends(x0, x1) if axis == 1 else _ends(y0, y1)
        return (self.far[1][y0 + at, a:b] if axis == 1 else self.far[0][a:b, x0 + at]).astype(np.int16)


def _bars(rows: U8) -> tuple[tuple[int, U8], tuple[int, U8]]:
    """Heights and colours of what may be tool bars at the top and at the bottom of (3, H, w) rows; height 0: none.

    A bar has its colour on most of each of its rows, and from end to end where it begins.
    """
    most = max(1, round(BAR_MAX * rows.shape[1]))
    found = []
    for band in (rows[:, :most], rows[:, ::-1][:, :most]):
        colour = np.median(band[:, 0], axis=1).astype(np.uint8)[:, None, None]
        like = (np.maximum(band, colour) - np.minimum(band, colour)).max(axis=0) <= NEAR
        shares = like.mean(axis=1)
        shows = shares >= BAR_SHOWS
        height = most if shows.all() else int(shows.argmin())
        full = np.flatnonzero(shares[:height] >= BAR_EVEN)
        found.append((int(full[-1]) + 1 if len(full) else 0, colour))
    return found[0], found[1]


def _stage(lines: Lines, page: Page, far: U8) -> Box:
    """The picture without its tool bars, as far as they differ from the page; `far`: (H/4, W) distances from it."""
    height, width = lines.size
    (top, above), (bottom, below) = lines.bars
    ends = page.plane[:, :1] + page.plane[:, 2:] * np.array([-1.0, 1.0])
    top = top if np.abs(ends[:, 0] - above[:, 0, 0]).max() > NEAR_BAR else 0
    bottom = bottom if np.abs(ends[:, 1] - below[:, 0, 0]).max() > NEAR_BAR else 0
    # Nor does the page go on through a bar to the edge of the picture, as it does between tiles of the bar's colour.
    top = 0 if _goes_through(far[: top // STEP]) else top
    bottom = 0 if _goes_through(far[-(-(height - bottom) // STEP) :]) else bottom
    return (0, top, width, height - bottom)


def _goes_through(far: U8) -> bool:
    """Whether two columns of page beside each other lead through (n, W) distances from the page."""
    page = (far <= NEAR_BAR).all(axis=0) if len(far) else np.zeros(1, dtype=np.bool_)
    return bool((page[1:] & page[:-1]).any())


def within(box: Box, size: Span) -> Box:
    """The part of a box that lies in a picture of (height, width): at least a pixel."""
    height, width = size
    x0, y0 = min(max(0, box[0]), width - 1), min(max(0, box[1]), height - 1)
    return x0, y0, max(x0 + 1, min(width, box[2])), max(y0 + 1, min(height, box[3]))


def _ends(start: int, stop: int) -> Span:
    """First sample in [start, stop) and the first beyond: at least one."""
    a, b = -(-start // STEP), -(-stop // STEP)
    return (a, b) if b > a else (b - 1, b)


def _valley(far: U8) -> Bools:
    """(h, w): where rows are nearer to the page than what lies above and below: what compression left of a gutter."""
    d = VALLEY_PX
    rise = np.minimum(far[2 * d :], far[: -2 * d])
    middle = far[d:-d]
    valley = np.zeros(far.shape, dtype=np.bool_)
    valley[d:-d] = (middle <= VALLEY_MAX) & (rise > np.minimum(middle, 255 - VALLEY_DEPTH) + VALLEY_DEPTH)
    return valley


def _accent(lines: U8, reach: int) -> Bools:
    """(h, w): where a row of (3, h, w) lines is the bright border around who speaks: coloured, even, thin."""
    coloured = lines.max(axis=0) - lines.min(axis=0) >= ACCENT_SPREAD
    even = np.zeros_like(coloured)
    green = lines[1]
    step = np.maximum(green[:, reach:], green[:, :-reach]) - np.minimum(green[:, reach:], green[:, :-reach])
    even[:, reach:] = step <= STEADY
    thin = coloured & even
    d = ACCENT_MAX_PX
    thin[d:] &= ~coloured[:-d]
    thin[:-d] &= ~coloured[d:]
    return np.asarray(thin)
