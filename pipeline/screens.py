"""What a region of a gallery shows: a camera, a shared screen, or a room with several people.

A shared screen has few colours and sharp edges; a camera has many colours and soft ones. Two people before one camera
both move; a portrait on the wall behind one of them does not.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.types import U8, Box, FaceBoxes

FEW_COLOURS: Final = 0.45
"""Share of the two commonest colours from which on a region may be a screen."""
SHARP: Final = 0.0038
"""Share of neighbouring pixels that differ sharply, from which on it may be one: letters, lines, icons."""
CERTAIN: Final = 1.5
"""Factor for being certain."""
PLAIN: Final = 0.75
"""A tile without a picture has one colour on at least this share, and initials in its middle."""
TEXT: Final = 0.045
"""With so many sharp edges half of that is enough: text over a picture."""
SCREENS: Final = ((TEXT, FEW_COLOURS / 2), (0.8 * TEXT, 0.8 * FEW_COLOURS), (SHARP, FEW_COLOURS))
"""Sharp edges and commonest colours that make a screen together: the more of one, the less of the other."""
EDGE: Final = 40
"""Levels of a sharp edge, of 255."""
BAR_LEVELS: Final = 6
"""A column whose pixels differ by less is a bar beside a picture."""
CORNER: Final = 0.06
"""Rounded corners and borders take this share of it."""
NAME_FROM: Final = 0.78
"""Names stand below this share of a tile's height."""
FACE_MIN_PX: Final = 24
"""Narrower faces are ignored."""
FACE_SCORE_MIN: Final = 0.5
BESIDE: Final = 0.8
"""Two people's faces lie side by side by this part of a face's width, at least."""
SIMILAR: Final = 1.8
"""Faces of one room differ in width by at most this factor."""
ROOM_AFTER_S: Final = 2.0
ALONE_AFTER_S: Final = 5.0
FACE_EDGE: Final = 0.25
"""The outermost share of a face at either side may belong to somebody beside it."""
SAT_ALIKE: Final = 0.25
"""People sit as before where no way between their faces differs by more than this share of it, or of a face."""
KNOWN_S: Final = 10.0
"""For so long after a re-flow rooms are known again at once;"""
ROOMS_KEPT: Final = 64
"""so many of them, the latest."""
MOVED: Final = 2.0
"""Mean change of a face's patch, in levels, from one look to the next: people always move, portraits do not."""
PATCH: Final = 12
STILL_THERE: Final = 0.3
"""Overlap of a face with itself from one look to the next."""


def shows_screen(image: U8, box: Box, *, certain: bool = False) -> bool:
    """Whether a box of an (H, W, 3) uint8 picture shows a shared screen, not a camera nor somebody's initials.

    `certain`: only where there is little doubt, as in a picture that shows nothing else.
    """
    edges, commonest, few = _drawing(image, _without_bars(image, box))
    if edges.size == 0 or (commonest >= PLAIN and not _beside_initials(edges).any()):
        return False
    sharp = float(edges.mean())
    if certain:
        return sharp >= CERTAIN**2 * SHARP and few >= CERTAIN * FEW_COLOURS
    return any(sharp >= edges and few >= colours for edges, colours in SCREENS)


def is_flat(image: U8, box: Box) -> bool:
    """Whether a box has few colours, as a page of photographs has and somebody's initials have, but not only these."""
    edges, _, few = _drawing(image, box)
    return few >= FEW_COLOURS and bool(_beside_initials(edges).any())


def _drawing(image: U8, box: Box) -> tuple[NDArray[np.bool_], float, float]:
    """Where every sixth row of a box has sharp edges, and the shares of its commonest colour and of its two commonest."""
    x0, y0, x1, y1 = box
    lines = image[y0:y1:6, x0:x1, 1].astype(np.int16)
    sample = image[y0 : y1 : max(1, (y1 - y0) // 90), x0 : x1 : max(1, (x1 - x0) // 160)] >> 4
    codes = sample[..., 0].astype(np.int32) << 8 | sample[..., 1].astype(np.int32) << 4 | sample[..., 2]
    counts = np.sort(np.bincount(codes.ravel())) / codes.size
    return np.abs(np.diff(lines, axis=1)) >= EDGE, float(counts[-1]), float(counts[-2:].sum())


def _beside_initials(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The edges that are not initials in the middle, a name at the bottom, nor the border."""
    height, width = edges.shape
    rest = edges[round(CORNER * height) : round(NAME_FROM * height), round(0.04 * width) : round(0.96 * width)].copy()
    rest[round(0.18 * height) :, round(0.26 * width) : round(0.66 * width)] = False
    return rest


def _without_bars(image: U8, box: Box) -> Box:
    """The box without the even bars left and right of an upright picture."""
    x0, y0, x1, y1 = box
    top = y0 + round(CORNER * (y1 - y0))
    even = np.ptp(image[top : max(top + 1, y0 + round(NAME_FROM * (y1 - y0))) : 6, x0:x1, 1], axis=0) <= BAR_LEVELS
    shown = np.flatnonzero(~even)
    return (x0 + int(shown[0]), y0, x0 + int(shown[-1]) + 1, y1) if len(shown) else box


def faces_in(box: Box, faces: FaceBoxes) -> list[Box]:
    """Faces whose middle lies in the box, without those that are too small or too uncertain."""
    found = []
    for (x0, y0, x1, y1), score in zip(faces.xyxy.tolist(), faces.score.tolist(), strict=True):
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        inside = box[0] <= x < box[2] and box[1] <= y < box[3]
        if inside and score >= FACE_SCORE_MIN and x1 - x0 >= FACE_MIN_PX:
            found.append((round(x0), round(y0), round(x1), round(y1)))
    return found


@dataclass(slots=True)
class _Face:
    """A face of a tile from look to look: where, since when, how its patch looked, whether it has ever moved."""

    box: Box
    since_s: float
    patch: NDArray[np.float32]
    moved: bool = False


@dataclass(slots=True)
class _Room:
    """One tile: its faces, where it is cut now, when the cut was last borne out, how the people sat then."""

    faces: list[_Face] = field(default_factory=list)
    cuts: tuple[int, ...] = ()
    borne_out_s: float = 0.0
    sat: tuple[float, ...] = ()


class Rooms:
    """Cuts tiles in which several people sit half way between their faces, and keeps the cut for a while.

    Faces count once they have been there for `ROOM_AFTER_S`, are of similar size and have moved. Where they are not
    seen for `ALONE_AFTER_S` the tile is whole again. After a re-flow people who sit beside each other as some did
    before count at once.
    """

    def __init__(self) -> None:
        self._rooms: dict[Box, _Room] = {}
        self._before: deque[tuple[float, tuple[float, ...]]] = deque(maxlen=ROOMS_KEPT)

    def look(self, image: U8, time_s: float, tiles: Sequence[Box], faces: FaceBoxes) -> None:
        """Take in the faces of an (H, W, 3) uint8 picture with these tiles."""
        gone = [room for box, room in self._rooms.items() if box not in tiles]
        self._before += [(time_s, room.sat) for room in gone if room.cuts]
        known = [sat for left_s, sat in self._before if time_s - left_s <= KNOWN_S]
        self._rooms = {box: self._rooms.get(box, _Room()) for box in tiles}
        for box, room in self._rooms.items():
            room.faces = [_follow(image, time_s, face, room.faces) for face in sorted(faces_in(box, faces))]
            if not room.cuts and any(_alike(_sitting(room.faces), sat) for sat in known):
                room.faces = [_Face(face.box, time_s - ROOM_AFTER_S, face.patch, moved=True) for face in room.faces]
            people = [face for face in room.faces if face.moved and time_s - face.since_s >= ROOM_AFTER_S]
            widths = [face.box[2] - face.box[0] for face in people]
            people = [f for f, width in zip(people, widths, strict=True) if width * SIMILAR >= max(widths)]
            middles = sorted((face.box[0] + face.box[2]) / 2 for face in people)
            # Two people sit beside each other: one face above another is a print on a shirt.
            apart = BESIDE * max(widths, default=0)
            gaps = [round((a + b) / 2) for a, b in pairwise(middles) if b - a >= apart]
            # A face where the tile is cut: somebody else sits there, alone.
            is_cut = any(_lies_on(cut, face.box) for cut in room.cuts for face in room.faces)
            if len(gaps) > len(room.cuts) or is_cut or time_s - room.borne_out_s >= ALONE_AFTER_S:
                room.cuts, room.borne_out_s, room.sat = tuple(gaps), time_s, _sitting(people)
            elif len(gaps) == len(room.cuts):
                room.borne_out_s, room.sat = time_s, _sitting(people)

    def split(self, tiles: Sequence[Box]) -> tuple[Box, ...]:
        """The tiles, those with several people cut into one box each, from left to right."""
        boxes: list[Box] = []
        for box in tiles:
            room = self._rooms.get(box)
            ends = [box[0], *(room.cuts if room else ()), box[2]]
            boxes += [(a, box[1], b, box[3]) for a, b in pairwise(ends)]
        return tuple(boxes)


def _lies_on(x: int, face: Box) -> bool:
    """Whether a column goes through a face, not just through the edge of what the detector calls one."""
    edge = FACE_EDGE * (face[2] - face[0])
    return face[0] + edge < x < face[2] - edge


def _sitting(faces: Sequence[_Face]) -> tuple[float, ...]:
    """How people sit beside each other: ways across and down from face to face in widths of the first, and sizes.

    However the camera's picture is cropped and scaled, this stays.
    """
    ways: list[float] = []
    for a, b in pairwise(sorted(face.box for face in faces)):
        wide = a[2] - a[0]
        ways += [(b[0] - a[0]) / wide, (b[1] - a[1]) / wide, (b[2] - b[0]) / wide]
    return tuple(ways)


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether as many people as before, two or more, sit as they did."""
    return len(a) == len(b) > 0 and all(abs(x - y) <= SAT_ALIKE * max(1.0, abs(y)) for x, y in zip(a, b, strict=True))


def _follow(image: U8, time_s: float, box: Box, known: Sequence[_Face]) -> _Face:
    """The face with what is known of it from before."""
    before = max(known, key=lambda face: _overlap(face.box, box), default=None)
    if before is None or _overlap(before.box, box) < STILL_THERE:
        return _Face(box, time_s, _patch(image, box))
    # The same place of both pictures: a box that wavers around a still picture is no movement.
    patch = _patch(image, before.box)
    moved = before.moved or float(np.abs(patch - before.patch).mean()) >= MOVED
    return _Face(box, before.since_s, _patch(image, box), moved)


def _patch(image: U8, box: Box) -> NDArray[np.float32]:
    """(12, 12) float32 means of a box, its own mean taken away: light that changes is no movement."""
    height, width = image.shape[:2]
    x0, y0 = min(max(0, box[0]), width - PATCH), min(max(0, box[1]), height - PATCH)
    x1, y1 = max(x0 + PATCH, min(width, box[2])), max(y0 + PATCH, min(height, box[3]))
    grey = image[y0:y1, x0:x1, 1].astype(np.float32)
    rows = np.linspace(0, y1 - y0, PATCH, endpoint=False).astype(np.intp)
    columns = np.linspace(0, x1 - x0, PATCH, endpoint=False).astype(np.intp)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    sizes = np.diff(np.append(rows, y1 - y0))[:, None] * np.diff(np.append(columns, x1 - x0))
    means = sums / sizes
    return np.asarray(means - means.mean(), dtype=np.float32)


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
