"""A gallery from picture to picture: when a layout changes, and when it stays."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from builders import grid, wall
from galleries import BOXES_2X2, SIZE_2X2, close, run, slide, strip, stripes

from pipeline.boxes import iou, same_layout
from pipeline.gallery import (
    DEFAULT_GALLERY,
    GalleryHints,
    GallerySplitter,
    Layout,
    find_tiles,
)
from pipeline.page import Lines, Page, PageMask, find_pages
from pipeline.tiles import Search
from pipeline.types import U8, Box
from pipeline.walls import Wall, goes_on


def faint(image: U8, box: Box) -> U8:
    """The picture with a tile that hardly differs from a page of 20."""
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = np.random.default_rng(0).integers(30, 42, (y1 - y0, x1 - x0, 1))
    return image


def standing(image: U8, wall_: Wall, *, settled: bool = True) -> tuple[GallerySplitter, Lines, Search]:
    """A splitter for which an explanation stands, and the search in this picture on its page."""
    splitter, lines = GallerySplitter(), Lines(image)
    search = Search(PageMask(lines, find_pages(lines)[0]), DEFAULT_GALLERY)
    splitter._now.wall, splitter._now.mask, splitter._now.settled = wall_, search.cells.mask, settled
    return splitter, lines, search


def test_iou_by_hand() -> None:
    """Two 2 x 2 boxes that share 1 x 2 pixels overlap in 2 of 6."""
    assert iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(2 / 6)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0.0


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """The message says what was expected and what came."""
    for look in (find_tiles, lambda image: GallerySplitter().update(image, 0.0)):
        with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
            look(np.zeros(shape, dtype=np.uint8))


def test_a_layout_changes_when_two_pictures_agree() -> None:
    """The page at once says that the layout is over and another one shows; the second picture that agrees settles it."""
    four, two = wall(SIZE_2X2, BOXES_2X2), wall(SIZE_2X2, BOXES_2X2[:2])
    layouts = run(GallerySplitter(), four, four, two, two, two)
    assert [(len(layout.tiles), layout.settled) for layout in layouts] == [
        (4, True), (4, True), (2, False), (2, True), (2, True),
    ]  # fmt: skip


def test_a_layout_in_motion_does_not_settle() -> None:
    """Tiles that slide by some pixels from picture to picture are waited for."""
    still = wall(SIZE_2X2, BOXES_2X2)
    moving = [
        wall(SIZE_2X2, [(x0 + d, y0, x1 + d, y1) for x0, y0, x1, y1 in grid(2, 1, tile=(110, 70))])
        for d in (0, 8, 16, 24)
    ]
    layouts = run(GallerySplitter(), still, *moving, moving[-1], moving[-1])
    assert [layout.settled for layout in layouts] == [True, False, False, False, False, True, True]


def test_endless_motion_settles_on_about_the_same() -> None:
    """After a second and a half two layouts that are nearly the same are one."""
    still = wall(SIZE_2X2, BOXES_2X2)
    moving = [
        wall(SIZE_2X2, [(x0 + d, y0, x1 + d, y1) for x0, y0, x1, y1 in grid(2, 1, tile=(110, 70))])
        for d in (0, 5, 0, 5, 0, 5, 0, 5, 0, 5, 0, 5)
    ]
    settled = [layout.settled for layout in run(GallerySplitter(), still, *moving)]
    assert settled.index(True, 1) >= 8
    assert not any(settled[1:8])


def test_a_tile_that_shrinks_on_its_own_place_is_seen_at_once() -> None:
    """One large tile becomes a small one above a screen, both where it was: half of its place is page now."""
    large, small, screen = (52, 8, 908, 490), (386, 8, 573, 113), (230, 150, 730, 480)
    before, after = wall((540, 960), [large]), slide(wall((540, 960), [small]), screen)
    layouts = run(GallerySplitter(), before, before, after, after, after)
    assert [(len(layout.tiles), layout.settled) for layout in layouts[2:]] == [(1, False), (1, True), (1, True)]
    assert close(layouts[-1].tiles, [small])


def test_somebody_who_joins_or_leaves_is_seen_at_once() -> None:
    """A tile where the page was, and page where a tile was, both end the layout, though the others stay."""
    seven, six = wall((302, 512), [*grid(3, 2), (8, 204, 168, 294)]), wall((302, 512), grid(3, 2))
    layouts = run(GallerySplitter(), six, seven, seven, six, six)
    assert [len(layout.tiles) for layout in layouts if layout.settled] == [6, 7, 6]


def test_tiles_that_are_cut_in_two_are_seen_at_once() -> None:
    """Two tall tiles become four: the old gutters are all still there, and the new one is noticed all the same."""
    tall, four = grid(2, 1, tile=(300, 340)), grid(2, 2, tile=(300, 166))
    splitter = GallerySplitter()
    for k in range(10):
        assert close(splitter.update(wall((356, 624), tall, seed=1), k / 5).tiles, tall)
    looks = [splitter.update(wall((356, 624), four, seed=2), (10 + k) / 5) for k in range(3)]
    assert [look.settled for look in looks] == [False, True, True]
    assert close(looks[-1].tiles, four)


def test_a_gutter_that_vanishes_from_one_row_is_seen_at_once() -> None:
    """Four become three, the last of them in the middle: all gutters but one half of one stay as they were."""
    four, tile = grid(2, 2, tile=(300, 166)), 300
    three = [*four[:2], (624 // 2 - tile // 2, four[2][1], 624 // 2 + tile // 2, four[2][3])]
    splitter = GallerySplitter()
    for k in range(10):
        splitter.update(wall((356, 624), four, seed=1), k / 5)
    looks = [splitter.update(wall((356, 624), three, seed=2), (10 + k) / 5) for k in range(3)]
    assert [look.settled for look in looks] == [False, True, True]
    assert close(looks[-1].tiles, three)


def test_a_border_is_no_change() -> None:
    """The mark of who speaks wanders from tile to tile and nothing else happens."""
    pictures = []
    for x0, y0, x1, y1 in BOXES_2X2:
        image = wall(SIZE_2X2, BOXES_2X2)
        image[y0 - 4 : y0, x0 - 4 : x1 + 4] = image[y1 : y1 + 4, x0 - 4 : x1 + 4] = (40, 200, 60)
        image[y0 - 4 : y1 + 4, x0 - 4 : x0] = image[y0 - 4 : y1 + 4, x1 : x1 + 4] = (40, 200, 60)
        pictures.append(image)
    layouts = run(GallerySplitter(), *pictures)
    assert [(len(layout.tiles), layout.settled) for layout in layouts] == [(4, True)] * 4
    assert len({layout.tiles for layout in layouts}) == 1


def test_a_cut_in_a_film_of_one_person_changes_nothing() -> None:
    """Another picture without gutters is looked at, and is the same tile."""
    rng = np.random.default_rng(0)
    bright, dark = (rng.integers(low, low + 60, (180, 320, 3)).astype(np.uint8) for low in (150, 20))
    layouts = run(GallerySplitter(), bright, dark, bright)
    assert [(layout.tiles, layout.settled) for layout in layouts] == [(((0, 0, 320, 180),), True)] * 3


def test_a_better_layout_replaces_one_that_still_fits() -> None:
    """A tile hardly lighter than the page is no sudden change, but after some looks it is a tile."""
    boxes = grid(3, 1)
    two, three = wall((106, 512), boxes[:2]), faint(wall((106, 512), boxes[:2]), boxes[2])
    layouts = run(GallerySplitter(), two, *[three] * 30)
    assert all(layout.settled for layout in layouts)
    assert [len(layout.tiles) for layout in layouts][:: len(layouts) - 1] == [2, 3]


def test_a_layout_that_is_hardly_better_does_not_replace_one_that_fits() -> None:
    """One of sixteen tiles that shows an upright picture between bars as dark as the page keeps its place."""
    boxes = grid(4, 4)
    upright = wall((400, 680), boxes)
    x0, y0, x1, y1 = boxes[5]
    upright[y0:y1, x0 : x0 + 30] = upright[y0:y1, x1 - 30 : x1] = 20
    layouts = run(GallerySplitter(), wall((400, 680), boxes), *[upright] * 60)
    assert {layout.tiles for layout in layouts} == {layouts[0].tiles}


def test_another_page_is_looked_for_when_the_known_one_explains_little() -> None:
    """The window behind a single tile changes: the tile is still that tile."""
    dark, light = (wall((360, 640), [(60, 40, 580, 320)], page=page) for page in (20, 36))
    layouts = run(GallerySplitter(), dark, *[light] * 10)
    assert {(layout.tiles, layout.settled) for layout in layouts} == {(((60, 40, 580, 320),), True)}


def test_gutters_that_become_noisy_are_doubted_for_two_seconds() -> None:
    """Where nothing like a gallery shows any more although the page is about the same, the layout is held a while."""
    rng = np.random.default_rng(0)
    clean = wall(SIZE_2X2, BOXES_2X2, page=60)
    noisy = clean.astype(np.int16) + rng.integers(-22, 23, (*SIZE_2X2, 1))
    layouts = run(GallerySplitter(), clean, *[np.clip(noisy, 0, 255).astype(np.uint8)] * 40)
    assert [len(layout.tiles) for layout in layouts][:12] == [4] * 12
    assert len(layouts[-1].tiles) == 1


def test_what_is_only_something_like_a_gallery_must_stand_first() -> None:
    """Two blotched regions of different width are tiles after 0.8 s, and nobody is read before."""
    rng = np.random.default_rng(0)
    image = np.full((116, 316, 3), 20, np.uint8)
    for x0, x1 in ((8, 168), (176, 304)):
        blotches = rng.random((25, (x1 - x0) // 4)) < 0.58
        image[8:108, x0:x1][np.kron(blotches, np.ones((4, 4), bool))] = 120
    layouts = run(GallerySplitter(), *[image] * 7)
    assert [len(layout.tiles) for layout in layouts] == [2] * 7
    assert [layout.settled for layout in layouts] == [False] * 4 + [True] * 3


def test_another_picture_size_is_looked_at_anew() -> None:
    """After a change of resolution old boxes mean nothing, so the new layout counts at once."""
    splitter = GallerySplitter()
    splitter.update(wall(SIZE_2X2, BOXES_2X2), 0.0)
    boxes = grid(2, 2, tile=(320, 180))
    assert close(splitter.update(wall((384, 664), boxes), 0.2).tiles, boxes)


def test_pictures_that_show_nothing_leave_a_layout_alone() -> None:
    """A call whose screen goes black still has its four tiles."""
    splitter = GallerySplitter()
    splitter.update(wall(SIZE_2X2, BOXES_2X2), 0.0)
    black = np.zeros((*SIZE_2X2, 3), np.uint8)
    assert [len(layout.tiles) for layout in run(splitter, *[black] * 4, start=0.2)] == [4, 4, 4, 4]


def test_a_call_that_begins_black_waits_for_its_first_picture() -> None:
    """Black for two looks is nobody, for three somebody with the camera off; then the grid counts at once."""
    black = np.zeros((*SIZE_2X2, 3), np.uint8)
    layouts = run(GallerySplitter(), black, black, black, wall(SIZE_2X2, BOXES_2X2), black)
    assert [len(layout.tiles) for layout in layouts] == [0, 0, 1, 4, 4]
    assert DEFAULT_GALLERY.hold == 3


def test_hints_win() -> None:
    """A fixed grid or a list of rectangles is the layout, whatever shows; what lies outside is cut off, and keeps its turn."""
    image = wall(SIZE_2X2, BOXES_2X2)
    halves = GallerySplitter(hints=GalleryHints(grid=(2, 1))).update(image, 0.0)
    assert halves == Layout(((0, 0, 172, 204), (172, 0, 344, 204)), settled=True)
    hints = GalleryHints(grid=(2, 1), tiles=((500, 10, 600, 80), (10, 10, 100, 400)))
    fixed = GallerySplitter(hints=hints).update(image, 0.0)
    assert fixed == Layout(((343, 10, 344, 80), (10, 10, 100, 204)), settled=True)


def test_tiles_without_a_page_around_them_are_held() -> None:
    """Where nothing is outside of the tiles but gutters of two pixels, these alone tell that the layout stands."""
    boxes = [(0, 0, 319, 179), (321, 0, 640, 179), (0, 181, 319, 360), (321, 181, 640, 360)]
    layouts = run(GallerySplitter(), *[wall((360, 640), boxes, seed=k) for k in range(4)])
    assert [(len(layout.tiles), layout.settled) for layout in layouts] == [(4, True)] * 4


def test_a_layout_that_stands_is_searched_less_often() -> None:
    """A tile hardly lighter than the page that comes after ten calm seconds is found within five."""
    boxes = grid(3, 1)
    two, three = wall((106, 512), boxes[:2]), faint(wall((106, 512), boxes[:2]), boxes[2])
    layouts = run(GallerySplitter(), *[two] * 50, *[three] * 25)
    assert {len(layout.tiles) for layout in layouts[:51]} == {2}
    assert len(layouts[-1].tiles) == 3


def test_layouts_of_different_length_differ() -> None:
    """Two tiles are not four."""
    assert not same_layout(tuple(BOXES_2X2), tuple(BOXES_2X2[:2]))


def test_recorded_meetings_have_four_tiles(dev_data: Path) -> None:
    """In ten seconds of both development meetings every tile is held, at IoU >= 0.8 in every picture."""
    for name, top, bottom in (("meeting_2x2.mp4", 6, 714), ("sessions/meeting_personal_2x2.mp4", 4, 716)):
        truth = [(12, top, 634, 354), (646, top, 1268, 354), (12, 366, 634, bottom), (646, 366, 1268, bottom)]
        content = [truth[0], (725, 6, 1189, 354), truth[2], (783, 366, 1131, 714)]
        splitter = GallerySplitter()
        with av.open(str(dev_data / name)) as container:
            for i, frame in enumerate(container.decode(video=0)):
                if i % 5 == 0 and frame.time < 10:
                    layout = splitter.update(frame.to_ndarray(format="rgb24"), frame.time)
                    assert (len(layout.tiles), layout.settled) == (4, True)
                    for found, whole, part in zip(layout.tiles, truth, content, strict=True):
                        assert max(iou(found, whole), iou(found, part)) >= 0.8


def test_a_layout_that_explains_a_changed_picture_as_well_stays() -> None:
    """What is shared shows something else: the strip beside it is told no worse by its old tiles."""
    size, tiles, main = strip()
    image = wall(size, tiles)
    splitter = GallerySplitter()
    run(splitter, slide(image.copy(), main), slide(image.copy(), main))
    after = run(splitter, *[slide(image.copy(), main, ink=250, paper=60)] * 2, start=0.4)
    assert [(layout.settled, layout.tiles) for layout in after] == [(True, tuple(tiles))] * 2
    assert all(layout.stirred for layout in after)
    assert not run(splitter, slide(image.copy(), main, ink=250, paper=60), start=1.6)[0].stirred


def test_tiles_that_are_divided_are_no_longer_the_layout() -> None:
    """High tiles become two each: they are as clear as before but for the new gutters in them."""
    high: list[Box] = [(8, 8, 168, 212), (176, 8, 336, 212)]
    after = grid(2, 2, tile=(160, 98))
    layouts = run(GallerySplitter(), *[wall((220, 344), high)] * 3, *[wall((220, 344), after, seed=1)] * 3)
    assert [(layout.tiles, layout.settled) for layout in layouts[2::3]] == [(tuple(high), True), (tuple(after), True)]


def test_a_strip_stays_beside_a_page_with_a_piece_of_a_tiles_size() -> None:
    """What is shared is another page all of a sudden, on which a picture like a tile stands in line with the strip."""
    tiles = [(666, 17, 850, 121), (666, 131, 850, 235), (666, 245, 850, 349), (666, 359, 850, 463)]
    pieces = [(4, 36, 656, 121), (4, 124, 654, 243), (4, 245, 453, 355), (455, 245, 655, 355), (4, 359, 376, 442)]
    pieces.append((378, 359, 654, 442))
    before = slide(wall((480, 854), tiles, page=244), (4, 36, 656, 442), paper=230)
    after = [wall((480, 854), [*tiles, *pieces], page=244, seed=k) for k in range(10)]
    assert not close(find_tiles(after[0]), tiles)
    layouts = run(GallerySplitter(), before, *after)
    assert all(layout.settled and set(tiles) <= set(layout.tiles) for layout in layouts)


def test_what_is_shared_may_have_more_lines_than_the_page() -> None:
    """Of such a picture alone the page is not found; where it is known the strip is, and through a re-flow as well."""
    size, tiles, main = strip()
    shared = stripes(wall(size, tiles), main)
    assert not set(tiles) & set(find_tiles(shared))
    for before in (slide(wall(size, tiles), main), wall(size, grid(4, 3, tile=(210, 116), gutter=10))):
        [*_, last] = run(GallerySplitter(), before, *[shared] * 8)
        assert set(tiles) <= set(last.tiles)
        assert last.settled


def test_an_explanation_that_leaves_people_out_must_be_clearly_better() -> None:
    """One that shows two of those who stood gives way to them all within 0.05; one of more tiles does not."""
    boxes = tuple(grid(4, 1))
    more = (*boxes, (688, 8, 848, 98))
    was = Wall(boxes, None, 0.9, regular=True)
    splitter, lines, search = standing(wall((106, 680), list(boxes)), was)
    score = search.score_again(was)
    for better, tiles, stays in ((0.04, boxes[:2], True), (0.06, boxes[:2], False), (0.04, more, False)):
        found = Wall(tiles, None, score + better, regular=True)
        kept = splitter._still(lines, (found, search))
        assert (kept is not None and kept[0].tiles == boxes) is stays


def test_a_grid_goes_on_where_the_page_leaves_the_colour_of_its_first_row() -> None:
    """Tiles beside a big region that are some of a grid make no strip; where the grid leaves a region too, they may."""
    boxes = tuple(grid(4, 3))
    row, rest = Wall(boxes[:4], (8, 106, 672, 294), 0.89, regular=True), Wall(boxes, None, 0.88, regular=True)
    assert goes_on(row, rest)
    assert not goes_on(rest, rest)
    assert not goes_on(row, replace(rest, main=(700, 8, 900, 294)))
    assert not goes_on(row, replace(rest, tiles=boxes[4:]))
    assert not goes_on(replace(row, tiles=boxes), rest)
    # Five small tiles lie in six large ones; larger ones do not explain them.
    small = tuple((x0, y0, x0 + 40, y0 + 30) for x0, y0, *_ in boxes[:5])
    assert not goes_on(replace(row, tiles=small), rest)


@pytest.mark.parametrize("settled", [True, False])
def test_an_explanation_that_joins_people_must_be_clearly_better(settled: bool) -> None:  # noqa: FBT001
    """Two in the dark, one above the other, hang together in one picture and not in the next."""
    boxes = tuple(grid(3, 2))
    was = Wall(boxes, None, 0.9, regular=True)
    splitter, lines, search = standing(wall((204, 512), list(boxes)), was, settled=settled)
    score = search.score_again(was)
    pairs = tuple((x0, y0, x1, y1 + 98) for x0, y0, x1, y1 in boxes[:3])
    for better, stays in ((0.04, True), (0.06, False)):
        kept = splitter._still(lines, (Wall(pairs, None, score + better, regular=True), search))
        assert (kept is not None and kept[0].tiles == boxes) is stays


@pytest.mark.parametrize("settled", [True, False])
def test_an_explanation_with_as_many_tiles_elsewhere_must_be_clearly_better(settled: bool) -> None:  # noqa: FBT001
    """Two in a strip change places: their tiles, cut a little otherwise, are those that stood, also after motion."""
    size, tiles, main = strip()
    was = Wall(tuple(tiles), main, 0.9, regular=True)
    splitter, lines, search = standing(wall(size, [*tiles, main]), was, settled=settled)
    score = search.score_again(was)
    moved = tuple((x0, y0 + 9, x1, y1 + 9) for x0, y0, x1, y1 in tiles)
    x0, y0, x1, y1 = main
    for better, beside, stays in (
        (0.04, main, True),
        (0.06, main, False),
        (0.04, None, False),
        (0.04, (x0, y0, x1, y1 // 2), False),
    ):
        kept = splitter._still(lines, (Wall(moved, beside, score + better, regular=True), search))
        assert (kept is not None and kept[0].tiles == was.tiles) is stays
    without = Wall(was.tiles, None, 0.9, regular=True)
    splitter, lines, search = standing(wall(size, tiles), without, settled=settled)
    kept = splitter._still(lines, (Wall(moved, None, search.score_again(without) + 0.04, regular=True), search))
    assert kept is not None
    assert kept[0].tiles == was.tiles


@pytest.mark.parametrize("across", [56, 120])
def test_a_narrower_tile_in_the_place_of_a_wide_one_is_another(across: int) -> None:
    """Who comes with an upright phone in somebody's place has their own tile, whatever explains the strip as well."""
    size, tiles, main = strip(6, "bottom")
    x0, y0, x1, y1 = tiles[2]
    narrow = ((x0 + x1 - across) // 2, y0, (x0 + x1 + across) // 2, y1)
    splitter = GallerySplitter()
    run(splitter, *[wall(size, [*tiles, main])] * 3)
    after = [*tiles[:2], narrow, *tiles[3:], main]
    found = run(splitter, *[wall(size, after, seed=3)] * 8, start=2.0)[-1]
    assert found.settled
    assert found.tiles == tuple(sorted(after, key=lambda box: (box[1], box[0])))


def test_what_stood_comes_back_where_nothing_certain_is_found() -> None:
    """While the picture does not fit it takes no more than what is believed, and no more than the best that was found."""
    boxes = tuple(grid(4, 1))
    image = wall((106, 680), list(boxes))
    for x0, y0, x1, y1 in boxes[:3]:
        image[y0 : y0 + 12, x0:x1] = image[y1 - 12 : y1, x0:x1] = image[y0:y1, x0 : x0 + 12] = 20
    for x0, y0, x1, y1 in boxes[1:3]:
        image[y0:y1, x0 : x0 + 64] = image[y0:y1, x1 - 64 : x1] = 20
    was = Wall(boxes, None, 0.9, regular=True)
    splitter, lines, search = standing(image, was, settled=False)
    score = search.score_again(was)
    assert 0.45 < score < 0.62, "believed, and not sure"
    found = splitter._still(lines, None)
    assert found is not None
    assert found[0].tiles == boxes
    others = tuple((x0 + 20, y0, x1 + 20, y1) for x0, y0, x1, y1 in boxes[:2])
    for at, stays in ((0.9, False), (score + 0.01, False), (score - 0.01, True)):
        assert (splitter._still(lines, (Wall(others, None, at), search)) is not None) is stays
    splitter._now.settled = True
    assert splitter._still(lines, None) is None


@pytest.mark.parametrize(("stirred_s", "sure", "settles"), [(0.9, True, True), (0.9, False, False), (0.2, True, False)])
def test_what_was_settled_on_in_motion_is_corrected_at_once(stirred_s: float, sure: bool, settles: bool) -> None:  # noqa: FBT001
    """Right after a picture that did not fit two that agree are enough, where the explanation is certain."""
    two, image = tuple(BOXES_2X2[:2]), wall(SIZE_2X2, BOXES_2X2[:2])
    splitter, _, search = standing(image, Wall(tuple(BOXES_2X2), None, 0.9, regular=True))
    splitter._now.tiles, splitter._now.firm, splitter._now.stirred_s = tuple(BOXES_2X2), True, stirred_s
    for time_s in (1.0, 1.2):
        splitter._compare(image, two, (Wall(two, None, 0.95, regular=True), search), time_s, sure=sure)
    assert (splitter._now.tiles == two) is settles


def test_while_the_picture_stirs_each_is_looked_at() -> None:
    """Not once a second only: a tile that grows on the page is found as soon as it stands."""
    four = wall(SIZE_2X2, BOXES_2X2)
    splitter = GallerySplitter()
    run(splitter, four, four)
    splitter._now.stirred_s = 0.4
    run(splitter, four, start=0.6)
    assert splitter._now.search_at_s == pytest.approx(1.6)
    run(splitter, four, start=1.4)
    assert splitter._now.search_at_s == pytest.approx(1.6)


def test_what_was_found_last_is_as_good_as_what_stood() -> None:
    """What is shared changes right after a re-flow, and nothing is found: the layout of before does not come back."""
    boxes = tuple(grid(3, 1))
    was = Wall(tuple((x0 + 60, y0, x1 + 60, y1) for x0, y0, x1, y1 in boxes[:2]), None, 0.9, regular=True)
    splitter, lines, search = standing(wall((106, 512), list(boxes)), was, settled=False)
    now = Wall(boxes, None, 0.95, regular=True)
    splitter._await(np.zeros((106, 512, 3), np.uint8), boxes, (now, search), 1.0, sure=True)
    splitter._await(np.zeros((106, 512, 3), np.uint8), (), None, 1.2, sure=False)
    doubtful = Wall(boxes[:2], None, 0.5, regular=True)
    for found in (None, (doubtful, search)):
        kept = splitter._still(lines, found)
        assert kept is not None
        assert kept[0].tiles == boxes
    certain = Wall(boxes[1:], None, 0.95, regular=True)
    assert splitter._still(lines, (certain, search)) is None
    splitter._settle(np.zeros((106, 512, 3), np.uint8), boxes, (now, search), 1.4)
    assert splitter._now.follows is None


def test_what_stood_is_measured_on_its_own_page_too() -> None:
    """The page of what is shared explains the picture, less well than the gallery's own page does."""
    size, tiles, main = strip()
    image = slide(wall(size, tiles), main)
    was = Wall(tuple(tiles), main, 0.9, regular=True)
    splitter, lines, paper = standing(image, was)
    own = Search(PageMask(lines, Page(np.array([[20.0, 0, 0]] * 3))), DEFAULT_GALLERY)
    splitter._now.mask = own.cells.mask
    kept = splitter._still(lines, (Wall(((30, 30, 400, 200), (30, 210, 400, 390)), None, 0.65), paper))
    assert kept is not None
    assert kept[0].tiles == tuple(tiles)
    assert kept[1].cells.mask.page is own.cells.mask.page


def test_one_tile_on_a_page_may_be_a_gallery_on_another() -> None:
    """In motion a layout was taken for one tile between tool bars: all pages are looked at again; else it stays."""
    size, tiles, main = (400, 640), [(140 + 124 * i, 30, 256 + 124 * i, 95) for i in range(3)], (120, 104, 520, 372)
    image = wall(size, [*tiles, main], page=16)
    image[:24] = image[376:] = 30
    lone = Wall(((0, 24, 640, 376),), None, 0.36)
    splitter = GallerySplitter()
    splitter._now.mask, splitter._now.wall = PageMask(Lines(image), Page(np.array([[30.0, 0, 0]] * 3))), lone
    found = splitter._find(Lines(image), known=True)
    assert found is not None
    assert close(found[0].tiles, tiles)
    alone = wall((360, 640), [(60, 40, 580, 320)])
    layouts = run(GallerySplitter(), *[alone] * 12)
    assert {layout.tiles for layout in layouts} == {layouts[0].tiles}
    assert close(layouts[0].tiles, [(60, 40, 580, 320)])


def test_a_gallery_that_turns_into_one_tile_is_looked_at_for_longer() -> None:
    """Tiles in motion look like one for a moment; after 0.8 s it is one."""
    four, one = wall(SIZE_2X2, BOXES_2X2), wall(SIZE_2X2, [(30, 20, 314, 184)])
    layouts = run(GallerySplitter(), *[four] * 3, *[one] * 6)
    assert [layout.settled for layout in layouts[3:]] == [False] * 5 + [True]
    assert close(layouts[-1].tiles, [(30, 20, 314, 184)])
