"""Both expression models at once, and what weighs them."""

import os
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelError
from models.external import ExternalPixelModel, is_description
from models.landmark import OnnxLandmarkModel
from models.manifest import WEIGHTS
from models.pixel import OnnxPixelModel
from models.weighing import load_weights
from pipeline.learned_weights import WeightModel


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionModels:
    """The two arms (GROUP, section 3), and the model that weighs them, where that is not left to a rule."""

    pixel: OnnxPixelModel | ExternalPixelModel
    landmark: OnnxLandmarkModel
    weights: WeightModel | None = None


def load_models(
    pixel: str = "pixel",
    landmark: str = "landmark",
    *,
    folder: Path = WEIGHTS,
    n_threads: int = 1,
    learned_weights: bool = False,
) -> ExpressionModels:
    """The models of these names, verified and warmed up; nothing is downloaded.

    `pixel` may be the path of a YAML description as well (`models.description`).

    Raises:
        ModelError: A model is missing, damaged, or not what the manifest or its description says; or the learned weights
            are of other models than these.
    """
    if is_description(landmark):
        msg = f"{landmark}: landmark models cannot be described; give one that `attuned models list` shows"
        raise ModelError(msg)
    arms = (
        load_pixel_model(pixel, folder=folder, n_threads=n_threads),
        OnnxLandmarkModel(landmark, folder=folder, n_threads=n_threads),
    )
    weights = load_weights(folder, models=(arms[0].sha256, arms[1].sha256)) if learned_weights else None
    return ExpressionModels(*arms, weights)


def load_pixel_model(name: str, *, folder: Path = WEIGHTS, n_threads: int = 1) -> OnnxPixelModel | ExternalPixelModel:
    """The model of this name in the manifest of `folder`, or the one that the YAML file of this path describes.

    Raises:
        ModelError: It is missing, damaged, or not what the manifest or its description says.
    """
    if is_description(name):
        return ExternalPixelModel(description_path(name), n_threads=n_threads)
    return OnnxPixelModel(name, folder=folder, n_threads=n_threads)


def description_path(name: str) -> Path:
    """The path in a setting; relative ones are relative to the working folder, `~` is the home."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 (an unknown ~user stays as it is instead of raising)
