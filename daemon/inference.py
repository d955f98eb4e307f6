"""Faces of a frame → readings, on threads of its own: the event loop never computes.

Each participant has a face tracker, used by one thread at a time; the two models read all faces of a frame at
once. Cancelling does not stop a thread, so leaving the context waits for what is in flight.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import numpy as np

from models.pixel import face_crop
from pipeline.emotions import F32
from pipeline.interpretable import N_INTERPRETABLE, interpretable_features
from pipeline.landmarks import head_pose
from pipeline.protocols import FaceTracker, LandmarkModel, PixelModel
from pipeline.quality import FACE_MIN_PX, frame_quality, sharpness
from pipeline.types import U8, Crop, Expressions, FaceEvidence, FaceReading, Tile

if TYPE_CHECKING:
    from models.personal.serving import ServedHead

T = TypeVar("T")
A = TypeVar("A")

Watch = Callable[[str, float, Sequence[str], F32], None]
"""Is shown a session, a time, participants and their (n, 468, 3) meshes, in the same order."""
Found = tuple[U8, F32, float]
"""Crop for the pixel model, mesh and quality of a face."""
_UNREAD: F32 = np.full((1, N_INTERPRETABLE), np.nan, dtype=np.float32)
MAX_TRACKERS = 64
"""Trackers of a session kept at most, about 19 MB each; who was not seen for longest goes first."""
IDLE_S = 30.0
"""And none is kept of whom nothing was seen for so long, or who is known to have left: most never come back."""
MAX_SPARE = 16
"""Trackers that wait for whoever comes next: MediaPipe keeps a megabyte of each one that is closed."""
_BLANK: U8 = np.zeros((64, 64, 3), dtype=np.uint8)
"""After a picture without a face a tracker knows nothing of the one before."""


class _Serving:
    """Personal heads of a session; what is asked for within a second holds from the next one on."""

    def __init__(self, *, crops: bool) -> None:
        self.crops = crops
        self.heads: dict[str, ServedHead] = {}
        self.asked: dict[str, ServedHead | None] = {}
        self.second: int | None = None

    def of(self, time_s: float) -> dict[str, "ServedHead"]:
        """The heads of that time."""
        if self.second != math.floor(time_s):
            self.second = math.floor(time_s)
            for participant, head in self.asked.items():
                self.heads.pop(participant, None)
                if head is not None:
                    self.heads[participant] = head
            self.asked.clear()
        return self.heads


class FaceReader:
    """Reads what the faces of tiles express: `async with FaceReader(...) as reader: await reader.read(...)`.

    Args:
        open_tracker: Makes the tracker of a new participant.
        pixel: The model that reads pictures.
        landmark: The model that reads meshes.
        workers: Threads that find faces.
        observe: Is told what each stage of a frame took, in seconds: `faces`, `pixel`, `landmark`.
        watch: Is shown the meshes of every frame, on the event loop; keeps none of them.
    """

    def __init__(
        self,
        *,
        open_tracker: Callable[[], FaceTracker],
        pixel: PixelModel,
        landmark: LandmarkModel,
        workers: int,
        observe: Callable[[str, float], None],
        watch: Watch = lambda *_: None,
    ) -> None:
        self._open_tracker = open_tracker
        self._pixel = pixel
        self._landmark = landmark
        self._observe = observe
        self._watch = watch
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="faces")
        self._trackers: dict[str, dict[str, tuple[FaceTracker, float]]] = {}
        self._spare: list[FaceTracker] = []
        self._serving: dict[str, _Serving] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        for session in [*self._trackers, *self._serving]:
            self.forget(session)
        for tracker in self._spare:
            tracker.close()
        self._spare.clear()

    def personalise(self, session: str, *, crops: bool = False) -> None:
        """Readings of this session come with their evidence, and may be by personal heads, until it is forgotten.

        crops: Whether the evidence holds the picture as well.
        """
        self._serving[session] = _Serving(crops=crops)

    def set_head(self, session: str, participant: str, head: "ServedHead | None") -> None:
        """From the next whole second on this head reads the participant; None: the generic ones do.

        Nothing happens where the session is not personalised, or over.
        """
        if session in self._serving:
            self._serving[session].asked[participant] = head

    async def read(
        self, session: str, time_s: float, tiles: Sequence[Tile], members: Collection[str] | None = None
    ) -> tuple[list[FaceReading], tuple[str, ...]]:
        """Readings of the tiles in which a face was found, in their order, and whose face is too small to be read.

        members: who is in the call, shown or not, where that is known; whoever is not has no tracker any more.
        """
        began = time.perf_counter()
        [finds] = await self._together(lambda: self._finds(session, time_s, tiles, members))
        found = await self._together(*finds)
        self._observe("faces", time.perf_counter() - began)
        seen = [(tile, *face) for tile, face in zip(tiles, found, strict=True) if isinstance(face, tuple)]
        small = tuple(tile.participant for tile, face in zip(tiles, found, strict=True) if face == "small")
        if not seen:
            return [], small
        crops, meshes = np.stack([crop for _, crop, _, _ in seen]), np.stack([mesh for _, _, mesh, _ in seen])
        self._watch(session, time_s, [tile.participant for tile, _, _, _ in seen], meshes)
        pixel, landmark = await self._together(
            lambda: self._timed("pixel", self._pixel.predict, crops),
            lambda: self._timed("landmark", self._landmark.predict, meshes),
        )
        readings = [
            FaceReading(tile.participant, time_s, quality, pixel.pool[i], landmark.pool[i])
            for i, (tile, _, _, quality) in enumerate(seen)
        ]
        serving = self._serving.get(session)
        if serving is not None:
            heads, embeddings = serving.of(time_s), (pixel.embeddings, landmark.embeddings)
            if not heads.keys().isdisjoint(reading.participant for reading in readings):
                [readings] = await self._together(lambda: _personal(readings, heads, *embeddings, meshes))
            rows = zip(*embeddings, meshes, crops, strict=True)
            # Copies: some are kept for a minute, and a view of one face keeps those of everybody.
            readings = [
                replace(
                    reading,
                    evidence=FaceEvidence(
                        pixels.copy(), points.copy(), mesh.copy(), crop.copy() if serving.crops else None
                    ),
                )
                for reading, (pixels, points, mesh, crop) in zip(readings, rows, strict=True)
            ]
        return readings, small

    def forget(self, session: str) -> None:
        """Gives the trackers of a session back, when it has ended and none of them is in use."""
        self._serving.pop(session, None)
        for tracker, _ in self._trackers.pop(session, {}).values():
            self._give_back(tracker)

    def _give_back(self, tracker: FaceTracker) -> None:
        """For the next who comes, where not too many wait."""
        if len(self._spare) < MAX_SPARE:
            self._spare.append(tracker)
        else:
            tracker.close()

    def _tracker(self) -> FaceTracker:
        """One that knows of nobody."""
        try:
            tracker = self._spare.pop()
        except IndexError:
            return self._open_tracker()
        tracker.find(_BLANK)
        return tracker

    async def _together(self, *work: Callable[[], T]) -> list[T]:
        """Does all of it on the threads; cancelled or failed, nothing is left running when this is over."""
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(self._threads, do) for do in work]
        try:
            return await asyncio.shield(asyncio.gather(*futures))
        finally:
            # A thread cannot be cancelled, and what it uses must not be closed under it, however often one asks.
            while not all(future.done() for future in futures):
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(futures)

    def _timed(self, stage: str, predict: Callable[[A], Expressions], faces: A) -> Expressions:
        """One model on all faces of a frame."""
        began = time.perf_counter()
        expressions = predict(faces)
        self._observe(stage, time.perf_counter() - began)
        return expressions

    def _finds(
        self, session: str, time_s: float, tiles: Sequence[Tile], members: Collection[str] | None
    ) -> list[Callable[[], Found | Literal["small"] | None]]:
        """What is to be done for each tile, with the tracker of its participant.

        A session's frames are read one after the other, so none of its trackers is in use here. First those of who has
        gone are given back, for newcomers; whose turn has come goes to the end, and those of this frame never go.
        """
        trackers, shown = self._trackers.setdefault(session, {}), {tile.participant for tile in tiles}
        for who, (_, seen_s) in list(trackers.items()):
            if who not in shown and (seen_s < time_s - IDLE_S or not (members is None or who in members)):
                self._give_back(trackers.pop(who)[0])
        for tile in tiles:
            known = trackers.pop(tile.participant, None)
            trackers[tile.participant] = (self._tracker() if known is None else known[0], time_s)
        while len(trackers) > max(MAX_TRACKERS, len(tiles)):
            self._give_back(trackers.pop(next(iter(trackers)))[0])
        return [partial(_find, trackers[tile.participant][0], tile, self._pixel.crop) for tile in tiles]


def _personal(
    readings: Sequence[FaceReading], heads: Mapping[str, "ServedHead"], pixel: F32, landmark: F32, meshes: F32
) -> list[FaceReading]:
    """The readings, by personal heads where there are any; (n, d) embeddings and (n, 468, 3) meshes."""
    out = list(readings)
    for i, reading in enumerate(readings):
        head = heads.get(reading.participant)
        if head is not None:
            mesh = meshes[i : i + 1]
            features = interpretable_features(mesh) if head.reads_interpretable else _UNREAD
            said = head.arms(pixel[i : i + 1], landmark[i : i + 1], features)
            if said is not None:
                generic = (reading.pixel, reading.landmark)
                out[i] = replace(reading, pixel=said[0][0], landmark=said[1][0], generic=generic, heads=head.heads)
    return out


def _find(tracker: FaceTracker, tile: Tile, asked: Crop) -> Found | Literal["small"] | None:
    """The crop that is asked for, mesh and quality of the tile's face, where it is large enough to be read.

    Sharpness is that of the 48 px grey crop whatever the model reads: quality does not depend on the model.
    """
    faces = tracker.find(tile.image)
    if len(faces) == 0:
        return None
    mesh, width_px = faces.landmarks[0], float(faces.xyxy[0, 2] - faces.xyxy[0, 0])
    if width_px < FACE_MIN_PX:
        return "small"
    grey = face_crop(tile.image, mesh)
    crop = grey if asked == Crop() else face_crop(tile.image, mesh, side_px=asked.side_px, colour=asked.colour)
    yaw, pitch, _ = head_pose(faces.landmarks)[0].tolist()
    quality = frame_quality(
        score=float(faces.score[0]),
        width_px=width_px,
        yaw_rad=yaw,
        pitch_rad=pitch,
        sharp=sharpness(grey),
    )
    return crop, mesh, quality
