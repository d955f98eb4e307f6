"""What personalisation learns from: features and labels of one person's face, never pictures (GROUP, section 5)."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F32, F64

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


class Origin(IntEnum):
    """Where a label came from."""

    GROUP = 0
    """What the others showed (algorithm 9)."""
    CORRECTION = 1
    """A person said so afterwards, by MQTT or API."""
    CALIBRATION = 2
    """The person watched or played a stimulus of known emotion (TRANSFER, section 5)."""
    SHEET = 3
    """A sheet of labels that was filled in."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """n samples of one participant, one per second at most, in the order of time.

    time_s: (n,) seconds, on a timeline that is the same for all samples of the participant.
    pixel, landmark: (n, d) embeddings of the two arms; rows of `landmark` are nan where there was no mesh.
    interpretable: (n, 51) features of PERSONAL, section 3.3, as measured; nan where there was no mesh.
    target: (n, 7) soft labels; confidence: (n,) in [0, 1]; origin: (n,) of `Origin`.
    quality: (n,) in [0.05, 1].
    """

    time_s: F64
    pixel: F32
    landmark: F32
    interpretable: F32
    target: F64
    confidence: F64
    quality: F64
    origin: U8

    def __len__(self) -> int:
        """How many samples."""
        return len(self.time_s)

    @property
    def label(self) -> I64:
        """(n,) the largest class of each soft label."""
        return np.asarray(self.target.argmax(axis=1), dtype=np.int64)

    def take(self, rows: I64 | NDArray[np.bool_]) -> Self:
        """The samples of these rows, or where the mask is true."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))
