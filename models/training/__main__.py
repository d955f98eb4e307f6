"""`python -m models.training`: train, export and calibrate the shipped models."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from models.datasets.data import FaceData
from models.datasets.meshes import Meshes, cached_meshes
from models.datasets.sources import load_data
from models.errors import DataError, ModelError
from models.manifest import WEIGHTS, ModelEntry
from models.training import bank
from models.training.augment import other_views
from models.training.entries import FER2013, Provenance, balance, central_faces, export_landmark, export_pixel, fit_pool
from models.training.heads import LABELS
from models.training.heads_export import export_heads
from models.training.landmark import RECIPE as LANDMARK_RECIPE
from models.training.landmark import train_landmark, train_landmark_paper
from models.training.pixel import train_pixel
from pipeline.types import U8

MODELS: Final = ("pixel", "landmark", "landmark-paper")
"""What is trained; of the first two a variant in terms of the original labels comes with it."""

BANK: Final = "bank"
"""What the models say of validation faces, for simulated groups; made from models that are there already."""

HEADS: Final = "heads"
"""The dense heads inside the models that are there, as arrays; also written whenever a model was trained."""

FER2013_FILES: Final = ("fer2013_train.npz", "fer2013_valid.npz")


class _Bars:
    """A progress bar per step of the work, on stderr."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def counting(self, what: str) -> Callable[[int, int], None]:
        task = self._progress.add_task(what, total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def said(self, line: str) -> None:
        """A line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def training(self, what: str) -> Callable[[int, int, float], None]:
        task = self._progress.add_task(what, total=None)
        return lambda done, total, loss: self._progress.update(
            task, completed=done, total=total, description=f"{what}, loss {loss:.3f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command: 0 done, 1 the export failed, 2 unusable data."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.data is None and options.model != HEADS:
        parser.error("--data: say what to learn from")
    wanted = MODELS if options.model == "all" else (options.model,)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            bars = _Bars(progress)
            if options.model == HEADS:
                bars.said(str(export_heads(options.out or WEIGHTS)))
                return 0
            task = _task(options, bars)
            if options.model == BANK:
                _bank(task, bars)
                return 0
            for name in wanted:
                started = time.monotonic()
                for entry in _train(name, task, bars):
                    progress.console.print(f"{entry.version}: temperature {entry.temperature}")
                progress.console.print(f"{(time.monotonic() - started) / 60:.1f} min")
            export_heads(task.out)
    except DataError as error:
        console.print(str(error), style="red", highlight=False)
        return 2
    except ModelError as error:
        console.print(str(error), style="red", highlight=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument("model", nargs="?", default="all", choices=[*MODELS, BANK, HEADS, "all"])
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="DATA",
        help="needed for all but `heads`: folder of fer2013_train.npz and fer2013_valid.npz; or any data set that `attuned evaluate expression` reads, "
        "divided into splits; or two of them, to train and to calibrate on",
    )
    parser.add_argument(
        "--splits",
        nargs=2,
        default=("Training", "PublicTest"),
        metavar=("TRAIN", "VALID"),
        help="parts of a data set to train and to calibrate on; default Training PublicTest, as FER2013 calls them",
    )
    parser.add_argument("--out", type=Path, help="where ONNX files and manifest.toml go; needed for data of your own")
    parser.add_argument("--cache", type=Path, default=Path("var"), help="where meshes and checkpoints are kept")
    return parser


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """What is trained on, calibrated on, and where it goes."""

    train: FaceData
    valid: FaceData
    source: Provenance
    out: Path
    cache: Path


def _task(options: argparse.Namespace, bars: _Bars) -> _Task:
    """The data that the options name.

    Raises:
        DataError: They cannot be used, or go nowhere.
    """
    first = options.data[0]
    shipped = [first / name for name in FER2013_FILES]
    if len(options.data) == 1 and all(path.exists() for path in shipped):
        train, valid = (load_data(path) for path in shipped)
        return _Task(train, valid, FER2013, options.out or WEIGHTS, options.cache)
    if len(options.data) > 2:  # noqa: PLR2004 (one to train on, one to calibrate on)
        msg = f"--data: expected one or two, found {len(options.data)}"
        raise DataError(msg)
    if options.out is None:
        msg = "--out: say where models of your own data go; those that come with attuned stay as they are"
        raise DataError(msg)
    parts = (
        [(first, split) for split in options.splits] if len(options.data) == 1 else [(p, None) for p in options.data]
    )
    names = [" ".join(filter(None, (path.resolve().name, split))) for path, split in parts]
    train, valid = (_faces(path, split, bars) for path, split in parts)
    source = Provenance(
        train=names[0], valid=names[1], licence=f"that of {names[0]}: not stated", voted=bool(train.votes.any())
    )
    return _Task(train.with_votes(), valid.with_votes(), source, options.out, options.cache)


def _faces(path: Path, split: str | None, bars: _Bars) -> FaceData:
    """The faces of a data set, without those that were not found in their pictures."""
    what = " ".join(filter(None, ("pictures", split)))
    data = load_data(path, split=split, progress=bars.counting(what), warn=bars.said)
    if data.meshes is not None:
        data = data.rows(np.flatnonzero(data.meshes.found))
    if len(data) == 0:
        msg = f"{path}: no face was found in any picture; give pictures of faces"
        raise DataError(msg)
    return data


def _bank(task: _Task, bars: _Bars) -> None:
    arrays = bank.bank_arrays(task.valid, task.out, progress=bars.counting("meshes of the bank"))
    path = task.out / bank.FILE
    size = bank.write_bank(path, arrays)
    bars.said(f"{path}: {len(arrays['emotion'])} faces, {len(arrays['takes'])} takes of each, {size / 1e6:.1f} MB")


def _train(name: str, task: _Task, bars: _Bars) -> list[ModelEntry]:
    train, valid, out, source = task.train, task.valid, task.out, task.source
    checkpoint = task.cache / "training" / f"{name}.ckpt"

    def meshes_of(data: FaceData, what: str) -> Meshes:
        return data.meshes or found_in(data.images, what)

    def found_in(images: U8, what: str) -> Meshes:
        return cached_meshes(images, folder=task.cache, progress=bars.counting(f"meshes of the {what}"))

    valid_meshes = meshes_of(valid, "faces for calibration")
    meshes = meshes_of(train, "faces for training")
    if name == "landmark-paper":
        paper = train_landmark_paper(train, meshes, checkpoint=checkpoint, progress=bars.training(name))
        return [export_landmark(paper, "original", valid, valid_meshes, out, paper=True, source=source)]
    if name == "pixel":
        faces = train.framed(meshes)
        framings = [faces] if train.meshes is not None else [train.images, faces]
        network = train_pixel(train, framings, checkpoint=checkpoint, progress=bars.training(name))
        shown = valid.framed(valid_meshes)
        balance(network.only("votes"), central_faces(shown), valid.ferplus)
        entries = [export_pixel(network.only(labels), labels, valid, shown, out, source=source) for labels in LABELS]
    else:
        mirrored, worn = other_views(train.images, seed=LANDMARK_RECIPE.seed)
        views = [
            meshes,
            found_in(mirrored, "mirrored faces for training"),
            found_in(worn, "faces for training as a poor webcam shows them"),
        ]
        network = train_landmark(train, views, checkpoint=checkpoint, progress=bars.training(name))
        entries = [
            export_landmark(network.only(labels), labels, valid, valid_meshes, out, source=source) for labels in LABELS
        ]
    fit_pool(valid, valid_meshes, out)
    return entries


if __name__ == "__main__":
    sys.exit(main())
