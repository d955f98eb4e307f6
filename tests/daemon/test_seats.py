"""Who sits where: when faces are looked for, and whose camera is off."""

from collections.abc import Sequence
from contextlib import closing

import numpy as np
from builders import wall
from cameras import camera, layout, wall_of

from daemon.seats import GalleryFollower, Seats
from pipeline.gallery import GallerySplitter
from pipeline.identity import TileIdentity
from pipeline.seating import Seat
from pipeline.types import U8, Box, FaceBoxes


class Counting:
    """Finds nobody, and notes in how many tiles it looked."""

    def __init__(self) -> None:
        self.looked: list[int] = []

    def find_all(self, image: U8, tiles: Sequence[Box] = ()) -> FaceBoxes:
        """Nobody."""
        assert image.size
        self.looked.append(len(tiles))
        return FaceBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def close(self) -> None:
        """Nothing to give back."""


def test_faces_are_looked_for_once_a_second_and_right_after_a_reflow() -> None:
    """Two people who share a tile are one until then: nobody waits a second for it."""
    spotter = Counting()
    with closing(GalleryFollower(GallerySplitter(), TileIdentity("s"), open_spotter=lambda: spotter)) as follower:
        looks = []
        for number in range(20):
            tiles = layout(2, 1) if number < 12 else layout(2, 2)
            people = range(len(tiles))
            seats = follower.look(wall_of([camera(who, number) for who in people], tiles), number / 5)
            looks.append((number, len(seats.seats), seats.settled, len(spotter.looked)))
    settled = next(number for number, n, is_settled, _ in looks if n == 4 and is_settled)
    before, at, after = (looks[settled + k][3] for k in (-1, 0, 1))
    assert after == at + 1
    assert before <= at
    assert spotter.looked[after - 1] == 4
    # Otherwise once a second: at 0 s, right after the first layout, at 1.2 s, 2.2 s.
    assert [seen for *_, seen in looks[:12]] == [1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4]


def test_who_shows_no_picture_has_the_camera_off() -> None:
    """In a room whoever is there without a seat, in a gallery whose tile has a name alone."""
    image = wall((20, 20), [])
    seats = (Seat("a", (0, 0, 20, 20), certain=True), Seat("b", (0, 0, 20, 20), certain=True, has_camera=False))
    assert Seats(seats, ("a", "b", "c"), (image, image)).off == {"b", "c"}
