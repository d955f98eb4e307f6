"""`python -m models.training`: train, export and calibrate the shipped models."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from models.errors import DataError, ModelError
from models.landmark import FEATURES
from models.manifest import WEIGHTS, ModelEntry
from models.training.data import FaceData, load_faces
from models.training.export import export, fitted_temperature, matching_offsets, shift_logits, write_model
from models.training.landmark import PAPER_RECIPE, LandmarkGraph, LandmarkNetwork, train_landmark, train_landmark_paper
from models.training.landmark import RECIPE as LANDMARK_RECIPE
from models.training.loop import logits_of
from models.training.meshes import Meshes, cached_meshes
from models.training.pixel import N_EMBEDDING, PixelGraph, PixelNetwork, central, train_pixel
from models.training.pixel import RECIPE as PIXEL_RECIPE
from pipeline.emotions import EMOTIONS, F32
from pipeline.types import U8

MODELS: Final = ("pixel", "landmark", "landmark-paper")

_COMMON: Final[Mapping[str, Any]] = {
    "classes": EMOTIONS,
    "licence": "Apache-2.0 (weights); FER+ votes: MIT; FER2013 pictures: no licence stated",
}


class _Bars:
    """A progress bar per step of the work, on stderr."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def counting(self, what: str) -> Callable[[int, int], None]:
        task = self._progress.add_task(what, total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def training(self, what: str) -> Callable[[int, int, float], None]:
        task = self._progress.add_task(what, total=None)
        return lambda done, total, loss: self._progress.update(
            task, completed=done, total=total, description=f"{what}, loss {loss:.3f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command: 0 done, 1 the export failed, 2 unusable data."""
    options = _parser().parse_args(arguments)
    wanted = MODELS if options.model == "all" else (options.model,)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            for name in wanted:
                started = time.monotonic()
                entry = _train(name, options, _Bars(progress))
                minutes = (time.monotonic() - started) / 60
                progress.console.print(f"{entry.version}: temperature {entry.temperature}, {minutes:.1f} min")
    except DataError as error:
        console.print(str(error), style="red", highlight=False)
        return 2
    except ModelError as error:
        console.print(str(error), style="red", highlight=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument("model", nargs="?", default="all", choices=[*MODELS, "all"])
    parser.add_argument("--data", type=Path, required=True, help="folder of fer2013_train.npz and fer2013_valid.npz")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where ONNX files and manifest.toml go")
    parser.add_argument("--cache", type=Path, default=Path("var"), help="where meshes and checkpoints are kept")
    return parser


def _train(name: str, options: argparse.Namespace, bars: _Bars) -> ModelEntry:
    train = load_faces(options.data / "fer2013_train.npz")
    valid = load_faces(options.data / "fer2013_valid.npz")
    checkpoint = options.cache / "training" / f"{name}.ckpt"
    truth = train.ferplus
    if name == "pixel":
        pixel = train_pixel(train, checkpoint=checkpoint, progress=bars.training(name))
        balance(pixel, pixel.head, central_faces(train.images[truth >= 0]), truth[truth >= 0])
        return export_pixel(pixel, valid, options.out)
    meshes = cached_meshes(train.images, folder=options.cache, progress=bars.counting("meshes for training"))
    valid_meshes = cached_meshes(valid.images, folder=options.cache, progress=bars.counting("meshes for calibration"))
    if name == "landmark-paper":
        paper = train_landmark_paper(train, meshes, checkpoint=checkpoint, progress=bars.training(name))
        return export_landmark(paper, valid, valid_meshes, options.out, paper=True)
    network = train_landmark(train, meshes, checkpoint=checkpoint, progress=bars.training(name))
    known = meshes.found & (truth >= 0)
    balance(network, network.head, FEATURES["mesh"](meshes.landmarks[known]), truth[known])
    return export_landmark(network, valid, valid_meshes, options.out, paper=False)


def balance(network: torch.nn.Module, head: torch.nn.Module, inputs: F32, truth: NDArray[np.int64]) -> None:
    """Shift the logits of the network's head, in place, by the `matching_offsets` on these inputs."""
    shift_logits(head, matching_offsets(logits_of(network, inputs), truth))


def central_faces(images: U8) -> F32:
    """What the pixel network is given of (n, 48, 48) uint8 pictures."""
    return central(torch.from_numpy(images.astype(np.float32))).numpy()


def export_pixel(network: PixelNetwork, valid: FaceData, out: Path) -> ModelEntry:
    """The manifest entry of the pixel model, calibrated on the FER+ majority of `valid` and written to `out`."""
    truth = valid.ferplus
    known = truth >= 0
    faces = central_faces(valid.images[known])
    fields = {
        **_COMMON,
        "name": "pixel",
        "file": "pixel.onnx",
        "kind": "pixel",
        "version": PIXEL_RECIPE.version,
        "features": "picture",
        "input": "faces",
        "dtype": "uint8",
        "shape": (48, 48),
        "embedding": N_EMBEDDING,
        "temperature": fitted_temperature(logits_of(network, faces), truth[known]),
        "training_data": "FER2013 Training with FER+ votes; temperature: FER2013 PublicTest, FER+ majority",
        "card": "pixel.md",
    }
    content = export(PixelGraph(network), valid.images[:64], input_name="faces")
    return write_model(out, content=content, fields=fields)


def export_landmark(network: LandmarkNetwork, valid: FaceData, meshes: Meshes, out: Path, *, paper: bool) -> ModelEntry:
    """The manifest entry of a landmark model, calibrated on the labels it was trained on and written to `out`."""
    truth = valid.label if paper else valid.ferplus
    known = meshes.found & (truth >= 0)
    kind = "paper" if paper else "mesh"
    inputs = FEATURES[kind](meshes.landmarks[known])
    name = "landmark-paper" if paper else "landmark"
    labels, majority = ("original labels",) * 2 if paper else ("FER+ votes", "FER+ majority")
    fields = {
        **_COMMON,
        "name": name,
        "file": f"{name}.onnx",
        "kind": "landmark",
        "version": (PAPER_RECIPE if paper else LANDMARK_RECIPE).version,
        "features": kind,
        "input": "features",
        "dtype": "float32",
        "shape": inputs.shape[1:],
        "embedding": 128,
        "temperature": fitted_temperature(logits_of(network, inputs), truth[known]),
        "training_data": f"meshes of FER2013 Training with {labels}; temperature: FER2013 PublicTest, {majority}",
        "card": f"{name}.md",
    }
    content = export(LandmarkGraph(network), inputs[:64], input_name="features")
    return write_model(out, content=content, fields=fields)


if __name__ == "__main__":
    sys.exit(main())
