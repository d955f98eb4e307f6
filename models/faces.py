"""Finding faces: MediaPipe's detector and 468-point mesh, one face per picture.

Bazarevsky et al. 2019, "BlazeFace" (the detector, short range); Kartynnik et al. 2019, "Real-time facial
surface geometry from monocular video on mobile GPUs" (the mesh); Grishchenko et al. 2020, "Attention mesh" (which
refines eyes and lips). The weights lie inside the mediapipe wheel.
"""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

import numpy as np
from mediapipe.python.solution_base import SolutionBase
from mediapipe.python.solutions.face_detection import FaceDetection

from pipeline.emotions import F32
from pipeline.landmarks import N_LANDMARKS, mesh_box
from pipeline.types import U8, Box, FaceBoxes, Faces

UNSEEN_SCORE: Final = 0.3
"""Score of a mesh that the detector does not confirm: below every score the detector itself gives (0.5)."""

_MIN_OVERLAP: Final = 0.2
_SAME_FACE: Final = 0.5
"""Two detections are one face where they share more than this part of the smaller one."""
_CLOSE_LOOK: Final = 1 / 6
"""In tiles from this share of the picture on several people may sit, far from the camera."""
_MESH_GRAPH: Final = "mediapipe/modules/face_landmark/face_landmark_front_cpu.binarypb"
_DETECTOR: Final = (
    "facedetectionshortrangecpu__facedetectionshortrange__facedetection__TensorsToDetectionsCalculator.min_score_thresh"
)
_NATIVE_LINE: Final = re.compile(
    rb"(WARNING: All log messages before absl|WARNING: Logging before InitGoogleLogging|[IWEF]\d{4,8} \d\d:|INFO: "
    # What reads pictures says so of damaged ones.
    rb"|libpng |Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|\[ ?WARN:)"
)


class _Graph(Protocol):
    def process(self, input_data: U8) -> Any: ...  # noqa: ANN401 (a class with one attribute per stream)

    def close(self) -> None: ...


class _QuietStderr:
    """Keeps the lines that native libraries write straight to file descriptor 2 from being seen.

    Other lines written meanwhile, by whatever thread, are held in a file and written when the last user
    leaves. Users may overlap: the first redirects, the last restores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._restore = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._n_users == 0:
                self._redirect()
            self._n_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0:
                    self._restore.close()

    def _redirect(self) -> None:
        sys.stderr.flush()
        try:
            real = os.dup(2)
        except OSError:  # closed, as under some service managers: nothing to keep quiet
            return
        self._restore.callback(os.close, real)
        held = self._restore.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)

        def restore() -> None:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                if not _NATIVE_LINE.match(line):
                    os.write(2, line)

        self._restore.callback(restore)
        os.dup2(held.fileno(), 2)


quiet_stderr: Final = _QuietStderr()


class MediaPipeFaceTracker:
    """The face of one participant, followed from picture to picture: implements `FaceTracker`.

    The mesh gives no score of its own. Where a face is new, its score is that of the detection the mesh
    started from. While it is followed, the detector runs again on every `detect_every`-th picture, and its
    score is kept in between; when no detection overlaps the mesh, the score is `UNSEEN_SCORE`.

    For one thread at a time. The same pictures in the same order give the same faces.

    Args:
        tracking: Follow the face; False treats every picture as unrelated to the one before.
        detect_every: Pictures from one confirmation by the detector to the next, at least 1.
        min_detection_score: Detections below are not faces, in [0, 1].
        min_tracking_score: A mesh below is given up and detected anew, in [0, 1].

    Raises:
        ValueError: `detect_every` is below 1.
    """

    def __init__(
        self,
        *,
        tracking: bool = True,
        detect_every: int = 5,
        min_detection_score: float = 0.5,
        min_tracking_score: float = 0.5,
    ) -> None:
        if detect_every < 1:
            msg = f"detect_every: expected at least 1, found {detect_every}"
            raise ValueError(msg)
        self._detect_every = detect_every
        self._score = 0.0
        self._n_since_detection = 0
        # Some native messages come only with the first picture and the first face.
        self._may_log = True
        blank = np.zeros((64, 64, 3), dtype=np.uint8)
        with quiet_stderr():
            self._mesh: _Graph = SolutionBase(
                binary_graph_path=_MESH_GRAPH,
                side_inputs={"num_faces": 1, "with_attention": True, "use_prev_landmarks": tracking},
                calculator_params={
                    _DETECTOR: min_detection_score,
                    "facelandmarkcpu__ThresholdingCalculator.threshold": min_tracking_score,
                },
                outputs=["multi_face_landmarks", "face_detections"],
            )
            self._detector: _Graph | None = None
            if tracking:
                self._detector = FaceDetection(min_detection_confidence=min_detection_score, model_selection=0)
                self._detector.process(blank)
            self._mesh.process(blank)

    def find(self, image: U8) -> Faces:
        """At most one face, in pixels of the (H, W, 3) uint8 RGB picture, with its 468-point mesh.

        Raises:
            ValueError: The picture is not (H, W, 3) uint8.
        """
        image = _checked(image)
        if not self._may_log:
            return self._find(image)
        with quiet_stderr():
            faces = self._find(image)
        self._may_log = len(faces) == 0
        return faces

    def close(self) -> None:
        """Give the memory and threads of the native graphs back."""
        self._mesh.close()
        if self._detector is not None:
            self._detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find(self, image: U8) -> Faces:
        height, width = image.shape[:2]
        found = self._mesh.process(image)
        if not found.multi_face_landmarks:
            self._n_since_detection = 0
            return _faces(np.zeros((0, N_LANDMARKS, 3), dtype=np.float32), np.zeros(0, dtype=np.float32))
        # Ten points of the irises follow the 468.
        points = found.multi_face_landmarks[0].landmark[:N_LANDMARKS]
        # z comes in the unit of x: the mesh is a weak perspective one.
        mesh = np.array([(p.x * width, p.y * height, p.z * width) for p in points], dtype=np.float32)
        self._n_since_detection += 1
        if found.face_detections:
            self._confirm(mesh, found.face_detections, width, height)
        elif self._detector is not None and self._n_since_detection >= self._detect_every:
            self._confirm(mesh, self._detector.process(image).detections or (), width, height)
        return _faces(mesh[None], np.array([self._score], dtype=np.float32))

    def _confirm(self, mesh: F32, detections: Iterable[Any], width: int, height: int) -> None:
        """Take the score of the detection that overlaps the mesh best."""
        self._n_since_detection = 0
        box = mesh_box(mesh[None])[0]
        overlap, self._score = _MIN_OVERLAP, UNSEEN_SCORE
        for detection in detections:
            area = detection.location_data.relative_bounding_box
            corner = np.array([area.xmin * width, area.ymin * height])
            size = np.array([area.width * width, area.height * height])
            shared = _overlap(box, np.concatenate([corner, corner + size]))
            if shared > overlap:
                overlap, self._score = shared, float(np.clip(detection.score[0], 0, 1))


def still_face_finder(*, min_detection_score: float = 0.5) -> MediaPipeFaceTracker:
    """A finder for pictures that have nothing to do with each other."""
    return MediaPipeFaceTracker(tracking=False, min_detection_score=min_detection_score)


class MediaPipeFaceSpotter:
    """Where all faces of a video wall are: the detector alone, no mesh; implements `FaceSpotter`.

    The short-range detector sees 128 px: in a whole gallery it finds faces only while they are large, in each tile
    by itself it finds them down to tiles 70 px high. The full-range one also finds people who sit behind each other
    in a meeting room, but few faces in small tiles. So small tiles are given to the first, large ones and the whole
    picture to the second (to the first where it finds nobody), and what overlaps is one face.

    For one thread at a time. Every picture is by itself.

    Args:
        min_detection_score: Detections below are not faces, in [0, 1].
    """

    def __init__(self, *, min_detection_score: float = 0.5) -> None:
        blank = np.zeros((64, 64, 3), dtype=np.uint8)
        self._may_log = True
        with quiet_stderr():
            self._short: _Graph = FaceDetection(min_detection_confidence=min_detection_score, model_selection=0)
            self._full: _Graph = FaceDetection(min_detection_confidence=min_detection_score, model_selection=1)
            self._short.process(blank)
            self._full.process(blank)

    def find_all(self, image: U8, tiles: Sequence[Box] = ()) -> FaceBoxes:
        """All faces of the (H, W, 3) uint8 RGB picture, in its pixels, best first; `tiles` are where to look closer.

        Raises:
            ValueError: The picture is not (H, W, 3) uint8.
        """
        image = _checked(image)
        if not self._may_log:
            return self._find_all(image, tiles)
        with quiet_stderr():
            boxes = self._find_all(image, tiles)
        self._may_log = len(boxes) == 0
        return boxes

    def close(self) -> None:
        """Give the memory and threads of the native graphs back."""
        self._short.close()
        self._full.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find_all(self, image: U8, tiles: Sequence[Box]) -> FaceBoxes:
        height, width = image.shape[:2]
        whole = (0, 0, width, height)
        found: list[tuple[float, F32]] = []
        for box in dict.fromkeys((whole, *tiles)):
            x0, y0, x1, y1 = box
            if min(x1, width) - max(x0, 0) < 2 or min(y1, height) - max(y0, 0) < 2:  # noqa: PLR2004
                continue
            view = np.ascontiguousarray(image[max(y0, 0) : y1, max(x0, 0) : x1])
            large = (x1 - x0) * (y1 - y0) >= _CLOSE_LOOK * width * height
            corner = np.array([max(x0, 0), max(y0, 0)] * 2, dtype=np.float32)
            # The full range first where people may sit behind each other: on these the short range also errs.
            seen = list(_detections(self._full, view)) if large else []
            found += [(score, area + corner) for score, area in seen or _detections(self._short, view)]
        found.sort(key=lambda face: -face[0])
        kept: list[tuple[float, F32]] = []
        for score, area in found:
            if all(_shared(area, other) < _SAME_FACE for _, other in kept):
                kept.append((score, area))
        return FaceBoxes(
            xyxy=np.array([area for _, area in kept], dtype=np.float32).reshape(-1, 4),
            score=np.array([score for score, _ in kept], dtype=np.float32),
        )


def _detections(detector: _Graph, image: U8) -> Iterator[tuple[float, F32]]:
    """Score and box of each face, as far as it lies in the picture."""
    height, width = image.shape[:2]
    for detection in detector.process(image).detections or ():
        area = detection.location_data.relative_bounding_box
        x0, y0 = max(0.0, area.xmin * width), max(0.0, area.ymin * height)
        x1, y1 = min(width, (area.xmin + area.width) * width), min(height, (area.ymin + area.height) * height)
        if x1 > x0 and y1 > y0:
            yield float(np.clip(detection.score[0], 0, 1)), np.array([x0, y0, x1, y1], dtype=np.float32)


def _shared(one: F32, other: F32) -> float:
    """Part of the smaller of two (4,) boxes that lies in the other, in [0, 1]; neither is empty."""
    both = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return float(both / min((one[2:] - one[:2]).prod(), (other[2:] - other[:2]).prod()))


def _checked(image: U8) -> U8:
    """The picture in one piece.

    Raises:
        ValueError: It is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:  # noqa: PLR2004
        msg = f"image: expected (H, W, 3) uint8, found {image.shape} {image.dtype}"
        raise ValueError(msg)
    return np.ascontiguousarray(image)


def _faces(landmarks: F32, score: F32) -> Faces:
    return Faces(xyxy=mesh_box(landmarks), score=score, landmarks=landmarks)


def _overlap(one: F32, other: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Intersection over union of two (4,) boxes, in [0, 1]."""
    shared = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    union = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared
    return cast("float", shared / union) if union > 0 else 0.0
