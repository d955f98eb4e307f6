"""Geometry of face meshes: 68 points, the features of both landmark models, head pose, bounding box.

Meshes are (n, 468, 3) in MediaPipe's order: x to the right and y down in the picture, z away from the camera,
all in one unit. Left and right are the subject's, so the subject's right eye lies at smaller x.
"""

from typing import Final

import numpy as np

from pipeline.emotions import F32, F64

N_LANDMARKS: Final = 468

_JAW: Final = (162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389)
_BROWS: Final = (71, 63, 105, 66, 107, 336, 296, 334, 293, 301)
_NOSE: Final = (168, 197, 5, 4, 98, 97, 2, 326, 327)
_EYES: Final = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIPS: Final = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
_INNER_LIPS: Final = (78, 82, 13, 312, 308, 317, 14, 87)

IBUG_68: Final = _JAW + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS
"""Index of each of the 68 iBUG points (Sagonas et al. 2013, "300 faces in-the-wild") in the mesh.

0-16 outline from the subject's right temple over the chin (8) to the left; 17-21 right and 22-26 left brow;
27-30 bridge to tip of the nose, 31-35 its base; 36-41 right and 42-47 left eye; 48-59 outer and 60-67 inner
lips. The mesh has no vertex made for these points: taken are those nearest to the iBUG scheme on
MediaPipe's canonical face, mirror images of each other on both sides.
"""

RIGID_POINTS: Final = (
    *(10, 151, 9, 168, 6, 197, 195, 4),
    *(33, 133, 127, 162, 234, 54, 67, 143, 116, 93),
    *(263, 362, 356, 389, 454, 284, 297, 372, 345, 323),
)
"""Vertices that expressions hardly move: eight on the midline, then ten on the subject's right, ten on the left."""

_MIDLINE_AND_RIGHT: Final[F64] = np.array(
    [
        [0.0000, -0.7373, -0.4493],
        [0.0000, -0.4893, -0.4919],
        [0.0000, -0.2466, -0.5140],
        [0.0000, 0.0152, -0.4743],
        [0.0000, 0.1541, -0.5359],
        [0.0000, 0.2752, -0.6092],
        [0.0000, 0.3870, -0.6869],
        [0.0000, 0.6429, -0.7995],
        [-0.7406, 0.0540, -0.1227],
        [-0.2895, 0.0885, -0.2117],
        [-1.1099, 0.0541, 0.6573],
        [-1.1001, -0.1659, 0.4832],
        [-1.0928, 0.2676, 0.7454],
        [-0.9627, -0.4993, 0.0692],
        [-0.5737, -0.6993, -0.3182],
        [-0.9961, 0.1088, 0.1112],
        [-1.0109, 0.3007, 0.0952],
        [-1.0767, 0.4901, 0.7716],
    ]
)
RIGID_REFERENCE: Final[F64] = np.concatenate([_MIDLINE_AND_RIGHT, _MIDLINE_AND_RIGHT[8:] * (-1, 1, 1)])
"""Where `RIGID_POINTS` lie on a level, frontal face; shape (28, 3), its mean at 0 and its
root mean square distance from there 1, both to 1e-3.

The symmetric mean shape (generalised Procrustes analysis, Gower 1975) of the meshes of the FER2013 training
pictures, turned upright by their median pitch.
"""
RIGID_REFERENCE.setflags(write=False)

_TINY: Final = 1e-9


def points_68(landmarks: F32) -> F32:
    """(n, 68, 2) x and y of the iBUG points, in the unit of the (n, 468, 3) mesh.

    Raises:
        ValueError: The mesh is of another shape.
    """
    return np.asarray(_checked(landmarks)[:, IBUG_68, :2], dtype=np.float32)


def paper_features(landmarks: F32) -> F32:
    """(n, 272) float32: x, y, distance from the mean point and angle to it, for each of the 68 points.

    x, y and distance are relative to the mean of the 68 points and divided by their root mean square distance
    from it, so that position and scale of the face do not matter (its roll does). The angle is that of the
    vector from the mean point to the point, in radians in [-pi, pi], 0 towards larger x, positive downwards.
    GROUP, section 3.

    Raises:
        ValueError: The mesh is of another shape.
    """
    points = _checked(landmarks)[:, IBUG_68, :2].astype(np.float64)
    centred = points - points.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(centred, axis=2, keepdims=True)
    scale = np.sqrt((distance**2).mean(axis=1, keepdims=True)).clip(_TINY)
    angle = np.arctan2(centred[..., 1:], centred[..., :1])
    features = np.concatenate([centred / scale, distance / scale, angle], axis=2)
    return np.asarray(features.reshape(len(features), 4 * len(IBUG_68)), dtype=np.float32)


def upright(landmarks: F32) -> F64:
    """(n, 468, 3) the same meshes seen from the front: moved, turned and scaled onto `RIGID_REFERENCE`.

    The similarity of least squares over the rigid points, without reflection: Umeyama 1991, "Least-squares
    estimation of transformation parameters between two point patterns".

    Raises:
        ValueError: The mesh is of another shape.
    """
    centred, rotation = _rigid(landmarks)
    size = np.sqrt((centred[:, RIGID_POINTS] ** 2).sum(axis=2).mean(axis=1)).clip(_TINY)
    return np.asarray(centred @ rotation / size[:, None, None])


def mesh_features(landmarks: F32) -> F32:
    """(n, 1404) float32: x, y, z of every vertex of the upright mesh, in units of the rigid points' size.

    Rotation, scale and translation of the mesh do not matter.

    Raises:
        ValueError: The mesh is of another shape.
    """
    return np.asarray(upright(landmarks).reshape(len(landmarks), 3 * N_LANDMARKS), dtype=np.float32)


def head_pose(landmarks: F32) -> F64:
    """(n, 3) yaw, pitch and roll in radians; all 0 for a level head that faces the camera.

    Yaw is positive when the subject turns to their own left (larger x in the picture), pitch when they look
    up, roll when the head leans to their own left shoulder (clockwise in the picture). The head is turned
    from level by roll first, then pitch, then yaw. Level is the median head of FER2013.

    Raises:
        ValueError: The mesh is of another shape.
    """
    _, turn = _rigid(landmarks)
    yaw = np.arctan2(-turn[:, 0, 2], turn[:, 2, 2])
    pitch = np.arcsin(turn[:, 1, 2].clip(-1, 1))
    roll = np.arctan2(turn[:, 1, 0], turn[:, 1, 1])
    return np.stack([yaw, pitch, roll], axis=1)


def mesh_box(landmarks: F32) -> F32:
    """(n, 4) float32 x0, y0, x1, y1: bounding box of each mesh, in its unit.

    Raises:
        ValueError: The mesh is of another shape.
    """
    plane = _checked(landmarks)[..., :2]
    return np.asarray(np.concatenate([plane.min(axis=1), plane.max(axis=1)], axis=1), dtype=np.float32)


def _rigid(landmarks: F32) -> tuple[F64, F64]:
    """Meshes with the mean rigid point at 0, and the rotations (n, 3, 3) that turn the reference onto them."""
    mesh = _checked(landmarks).astype(np.float64)
    centred = mesh - mesh[:, RIGID_POINTS].mean(axis=1, keepdims=True)
    covariance = centred[:, RIGID_POINTS].transpose(0, 2, 1) @ RIGID_REFERENCE
    left, _, right = np.linalg.svd(covariance)
    # The last axis is flipped where the best fit would be a mirror image.
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return centred, left @ right


def _checked(landmarks: F32) -> F32:
    if landmarks.ndim != 3 or landmarks.shape[1:] != (N_LANDMARKS, 3):  # noqa: PLR2004 (n, points, coordinates)
        msg = f"landmarks: expected shape (n, {N_LANDMARKS}, 3), found {landmarks.shape}"
        raise ValueError(msg)
    return landmarks
