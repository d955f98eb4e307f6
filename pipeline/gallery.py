"""A picture of a video wall → the rectangles of its tiles, for regular grids with gutters.

A meeting application draws its tiles on a page of one colour: gutters are the rows and columns that show
nothing but that page. Rows are cut first and then each row by itself, so a last row that is shorter and
centred comes out right. What is not a regular grid is one tile, the whole picture: a single person.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.types import U8, Box

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class GallerySettings:
    """How tiles are told from the page they are drawn on.

    page_tolerance: largest difference of a channel (0-255) from the page's colour that is still page.
    page_share: share of a line's pixels that must be page for the line to be gutter.
    gutter_min_px: narrowest gutter; a line or two of page colour are part of a picture.
    gutter_max: widest gutter between two tiles, as a share of the picture's longer side.
    tile_min_px: smallest side of a tile.
    size_tolerance: how far tiles of one grid may differ in width or height, as a share of the largest.
    aspect_min, aspect_max: width / height of a tile.
    max_tiles: a grid of more tiles is a pattern, not a call.
    contrast_min: a picture whose channels spread less than this (0-255) shows nothing, no tile at all.
    hold: how many looks in a row must agree on a new layout before it replaces the old one.
    """

    page_tolerance: int = 10
    page_share: float = 0.985
    gutter_min_px: int = 3
    gutter_max: float = 0.05
    tile_min_px: int = 64
    size_tolerance: float = 0.12
    aspect_min: float = 0.5
    aspect_max: float = 2.4
    max_tiles: int = 49
    contrast_min: float = 12.0
    hold: int = 3


DEFAULT_GALLERY = GallerySettings()


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return inter / (area - inter)


def find_tiles(image: U8, settings: GallerySettings = DEFAULT_GALLERY) -> tuple[Box, ...]:
    """Boxes of the tiles, row by row from the top left; () when the (H, W, 3) uint8 picture shows nothing.

    Raises:
        ValueError: The picture is not (H, W, 3) uint8 with at least one pixel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:  # noqa: PLR2004
        msg = f"picture: expected (H, W, 3) uint8 with H, W > 0, got {image.shape} {image.dtype}"
        raise ValueError(msg)
    height, width = image.shape[:2]
    sample = image[:: max(1, height // 90), :: max(1, width // 160)].reshape(-1, 3)
    low, high = np.percentile(sample, (2, 98), axis=0)
    if float((high - low).max()) < settings.contrast_min:
        return ()
    for page in _page_colours(image):
        tiles = _cut(_is_page(image, page, settings.page_tolerance), settings)
        if tiles:
            return tiles
    return ((0, 0, width, height),)


def _page_colours(image: U8) -> list[NDArray[np.int16]]:
    """Candidates for the page's colour: the median of the frame's edge, and of its two middle lines.

    The edge is page where the grid has a margin; the middle lines are gutter in grids of two by two.
    """
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    lines = (edge, image[image.shape[0] // 2], image[:, image.shape[1] // 2])
    return [np.median(line, axis=0).astype(np.int16) for line in lines]


def _is_page(image: U8, page: NDArray[np.int16], tolerance: int) -> NDArray[np.bool_]:
    """(H, W) mask of the pixels that have the page's colour."""
    low = np.clip(page - tolerance, 0, 255).astype(np.uint8)
    high = np.clip(page + tolerance, 0, 255).astype(np.uint8)
    mask = (image[..., 0] >= low[0]) & (image[..., 0] <= high[0])
    for channel in (1, 2):
        mask &= (image[..., channel] >= low[channel]) & (image[..., channel] <= high[channel])
    return np.asarray(mask)


def _cut(page: NDArray[np.bool_], settings: GallerySettings) -> tuple[Box, ...]:
    """Boxes of a regular grid, or () where the mask shows none."""
    gutter_max = settings.gutter_max * max(page.shape)
    rows = _spans(page.mean(axis=1) >= settings.page_share, settings, gutter_max)
    gutters = [page[top:bottom].mean(axis=0) >= settings.page_share for top, bottom in rows]
    found = [_spans(gutter, settings, gutter_max) for gutter in gutters]
    # A tile as dark as the page hides its own edges: such a row takes the columns of another row, if there is
    # gutter between those here too.
    grid = [
        columns or next((other for other in found if other and _fits(other, gutter)), [])
        for columns, gutter in zip(found, gutters, strict=True)
    ]
    boxes = tuple(
        (left, top, right, bottom)
        for (top, bottom), columns in zip(rows, _align(grid), strict=True)
        for left, right in columns
    )
    if not 2 <= len(boxes) <= settings.max_tiles or not all(grid):  # noqa: PLR2004 (one rectangle is no grid)
        return ()
    shapes = ((right - left) / (bottom - top) for left, top, right, bottom in boxes)
    if not all(settings.aspect_min <= shape <= settings.aspect_max for shape in shapes):
        return ()
    return boxes if all(_alike([box[i + 2] - box[i] for box in boxes], settings) for i in (0, 1)) else ()


def _spans(gutter: NDArray[np.bool_], settings: GallerySettings, gutter_max: float) -> list[Span]:
    """Runs between gutters, about equally long and close together; [] where they are not."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], gutter, [True]]).astype(np.int8))).tolist()
    for i in range(len(edges) - 2, 1, -2):
        if edges[i] - edges[i - 1] < settings.gutter_min_px:
            del edges[i - 1 : i + 1]
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= settings.tile_min_px]
    if any(right[0] - left[1] > gutter_max for left, right in pairwise(spans)):
        return []
    return spans if _alike([b - a for a, b in spans], settings) else []


def _alike(sides: list[int], settings: GallerySettings) -> bool:
    """Whether all sides are about as long as the longest."""
    return all(side >= (1 - settings.size_tolerance) * max(sides) for side in sides)


def _fits(columns: list[Span], gutter: NDArray[np.bool_]) -> bool:
    """Whether there is gutter between all neighbouring columns."""
    return all(gutter[left[1] : right[0]].any() for left, right in pairwise(columns))


def _align(grid: list[list[Span]]) -> list[list[Span]]:
    """Columns of rows with as many tiles share their left and right edges.

    A tile that is as dark as the page at its edge looks narrower than it is, never wider: the widest wins.
    """
    shared: dict[int, list[Span]] = {}
    for columns in grid:
        known = shared.get(len(columns), columns)
        shared[len(columns)] = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(known, columns, strict=True)]
    return [shared[len(columns)] for columns in grid]


class GallerySplitter:
    """Keeps the layout of one feed from picture to picture: it changes when `hold` looks in a row agree.

    A picture that shows nothing says nothing about the layout. Where there was none but such pictures for `hold`
    looks, somebody sits there with the camera off: one tile, until the first picture that shows something.
    """

    def __init__(self, settings: GallerySettings = DEFAULT_GALLERY) -> None:
        self._settings = settings
        self._layout: tuple[Box, ...] = ()
        self._candidate: tuple[Box, ...] = ()
        self._firm = False
        self._seen = 0
        self._size = (0, 0)

    def update(self, image: U8) -> tuple[Box, ...]:
        """The layout after this look at the feed; (H, W, 3) uint8 RGB."""
        height, width = image.shape[:2]
        found = find_tiles(image, self._settings)
        if self._size != (height, width):
            # Boxes of another picture size mean nothing in this one.
            self._size, self._layout, self._firm, self._seen = (height, width), (), False, 0
        if found and not self._firm:
            self._layout, self._firm, self._seen = found, True, 0
        elif not found:
            self._seen = 0 if self._firm else self._seen + 1
            if self._seen >= self._settings.hold:
                self._layout = ((0, 0, width, height),)
        elif same_layout(found, self._layout):
            self._seen = 0
        else:
            self._seen = self._seen + 1 if same_layout(found, self._candidate) else 1
            self._candidate = found
            if self._seen >= self._settings.hold:
                self._layout, self._seen = found, 0
        return self._layout


def same_layout(a: tuple[Box, ...], b: tuple[Box, ...]) -> bool:
    """Whether two layouts are the same but for a few pixels, such as a speaker's border."""
    return len(a) == len(b) and all(iou(x, y) >= 0.85 for x, y in zip(a, b, strict=True))  # noqa: PLR2004
