"""Meshes of the small pictures of a data set, found once and kept in a folder."""

import hashlib
import multiprocessing
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.faces import still_face_finder
from models.pixel import face_crop
from pipeline.emotions import F32
from pipeline.landmarks import N_LANDMARKS
from pipeline.types import U8

SIDE_PX: Final = 192
BORDERS_PX: Final = (48, 96)
"""A 48 px face fills its picture; the detector wants a larger one with something around it.

The wider border is tried where the narrower one shows it no face: of the first 700 pictures of FER2013 PublicTest
665 have a mesh with the first alone, 676 with both.
"""

_CHUNK: Final = 200

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Meshes:
    """Meshes of n pictures: found (n,) bool; landmarks (n, 468, 3) float32, zero where not found.

    x and y are in px of the picture the mesh was found in, from its top left corner; z is in the same unit.
    """

    found: NDArray[np.bool_]
    landmarks: F32


def find_meshes(images: U8, *, n_workers: int = 2, progress: Progress | None = None) -> Meshes:
    """Meshes of (n, 48, 48) uint8 grey pictures, the same for any number of worker processes.

    Raises:
        DataError: A worker process died.
    """
    n = len(images)
    found, landmarks = np.zeros(n, dtype=np.bool_), np.zeros((n, N_LANDMARKS, 3), dtype=np.float32)
    done = 0
    for start, part in _parts(images, n_workers):
        stop = start + len(part.found)
        found[start:stop], landmarks[start:stop] = part.found, part.landmarks
        done += len(part.found)
        if progress is not None:
            progress(done, n)
    return Meshes(found, landmarks)


def cached_meshes(images: U8, *, folder: Path, n_workers: int = 2, progress: Progress | None = None) -> Meshes:
    """The same as `find_meshes`, read from `folder` where these very pictures were asked for before.

    Raises:
        DataError: A worker process died.
    """
    key = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16]
    path = folder / f"attention-meshes-{key}.npz"
    kept = _kept(path, len(images))
    if kept is not None:
        return kept
    meshes = find_meshes(images, n_workers=n_workers, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"part-{key}.npz"
    np.savez(beside, found=meshes.found, landmarks=meshes.landmarks)
    os.replace(beside, path)  # noqa: PTH105 (atomic, and named as such)
    return meshes


def _kept(path: Path, n: int) -> Meshes | None:
    """The n meshes in a file; None where there is none, or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            meshes = Meshes(kept["found"], kept["landmarks"])
    except (OSError, ValueError, EOFError, KeyError, TypeError, TokenError, zipfile.BadZipFile, zlib.error):
        return None
    shapes = (meshes.found.shape, meshes.landmarks.shape)
    return meshes if shapes == ((n,), (n, N_LANDMARKS, 3)) else None


def framed(images: U8, meshes: Meshes) -> U8:
    """(n, 48, 48) uint8 grey: each face levelled and framed by its mesh as the daemon does, as it is where there is none.

    Pictures of a data set may frame faces in any way; on FER2013, which the frame comes from, it makes no difference.
    """
    result = images.copy()
    border = BORDERS_PX[0]
    for row in np.flatnonzero(meshes.found):
        mesh = meshes.landmarks[row] * (SIDE_PX / 48) + np.array([border, border, 0], dtype=np.float32)
        result[row] = face_crop(enlarged(images[row], border=border), mesh)
    return result


def _parts(images: U8, n_workers: int) -> Iterator[tuple[int, Meshes]]:
    starts = range(0, len(images), _CHUNK)
    if n_workers == 1 or len(starts) == 1:
        for start in starts:
            yield start, _find_chunk(images[start : start + _CHUNK])
        return
    # Spawned: forking would copy the locks of native threads that are not copied.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=context) as pool:
        try:
            pending = {pool.submit(_find_chunk, images[start : start + _CHUNK]): start for start in starts}
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BrokenProcessPool:
            msg = "a process that looked for faces died; free some memory"
            raise DataError(msg) from None


def _find_chunk(images: U8) -> Meshes:
    found = np.zeros(len(images), dtype=np.bool_)
    landmarks = np.zeros((len(images), N_LANDMARKS, 3), dtype=np.float32)
    with still_face_finder() as finder:
        for row, image in enumerate(images):
            for border in BORDERS_PX:
                faces = finder.find(enlarged(image, border=border))
                if len(faces):
                    found[row] = True
                    landmarks[row] = in_picture(faces.landmarks[0], border=border)
                    break
    return Meshes(found, landmarks)


def enlarged(image: U8, *, border: int = BORDERS_PX[0]) -> U8:
    """The (48, 48) grey picture at four times its size, its border replicated outwards by `border` px.

    (192 + 2 * border, 192 + 2 * border, 3) uint8.
    """
    large = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    framed = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(framed, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def in_picture(landmarks: F32, *, border: int = BORDERS_PX[0]) -> F32:
    """(468, 3) mesh of an `enlarged` picture in px of the 48 px picture."""
    scale = SIDE_PX / 48
    return np.asarray((landmarks - np.array([border, border, 0])) / scale, dtype=np.float32)
