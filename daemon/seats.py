"""Who sits where in what a source shows: a gallery is split and its people recognised, in a room everybody is known.

No face model is needed for it: this comes before consent.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from daemon.sources.source import Moment
from pipeline.gallery import GallerySplitter
from pipeline.identity import TileIdentity
from pipeline.protocols import FaceSpotter
from pipeline.seating import Seat
from pipeline.types import U8, Box, FaceBoxes, Tile

SPOT_AGAIN_S = 0.15
"""So long after a re-flow faces are looked for again: in the next picture."""
SPOT_EVERY_S = 1.0
"""How often faces are looked for in the whole picture: they tell two people in a tile, and a screen from a person."""


@dataclass(frozen=True, slots=True, eq=False)
class Seats:
    """Who is there in one moment.

    seats: one for each tile; in a room for each participant with a picture. members: all of them, with or without a
    tile. images: of the seats, views of the frame.
    """

    seats: tuple[Seat, ...]
    members: tuple[str, ...]
    images: tuple[U8, ...]
    settled: bool = True

    @property
    def off(self) -> frozenset[str]:
        """Who shows no picture of a camera."""
        shown = {seat.participant for seat in self.seats if seat.has_camera}
        return frozenset(member for member in self.members if member not in shown)

    def tiles(self, readable: frozenset[str]) -> list[Tile]:
        """The tiles of those who may be read."""
        return [
            Tile(seat.participant, seat.xyxy, image)
            for seat, image in zip(self.seats, self.images, strict=True)
            if seat.participant in readable
        ]


class Seating(Protocol):
    """Finds out who sits where, moment by moment: `async with seating: await seating.place(moment)`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def place(self, moment: Moment) -> Seats:
        """Who is there in this moment; moments come in order of time."""

    def forget(self, participant: str) -> None:
        """Drops what is remembered of somebody's look; also before the first moment and after the last."""


class RoomSeating:
    """Every feed is a participant, whom the room knows."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def place(self, moment: Moment) -> Seats:
        """Everybody who is there, whole frames."""
        seats = tuple(
            Seat(frame.source_id, (0, 0, frame.image.shape[1], frame.image.shape[0]), certain=True)
            for frame in moment.frames
        )
        return Seats(seats, moment.feeds, tuple(frame.image for frame in moment.frames))

    def forget(self, participant: str) -> None:
        """Nobody's look is remembered."""


class GalleryFollower:
    """Splits the pictures of one gallery and follows its people; for one thread at a time.

    Args:
        splitter: Finds the tiles.
        identity: Knows the people.
        open_spotter: Makes what finds faces for the splitter; None: faces are not looked for.
    """

    def __init__(
        self, splitter: GallerySplitter, identity: TileIdentity, *, open_spotter: Callable[[], FaceSpotter] | None
    ) -> None:
        self._splitter = splitter
        self._identity = identity
        self._open_spotter = open_spotter
        self._spotter: FaceSpotter | None = None
        self._spot_at_s = -math.inf
        self._tiles: tuple[Box, ...] = ()
        self._settled = False

    def look(self, image: U8, time_s: float) -> Seats:
        """Who is in this (H, W, 3) uint8 RGB picture; pictures come in order of time."""
        faces: FaceBoxes | None = None
        if self._open_spotter is not None and time_s >= self._spot_at_s:
            if self._spotter is None:
                self._spotter = self._open_spotter()
            faces = self._spotter.find_all(image, self._tiles)
            self._spot_at_s = time_s + SPOT_EVERY_S
        layout = self._splitter.update(image, time_s, faces)
        if layout.settled and not (self._settled and len(layout.tiles) == len(self._tiles)):
            # People who share a tile are one until their faces are seen.
            self._spot_at_s = min(self._spot_at_s, time_s + SPOT_AGAIN_S)
        self._tiles, self._settled = layout.tiles, layout.settled
        seats = self._identity.update(image, layout.tiles, time_s, settled=layout.settled, stirred=layout.stirred)
        boxes = (seat.xyxy for seat in seats)
        images = tuple(image[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes)
        return Seats(seats, tuple(seat.participant for seat in seats), images, layout.settled)

    def forget(self, participant: str) -> None:
        """See `TileIdentity.forget`."""
        self._identity.forget(participant)

    def close(self) -> None:
        """Gives the face detector back, and forgets everybody; a session that is over is kept for a while."""
        self._identity.clear()
        if self._spotter is not None:
            self._spotter.close()


class GallerySeating:
    """A gallery's people, found in a thread of their own."""

    def __init__(self, follower: GalleryFollower) -> None:
        self._follower = follower
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gallery")
        self._is_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is in the making ends first.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._follower.close)
        self._is_over = True
        self._thread.shutdown()

    async def place(self, moment: Moment) -> Seats:
        """The people of the gallery; nobody where there is no picture."""
        if not moment.frames:
            return Seats((), (), ())
        [frame, *_] = moment.frames
        look = partial(self._follower.look, frame.image, frame.time_s)
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, look))

    def forget(self, participant: str) -> None:
        """As soon as the picture that is looked at is done; when everything is over nobody is remembered anyway."""
        if not self._is_over:
            # Nobody waits for it: a detector that hangs must not keep somebody from being erased elsewhere.
            self._thread.submit(self._follower.forget, participant)
