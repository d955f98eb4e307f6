"""What `attuned evaluate expression` measures: how often each model is right on a data set, and how sure of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.datasets.data import FaceData
from models.datasets.labels import Warn
from models.datasets.meshes import find_meshes, framed
from models.datasets.sources import load_data
from models.errors import ModelError
from models.evaluation.answers import ARMS, FUSED, I64, Answers, Inputs, Measured
from models.evaluation.calibration import fitted_temperature
from models.evaluation.conditions import AS_IS, check_conditions, degraded
from models.evaluation.figures import against_best, complementarity, figures, plain_figures
from models.external import is_description
from models.manifest import WEIGHTS, read_manifest
from pipeline.types import U8

Progress = Callable[[str, int, int], None]
"""Called with what is being done, pictures done and pictures in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The data, what each model says of them, and the object of `--json`."""

    data: FaceData
    answers: Mapping[str, Answers]
    result: dict[str, Any]


def evaluate_expression(
    path: Path,
    models: Sequence[str] = (),
    *,
    split: str | None = None,
    conditions: Sequence[str] = (),
    folder: Path = WEIGHTS,
    seed: int = 0,
    n_workers: int = 2,
    progress: Progress | None = None,
    warn: Warn = lambda _: None,
) -> Evaluation:
    """What `evaluate_faces` gives for a data set; see `load_data` for `split` and `warn`.

    Raises:
        DataError: The data cannot be used, or a condition is none of `CONDITIONS`.
        ModelError: A name is not that of a model, or its model is missing or damaged.
    """
    check_names(models, folder)
    check_conditions(conditions)
    reading = None if progress is None else partial(progress, "pictures")
    data = load_data(path, split=split, n_workers=n_workers, progress=reading, warn=warn)
    return evaluate_faces(
        data, models, conditions=conditions, folder=folder, seed=seed, n_workers=n_workers, progress=progress, warn=warn
    )


def check_names(models: Sequence[str], folder: Path = WEIGHTS) -> None:
    """Nothing, where every name is `fused`, a model of the manifest, or the path of a YAML description.

    Raises:
        ModelError: A name is none of these.
    """
    known = (FUSED, *read_manifest(folder))
    for name in models:
        if name not in known and not is_description(name):
            msg = f"no model {name!r}; choose from {', '.join(sorted(known))}, or give the .yaml that describes one"
            raise ModelError(msg)


def evaluate_faces(
    data: FaceData,
    models: Sequence[str] = (),
    *,
    conditions: Sequence[str] = (),
    folder: Path = WEIGHTS,
    seed: int = 0,
    n_workers: int = 2,
    progress: Progress | None = None,
    warn: Warn = lambda _: None,
) -> Evaluation:
    """Each model's figures on the data, and what they become under each of the conditions.

    Without names, every model of the manifest and `fused` are measured.

    Meshes are found in the 48 px pictures. Landmark models read these; pixel models read the pictures as the daemon
    would cut them, `framed` by the mesh, and as they are where there is none. `fused` is the mean of the probabilities
    of `pixel` and `landmark`, calibrated for it, and `pixel` alone where no mesh is found. Data that bring meshes of
    larger pictures along are read with these, and a face that was not found there counts as unread by pixel models, too.
    Under a condition the 48 px pictures are degraded, whatever they were cut from, and meshes are found anew in
    them. `progress` is told of the search for meshes, on which most of the time is spent, and `warn` of models whose
    crops are larger or in colour, since all are given 48 px grey pictures.

    Intervals are bootstrapped over faces, that of an accuracy of 0 or 1 is Wilson's (`pipeline.intervals`). Pictures of
    one person are taken as independent, so intervals are too narrow where there are many of each.

    The result has an object per model, by its name, which for a described model is the one in the description, and in it

    - `version` and `sha256`; of `fused`, `versions` of its two;
    - `original` and `ferplus`, and the same again in `without_near_duplicates` where the data mark them: the `figures`;
      in each of them, of a single model, `temperature_fitted`, that of least log-loss on these very faces (what to write
      into a description as `temperature`), and `complementarity` with every other single model that is measured, by
      its name, and, of `fused`, `against_best` of its two;
    - `inference_ms`: `batch_1` and `batch_8`, each the `median` and `p95` in ms per face on one thread;
    - `conditions`, where any are asked for, by name: `original` and `ferplus` with the `plain_figures`. Of data
      that bring meshes along there is one more, `as-is`: the 48 px pictures undegraded, with meshes found in them, which
      is what the others are to be compared with.

    Raises:
        ModelError: A name is not that of a model or that of two, or its model is missing or damaged.
        DataError: A condition is none of `CONDITIONS`.
    """
    check_names(models, folder)
    check_conditions(conditions)
    measured = Measured(models or (*ARMS, FUSED, *read_manifest(folder)), folder)
    for doubt in measured.doubts:
        warn(doubt)

    def inputs(images: U8, what: str) -> Inputs:
        told = None if progress is None else partial(progress, what)
        meshes = find_meshes(images, n_workers=n_workers, progress=told)
        in_picture = np.ones(len(data), dtype=np.bool_) if data.meshes is None else data.meshes.found
        return Inputs(framed(images, meshes), in_picture, meshes)

    own = data.meshes
    plain = inputs(data.images, "meshes") if own is None else Inputs(data.images, own.found, own)
    answers = measured.answers(plain)
    result: dict[str, Any] = {}
    for name in measured.names:
        result[name] = measured.identity(name) | {
            labels: _against_labels(name, measured, answers, truth, seed) for labels, truth in _label_sets(data).items()
        }
        if data.near_duplicate is not None:
            result[name]["without_near_duplicates"] = {
                labels: _against_labels(name, measured, answers, np.where(data.near_duplicate, -1, truth), seed)
                for labels, truth in _label_sets(data).items()
            }
        result[name]["inference_ms"] = measured.inference_ms(name, plain)
    for condition in dict.fromkeys([AS_IS, *conditions] if conditions and own is not None else conditions):
        images = data.images if condition == AS_IS else degraded(data.images, condition)
        changed = measured.answers(inputs(images, f"meshes, {condition}"))
        for name in measured.names:
            result[name].setdefault("conditions", {})[condition] = {
                labels: plain_figures(truth, changed[name]) for labels, truth in _label_sets(data).items()
            }
    return Evaluation(data, {name: answers[name] for name in measured.names}, result)


def _label_sets(data: FaceData) -> dict[str, I64]:
    return {"original": data.label, "ferplus": data.ferplus}


def _against_labels(
    name: str, measured: Measured, answers: Mapping[str, Answers], truth: I64, seed: int
) -> dict[str, Any]:
    """The figures of one model, and how it stands to the others."""
    found = figures(truth, answers[name], seed=seed)
    if name == FUSED:
        found["against_best"] = against_best(truth, answers[name], {arm: answers[arm] for arm in ARMS}, seed=seed)
        return found
    seen = (truth >= 0) & answers[name].readable
    (logits,) = answers[name].logits
    found["temperature_fitted"] = fitted_temperature(logits[seen], truth[seen]) if seen.any() else None
    if len(measured.single) > 1:
        found["complementarity"] = {
            other: complementarity(truth, answers[name], answers[other]) for other in measured.single if other != name
        }
    return found
