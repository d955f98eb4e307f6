"""Another name below a tile is somebody else; a name says nothing where it may stand elsewhere."""

import numpy as np
import pytest
from calls import FOUR, NINE, TWO, TWO_SIZE, Call, P, mixed, named
from cameras import avatar, camera, lettered, wall_of

from pipeline.identity import TileIdentity
from pipeline.types import Box


def test_another_name_below_another_picture_is_somebody_else() -> None:
    """Who comes in the place of somebody who leaves looks a little like them; with the same name it is them."""
    for name, who in ((5, [P[2], P[1]]), (3, P[:2])):
        call = Call()
        call.show([named(camera(0), 3), 1], TWO, looks=12)
        assert call.show([named(mixed(0, 20, 0.4), name), 1], TWO) == P[:2]
        assert call.certain == [name == 3, True]
        assert call.show([named(mixed(0, 20, 0.4), name), 1], TWO, looks=5) == who
        assert all(call.certain)


@pytest.mark.parametrize("share", [0.45, 0.5])
@pytest.mark.parametrize("looks", [12, 20])
def test_a_reflow_before_changes_nothing_of_what_a_name_says(share: float, looks: int) -> None:
    """Who is alike enough to be found after a re-flow does not get the id, where another name stands now."""
    call = Call()
    call.show([0, 1], FOUR[:2], looks=6)
    call.show([named(camera(0), 3), 1], TWO, looks=looks)
    for _ in range(4):
        assert call.show([named(mixed(0, 20, share), 5), 1], TWO) == P[:2]
        assert call.certain == [False, True]
    assert call.show([named(mixed(0, 20, share), 5), 1], TWO, looks=2) == [P[2], P[1]]
    assert all(call.certain)


def test_another_name_in_an_old_place_is_seen_through_a_reflow() -> None:
    """Also where the layout was taken for another one in between; after that nothing is kept of what was written."""
    for name in (5, 3):
        call = Call()
        call.show([named(camera(0), 3), 1], TWO, looks=12)
        call.show([2, 3, 4], NINE[:3])
        call.show([named(mixed(0, 20, 0.5), name), 1], TWO)
        assert call.certain[0] == (name == 3)
        call.show([named(mixed(0, 20, 0.5), name), 1], TWO, looks=6)
        assert (call.seats[0].participant == P[0]) == (name == 3)
        assert all(call.certain)
        call.show([1], TWO[1:], looks=20)
        assert not any(
            person.captions for person in call.identity._people.values() if person.name != call.seats[0].participant
        )


def test_another_room_and_partly_another_name_is_somebody_else() -> None:
    """Who has the same middle, and the same microphone beside the name, has another's id only while tiles come and go."""
    virtual = camera(30)
    virtual[10:, 130:190] = camera(0)[10:, 130:190]
    partly, same = named(virtual, 5), named(virtual, 3)
    partly[:, :38] = same[:, :38]
    for after, who in ((partly, P[2]), (same, P[0])):
        identity = TileIdentity("seed")
        for n in range(20):
            image = wall_of([named(camera(0), 3) if n < 12 else after, camera(1, n)], TWO)
            seats = identity.update(image, TWO, n / 5, settled=True, stirred=12 <= n < 14)
            if n == 12:
                assert [(seat.participant, seat.certain) for seat in seats] == [(P[0], False), (P[1], True)]
        assert [(seat.participant, seat.certain) for seat in seats] == [(who, True), (P[1], True)]


def test_print_all_over_a_large_tile_is_no_error() -> None:
    """A page of letters fills the one tile there is, and another one is there then."""
    tile: Box = (0, 0, 1920, 1080)
    identity = TileIdentity("seed")
    rng = np.random.default_rng(3)
    pages = [
        np.where(rng.random((1080, 1920, 1)) < 0.5, np.uint8(255), np.uint8(0)).repeat(3, axis=2) for _ in range(2)
    ]
    for number in range(20):
        [seat] = identity.update(pages[number > 12], [tile], number / 5, settled=True)
    assert (seat.participant, seat.certain) == (P[1], True)


def test_another_name_says_nothing_while_a_layout_is_new() -> None:
    """What stands still has to be seen twice, a second apart."""
    call = Call()
    call.show([named(camera(0), 3), 1], TWO, looks=4)
    assert call.show([named(mixed(0, 20, 0.4), 5), 1], TWO, looks=6) == P[:2]


def test_who_switches_the_camera_on_may_have_the_name_elsewhere() -> None:
    """A tile without a picture has it in another place."""
    call = Call()
    call.show([lettered(avatar(0, TWO_SIZE), (0, -30, TWO_SIZE[0], TWO_SIZE[1] - 8), 3), 1], TWO, looks=12)
    assert call.show([named(camera(0), 3), 1], TWO, looks=6) == P[:2]
    assert all(call.certain)
