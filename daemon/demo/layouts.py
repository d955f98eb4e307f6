"""Where a meeting application draws its tiles: grids, a speaker with a strip, a shared screen with a strip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.types import Box

Rgb = tuple[int, int, int]
Kind = Literal["grid", "speaker", "screen"]
Side = Literal["right", "bottom", "top", "left"]

WIDE: Final = 16 / 9
LABEL_PX: Final = 20
"""Height of a name label in a window of 720 px."""
_NARROWEST_PX: Final = 48
"""A narrower tile is not drawn: nobody could tell who that is."""


@dataclass(frozen=True, slots=True)
class Skin:
    """How an application looks; lengths in pixels of the recording.

    page: colour at the top and at the bottom. tile: colour of a tile without a picture. bars: what a picture that
    does not fill its tile stands on, a colour or None for itself out of focus. gutter, margin, radius: between tiles,
    around them, of their corners. top, bottom: heights of the tool bars (0: none), in the colour `bar`.
    label: where names stand. badge: whether names stand on a dark plate. border, border_px, border_inside: the mark of
    who speaks. tall: whether tiles take the shape that fills the window, else 16:9. cover: whether pictures fill their
    tiles and lose their edges. narrow: whether the tile of an upright phone is as narrow as its picture.
    last_row: where an incomplete last row stands. strip, strip_share: where the strip stands and how much of the window
    it takes. round_avatar: initials in a circle, else on the bare tile.
    """

    name: str
    page: tuple[Rgb, Rgb]
    tile: Rgb
    bars: Rgb | None
    gutter: int
    margin: int
    radius: int
    top: int
    bottom: int
    bar: Rgb
    label: Literal["left", "centre", "below", "none"]
    badge: bool
    border: Rgb
    border_px: int
    border_inside: bool
    tall: bool
    cover: bool
    narrow: bool
    last_row: Literal["centre", "left"]
    strip: Side
    strip_share: float
    round_avatar: bool

    def label_px(self, height: int) -> int:
        """Height of a name label in a recording of this height."""
        return max(11, round(LABEL_PX * height / 720))


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything stands: a rectangle per person shown, in order, and that of the shared screen."""

    grid: str
    rects: tuple[Box, ...]
    screen: Box | None = None


def plan(kind: Kind, n: int, size: tuple[int, int], skin: Skin) -> Plan:
    """The places of the first people of `n`: all of them in a grid, as many as the strip holds otherwise.

    Raises:
        ValueError: There is nobody.
    """
    if n < 1:
        msg = f"a gallery shows at least one person, not {n}"
        raise ValueError(msg)
    width, height = size
    edge = skin.margin
    area = (edge, skin.top + edge, width - edge, height - skin.bottom - edge)
    label = skin.label_px(height) + 2 if skin.label == "below" else 0
    if kind == "grid" or (kind == "speaker" and n == 1):
        columns, rects = _grid(n, area, skin, label)
        return Plan(f"{columns}x{-(-n // columns)}", rects)
    main, strip = _split(area, skin)
    n_strip = n - 1 if kind == "speaker" else n
    places = _strip(n_strip, strip, skin, label)
    if kind == "speaker":
        x0, y0, x1, y1 = main
        stage = (x0, y0, x1, y1 - label)
        big = stage if skin.tall else _fit(stage, WIDE)
        return Plan(f"speaker {skin.strip}", (big, *places))
    return Plan(f"screen {skin.strip}", places, main)


def _grid(n: int, area: Box, skin: Skin, label: int) -> tuple[int, tuple[Box, ...]]:
    """The number of columns that makes the tiles largest, and the tiles row by row."""
    x0, y0, x1, y1 = area
    best = (0.0, 1, 1, 1)
    for columns in range(1, n + 1):
        rows = -(-n // columns)
        cell_w = (x1 - x0 - (columns - 1) * skin.gutter) / columns
        cell_h = (y1 - y0 - (rows - 1) * skin.gutter) / rows - label
        if min(cell_w, cell_h) <= 1:
            continue
        fit_w = min(cell_w, WIDE * cell_h)
        if skin.tall:
            # Tiles fill the window; the number of columns is the one that comes closest to a camera's shape.
            shape = cell_w / cell_h
            score, tile_w, tile_h = min(shape / 1.5, 1.5 / shape), cell_w, cell_h
        else:
            score, tile_w, tile_h = fit_w, fit_w, fit_w / WIDE
        if score > best[0]:
            best = (score, columns, int(tile_w), int(tile_h))
    _, columns, tile_w, tile_h = best
    rows = -(-n // columns)
    block_h = rows * (tile_h + label) + (rows - 1) * skin.gutter
    block_w = columns * tile_w + (columns - 1) * skin.gutter
    top, left = (y0 + y1 - block_h) // 2, (x0 + x1 - block_w) // 2
    rects = []
    for index in range(n):
        row, column = divmod(index, columns)
        in_row = min(columns, n - row * columns)
        missing = (columns - in_row) * (tile_w + skin.gutter)
        x = left + column * (tile_w + skin.gutter) + (missing // 2 if skin.last_row == "centre" else 0)
        y = top + row * (tile_h + label + skin.gutter)
        rects.append((x, y, x + tile_w, y + tile_h))
    return columns, tuple(rects)


def _split(area: Box, skin: Skin) -> tuple[Box, Box]:
    """The main region and the strip's."""
    x0, y0, x1, y1 = area
    gap = max(skin.gutter, 4)
    if skin.strip in {"right", "left"}:
        wide = round((x1 - x0) * skin.strip_share)
        if skin.strip == "right":
            return (x0, y0, x1 - wide - gap, y1), (x1 - wide, y0, x1, y1)
        return (x0 + wide + gap, y0, x1, y1), (x0, y0, x0 + wide, y1)
    high = round((x1 - x0) * skin.strip_share / WIDE)
    if skin.strip == "bottom":
        return (x0, y0, x1, y1 - high - gap), (x0, y1 - high, x1, y1)
    return (x0, y0 + high + gap, x1, y1), (x0, y0, x1, y0 + high)


def _strip(n: int, strip: Box, skin: Skin, label: int) -> tuple[Box, ...]:
    """As many tiles of 16:9 as the strip holds, in its middle."""
    x0, y0, x1, y1 = strip
    upright = skin.strip in {"right", "left"}
    tile_w = x1 - x0 if upright else round((y1 - y0 - label) * WIDE)
    tile_h = round(tile_w / WIDE) if upright else y1 - y0 - label
    step = tile_h + label + skin.gutter if upright else tile_w + skin.gutter
    room = y1 - y0 if upright else x1 - x0
    n = min(n, max(1, (room + skin.gutter) // step)) if n else 0
    start = (room - (n * step - skin.gutter)) // 2 if skin.last_row == "centre" else 0
    corners = [(x0, y0 + start + i * step) if upright else (x0 + start + i * step, y0) for i in range(n)]
    return tuple((x, y, x + tile_w, y + tile_h) for x, y in corners)


def _fit(box: Box, aspect: float) -> Box:
    """The largest box of this width / height in the middle of a box."""
    x0, y0, x1, y1 = box
    width = min(x1 - x0, round((y1 - y0) * aspect))
    height = min(y1 - y0, round(width / aspect))
    x, y = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
    return x, y, x + width, y + height


def place_picture(rect: Box, aspect: float, skin: Skin) -> tuple[Box, Box]:
    """The tile and the part of it that holds a picture of this width / height.

    A picture that covers its tile loses at most a third of its height or width: an upright phone is never cut down to
    a slit.
    """
    x0, y0, x1, y1 = rect
    shape = (x1 - x0) / (y1 - y0)
    inner = _fit(rect, aspect)
    if skin.narrow and aspect < 1 < shape and inner[2] - inner[0] >= _NARROWEST_PX:
        return inner, inner
    loss = min(shape, aspect) / max(shape, aspect)
    if (skin.cover and loss >= 2 / 3) or loss > 0.97:  # noqa: PLR2004 (a bar of a pixel or two is none)
        return rect, rect
    return rect, inner


def apart(boxes: Sequence[Box]) -> bool:
    """Whether no two boxes overlap."""
    return not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for i, a in enumerate(boxes) for b in boxes[i + 1 :]
    )
