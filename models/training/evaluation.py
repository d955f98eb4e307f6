"""What `attuned evaluate expression` measures: how often each model is right on a data set, and how sure of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.landmark import OnnxLandmarkModel
from models.manifest import WEIGHTS, read_manifest
from models.pixel import OnnxPixelModel
from models.training.data import FaceData, load_faces
from models.training.meshes import Meshes, find_meshes
from pipeline import metrics
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS

DEFAULT_MODELS: Final = ("pixel", "landmark", "fused", "landmark-paper")
FUSED: Final = "fused"

_BATCH: Final = 64

I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
Progress = Callable[[int, int], None]


def evaluate_expression(
    path: Path,
    models: Sequence[str] = DEFAULT_MODELS,
    *,
    folder: Path = WEIGHTS,
    seed: int = 0,
    n_workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The object of `attuned evaluate expression --json`: model name to figures, JSON types only.

    Pixel models read the 48 px pictures of the npz themselves, landmark models the meshes found in them;
    `fused` is the mean of the calibrated probabilities of `pixel` and `landmark`, and `pixel` alone where no
    mesh is found. Figures that are not defined (the recall of no faces) are None. `progress` is given
    pictures done and pictures in all while meshes are found, on which most of the time is spent.

    Raises:
        DataError: The file cannot be used.
        ModelError: A name is not that of a model, or its model is missing or damaged.
    """
    check_names(models, folder)
    data = load_faces(path)
    return evaluate_faces(data, models, folder=folder, seed=seed, n_workers=n_workers, progress=progress)


def check_names(models: Sequence[str], folder: Path = WEIGHTS) -> None:
    """Nothing, where every name is `fused` or a model of the manifest.

    Raises:
        ModelError: A name is neither.
    """
    known = (FUSED, *read_manifest(folder))
    for name in models:
        if name not in known:
            msg = f"no model {name!r}; choose from {', '.join(sorted(known))}"
            raise ModelError(msg)


def evaluate_faces(
    data: FaceData,
    models: Sequence[str] = DEFAULT_MODELS,
    *,
    folder: Path = WEIGHTS,
    seed: int = 0,
    n_workers: int = 2,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The same as `evaluate_expression`, of data that have been read."""
    kinds = {name: entry.kind for name, entry in read_manifest(folder).items()}
    meshes: Meshes | None = None
    if any(name == FUSED or kinds[name] == "landmark" for name in models):
        meshes = find_meshes(data.images, n_workers=n_workers, progress=progress)
    result = {}
    for name in models:
        probabilities, readable = _predictions(name, kinds, data, meshes, folder)
        result[name] = _both_label_sets(data, probabilities, readable, seed)
    return result


def figures(truth: I64, probabilities: F64, readable: Bool, *, seed: int = 0) -> dict[str, Any]:
    """The figures of one model against one set of labels.

    truth: (n,) index into `EMOTIONS`, or -1 where the row is left out.
    probabilities: (n, 7), any where the model cannot read the face.
    readable: (n,) whether the model can read the face.
    """
    known = truth >= 0
    seen = known & readable
    expected, given = truth[seen], probabilities[seen]
    predicted = given.argmax(axis=1)
    table = metrics.confusion(expected, predicted, n_classes=N_EMOTIONS)
    correct = predicted == expected
    n = int(known.sum())
    interval = metrics.bootstrap_accuracy_ci95(correct, seed=seed)
    return {
        "n": n,
        "accuracy": _number(metrics.accuracy(table)),
        "accuracy_ci95": [_number(end) for end in interval],
        "accuracy_all": _number(float(correct.sum() / n) if n else math.nan),
        "coverage": _number(float(seen.sum() / n) if n else math.nan),
        "uar": _number(metrics.unweighted_average_recall(table)),
        "f1": dict(zip(EMOTIONS, map(_number, metrics.f1_scores(table)), strict=True)),
        "macro_f1": _number(metrics.macro_f1(table)),
        "log_loss": _number(metrics.log_loss(expected, given)),
        "ece": _number(metrics.expected_calibration_error(correct, given.max(axis=1, initial=0))),
        "confusion": table.tolist(),
    }


def format_evaluation(result: Mapping[str, Any]) -> str:
    """What `evaluate_expression` returned as a plain-text table, one line per model and set of labels."""
    header = ("model", "labels", "n", "accuracy", "95 % interval", "all", "coverage", "UAR", "F1", "log-loss", "ECE")
    rows: list[tuple[str, ...]] = [header]
    for name, measured in result.items():
        for labels in ("original", "ferplus"):
            rows.append(_row(name, labels, measured[labels]))
            if "without_near_duplicates" in measured:
                rows.append(_row(name, f"{labels}, no near-duplicates", measured["without_near_duplicates"][labels]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column < 2 else text.rjust(width)  # noqa: PLR2004 (the two columns of words)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _predictions(
    name: str, kinds: Mapping[str, str], data: FaceData, meshes: Meshes | None, folder: Path
) -> tuple[F64, Bool]:
    """(n, 7) calibrated probabilities, and (n,) whether the model could read the face."""
    n = len(data)
    if name == FUSED:
        pixel, _ = _predictions("pixel", kinds, data, meshes, folder)
        landmark, with_mesh = _predictions("landmark", kinds, data, meshes, folder)
        return np.where(with_mesh[:, None], 0.5 * pixel + 0.5 * landmark, pixel), np.ones(n, dtype=np.bool_)
    probabilities = np.full((n, N_EMOTIONS), 1 / N_EMOTIONS)
    if meshes is None or kinds[name] == "pixel":
        pixel_model = OnnxPixelModel(name, folder=folder)
        for start in range(0, n, _BATCH):
            rows = slice(start, start + _BATCH)
            probabilities[rows] = pixel_model.predict(data.images[rows]).probabilities
        return probabilities, np.ones(n, dtype=np.bool_)
    landmark_model = OnnxLandmarkModel(name, folder=folder)
    probabilities[meshes.found] = landmark_model.predict(meshes.landmarks[meshes.found]).probabilities
    return probabilities, meshes.found


def _both_label_sets(data: FaceData, probabilities: F64, readable: Bool, seed: int) -> dict[str, Any]:
    label_sets = {"original": data.label, "ferplus": data.ferplus}
    result: dict[str, Any] = {
        labels: figures(truth, probabilities, readable, seed=seed) for labels, truth in label_sets.items()
    }
    if data.near_duplicate is not None:
        result["without_near_duplicates"] = {
            labels: figures(np.where(data.near_duplicate, -1, truth), probabilities, readable, seed=seed)
            for labels, truth in label_sets.items()
        }
    return result


def _row(name: str, labels: str, measured: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = measured["accuracy_ci95"]
    return (
        name,
        labels,
        str(measured["n"]),
        _percent(measured["accuracy"]),
        "-" if low is None else f"{100 * low:.1f} to {100 * high:.1f} %",
        _percent(measured["accuracy_all"]),
        _percent(measured["coverage"]),
        _three_digits(measured["uar"]),
        _three_digits(measured["macro_f1"]),
        _three_digits(measured["log_loss"]),
        _three_digits(measured["ece"]),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _three_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else float(value)
