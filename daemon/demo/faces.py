"""Portraits that move like puppets: `Puppet.render` shows one with given action units.

A puppet holds its portrait at the size of its tile and a bank of displacement fields, one per action unit of
the Facial Action Coding System (Ekman & Friesen 1978) and one per degree of freedom of the head. A frame is the
portrait seen through the weighted sum of the fields. The lips are two layers that meet at the slit of the
mouth: where they part, teeth and a dark mouth show; where a portrait smiles with bare teeth, they close over
them. The skull of a neutral face is the unit of length: the distance between the outer corners of the eyes.
"""

from collections.abc import Mapping
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.demo.portraits import Look, Portrait, place
from pipeline.emotions import F32
from pipeline.types import U8

POSES: Final[Mapping[str, Mapping[str, Mapping[str, float]]]] = {
    "hopper": {
        "neutral": {"AU1": -0.3, "AU12": -0.2, "AU18": -0.3, "AU43": 0.15},
        "happiness": {"AU6": 0.2, "AU12": 0.75, "AU26": 0.22},
        "surprise": {"AU2": 0.7, "AU5": 0.35, "AU12": -0.3, "AU15": 0.4, "AU18": 0.8, "AU26": 0.40},
        "sadness": {"AU1": 1.05, "AU4": -0.3, "AU12": 0.25, "AU15": 0.75, "AU17": 1.0, "AU24": -0.5, "AU26": -0.15,
                    "AU43": 0.5, "pitch": -0.08},
        "anger": {"AU4": 1.35, "AU6": 0.4, "AU9": 0.8, "AU12": -0.2, "AU18": 0.4, "AU24": -0.55, "AU26": 0.40, "AU43": 0.5},
    },
    "collins": {
        "neutral": {"AU12": -1.1, "AU15": 0.35, "AU26": -0.25, "AU43": -0.1},
        "happiness": {"AU6": 0.2, "AU12": 0.1},
        "surprise": {"AU1": 0.2, "AU2": 0.95, "AU5": 0.35, "AU12": -1.1, "AU15": 0.3, "AU18": 0.7, "AU26": 0.40},
        "sadness": {"AU1": 1.05, "AU4": -0.3, "AU9": 0.3, "AU15": 1.15, "AU17": 1.0, "AU18": -0.3, "AU24": -0.1,
                    "AU26": -0.25, "AU43": -0.2, "pitch": -0.06},
        "anger": {"AU4": 1.3, "AU6": 0.5, "AU9": 1.1, "AU12": -0.6, "AU15": 0.8, "AU18": 0.7, "AU24": -0.6, "AU26": 0.40,
                  "AU43": 0.5},
    },
}  # fmt: skip
"""Which moves make which class, by portrait. Eileen Collins smiles with bare teeth where nothing moves, so her
other faces close the jaw and take the smile away. The strengths were chosen so that the shipped models read
them: what the demo agrees on shows that everything works together, not how well faces of people are read."""

# Pulls: a pair of mesh points, one on each side of the face, how far they move outwards and downwards at full
# strength, and how far sideways and up and down the pull reaches (standard deviations), all in units.
_Pull = tuple[tuple[int, int], float, float, float, float]
_PULLS: Final[Mapping[str, tuple[_Pull, ...]]] = {
    "AU1": (((108, 337), 0.0, -0.14, 0.14, 0.125),),
    "AU2": (((69, 299), 0.0, -0.13, 0.24, 0.13),),
    "AU4": (((55, 285), -0.045, 0.085, 0.13, 0.09), ((105, 334), 0.0, 0.03, 0.12, 0.07)),
    "AU6": (((117, 346), 0.0, -0.045, 0.15, 0.09),),
    "AU9": (((129, 358), 0.01, -0.05, 0.10, 0.10), ((193, 417), 0.0, -0.02, 0.06, 0.08)),
    "AU12": (((61, 291), 0.10, -0.10, 0.15, 0.13), ((205, 425), 0.035, -0.045, 0.15, 0.13)),
    "AU15": (((61, 291), 0.0, 0.10, 0.15, 0.15),),
    "AU18": (((61, 291), -0.13, 0.0, 0.13, 0.14),),
}
# Squeezes towards a level: the groups of mesh points around whose means, the share of the height taken away at
# full strength (a negative one adds), and the reach. A share times 0.45 must stay below 1, or the face folds.
_RIGHT_EYE: Final = (33, 133, 159, 145)
_LEFT_EYE: Final = (263, 362, 386, 374)
_Squeeze = tuple[tuple[tuple[int, ...], ...], float, float, float]
_SQUEEZES: Final[Mapping[str, _Squeeze]] = {
    "AU5": ((_RIGHT_EYE, _LEFT_EYE), -0.35, 0.15, 0.075),
    "AU43": ((_RIGHT_EYE, _LEFT_EYE), 1.9, 0.15, 0.062),
    "AU24": (((13, 14),), 0.8, 0.24, 0.075),
}
_DROP: Final[Mapping[str, float]] = {"AU26": 0.55, "AU17": -0.06}
"""How far action units of the lower lip and the jaw take them down."""

_UPPER_LIP: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_LOWER_LIP: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_LIPS: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_FOLDS: Final = ((203, 206, 216, 212), (423, 426, 436, 432))
_CHIN: Final = 152
_NOSE_TIP: Final = 1
_CHEEK: Final = 50
_STEP: Final = 4
_TEETH: Final = 0.085
"""Length of the upper teeth below the lip."""


class Puppet:
    """One participant's camera.

    Moves are action units by their FACS codes, 0 at rest and 1 in full (AU26 below 0 closes parted lips), and
    for the head "right", "down", "nearer", "yaw", "pitch" in units and "roll" in radians.
    """

    def __init__(self, portrait: Portrait, look: Look, size: tuple[int, int]) -> None:
        self._still, points = place(portrait, look, size)
        width, height = size
        self._unit = unit = float(np.linalg.norm(points[33] - points[263]))
        axis = float(points[[168, _NOSE_TIP, _CHIN], 0].mean())
        left, right = max(0, int(axis - 1.45 * unit)), min(width, int(axis + 1.45 * unit))
        self._columns = slice(left, right)
        x, y = np.meshgrid(np.arange(left, right, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._x, self._y = x, y
        # The fields are smooth: every fourth pixel will do, at the places where cv2.resize expects them.
        coarse_x, coarse_y = (_resize(full, x.shape[1] // _STEP, height // _STEP) for full in (x, y))
        rows_cols = np.meshgrid(np.arange(coarse_x.shape[1]), np.arange(coarse_x.shape[0]))
        self._cells = np.stack(rows_cols).astype(np.float32)
        self._per_cell = np.array(
            [[[1 / (coarse_x[0, 1] - coarse_x[0, 0])]], [[1 / (coarse_y[1, 0] - coarse_y[0, 0])]]]
        )
        self._face = _pull_fields(coarse_x, coarse_y, points, unit) | _squeeze_fields(coarse_x, coarse_y, points, unit)
        self._head = _head_fields(coarse_x, coarse_y, points, unit)

        corners = points[[61, 291]]
        middle, half = corners.mean(axis=0), float(np.ptp(corners[:, 0])) / 2
        # From here on down the jaw may follow; inside the mouth's box the lips may part.
        self._top = int(middle[1] - 0.3 * unit)
        self._jaw = _jaw_field(size, corners, float(points[_CHIN, 1]), unit)
        self._box = (
            slice(self._top, int(middle[1] + 0.55 * unit)),
            slice(int(middle[0] - 0.75 * unit) - left, int(middle[0] + 0.75 * unit) - left),
        )
        upper, lower = (_curve(points[list(lip)], np.arange(width)) for lip in (_UPPER_LIP, _LOWER_LIP))
        rows = np.arange(height, dtype=np.float32)[:, None]
        self._under_upper = (rows - upper).astype(np.float32)
        self._under_lower = (rows - np.maximum(upper, lower)).astype(np.float32)
        self._teeth = _teeth(width, height, float(middle[0]), half, unit)
        skin = self._still[int(points[_CHEEK, 1]), int(points[_CHEEK, 0])].astype(np.float32)
        light = float(skin.mean()) / 200
        enamel = 0.25 * skin + np.array([186, 180, 168], dtype=np.float32) * max(light, 0.9)
        self._enamel = np.minimum(enamel, 240).astype(np.float32)
        self._cavity = (0.10 * skin + np.array([22, 4, 4], dtype=np.float32)).astype(np.float32)
        self._tongue = (0.10 * skin + np.array([105, 38, 40], dtype=np.float32) * light).astype(np.float32)
        self._folds_at, self._smooth = _without_folds(self._still, points, unit)
        self._furrow_at, self._furrow = _furrows(points[[55, 285]], unit)

    def render(self, moves: Mapping[str, float]) -> U8:
        """The (height, width, 3) uint8 RGB picture with the given moves, the others at rest."""
        head, muscles = _sum(self._head, moves), _sum(self._face, moves)
        cell_x, cell_y = (self._cells - head * self._per_cell).astype(np.float32)
        height, width = self._x.shape
        # The face moves with the head: its fields are those of where the head took each place from.
        x = self._x - _resize(head[0] + _remap(muscles[0], cell_x, cell_y), width, height)
        y = self._y - _resize(head[1] + _remap(muscles[1], cell_x, cell_y), width, height)

        box_x, upper_y = x[self._box].copy(), y[self._box].copy()
        drop = self._unit * sum(amount * moves.get(name, 0.0) for name, amount in _DROP.items())
        below = slice(self._top, None)
        y[below] -= drop * _remap(self._jaw, x[below], y[below])
        lower_y = y[self._box]
        depth = _remap(self._under_upper, box_x, upper_y)
        rise = _remap(self._under_lower, box_x, lower_y)
        # Each lip keeps its own edge; between them it does not matter, for the inside is painted over.
        np.copyto(lower_y, upper_y, where=depth < np.maximum(-rise, 0))

        picture = self._still.copy()
        if (relaxed := min(1.0, -moves.get("AU12", 0.0) / 0.5)) > 0:
            target = picture[self._folds_at]
            target[:] = (target + relaxed * self._smooth + 0.5).astype(np.uint8)
        if (frown := moves.get("AU4", 0.0)) > 0:
            target = picture[self._furrow_at]
            target[:] = (target * (1 - frown * self._furrow)).astype(np.uint8)
        face = _remap(picture, x, y)
        opened = np.clip(np.minimum(depth, -rise), 0, 1)
        if opened.max() > 0:
            length = self._unit * _TEETH * (1 - 0.5 * moves.get("AU18", 0.0))  # rounded lips cover them
            self._open(face[self._box], opened, (depth, rise), _remap(self._teeth, box_x, upper_y), length)
        picture[:, self._columns] = face
        return picture

    def _open(self, face: U8, opened: F32, under: tuple[F32, F32], texture: F32, length: float) -> None:
        """Paint the inside of the mouth where the lips have parted.

        opened: 1 inside. under: pixels below the edge of the upper and of the lower lip. texture and length: of
        the upper teeth.
        """
        rows, columns = np.nonzero(opened)
        part = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        opened, teeth = opened[part][..., None], texture[part][..., None]
        depth, below = (lip[part][..., None] for lip in under)
        teeth = teeth * np.clip((length - depth) / 2, 0, 1)
        teeth *= np.clip((depth - below) / 3 - 1, 0, 1)  # a slit is dark
        teeth *= np.clip(0.45 + depth / (0.05 * self._unit), 0, 1)  # in the shadow of the lip
        tongue = np.clip(1 + below / (0.16 * self._unit), 0, 1)
        inside = self._cavity + tongue * (self._tongue - self._cavity)
        inside += teeth * (self._enamel - inside)
        target = face[part]
        target[:] = (target + opened * (inside - target) + 0.5).astype(np.uint8)


_Image = TypeVar("_Image", U8, F32)


def _remap(image: _Image, x: F32, y: F32) -> _Image:
    """The image as seen at the given places, in pixels; outside it goes on as at its border."""
    return cast("_Image", cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _resize(field: F32, width: int, height: int) -> F32:
    return cast("F32", cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR))


def _sum(fields: Mapping[str, F32], moves: Mapping[str, float]) -> F32:
    """The (2, h, w) sum of the fields as the moves weigh them, always in one order: rounding is the same everywhere."""
    total = np.zeros_like(next(iter(fields.values())))
    for name, full in fields.items():
        if amount := moves.get(name, 0.0):
            total += np.float32(amount) * full
    return total


def _bump(x: F32, y: F32, centre: F32, reach: tuple[float, float]) -> F32:
    return np.asarray(
        np.exp(-0.5 * (((x - centre[0]) / reach[0]) ** 2 + ((y - centre[1]) / reach[1]) ** 2)), dtype=np.float32
    )


def _pull_fields(x: F32, y: F32, points: F32, unit: float) -> dict[str, F32]:
    """Displacements in pixels, (2, *x.shape), x to the right and y downwards, of each action unit in full."""
    fields = {}
    for name, pulls in _PULLS.items():
        field = np.zeros((2, *x.shape), dtype=np.float32)
        for pair, out, down, reach_x, reach_y in pulls:
            centre = points[list(pair)].mean(axis=0)
            for point in points[list(pair)]:
                weight = unit * _bump(x, y, point, (reach_x * unit, reach_y * unit))
                field[0] += out * np.sign(point[0] - centre[0]) * weight
                field[1] += down * weight
        fields[name] = field
    return fields


def _squeeze_fields(x: F32, y: F32, points: F32, unit: float) -> dict[str, F32]:
    """As `_pull_fields`, towards the level of the eyes or of the lips."""
    fields = {}
    for name, (groups, share, reach_x, reach_y) in _SQUEEZES.items():
        field = np.zeros((2, *x.shape), dtype=np.float32)
        for group in groups:
            centre = points[list(group)].mean(axis=0)
            field[1] -= share * (y - centre[1]) * _bump(x, y, centre, (reach_x * unit, reach_y * unit))
        fields[name] = field
    return fields


def _head_fields(x: F32, y: F32, points: F32, unit: float) -> dict[str, F32]:
    """As `_pull_fields`: the head against the shoulders. The borders of the picture and the collar stay."""
    right = (x - points[_NOSE_TIP, 0]) / unit
    down = (y - points[_NOSE_TIP, 1]) / unit
    held = np.exp(-((right / 1.15) ** 6)) / (1 + np.exp((down - 0.85) / 0.10))
    dome = np.exp(-((right / 0.62) ** 2) - (down / 0.75) ** 2)  # what is nearer to the camera moves further
    none = np.zeros_like(held)
    neck = 1.2
    fields = {
        "right": (held, none),
        "down": (none, held),
        "nearer": (held * right, held * down),
        "roll": (-held * (down - neck), held * right),
        "yaw": (dome, none),
        "pitch": (none, dome),
    }
    return {name: (unit * np.stack(field)).astype(np.float32) for name, field in fields.items()}


def _jaw_field(size: tuple[int, int], corners: F32, chin: float, unit: float) -> F32:
    """How much of a drop of the jaw each point follows, 0 to 1: the lip between its corners, all of the chin."""
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    mouth, half = corners.mean(axis=0), np.ptp(corners[:, 0]) / 2
    depth = np.clip((y - mouth[1]) / (chin - mouth[1]), 0, 1.2)
    across = np.clip(1 - np.abs((x - mouth[0]) / (half * (1 + 0.9 * depth))) ** 2.2, 0, 1)
    neck = 1 / (1 + np.exp((y - chin - 0.30 * unit) / (0.09 * unit)))
    return np.asarray(cv2.GaussianBlur((across * neck).astype(np.float32), (0, 0), 2.0), dtype=np.float32)


def _curve(points: F32, columns: NDArray[np.int64]) -> F32:
    """The height of the line through (n, 2) points in each column, level beyond its ends."""
    order = np.argsort(points[:, 0])
    return np.interp(columns, points[order, 0], points[order, 1]).astype(np.float32)


def _teeth(width: int, height: int, middle: float, half: float, unit: float) -> F32:
    """How bright the upper teeth are in each column, (height, width) in [0, 1]: fading sideways, faint gaps."""
    x = np.arange(width, dtype=np.float32) - middle
    fade = np.clip(1.05 - np.abs(x / (1.1 * half)) ** 3, 0, 1)
    gaps = 1 - 0.15 * np.exp(-((np.mod(x / (0.07 * unit) + 0.5, 1.0) - 0.5) ** 2) / 0.01)
    return np.repeat((fade * gaps).astype(np.float32)[None], height, axis=0)


def _without_folds(still: U8, points: F32, unit: float) -> tuple[tuple[slice, slice], F32]:
    """The box around the folds from nose to mouth, and what to add there to fill them with the skin beside them."""
    folds, lips = (np.zeros(still.shape[:2], dtype=np.float32) for _ in range(2))
    for fold in _FOLDS:
        cv2.polylines(folds, [points[list(fold)].astype(np.int32)], False, [1.0], thickness=int(0.09 * unit))
    cv2.fillPoly(lips, [points[list(_LIPS)].astype(np.int32)], [1.0])
    soft = cv2.GaussianBlur(folds, (0, 0), 0.035 * unit) * (1 - cv2.GaussianBlur(lips, (0, 0), 0.02 * unit))
    skin = (1 - np.maximum(folds, cv2.dilate(lips, np.ones((5, 5)))))[..., None]
    spread = 0.07 * unit
    around = cv2.GaussianBlur(still * skin, (0, 0), spread) / (cv2.GaussianBlur(skin, (0, 0), spread)[..., None] + 1e-6)
    corners = points[[*_FOLDS[0], *_FOLDS[1]]]
    (left, top), (right, bottom) = (corners.min(axis=0) - 0.2 * unit), (corners.max(axis=0) + 0.2 * unit)
    box = slice(int(top), int(bottom)), slice(int(left), int(right))
    return box, ((around - still) * soft[..., None])[box].astype(np.float32)


def _furrows(brows: F32, unit: float) -> tuple[tuple[slice, slice], F32]:
    """The box between the inner ends of the brows, and the share of light that its two furrows take in full."""
    (x0, y0), (x1, y1) = brows.min(axis=0), brows.max(axis=0)
    level = (y0 + y1) / 2 - 0.01 * unit
    box = slice(int(level - 0.2 * unit), int(level + 0.2 * unit)), slice(int(x0), int(x1) + 1)
    x, y = np.meshgrid(np.arange(box[1].start, box[1].stop), np.arange(box[0].start, box[0].stop))
    shade = sum(_bump(x, y, np.array([x0 + at * (x1 - x0), level]), (0.02 * unit, 0.06 * unit)) for at in (0.3, 0.7))
    return box, (np.asarray(shade)[..., None] * np.array([0.15, 0.2, 0.22])).astype(np.float32)
