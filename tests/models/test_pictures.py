"""Picture files: decoded, the face found, and cut."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from models.datasets.meshes import find_meshes
from models.datasets.pictures import Picture, _resized, _starts, find_face, read_pictures
from models.errors import DataError
from models.faces import MediaPipeFaceTracker, still_face_finder
from models.pixel import face_crop

FACE = (180, 70, 90, 105)
"""Where the face of the astronaut is: x, y, width, height in px of 512."""


@pytest.fixture(scope="module")
def finder() -> Iterator[MediaPipeFaceTracker]:
    """One finder for all."""
    with still_face_finder() as found:
        yield found


@pytest.fixture(scope="module")
def mesh(finder: MediaPipeFaceTracker) -> np.ndarray:
    """The astronaut's."""
    return finder.find(astronaut()).landmarks[0]


def scaled(side: int) -> np.ndarray:
    """The astronaut in another size."""
    return np.asarray(cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA))


def small_face(mesh: np.ndarray) -> np.ndarray:
    """(48, 48) grey."""
    return face_crop(astronaut(), mesh)


def save(path: Path, image: np.ndarray) -> Picture:
    """A file of that picture, RGB or grey; its path may hold any letter."""
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return Picture(path)


def bomb(side: int) -> bytes:
    """A small png that claims to be `side` px wide and high."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(64))),
        (b"IEND", b""),
    )
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("side", "tolerance"), [(64, 0.06), (100, 0.03), (300, 0.02), (1024, 0.02), (2200, 0.02)])
def test_faces_of_any_size(finder: MediaPipeFaceTracker, mesh: np.ndarray, side: int, tolerance: float) -> None:
    """The mesh is found where it is in the large picture, in px of the picture given, within parts of the face."""
    found = find_face(finder, scaled(side))
    assert found is not None
    error = np.linalg.norm((found * 512 / side - mesh)[:, :2], axis=1).mean()
    assert error < tolerance * np.ptp(mesh[:, 1])


@pytest.mark.parametrize("side", [1000, 1600, 2400])
def test_small_faces_in_large_pictures(finder: MediaPipeFaceTracker, mesh: np.ndarray, side: int) -> None:
    """A face that the detector cannot see in the whole picture is seen in a window of it."""
    large = np.full((side, side, 3), 127, dtype=np.uint8)
    large[200:712, 100:612] = astronaut()
    assert len(finder.find(large)) == 0
    found = find_face(finder, large)
    assert found is not None
    assert np.linalg.norm((found - mesh - (100, 200, 0))[:, :2], axis=1).mean() < 2


def test_tight_crops(finder: MediaPipeFaceTracker, mesh: np.ndarray) -> None:
    """A face that fills its picture is found with a border around, and its place has none."""
    x, y, width, height = 196, 86, 58, 73
    tight = cv2.resize(astronaut()[y : y + height, x : x + width], (100, 100))
    assert len(finder.find(tight)) == 0
    found = find_face(finder, tight)
    assert found is not None
    found = found * (width / 100, height / 100, 1) + (x, y, 0)
    assert np.linalg.norm((found - mesh)[:, :2], axis=1).mean() < 4


def test_the_box_says_which_face(finder: MediaPipeFaceTracker, mesh: np.ndarray) -> None:
    """Of two faces the one in the box is taken, also in part outside the picture; where there is none, no other is."""
    both = np.concatenate([astronaut(), astronaut()], axis=1)
    x, y, width, height = FACE
    for offset in (0, 512):
        found = find_face(finder, both, (x + offset, y, width, height))
        assert found is not None
        assert np.linalg.norm((found - mesh - (offset, 0, 0))[:, :2], axis=1).mean() < 2
    assert find_face(finder, both, (x + 130, y, width, height)) is None
    assert find_face(finder, both, (5000, 5000, 10, 10)) is None
    assert find_face(finder, both, (-500, -500, 10, 10)) is None


def test_no_face(finder: MediaPipeFaceTracker) -> None:
    """Pictures without a face have none, however often one looks, and however thin they are."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    for image in (noise, noise[:1], noise[:, :1], noise[:1, :1]):
        assert find_face(finder, image) is None


def test_small_pictures_are_taken_as_they_are(tmp_path: Path) -> None:
    """Pictures of 48 by 48 px are not changed, colour becomes grey, and no mesh is looked for; formats may mix."""
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    colour = np.stack([grey, grey, grey], axis=-1)
    read = read_pictures([save(tmp_path / "ä.png", grey), save(tmp_path / "顔.bmp", colour)], n_workers=1)
    assert (read.meshes, read.readable.tolist()) == (None, [True, True])
    assert np.array_equal(read.images, [grey, grey])


def test_larger_pictures_are_cut_as_the_daemon_cuts_them(tmp_path: Path, mesh: np.ndarray) -> None:
    """Mesh and crop are those of the picture itself; without a face the picture is black; a box is heeded."""
    blank = np.full((300, 400, 3), 90, dtype=np.uint8)
    with_face = save(tmp_path / "face.png", astronaut())
    pictures = [with_face, save(tmp_path / "none.png", blank), Picture(with_face.path, (0, 300, 100, 100))]
    told: list[tuple[int, int]] = []
    read = read_pictures(pictures, n_workers=1, progress=lambda done, total: told.append((done, total)))
    assert read.meshes is not None
    assert (read.readable.all(), read.meshes.found.tolist(), told) == (True, [True, False, False], [(3, 3)])
    assert np.abs(read.meshes.landmarks[0] - mesh).max() < 0.5
    assert np.array_equal(read.images[0], face_crop(astronaut(), read.meshes.landmarks[0]))
    assert not read.images[1:].any()
    assert not read.meshes.landmarks[1:].any()


def test_a_mixture_is_treated_as_larger(tmp_path: Path, mesh: np.ndarray) -> None:
    """With one larger picture, faces are looked for in the small ones too, as `find_meshes` does."""
    small = small_face(mesh)
    read = read_pictures([save(tmp_path / "small.png", small), save(tmp_path / "large.png", scaled(200))], n_workers=1)
    assert read.meshes is not None
    assert read.meshes.found.tolist() == [True, True]
    expected = find_meshes(small[None], n_workers=1)
    assert np.allclose(read.meshes.landmarks[0], expected.landmarks[0], atol=1e-3)
    assert np.array_equal(read.images[0], face_crop(np.stack([small] * 3, axis=-1), read.meshes.landmarks[0]))


def test_unreadable_files_are_marked(tmp_path: Path, mesh: np.ndarray) -> None:
    """What is missing, empty, torn, no picture, a folder, or claims to be enormous does not stop the others."""
    good = save(tmp_path / "good.png", small_face(mesh))
    torn = good.path.read_bytes()[:200]
    files = {
        "empty.png": b"",
        "torn.jpg": torn,
        "text.png": b"hello",
        "bomb.png": bomb(60_000),
        "huge.png": bomb(2**30),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    bad = [Picture(tmp_path / name) for name in (*files, "missing.png", ".")]
    read = read_pictures([*bad, good], n_workers=1)
    assert (read.readable.tolist(), read.meshes) == ([False] * len(bad) + [True], None)
    assert not read.images[:-1].any()


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    """Two processes give what one gives, in the order of the files."""
    large = [save(tmp_path / f"{k}.png", scaled(100 + k)) for k in range(3)]
    small = [save(tmp_path / f"grey{k}.png", np.full((48, 48), k, np.uint8)) for k in range(101)]
    told: list[int] = []
    one = read_pictures([*small, *large], n_workers=1)
    two = read_pictures([*small, *large], n_workers=2, progress=lambda done, _: told.append(done))
    assert one.meshes is not None
    assert two.meshes is not None
    assert one.meshes.found.tolist() == [False] * 101 + [True] * 3
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.meshes.landmarks, two.meshes.landmarks)
    assert told == [100, 104, 103, 104]


class Fatal:
    """Ends the process that unpickles it, as a lack of memory does."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        """What unpickling calls."""
        return os._exit, (1,)


def test_a_worker_that_dies(tmp_path: Path) -> None:
    """It is one line that names the folder, not a traceback."""
    fatal = Picture(tmp_path / "a.png", box=Fatal())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="a process that read pictures died; look for huge ones, or free some memory"):
        read_pictures([fatal] * 101, n_workers=2)


@given(length=st.integers(1, 5000), side=st.integers(1, 2000))
def test_windows_leave_nothing_out(length: int, side: int) -> None:
    """They begin at the edge, end at the other, and overlap by at least half but for rounding."""
    starts = _starts(length, side)
    assert (starts[0], starts[-1]) == (0, max(length - side, 0))
    assert (np.diff(starts) <= side / 2 + 1).all()


@given(height=st.integers(1, 400), width=st.integers(1, 400))
def test_resized_keeps_the_shape(height: int, width: int) -> None:
    """The longer side comes to at least 192 px, and neither is off by more than half a px."""
    resized = _resized(np.zeros((height, width, 3), dtype=np.uint8))
    scale = max(192 / max(height, width), 1)
    assert abs(resized.shape[0] - height * scale) <= 0.5 or resized.shape[0] == 1
    assert abs(resized.shape[1] - width * scale) <= 0.5 or resized.shape[1] == 1


def test_damaged_pictures_are_not_talked_about(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What libjpeg writes to stderr of a torn file is not shown: the file counts as unreadable or is read as far as it goes."""
    picture = save(tmp_path / "torn.jpg", scaled(256))
    content = picture.path.read_bytes()
    picture.path.write_bytes(content[: len(content) // 2] + bytes(200))
    read_pictures([picture])
    assert capfd.readouterr().err == ""
