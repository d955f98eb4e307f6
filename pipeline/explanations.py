"""What one picture of a video wall shows: the best of the explanations on all the pages that it may be drawn on."""

from typing import Final

from pipeline.boxes import covered
from pipeline.page import EXACT, Lines, Page, PageMask, find_pages
from pipeline.tiles import Search
from pipeline.walls import GallerySettings, Wall, goes_on

SURE: Final = 0.62
"""Score from which on there is evidence enough."""
WALL_MIN: Final = 0.45
"""Score of an explanation from which on it is believed."""
PLAIN_WALL: Final = 0.9
"""And from which on no other page is tried."""
SLOPED: Final = 0.93
"""A plane bends to much that is no page: its explanation must be better than that on one colour."""
INNER: Final = 0.95
"""A tile lies in another with this share of it,"""
INNER_PAGE: Final = 0.9
"""and around it is page on this share of the other."""
ONE_TILE: Final = 0.55
"""Such scores times this for one tile on a page, which scores lower but is told by all of its four sides."""
BETTER: Final = 0.05
"""A layout that still fits gives way to one whose score is higher by this."""


def explain(lines: Lines, settings: GallerySettings, known: Page | None = None) -> tuple[Wall, Search] | None:
    """The best explanation of a picture on any page, or on the one that is known; None where there is none."""
    options: list[tuple[float, Wall, Search]] = []
    for page in ([known] if known else []) + find_pages(lines):
        search = Search(PageMask(lines, page, near=settings.page_tolerance), settings)
        found = [(search.best(), search)]
        if page.is_flat and not _is_plain(found[0][0]) and search.cells.may_hide_tiles():
            # Tiles without a picture may be as near to the page as what compression makes of it elsewhere.
            exact = Search(PageMask(lines, page, near=min(EXACT, settings.page_tolerance)), settings)
            found.append((exact.best(), exact))
        believable = [(_worth(wall, page), wall, one) for wall, one in found if wall is not None and believed(wall)]
        if not believable:
            continue
        options.append(max(believable, key=lambda option: option[0]))
        if options[-1][0] >= PLAIN_WALL:
            break
    # A part of another page, on which the picture is explained about as well, is none.
    options = [a for a in options if not any(_is_band(a, b) for b in options)]
    # Tiles that have tiles in them, with page around these, are parts of that page.
    options = [a for a in options if not any(_holds(a[1], b[1], b[2]) for b in options)]
    # Nor is a big region what more tiles of the same size explain, on another page: none goes on in what is shared.
    options = [a for a in options if not any(_goes_on(a, b) for b in options)]
    return max(options, key=lambda option: option[0])[1:] if options else None


def _is_band(a: tuple[float, Wall, Search], b: tuple[float, Wall, Search]) -> bool:
    """Whether an explanation is on one colour of a page that changes slowly, on which another is about as good."""
    (worth, _, one), (_, wall, whole) = a, b
    changes = one.cells.mask.page.is_flat and not whole.cells.mask.page.is_flat
    if not changes or wall.score / scale(wall) < worth - BETTER:
        return False
    boxes = [*wall.tiles, *([wall.main] if wall.main else [])]
    return whole.cells.mask.goes_beyond(one.cells.mask, boxes)


def _goes_on(a: tuple[float, Wall, Search], b: tuple[float, Wall, Search]) -> bool:
    """Whether the grid of another explanation goes on through a big region, and is certain or about as good."""
    return goes_on(a[1], b[1]) and (is_certain(b[1]) or b[0] >= a[0] - BETTER)


def _holds(wall: Wall, inner: Wall, search: Search) -> bool:
    """Whether a tile of an explanation holds two or more tiles of another one, and nothing else but its page."""
    for tile in wall.tiles:
        boxes = [box for box in (*inner.tiles, *([inner.main] if inner.main else [])) if covered(box, [tile]) >= INNER]
        if len(boxes) > 1 and search.cells.page_around(tile, boxes) >= INNER_PAGE:
            return True
    return False


def believed(wall: Wall) -> bool:
    """Whether an explanation is good enough to be looked at again."""
    return wall.score >= WALL_MIN * scale(wall)


def _is_plain(wall: Wall | None) -> bool:
    """Whether an explanation is so good that no other is looked for."""
    return wall is not None and wall.score >= PLAIN_WALL * scale(wall)


def _worth(wall: Wall, page: Page) -> float:
    """What an explanation on one page is compared with those on others by."""
    return wall.score / scale(wall) * (1.0 if page.is_flat else SLOPED)


def is_certain(wall: Wall) -> bool:
    """Whether an explanation needs no second look."""
    return wall.score >= SURE * scale(wall)


def scale(wall: Wall) -> float:
    """What scores are measured with: one tile on a page scores lower than a gallery."""
    return ONE_TILE if is_lone(wall) else 1.0


def is_lone(wall: Wall) -> bool:
    """Whether an explanation is one tile on a page."""
    return len(wall.tiles) == 1 and wall.main is None
