"""The weight of a frame."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline.quality import frame_quality, sharpness


def test_quality_by_hand() -> None:
    """0.9 x 32/64 x cos 60 deg x 1 x 0.8 = 0.18."""
    quality = frame_quality(score=0.9, width_px=32, yaw_rad=math.pi / 3, pitch_rad=0.0, sharp=0.8)
    assert quality == pytest.approx(0.18)


def test_a_face_turned_away_keeps_the_least_weight() -> None:
    """Beyond 90 degrees the cosine counts as zero and the bound of 0.05 holds."""
    assert frame_quality(score=1, width_px=640, yaw_rad=2.0, pitch_rad=0.0, sharp=1) == 0.05


@given(st.floats(0, 1), st.floats(0, 4000), st.floats(-3.2, 3.2), st.floats(-3.2, 3.2), st.floats(0, 1))
def test_quality_is_bounded(score: float, width: float, yaw: float, pitch: float, sharp: float) -> None:
    """Whatever comes in, the weight is in [0.05, 1]."""
    quality = frame_quality(score=score, width_px=width, yaw_rad=yaw, pitch_rad=pitch, sharp=sharp)
    assert 0.05 <= quality <= 1.0


def test_a_flat_crop_has_no_sharpness() -> None:
    """A picture of one grey value shows nothing."""
    assert sharpness(np.full((48, 48), 90, dtype=np.uint8)) == 0.0


def test_sharpness_by_hand() -> None:
    """A chessboard of 0 and 200: every Laplacian is 800 or -800, the spread 100, so 8, which counts as 1."""
    board = (np.indices((48, 48)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert sharpness(board) == 1.0


def test_blur_lowers_sharpness_and_contrast_does_not() -> None:
    """The more a picture is blurred the lower it comes out; half the contrast changes next to nothing."""
    rng = np.random.default_rng(0)
    picture = gaussian_filter(rng.uniform(0, 255, (48, 48)), 1.2)
    picture = (picture - picture.min()) / np.ptp(picture) * 255
    values = [sharpness(gaussian_filter(picture, sigma).astype(np.uint8)) for sigma in (0, 1, 2, 3)]
    assert sorted(values, reverse=True) == values
    assert values[-1] < 0.5 * values[1]
    assert sharpness((picture / 2 + 60).astype(np.uint8)) == pytest.approx(values[0], rel=0.05)
