"""The tiles of one picture."""

from dataclasses import replace

import numpy as np
import pytest
from builders import grid, wall
from galleries import BOXES_2X2, SIZE_2X2, close
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.boxes import iou
from pipeline.gallery import (
    DEFAULT_GALLERY,
    find_tiles,
)
from pipeline.grids import complete
from pipeline.page import Lines, Page, PageMask, find_pages
from pipeline.tiles import Search
from pipeline.types import Box
from pipeline.walls import Wall, to_beat

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


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([], id="no gutters at all"),
        pytest.param([(4, 4, 400, 100), (4, 108, 400, 204)], id="too wide for a camera"),
        pytest.param(grid(8, 7, tile=(72, 64)), id="a pattern of 56 tiles"),
        pytest.param([(8, 8, 28, 100), (36, 8, 56, 100)], id="too narrow"),
    ],
)
def test_what_is_no_grid_is_one_person(boxes: list[Box]) -> None:
    """A picture without tiles is one tile, the whole picture."""
    width, height = max(404, *(box[2] + 8 for box in boxes), 0), max(208, *(box[3] + 8 for box in boxes), 0)
    image = wall((height, width), boxes or [(0, 0, width, height)])
    assert find_tiles(image) == ((0, 0, width, height),)


def test_one_tile_on_a_page_is_that_tile() -> None:
    """Whoever is alone in a call still has a page around the tile."""
    assert close(find_tiles(wall((360, 640), [(60, 40, 580, 320)])), [(60, 40, 580, 320)])


def test_tiles_touch_the_edge_of_the_picture() -> None:
    """Without margins a gutter of two pixels is enough."""
    boxes = [(0, 0, 319, 179), (321, 0, 640, 179), (0, 181, 319, 360), (321, 181, 640, 360)]
    assert close(find_tiles(wall((360, 640), boxes)), boxes)


def test_photographs_on_the_gallerys_own_page_are_nobody() -> None:
    """A web page as white as the gallery shows eight portraits; three people in a row below are the participants."""
    tiles = [(113 + i * 268, 531, 367 + i * 268, 674) for i in range(3)]
    photographs = [(160 + i * 190, y, 300 + i * 190, y + 105) for y in (90, 250) for i in range(4)]
    image = wall((720, 1030), [*tiles, *photographs], page=255)
    image[20:48, 130:900] = 220
    assert close(find_tiles(image), tiles)


def test_a_title_on_a_tool_bar_does_not_make_the_bar_a_page() -> None:
    """A bar hardly lighter than the page, with letters close to its end, is cut off; the page is not its mean."""
    boxes = [(x0 + 40, y0 + 90, x1 + 40, y1 + 90) for x0, y0, x1, y1 in grid(3, 2, tile=(380, 214), gutter=16)]
    image = wall((620, 1290), boxes, page=26)
    image[:50] = 36
    letters = np.random.default_rng(2).random((14, 60)) < 0.5
    image[18:32, 16:136][np.repeat(letters, 2, axis=1)] = 220
    assert close(find_tiles(image), boxes)


def test_a_dark_side_does_not_push_a_tile_over_the_next() -> None:
    """In a wall of 28 one tile's first seven columns are page: it begins where the others of its column do."""
    boxes = grid(7, 4, tile=(120, 68), gutter=3)
    image = wall((boxes[-1][3] + 3, boxes[-1][2] + 3), boxes)
    x0, y0, _, y1 = boxes[8]
    image[y0:y1, x0 : x0 + 7] = 20
    assert close(find_tiles(image), boxes)


def test_initials_are_a_participant() -> None:
    """Two tiles without a camera, one of them hardly lighter than the page, are tiles."""
    image = wall(SIZE_2X2, BOXES_2X2)
    for (x0, y0, x1, y1), level in ((BOXES_2X2[1], 60), (BOXES_2X2[2], 30)):
        image[y0:y1, x0:x1] = level
        image[y0 + 30 : y1 - 30, x0 + 60 : x1 - 60] = (200, 60, 60)
    assert close(find_tiles(image), BOXES_2X2)


def test_an_upright_phone_has_a_narrow_tile() -> None:
    """In the middle of its place in the row stands a tile as narrow as its picture."""
    boxes = grid(3, 2)
    boxes[4] = (boxes[4][0] + 50, boxes[4][1], boxes[4][2] - 50, boxes[4][3])
    assert close(find_tiles(wall((204, 512), boxes)), boxes)


def test_a_page_may_change_its_colour_slowly() -> None:
    """From (10, 20, 40) at the top to (60, 80, 100) at the bottom, with a tool bar below."""
    boxes = grid(3, 3, tile=(300, 170), gutter=16)
    image = wall((650, 980), boxes)
    page = np.zeros(image.shape[:2], bool)
    for x0, y0, x1, y1 in boxes:
        page[y0:y1, x0:x1] = True
    ramp = np.linspace((10, 20, 40), (60, 80, 100), 650)
    image[~page] = np.broadcast_to(ramp[:, None], image.shape)[~page]
    image[600:] = (200, 200, 205)
    image[610:640, 470:500] = (220, 40, 40)
    assert close(find_tiles(image), boxes)


def test_the_corners_of_a_page_that_changes_slowly_are_no_tiles() -> None:
    """Beside one large tile on a page that becomes lighter downwards: there is no step at their edges."""
    image = np.zeros((540, 960, 3), np.uint8)
    image[:] = np.linspace((11, 19, 37), (23, 40, 70), 540).round()[:, None]
    image[498:] = (11, 19, 37)
    image[8:490, 52:908] = (34, 51, 84)
    image[134:366, 364:596] = (0, 120, 105)
    assert close(find_tiles(image), [(52, 8, 908, 490)])


def test_a_shared_page_with_lines_like_the_gallerys_page_is_one_screen() -> None:
    """Its photographs stand on white, the gallery on grey, and a line of that grey cuts off the head of the page."""
    tiles = [(24 + 175 * i, 24, 175 + 175 * i, 109) for i in range(4)]
    photographs = [(247 + 289 * i, y, 454 + 289 * i, y + 155) for y in (230, 450) for i in range(3)]
    image = wall((720, 1280), tiles, page=244)
    image[155:694, 207:1071] = 255
    image[155:182, 207:1071] = 222
    image[182:189, 207:1071] = 246
    for x0, y0, x1, y1 in photographs:
        image[y0:y1, x0:x1] = np.random.default_rng(x0 + y0).integers(40, 200, (y1 - y0, x1 - x0, 3))
        image[y1 + 10 : y1 + 20, x0 : x0 + 80 : 2] = 60
    assert close(find_tiles(image), tiles)


def test_the_last_lines_of_a_shared_page_are_no_tool_bar() -> None:
    """Lines of letters on the gallery's own page go on where tool bars are."""
    tiles = [(676, 41 + 108 * i, 850, 139 + 108 * i) for i in range(4)]
    image = wall((480, 854), tiles, page=244)
    rng = np.random.default_rng(1)
    for y in range(44, 452, 14):
        letters = rng.random((8, 220)) < 0.5
        image[y : y + 8, 4:664][np.repeat(letters, 3, axis=1)] = 20
    assert close(find_tiles(image), tiles)


def test_several_sizes_in_rows_are_no_strip() -> None:
    """A grid on a page that goes from light to dark reaches to the edge of the picture for one colour of it."""
    boxes = [(53 + 294 * i, 1 + 166 * j, 345 + 294 * i, 165 + 166 * j) for j in range(3) for i in range(4)]
    boxes += [(200 + 294 * i, 499, 492 + 294 * i, 663) for i in range(3)]
    image = wall((720, 1280), boxes)
    page = np.ones((720, 1280), bool)
    for x0, y0, x1, y1 in boxes:
        page[y0:y1, x0:x1] = False
    ramp = np.linspace((62, 13, 62), (37, 8, 46), 720)
    image[page] = np.broadcast_to(ramp[:, None], image.shape)[page]
    assert close(find_tiles(image), boxes)


def test_tiles_of_several_sizes_beside_a_big_region_are_doubted_unless_in_line() -> None:
    """All edges are clear and the rest is page: the share of the picture to the power of 0.15, times 0.85 for columns.

    But for one pixel in twenty of the noise, which looks like a piece of the border around who speaks.
    """
    rows, main = [(8 + 168 * i, 168 + 168 * i) for i in range(3)], (8, 8, 652, 504)
    column = [(660, top, width, bottom) for (top, bottom), width in zip(rows, (860, 910, 860), strict=True)]
    columns = [box for top, bottom in rows for box in ((660, top, 860, bottom), (868, top, 1118, bottom))]
    for tiles, width, form in ((column, 918, 1.0), (columns, 1126, 0.85)):
        lines = Lines(wall((512, width), [*tiles, main]))
        search = Search(PageMask(lines, find_pages(lines)[0]), DEFAULT_GALLERY)
        shown = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in [*tiles, main])
        score = search.score_again(Wall(tuple(tiles), main, 0.0))
        assert score == pytest.approx(form * (shown / (512 * width)) ** 0.15, rel=0.06)


def test_a_row_of_dark_tiles_is_no_big_region() -> None:
    """Of three in the upper row two show little but a face before the dark and one is an upright phone."""
    tiles = [(289, 83, 564, 237), (570, 83, 845, 237), (8, 243, 283, 397), (289, 243, 564, 397), (570, 243, 845, 397)]
    image = wall((480, 854), [(87, 83, 203, 237), *tiles[2:]])
    for x0, x1 in ((300, 470), (640, 845)):
        image[83:237, x0:x1] = np.random.default_rng(x0).integers(60, 180, (154, x1 - x0, 3))
    assert close(find_tiles(image), [(87, 83, 203, 237), *tiles])


def test_an_upright_phone_that_speaks_has_a_narrow_tile() -> None:
    """The border around it lies on its picture, not beside it."""
    boxes = grid(3, 2)
    x0, y0, x1, y1 = boxes[4] = (boxes[4][0] + 50, boxes[4][1], boxes[4][2] - 50, boxes[4][3])
    image = wall((204, 512), boxes)
    inside = image[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5].copy()
    image[y0:y1, x0:x1] = (140, 175, 240)
    image[y0, x0:x1] = image[y1 - 1, x0:x1] = image[y0:y1, x0] = image[y0:y1, x1 - 1] = 90
    image[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5] = inside
    assert close(find_tiles(image), boxes)


def test_the_border_around_who_speaks_is_no_page() -> None:
    """Its sides fill whole lines, and cut the window into regions that hold the tiles and the page around them."""
    tiles = [(20, 150, 180, 240), (20, 250, 180, 340), (420, 60, 640, 440)]
    image = wall((500, 860), tiles)
    for x in (412, 646):
        image[:, x : x + 4] = (137, 178, 245)
    for y in (52, 446):
        image[y : y + 4] = (137, 178, 245)
    assert {box[:2] for box in find_tiles(image)} >= {box[:2] for box in tiles[:2]}


def test_names_below_tiles_are_no_tiles() -> None:
    """A line of text under each tile, and one between the tiles, change nothing."""
    boxes = [(8 + c * 208, 8 + r * 150, 208 + c * 208, 120 + r * 150) for r in range(3) for c in range(3)]
    image = wall((460, 640), boxes)
    for x0, _, _, y1 in boxes:
        image[y1 + 8 : y1 + 18, x0 + 10 : x0 + 60 : 3] = 220
    assert close(find_tiles(image), boxes)


def test_a_last_row_that_stands_left() -> None:
    """Four over three that begin at the left are seven tiles; the empty place is none."""
    boxes = grid(4, 2)[:7]
    assert close(find_tiles(wall((204, 680), boxes)), boxes)


def test_a_dark_row_is_found_by_its_middle() -> None:
    """A tile that differs from the page only in its middle, alone in the last row, has the size of the others."""
    boxes = [*grid(3, 2), (176, 204, 336, 294)]
    image = wall((302, 512), boxes)
    image[204:294, 176:336] = 20
    image[222:294, 200:312] = np.random.default_rng(0).integers(60, 200, (72, 112, 3))
    assert close(find_tiles(image), boxes)


def test_two_even_tiles_in_a_last_row_of_three() -> None:
    """Both differ from the page only in their middle; they stand where an even number would, centred."""
    boxes = [*grid(3, 2), (92, 204, 252, 294), (260, 204, 420, 294)]
    image = wall((302, 512), boxes)
    image[204:294] = 20
    for x0, y0, x1, y1 in boxes[-2:]:
        image[y0 + 18 : y1, x0 + 30 : x1 - 30] = np.random.default_rng(0).integers(60, 200, (72, 100, 3))
    assert close(find_tiles(image), boxes)


def test_a_picture_that_shows_nothing_has_no_tile() -> None:
    """Black, or one colour with a little noise, is nobody."""
    rng = np.random.default_rng(0)
    assert find_tiles(rng.integers(10, 14, (90, 160, 3)).astype(np.uint8)) == ()


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
@settings(deadline=None)
def test_any_picture_gives_boxes_inside_it(image: np.ndarray) -> None:
    """Whatever the picture, tiles lie inside it and are not empty."""
    height, width = image.shape[:2]
    for x0, y0, x1, y1 in find_tiles(image):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**16 - 1))
@example(182, 124, 65535)
@settings(max_examples=30, deadline=None)
def test_any_stripes_give_boxes_inside_the_picture(width: int, height: int, seed: int) -> None:
    """Walls and gutters of one or two pixels: tiles that would overlap are no row of tiles."""
    colours = np.random.default_rng(seed).integers(0, 256, (1, width, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in find_tiles(np.repeat(colours, height, axis=0)):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


@given(st.lists(st.tuples(*[st.integers(0, 300)] * 4), max_size=8), st.integers(0, 255), st.integers(0, 9))
@example([(0, 0, 20, 39), (6, 110, 75, 207)], 0, 0)
@settings(max_examples=60, deadline=None)
def test_any_rectangles_give_boxes_inside_the_picture(corners: list[Box], page: int, seed: int) -> None:
    """Rectangles of noise, however they lie, never give a tile outside the picture, nor more than 49."""
    boxes = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners]
    image = wall((301, 301), boxes, page=page, seed=seed)
    tiles = find_tiles(image)
    assert len(tiles) <= 49
    assert all(0 <= x0 < x1 <= 301 and 0 <= y0 < y1 <= 301 for x0, y0, x1, y1 in tiles)


def test_a_steep_gradient_is_no_page() -> None:
    """From black to white across the picture: no page found in it changes so fast."""
    ramp = np.broadcast_to(np.linspace(0, 255, 640)[None, :, None], (360, 640, 3)).astype(np.uint8)
    pages = find_pages(Lines(ramp))
    assert pages
    assert max(float(np.abs(page.plane[:, 1:]).sum(axis=1).max()) for page in pages) <= 45


def test_lines_of_other_colours_around_do_not_change_a_flat_page() -> None:
    """Many dark columns within ten levels of the page are not it."""
    image = wall((360, 640), [(8, 8, 312, 352), (328, 8, 632, 352)], page=22)
    image[:, 8:312] = 31
    image[100:200, 100:200] = 200
    assert 22.0 in [round(float(page.plane[0, 0])) for page in find_pages(Lines(image)) if page.is_flat]


def test_tiles_that_hold_the_equal_tiles_of_another_explanation_must_be_clearly_better() -> None:
    """Of a wall with narrow gutters four tiles may hang together, and so large are four others everywhere."""
    coarse = Wall(tuple(grid(2, 2, tile=(328, 188))), None, 1.0, regular=True)
    fine = Wall(tuple(grid(4, 4)), None, 0.96, regular=True)
    assert to_beat(coarse, fine) == pytest.approx(0.95)
    assert to_beat(fine, coarse) == pytest.approx(1.01)
    # Tiles of another place, or of several sizes, are compared as ever.
    assert to_beat(coarse, replace(fine, regular=False)) == pytest.approx(1.01)
    assert to_beat(fine, replace(coarse, tiles=coarse.tiles[:1])) == pytest.approx(0.97)


def test_a_picture_higher_than_the_others_of_its_row_is_whole() -> None:
    """Wide pictures have bars above and below that are as black as the page; one of 4:3 has them at its sides."""
    boxes = [(1, 39, 419, 274), (483, 3, 797, 312), (861, 39, 1279, 274), (431, 365, 849, 600)]
    assert close(find_tiles(wall((640, 1280), boxes, page=0)), boxes)


def test_a_tile_that_two_clear_ones_fill_is_none() -> None:
    """Three upright tiles explain three columns of two less well than six tiles do; where one is clear they may."""
    boxes = grid(3, 2, tile=(160, 120), gutter=2)
    upright = [(x0, 2, x1, 244) for x0, _, x1, _ in boxes[:3]]
    search = Search(PageMask(Lines(wall((246, 488), boxes)), Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY)
    scores = [search.score_again(Wall(tuple(tiles), None, 0.0, regular=True)) for tiles in (boxes, upright)]
    # All are clear, and three of three are filled: 1 - 0.3 * 3 / (3 + 3) = 0.85; the gutter in them takes 1 % more.
    assert scores[1] / scores[0] == pytest.approx(0.84, abs=0.01)


def test_tiles_of_a_strip_that_hang_together_are_no_big_region() -> None:
    """Of five with two pixels between them three have no clear gutter; nothing else is beside them but lines of a page."""
    size, tiles = (480, 854), [(33 + 158 * i, 8, 189 + 158 * i, 96) for i in range(5)]
    image = wall(size, tiles, page=255)
    for x in (505, 663):
        image[8:96, x : x + 2][np.arange(88) % 4 == 0] = 120
        image[8:96, x : x + 2][np.arange(88) < 30] = 120
    image[300:304, 200:640] = 60
    search = Search(PageMask(Lines(image), Page(np.array([[255.0, 0, 0]] * 3))), DEFAULT_GALLERY)
    assert (349, 8, 821, 96) in search.cells.leaves
    assert close(find_tiles(image), tiles)


def test_a_column_of_tiles_that_hang_together_is_no_big_region() -> None:
    """The same upright; a region that is longer than tiles with their gutters is one, and so is one beside one tile."""
    tiles = [(8, 8 + 92 * i, 168, 98 + 92 * i) for i in range(5)]
    image = wall((480, 640), tiles, page=255)
    image[282:284, 8:168][:, np.arange(160) % 8 < 5] = image[374:376, 8:168][:, np.arange(160) % 8 < 5] = 190
    search = Search(PageMask(Lines(image), Page(np.array([[255.0, 0, 0]] * 3))), DEFAULT_GALLERY)
    assert search._hangs((8, 192, 168, 466), tiles[:2])
    assert not search._hangs((8, 192, 168, 420), tiles[:2])
    assert not search._hangs((200, 192, 360, 466), tiles[:2])
    assert not search._hangs((8, 192, 168, 466), tiles[:1])


def test_a_tile_that_was_cut_along_a_border_is_whole_where_the_border_has_gone() -> None:
    """It has the edges of its row and of its column where these are clearer; elsewhere it is left as it is."""
    image = wall(SIZE_2X2, BOXES_2X2)
    search = Search(PageMask(Lines(image), find_pages(Lines(image))[0]), DEFAULT_GALLERY)
    x0, y0, x1, y1 = BOXES_2X2[0]
    cut = Wall(((x0 + 4, y0 + 4, x1 - 4, y1 - 4), *BOXES_2X2[1:]), None, 0.5, regular=True)
    right = search.score_again(replace(cut, tiles=tuple(BOXES_2X2)))
    assert search.again(cut) == replace(cut, score=right)
    assert search.score_again(cut) < 0.9 * right
    # Of several sizes each has its own; nor are twelve pixels a border.
    several = replace(cut, regular=False)
    assert search.again(several).score == search.score_again(several)
    far = replace(cut, tiles=((x0 + 12, y0 + 12, x1 - 12, y1 - 12), *BOXES_2X2[1:]))
    assert search.again(far).score == search.score_again(far)


def test_a_big_region_that_equal_tiles_fill_counts_against_an_explanation() -> None:
    """Four clear tiles of one size fill what is beside the strip: as if three were missed; pieces of a page may."""
    tiles, rest = [(8, 8, 168, 98), (8, 106, 168, 196)], grid(3, 2)[1:3] + grid(3, 2)[4:]
    cells = Search(
        PageMask(Lines(wall((204, 512), [*tiles, *rest])), Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY
    ).cells
    main = (176, 8, 504, 196)
    assert cells.n_joined(main) == cells.n_joined(main, equal=True) == 3
    uneven = [(176, 8, 376, 98), (384, 8, 504, 98), (176, 106, 296, 196), (304, 106, 504, 196)]
    cells = Search(
        PageMask(Lines(wall((204, 512), [*tiles, *uneven])), Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY
    ).cells
    assert (cells.n_joined(main), cells.n_joined(main, equal=True)) == (3, 0)


def test_a_big_region_that_a_grid_goes_on_through_must_be_clearly_better() -> None:
    """The row beside it is the first of a grid on the same page: within 0.05 the grid counts."""
    boxes = tuple(grid(4, 3))
    row, rest = Wall(boxes[:4], (8, 106, 672, 294), 0.8, regular=True), Wall(boxes, None, 0.8, regular=True)
    assert to_beat(row, rest) == pytest.approx(0.75)
    assert to_beat(rest, row) == pytest.approx(0.85)
    assert to_beat(replace(row, tiles=((0, 0, 9, 9),)), rest) == pytest.approx(0.8)


def test_bars_of_tiles_at_the_edge_of_the_picture_are_no_tool_bar() -> None:
    """The pictures of the upper row stand on black; the page goes on between these bars to the edge."""
    boxes = [(0, 0, 312, 264), (324, 0, 636, 264), (648, 0, 960, 264), (0, 276, 312, 540), (324, 276, 636, 540)]
    image = wall((540, 960), [(x0, y0 + (44 if y0 == 0 else 0), x1, y1) for x0, y0, x1, y1 in boxes], page=244)
    for x0, _, x1, _ in boxes[:3]:
        image[:44, x0:x1] = 0
    assert close(find_tiles(image), boxes)


def test_what_the_border_around_who_speaks_cuts_off_shows_nobody() -> None:
    """Its colour fills columns from top to bottom; beside it is one colour, the page's."""
    image = wall((470, 960), [(318, 0, 642, 470)], page=30)
    image[:, 316:318] = image[:, 642:644] = (138, 178, 246)
    [found] = find_tiles(image)
    assert iou(found, (316, 0, 644, 470)) >= 0.9


def test_an_explanation_with_a_tile_that_is_page_now_explains_nothing() -> None:
    """Somebody has left: where they were is nothing but page."""
    boxes = grid(3, 1)
    search = Search(PageMask(Lines(wall((106, 512), boxes[:2])), Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY)
    assert search.score_again(Wall(tuple(boxes), None, 0.0, regular=True)) == 0
    assert search.score_again(Wall(tuple(boxes[:2]), None, 0.0, regular=True)) > 0


def test_a_page_goes_on_beside_the_few_lines_that_tell_its_colour() -> None:
    """Three tiles leave one gutter from end to end; beside the last the page has become darker."""
    image = np.zeros((480, 854, 3), np.uint8)
    image[:] = np.linspace((226, 232, 240), (203, 213, 225), 480).round()[:, None]
    boxes = [(0, 0, 425, 238), (429, 0, 854, 238), (214, 242, 639, 480)]
    rng = np.random.default_rng(0)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = rng.integers(60, 140, (y1 - y0, x1 - x0, 1))
    assert close(find_tiles(image), boxes)


def test_what_hangs_together_beside_a_tile_tells_the_pitch() -> None:
    """Three tiles in line with the only clear one are one piece: the gutter to it is that of all."""
    image = wall((300, 688), [(8, 8, 168, 98), (176, 8, 680, 98), (8, 130, 680, 292)])
    cells = Search(PageMask(Lines(image), Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY).cells
    assert complete(cells, (0, 8, 688, 98), [(8, 8, 168, 98)]) == [
        (8 + 168 * i, 8, 168 + 168 * i, 98) for i in range(4)
    ]
