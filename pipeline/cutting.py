"""A picture of a video wall is cut along its gutters, within these again, and so on: what is left are cells."""

from typing import Final

import numpy as np

from pipeline.boxes import part_of, runs
from pipeline.emotions import F64
from pipeline.page import Bools, PageMask, Span
from pipeline.types import Box
from pipeline.walls import GallerySettings, Node

NEAR_LINE: Final = 0.9
"""Share of a gutter's line that must have exactly the page's colour; the rest is what compression left of it."""
BESIDE: Final = 0.6
"""And of one of the lines beside the only one that is left of a gutter."""
ROUGHLY: Final = 0.85
"""Or that much of it is page roughly."""
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
LINE_DEPTH: Final = 0.33
"""or, where it is one line that is page roughly from end to end, this one;"""
THIN_STEP, THIN_LENGTH = 2, 0.5
"""and on so much of its length it is so many levels nearer than one of the lines beside it."""
DEPTH: Final = 5
"""Cuts within cuts: a strip beside rows of rows needs four."""


def cut(mask: PageMask, settings: GallerySettings, box: Box, depth: int = DEPTH) -> Node | None:
    """The box without its margins, cut along all gutters; None where it is all page."""
    for axis in (1, 0, 1):
        spans = _spans(mask, settings, box, axis, inside=False)
        if not spans:
            return None
        box = part_of(box, axis, (spans[0][0], spans[-1][1]))
    if min(box[2] - box[0], box[3] - box[1]) < settings.tile_min_px:
        return Node(box)
    for axis in (1, 0):
        spans = _spans(mask, settings, box, axis)
        if len(spans) > 1 and depth:
            parts = [cut(mask, settings, part_of(box, axis, span), depth - 1) for span in spans]
            return Node(box, tuple(part for part in parts if part is not None))
    return Node(box)


def _spans(mask: PageMask, settings: GallerySettings, box: Box, axis: int, *, inside: bool = True) -> list[Span]:
    """Spans between the gutters of a box, along y (axis 1) or x (axis 0); one, without those `inside` of it."""
    start = box[1] if axis == 1 else box[0]
    page = mask.share(box, axis), mask.share(box, axis, wide=True)
    n = len(page[0])
    gutter = np.zeros(n, dtype=np.bool_)
    for a, b in runs(page[1] >= settings.page_share):
        if not (inside or a == 0 or b == n):
            continue
        if b - a <= THIN_PX:
            gutter[a:b] = _is_thin_gutter(mask, settings, box, axis, (a, b), page)
        else:
            gutter[a:b] = _wide_gutter(mask, settings, box, axis, (a, b), page[0] >= NEAR_LINE)
    for a, b in runs(gutter):
        if b - a >= settings.tile_min_px and _holds_a_tile(
            mask, settings, part_of(box, axis, (start + a, start + b)), axis
        ):
            gutter[a:b] &= page[0][a:b] >= FULL
    return [(start + a, start + b) for a, b in runs(~gutter)]


def _wide_gutter(mask: PageMask, settings: GallerySettings, box: Box, axis: int, span: Span, near: Bools) -> Bools:
    """(b - a,) which lines of a span that is page roughly are gutter: those that are so exactly, and what is left of some."""
    (a, b), n = span, len(near)
    gutter = np.zeros(b - a, dtype=np.bool_)
    far = mask.profile(box, axis)
    for c, d in runs(near[a:b]):
        if d - c >= settings.gutter_min_px or a + c == 0 or a + d == n:
            gutter[c:d] = True
            # Next to a bright tile compression leaves a pixel or two that are page only roughly.
            for i, inward in ((a + c - 1, -1), (a + c - 2, -1), (a + d, 1), (a + d + 1, 1)):
                further = i + THIN_APART * inward
                if a <= i < b and not (0 <= further < n and far[i] > THIN_DEPTH * far[further]):
                    gutter[i - a] = True
    return gutter


def _is_thin_gutter(
    mask: PageMask, settings: GallerySettings, box: Box, axis: int, span: Span, page: tuple[F64, F64]
) -> bool:
    """Whether thin lines are what compression left of a gutter; `page`: shares of page of all lines, exactly and roughly."""
    (a, b), (shares, roughly) = span, page
    n, near = len(shares), shares[a:b] >= NEAR_LINE
    if near.any() and (b - a >= settings.gutter_min_px or a == 0 or b == n):
        return True
    # The border around who speaks takes a part of one of a narrow gutter's lines.
    beside = float(max(shares[a - 1], shares[b])) if a > 0 and b < n else 0.0
    line = near.all() and (beside >= BESIDE or _is_line(shares, (a, b)))
    # Compression leaves a little less of a narrow gutter's other line.
    thick = b - a + sum(roughly[i] >= ROUGHLY for i in (a - 1, b) if 0 <= i < n)
    if thick >= settings.gutter_min_px or a == 0 or b == n or line:
        return bool(near.any()) or _is_valley(mask, box, axis, (a, b), shares)
    return bool(roughly[a:b].max() >= FULL) and _is_valley(mask, box, axis, (a, b), shares, depth=LINE_DEPTH)


def _holds_a_tile(mask: PageMask, settings: GallerySettings, gutter: Box, axis: int) -> bool:
    """Whether something stands in a gutter that is so narrow that the rest of each line is page: an upright phone's tile."""
    shown = mask.share(gutter, 1 - axis) < ELSEWHERE
    return any(b - a >= settings.tile_min_px for a, b in runs(shown))


def _is_valley(mask: PageMask, box: Box, axis: int, span: Span, shares: F64, depth: float = THIN_DEPTH) -> bool:
    """Whether thin lines are nearer to the page than the lines to both sides: not a part of a pale tile."""
    start, stop = span
    far = mask.profile(box, axis)
    inner = far[start:stop].min() / depth
    if any(far[i] < inner for i in (start - THIN_APART, stop - 1 + THIN_APART) if 0 <= i < len(far)):
        return False
    # Nor is what lies between the letters of a name on a pale tile, as near as the rest of it.
    before, after = slice(max(0, start - THIN_AROUND), start), slice(stop, stop + THIN_AROUND)
    shown = np.concatenate([far[part][shares[part] < NEAR_LINE] for part in (before, after)])
    rare = len(shown) * THIN_RARE // 100
    if len(shown) and np.partition(shown, rare)[rare] < inner:
        return False
    return _is_deep(mask, box, axis, span)


def _is_deep(mask: PageMask, box: Box, axis: int, span: Span) -> bool:
    """Whether thin lines are nearer to the page than what is beside them along most of them, not just beside a name."""
    length = (box[3] - box[1], box[2] - box[0])[1 - axis]
    beside = [at for at in (span[0] - THIN_APART, span[1] - 1 + THIN_APART) if 0 <= at < length]
    lines = [mask.line(box, axis, at) for at in (*range(*span), *beside)]
    inner = np.min(lines[: span[1] - span[0]], axis=0)
    outer = np.max(lines[span[1] - span[0] :] or [inner + THIN_STEP], axis=0)
    return float((inner + THIN_STEP <= outer).mean()) >= THIN_LENGTH


def _is_line(shares: F64, span: Span) -> bool:
    """Whether so thin lines are page from end to end, and nothing near them is: by chance a picture has no such line."""
    start, stop = span
    beside = [shares[i] for i in (start - LINE_APART, stop - 1 + LINE_APART) if 0 <= i < len(shares)]
    return bool(shares[start:stop].max() >= FULL and max(beside, default=1.0) <= ELSEWHERE)
