"""Degraded pictures, pixel by pixel where the change can be worked by hand."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from models.errors import DataError
from models.evaluation.conditions import CONDITIONS, EYES, MOUTH, check_conditions, degraded

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (3, 48, 48), dtype=np.uint8)
RAMP = np.tile(np.arange(48, dtype=np.uint8) * 5, (1, 48, 1))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_changes_pictures_the_same_way_each_time(condition: str) -> None:
    """Shape and type stay, the pictures given are not touched, and a second time gives the same."""
    before = NOISE.copy()
    found = degraded(NOISE, condition)
    assert (found.shape, found.dtype) == (NOISE.shape, np.uint8)
    assert (found != NOISE).any()
    assert_array_equal(NOISE, before)
    assert_array_equal(degraded(NOISE, condition), found)


@pytest.mark.parametrize("condition", [name for name in CONDITIONS if name not in {"turned", "noise"}])
def test_a_picture_is_degraded_alike_in_every_row(condition: str) -> None:
    """Only turns and noise depend on where a picture stands."""
    assert_array_equal(degraded(NOISE[::-1], condition), degraded(NOISE, condition)[::-1])


def test_light() -> None:
    """Dark: 255 * 0.4 * (v / 255)^1.5; bright: 255 * 1.2 * (v / 255)^0.7, at most 255."""
    levels = np.full((1, 48, 48), 0, dtype=np.uint8)
    levels[0, 0, :4] = [64, 128, 192, 255]
    # 102 * 0.2510^1.5 = 12.8; 102 * 0.5020^1.5 = 36.3; 102 * 0.7529^1.5 = 66.6; 102
    assert degraded(levels, "dark")[0, 0, :5].tolist() == [13, 36, 67, 102, 0]
    # 306 * 0.2510^0.7 = 116.3; 306 * 0.5020^0.7 = 188.9; 306 * 0.7529^0.7 = 250.9; 306 is too much
    assert degraded(levels, "bright")[0, 0, :5].tolist() == [116, 189, 251, 255, 0]


@pytest.mark.parametrize(("condition", "side"), [("24px", 24), ("16px", 16)])
def test_fewer_pixels(condition: str, side: int) -> None:
    """Stripes narrower than a pixel of the small picture become their mean (0 + 200) / 2; plain ones stay."""
    stripes = np.zeros((1, 48, 48), dtype=np.uint8)
    if side == 24:
        stripes[0, :, ::2] = 200
        assert (degraded(stripes, condition) == 100).all()
    else:
        stripes[0, :, ::3] = 150
        assert (degraded(stripes, condition) == 50).all()


def test_blur() -> None:
    """A point spreads as a Gaussian of 1.5 px: beside it exp(-1 / (2 * 1.5^2)) = 0.801 of the middle; light is kept."""
    point = np.zeros((1, 48, 48), dtype=np.uint8)
    point[0, 24, 24] = 255
    found = degraded(point, "blurred")[0].astype(float)
    # The middle: 255 / (2 pi * 1.5^2) = 18.04, beside it 14.4; weights are rounded.
    assert (found[24, 24], found[24, 25], found[23, 24]) == pytest.approx((18.04, 14.4, 14.4), abs=0.6)
    assert found.sum() == pytest.approx(255, rel=0.15)


def test_noise() -> None:
    """Of standard deviation 15 around the picture, other in each row, cut off at black and white."""
    plain = np.full((2, 48, 48), 128, dtype=np.uint8)
    found = degraded(plain, "noise").astype(float)
    assert found.mean() == pytest.approx(128, abs=0.7)
    assert found.std() == pytest.approx(15, abs=0.5)
    assert (found[0] != found[1]).any()
    assert degraded(np.full((1, 48, 48), 255, dtype=np.uint8), "noise").max() == 255


def test_jpeg() -> None:
    """What is plain stays plain; of noise little is left."""
    assert (degraded(np.full((1, 48, 48), 128, dtype=np.uint8), "jpeg") == 128).all()
    assert np.abs(degraded(NOISE, "jpeg").astype(float) - NOISE).mean() > 20


def test_turns_alternate() -> None:
    """Even rows anticlockwise, odd ones clockwise by 20 degrees: the bright right edge rises, then sinks."""
    found = degraded(np.concatenate([RAMP, RAMP]), "turned")[:, 24, :].astype(float)
    # Along the middle row brightness rises by 5 * cos(20 deg) = 4.70 per px.
    assert np.diff(found[:, 12:36]).mean() == pytest.approx(5 * np.cos(np.deg2rad(20)), abs=0.05)
    down = degraded(np.concatenate([RAMP, RAMP]), "turned")[:, :, 24].astype(float)
    # Down the middle column by -+ 5 * sin(20 deg) = 1.71.
    assert np.diff(down[0, 12:36]).mean() == pytest.approx(-5 * np.sin(np.deg2rad(20)), abs=0.05)
    assert np.diff(down[1, 12:36]).mean() == pytest.approx(5 * np.sin(np.deg2rad(20)), abs=0.05)


@pytest.mark.parametrize(("condition", "box"), [("occluded-mouth", MOUTH), ("occluded-eyes", EYES)])
def test_a_part_is_hidden(condition: str, box: tuple[int, int, int, int]) -> None:
    """The rectangle has the mean of the picture, 47 * 5 / 2 = 117.5 to the even 118; all else stays."""
    x0, y0, x1, y1 = box
    found = degraded(RAMP, condition)
    assert (found[0, y0:y1, x0:x1] == 118).all()
    found[0, y0:y1, x0:x1] = RAMP[0, y0:y1, x0:x1]
    assert_array_equal(found, RAMP)


def test_mirrored() -> None:
    """The first column becomes the last."""
    assert_array_equal(degraded(NOISE, "mirrored"), NOISE[:, :, ::-1])


def test_an_unknown_condition_is_named() -> None:
    """With those that there are."""
    check_conditions(CONDITIONS)
    with pytest.raises(DataError, match="no condition 'foggy'; choose from 24px, 16px, dark, "):
        check_conditions(["dark", "foggy"])
