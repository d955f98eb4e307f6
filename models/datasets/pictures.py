"""Picture files of any size: read, the face found, and cut as the daemon cuts it."""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from models.datasets.meshes import BORDERS_PX, Meshes, Progress
from models.datasets.meshes import SIDE_PX as ENLARGED_PX
from models.errors import DataError
from models.faces import MediaPipeFaceTracker, quiet_stderr, still_face_finder
from models.pixel import SIDE_PX, face_crop
from pipeline.emotions import F32
from pipeline.landmarks import N_LANDMARKS
from pipeline.types import U8

LARGEST_PX: Final = 1920
"""Longer sides are reduced to this before a face is looked for; the mesh itself is made from 192 px."""

_WINDOWS: Final = (2, 4)
"""The detector sees the whole picture in 128 px: small faces show in windows of a half and a quarter of its side.

The face of scikit-image's portrait is 100 px high. It is found at once in a square picture of 700 px, in the half
windows of one of 1,000, in the quarters of one of 1,600 to 3,200 px, and no more in one of 4,000.
"""

_MIN_WINDOW_SCORE: Final = 0.7
"""Many views give many chances to see a face in anything: scikit-image's cat, rocket and clock get 0.51 to 0.61 in
windows, the portrait 0.78 to 0.97, the cameraman 0.86.
"""

_MARGINS: Final = (0.5, 0.1)
"""What is added to each side of a given face box, in parts of that side."""

_CHUNK: Final = 100
_UNREADABLE, _AS_IT_IS, _LOOKED_AT = range(3)

Box = tuple[int, int, int, int]
_Part = tuple[NDArray[np.uint8], U8, NDArray[np.bool_], F32]
_View = tuple[U8, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file, and in which rectangle (x, y, width, height in px) its face is, where that is known."""

    path: Path
    box: Box | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What was read of n picture files.

    readable: (n,) bool, whether the file could be decoded.
    images: (n, 48, 48) uint8 grey, black where not readable, or no face was found.
    meshes: Of the faces, in px of the files; None where every readable file is 48 by 48 px, taken as it is.
    """

    readable: NDArray[np.bool_]
    images: U8
    meshes: Meshes | None


def read_pictures(pictures: Sequence[Picture], *, n_workers: int = 2, progress: Progress | None = None) -> Pictures:
    """The faces of at least one picture, the same for any number of worker processes.

    Where all are 48 by 48 px they are taken as they are. As soon as one is not, the face is looked for in each.

    Raises:
        DataError: A worker process died, which a picture too large for the memory does to it.
    """
    n = len(pictures)
    status, images = np.zeros(n, dtype=np.uint8), np.zeros((n, SIDE_PX, SIDE_PX), dtype=np.uint8)
    found, landmarks = np.zeros(n, dtype=np.bool_), np.zeros((n, N_LANDMARKS, 3), dtype=np.float32)

    def read(rows: NDArray[np.intp], *, small_too: bool) -> None:
        done = n - len(rows)
        for part in _parts([pictures[row] for row in rows], n_workers, small_too=small_too):
            here = rows[: len(part[0])]
            rows = rows[len(part[0]) :]
            status[here], images[here], found[here], landmarks[here] = part
            done += len(here)
            if progress is not None:
                progress(done, n)

    read(np.arange(n), small_too=False)
    if (status == _LOOKED_AT).any() and (status == _AS_IT_IS).any():
        read(np.flatnonzero(status == _AS_IT_IS), small_too=True)
    meshes = Meshes(found, landmarks) if (status == _LOOKED_AT).any() else None
    return Pictures(status != _UNREADABLE, images, meshes)


def find_face(finder: MediaPipeFaceTracker, image: U8, box: Box | None = None) -> F32 | None:
    """(468, 3) mesh of the face in px of the (H, W, 3) uint8 RGB picture, or None.

    Tried in turn until there is one: the picture as it is (enlarged where it is small), with a replicated border,
    for faces that fill it, and windows of it, for small faces. With a box only what surrounds it is
    searched, and a face whose centre lies outside is another one.
    """
    if box is None:
        return _searched(finder, image)
    x, y, width, height = box
    for margin in _MARGINS:
        left, top = max(int(x - margin * width), 0), max(int(y - margin * height), 0)
        right, bottom = int(x + (1 + margin) * width), int(y + (1 + margin) * height)
        around = image[top : max(bottom, 0), left : max(right, 0)]
        mesh = _searched(finder, around) if around.size else None
        if mesh is not None:
            mesh += np.array([left, top, 0], dtype=np.float32)
            centre_x, centre_y = mesh[:, :2].mean(axis=0)
            if x <= centre_x <= x + width and y <= centre_y <= y + height:
                return mesh
    return None


def _searched(finder: MediaPipeFaceTracker, image: U8) -> F32 | None:
    height, width = image.shape[:2]
    large = _resized(image)
    scale = np.array([large.shape[1] / width, large.shape[0] / height, large.shape[1] / width])
    for views, min_score in _attempts(large, longer=max(height, width)):
        best_score, best = min_score, None
        for view, left, top in views:
            faces = finder.find(view)
            if len(faces) and faces.score[0] >= best_score:
                best_score, best = float(faces.score[0]), faces.landmarks[0] + np.array([left, top, 0])
        if best is not None:
            return np.asarray(best / scale, dtype=np.float32)
    return None


def _resized(image: U8) -> U8:
    """The picture with its longer side within `ENLARGED_PX` and `LARGEST_PX`."""
    height, width = image.shape[:2]
    longer = max(height, width)
    scale = min(max(longer, ENLARGED_PX), LARGEST_PX) / longer
    if scale == 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def _attempts(large: U8, *, longer: int) -> Iterator[tuple[Iterable[_View], float]]:
    """Views of the resized picture with the place of their top left corner in it, and the score to reach.

    The best face of the first attempt that has one is to be taken. `longer` is the longer side before. 48 px are taken
    for the face alone, as `find_meshes` takes them; a picture that had to be enlarged shows no more in windows.
    """
    side = max(large.shape[:2])
    for border in BORDERS_PX if longer <= SIDE_PX else (0, *BORDERS_PX):
        px = side * border // ENLARGED_PX
        framed = cv2.copyMakeBorder(large, px, px, px, px, cv2.BORDER_REPLICATE)
        yield [(np.asarray(framed, dtype=np.uint8), -px, -px)], 0.0
    for parts in _WINDOWS:
        if longer >= ENLARGED_PX and side // parts >= ENLARGED_PX // 2:
            yield _windows(large, side // parts), _MIN_WINDOW_SCORE


def _windows(image: U8, side: int) -> Iterator[_View]:
    """Squares of this side, half overlapping, all over the picture."""
    height, width = image.shape[:2]
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield image[top : top + side, left : left + side], left, top


def _starts(length: int, side: int) -> list[int]:
    room = max(length - side, 0)
    return [round(start) for start in np.linspace(0, room, -(-2 * room // side) + 1)]


def _parts(pictures: Sequence[Picture], n_workers: int, *, small_too: bool) -> Iterator[_Part]:
    """What each chunk of the pictures gave, in their order."""
    chunks = [pictures[start : start + _CHUNK] for start in range(0, len(pictures), _CHUNK)]
    read = partial(_read_chunk, small_too=small_too)
    if n_workers == 1 or len(chunks) == 1:
        yield from map(read, chunks)
        return
    # Spawned: forking would copy the locks of native threads that are not copied.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=context) as pool:
        try:
            yield from pool.map(read, chunks)
        except BrokenProcessPool:
            first = pictures[0].path.parent
            msg = f"{first}: a process that read pictures died; look for huge ones, or free some memory"
            raise DataError(msg) from None


def _read_chunk(pictures: Sequence[Picture], *, small_too: bool) -> _Part:
    n = len(pictures)
    status, images = np.zeros(n, dtype=np.uint8), np.zeros((n, SIDE_PX, SIDE_PX), dtype=np.uint8)
    found, landmarks = np.zeros(n, dtype=np.bool_), np.zeros((n, N_LANDMARKS, 3), dtype=np.float32)
    finder: MediaPipeFaceTracker | None = None
    with ExitStack() as stack:
        stack.enter_context(quiet_stderr())
        for row, picture in enumerate(pictures):
            image = _decoded(picture.path)
            if image is None:
                continue
            if image.shape[:2] == (SIDE_PX, SIDE_PX) and not small_too:
                status[row], images[row] = _AS_IT_IS, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
                continue
            status[row] = _LOOKED_AT
            if finder is None:
                finder = stack.enter_context(still_face_finder())
            mesh = find_face(finder, image, picture.box)
            if mesh is not None:
                found[row], landmarks[row], images[row] = True, mesh, face_crop(image, mesh)
    return status, images, found, landmarks


def _decoded(path: Path) -> U8 | None:
    """(H, W, 3) uint8 RGB, turned upright; None where the file is no picture that can be read.

    Decoded from bytes: OpenCV opens no path that is not ASCII on every system.
    """
    try:
        if not path.is_file():
            return None
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        image = cast("U8 | None", cv2.imdecode(content, cv2.IMREAD_COLOR))
        return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    except (OSError, cv2.error, MemoryError):
        return None
