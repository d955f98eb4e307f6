"""Gutters as compression leaves them, and tiles that hardly differ from the page or show one colour."""

import numpy as np
import pytest
from builders import grid, wall
from galleries import BOXES_2X2, SIZE_2X2, close, slide

from pipeline.boxes import iou
from pipeline.cutting import cut
from pipeline.explanations import WALL_MIN
from pipeline.gallery import (
    DEFAULT_GALLERY,
    find_tiles,
)
from pipeline.page import Lines, Page, PageMask
from pipeline.tiles import Search
from pipeline.walls import Wall


def test_a_dark_line_inside_a_picture_is_no_gutter() -> None:
    """One column of page colour does not cut a tile in two."""
    image = wall(SIZE_2X2, BOXES_2X2)
    for x0, y0, _, y1 in BOXES_2X2[2:]:
        image[y0:y1, x0 + 80 : x0 + 82] = 20
    assert close(find_tiles(image), BOXES_2X2)


def test_a_gutter_of_one_line_beside_a_border_is_a_gutter() -> None:
    """Compression smears the border around who speaks into one of two lines, on a half of the row."""
    boxes = [(0, 40, 300, 208), (302, 40, 602, 208), (0, 210, 300, 378), (302, 210, 602, 378)]
    image = wall((420, 602), boxes)
    image[208, 0:150] = (70, 75, 95)
    assert close(find_tiles(image), boxes)


@pytest.mark.parametrize(("smeared", "left", "n"), [(30, 30, 2), (60, 30, 2), (60, 60, 1)])
def test_a_gutter_of_two_blurred_lines_is_a_gutter(smeared: int, left: int, n: int) -> None:
    """Compression left neither of the page's colour, and of one a tenth is no page at all; a fifth is too much.

    Not where the other line is much nearer to the page than what is around it.
    """
    image = wall((420, 302), [(0, 40, 300, 208), (0, 210, 300, 378)])
    image[208:210, :300] = left
    image[208, :smeared] = (70, 75, 95)
    mask = PageMask(Lines(image), Page(np.array([[20.0, 0, 0]] * 3)))
    node = cut(mask, DEFAULT_GALLERY, (0, 0, 302, 420))
    assert node is not None
    assert len(node.leaves()) == n


def test_one_line_of_page_from_end_to_end_is_a_gutter() -> None:
    """Compression left one of two lines; beside the other are the border around who speaks, and dark walls."""
    boxes = [(4, 40, 300, 208), (302, 40, 598, 208)]
    image = wall((248, 602), boxes, page=25)
    image[40:208, 300] = 53
    assert close(find_tiles(image), boxes)


def test_between_the_letters_of_a_name_is_no_gutter() -> None:
    """A tile without a picture hardly differs from a light page; large letters on it do."""
    boxes = grid(3, 2, tile=(417, 234), gutter=8)[:4]
    image = wall((490, 1290), boxes, page=244)
    for x0, y0, x1, y1 in (boxes[0], *boxes[2:]):
        image[y0:y1, x0:x1] = 225
        for x in range(x0 + 120, x1 - 130, 28):
            image[y0 + 85 : y1 - 85, x : x + 20] = 60
    assert close(find_tiles(image), boxes)


def test_narrow_gutters_that_compression_blurred_are_gutters() -> None:
    """Of gutters of two pixels a third is exactly of the page's colour, and the rest nearer to it than what is beside."""
    boxes = grid(5, 4, tile=(158, 106), gutter=2)
    image = wall((434, 802), boxes, page=40)
    gutters = np.ones((434, 802), np.bool_)
    for x0, y0, x1, y1 in boxes:
        gutters[y0:y1, x0:x1] = False
    image[gutters] = np.random.default_rng(0).integers(22, 59, (int(gutters.sum()), 1))
    search = Search(PageMask(Lines(image), Page(np.array([[40.0, 0, 0]] * 3))), DEFAULT_GALLERY)
    assert search.score_again(Wall(tuple(boxes), None, 0.0, regular=True)) > 1
    assert close(find_tiles(image), boxes)


def test_letters_on_a_tile_nearly_of_the_pages_colour_leave_no_gutter() -> None:
    """Tiles twenty levels from the page: between two letters of a name they are as near to it as elsewhere."""
    boxes = [(8, 8, 234, 132), (242, 8, 468, 132)]
    image = np.full((140, 476, 3), 244, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 224
        image[50:90, x0 + 93 : x0 + 133] = (190, 20, 90)
        image[y1 - 22 : y1 - 8, x0 + 4 : x0 + 70] = 95
        image[y1 - 20 : y1 - 8, x0 + 18 : x0 + 20] = 240
    mask = PageMask(Lines(image), Page(np.array([[244.0, 0, 0]] * 3)))
    node = cut(mask, DEFAULT_GALLERY, (0, 0, 476, 140))
    assert node is not None
    assert close(tuple(node.leaves()), boxes)


def test_tiles_six_levels_from_the_page_are_found_where_nothing_else_is() -> None:
    """Nobody has a camera on, and the tiles are nearly of the page's colour: then the page is taken more exactly."""
    boxes = [(60 + x, 80 + y, 220 + x, 170 + y) for y in (0, 110) for x in (0, 180)]
    image = np.full((360, 460, 3), (16, 18, 18), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = (18, 20, 19)  # compression blurs an edge over two pixels
        image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = (22, 24, 21)
        image[y0 + 25 : y0 + 65, x0 + 60 : x0 + 100] = (0, 120, 105)
    found = find_tiles(image)
    assert len(found) == len(boxes)
    assert all(max(iou(box, tile) for tile in boxes) > 0.9 for box in found)


def test_tiles_nearly_of_the_pages_colour_are_found_though_others_alone_explain_the_picture() -> None:
    """Some have a picture, some an upright one, some initials: roughly seven tiles are seen, exactly all twelve."""
    tiles = grid(4, 3)
    kinds = np.random.default_rng(11).integers(3, size=len(tiles))
    insets = [((0, 0), (60, 25), (50, 0))[kind] for kind in kinds]
    shown = [(x0 + x, y0 + y, x1 - x, y1 - y) for (x0, y0, x1, y1), (x, y) in zip(tiles, insets, strict=True)]
    image = wall((302, 680), shown)
    bare = np.zeros(image.shape[:2], bool)
    for boxes, inside in ((tiles, True), (shown, False)):
        for x0, y0, x1, y1 in boxes:
            bare[y0:y1, x0:x1] = inside
    image[bare] = 25
    roughly = Search(PageMask(Lines(image), Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY).best()
    assert roughly is not None
    assert (len(roughly.tiles), roughly.score > WALL_MIN) == (7, True)
    found = find_tiles(image)
    assert len(found) == len(tiles)
    assert all(max(iou(box, tile) for tile in tiles) > 0.95 for box in found)


@pytest.mark.parametrize("page", [20, 120, 240])
@pytest.mark.parametrize(("shape", "covered"), [((2, 1), (0,)), ((3, 3), (4,)), ((3, 3), (3, 4, 5)), ((3, 2), (1, 3))])
def test_a_covered_camera_is_a_tile(page: int, shape: tuple[int, int], covered: tuple[int, ...]) -> None:
    """Of one colour all over, one, a row, or two of six: another page would fill lines from end to end."""
    tiles = grid(*shape, tile=(300, 169))
    image = wall((shape[1] * 177 + 8, shape[0] * 308 + 8), tiles, page=page)
    for x0, y0, x1, y1 in (tiles[i] for i in covered):
        image[y0:y1, x0:x1] = 0
    assert close(find_tiles(image), tiles)


@pytest.mark.parametrize("panel", [(0, 0, 0), (60, 64, 67), (140, 40, 40)])
def test_a_panel_of_any_colour_leaves_a_covered_camera_a_tile(panel: tuple[int, int, int]) -> None:
    """Its lines do not go through the tile, whether they are black as well or as far from the page."""
    tiles = grid(3, 2, tile=(300, 169))
    image = np.full((370, 1300, 3), (32, 33, 36), np.uint8)
    picture = wall((370, 932), tiles)
    for x0, y0, x1, y1 in tiles:
        image[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
    x0, y0, x1, y1 = tiles[4]
    image[y0:y1, x0:x1] = 0
    image[8:362, 960:] = panel
    assert set(tiles) <= set(find_tiles(image))


def test_an_upright_tile_alone_below_what_is_shared_is_a_tile() -> None:
    """It is a fourteenth of the width: the rest of each of its lines is page."""
    image = np.full((720, 1280, 3), 25, np.uint8)
    slide(image, (261, 40, 1018, 513))
    tile = (595, 525, 684, 690)
    x0, y0, x1, y1 = tile
    image[y0:y1, x0:x1] = wall((y1 - y0, x1 - x0), [(0, 0, x1 - x0, y1 - y0)])
    assert find_tiles(image) == (tile,)
