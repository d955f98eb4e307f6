"""Faces of a frame → readings, on threads of its own: the event loop never computes.

Each participant has a face tracker, used by one thread at a time; the two models read all faces of a frame at
once. Cancelling does not stop a thread, so leaving the context waits for what is in flight.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from models.pixel import face_crop
from pipeline.emotions import F32
from pipeline.landmarks import head_pose
from pipeline.protocols import FaceTracker, LandmarkModel, PixelModel
from pipeline.quality import frame_quality, sharpness
from pipeline.types import U8, FaceReading, Tile

MAX_TRACKERS = 64
"""Trackers kept at most, about 19 MB each; the one that was not used for longest goes first."""


class FaceReader:
    """Reads what the faces of tiles express: `async with FaceReader(...) as reader: await reader.read(...)`.

    Args:
        open_tracker: Makes the tracker of a new participant.
        pixel: The model that reads pictures.
        landmark: The model that reads meshes.
        workers: Threads that find faces.
        observe: Is told what each stage of a frame took, in seconds: `faces`, `pixel`, `landmark`.
    """

    def __init__(
        self,
        *,
        open_tracker: Callable[[], FaceTracker],
        pixel: PixelModel,
        landmark: LandmarkModel,
        workers: int,
        observe: Callable[[str, float], None],
    ) -> None:
        self._open_tracker = open_tracker
        self._pixel = pixel
        self._landmark = landmark
        self._observe = observe
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="faces")
        self._trackers: dict[tuple[str, str], FaceTracker] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        for tracker in self._trackers.values():
            tracker.close()
        self._trackers.clear()

    async def read(self, session: str, time_s: float, tiles: Sequence[Tile]) -> list[FaceReading]:
        """Readings of the tiles in which a face was found, in the order of the tiles."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        found = await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._find, self._tracker(session, tile), tile) for tile in tiles)
        )
        self._observe("faces", time.perf_counter() - began)
        seen = [(tile, *face) for tile, face in zip(tiles, found, strict=True) if face is not None]
        if not seen:
            return []
        pixel, landmark = await asyncio.gather(
            loop.run_in_executor(self._threads, self._predict_pixel, np.stack([crop for _, crop, _, _ in seen])),
            loop.run_in_executor(self._threads, self._predict_landmark, np.stack([mesh for _, _, mesh, _ in seen])),
        )
        return [
            FaceReading(tile.participant, time_s, quality, pixel[i], landmark[i])
            for i, (tile, _, _, quality) in enumerate(seen)
        ]

    def forget(self, session: str) -> None:
        """Gives the trackers of a session back, when it has ended and none of them is in use."""
        for key in [key for key in self._trackers if key[0] == session]:
            self._trackers.pop(key).close()

    def _tracker(self, session: str, tile: Tile) -> FaceTracker:
        """The participant's tracker, now the one used last."""
        key = (session, tile.participant)
        tracker = self._trackers.pop(key, None)
        if tracker is None:
            if len(self._trackers) >= MAX_TRACKERS:
                self._trackers.pop(next(iter(self._trackers))).close()
            tracker = self._open_tracker()
        self._trackers[key] = tracker
        return tracker

    def _find(self, tracker: FaceTracker, tile: Tile) -> tuple[U8, F32, float] | None:
        """Crop, mesh and quality of the tile's face."""
        faces = tracker.find(tile.image)
        if len(faces) == 0:
            return None
        mesh = faces.landmarks[0]
        crop = face_crop(tile.image, mesh)
        yaw, pitch, _ = head_pose(faces.landmarks)[0].tolist()
        quality = frame_quality(
            score=float(faces.score[0]),
            width_px=float(faces.xyxy[0, 2] - faces.xyxy[0, 0]),
            yaw_rad=yaw,
            pitch_rad=pitch,
            sharp=sharpness(crop),
        )
        return crop, mesh, quality

    def _predict_pixel(self, crops: U8) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        began = time.perf_counter()
        probabilities = self._pixel.predict(crops).probabilities
        self._observe("pixel", time.perf_counter() - began)
        return probabilities

    def _predict_landmark(self, meshes: F32) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        began = time.perf_counter()
        probabilities = self._landmark.predict(meshes).probabilities
        self._observe("landmark", time.perf_counter() - began)
        return probabilities
