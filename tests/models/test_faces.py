"""The face tracker on a portrait that comes with scikit-image, and what it leaves on stderr."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from skimage import data

from models.faces import UNSEEN_SCORE, MediaPipeFaceTracker, quiet_stderr, still_face_finder
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
