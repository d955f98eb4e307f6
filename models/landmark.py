"""The landmark model: what the geometry of a face mesh expresses."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.errors import ModelError
from models.manifest import WEIGHTS, ModelEntry, find_entry
from models.onnx import ExpressionSession
from pipeline.emotions import F32
from pipeline.landmarks import mesh_features, paper_features
from pipeline.types import Expressions

FEATURES: Final[Mapping[str, Callable[[F32], F32]]] = MappingProxyType({"mesh": mesh_features, "paper": paper_features})
"""The features a landmark model can be trained on, by the name that its manifest entry gives."""


class OnnxLandmarkModel:
    """Implements `LandmarkModel` with a network of the manifest.

    Args:
        name: The model's name in the manifest: `landmark`, or `landmark-paper` for that of GROUP, section 3.
        folder: Where manifest and files lie.
        n_threads: Threads within one operator, at least 1.

    Raises:
        ModelError: See `ExpressionSession`; or the model is not one for landmarks.
    """

    def __init__(self, name: str = "landmark", *, folder: Path = WEIGHTS, n_threads: int = 1) -> None:
        entry = find_entry(name, folder)
        if entry.kind != "landmark":
            msg = f"model {name!r} reads {entry.kind}s; choose one of kind landmark"
            raise ModelError(msg)
        self._session = ExpressionSession(folder=folder, entry=entry, n_threads=n_threads)
        self._features = FEATURES[entry.features]

    @property
    def version(self) -> str:
        """Name and version, such as `landmark-1.0`."""
        return self._session.entry.version

    @property
    def sha256(self) -> str:
        """Hash of the ONNX file, 64 hexadecimal digits."""
        return self._session.entry.sha256

    @property
    def entry(self) -> ModelEntry:
        """What the manifest says of this model."""
        return self._session.entry

    def predict(self, landmarks: F32) -> Expressions:
        """What (n, 468, 3) float32 meshes express; unit and position do not matter.

        Raises:
            ValueError: `landmarks` is of another shape.
        """
        return self._session.run(self._features(landmarks))
