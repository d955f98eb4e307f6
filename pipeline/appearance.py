"""Pictures of tiles → how alike two of them are, whatever the size, the crop and the frame they are shown in.

A camera's picture is shown at one scale about the centre of its tile: cropped to fill it, or whole with bars at two
sides. So the pictures of one camera in two tiles differ by one number, the relative scale, and in how much of them is
to be seen. That scale is searched for, and only what both show is compared. No face is looked for or looked at: a
thumbnail of 32 x 32 colours is made of a tile here, and of what is written at its lower edge, strokes (`pipeline.captions`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.emotions import F32, F64
from pipeline.types import U8, Box

SIDE = 32
"""Rows and columns of a thumbnail."""
SAMPLES = 2
"""Each cell of a thumbnail is the mean of so many rows and columns of pixels."""
ROWS, COLUMNS = 16, 28
"""Cells of the window in which two pictures are laid over each other: as high as the larger one, and 16:9."""
SCALES = tuple(float(1.12**k) for k in range(-10, 11))
"""Relative scales that are tried: a phone held upright fills a wide tile at 3.2 times the scale it has between bars."""
SCALE_COST = 0.05
"""Taken from the concordance for a scale of e or 1 / e: what is as alike without enlarging is likelier the same."""
EDGE = 0.05
"""Outermost share of a tile on each side that is not compared: borders, rounded corners, edges found imprecisely."""
STRIP = 0.14
"""Lowest share of a tile's height, which counts less: a name is written there, or elsewhere, or not."""
STRIP_WEIGHT = 0.35
NAME = 0.04
"""A name reaches up to this share of the picture's height from the tile's lower edge: it has one size in all tiles."""
STRIP_MOST = 0.36
"""Of a small tile no more than this is left to the name; it counts for nothing where that is more than `STRIP`."""
NOISE = 0.05
"""Variance, in square roots of levels, of a picture with nothing on it: two such pictures are alike in nothing."""
_ROOTS = np.sqrt(np.arange(255 * SAMPLES**2 + 1) / SAMPLES**2).astype(np.float32)
SAME_SHAPE = 0.08
"""Largest difference of the logarithms of width / height of tiles that are of one shape."""
MIDDLE = 0.45
"""By so much the concordance of two pictures may be above the correlation of their middles."""
PLAIN = 0.25
"""How far a cell of a tile without camera is from the tile's colour, in square roots of levels."""
PLAIN_SHARE = 0.93
"""Share of the cells around the middle of a tile without camera that have its colour."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What n tiles look like, first axis n.

    thumbs: (n, 3, 32, 32) float32, square roots of the levels, in [0, 16): dark rooms differ as much as bright ones.
    aspect: (n,) float32, width / height of the tile.
    strip: (n,) float32, lowest share of the tile's height where the name stands.
    """

    thumbs: F32
    aspect: F32
    strip: F32

    def __len__(self) -> int:
        """How many tiles."""
        return len(self.aspect)

    def take(self, index: Sequence[int]) -> "Looks":
        """A copy of some of them, in that order."""
        chosen = np.asarray(index, dtype=np.intp)
        return Looks(self.thumbs[chosen], self.aspect[chosen], self.strip[chosen])


def look_at(image: U8, tiles: Sequence[Box]) -> Looks:
    """Thumbnails of the tiles of an (H, W, 3) uint8 picture; tiles of one pixel or more."""
    pixels = np.ascontiguousarray(image).reshape(-1, 3)
    sums = np.empty((len(tiles), SIDE * SIDE, 3), dtype=np.uint16)
    for total, tile in zip(sums, tiles, strict=True):
        samples = pixels.take(_samples(tile, image.shape[1]), axis=0)
        np.add.reduce(samples.reshape(SAMPLES**2, SIDE * SIDE, 3), axis=0, dtype=np.uint16, out=total)
    thumbs = _ROOTS.take(sums.transpose(0, 2, 1)).reshape(len(tiles), 3, SIDE, SIDE)
    widths, heights = (np.array([tile[i + 2] - tile[i] for tile in tiles], dtype=np.float32) for i in range(2))
    strip = np.clip(NAME * image.shape[0] / heights, STRIP, STRIP_MOST)
    return Looks(thumbs, widths / heights, strip)


def join(parts: Sequence[Looks]) -> Looks:
    """All of them, one after the other; at least one part."""
    thumbs, aspect, strip = zip(*((part.thumbs, part.aspect, part.strip) for part in parts), strict=True)
    return Looks(np.concatenate(thumbs), np.concatenate(aspect), np.concatenate(strip))


@lru_cache(maxsize=128)
def _samples(tile: Box, width: int) -> NDArray[np.intp]:
    """Which pixels of a picture of that width are looked at: (SAMPLES² * SIDE²,), the cells of a sample together."""
    x0, y0, x1, y1 = tile
    along = (np.arange(SIDE * SAMPLES) + 0.5) / (SIDE * SAMPLES)
    rows = (y0 + along * (y1 - y0)).astype(np.intp).reshape(SIDE, SAMPLES)
    columns = (x0 + along * (x1 - x0)).astype(np.intp).reshape(SIDE, SAMPLES)
    return (rows.T[:, None, :, None] * width + columns.T[None, :, None, :]).reshape(-1)


def likeness(a: Looks, b: Looks) -> F64:
    """How alike the pictures are when whole tiles are laid over each other; (len(a), len(b)) in [-1, 1].

    Lin's concordance over the cells of all three colours: 1 is the same picture, 0 has nothing in common.
    """
    x, mean_x, square_x = _flat(a)
    y, mean_y, square_y = _flat(b)
    across = np.outer(mean_x, mean_y)
    spread = square_x[:, None] + square_y - 2 * across
    return np.asarray(2 * (x @ y.T - across) / (np.maximum(spread, 0) + NOISE), dtype=np.float64)


def _flat(looks: Looks) -> tuple[F32, F32, F32]:
    """Cells of half the thumbnail's sides times the roots of their weights, (n, d), their mean, their mean square."""
    n = len(looks)
    cells = looks.thumbs.reshape(n, 3, SIDE // 2, 2, SIDE // 2, 2)
    halved = (cells[..., 0, :, 0] + cells[..., 0, :, 1] + cells[..., 1, :, 0] + cells[..., 1, :, 1]).reshape(n, -1) / 4
    weighted = halved * _WEIGHTS
    return weighted, np.asarray(weighted @ _WEIGHTS), np.asarray(np.einsum("nd,nd->n", weighted, weighted))


def same_camera(a: Looks, b: Looks) -> F64:
    """How alike the pictures are at the best of all scales, over what both show; (len(a), len(b)) in [-1, 1]."""
    best = np.full((len(a), len(b)), -1.0)
    whole_a, whole_b = _window(a, 1.0), _window(b, 1.0)
    for scale in SCALES:
        # Only ever a part is enlarged to the window: a picture that shrank into it would fill a few cells.
        pair = (*whole_a, *_window(b, scale)) if scale < 1 else (*_window(a, 1 / scale), *whole_b)
        best = np.maximum(best, _concordance(*pair) - SCALE_COST * np.log(scale) ** 2)
    return best


def same_middle(a: Looks, b: Looks) -> F64:
    """Correlation of the middles of tiles, where somebody sits; (len(a), len(b)) in [-1, 1].

    Another background, real or virtual, and another light leave it high. Where any of them is so small that the name
    reaches into its middle, that part is left out.
    """
    low = min(27, int(SIDE * (1 - max(a.strip.max(), b.strip.max()))))
    x, y = (part.thumbs[:, :, 8:low, 10:22].reshape(len(part), -1) for part in (a, b))
    x, y = (middle - middle.mean(axis=1, keepdims=True) for middle in (x, y))
    lengths = np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))
    return np.asarray(x @ y.T / np.maximum(lengths, 1e-6), dtype=np.float64)


def same_person(a: Looks, b: Looks) -> F64:
    """How alike the pictures are, (len(a), len(b)) in [-1, 1]: as `same_camera`, but no more than their middles allow.

    Bars at the sides, and rooms out of focus, make pictures alike in which other people sit. Middles tell only of
    tiles of one shape, which show the same part of a camera's picture.
    """
    alike = same_camera(a, b)
    of_one_shape = np.abs(np.log(a.aspect[:, None] / b.aspect)) <= SAME_SHAPE
    return np.asarray(np.where(of_one_shape, np.minimum(alike, same_middle(a, b) + MIDDLE), alike), dtype=np.float64)


def compare(looks: Looks, people: Sequence[Sequence[Looks]], measure: Callable[[Looks, Looks], F64]) -> F64:
    """(looks, people) how alike each tile is to the most alike picture of each person; one picture each at least."""
    first = np.cumsum([0, *(len(pictures) for pictures in people[:-1])])
    return np.maximum.reduceat(measure(looks, join([look for pictures in people for look in pictures])), first, axis=1)


def matched(
    alike: F64, bonus: F64, accept: F64, sure: float, margin: float | F64
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The person of each tile, -1 where nobody is alike enough, and whether that is beyond doubt.

    alike, bonus, accept: (tiles, people). Together the matches are the best, each person at most once. The
    bonus decides between those who are alike, and makes nobody certain. Beyond doubt is what is `sure`, and by the
    `margin` more alike than any other pair of that tile or person.
    """
    n, m = alike.shape
    margins = np.broadcast_to(margin, alike.shape)
    # What it takes to be a match at all makes a pair no worse than one that it takes less for.
    worth = np.where(alike + bonus > accept, alike + bonus - accept.min(axis=0), 0)
    gain = np.concatenate([worth, np.zeros((n, n))], axis=1)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    wanted = np.full(n, -1)
    clear = np.zeros(n, dtype=bool)
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if j < m and gain[i, j] > 0:
            wanted[i] = j
            others = np.concatenate([np.delete(alike[i], j), np.delete(alike[:, j], i), [0.0]]).max()
            clear[i] = alike[i, j] >= max(sure, accept[i, j]) and alike[i, j] - others >= margins[i, j]
    return wanted, clear


def without_camera(looks: Looks) -> NDArray[np.bool_]:
    """(n,) whether a tile shows one colour around whatever stands in its middle, as one without camera does.

    Who sits before a camera reaches down to the lower edge of the picture.
    """
    cells = looks.thumbs[:, :, _AROUND]
    colour = np.median(cells, axis=2)[..., None, None]
    has_colour = np.abs(looks.thumbs - colour).max(axis=1) < PLAIN
    shares = [has_colour[:, part].mean(axis=1) for part in (_AROUND, _BELOW)]
    return np.asarray(np.min(shares, axis=0) >= PLAIN_SHARE)


def _row_weight(place: F32, strip: F32) -> F32:
    """(n, m) weights of what lies at these m heights of n tiles, 0 the top, 1 the bottom; (n,) where their names stand."""
    inside = (place > EDGE) & (place < 1 - EDGE)
    name = np.where(strip > STRIP, 0.0, STRIP_WEIGHT)[:, None]
    return np.asarray(np.where(place > 1 - strip[:, None], name, 1.0) * inside, dtype=np.float32)


def _column_weight(place: F32) -> F32:
    """Weight of what lies at these widths of a tile, 0 its left, 1 its right."""
    return ((place > EDGE) & (place < 1 - EDGE)).astype(np.float32)


def _whole_weights() -> F32:
    """(3 * SIDE² / 4,) roots of the weights of a tile's cells, of sum 1."""
    places = ((np.arange(SIDE // 2) + 0.5) * 2 / SIDE).astype(np.float32)
    rows = _row_weight(places, np.array([STRIP], dtype=np.float32))[0]
    weights = np.tile(np.outer(rows, _column_weight(places)).reshape(-1), 3)
    return np.asarray(np.sqrt(weights / weights.sum()), dtype=np.float32)


_WEIGHTS = _whole_weights()
_PLACES = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
_INSIDE = (_PLACES > EDGE) & (_PLACES < 1 - EDGE)
_MIDDLE = (_PLACES > 0.2) & (_PLACES < 0.8)  # noqa: PLR2004 (initials and their disc)
_LOW = (_PLACES > 0.8) & (_PLACES < 1 - STRIP)  # noqa: PLR2004 (between them and the name)
_AROUND = np.outer(_INSIDE & (_PLACES < 1 - STRIP), _INSIDE) & ~np.outer(_MIDDLE | _LOW, _MIDDLE)
_BELOW = np.outer(_LOW, _MIDDLE)


def _window(looks: Looks, scale: float) -> tuple[F32, F32]:
    """The pictures in the common window, (n, 3 * ROWS * COLUMNS), and the weights of its cells, (n, ROWS * COLUMNS).

    The window is `scale` times as high as the tile and has the same centre.
    """
    y = 0.5 + scale * ((np.arange(ROWS, dtype=np.float32) + 0.5) / ROWS - 0.5)
    x = 0.5 + scale / looks.aspect[:, None] * (np.arange(COLUMNS, dtype=np.float32) + 0.5 - COLUMNS / 2) / ROWS
    pictures = _between(y) @ looks.thumbs @ _between(x)[:, None].transpose(0, 1, 3, 2)
    weights = _row_weight(y, looks.strip)[:, :, None] * _column_weight(x)[:, None, :]
    return pictures.reshape(len(looks), -1), weights.reshape(len(looks), -1)


def _between(place: F32) -> F32:
    """(…, m, SIDE) matrices that read a line of cells at these m places, linearly between the cells' middles."""
    at = np.clip(place * SIDE - 0.5, 0, SIDE - 1)[..., None]
    return np.asarray(np.maximum(0, 1 - np.abs(at - np.arange(SIDE))), dtype=np.float32)


def _concordance(x: F32, wx: F32, y: F32, wy: F32) -> F64:
    """Lin's concordance of n pictures (n, 3 * d) with m pictures (m, 3 * d); weights (n, d) and (m, d) multiply.

    One mean for the three colours: that a wall is green is evidence too. All of it is products of matrices.
    """
    n, d = wx.shape
    m = len(wy)
    x_w = (x.reshape(n, 3, d) * wx[:, None]).reshape(n, 3 * d)
    y_w = (y.reshape(m, 3, d) * wy[:, None]).reshape(m, 3 * d)
    mass = np.maximum(3 * (wx @ wy.T), 1e-6)
    mean_x = (x_w.reshape(n, 3, d).sum(axis=1) @ wy.T) / mass
    mean_y = (wx @ y_w.reshape(m, 3, d).sum(axis=1).T) / mass
    square_x = ((x_w * x).reshape(n, 3, d).sum(axis=1) @ wy.T) / mass
    square_y = (wx @ (y_w * y).reshape(m, 3, d).sum(axis=1).T) / mass
    shared = (x_w @ y_w.T) / mass - mean_x * mean_y
    spread = square_x + square_y - 2 * mean_x * mean_y
    return np.asarray(2 * shared / (np.maximum(spread, 0) + NOISE), dtype=np.float64)
