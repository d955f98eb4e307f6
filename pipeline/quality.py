"""How far a face in a frame can be trusted: the weight of that frame in its second (GROUP, section 4.1)."""

import math

import numpy as np

from pipeline.types import U8

QUALITY_MIN, QUALITY_MAX = 0.05, 1.0
FULL_WIDTH_PX = 64.0
FACE_MIN_PX = 24.0
"""Faces narrower than this are not read: of 16 px the two models together lose 9 points of accuracy, of 24 px 2."""
SHARP = 0.30
"""Relative Laplacian of a 48-pixel crop from which on it counts as sharp; see `sharpness`.

Measured on 304 faces of 72 to 240 px in 31 clips: 95 % lie above 0.31, median 0.41. Blurred by a Gaussian of 1, 2 and
3 pixels of the crop the same faces have a median of 0.21, 0.12 and 0.08; shrunk to 24 px 0.24.
"""


def sharpness(crop: U8) -> float:
    """Sharpness of an (H, W) uint8 grey face crop in [0, 1]; 0 for a flat picture.

    Mean absolute Laplacian (four neighbours) over the standard deviation of the grey values, so that contrast
    and exposure do not count, as a share of `SHARP`.
    """
    grey = crop.astype(np.float64)
    spread = float(grey.std())
    if spread < 1.0:
        return 0.0
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return min(1.0, float(np.abs(laplacian).mean()) / spread / SHARP)


def frame_quality(*, score: float, width_px: float, yaw_rad: float, pitch_rad: float, sharp: float) -> float:
    """Weight of a frame in [0.05, 1].

    q = detector score x min(1, face width / 64 px) x max(0, cos yaw) x max(0, cos pitch) x sharpness, clipped.

    Args:
        score: The detector's, in [0, 1].
        width_px: Width of the face in pixels of the recording.
        yaw_rad: Turn of the head to the side, 0 when it faces the camera.
        pitch_rad: Turn of the head up or down.
        sharp: `sharpness` of the crop, in [0, 1].
    """
    facing = max(0.0, math.cos(yaw_rad)) * max(0.0, math.cos(pitch_rad))
    quality = score * min(1.0, width_px / FULL_WIDTH_PX) * facing * sharp
    return min(QUALITY_MAX, max(QUALITY_MIN, quality))
