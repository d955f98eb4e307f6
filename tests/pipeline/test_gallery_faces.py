"""What faces say of a gallery: two people before one camera, films, and tiles that are none."""

from collections.abc import Sequence

import numpy as np
import pytest
from builders import grid, wall
from galleries import BOXES_2X2, SIZE_2X2, close, run, slide, strip

from pipeline.gallery import (
    DEFAULT_GALLERY,
    GallerySplitter,
    find_tiles,
)
from pipeline.page import Lines, PageMask, find_pages
from pipeline.tiles import Search
from pipeline.types import U8, FaceBoxes
from pipeline.walls import Wall


def people(*boxes: Sequence[float]) -> FaceBoxes:
    """Faces that a detector is sure of."""
    return FaceBoxes(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


def room(seed: int, *, portrait: bool) -> U8:
    """Two faces before one camera; with `portrait` the one at the right never moves."""
    image = wall((360, 640), [(0, 0, 640, 360)])
    for x, moves in ((120, True), (420, not portrait)):
        rng = np.random.default_rng(seed if moves else 99)
        image[100:200, x : x + 100] = np.kron(rng.integers(40, 220, (10, 10, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    return image


FACES = people((120, 100, 220, 200), (420, 100, 520, 200))


def test_a_face_that_hangs_over_its_tile_does_not_undo_a_gallery() -> None:
    """Somebody close to the camera has a box wider than the tile; the faces of the others lie inside theirs."""
    boxes = grid(2, 2)
    inside = [(x0 + 40, y0 + 20, x0 + 100, y0 + 80) for x0, y0, _, _ in boxes[1:]]
    over = (boxes[0][0] + 60, boxes[0][1] + 30, boxes[0][0] + 250, boxes[0][1] + 80)
    layout = GallerySplitter().update(wall(SIZE_2X2, boxes), 0.0, people(over, *inside))
    assert close(layout.tiles, boxes)


def test_a_dark_half_of_a_tile_is_no_gutter() -> None:
    """The lower half of a room gets as dark as the page: that is no line between two pictures."""
    boxes = grid(2, 2, tile=(300, 166))
    splitter = GallerySplitter()
    for k in range(10):
        splitter.update(wall((356, 624), boxes, seed=1), k / 5)
    dark = wall((356, 624), boxes, seed=1)
    x0, y0, x1, y1 = boxes[0]
    dark[(y0 + y1) // 2 : y1, x0:x1] = 20
    layout = splitter.update(dark, 2.0)
    assert (layout.tiles, layout.settled) == (tuple(boxes), True)


def test_faces_of_another_picture_size_are_forgotten() -> None:
    """Where faces were in the picture before would be in the middle of nowhere, and speak against every tile."""
    splitter = GallerySplitter()
    # In the middle of a tile; in the smaller picture it would lie across two.
    face = FaceBoxes(np.array([[130, 30, 210, 80]], np.float32), np.ones(1, np.float32))
    splitter.update(wall((384, 664), grid(2, 2, tile=(320, 180))), 0.0, face)
    assert close(splitter.update(wall(SIZE_2X2, BOXES_2X2), 0.2).tiles, BOXES_2X2)


def test_a_face_across_a_gutter_says_that_there_are_no_tiles() -> None:
    """What looks like two tiles is one person where the face lies over both; and again tiles when it is gone."""
    two = wall((106, 344), grid(2, 1))
    splitter = GallerySplitter()
    over = splitter.update(two, 0.0, people((140, 20, 210, 90)))
    assert over.tiles == ((0, 0, 344, 106),)
    inside = GallerySplitter().update(two, 0.0, people((40, 20, 110, 90)))
    assert len(inside.tiles) == 2


def test_one_face_across_a_large_wall_is_a_mistake() -> None:
    """Of sixteen tiles four are taken for a face, and no other face is seen: they are sixteen all the same."""
    boxes = grid(4, 4)
    layout = GallerySplitter().update(wall((400, 680), boxes), 0.0, people((120, 60, 230, 150)))
    assert close(layout.tiles, boxes)


def test_a_phones_tile_that_is_cut_by_a_dark_shirt_is_one() -> None:
    """Between bars as dark as the page stands an upright picture with two stripes of the page's colour."""
    boxes = grid(3, 2)
    boxes[4] = (boxes[4][0] + 45, boxes[4][1], boxes[4][2] - 45, boxes[4][3])
    image = wall((204, 512), boxes)
    x0, y0, x1, _ = boxes[4]
    image[y0 + 50 : y0 + 54, x0:x1] = image[y0 + 64 : y0 + 68, x0:x1] = 20
    assert close(find_tiles(image), boxes)


def test_a_film_beside_a_strip_is_no_participant() -> None:
    """A big region in which no face is seen for four looks is a shared film; with a face in it, it is who speaks."""
    size, tiles, main = strip()
    image = wall(size, [*tiles, main])
    splitter = GallerySplitter()
    nobody, somebody = people(), people((300, 100, 420, 240))
    seen = [len(splitter.update(image, float(t), faces).tiles) for t, faces in enumerate([nobody] * 4 + [somebody])]
    assert seen == [5, 5, 5, 4, 5]


def test_a_still_page_with_a_portrait_is_no_participant() -> None:
    """A shared page of one photograph has a face in it; once it has not changed for two looks it is nobody."""
    size, tiles, main = strip()
    image = wall(size, tiles)
    x0, y0, x1, y1 = main
    image[y0:y1, x0:x1] = 250
    image[y0 + 60 : y0 + 220, x0 + 60 : x0 + 300] = np.random.default_rng(0).integers(60, 95, (160, 240, 3))
    splitter = GallerySplitter()
    face = people((x0 + 100, y0 + 80, x0 + 200, y0 + 180))
    assert [len(splitter.update(image, float(t), face).tiles) for t in range(4)] == [5, 5, 4, 4]


def test_a_screen_that_takes_the_place_of_who_speaks_is_seen_at_once() -> None:
    """The same rectangle shows somebody, then slides, then somebody: two pictures settle it."""
    size, tiles, main = strip()
    speaker, shared = wall(size, [*tiles, main]), slide(wall(size, tiles), main)
    layouts = run(GallerySplitter(), speaker, speaker, shared, shared, speaker, speaker)
    assert [(len(layout.tiles), layout.settled) for layout in layouts] == [
        (5, True), (5, True), (4, False), (4, True), (5, False), (5, True),
    ]  # fmt: skip


def test_a_big_region_that_fills_with_letters_becomes_a_screen() -> None:
    """Nothing jumps, and the explanation is no better than before: only what the region shows is another thing."""
    size, tiles, main = strip()
    empty = slide(wall(size, tiles), main, ink=250)
    layouts = run(GallerySplitter(), empty, *[slide(wall(size, tiles), main, ink=170)] * 14)
    assert all(layout.settled for layout in layouts)
    assert [len(layouts[0].tiles), len(layouts[-1].tiles)] == [5, 4]


def test_two_people_before_one_camera_are_two() -> None:
    """After two seconds the tile is cut half way between them; alone for five seconds it is whole again."""
    splitter = GallerySplitter()
    layouts = [splitter.update(room(t, portrait=False), float(t), FACES).tiles for t in range(4)]
    assert [len(tiles) for tiles in layouts] == [1, 1, 2, 2]
    assert layouts[-1] == ((0, 0, 320, 360), (320, 0, 640, 360))
    alone = people((120, 100, 220, 200))
    after = [len(splitter.update(room(t, portrait=False), float(t), alone).tiles) for t in range(4, 10)]
    assert after == [2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize(("second_x", "n"), [pytest.param(210, 3, id="as before"), pytest.param(122, 2, id="closer")])
def test_two_people_before_one_camera_are_known_after_a_reflow(second_x: int, n: int) -> None:
    """In a smaller tile the first faces that are seen cut it where two sat like that before; others wait."""
    splitter = GallerySplitter()
    for t in range(4):
        splitter.update(room(t, portrait=False), float(t), FACES)
    tiles = [(20, 100, 310, 263), (330, 100, 620, 263)]
    faces = people((74, 145, 119, 190), (second_x, 145, second_x + 45, 190), (440, 145, 485, 190))
    for k in range(6):
        image = wall((360, 640), tiles)
        image[100:262, 20:310] = room(5 + k, portrait=False)[::2, ::2][9:171, :290]
        layout = splitter.update(image, 4 + k / 5, faces if k == 5 else None)
    assert (len(layout.tiles), layout.settled) == (n, True)


def test_a_portrait_on_the_wall_is_nobody() -> None:
    """A second face that never moves does not cut the tile."""
    splitter = GallerySplitter()
    assert {len(splitter.update(room(t, portrait=True), float(t), FACES).tiles) for t in range(6)} == {1}


def test_a_print_on_a_shirt_is_nobody() -> None:
    """A second face below the first moves along, and is no second participant."""
    splitter = GallerySplitter()
    shirt = people((280, 60, 360, 150), (290, 220, 370, 310))
    for t in range(6):
        image = wall((360, 640), [(0, 0, 640, 360)], seed=t)
        assert len(splitter.update(image, float(t), shirt).tiles) == 1


def test_small_and_unequal_and_doubtful_faces_do_not_cut() -> None:
    """Somebody far behind, a face below 24 px, and one the detector is not sure of are no second participant."""
    others = [(420, 100, 470, 200), (420, 100, 440, 120)]
    doubtful = FaceBoxes(FACES.xyxy, np.array([0.9, 0.3], np.float32))
    for faces in (*(people((120, 100, 220, 200), other) for other in others), doubtful):
        splitter = GallerySplitter()
        assert {len(splitter.update(room(t, portrait=False), float(t), faces).tiles) for t in range(5)} == {1}


def test_who_speaks_in_the_dark_is_cut_from_top_to_bottom() -> None:
    """Of a dark room three upright parts show, none of them most of it: that is somebody, as lines are a page."""
    size, tiles, main = strip(side="bottom")
    image = wall(size, [*tiles, main])
    x0, y0, x1, y1 = main
    image[y0:y1, x0 + 110 : x0 + 170] = image[y0:y1, x0 + 430 : x0 + 490] = 20
    assert close(find_tiles(image), [main, *tiles])
    image[y0:y1, x0:x1] = 20
    for y in range(y0, y1 - 60, 80):
        image[y : y + 62, x0:x1] = 200
    assert close(find_tiles(image), tiles)


def test_a_large_face_in_a_film_on_a_shared_page_is_nobody() -> None:
    """However large it is and however it moves: the page around it has few colours and letters."""
    size, tiles, main = strip()
    image = slide(wall(size, tiles), main)
    x0, y0, *_ = main
    face = people((x0 + 150, y0 + 50, x0 + 300, y0 + 200))
    splitter = GallerySplitter()
    for t in range(4):
        image[y0 + 100 : y0 + 140, x0 + 200 : x0 + 240] = 90 + 30 * t
        assert close(splitter.update(image, float(t), face).tiles, tiles)


def test_a_strip_stays_beside_what_has_another_outline() -> None:
    """What is shared was a page as large as there is room, and is a few pictures and a line of them now."""
    size, tiles, main = strip()
    before, after = slide(wall(size, tiles), main), wall(size, tiles, seed=1)
    after[120:200, 60:500] = 150
    lines = Lines(after)
    search = Search(PageMask(lines, find_pages(lines)[0]), DEFAULT_GALLERY)
    was = Wall(tuple(tiles), main, 0.9, regular=True)
    assert search.again(was).main == (60, 120, 500, 200)
    layouts = run(GallerySplitter(), before, before, *[after] * 3)
    assert all(layout.settled or k == 2 for k, layout in enumerate(layouts))
    assert all(set(tiles) <= set(layout.tiles) for layout in layouts)
