"""Meshes of small pictures: what goes wrong while they are found or kept."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.datasets import meshes
from models.errors import DataError


class Fatal:
    """Ends the process that unpickles it, as a lack of memory does."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        """What unpickling calls."""
        return os._exit, (1,)


def test_a_worker_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line, not a traceback."""
    monkeypatch.setattr(meshes, "_find_chunk", Fatal())
    with pytest.raises(DataError, match="a process that looked for faces died; free some memory"):
        meshes.find_meshes(np.zeros((201, 48, 48), dtype=np.uint8), n_workers=2)


LONE = b"\x93NUMPY\x01\x00\x3c\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}" + b" " * 4 + b"\n1"
"""An array that is in no archive."""


def saved(**arrays: np.ndarray) -> Callable[[Path], None]:
    """Writes an npz of these arrays."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    return write


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"torn"),
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: path.write_bytes(path.read_bytes()[:300] + b"x" * 50 + path.read_bytes()[350:]),
        lambda path: path.write_bytes(LONE),
        saved(found=np.ones(1, dtype=np.bool_)),
        saved(found=np.ones(1, dtype=np.bool_), landmarks=np.zeros((1, 468, 2), dtype=np.float32)),
    ],
)
def test_damaged_files_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    """Whatever is in the place of the kept meshes, they are found again, and kept."""
    calls: list[int] = []

    def find(images: np.ndarray, **_: object) -> meshes.Meshes:
        calls.append(len(images))
        return meshes.Meshes(np.ones(1, dtype=np.bool_), np.ones((1, 468, 3), dtype=np.float32))

    monkeypatch.setattr(meshes, "find_meshes", find)
    picture = np.zeros((1, 48, 48), dtype=np.uint8)
    meshes.cached_meshes(picture, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    for _ in range(2):
        assert meshes.cached_meshes(picture, folder=tmp_path).landmarks.all()
    assert calls == [1, 1]
