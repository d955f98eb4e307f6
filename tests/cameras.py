"""Made-up cameras for tests: smooth pictures that differ, and what applications make of them."""

import numpy as np

from pipeline.types import U8, Box


def camera(seed: int, moment: int = 0, *, aspect: float = 16 / 9, height: int = 180) -> U8:
    """What camera number `seed` sees at some moment: a coloured room that stays, and somebody who moves a little."""
    rng = np.random.default_rng([seed, 77])
    width = round(height * aspect)
    coarse = rng.integers(0, 256, (5, 8, 3)).astype(float)
    y, x = (np.linspace(0, n - 1.001, size) for n, size in ((5, height), (8, width)))
    rows, columns = y.astype(int), x.astype(int)
    down, right = (y - rows)[:, None, None], (x - columns)[None, :, None]
    room = (coarse[rows][:, columns] * (1 - right) + coarse[rows][:, columns + 1] * right) * (1 - down)
    room += (coarse[rows + 1][:, columns] * (1 - right) + coarse[rows + 1][:, columns + 1] * right) * down
    skin, cloth = rng.integers(40, 250, 3), rng.integers(0, 256, 3)
    middle = width * (0.5 + 0.02 * np.sin(1.7 * moment + seed))
    yy, xx = np.mgrid[:height, :width]
    room[(yy > 0.65 * height) & (np.abs(xx - middle) < 0.33 * height)] = cloth
    room[((yy - 0.42 * height) / 0.28) ** 2 + ((xx - middle) / 0.2) ** 2 < height**2] = skin
    return room.astype(np.uint8)


def shown(picture: U8, size: tuple[int, int], *, cover: bool = True) -> U8:
    """A camera's picture in a tile of (width, height): cropped to fill it, or whole between dark bars."""
    width, height = size
    scale = (max if cover else min)(width / picture.shape[1], height / picture.shape[0])
    rows = (np.arange(height) + 0.5 - height / 2) / scale + picture.shape[0] / 2
    columns = (np.arange(width) + 0.5 - width / 2) / scale + picture.shape[1] / 2
    inside = np.outer((rows >= 0) & (rows < picture.shape[0]), (columns >= 0) & (columns < picture.shape[1]))
    down = np.clip(rows, 0, picture.shape[0] - 1).astype(int)
    across = np.clip(columns, 0, picture.shape[1] - 1).astype(int)
    return np.where(inside[..., None], picture[down][:, across], 20).astype(np.uint8)


def avatar(seed: int, size: tuple[int, int]) -> U8:
    """The tile of somebody whose camera is off: a disc of their own colour, with something like a letter."""
    rng = np.random.default_rng([seed, 78])
    width, height = size
    tile = np.full((height, width, 3), 40, np.uint8)
    yy, xx = np.mgrid[:height, :width]
    disc = (yy - height / 2) ** 2 + (xx - width / 2) ** 2 < (0.2 * height) ** 2
    tile[disc] = rng.integers(0, 256, 3)
    cells = rng.integers(0, 2, (3, 3)).astype(bool)
    side = max(1, height // 16)
    top, left = height // 2 - 3 * side // 2, width // 2 - 3 * side // 2
    tile[top : top + 3 * side, left : left + 3 * side][np.kron(cells, np.ones((side, side))).astype(bool)] = 255
    return tile


def wall_of(pictures: list[U8], tiles: list[Box], *, size: tuple[int, int] = (640, 360), cover: bool = True) -> U8:
    """The picture of a call: what each camera sees, or an avatar as it is, in its tile on a dark page."""
    image = np.full((size[1], size[0], 3), 15, np.uint8)
    for picture, (x0, y0, x1, y1) in zip(pictures, tiles, strict=True):
        image[y0:y1, x0:x1] = shown(picture, (x1 - x0, y1 - y0), cover=cover)
    return image


def layout(columns: int, rows: int, *, size: tuple[int, int] = (640, 360), gutter: int = 6) -> list[Box]:
    """Tiles of a grid that fills the picture."""
    width, height = (size[0] - gutter) // columns, (size[1] - gutter) // rows
    return [
        (gutter + c * width, gutter + r * height, (c + 1) * width, (r + 1) * height)
        for r in range(rows)
        for c in range(columns)
    ]


def lettered(image: U8, tile: Box, name: int) -> U8:
    """The picture with a name, white on a dark plate, at the lower left of a tile."""
    x0, _, _, y1 = tile
    plate = image[y1 - 16 : y1 - 5, x0 + 6 : x0 + 66]
    plate[:] = 30
    strokes = np.random.default_rng([name, 79]).random((9, 14)) < 0.3
    plate[1:10, 2:58][np.repeat(strokes, 4, axis=1)] = 245
    return image
