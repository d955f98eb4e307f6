"""What the pipeline needs from a model; `models` implements it, tests fake it."""

from collections.abc import Sequence
from typing import Protocol

from pipeline.emotions import F32
from pipeline.types import U8, Box, Crop, Expressions, FaceBoxes, Faces


class FaceTracker(Protocol):
    """Finds the face of one participant in picture after picture; used by one thread at a time."""

    def find(self, image: U8) -> Faces:
        """At most one face, in pixels of the (H, W, 3) uint8 RGB picture, with its 468-point mesh."""

    def close(self) -> None:
        """Give its memory and threads back."""


class FaceSpotter(Protocol):
    """Finds where faces are, in a whole video wall: a detector without a mesh, for it comes before consent."""

    def find_all(self, image: U8, tiles: Sequence[Box] = ()) -> FaceBoxes:
        """All faces of the (H, W, 3) uint8 RGB picture, in its pixels; `tiles` are where to look closer."""

    def close(self) -> None:
        """Give its memory and threads back."""


class PixelModel(Protocol):
    """An expression model that reads pictures of faces."""

    @property
    def version(self) -> str:
        """Name and version, such as `pixel-1.0`."""

    @property
    def crop(self) -> Crop:
        """The pictures it reads."""

    def predict(self, faces: U8) -> Expressions:
        """What (n, *crop.shape) uint8 face crops express."""


class LandmarkModel(Protocol):
    """An expression model that reads the geometry of face meshes."""

    @property
    def version(self) -> str:
        """Name and version, such as `landmark-1.0`."""

    def predict(self, landmarks: F32) -> Expressions:
        """What (n, 468, 3) float32 meshes express; unit and position do not matter."""
