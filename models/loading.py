"""Both expression models at once."""

from dataclasses import dataclass
from pathlib import Path

from models.landmark import OnnxLandmarkModel
from models.manifest import WEIGHTS
from models.pixel import OnnxPixelModel


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionModels:
    """The two arms (GROUP, section 3)."""

    pixel: OnnxPixelModel
    landmark: OnnxLandmarkModel


def load_models(
    pixel: str = "pixel", landmark: str = "landmark", *, folder: Path = WEIGHTS, n_threads: int = 1
) -> ExpressionModels:
    """The models of these names in the manifest of `folder`, verified and warmed up; nothing is downloaded.

    Raises:
        ModelError: A model is missing, damaged, or not what the manifest says.
    """
    return ExpressionModels(
        pixel=OnnxPixelModel(pixel, folder=folder, n_threads=n_threads),
        landmark=OnnxLandmarkModel(landmark, folder=folder, n_threads=n_threads),
    )
