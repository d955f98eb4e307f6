"""What a manifest lists, read into samples for `attuned evaluate personal`.

A row is a still, a span of a video, or a span of a CSV file that OpenFace wrote. Features live in memory only.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemon.errors import UnusableInputError
from daemon.sources.file import Tally, probe, read_frames
from models.datasets.labels import emotion_index
from models.datasets.listings import SUFFIXES
from models.datasets.meshes import find_meshes
from models.datasets.pictures import Picture, read_pictures
from models.datasets.tables import header_of, rows_of
from models.errors import DataError
from models.evaluation.personal import Material
from models.faces import MediaPipeFaceTracker
from models.landmark import OnnxLandmarkModel
from models.personal.samples import Origin, Samples
from models.pixel import OnnxPixelModel, face_crop
from pipeline.emotions import F32, N_EMOTIONS
from pipeline.interpretable import N_INTERPRETABLE, NAMES, interpretable_features
from pipeline.landmarks import head_pose
from pipeline.quality import frame_quality, sharpness
from pipeline.types import U8

COLUMNS: Final = ("path", "subject", "group", "order", "start_s", "end_s", "label")
RATINGS: Final = ("valence", "arousal")
RATE_HZ: Final = 4.0
"""Pictures of a video that are looked at; the best of each second is a sample, as in a call."""
HOLD_S: Final = 2.0
_BATCH: Final = 64

Progress = Callable[[str, int, int], None]
_OPENFACE_MEANS: Final[Mapping[str, tuple[str, ...]]] = {
    "gaze_x": ("gaze_0_x", "gaze_1_x"),
    "gaze_y": ("gaze_0_y", "gaze_1_y"),
    "gaze_z": ("gaze_0_z", "gaze_1_z"),
    **{f"eye_{axis}": tuple(f"eye_lmk_{axis}_{k}" for k in range(56)) for axis in "xyXYZ"},
}
_OPENFACE_COLUMNS: Final = tuple(_OPENFACE_MEANS.get(name, (name,)) for name in NAMES)
"""The columns of OpenFace 2.2 whose mean each of the 51 features is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the manifest; `end_s` is None where it has no span, `emotion` -1 outside the seven classes."""

    line: int
    path: Path
    subject: str
    group: str
    order: float
    start_s: float
    end_s: float | None
    emotion: int
    word: str
    rating: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What was read of one sample of a row."""

    row: int
    time_s: float
    quality: float
    interpretable: F32
    image: U8 | None = None
    mesh: F32 | None = None


@dataclass(slots=True)
class _Excluded:
    """What was left out, counted by subject and reason."""

    counts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: Row, reason: str) -> None:
        self.counts[row.subject, reason] += 1

    def as_json(self) -> tuple[Mapping[str, Any], ...]:
        return tuple({"what": what, "reason": reason, "n": n} for (what, reason), n in self.counts.items())


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest.

    Raises:
        UnusableInputError: It cannot be read, or a line of it is wrong; the message names the line.
    """
    try:
        header = header_of(path)
        columns = (*COLUMNS, *(name for name in RATINGS if name in header))
        rows = [_row(path, line, dict(zip(columns, fields, strict=True))) for line, fields in rows_of(path, columns)]
    except DataError as error:
        raise UnusableInputError(str(error)) from error
    if not rows:
        msg = f"{path}: has no rows; give {', '.join(COLUMNS)} for each still or span"
        raise UnusableInputError(msg)
    return rows


def _row(path: Path, line: int, fields: Mapping[str, str]) -> Row:
    def number(name: str, *, default: float | None = None, low: float = -math.inf, high: float = math.inf) -> float:
        text = fields.get(name, "")
        if not text and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or math.isinf(value):
            bounds = f" from {low:g} to {high:g}" if math.isfinite(high) else ""
            msg = f"{path}, line {line}: {name}: expected a number{bounds}, found {text[:40]!r}"
            raise UnusableInputError(msg)
        return value

    for name in ("path", "subject", "group"):
        if not fields[name]:
            msg = f"{path}, line {line}: {name} is empty"
            raise UnusableInputError(msg)
    file = path.parent / fields["path"]
    if not file.is_file():
        msg = f"{path}, line {line}: there is no file {file}"
        raise UnusableInputError(msg)
    start_s = number("start_s", default=0.0, low=0.0)
    end_s = number("end_s", low=0.0) if fields["end_s"] else None
    if end_s is not None and end_s <= start_s:
        msg = f"{path}, line {line}: end_s: expected more than start_s ({start_s:g}), found {end_s:g}"
        raise UnusableInputError(msg)
    rating = tuple(number(name, low=-1, high=1) if fields.get(name) else math.nan for name in RATINGS)
    return Row(
        line=line,
        path=file,
        subject=fields["subject"],
        group=fields["group"],
        order=number("order"),
        start_s=start_s,
        end_s=end_s,
        emotion=emotion_index(fields["label"]),
        word=fields["label"],
        rating=(rating[0], rating[1]),
    )


def read_material(rows: Sequence[Row], progress: Progress = lambda *_: None) -> Material:
    """The samples of the rows of the seven classes in which a face was found.

    Raises:
        UnusableInputError: A file cannot be read, or nothing is left.
    """
    excluded = _Excluded()
    usable = [number for number, row in enumerate(rows) if row.emotion >= 0]
    for row in rows:
        if row.emotion < 0:
            excluded.add(row, f"labels outside the seven classes: {row.word[:40] or 'none'}")
    kinds: dict[str, list[int]] = {"still": [], "video": [], "openface": []}
    for number in usable:
        suffix = rows[number].path.suffix.lower()
        kinds["still" if suffix in SUFFIXES else "openface" if suffix == ".csv" else "video"].append(number)
    seen = list(_stills(rows, kinds["still"], progress))
    seen += _videos(rows, kinds["video"], progress)
    seen += _openface(rows, kinds["openface"])
    found = {sample.row for sample in seen}
    for number in usable:
        if number not in found:
            excluded.add(rows[number], "no face found")
    if not seen:
        msg = "no row shows one of the seven classes and a face; look at the labels and at what the paths point to"
        raise UnusableInputError(msg)
    seen.sort(key=lambda sample: (sample.row, sample.time_s))
    return _material(rows, seen, excluded.as_json())


def _stills(rows: Sequence[Row], numbers: Sequence[int], progress: Progress) -> Iterator[_Seen]:
    if not numbers:
        return
    try:
        read = read_pictures(
            [Picture(rows[number].path) for number in numbers],
            progress=lambda done, total: progress("pictures", done, total),
        )
    except DataError as error:
        raise UnusableInputError(str(error)) from error
    for at in np.flatnonzero(~read.readable):
        row = rows[numbers[at]]
        msg = f"line {row.line}: {row.path} is no picture that can be read"
        raise UnusableInputError(msg)
    # Pictures of 48 px are taken as they are, without a mesh.
    meshes = read.meshes or find_meshes(read.images)
    for at, number in enumerate(numbers):
        if meshes.found[at]:
            mesh = meshes.landmarks[at]
            features = interpretable_features(mesh[None])[0]
            yield _Seen(number, 0.0, 1.0, features, read.images[at], mesh)


def _videos(rows: Sequence[Row], numbers: Sequence[int], progress: Progress) -> Iterator[_Seen]:
    """The best picture of each second of each span."""
    files: dict[Path, list[int]] = defaultdict(list)
    for number in numbers:
        files[rows[number].path].append(number)
    for done, (path, spans) in enumerate(files.items()):
        progress("videos", done, len(files))
        yield from _video(path, rows, spans)
    if files:
        progress("videos", len(files), len(files))


def _video(path: Path, rows: Sequence[Row], spans: Sequence[int]) -> Iterator[_Seen]:
    recording = probe(path)
    best: dict[tuple[int, int], _Seen] = {}
    last_s = max((rows[number].end_s or math.inf) for number in spans)
    with MediaPipeFaceTracker() as tracker:
        for frame in read_frames(recording, rate_hz=RATE_HZ, hold_s=HOLD_S, tally=Tally()):
            if frame.time_s >= last_s:
                break
            inside = [n for n in spans if rows[n].start_s <= frame.time_s < (rows[n].end_s or math.inf)]
            if not inside:
                continue
            faces = tracker.find(frame.image)
            if len(faces) == 0:
                continue
            mesh = faces.landmarks[0]
            crop = face_crop(frame.image, mesh)
            yaw, pitch, _ = head_pose(mesh[None])[0]
            quality = frame_quality(
                score=float(faces.score[0]),
                width_px=float(faces.xyxy[0, 2] - faces.xyxy[0, 0]),
                yaw_rad=float(yaw),
                pitch_rad=float(pitch),
                sharp=sharpness(crop),
            )
            for number in inside:
                second = (number, int(frame.time_s - rows[number].start_s))
                if second not in best or quality > best[second].quality:
                    features = interpretable_features(mesh[None])[0]
                    best[second] = _Seen(number, frame.time_s, quality, features, crop, mesh)
    yield from best.values()


def _openface(rows: Sequence[Row], numbers: Sequence[int]) -> Iterator[_Seen]:
    """The surest picture of each second of each span, as OpenFace measured it."""
    tables: dict[Path, tuple[np.ndarray[Any, np.dtype[np.float64]], F32]] = {}
    for number in numbers:
        row = rows[number]
        if row.path not in tables:
            tables[row.path] = _openface_table(row.path)
        times, features = tables[row.path]
        inside = np.flatnonzero((times[:, 0] >= row.start_s) & (times[:, 0] < (row.end_s or math.inf)))
        seconds = (times[inside, 0] - row.start_s).astype(int)
        for second in np.unique(seconds):
            at = inside[seconds == second]
            surest = at[times[at, 1].argmax()]
            yield _Seen(number, float(times[surest, 0]), max(0.05, float(times[surest, 1])), features[surest])


def _openface_table(path: Path) -> tuple[np.ndarray[Any, np.dtype[np.float64]], F32]:
    """(n, 2) time and confidence of the pictures with a face, and their (n, 51) features."""
    wanted = tuple(dict.fromkeys(name for names in _OPENFACE_COLUMNS for name in names))
    try:
        columns = ("timestamp", "confidence", "success", *wanted)
        table = np.array([[float(text) for text in fields] for _, fields in rows_of(path, columns)])
    except DataError as error:
        raise UnusableInputError(f"{error}"[:400]) from error
    except ValueError:
        msg = f"{path}: holds something that is no number; give what OpenFace 2.2 wrote"
        raise UnusableInputError(msg) from None
    table = table.reshape(-1, 3 + len(wanted))
    table = table[table[:, 2] > 0]
    places = {name: 3 + at for at, name in enumerate(wanted)}
    features = [table[:, [places[name] for name in names]].mean(axis=1) for names in _OPENFACE_COLUMNS]
    return table[:, :2], np.stack(features, axis=1).astype(np.float32)


def _material(rows: Sequence[Row], seen: Sequence[_Seen], excluded: tuple[Mapping[str, Any], ...]) -> Material:
    """Samples with the embeddings of both arms, a row's samples sharing its weight of 1."""
    n = len(seen)
    of = [rows[sample.row] for sample in seen]
    number = np.array([sample.row for sample in seen], dtype=np.int64)
    pixel, landmark = _embeddings(seen)
    samples = Samples(
        time_s=np.array([row.order for row in of]) + np.array([sample.time_s for sample in seen]) * 1e-6,
        pixel=pixel,
        landmark=landmark,
        interpretable=np.array([sample.interpretable for sample in seen], dtype=np.float32).reshape(n, N_INTERPRETABLE),
        target=np.eye(N_EMOTIONS)[[row.emotion for row in of]],
        confidence=1 / np.bincount(number)[number],
        quality=np.array([sample.quality for sample in seen]),
        origin=np.full(n, Origin.SHEET, dtype=np.uint8),
    )
    return Material(
        samples,
        np.array([row.subject for row in of]),
        np.array([row.group for row in of]),
        np.array([row.order for row in of]),
        number,
        np.array([row.rating for row in of]).reshape(n, 2),
        excluded,
    )


def _embeddings(seen: Sequence[_Seen]) -> tuple[F32, F32]:
    """(n, d) of both arms; nan where there is no picture."""
    pixel, landmark = OnnxPixelModel(), OnnxLandmarkModel()
    result = tuple(np.full((len(seen), model.entry.embedding), np.nan, dtype=np.float32) for model in (pixel, landmark))
    pictured = [at for at, sample in enumerate(seen) if sample.image is not None]
    for start in range(0, len(pictured), _BATCH):
        batch = pictured[start : start + _BATCH]
        result[0][batch] = pixel.predict(np.array([seen[at].image for at in batch])).embeddings
        result[1][batch] = landmark.predict(np.array([seen[at].mesh for at in batch])).embeddings
    return result[0], result[1]
