"""Ids follow the people: in an unchanged layout, through re-flows, and when people leave and come back."""

import json
import re
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from calls import FOUR, NINE, TWO, TWO_SIZE, Call, P, mixed
from cameras import avatar, camera, layout, shown, wall_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.appearance import look_at
from pipeline.identity import TileIdentity
from pipeline.places import WALL, on_picture
from pipeline.seating import pseudonym
from pipeline.types import U8, Box


@given(st.text(), st.integers(0, 10**6))
def test_a_pseudonym_says_nothing(seed: str, index: int) -> None:
    """It is `p-` and eight hexadecimal digits, whatever it is made from."""
    assert re.fullmatch(r"p-[0-9a-f]{8}", pseudonym(seed, index))
    assert pseudonym(seed, index) != pseudonym(seed + "x", index)


def test_ids_follow_the_order_of_appearance() -> None:
    """The first layout gives the first ids, top left first, and everybody is certain."""
    call = Call()
    assert call.show([0, 1, 2, 3], FOUR) == P[:4]
    assert all(call.certain)


def test_nobody_is_an_answer() -> None:
    """No tiles, no seats; who was there before is known again afterwards."""
    call = Call()
    assert call.show([], []) == []
    assert call.show([], []) == []
    assert call.show([0], [TWO[0]]) == P[:1]
    assert call.show([], []) == []
    assert call.show([0], [TWO[1]]) == P[:1]


def test_in_an_unchanged_layout_nobody_changes() -> None:
    """Ids and certainty stay while people move, in whatever order tiles come and whatever the resolution is."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR)
    for _ in range(20):
        assert call.show([0, 1, 2, 3], FOUR) == P[:4]
        assert all(call.certain)
    assert call.show([3, 2, 1, 0], FOUR[::-1]) == P[3::-1]
    assert all(call.certain)
    small = layout(2, 2, size=(320, 180), gutter=3)
    seats = call.identity.update(
        wall_of([camera(i, 20) for i in range(4)], small, size=(320, 180)), small, 5.0, settled=True
    )
    assert [seat.participant for seat in seats] == P[:4]
    assert all(seat.certain for seat in seats)


@given(st.integers(0, 500), st.permutations(range(6)), st.integers(2, 6), st.sampled_from(["crop", "fit"]))
@settings(max_examples=40)
def test_ids_follow_people_through_a_reflow(first: int, order: list[int], n_after: int, cover: str) -> None:
    """Into any order, of larger or smaller tiles, cropped or letterboxed, some of them gone: everybody at once."""
    call = Call()
    call.show([first + i for i in range(6)], layout(3, 2), looks=3)
    tiles = layout(2, (n_after + 1) // 2)[:n_after]
    pictures = [camera(first + i, 3) for i in order[:n_after]]
    seats = call.identity.update(wall_of(pictures, tiles, cover=cover == "crop"), tiles, 0.8, settled=True)
    assert [seat.participant for seat in seats] == [P[i] for i in order[:n_after]]
    assert all(seat.certain for seat in seats)


def test_people_who_change_places_in_an_unchanged_grid_are_noticed() -> None:
    """Both pictures jump, each to where the other was."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR, looks=5)
    assert call.show([0, 2, 1, 3], FOUR) == [P[0], P[2], P[1], P[3]]
    assert all(call.certain)
    assert call.show([2, 0, 1, 3], FOUR, looks=4) == [P[2], P[0], P[1], P[3]]


def test_who_jumps_while_others_change_places_stays() -> None:
    """Of three pictures that jump at once two match crosswise; the third person is where they were."""
    call = Call()
    call.show(range(9), NINE, looks=5)
    assert call.show([0, 2, 1, 40, *range(4, 9)], NINE) == [P[0], P[2], P[1], *P[3:9]]
    assert call.certain == [True, True, True, False, *[True] * 5]


def test_a_speaker_and_a_small_tile_change_places() -> None:
    """Also where tiles differ in size and shape."""
    tiles: list[Box] = [(0, 0, 480, 360), (490, 0, 640, 84), (490, 90, 640, 174)]
    call = Call()
    call.show([0, 1, 2], tiles, looks=5)
    assert call.show([2, 1, 0], tiles) == [P[2], P[1], P[0]]


def test_others_who_move_up_are_followed_and_the_last_is_new() -> None:
    """One left, the next moved to their place, and somebody new came at the end, all in one picture."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR, looks=5)
    assert call.show([0, 2, 3, 9], FOUR) == [P[0], P[2], P[3], P[4]]
    assert call.certain == [True, True, True, False]
    assert call.show([0, 2, 3, 9], FOUR, looks=6) == [P[0], P[2], P[3], P[4]]
    assert all(call.certain)


def test_a_light_switched_on_is_no_swap() -> None:
    """The same person, certain throughout."""
    call = Call()
    call.show([0, 1], TWO, looks=3)
    dark = (camera(0, 3) * 0.55).astype(np.uint8)
    assert call.show([dark, 1], TWO) == P[:2]
    assert all(call.certain)


def test_a_new_background_keeps_the_id() -> None:
    """Somebody before another wall, all of a sudden, is who they were."""
    call = Call()
    call.show([0, 1], TWO, looks=3)
    virtual = camera(30, 3)
    virtual[10:, 90:230] = camera(0, 3)[10:, 90:230]
    assert call.show([virtual, 1], TWO, looks=8) == P[:2]
    assert call.certain == [True, True]


def test_somebody_else_in_an_old_place_is_uncertain_and_then_new() -> None:
    """One picture of an unchanged layout jumps to another room and another person, and stays."""
    call = Call()
    call.show([0, 1], TWO, looks=8)
    assert call.show([30, 1], TWO) == P[:2]
    assert call.certain == [False, True]
    assert call.show([30, 1], TWO, looks=5) == [P[2], P[1]]
    assert call.certain == [True, True]
    assert call.show([1, 0], FOUR[:2]) == P[1::-1]


def test_who_shakes_the_camera_is_nobody_else() -> None:
    """A picture that never stands still says nothing about who it is of: the place decides."""
    call = Call()
    call.show([0, 1], TWO, looks=8)
    for other in range(30, 42):
        assert call.show([other, 1], TWO) == P[:2]


def test_a_camera_switched_on_for_the_first_time_keeps_the_id() -> None:
    """Who was initials only may look like anything."""
    call = Call()
    call.show([avatar(0, TWO_SIZE), 1], TWO, looks=8)
    assert call.show([0, 1], TWO, looks=8) == P[:2]
    assert call.certain == [True, True]


def test_a_moment_of_something_else_passes() -> None:
    """Certain again as soon as the picture is the one from before."""
    call = Call()
    call.show([0, 1], TWO, looks=3)
    call.show([30, 1], TWO)
    assert call.certain == [False, True]
    assert call.show([0, 1], TWO) == P[:2]
    assert call.certain == [True, True]


def test_a_camera_switched_off_and_on_keeps_the_id() -> None:
    """The place decides, and who has no picture need not be doubted."""
    call = Call()
    call.show([0, 1], TWO, looks=3)
    assert call.show([avatar(0, TWO_SIZE), 1], TWO, looks=3) == P[:2]
    assert call.certain == [True, True]
    assert call.show([0, 1], TWO) == P[:2]
    assert call.certain == [True, True]


def test_a_camera_switched_off_as_tiles_come_and_go_is_doubted() -> None:
    """Somebody's place may be page around a tile that grows: the id stays, but no agreement."""
    call = Call()
    call.show([0, 1], TWO, looks=8)
    image = wall_of([avatar(0, TWO_SIZE), camera(1)], TWO)
    for n in range(8):
        seats = call.identity.update(image, TWO, 1.6 + n / 5, settled=True, stirred=n < 4)
        assert [seat.participant for seat in seats] == P[:2]
        assert [seat.certain for seat in seats] == [n > 3, True]
        assert [seat.assumed for seat in seats] == [n > 3, 0]


def test_who_comes_without_a_camera_in_another_layout_is_new() -> None:
    """In the place of somebody who left, nothing is seen of them: they have neither the id nor what was said of it."""
    call = Call()
    call.show([0, 1], TWO, looks=8)
    call.show([0, 1], TWO, settled=False)
    assert call.show([avatar(30, TWO_SIZE), 1], TWO, looks=8) == [P[2], P[1]]
    assert call.certain == [True, True]


def test_a_doubt_ends_though_the_picture_never_stands() -> None:
    """Who shows a film while the layout stirs is uncertain for three seconds, not for as long as both go on."""
    call = Call()
    call.show([0, 1], TWO, looks=8)
    tiles = TWO
    certain = []
    for n in range(40):
        image = wall_of([camera(30 + n), camera(1, n)], tiles)
        seats = call.identity.update(image, tiles, 1.6 + n / 5, settled=True, stirred=True)
        certain.append(seats[0].certain)
    assert not any(certain[:14])
    assert certain[14:].count(True) > 0


def test_a_tile_with_a_name_alone_has_no_camera() -> None:
    """Which of two cameras is off is known at once after a re-flow, and within a second in a layout that stands."""
    call = Call()
    call.show([avatar(0, TWO_SIZE), 1], TWO)
    assert [seat.has_camera for seat in call.seats] == [False, True]
    call.show([0, avatar(1, TWO_SIZE)], TWO, looks=5)
    assert [seat.has_camera for seat in call.seats] == [True, False]
    call.show([0, avatar(1, TWO_SIZE)], TWO, settled=False)
    assert [seat.has_camera for seat in call.seats] == [True, False]


def test_avatars_are_followed_through_a_reflow() -> None:
    """Colour and letters are what somebody looks like whose camera is off."""
    call = Call()
    size = (FOUR[0][2] - FOUR[0][0], FOUR[0][3] - FOUR[0][1])
    off = [avatar(i, size) for i in range(2)]
    call.show([off[0], 1, off[1], 3], FOUR, looks=3)
    assert call.show([1, 3, off[1], off[0], 7], NINE[:5]) == [P[1], P[3], P[2], P[0], P[4]]


def test_who_leaves_is_known_again_and_nobody_inherits_the_place() -> None:
    """A newcomer in the old place is new; the one who was there comes back elsewhere with the old id."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR, looks=8)
    assert call.show([0, 1, 2], FOUR[:3], looks=30) == P[:3]
    assert call.show([0, 1, 2, 8], FOUR) == [*P[:3], P[4]]
    assert call.certain == [True, True, True, False]
    assert call.show([0, 1, 2, 8], FOUR, looks=8) == [*P[:3], P[4]]
    assert all(call.certain)
    assert call.show([3, 0, 1, 2, 8], NINE[:5]) == [P[3], *P[:3], P[4]]


def test_another_page_of_a_large_call_shows_other_people() -> None:
    """All pictures jump at once, in an unchanged layout or after an unsettled one; turning back finds all again."""
    call = Call()
    call.show(range(4), FOUR, looks=5)
    assert call.show(range(10, 14), FOUR) == P[4:8]
    assert not any(call.certain)
    assert call.show(range(10, 14), FOUR, looks=6) == P[4:8]
    assert all(call.certain)
    assert call.show(range(10, 14), FOUR, settled=False) == P[4:8]
    assert call.show(range(4), FOUR) == P[:4]


def test_while_a_layout_is_not_settled_nobody_is_certain_and_nothing_is_learned() -> None:
    """Ids stay with the places; tiles nobody sat in have the ids they would get, without using them up."""
    call = Call(fixed={5: P[1]})
    assert call.show([0, 1], TWO, settled=False) == [P[0], P[2]]
    assert call.certain == [False, False]
    assert call.show([0, 1], TWO, looks=3) == [P[0], P[2]]
    assert call.show([5, 6], TWO, settled=False) == [P[0], P[2]]
    assert call.show([7, 8, 9], NINE[:3], settled=False) == P[3:6]
    assert call.show([1, 0], TWO) == [P[2], P[0]]
    assert all(call.certain)


def test_a_tile_split_in_two_keeps_its_id_for_one_of_them() -> None:
    """Two people before one camera; the same when the parts are one tile again."""
    call = Call()
    call.show([0, 1], TWO, looks=5)
    x0, y0, x1, y1 = TWO[0]
    parts: list[Box] = [(x0, y0, (x0 + x1) // 2, y1), ((x0 + x1) // 2, y0, x1, y1), TWO[1]]
    image = wall_of([camera(0, 4), camera(1, 4)], TWO)
    split = [[s.participant for s in call.identity.update(image, parts, 1 + t / 5, settled=True)] for t in range(6)]
    assert P[0] in split[-1][:2]
    assert split[-1] == split[0]
    assert split[-1][2] == P[1]
    assert split[-1].count(P[2]) == 1
    whole = call.identity.update(image, TWO, 2.2, settled=True)
    assert [seat.participant for seat in whole] == P[:2]


def test_a_tile_cut_out_anew_is_no_reflow() -> None:
    """The camera's picture without its bars is the same tile, also while somebody moves a lot in another."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR, looks=5)
    x0, y0, x1, y1 = FOUR[0]
    image = wall_of([camera(0, 4), camera(1, 4), camera(2, 4), camera(40)], FOUR)
    seats = call.identity.update(image, [(x0 + 30, y0, x1 - 30, y1), *FOUR[1:]], 1.0, settled=True)
    assert [seat.participant for seat in seats] == P[:4]
    assert [seat.certain for seat in seats] == [True, True, True, False]


def test_somebody_who_grows_in_the_place_of_somebody_is_new() -> None:
    """While tiles come and go a doubt begins with every picture that is unlike the one before."""
    x0, y0, x1, y1 = TWO[0]
    for who, expected in ((30, P[2]), (0, P[0])):
        identity = TileIdentity("seed")
        for n in range(20):
            grown = min(3, n - 7)
            image = wall_of([camera(0, n), camera(1, n)], TWO)
            if n >= 8:
                image[y0:y1, x0:x1] = 15
                a, b = (x1 - x0) * (3 - grown) // 8, (y1 - y0) * (3 - grown) // 8
                image[y0 + b : y1 - b, x0 + a : x1 - a] = shown(camera(who, n), (x1 - x0 - 2 * a, y1 - y0 - 2 * b))
            seats = identity.update(image, TWO, n / 5, settled=True, stirred=8 <= n < 12)
            if n == 13:
                assert [seat.participant for seat in seats] == P[:2]
                assert [seat.certain for seat in seats] == [who == 0, True]
        assert [seat.participant for seat in seats] == [expected, P[1]]
        assert all(seat.certain for seat in seats)


def test_two_who_look_the_same_are_uncertain() -> None:
    """Nobody can tell one black tile from another: an id each, none certain, until they stood for a while."""
    call = Call()
    call.show([0, 0, 2], NINE[:3], looks=3)
    seen = call.show([2, 0, 0], layout(2, 2)[:3])
    assert seen[0] == P[2]
    assert set(seen) == set(P[:3])
    assert call.certain == [True, False, False]
    assert call.show([2, 0, 0], layout(2, 2)[:3], looks=6) == seen
    assert all(call.certain)


def test_a_layout_that_settled_too_early_is_mended() -> None:
    """Two of the tiles are still in motion in the first picture; whose they are is found in the second."""
    call = Call()
    call.show([0, 1, 2, 3], NINE[:4], looks=5)
    first = call.show([3, 2, mixed(20, 21, 0.5), 0], FOUR)
    assert first == [P[3], P[2], P[4], P[0]]
    assert call.certain == [True, True, False, True]
    assert call.show([3, 2, 1, 0], FOUR) == [P[3], P[2], P[1], P[0]]
    assert all(call.certain)


def test_who_was_taken_for_another_gives_the_id_back() -> None:
    """A tile that resembled somebody in the first picture turns out to be new, for the other one is in the next."""
    call = Call()
    call.show([0, 1, 2, 3], NINE[:4], looks=5)
    first = call.show([2, 3, mixed(0, 20, 0.6), mixed(0, 22, 0.55), 1], NINE[4:])
    assert first[2] == P[0]
    assert call.certain == [True, True, False, False, True]
    after = call.show([2, 3, 20, 0, 1], NINE[4:])
    assert (after[0], after[1], after[3], after[4]) == (P[2], P[3], P[0], P[1])
    assert after[2] not in P[:4]


def test_of_two_tiles_that_resemble_somebody_the_better_is_theirs() -> None:
    """Which one it is shows in the second picture; the other one is somebody new."""
    call = Call()
    call.show([0, 1, 2, 3], NINE[:4], looks=5)
    first = call.show([2, 3, mixed(0, 20, 0.6), mixed(0, 22, 0.55), 1], NINE[4:])
    assert first[2] == P[0]
    after = call.show([2, 3, mixed(0, 20, 0.25), mixed(0, 22, 0.8), 1], NINE[4:])
    assert (after[0], after[1], after[3], after[4]) == (P[2], P[3], P[0], P[1])
    assert after[2] not in P[:4]


def test_fixed_tiles_are_whose_the_configuration_says() -> None:
    """By the tile's index; the others are called by order of appearance, and never by a fixed name."""
    call = Call(fixed={1: "p-host", 2: P[0]})
    assert call.show([0, 1, 2, 3], FOUR) == [P[1], "p-host", P[0], P[2]]
    assert call.show([3, 2, 1, 0], FOUR) == [P[2], "p-host", P[0], P[1]]
    assert all(call.certain)
    call.show([3, 2, 1, 0], FOUR, settled=False)
    assert not any(call.certain)


@pytest.mark.parametrize("name", ["meeting_2x2", "sessions/meeting_personal_2x2"])
def test_in_real_meetings_nobody_is_ever_taken_for_another(dev_data: Path, name: str) -> None:
    """Two pictures per second for twenty seconds, with the true tiles: no switch and no doubt."""
    tiles = json.loads((dev_data / f"{name}.json").read_text())["layout"][0]["tiles"]
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (tile["rect"] for tile in tiles)]
    identity = TileIdentity("seed")
    with av.open(str(dev_data / f"{name}.mp4")) as container:
        for number, frame in enumerate(islice(container.decode(video=0), 500)):
            if number % 12 == 0:
                seats = identity.update(frame.to_ndarray(format="rgb24"), boxes, number / 25, settled=True)
                assert [(seat.participant, seat.certain) for seat in seats] == [(p, True) for p in P[:4]]


def test_a_place_at_the_edge_lies_in_a_tiny_picture() -> None:
    """The last hundredth of a wall on a picture of twelve pixels is its last pixel, and not the one beyond."""
    edge = (round(0.99 * WALL), round(0.99 * WALL), WALL, WALL)
    assert on_picture(edge, (12, 12)) == (11, 11, 12, 12)
    assert on_picture((0, 0, WALL, WALL), (1, 1)) == (0, 0, 1, 1)


def barred(who: int, moment: int = 0) -> U8:
    """An upright picture between black bars."""
    picture = camera(who, moment) // 4 + 120
    picture[:, :92] = picture[:, 228:] = 0
    return picture


def test_people_between_bars_who_change_places_are_noticed() -> None:
    """Bars make their pictures alike all over; what is in the middle jumps, each to where the other was."""
    call = Call()
    call.show([barred(5), barred(9), 2, 3], FOUR, looks=5)
    assert call.show([barred(9), barred(5), 2, 3], FOUR) == [P[1], P[0], P[2], P[3]]


def test_somebody_who_comes_slowly_where_another_was_is_new() -> None:
    """Their tile grows from its middle: no picture jumps by much, but the layout did not fit for a moment."""
    call = Call()
    call.show([barred(5), 1, 2, 3], FOUR, looks=7)
    small = np.full((180, 320, 3), 15, np.uint8)
    small[45:135, 80:240] = camera(9)[::2, ::2]
    for picture in (small, camera(9), camera(9, 1)):
        tiles = wall_of([picture, *(camera(i, call.n) for i in (1, 2, 3))], FOUR)
        call.identity.update(tiles, FOUR, call.n / 5, settled=True, stirred=True)
        call.n += 1
    first, *others = call.show([9, 1, 2, 3], FOUR, looks=6)
    assert first not in P[:4]
    assert others == P[1:4]
    assert all(call.certain)


@pytest.mark.parametrize(("whole", "after"), [(1.0, [0, 1]), (0.5, [1, 0])])
def test_who_is_not_as_they_were_is_not_held_by_another_crop(whole: float, after: list[int]) -> None:
    """Two look alike at some scale, by more than what a swap must gain; but neither whole picture is as it was."""
    call = Call()
    alike = [mixed(1, 2, 0.35), mixed(1, 2, 0.65)]
    call.show([*alike, 3, 4], FOUR, looks=3)
    looks = look_at(wall_of([*alike[::-1], camera(3), camera(4)], FOUR), FOUR)
    call.identity._exchange(looks, [0, 1], np.full(2, whole), 0.6)
    assert [place.person.name for place in call.identity._places] == [P[after[0]], P[after[1]], P[2], P[3]]
