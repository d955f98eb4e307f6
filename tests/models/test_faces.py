"""The face tracker on a portrait that comes with scikit-image, and what it leaves on stderr."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from skimage import data

from models.faces import UNSEEN_SCORE, MediaPipeFaceSpotter, MediaPipeFaceTracker, quiet_stderr, still_face_finder
from pipeline.landmarks import mesh_box


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A picture (512, 512, 3) with one face near (220, 120)."""
    return data.astronaut()


@pytest.fixture
def tracker() -> Iterator[MediaPipeFaceTracker]:
    """A tracker that is given back."""
    with MediaPipeFaceTracker() as tracker:
        yield tracker


def test_the_face_is_found_where_it_is(portrait: np.ndarray, tracker: MediaPipeFaceTracker) -> None:
    """One face around (220, 120), its box that of its mesh, its score the detector's."""
    faces = tracker.find(portrait)
    assert (faces.xyxy.shape, faces.score.shape, faces.landmarks.shape) == ((1, 4), (1,), (1, 468, 3))
    assert (faces.xyxy.dtype, faces.score.dtype, faces.landmarks.dtype) == (np.float32,) * 3
    x0, y0, x1, y1 = faces.xyxy[0]
    assert (x0 < 220 < x1, y0 < 120 < y1, 60 < x1 - x0 < 150) == (True, True, True)
    assert faces.xyxy.tolist() == mesh_box(faces.landmarks).tolist()
    assert 0.5 <= faces.score[0] <= 1


def test_a_picture_without_a_face_gives_none(tracker: MediaPipeFaceTracker) -> None:
    """Absence is n = 0 with the usual shapes."""
    faces = tracker.find(np.zeros((90, 160, 3), dtype=np.uint8))
    assert (len(faces), faces.xyxy.shape, faces.landmarks.shape) == (0, (0, 4), (0, 468, 3))


def test_the_same_pictures_give_the_same_faces(portrait: np.ndarray) -> None:
    """Two trackers shown the same film agree to the last bit, score included."""
    film = [np.roll(portrait, 3 * step, axis=1) for step in range(8)]
    runs = []
    for _ in range(2):
        with MediaPipeFaceTracker(detect_every=3) as tracker:
            runs.append([tracker.find(picture) for picture in film])
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.landmarks, other.landmarks)
        assert np.array_equal(one.score, other.score)


def test_after_a_blank_picture_a_tracker_is_as_good_as_new(portrait: np.ndarray) -> None:
    """The mesh of the next person depends on nothing that the tracker saw of the one before: to the last bit."""
    other = np.ascontiguousarray(portrait[20:300, 300:60:-1])
    views = [np.ascontiguousarray(np.roll(portrait, (2 * i, 3 * i), (0, 1))) for i in range(8)]
    with MediaPipeFaceTracker() as fresh, MediaPipeFaceTracker() as used:
        for _ in range(7):
            assert len(used.find(other)) == 1
        used.find(np.zeros((64, 64, 3), dtype=np.uint8))
        for view in views:
            expected, found = fresh.find(view), used.find(view)
            assert found.landmarks.tolist() == expected.landmarks.tolist()
            assert found.score.tolist() == expected.score.tolist()


def test_the_score_is_kept_between_detections(portrait: np.ndarray) -> None:
    """A followed face has the score of the last detection until the detector runs again."""
    dim = cv2.convertScaleAbs(portrait, alpha=0.35)
    with MediaPipeFaceTracker(detect_every=3) as tracker:
        scores = [float(tracker.find(picture).score[0]) for picture in (portrait, dim, dim, dim)]
    assert scores[0] == scores[1] == scores[2]
    assert scores[3] != scores[0]


def test_a_mesh_that_no_detection_overlaps_has_a_low_score(tracker: MediaPipeFaceTracker) -> None:
    """A detection elsewhere in the picture says nothing of this face."""
    mesh = np.zeros((468, 3), dtype=np.float32)
    mesh[:2, :2] = [[10, 10], [30, 30]]
    area = SimpleNamespace(xmin=0.5, ymin=0.5, width=0.2, height=0.2)
    elsewhere = SimpleNamespace(location_data=SimpleNamespace(relative_bounding_box=area), score=[0.9])
    tracker._confirm(mesh, [elsewhere], 100, 100)
    assert tracker._score == UNSEEN_SCORE
    area.xmin = area.ymin = 0.1
    tracker._confirm(mesh, [elsewhere], 100, 100)
    assert tracker._score == 0.9


def test_still_pictures_do_not_depend_on_each_other(portrait: np.ndarray) -> None:
    """The still finder gives the same for a picture whatever came before it."""
    with still_face_finder() as finder:
        first = finder.find(portrait)
        finder.find(np.roll(portrait, 60, axis=0))
        again = finder.find(portrait)
    assert np.array_equal(first.landmarks, again.landmarks)
    assert first.score[0] >= 0.5


def test_a_view_that_is_not_contiguous_is_read_too(portrait: np.ndarray) -> None:
    """A tile is a slice of a frame."""
    frame = np.zeros((600, 700, 3), dtype=np.uint8)
    frame[40:552, 60:572] = portrait
    with still_face_finder() as finder:
        tile, whole = finder.find(frame[40:552, 60:572]), finder.find(portrait)
    assert np.array_equal(tile.landmarks, whole.landmarks)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3)),
        np.zeros((0, 9, 3), np.uint8),
    ],
)
def test_another_picture_is_refused(tracker: MediaPipeFaceTracker, image: np.ndarray) -> None:
    """Only (H, W, 3) uint8 is a picture."""
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, found"):
        tracker.find(image)


def test_detect_every_is_at_least_one() -> None:
    """A tracker cannot be asked never to look again by mistake."""
    with pytest.raises(ValueError, match="at least 1, found 0"):
        MediaPipeFaceTracker(detect_every=0)


def test_nothing_is_written_on_stderr() -> None:
    """Import, construction, pictures with and without a face, and exit: no native log, no Python warning."""
    program = (
        "import numpy as np\n"
        "from skimage import data\n"
        "from models.faces import MediaPipeFaceTracker\n"
        "with MediaPipeFaceTracker(detect_every=2) as tracker:\n"
        "    tracker.find(np.zeros((90, 160, 3), np.uint8))\n"
        "    print([len(tracker.find(data.astronaut())) for _ in range(4)])\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.strip(), done.returncode) == ("", "[1, 1, 1, 1]", 0)


def test_quiet_keeps_what_others_write(capfd: pytest.CaptureFixture[str]) -> None:
    """Only native lines are lost; other lines, from whatever thread, come out when the last user leaves."""
    with quiet_stderr():
        os.write(2, b"I0000 00:00:1700000000.000000   12 gl_context.cc:369] GL version\n")
        thread = threading.Thread(target=os.write, args=(2, b"from a thread\n"))
        thread.start()
        thread.join()
        with quiet_stderr():
            os.write(2, b"from a second user\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "from a thread\nfrom a second user\n"
    os.write(2, b"I0000 00:00:1700000000.000000   12 later\n")
    assert "later" in capfd.readouterr().err


def test_quiet_restores_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception inside leaves stderr where it was."""
    with pytest.raises(RuntimeError), quiet_stderr():
        raise RuntimeError
    os.write(2, b"here again\n")
    assert capfd.readouterr().err == "here again\n"


@pytest.fixture
def spotter() -> Iterator[MediaPipeFaceSpotter]:
    """A spotter that is given back."""
    with MediaPipeFaceSpotter() as spotter:
        yield spotter


def _gallery(portrait: np.ndarray, side: int, n: int) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """`n` x `n` copies of the portrait, each `side` px, on grey; and their boxes."""
    small = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    wall = np.full((n * (side + 8) + 8, n * (side + 8) + 8, 3), 60, dtype=np.uint8)
    boxes = [(8 + c * (side + 8), 8 + r * (side + 8)) for r in range(n) for c in range(n)]
    for x, y in boxes:
        wall[y : y + side, x : x + side] = small
    return wall, [(x, y, x + side, y + side) for x, y in boxes]


def test_each_tile_is_looked_at_by_itself(portrait: np.ndarray, spotter: MediaPipeFaceSpotter) -> None:
    """Sixteen small faces are sixteen boxes, one in each tile, once each although the whole is looked at too."""
    wall, tiles = _gallery(portrait, 180, 4)
    faces = spotter.find_all(wall, tiles)
    assert (faces.xyxy.shape, faces.xyxy.dtype, faces.score.dtype) == ((16, 4), np.float32, np.float32)
    middles = (faces.xyxy[:, :2] + faces.xyxy[:, 2:]) / 2
    inside = [sum(bool(x0 < x < x1 and y0 < y < y1) for x, y in middles) for x0, y0, x1, y1 in tiles]
    assert inside == [1] * 16
    assert (faces.score >= 0.5).all()
    assert (np.diff(faces.score) <= 0).all()


def test_a_large_picture_needs_no_tiles(portrait: np.ndarray, spotter: MediaPipeFaceSpotter) -> None:
    """The face of a portrait is one box around (220, 120)."""
    faces = spotter.find_all(portrait)
    assert len(faces) == 1
    x0, y0, x1, y1 = faces.xyxy[0]
    assert (x0 < 220 < x1, y0 < 120 < y1) == (True, True)


def test_no_face_is_no_box(spotter: MediaPipeFaceSpotter) -> None:
    """Grey gives n = 0 with the usual shapes; tiles that lie outside the picture or are empty do no harm."""
    grey = np.full((90, 160, 3), 90, dtype=np.uint8)
    faces = spotter.find_all(grey, [(200, 0, 300, 50), (5, 5, 5, 40), (-20, -20, 60, 60)])
    assert (len(faces), faces.xyxy.shape) == (0, (0, 4))


def test_the_spotter_refuses_other_pictures(spotter: MediaPipeFaceSpotter) -> None:
    """The same message as the tracker's."""
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, found"):
        spotter.find_all(np.zeros((4, 4), dtype=np.uint8))


def test_a_meeting_room_and_a_gallery(dev_data: Path, spotter: MediaPipeFaceSpotter) -> None:
    """Three people before one camera, and the four of a gallery, are all found."""
    found = []
    for name, tiles in (("clips/of_multi_face.mp4", []), ("meeting_2x2.mp4", [])):
        with av.open(str(dev_data / name)) as container:
            found.append(len(spotter.find_all(next(container.decode(video=0)).to_ndarray(format="rgb24"), tiles)))
    assert found == [3, 4]
