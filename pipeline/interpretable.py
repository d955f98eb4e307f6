"""51 features of a face that can be named: gaze, eyes, pose and action units (PERSONAL, section 3.3).

The paper took them from OpenFace 2.2 (Baltrusaitis et al. 2018, "OpenFace 2.0: facial behavior analysis toolkit") and does
not list them; these are its columns, each group of landmarks averaged per direction as the paper says. Here they are
measured on the 468-point mesh. Action units are proxies: distances between vertices of the upright mesh, not what a
FACS coder would score. Gaze is a poor one, since the mesh has no irises: that of the head, lowered and raised with the lids.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F32, F64
from pipeline.landmarks import RIGID_POINTS, head_pose, upright

Side = tuple[int, ...]

_INNER_BROWS: Final[Side] = (107, 55, 336, 285)
_OUTER_BROWS: Final[Side] = (70, 63, 300, 293)
_BROWS: Final[Side] = (107, 66, 105, 63, 336, 296, 334, 293)
_INNER_CORNERS: Final[Side] = (133, 362)
_OUTER_CORNERS: Final[Side] = (33, 263)
_UPPER_LIDS: Final[Side] = (160, 159, 158, 387, 386, 385)
_LOWER_LIDS: Final[Side] = (144, 145, 153, 373, 374, 380)
_CHEEKS: Final[Side] = (50, 101, 118, 280, 330, 347)
_ALAE: Final[Side] = (129, 64, 358, 294)
_NOSE_BASE: Final[Side] = (2,)
_UPPER_LIP: Final[Side] = (39, 37, 0, 267, 269)
_UPPER_LIP_INSIDE: Final[Side] = (82, 13, 312)
_LOWER_LIP_INSIDE: Final[Side] = (87, 14, 317)
_LOWER_LIP: Final[Side] = (84, 17, 314)
_CORNERS_OF_MOUTH: Final[Side] = (61, 78, 291, 308)
_RIGHT_CORNER: Final[Side] = (61, 78)
_LEFT_CORNER: Final[Side] = (291, 308)
_CHIN: Final[Side] = (152, 175)
_CHIN_BOSS: Final[Side] = (199, 200)
_EYES: Final[Side] = (
    *(33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    *(263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)

_X, _Y, _Z = range(3)


@dataclass(frozen=True, slots=True)
class Part:
    """`weight` times the distance from one group of vertices to another along an axis of the upright mesh."""

    of: Side
    to: Side
    axis: int = _Y
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ActionUnit:
    """How an action unit is measured.

    formula: what is measured, in words: the sum of `parts`, in sizes of the face (see `pipeline.landmarks.upright`).
    rest, full: that sum on the median neutral face, and where the intensity is 5.
    present_from: the intensity from which on it counts as present.
    """

    code: str
    formula: str
    parts: tuple[Part, ...]
    rest: float = 0.0
    full: float = 1.0
    present_from: float = 1.0


_EYE_OPENING: Final = Part(_UPPER_LIDS, _LOWER_LIDS)
_LIPS_APART: Final = Part(_UPPER_LIP_INSIDE, _LOWER_LIP_INSIDE)
_WIDTH: Final = Part(_RIGHT_CORNER, _LEFT_CORNER, _X)
_CORNERS_UP: Final = (Part(_CORNERS_OF_MOUTH, _UPPER_LIP_INSIDE), Part(_CORNERS_OF_MOUTH, _LOWER_LIP_INSIDE))
_RED_OF_LIPS: Final = (Part(_UPPER_LIP, _UPPER_LIP_INSIDE), Part(_LOWER_LIP_INSIDE, _LOWER_LIP))


def _times(weight: float, *parts: Part) -> tuple[Part, ...]:
    return tuple(Part(part.of, part.to, part.axis, weight * part.weight) for part in parts)


# rest, full and present_from: medians and percentiles of FER2013 PublicTest, see `ACTION_UNITS`.
_MEASURED: Final[tuple[tuple[float, float, float], ...]] = (
    (0.2794, 0.4558, 1.81),  # AU01
    (0.2834, 0.4384, 2.06),  # AU02
    (-0.8187, -0.6390, 3.06),  # AU04
    (0.0770, 0.1362, 2.61),  # AU05
    (-0.4250, -0.3219, 2.10),  # AU06
    (-0.0502, -0.0079, 2.10),  # AU07
    (-0.6158, -0.4742, 2.16),  # AU09
    (-0.2430, -0.0716, 1.72),  # AU10
    (0.3596, 0.7213, 0.97),  # AU12
    (0.1718, 0.3362, 1.09),  # AU14
    (0.0014, 0.0929, 1.74),  # AU15
    (-0.2621, -0.0799, 2.38),  # AU17
    (0.3604, 0.5077, 1.56),  # AU20
    (-0.4122, -0.2830, 2.33),  # AU23
    (0.0094, 0.6385, 0.87),  # AU25
    (0.9217, 1.2446, 1.56),  # AU26
    (-0.1270, -0.0098, 2.14),  # AU45
    (-0.2630, -0.1395, 2.66),  # AU28
)

_HOW: Final[tuple[tuple[str, str, tuple[Part, ...]], ...]] = (
    ("AU01", "inner brows above inner eye corners", (Part(_INNER_BROWS, _INNER_CORNERS),)),
    ("AU02", "outer brows above outer eye corners", (Part(_OUTER_BROWS, _OUTER_CORNERS),)),
    (
        "AU04",
        "brows towards eyes, and inner brows towards each other",
        (*_times(-1, Part(_BROWS, _INNER_CORNERS)), Part((285, 336), (55, 107), _X)),
    ),
    ("AU05", "upper lids above eye corners", (Part(_UPPER_LIDS, _INNER_CORNERS + _OUTER_CORNERS),)),
    ("AU06", "cheeks towards eye corners", _times(-1, Part(_OUTER_CORNERS, _CHEEKS))),
    ("AU07", "lower lids towards eye corners", _times(-1, Part(_INNER_CORNERS + _OUTER_CORNERS, _LOWER_LIDS))),
    ("AU09", "wings of the nose towards inner eye corners", _times(-1, Part(_INNER_CORNERS, _ALAE))),
    ("AU10", "upper lip towards base of the nose", _times(-1, Part(_NOSE_BASE, _UPPER_LIP))),
    ("AU12", "corners of the mouth above its middle, and apart", (*_times(0.5, *_CORNERS_UP), *_times(0.5, _WIDTH))),
    ("AU14", "corners of the mouth back into the face", (Part(_UPPER_LIP_INSIDE, _CORNERS_OF_MOUTH, _Z),)),
    ("AU15", "corners of the mouth below its middle", _times(-0.5, *_CORNERS_UP)),
    (
        "AU17",
        "boss of the chin towards the lower lip, lips together",
        _times(-1, Part(_LOWER_LIP, _CHIN_BOSS), _LIPS_APART),
    ),
    ("AU20", "corners of the mouth apart, but not up", (*_times(0.5, _WIDTH), *_times(-0.5, *_CORNERS_UP))),
    ("AU23", "red of the lips thin, and mouth narrow", (*_times(-1, *_RED_OF_LIPS), *_times(-0.25, _WIDTH))),
    ("AU25", "lips apart", (_LIPS_APART,)),
    ("AU26", "chin away from base of the nose", (Part(_NOSE_BASE, _CHIN),)),
    ("AU45", "lids together", _times(-1, _EYE_OPENING)),
    ("AU28", "red of the lips out of sight", (*_times(-1, *_RED_OF_LIPS), *_times(-1, Part((13,), (14,))))),
)

ACTION_UNITS: Final[tuple[ActionUnit, ...]] = tuple(
    ActionUnit(code, formula, parts, *measured)
    for (code, formula, parts), measured in zip(_HOW, _MEASURED, strict=True)
)
"""The 18 of OpenFace in its order; the last one, AU28, has a presence only.

Measured on the meshes of FER2013 PublicTest with a FER+ majority: `rest` is the median of the neutral faces, `full` the
99.5th percentile of all, and present is what exceeds the 90th percentile of the neutral ones.
"""

_GAZE: Final = ("gaze_x", "gaze_y", "gaze_z", "gaze_angle_x", "gaze_angle_y")
_EYE_MEANS: Final = ("eye_x", "eye_y", "eye_X", "eye_Y", "eye_Z")
_POSE: Final = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
_INTENSITIES: Final = tuple(f"{unit.code}_r" for unit in ACTION_UNITS[:-1])
_PRESENCES: Final = tuple(f"{unit.code}_c" for unit in ACTION_UNITS)

NAMES: Final = (*_GAZE, *_EYE_MEANS, *_POSE, *_INTENSITIES, *_PRESENCES)
"""Of the 51 columns, as OpenFace calls them, the two eyes and the landmarks of the eyes averaged."""

N_INTERPRETABLE: Final = len(NAMES)
ACTION_UNIT_COLUMNS: Final = slice(N_INTERPRETABLE - len(_INTENSITIES) - len(_PRESENCES), N_INTERPRETABLE)
"""The 35 of SEQUENCE: 17 intensities, then 18 presences."""


@dataclass(frozen=True, slots=True)
class Feature:
    """Name, unit and formula of one column."""

    name: str
    unit: str
    formula: str


_LOOK: Final = "of the unit vector that the eyes look along: the head's, lowered and raised with the lids"
_HEAD_EYES: Final = "mean of 32 points on the rims of the eyes, in the upright mesh"
_SEEN_EYES: Final = "mean of the same points in the picture, from the middle of the rigid points"

FEATURES: Final[tuple[Feature, ...]] = (
    Feature("gaze_x", "1", f"x (towards larger x in the picture) {_LOOK}"),
    Feature("gaze_y", "1", f"y (down) {_LOOK}"),
    Feature("gaze_z", "1", f"z (negative towards the camera) {_LOOK}"),
    Feature("gaze_angle_x", "rad", "atan2(gaze_x, -gaze_z): positive towards larger x"),
    Feature("gaze_angle_y", "rad", "atan2(gaze_y, -gaze_z): positive down"),
    Feature("eye_x", "face sizes", f"x: {_SEEN_EYES}"),
    Feature("eye_y", "face sizes", f"y: {_SEEN_EYES}"),
    Feature("eye_X", "face sizes", f"x: {_HEAD_EYES}"),
    Feature("eye_Y", "face sizes", f"y: {_HEAD_EYES}"),
    Feature("eye_Z", "face sizes", f"z: {_HEAD_EYES}"),
    Feature("pose_Tx", "face sizes", "x of the middle of the rigid points in the picture"),
    Feature("pose_Ty", "face sizes", "y of the middle of the rigid points in the picture"),
    Feature("pose_Tz", "1/unit", "100 / size of the face in the unit of the mesh: grows with the distance"),
    Feature("pose_Rx", "rad", "pitch, as `pipeline.landmarks.head_pose`, but positive down as OpenFace has it"),
    Feature("pose_Ry", "rad", "yaw, as `pipeline.landmarks.head_pose`"),
    Feature("pose_Rz", "rad", "roll, as `pipeline.landmarks.head_pose`"),
    *(Feature(f"{u.code}_r", "intensity", f"5 x ({u.formula} - rest) / (full - rest)") for u in ACTION_UNITS[:-1]),
    *(Feature(f"{u.code}_c", "0 or 1", f"{u.formula}: intensity above {u.present_from}") for u in ACTION_UNITS),
)
"""Name, unit and formula of each column. Intensities are not clipped: below 0 lies what the median neutral face does more."""

LIDS_PER_RAD: Final = 0.17
LIDS_AT_REST: Final = -0.009
"""How far the middle between the lids moves, in face sizes, when the eyes turn up or down by one radian, and where it is.

Measured on 440 stills of public figures (2026-11-21) against the irises of the attention mesh, which the 468 points lack:
vertically the lids follow these with a correlation of 0.84. Horizontally nothing follows them, and the eyes turn in the head
with a standard deviation of 0.19 rad (the head: 0.30 rad): the head's direction correlates by 0.84 with that of the eyes.
"""


def _functional() -> tuple[NDArray[np.intp], F64]:
    """The vertices that any action unit needs, and the (k, 3, 18) matrix that turns these into their sums."""
    used = sorted({vertex for unit in ACTION_UNITS for part in unit.parts for vertex in (*part.of, *part.to)})
    matrix = np.zeros((len(used), 3, len(ACTION_UNITS)))
    for column, unit in enumerate(ACTION_UNITS):
        for part in unit.parts:
            for group, sign in ((part.of, -1.0), (part.to, 1.0)):
                for vertex in group:
                    matrix[used.index(vertex), part.axis, column] += sign * part.weight / len(group)
    return np.array(used, dtype=np.intp), matrix


_USED, _MATRIX = _functional()
_REST: Final[F64] = np.array([unit.rest for unit in ACTION_UNITS])
_PER_INTENSITY: Final[F64] = np.array([(unit.full - unit.rest) / 5 for unit in ACTION_UNITS])
_PRESENT: Final[F64] = np.array([unit.present_from for unit in ACTION_UNITS])


def interpretable_features(landmarks: F32) -> F32:
    """(n, 51) float32, columns as `NAMES` and `FEATURES`, of (n, 468, 3) meshes.

    Place, size and turn of the head change gaze, eye_x, eye_y and pose only.

    Raises:
        ValueError: The mesh is of another shape.
    """
    level = upright(landmarks)
    pose = head_pose(landmarks)
    mesh = landmarks.astype(np.float64)
    middle = mesh[:, RIGID_POINTS].mean(axis=1)
    size = _size(mesh, middle)
    eyes = level[:, _EYES].mean(axis=1)
    seen = (mesh[:, _EYES, :2].mean(axis=1) - middle[:, :2]) / size[:, None]
    place = np.column_stack([middle[:, :2] / size[:, None], 100 / size])
    turn = np.column_stack([-pose[:, 1], pose[:, 0], pose[:, 2]])
    columns = [_gaze(pose, level), seen, eyes, place, turn, _action_units(level)]
    return np.concatenate(columns, axis=1, dtype=np.float32, casting="unsafe")


def action_unit_sums(landmarks: F32) -> F64:
    """(n, 18) what the formulas of `ACTION_UNITS` measure, in face sizes: what `rest` and `full` are fitted on.

    Raises:
        ValueError: The mesh is of another shape.
    """
    return _sums(upright(landmarks))


def _sums(level: F64) -> F64:
    return np.asarray(np.tensordot(level[:, _USED], _MATRIX, axes=((1, 2), (0, 1))))


def _action_units(level: F64) -> F64:
    """(n, 35) intensities, then presences."""
    intensity = (_sums(level) - _REST) / _PER_INTENSITY
    return np.concatenate([intensity[:, :-1], intensity > _PRESENT], axis=1)


def _size(mesh: F64, middle: F64) -> F64:
    """(n,) root mean square distance of the rigid points from their middle; never 0."""
    apart = mesh[:, RIGID_POINTS] - middle[:, None]
    return np.asarray(np.sqrt((apart**2).sum(axis=2).mean(axis=1)).clip(1e-9))


def _gaze(pose: F64, level: F64) -> F64:
    """(n, 5) the head's direction, turned up or down by what the lids say."""
    middle_of_lids = (level[:, _UPPER_LIDS, 1].mean(axis=1) + level[:, _LOWER_LIDS, 1].mean(axis=1)) / 2
    corners = level[:, _INNER_CORNERS + _OUTER_CORNERS, 1].mean(axis=1)
    down = (middle_of_lids - corners - LIDS_AT_REST) / LIDS_PER_RAD - pose[:, 1]
    yaw = pose[:, 0]
    x, y, z = np.sin(yaw) * np.cos(down), np.sin(down), -np.cos(yaw) * np.cos(down)
    return np.column_stack([x, y, z, np.arctan2(x, -z), np.arctan2(y, -z)])


Rest = Literal["neutral", "all"]

_MAD_TO_SD: Final = 1.4826
"""Of a normal distribution, standard deviation over median absolute deviation."""

_LEAST_SPREAD: Final[F64] = np.array(
    [*[0.05] * len(_GAZE), *[0.05] * 2, *[0.02] * 3, 0.5, 0.5, 0.1, *[0.05] * 3, *[0.5] * 17, *[1.0] * 18]
)
"""Spreads below are taken for this: a face that never moves a muscle must not make its first twitch infinite."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A person's resting face, and how far their features spread around it.

    rest, spread: (51,), spread > 0; n: rows it was made from; source: `neutral` seconds or `all` of them.
    """

    rest: F64
    spread: F64
    n: int
    source: Rest = "all"

    @classmethod
    def of(cls, features: F32 | F64, neutral: NDArray[np.bool_] | None = None, *, n_neutral: int = 30) -> Self:
        """Median and scaled median absolute deviation of (n, 51) features; rows that are not finite do not count.

        The rest is that of the `neutral` rows where there are `n_neutral` of them, else of all; the spread is always
        that of all rows, and at least a small one. Without a row the rest is 0 and the spread 1.

        Raises:
            ValueError: `features` is of another shape.
        """
        if features.ndim != 2 or features.shape[1] != N_INTERPRETABLE:  # noqa: PLR2004 (rows, columns)
            msg = f"features: expected shape (n, {N_INTERPRETABLE}), found {features.shape}"
            raise ValueError(msg)
        finite = np.isfinite(features).all(axis=1)
        rows = features[finite].astype(np.float64)
        if len(rows) == 0:
            return cls(np.zeros(N_INTERPRETABLE), np.ones(N_INTERPRETABLE), 0)
        calm = rows[:0] if neutral is None else rows[neutral[finite]]
        source: Rest = "neutral" if len(calm) >= n_neutral else "all"
        rest = np.median(calm if source == "neutral" else rows, axis=0)
        spread = _MAD_TO_SD * np.median(np.abs(rows - np.median(rows, axis=0)), axis=0)
        return cls(rest, np.maximum(spread, _LEAST_SPREAD), len(rows), source)

    def z_scores(self, features: F32 | F64) -> F64:
        """(n, 51) features in spreads from the resting face."""
        return np.asarray((features - self.rest) / self.spread)


class RunningBaseline:
    """The baseline of the seconds seen last: bounded memory, the oldest go first.

    Args:
        capacity: Seconds that are kept, at least 1: ten minutes unless said otherwise.

    Raises:
        ValueError: `capacity` is below 1.
    """

    def __init__(self, capacity: int = 600) -> None:
        if capacity < 1:
            msg = f"capacity: expected at least 1, found {capacity}"
            raise ValueError(msg)
        self._rows: deque[tuple[F32, bool]] = deque(maxlen=capacity)
        self.n_dropped = 0

    def add(self, features: F32, *, neutral: bool) -> None:
        """One second's (51,) features, and whether the face was at rest in it; the oldest is dropped and counted."""
        self.n_dropped += len(self._rows) == self._rows.maxlen
        self._rows.append((features, neutral))

    def baseline(self) -> Baseline:
        """Of what is kept."""
        rows = np.array([features for features, _ in self._rows], dtype=np.float32).reshape(-1, N_INTERPRETABLE)
        return Baseline.of(rows, np.array([neutral for _, neutral in self._rows], dtype=np.bool_))
