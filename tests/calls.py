"""Calls for tests of identity: made-up cameras, looked at five times per second."""

from collections.abc import Sequence

import numpy as np
from cameras import camera, layout, lettered, shown, wall_of

from pipeline.identity import TileIdentity
from pipeline.seating import Seat, pseudonym
from pipeline.types import U8, Box

P = [pseudonym("seed", i) for i in range(60)]
"""The ids of such a call, in the order of appearance."""
TWO, FOUR, NINE = layout(2, 1), layout(2, 2), layout(3, 3)
TWO_SIZE = (TWO[0][2] - TWO[0][0], TWO[0][3] - TWO[0][1])


class Call:
    """A call whose picture is looked at five times per second."""

    def __init__(self, **options: object) -> None:
        self.identity = TileIdentity("seed", **options)
        self.n = 0

    def show(self, people: Sequence[int | U8], tiles: list[Box], *, looks: int = 1, settled: bool = True) -> list[str]:
        """Shows these cameras, or pictures, in these tiles; who sat there in the last look."""
        for _ in range(looks):
            pictures = [camera(who, self.n) if isinstance(who, int) else who for who in people]
            self.seats: tuple[Seat, ...] = self.identity.update(
                wall_of(pictures, tiles), tiles, self.n / 5, settled=settled
            )
            self.n += 1
            assert [seat.xyxy for seat in self.seats] == tiles
            assert len({seat.participant for seat in self.seats}) == len(tiles)
        return [seat.participant for seat in self.seats]

    @property
    def certain(self) -> list[bool]:
        """Whether each tile's participant was certain in the last look."""
        return [seat.certain for seat in self.seats]


def named(picture: U8, name: int) -> U8:
    """The tile of somebody with a name in it."""
    tile = shown(picture, TWO_SIZE)
    return lettered(tile, (0, 0, *TWO_SIZE), name)


def mixed(a: int, b: int, share: float) -> U8:
    """A picture between those of two cameras."""
    return (share * camera(a, 5) + (1 - share) * camera(b, 5)).astype(np.uint8)
