"""One picture of a strip of tiles beside who speaks or beside what is shared."""

from collections.abc import Sequence

import numpy as np
import pytest
from builders import wall
from galleries import close, slide, strip

from pipeline.boxes import iou
from pipeline.explanations import explain
from pipeline.gallery import (
    DEFAULT_GALLERY,
    find_tiles,
)
from pipeline.page import Lines, find_pages
from pipeline.types import U8, Box


def ramped(image: U8, boxes: Sequence[Box], top: tuple[int, int, int], bottom: tuple[int, int, int]) -> U8:
    """The picture on a page that changes its colour from the top to the bottom."""
    page = np.ones(image.shape[:2], bool)
    for x0, y0, x1, y1 in boxes:
        page[y0:y1, x0:x1] = False
    image[page] = np.broadcast_to(np.linspace(top, bottom, len(image))[:, None], image.shape)[page].round()
    return image


def blurred(image: U8, box: Box) -> U8:
    """The picture with four pixels along a box's edges that are mostly like the page."""
    x0, y0, x1, y1 = box
    edges = np.zeros(image.shape[:2], bool)
    edges[y0:y1, x0:x1] = True
    edges[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] = False
    rows, columns = np.ogrid[: edges.shape[0], : edges.shape[1]]
    image[edges & ((rows // 4 + columns // 4) % 5 < 4)] = 20
    return image


def test_who_speaks_is_a_tile_beside_the_strip() -> None:
    """A big camera picture beside a strip is a participant, in reading order."""
    for side in ("right", "bottom"):
        size, tiles, main = strip(side=side)
        assert close(find_tiles(wall(size, [*tiles, main])), [main, *tiles])


@pytest.mark.parametrize("side", ["right", "bottom"])
@pytest.mark.parametrize("paper", [20, 250])
def test_a_shared_screen_is_no_tile(side: str, paper: int) -> None:
    """Letters on paper, or on the page itself, are nobody."""
    size, tiles, main = strip(side=side)
    image = slide(wall(size, tiles), main, ink=255 - paper, paper=paper)
    assert close(find_tiles(image), tiles)


def test_a_screen_alone_is_nobody() -> None:
    """A picture of letters from edge to edge has no tile at all."""
    assert find_tiles(slide(np.zeros((360, 640, 3), np.uint8), (0, 0, 640, 360))) == ()


def test_photographs_on_a_page_are_nobody() -> None:
    """Six portraits with a line of text each, on a shared web page beside a strip of four."""
    size, tiles, main = strip()
    image = slide(wall(size, tiles), main)
    rng = np.random.default_rng(3)
    for x, y in ((60, 40), (260, 40), (460, 40), (60, 220), (260, 220), (460, 220)):
        image[y : y + 100, x : x + 130] = rng.integers(40, 200, (100, 130, 3))
    assert close(find_tiles(image), tiles)


def test_a_pale_tile_without_camera_is_not_cut() -> None:
    """Hardly darker than the page, with initials in a circle: neither its sides nor its columns are gutters."""
    size, tiles, main = strip(side="bottom")
    image = slide(wall(size, tiles[1:], page=244), main, ink=200, paper=30)
    x0, y0, x1, y1 = tiles[0]
    image[y0:y1, x0:x1] = 225
    image[y0 + 25 : y1 - 25, x0 + 60 : x1 - 60] = (20, 120, 110)
    image[y1 - 14 : y1 - 4, x0 + 40 : x1 - 40 : 2] = 90
    assert close(find_tiles(image), tiles)


def test_who_speaks_in_the_dark_is_a_tile_all_the_same() -> None:
    """The left third of the big picture is as dark as the page but for a lamp; the face shows."""
    size, tiles, main = strip()
    image = wall(size, tiles)
    x0, y0, x1, y1 = main
    image[y0:y1, x0 + 180 : x1] = np.random.default_rng(0).integers(60, 140, (y1 - y0, x1 - x0 - 180, 3))
    image[y0 + 100 : y1 - 100, x0 + 30 : x0 + 60] = 45
    assert close(find_tiles(image), [main, *tiles])


def test_a_dark_tile_in_a_strip_is_a_tile() -> None:
    """One of four has edges as dark as the page and shows somebody in its middle."""
    size, tiles, main = strip()
    image = wall(size, [*tiles[:2], tiles[3], main])
    x0, y0, x1, y1 = tiles[2]
    image[y0 + 4 : y1 - 4, x0 + 60 : x1 - 6] = np.random.default_rng(0).integers(
        60, 140, (y1 - y0 - 8, x1 - x0 - 66, 3)
    )
    assert close(find_tiles(image), [main, *tiles])


def test_a_page_seen_in_one_column_changes_its_colour_slowly() -> None:
    """Beside a screen from edge to edge little is seen of it: above, below and between the tiles of the strip."""
    tiles = [(1040, 59 + 137 * i, 1280, 194 + 137 * i) for i in range(4)]
    image = wall((720, 1280), tiles)
    page = np.ones((720, 1280), bool)
    for x0, y0, x1, y1 in [*tiles, (0, 8, 1036, 656)]:
        page[y0:y1, x0:x1] = False
    ramp = np.linspace((62, 13, 62), (37, 8, 46), 720)
    image[page] = np.broadcast_to(ramp[:, None], image.shape)[page]
    assert close(find_tiles(slide(image, (0, 8, 1036, 656))), tiles)


def test_an_upright_phone_at_the_end_of_a_strip_has_a_narrow_tile() -> None:
    """Tiles follow each other without gaps: the first does not stand in the middle of its place."""
    tiles = [(300, 20, 360, 110), *[(368 + 168 * i, 20, 528 + 168 * i, 110) for i in range(3)]]
    image = slide(wall((600, 1100), tiles), (200, 130, 900, 580))
    assert close(find_tiles(image), tiles)


def test_an_upright_phone_in_a_strip_without_gutters_is_as_narrow_as_it_is() -> None:
    """It hangs together with the tile above it, which nearly touches it: page at its sides tells its width."""
    tiles = [(640, 20 + 92 * i, 800, 110 + 92 * i) for i in range(4)]
    tiles[2] = (695, tiles[2][1], 745, tiles[2][3])
    image = slide(wall((420, 820), tiles), (10, 20, 620, 400))
    # What compression leaves of a gutter.
    image[202:204, 695:745] = 90
    assert close(find_tiles(image), tiles)


def test_a_strip_is_found_though_gutters_go_on_in_what_is_shared() -> None:
    """Lines of text on the gallery's colour, and a picture, between rows that are empty across the whole window."""
    size, tiles, main = strip()
    image = wall(size, tiles)
    x0, _, x1, _ = main
    for top, height in ((8, 40), (106, 30), (150, 20), (204, 60), (302, 30), (340, 40)):
        image[top : top + height, x0:x1] = 200
        image[top : top + height, x0 + 200 : x0 + 204] = 20
    # Somebody in the dark: all that shows of the last tile is a part of it.
    a, b, c, d = tiles[3]
    image[b:d, a:c] = 20
    image[b + 20 : d, a + 60 : c] = np.random.default_rng(5).integers(40, 200, (d - b - 20, c - a - 60, 3))
    assert close(find_tiles(image), tiles)


def test_half_a_tile_in_the_dark_is_a_part_of_the_other_half() -> None:
    """Of one beside a shared page a dark wall was taken for a gutter."""
    image = slide(wall((500, 900), [(720, 20, 880, 110)]), (10, 20, 700, 480))
    image[20:110, 838:846] = 20
    assert close(find_tiles(image), [(720, 20, 880, 110)])


def test_between_two_far_from_each_other_is_one_in_the_dark() -> None:
    """The first and the third of a row: the one between them shows little but a face, and is a step away from both."""
    size, tiles, main = strip(4, "bottom")
    image = slide(wall(size, tiles), main)
    for a, b, c, d in (tiles[1], tiles[3]):
        image[b:d, a:c] = 20
        image[b + 10 : d, a + 60 : c - 20] = np.random.default_rng(a).integers(40, 200, (d - b - 10, c - a - 80, 3))
    assert close(find_tiles(image), tiles)


def test_a_shared_editor_nearly_of_the_pages_colour_does_not_draw_the_page_to_it() -> None:
    """From (24, 44, 38) to (14, 26, 24), beside a larger (30, 30, 30): the gutters tell the gradient."""
    tiles = [(750, 134 * i, 960, 118 + 134 * i) for i in range(4)]
    editor = (0, 40, 734, 500)
    image = ramped(wall((540, 960), tiles), [*tiles, editor], (24, 44, 38), (14, 26, 24))
    slide(image, editor, ink=180, paper=30)
    [page, *_] = find_pages(Lines(image))
    assert page.plane[:, 2] == pytest.approx([-5, -9, -7], abs=1.5)
    assert close(find_tiles(image), tiles)


def test_the_lower_end_of_a_narrow_tile_is_a_part_of_it() -> None:
    """It is the only thing on the last lines of a wide window, which are page but for it."""
    tiles = [(750, 134 * i, 960, 118 + 134 * i) for i in range(4)]
    tiles[3] = (822, 402, 888, 520)
    image = slide(wall((540, 960), tiles), (0, 0, 734, 490))
    [*_, last] = find_tiles(image)
    assert iou(last, tiles[3]) >= 0.95


def test_a_part_of_a_tile_tells_how_far_tiles_are_apart() -> None:
    """Names stand below the tiles of a strip: of three one is clear, one has a dark side, one shows initials."""
    tiles = [(973, 60 + 204 * i, 1276, 230 + 204 * i) for i in range(3)]
    image = slide(wall((720, 1280), tiles, page=17), (4, 61, 961, 659))
    image[264:434, 973:1276] = 23
    image[310:390, 1080:1166] = (80, 50, 170)
    image[468:638, 973:1044] = 23
    assert close(find_tiles(image), tiles)


def test_an_unclear_tile_tells_how_far_tiles_are_apart() -> None:
    """Of two in a strip one is clear; the other is as large, but its edges are mostly like the page."""
    main, tiles = (119, 41, 632, 330), [(8, 116, 111, 176), (8, 196, 111, 256)]
    image = blurred(wall((360, 640), [main, *tiles]), tiles[0])
    assert close(find_tiles(image), [main, *tiles])


def test_a_clear_tile_below_lines_of_a_page_is_no_half() -> None:
    """A chart on a shared page as white as the gallery's stands above the only tile."""
    tile = (250, 276, 390, 356)
    image = wall((360, 640), [tile], page=255)
    for x, y in ((344, 152), (376, 170), (406, 178)):
        image[y:226, x : x + 20] = (67, 157, 88)
    slide(image, (120, 20, 420, 150), paper=255)
    assert find_tiles(image) == (tile,)


def test_a_row_on_one_colour_of_a_page_that_changes_slowly_is_no_row_beside_a_big_region() -> None:
    """Of 35 tiles the uppermost seven stand on the tool bars' colour; on the whole page all are explained, not all of them clear."""
    tiles = [(50 + 109 * c, 30 + 80 * r, 149 + 109 * c, 85 + 80 * r) for r in range(5) for c in range(7)]
    top, bottom = (11, 19, 37), (22, 38, 68)
    image = ramped(wall((480, 854), tiles), tiles, top, bottom)
    page = np.linspace(top, bottom, len(image)).round()
    for x0, y0, _, y1 in tiles[7:19:2]:
        image[y0:y1, x0 : x0 + 33] = page[y0:y1, None]
    image[:26] = image[428:] = top
    for x in range(300, 550, 50):
        image[440:470, x : x + 30] = 90
    found = explain(Lines(image), DEFAULT_GALLERY)
    assert found is not None
    assert (len(found[0].tiles), found[0].main) == (35, None)
