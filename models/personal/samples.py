"""What personalisation learns from: features and labels of one person's face, never pictures (GROUP, section 5)."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F32, F64
from pipeline.metrics import Bool

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


GROUP_NOISE: Final = 0.15
"""Share of the group's labels that are taken to be wrong; in simulated calls one of six is (decisions/0013)."""
_TINY: Final = 1e-12
STRETCH_S: Final = 10.0
"""Samples of one label, farther apart than this, are two stretches; so much of one label is one at most."""


def stretches(time_s: F64, label: I64) -> I64:
    """(n,) which stretch of one label each of n samples in the order of time belongs to, from 0 without a gap.

    What a person says of neighbouring seconds is one observation: neighbouring frames of an expression are alike.
    """
    number = np.zeros(len(time_s), dtype=np.int64)
    begin = 0
    for row in range(1, len(time_s)):
        goes_on = label[row] == label[row - 1] and time_s[row] - time_s[begin] < STRETCH_S
        number[row] = number[row - 1] + (not goes_on)
        begin = begin if goes_on else row
    return number


def unmixed(time_s: F64, label: I64, *, apart_s: float = 2.0) -> Bool:
    """(n,) of samples in the order of time, those without one of another label within so many seconds.

    Where labels change, the group's come a second or two before or after the face does, and faces are in between.
    """
    clear = np.ones(len(time_s), dtype=np.bool_)
    changes = np.flatnonzero(label[1:] != label[:-1])
    # The nearest of another label lies across the nearest change of labels, on either side.
    for before, after in zip(changes, changes + 1, strict=True):
        clear &= ~((time_s <= time_s[before]) & (time_s > time_s[after] - apart_s - 1e-9))
        clear &= ~((time_s >= time_s[after]) & (time_s < time_s[before] + apart_s + 1e-9))
    return clear


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

    @property
    def told(self) -> F64:
        """(n, 7) what is learnt and judged: of the group's word the largest class, people's as it is.

        The group's soft shares are those of its models, as soft in a sure second as in another.
        """
        return np.where(self.human[:, None], self.target, np.eye(self.target.shape[1])[self.label])

    @property
    def human(self) -> Bool:
        """(n,) whether a person labelled it."""
        return np.asarray(self.origin != Origin.GROUP)

    def plausible(self, read: F64, noise: float = GROUP_NOISE) -> F64:
        """(n,) how likely each label is right; 1 of people's.

        Where a label of the group is wrong the member feels something else, and the face shows it: a label y is right
        with probability (1 - noise) p_y / ((1 - noise) p_y + noise q_y) where the face reads p and wrong labels come as
        often as classes are told, q (the forward correction of Patrini et al. 2017, "Making deep neural networks robust
        to label noise").

        read: (n, 7) p, what the generic heads say. noise: share of the group's labels that are taken to be wrong.
        """
        group, right = ~self.human, np.ones(len(self))
        if group.any():
            label = self.label[group]
            told = (np.bincount(label) / len(label))[label]
            shown = (1 - noise) * read[group, label].clip(_TINY)
            right[group] = shown / (shown + noise * told)
        return right

    def take(self, rows: I64 | NDArray[np.bool_]) -> Self:
        """The samples of these rows, or where the mask is true."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))
