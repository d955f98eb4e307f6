"""Names at the lower edge of tiles."""

import numpy as np
import pytest
from cameras import lettered

from pipeline.captions import common, strokes_of
from pipeline.types import U8, Box

TILE: Box = (10, 10, 170, 100)


def picture(name: int | None, level: int = 60, seed: int = 0, noise: int = 2) -> U8:
    """A tile of one grey with a name on it."""
    image = np.full((120, 180, 3), 20, np.uint8)
    image[10:100, 10:170] = level
    if name is not None:
        lettered(image, TILE, name)
    return (image + np.random.default_rng(seed).integers(0, noise + 1, image.shape)).astype(np.uint8)


def pair(name: int | None, level: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What is written in two pictures."""
    a, b = (strokes_of(picture(name, level, seed + i), TILE) for i in range(2))
    return a, b


def test_strokes_by_hand() -> None:
    """A bright pixel among dark ones is 80/81 of its height above the mean of the 81 around it."""
    image = np.zeros((120, 180, 3), np.uint8)
    image[90, 90] = 81
    strokes = strokes_of(image, TILE)
    # Rows 80 to 95 within the tile and 104 to 117 below it, columns 14 to 165.
    assert strokes.shape == ((16 + 14) * 152,)
    assert strokes.max() == 80
    assert sorted(set(strokes.tolist())) == [-1, 0, 80]
    assert (strokes == -1).sum() == 80


@pytest.mark.parametrize("tile", [(10, 10, 18, 100), (10, 10, 170, 22)])
def test_a_tile_without_room_for_a_name_has_no_strokes(tile: Box) -> None:
    """It is too narrow, or too low above the lower edge of the picture."""
    assert strokes_of(np.zeros((24 if tile[3] == 22 else 120, 180, 3), np.uint8), tile).shape == (0,)


def test_a_tile_beside_or_below_the_picture_has_no_strokes() -> None:
    """It begins at the picture's end, or beyond it; one that reaches beyond it has those that are to be seen."""
    image = picture(1)
    for tile in ((10, 120, 170, 210), (10, 150, 170, 240), (180, 10, 340, 100), (200, 10, 360, 100)):
        assert strokes_of(image, tile).shape == (0,)
    # Rows 117 to 119 within the tile, none below it, columns 104 to 175.
    assert strokes_of(image, (100, 10, 260, 147)).shape == (3 * 72,)


def test_strokes_of_large_tiles_are_bounded_and_a_name_is_still_told() -> None:
    """A tile of 4K has about as many as one of 640 px; up to that every pixel counts."""
    for width, step in ((640, 1), (641, 2), (1920, 3), (3840, 6)):
        image = np.full((width * 9 // 16, width, 3), 60, np.uint8)
        tile = (0, 0, width, image.shape[0])
        strokes = strokes_of(image, tile)
        high = round(0.22 * image.shape[0]) - 4
        assert strokes.size == -(-high // step) * -(-(width - 8) // step)
        first, second = (strokes_of(large(image, tile, name), tile) for name in (1, 2))
        same, other = common((first, first), (first, first)), common((first, first), (second, second))
        assert same == pytest.approx(1)
        assert other is not None
        assert other < 0.4


def large(image: U8, tile: Box, name: int) -> U8:
    """A picture with a name as high as names are in a tile of that size, at least as in small ones."""
    small = lettered(np.full((40, 80, 3), 60, np.uint8), (0, 0, 80, 40), name)[24:35, 6:66]
    scale = max(1, tile[2] // 1280)
    plate = np.kron(small, np.ones((scale, scale, 1), np.uint8))
    shown = image.copy()
    shown[tile[3] - 5 - len(plate) : tile[3] - 5, 6 : 6 + plate.shape[1]] = plate
    return shown


def test_dense_print_in_a_large_tile_is_compared() -> None:
    """Squares of a million strokes are beyond what fits in 64 bits when multiplied."""
    ink = np.where(np.random.default_rng(0).random(1_000_000) < 0.5, 120, -120).astype(np.int16)
    assert common((ink, ink), (ink, ink)) == pytest.approx(1)
    assert common((ink, ink), (-ink, -ink)) == pytest.approx(-1)


def test_a_name_is_the_same_over_another_picture() -> None:
    """The light changes, and it is still the name; another name has its strokes elsewhere."""
    same = common(pair(1), pair(1, 90, 4))
    other = common(pair(1), pair(2, 60, 4))
    assert same is not None
    assert same > 0.95
    assert other is not None
    assert other < 0.4


def test_a_name_goes_on_where_the_wall_behind_it_gets_a_pattern() -> None:
    """What the new wall shows says nothing of the name."""
    walls = [picture(1, seed=i) for i in range(2)]
    pattern = np.random.default_rng(5).random((90, 160)) < 0.1
    for image in walls:
        image[10:100, 10:170][pattern] = 140
        lettered(image, TILE, 1)
    shared = common(pair(1), (strokes_of(walls[0], TILE), strokes_of(walls[1], TILE)))
    assert shared is not None
    assert shared > 0.8


def test_without_a_name_nothing_is_said() -> None:
    """Nor where the tile was of another size."""
    assert common(pair(None), pair(1)) is None
    assert common(pair(1), pair(None)) is None
    assert common(pair(1), (pair(1)[0][:-1], pair(1)[0])) is None


def test_strokes_in_motion_say_nothing() -> None:
    """Where a name stood others move now, and where one stands now others moved."""
    strokes = np.zeros((4, 200), np.int16)
    strokes[:2, 100:160], strokes[2:, :60] = 80, 80
    strokes[0, :60], strokes[1, :60], strokes[2, 100:160], strokes[3, 100:160] = 40, -40, 40, -40
    first, was, now, last = strokes
    assert common((first, was), (now, last)) is None
    assert common((was, was), (now, now)) is not None
