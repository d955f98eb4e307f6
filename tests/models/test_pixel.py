"""How faces are cut out for the pixel model."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.pixel import FACE_CENTRE_PX, FACE_SIZE_PX, face_crop
from pipeline.landmarks import RIGID_POINTS, RIGID_REFERENCE


def mesh_at(x: float, y: float, *, size: float, roll: float = 0.0) -> np.ndarray:
    """A (468, 3) mesh with mean (x, y), root mean square distance `size`, rolled clockwise by radians."""
    mesh = np.zeros((468, 3))
    mesh[list(RIGID_POINTS)] = RIGID_REFERENCE - RIGID_REFERENCE.mean(axis=0)
    mesh /= np.sqrt((mesh**2).sum(axis=1).mean())
    cos, sin = np.cos(roll), np.sin(roll)
    turned = mesh @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T
    return (turned * size + np.array([x, y, 0])).astype(np.float32)


def grey(picture: np.ndarray) -> np.ndarray:
    """The same picture in three equal channels."""
    return np.repeat(picture[:, :, None], 3, axis=2).astype(np.uint8)


def spot(x: float, y: float, *, side: int, radius: float) -> np.ndarray:
    """A black (side, side) picture with a soft bright spot, in continuous coordinates from its corner."""
    rows, columns = np.indices((side, side)) + 0.5
    return 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))


def centroid(crop: np.ndarray) -> tuple[float, float]:
    """Where the light of a crop is, in continuous coordinates."""
    rows, columns = np.indices(crop.shape) + 0.5
    light = crop.astype(np.float64)
    return float((columns * light).sum() / light.sum()), float((rows * light).sum() / light.sum())


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 5.3])
def test_the_middle_of_the_mesh_comes_to_its_place(scale: float) -> None:
    """Whatever the size of the face, the mesh's mean lands where it lies in FER2013 pictures."""
    side = int(120 * scale)
    picture = spot(50 * scale, 60 * scale, side=side, radius=2.5 * scale)
    crop = face_crop(grey(picture), mesh_at(50 * scale, 60 * scale, size=FACE_SIZE_PX * scale))
    assert (crop.shape, crop.dtype) == ((48, 48), np.uint8)
    assert_allclose(centroid(crop), FACE_CENTRE_PX, atol=0.1)


def test_the_crop_is_levelled() -> None:
    """What lies below the middle along the face's own axis lies straight below it in the crop."""
    roll = 0.4
    # 10 px from the middle towards the chin of a head that leans clockwise.
    x, y = 100 - 10 * np.sin(roll), 100 + 10 * np.cos(roll)
    crop = face_crop(grey(spot(x, y, side=200, radius=2)), mesh_at(100, 100, size=FACE_SIZE_PX, roll=roll))
    assert_allclose(centroid(crop), (FACE_CENTRE_PX[0], FACE_CENTRE_PX[1] + 10), atol=0.15)


def test_a_crop_of_the_same_size_is_the_picture_itself() -> None:
    """A face that sits like those of FER2013 is cut out without resampling."""
    picture = np.random.default_rng(0).integers(0, 255, (48, 48))
    crop = face_crop(grey(picture), mesh_at(*FACE_CENTRE_PX, size=FACE_SIZE_PX))
    assert np.abs(crop.astype(int) - picture).max() <= 1


def test_shrinking_averages() -> None:
    """A checkerboard of single pixels becomes grey, not a pattern of its own."""
    board = (np.indices((400, 400)).sum(axis=0) % 2) * 255
    crop = face_crop(grey(board), mesh_at(200, 200, size=FACE_SIZE_PX * 5.5))
    assert np.abs(crop.astype(float) - 127.5).max() < 20


def test_the_border_is_replicated_outside_the_picture() -> None:
    """A crop that leaves the picture goes on with its border's colour."""
    picture = np.full((100, 100, 3), 90, dtype=np.uint8)
    assert (face_crop(picture, mesh_at(0, 0, size=FACE_SIZE_PX)) == 90).all()
    assert (face_crop(picture, mesh_at(-300, 5000, size=FACE_SIZE_PX)) == 90).all()


@pytest.mark.parametrize("side_px", [64, 224])
def test_a_larger_crop_shows_the_same(side_px: int) -> None:
    """Everything is where it was, as many times further out, in whatever size the face has."""
    zoom = side_px / 48
    for scale in (0.5, 1.0, 3.0):
        picture = grey(spot(60 * scale, 70 * scale, side=int(130 * scale), radius=3 * scale))
        crop = face_crop(picture, mesh_at(50 * scale, 60 * scale, size=FACE_SIZE_PX * scale), side_px=side_px)
        assert (crop.shape, crop.dtype) == ((side_px, side_px), np.uint8)
        expected = ((FACE_CENTRE_PX[0] + 10) * zoom, (FACE_CENTRE_PX[1] + 10) * zoom)
        assert_allclose(centroid(crop), expected, atol=0.15 * zoom)


def test_a_coloured_crop_keeps_its_channels() -> None:
    """Red, green and blue are where they were, each what the grey crop of it alone would be."""
    picture = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    mesh = mesh_at(60, 60, size=2 * FACE_SIZE_PX, roll=0.2)
    crop = face_crop(picture, mesh, side_px=64, colour=True)
    assert (crop.shape, crop.dtype) == ((64, 64, 3), np.uint8)
    for channel in range(3):
        alone = face_crop(grey(picture[..., channel]), mesh, side_px=64)
        assert np.abs(crop[..., channel].astype(int) - alone).max() <= 1


def test_wrong_inputs_are_refused() -> None:
    """Pictures and meshes of other shapes, and meshes without a size, are named."""
    picture, mesh = np.zeros((9, 9, 3), dtype=np.uint8), mesh_at(5, 5, size=3)
    with pytest.raises(ValueError, match=r"image: expected \(H, W, 3\) uint8, found \(9, 9\)"):
        face_crop(picture[..., 0], mesh)
    with pytest.raises(ValueError, match=r"expected shape \(468, 3\), found \(1, 468, 3\)"):
        face_crop(picture, mesh[None])
    with pytest.raises(ValueError, match="found a size of 0"):
        face_crop(picture, np.zeros((468, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="found a size of nan"):
        face_crop(picture, np.full((468, 3), np.nan, dtype=np.float32))
