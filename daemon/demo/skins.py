"""What meeting applications look like: colours as they are in use, lengths drawn from a seed."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from daemon.demo.layouts import Rgb, Side, Skin


@dataclass(frozen=True, slots=True)
class _Paint:
    """A page (top and bottom), a tile without a picture, a tool bar, the mark of who speaks."""

    name: str
    page: tuple[Rgb, Rgb]
    tile: Rgb
    bar: Rgb
    border: Rgb


# Read off pictures of applications of these kinds; "night" has tiles that hardly differ from its page.
_PAINTS: Final = (
    _Paint("charcoal", ((32, 33, 36), (32, 33, 36)), (60, 64, 67), (32, 33, 36), (138, 180, 248)),
    _Paint("black", ((0, 0, 0), (0, 0, 0)), (36, 36, 36), (26, 26, 26), (35, 217, 89)),
    _Paint("night", ((26, 26, 26), (26, 26, 26)), (36, 37, 38), (36, 36, 36), (219, 230, 60)),
    _Paint("graphite", ((20, 20, 20), (20, 20, 20)), (41, 41, 41), (31, 31, 31), (123, 131, 235)),
    _Paint("slate", ((17, 19, 18), (17, 19, 18)), (22, 25, 23), (30, 33, 32), (76, 195, 79)),
    _Paint("light", ((245, 245, 245), (245, 245, 245)), (225, 225, 225), (255, 255, 255), (91, 95, 199)),
    _Paint("white", ((255, 255, 255), (255, 255, 255)), (232, 234, 237), (248, 249, 250), (26, 115, 232)),
    _Paint("navy", ((11, 20, 38), (24, 40, 70)), (34, 52, 84), (11, 20, 38), (86, 180, 250)),
    _Paint("plum", ((63, 14, 64), (38, 9, 46)), (88, 44, 92), (38, 9, 46), (46, 182, 125)),
    _Paint("mist", ((226, 232, 240), (203, 213, 225)), (176, 188, 204), (241, 245, 249), (249, 115, 22)),
    _Paint("forest", ((24, 44, 38), (14, 26, 24)), (44, 70, 62), (14, 26, 24), (250, 204, 21)),
)


def make_skin(rng: np.random.Generator, size: tuple[int, int]) -> Skin:
    """An application's look for a recording of this (width, height)."""
    paint = _PAINTS[int(rng.integers(len(_PAINTS)))]
    height = size[1]
    scale = height / 720
    gutter = int(rng.choice([2, 4, 6, 8, 8, 12, 16, 24]))
    if height < 500:  # noqa: PLR2004
        gutter = min(gutter, 10)
    border_px = int(rng.integers(2, 6)) if rng.random() < 0.8 else 0  # noqa: PLR2004
    light = sum(paint.page[0]) > 3 * 128
    bars: Rgb | None = ((0, 0, 0), paint.tile, paint.tile, None, None)[int(rng.integers(5))]
    if light and bars == (0, 0, 0) and rng.random() < 0.5:  # noqa: PLR2004
        bars = paint.tile
    sides: tuple[Side, ...] = ("right", "bottom", "top", "left")
    side = sides[int(rng.choice(4, p=(0.45, 0.25, 0.25, 0.05)))]
    return Skin(
        name=paint.name,
        page=paint.page,
        tile=paint.tile,
        bars=bars,
        gutter=gutter,
        margin=int(rng.choice([0, 0, 4, 8, 16, 24])) if height >= 500 else int(rng.choice([0, 4, 8])),  # noqa: PLR2004
        radius=int(rng.choice([0, 0, 4, 8, 12])) if gutter > 2 else 0,  # noqa: PLR2004
        top=round(float(rng.choice([0, 0, 0, 36, 48])) * scale),
        bottom=round(float(rng.choice([0, 0, 56, 72, 80])) * scale),
        bar=paint.bar,
        label=("left", "left", "left", "centre", "below", "none")[int(rng.integers(6))],
        badge=bool(rng.random() < 0.7),  # noqa: PLR2004
        border=paint.border,
        border_px=border_px,
        border_inside=bool(gutter < 2 * border_px or rng.random() < 0.5),  # noqa: PLR2004
        tall=bool(rng.random() < 0.35),  # noqa: PLR2004
        cover=bool(rng.random() < 0.6),  # noqa: PLR2004
        narrow=bool(rng.random() < 0.25),  # noqa: PLR2004
        last_row="centre" if rng.random() < 0.7 else "left",  # noqa: PLR2004
        strip=side,
        strip_share=float(rng.uniform(0.15, 0.24)),
        round_avatar=bool(rng.random() < 0.75),  # noqa: PLR2004
    )
