"""Pseudonyms."""

import re

from builders import grid
from hypothesis import given
from hypothesis import strategies as st

from pipeline.identity import TileIdentity, pseudonym

LEFT, RIGHT = grid(2, 1)
SIZE = (344, 106)


def test_pseudonyms_follow_the_order_of_appearance() -> None:
    """The same seed gives the same ids in the order of the tiles, another seed gives others."""
    assert (pseudonym("seed", 0), pseudonym("seed", 1)) == TileIdentity("seed").assign([LEFT, RIGHT], SIZE)
    assert pseudonym("seed", 0) != pseudonym("other", 0)


@given(st.text(), st.integers(0, 10**6))
def test_a_pseudonym_says_nothing(seed: str, index: int) -> None:
    """It is `p-` and eight hexadecimal digits, whatever it is made from."""
    assert re.fullmatch(r"p-[0-9a-f]{8}", pseudonym(seed, index))


def test_the_same_place_is_the_same_participant() -> None:
    """A tile that moved by a few pixels keeps its id, in whatever order tiles come."""
    identity = TileIdentity("seed")
    left, right = identity.assign([LEFT, RIGHT], SIZE)
    moved = (LEFT[0] + 3, LEFT[1], LEFT[2] + 3, LEFT[3])
    assert (right, left) == identity.assign([RIGHT, moved], SIZE)


def test_who_comes_back_to_a_place_is_known() -> None:
    """A participant who was gone and returns to the same place has the id from before."""
    identity = TileIdentity("seed")
    left, right = identity.assign([LEFT, RIGHT], SIZE)
    assert (left,) == identity.assign([LEFT], SIZE)
    assert (left, right) == identity.assign([LEFT, RIGHT], SIZE)


def test_two_tiles_never_share_a_participant() -> None:
    """Of two tiles over one old place the better fit keeps the id, the other is new."""
    identity = TileIdentity("seed")
    (old,) = identity.assign([(0, 0, 100, 100)], SIZE)
    first, second = identity.assign([(0, 0, 100, 80), (0, 0, 100, 99)], SIZE)
    assert second == old
    assert first == pseudonym("seed", 1)


def test_another_resolution_is_the_same_place() -> None:
    """The same tiles in a picture of twice the size are the same participants."""
    identity = TileIdentity("seed")
    before = identity.assign([LEFT, RIGHT], SIZE)
    larger = [tuple(2 * side for side in box) for box in (LEFT, RIGHT)]
    assert before == identity.assign(larger, (688, 212))
