"""Video walls."""

import numpy as np
import pytest
from builders import grid, wall
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.gallery import DEFAULT_GALLERY, GallerySplitter, find_tiles, iou, same_layout

BOXES_2X2 = grid(2, 2)
SIZE_2X2 = (204, 344)


def close(found: tuple[tuple[int, ...], ...], truth: list[tuple[int, ...]]) -> bool:
    """Whether every tile of the truth was found, in order, at IoU >= 0.9."""
    return len(found) == len(truth) and all(iou(a, b) >= 0.9 for a, b in zip(found, truth, strict=True))


def test_iou_by_hand() -> None:
    """Two 2 x 2 boxes that share 1 x 2 pixels overlap in 2 of 6."""
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(2 / 6)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0.0


PAGES = st.one_of(st.integers(0, 20), st.integers(235, 255))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(4, 10), PAGES, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_regular_grid_is_found(columns: int, rows: int, gutter: int, page: int, seed: int) -> None:
    """Any regular grid of two tiles or more on a dark or light page comes out tile by tile, top left first.

    Ten pixels are just within the widest gutter of the smallest wall: 5 % of 210.
    """
    assume(columns * rows > 1)
    boxes = grid(columns, rows, gutter=gutter)
    image = wall((boxes[-1][3] + gutter, boxes[-1][2] + gutter), boxes, page=page, seed=seed)
    assert close(find_tiles(image), boxes)


def test_a_shorter_last_row_is_centred() -> None:
    """Three tiles over two centred ones are five tiles."""
    boxes = [*grid(3, 1), (92, 106, 252, 196), (260, 106, 420, 196)]
    assert close(find_tiles(wall((204, 512), boxes)), boxes)


def test_a_speakers_border_does_not_move_tiles_much() -> None:
    """A bright border drawn into the gutter around one tile leaves the grid as it was."""
    image = wall(SIZE_2X2, BOXES_2X2)
    x0, y0, x1, y1 = BOXES_2X2[1]
    for band in (image[y0 - 3 : y0, x0 - 3 : x1 + 3], image[y1 : y1 + 3, x0 - 3 : x1 + 3]):
        band[:] = (80, 200, 80)
    for band in (image[y0 - 3 : y1 + 3, x0 - 3 : x0], image[y0 - 3 : y1 + 3, x1 : x1 + 3]):
        band[:] = (80, 200, 80)
    assert close(find_tiles(image), BOXES_2X2)


def test_a_dark_tile_takes_the_columns_of_the_other_row() -> None:
    """A tile whose left half is as dark as the page still has its whole width."""
    image = wall(SIZE_2X2, BOXES_2X2)
    x0, y0, x1, y1 = BOXES_2X2[3]
    image[y0:y1, x0 : (x0 + x1) // 2] = 20
    assert close(find_tiles(image), BOXES_2X2)


def test_a_dark_line_inside_a_picture_is_no_gutter() -> None:
    """One column of page colour does not cut a tile in two."""
    image = wall(SIZE_2X2, BOXES_2X2)
    for x0, y0, _, y1 in BOXES_2X2[2:]:
        image[y0:y1, x0 + 80 : x0 + 82] = 20
    assert close(find_tiles(image), BOXES_2X2)


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([], id="no gutters at all"),
        pytest.param([(8, 8, 168, 98), (8, 106, 168, 140)], id="unequal heights"),
        pytest.param([(8, 8, 168, 98), (230, 8, 390, 98)], id="too far apart"),
        pytest.param([(4, 4, 84, 200), (92, 4, 172, 200)], id="too narrow for a camera"),
        pytest.param([(4, 4, 400, 100), (4, 108, 400, 204)], id="too wide for a camera"),
        pytest.param([(8, 8, 168, 98)], id="one tile on a page"),
        pytest.param(grid(8, 7, tile=(72, 64)), id="a pattern of 56 tiles"),
    ],
)
def test_what_is_no_grid_is_one_person(boxes: list[tuple[int, int, int, int]]) -> None:
    """A picture without a regular grid is one tile, the whole picture."""
    width, height = max(404, *(box[2] + 8 for box in boxes), 0), max(208, *(box[3] + 8 for box in boxes), 0)
    image = wall((height, width), boxes or [(0, 0, width, height)])
    assert find_tiles(image) == ((0, 0, width, height),)


def test_a_picture_that_shows_nothing_has_no_tile() -> None:
    """Black, or one colour with a little noise, is nobody."""
    rng = np.random.default_rng(0)
    assert find_tiles(rng.integers(10, 14, (90, 160, 3)).astype(np.uint8)) == ()


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
        find_tiles(np.zeros(shape, dtype=np.uint8))


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
@settings(deadline=None)
def test_any_picture_gives_boxes_inside_it(image: np.ndarray) -> None:
    """Whatever the picture, tiles lie inside it and are not empty."""
    height, width = image.shape[:2]
    for x0, y0, x1, y1 in find_tiles(image):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_a_layout_changes_only_when_looks_agree() -> None:
    """One odd picture changes nothing; three in a row that agree do, and a look at the old layout starts anew."""
    splitter = GallerySplitter()
    four, two = wall(SIZE_2X2, BOXES_2X2), wall(SIZE_2X2, BOXES_2X2[:2])
    layouts = [len(splitter.update(image)) for image in (four, two, two, four, two, two, two)]
    assert layouts == [4, 4, 4, 4, 4, 4, 2]
    assert DEFAULT_GALLERY.hold == 3


def test_a_new_candidate_starts_to_count_from_one() -> None:
    """Two different new layouts in turn never replace the old one."""
    splitter = GallerySplitter()
    one = wall(SIZE_2X2, [(0, 0, SIZE_2X2[1], SIZE_2X2[0])])
    splitter.update(wall(SIZE_2X2, BOXES_2X2))
    for _ in range(3):
        splitter.update(wall(SIZE_2X2, BOXES_2X2[:2]))
        layout = splitter.update(one)
    assert len(layout) == 4


def test_another_picture_size_is_looked_at_anew() -> None:
    """After a change of resolution old boxes mean nothing, so the new layout counts at once."""
    splitter = GallerySplitter()
    splitter.update(wall(SIZE_2X2, BOXES_2X2))
    boxes = grid(2, 2, tile=(320, 180))
    assert close(splitter.update(wall((384, 664), boxes)), boxes)


def test_pictures_that_show_nothing_leave_a_layout_alone() -> None:
    """A call whose screen goes black still has its four tiles."""
    splitter = GallerySplitter()
    splitter.update(wall(SIZE_2X2, BOXES_2X2))
    black = np.zeros((*SIZE_2X2, 3), np.uint8)
    assert [len(splitter.update(black)) for _ in range(4)] == [4, 4, 4, 4]


def test_a_call_that_begins_black_waits_for_its_first_picture() -> None:
    """Black for two looks is nobody, for three somebody with the camera off; then the grid counts at once."""
    splitter = GallerySplitter()
    black = np.zeros((*SIZE_2X2, 3), np.uint8)
    pictures = [black, black, black, wall(SIZE_2X2, BOXES_2X2), black]
    assert [len(splitter.update(picture)) for picture in pictures] == [0, 0, 1, 4, 4]


def test_layouts_of_different_length_differ() -> None:
    """Two tiles are not four."""
    assert not same_layout(tuple(BOXES_2X2), tuple(BOXES_2X2[:2]))
