"""What tiles look like, and who in one picture is who in the other."""

import numpy as np
import pytest
from cameras import avatar, camera, shown
from hypothesis import given
from hypothesis import strategies as st

from pipeline.appearance import (
    SIDE,
    compare,
    join,
    likeness,
    look_at,
    matched,
    same_camera,
    same_middle,
    same_person,
    without_camera,
)
from pipeline.types import U8, Box


def whole(*pictures: U8) -> list[Box]:
    """The tile that is the whole picture, for each."""
    return [(0, 0, picture.shape[1], picture.shape[0]) for picture in pictures]


def test_a_thumbnail_is_the_mean_of_its_pixels() -> None:
    """Each cell is the root of the mean level of 2 x 2 pixels, of each colour; the aspect is width by height."""
    image = np.zeros((2 * SIDE, 4 * SIDE, 3), np.uint8)
    image[:2, 2 * SIDE : 2 * SIDE + 2, 0] = [[0, 200], [0, 200]]
    looks = look_at(image, [(2 * SIDE, 0, 4 * SIDE, 2 * SIDE), (0, 0, 4 * SIDE, 2 * SIDE)])
    assert looks.thumbs.shape == (2, 3, SIDE, SIDE)
    assert looks.thumbs[0, 0, 0, 0] == pytest.approx(10)
    assert looks.thumbs[0, 1:].max() == looks.thumbs[0, 0, 1:].max() == 0
    assert looks.aspect.tolist() == [1, 2]


def test_a_tile_of_one_pixel_can_be_looked_at() -> None:
    """Also in the last corner of the picture."""
    looks = look_at(np.full((4, 4, 3), 100, np.uint8), [(3, 3, 4, 4)])
    assert looks.thumbs == pytest.approx(10)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_likeness_is_one_only_for_the_same(one: int, other: int) -> None:
    """A picture is like itself and never more than that; the measure is the same both ways."""
    pictures = [camera(one), camera(other)]
    looks = join([look_at(picture, whole(picture)) for picture in pictures])
    for measure in (likeness, same_camera):
        alike = measure(looks, looks)
        assert alike.shape == (2, 2)
        assert alike == pytest.approx(alike.T, abs=2e-3)
        assert np.all(alike.diagonal() > 0.9)
        assert np.all(alike <= 1.001)
        assert one == other or alike[0, 1] < 0.7


def test_a_picture_with_nothing_on_it_is_like_nothing() -> None:
    """Two grey tiles agree, and yet are no evidence."""
    grey = np.full((90, 160, 3), 40, np.uint8)
    looks = look_at(grey, whole(grey))
    assert likeness(looks, looks)[0, 0] == pytest.approx(0, abs=1e-2)


@given(
    st.integers(0, 1000),
    st.sampled_from([(160, 90), (640, 360), (120, 120), (200, 150), (320, 180)]),
    st.sampled_from([(160, 90), (640, 360), (120, 120), (200, 150), (320, 180)]),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([16 / 9, 4 / 3, 1.0]),
)
def test_the_same_camera_is_known_in_another_tile(
    seed: int, before: tuple[int, int], after: tuple[int, int], covers: tuple[bool, bool], aspect: float
) -> None:
    """Smaller or larger, cropped to fill or between bars: it is more alike than another camera's picture is."""
    mine, other = camera(seed, aspect=aspect), camera(seed + 1, aspect=aspect)
    a = shown(mine, before, cover=covers[0])
    b = [shown(picture, after, cover=covers[1]) for picture in (mine, other)]
    alike = same_camera(look_at(a, whole(a)), join([look_at(picture, whole(picture)) for picture in b]))[0]
    assert alike[0] > 0.7
    assert alike[0] - alike[1] > 0.1


def test_a_name_over_a_third_of_a_small_tile_makes_nobody_another() -> None:
    """Names are as large in small tiles as in large ones: there they are no part of the picture."""
    page = np.full((360, 640, 3), 20, np.uint8)
    tiles: list[Box] = [(100, 0, 420, 180), (0, 300, 71, 340)]
    for x0, y0, x1, y1 in tiles:
        page[y0:y1, x0:x1] = shown(camera(3), (x1 - x0, y1 - y0))
        page[y1 - 14 : y1 - 3, x0 + 10 : x1 - 10] = np.where(np.arange(x1 - x0 - 20) % 5 < 2, 245, 20)[None, :, None]
    looks = look_at(page, tiles)
    assert looks.strip.tolist() == pytest.approx([0.14, 0.36])
    assert same_camera(looks.take([0]), looks.take([1]))[0, 0] > 0.9
    assert same_middle(looks.take([0]), looks.take([1]))[0, 0] > 0.9


def test_borders_count_for_nothing() -> None:
    """The border of who speaks is drawn where nothing is compared."""
    plain = shown(camera(3), (320, 180))
    bordered = plain.copy()
    bordered[:4] = bordered[-4:] = (80, 200, 80)
    bordered[:, :4] = bordered[:, -4:] = (80, 200, 80)
    assert likeness(look_at(plain, whole(plain)), look_at(bordered, whole(bordered)))[0, 0] == pytest.approx(
        1, abs=0.01
    )


def test_the_middle_stays_what_it_is_in_another_light_and_before_another_wall() -> None:
    """The correlation of the middle is that of who sits there; of a grey nothing it is 0."""
    mine = camera(5)
    virtual = camera(9)
    virtual[:, 90:230] = mine[:, 90:230] // 2
    grey = np.full_like(mine, 90)
    looks = [look_at(picture, whole(picture)) for picture in (mine, virtual, camera(9), grey)]
    alike = same_middle(looks[0], join(looks[1:]))[0]
    assert alike[0] > 0.9
    assert alike[1] < 0.6
    assert alike[2] == pytest.approx(0, abs=1e-3)


def test_a_tile_without_camera_is_seen_to_be_one() -> None:
    """Initials on a colour, with a name at the lower edge, are no camera's picture; a bright wall behind a head is."""
    off = avatar(1, (320, 180))
    off[166:176, 4:80] = 250
    wall = np.full((180, 320, 3), 220, np.uint8)
    wall[60:, 110:210] = (120, 90, 70)
    assert without_camera(join([look_at(off, whole(off)), look_at(wall, whole(wall))])).tolist() == [True, False]


def test_compare_takes_the_most_alike_picture_of_each() -> None:
    """Of two pictures of one person the better counts."""
    looks = [look_at(picture, whole(picture)) for picture in (camera(0), camera(1), camera(2))]
    alike = compare(looks[0], [[looks[1], looks[0]], [looks[2]]], likeness)
    assert alike.shape == (1, 2)
    assert alike[0, 0] == pytest.approx(likeness(looks[0], looks[0])[0, 0], abs=1e-3)
    assert alike[0, 1] == pytest.approx(likeness(looks[0], looks[2])[0, 0], abs=1e-3)


def test_matches_are_the_best_together() -> None:
    """The second tile leaves the first person to the first tile, who has nobody else; the third is alike to nobody."""
    alike = np.array([[0.9, 0.1], [0.92, 0.85], [0.1, 0.4]])
    wanted, clear = matched(alike, np.zeros((3, 2)), np.full(alike.shape, 0.5), 0.7, 0.08)
    assert wanted.tolist() == [0, 1, -1]
    assert clear.tolist() == [False, False, False]


def test_beyond_doubt_is_sure_and_alone() -> None:
    """A match is clear if it is sure and no other pair of that tile or person comes near it; a bonus does not help."""
    alike = np.array([[0.9, 0.2], [0.3, 0.65]])
    bonus = np.array([[0.0, 0.0], [0.0, 0.3]])
    wanted, clear = matched(alike, bonus, np.full(alike.shape, 0.5), 0.7, 0.08)
    assert wanted.tolist() == [0, 1]
    assert clear.tolist() == [True, False]


def test_what_a_match_takes_is_no_handicap() -> None:
    """Both tiles look most like their own person, for which it takes more: nobody is taken for the other."""
    alike = np.array([[0.99, 0.89], [0.88, 0.99]])
    accept = np.array([[0.7, 0.55], [0.55, 0.7]])
    wanted, clear = matched(alike, np.zeros((2, 2)), accept, 0.7, 0.08)
    assert wanted.tolist() == [0, 1]
    assert clear.tolist() == [True, True]
    below = matched(np.array([[0.6]]), np.zeros((1, 1)), np.array([[0.7]]), 0.7, 0.08)[0]
    assert below.tolist() == [-1]


def test_a_bonus_decides_between_equals() -> None:
    """Where all look the same, the place does."""
    wanted, _ = matched(np.full((2, 2), 0.9), np.array([[0.0, 0.1], [0.1, 0.0]]), np.full((2, 2), 0.5), 0.7, 0.08)
    assert wanted.tolist() == [1, 0]


def test_bars_and_a_room_out_of_focus_make_nobody_the_same_person() -> None:
    """Two upright pictures between black bars are alike all over but in the middle; in another shape nothing is said."""
    one, other = (np.zeros((180, 320, 3), np.uint8) for _ in range(2))
    one[:, 92:228], other[:, 92:228] = camera(5)[:, 92:228] // 4 + 120, camera(9)[:, 92:228] // 4 + 120
    looks = join([look_at(picture, whole(picture)) for picture in (one, other)])
    assert same_camera(looks, looks)[0, 1] > 0.9
    alike = same_person(looks, looks)
    assert alike[0, 1] < 0.7
    assert alike.diagonal() == pytest.approx(same_camera(looks, looks).diagonal())
    narrow = look_at(other, [(20, 0, 300, 180)])
    assert same_person(looks, narrow) == pytest.approx(same_camera(looks, narrow))
