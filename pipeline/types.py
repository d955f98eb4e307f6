"""The values that flow through one second of video, in the order in which they come to be.

Times (`time_s`) are seconds on the session's timeline: a recording counts from its first picture, a live
call from the Unix epoch. `second` is `floor(time_s)`. What a timeline's zero is in UTC stands in
`wire.Stamp`; see decisions/0001-time-seq-ids.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import EMOTIONS, F32, F64, derived_valence_arousal

U8 = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 are the first column and row outside."""


def frozen_array(array: F64) -> F64:
    """The same array, no longer writable: a reading that was given out does not change."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a feed: `image` is (H, W, 3) uint8 RGB."""

    source_id: str
    time_s: float
    image: U8


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One participant's rectangle of a frame; `image` is a view of shape (y1 - y0, x1 - x0, 3)."""

    participant: str
    xyxy: Box
    image: U8


@dataclass(frozen=True, slots=True)
class Crop:
    """The picture of a face that a pixel model reads: a square of `side_px`, grey or RGB, uint8.

    One picture is (side_px, side_px), with `colour` (side_px, side_px, 3). What it shows of the head does not
    depend on its size.
    """

    side_px: int = 48
    colour: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture."""
        return (self.side_px, self.side_px, 3) if self.colour else (self.side_px, self.side_px)


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """All faces of a picture, first axis n.

    xyxy: (n, 4) float32, pixels of that picture, the bounding box of the mesh.
    score: (n,) float32 in [0, 1], the detector's.
    landmarks: (n, 468, 3) float32: x and y in pixels, z in the same unit, negative towards the camera.
    """

    xyxy: F32
    score: F32
    landmarks: F32

    def __len__(self) -> int:
        """How many faces."""
        return len(self.score)


@dataclass(frozen=True, slots=True, eq=False)
class FaceBoxes:
    """Where a detector found faces in a picture, first axis n; it knows no mesh.

    xyxy: (n, 4) float32, pixels of that picture. score: (n,) float32 in [0, 1], the detector's.
    """

    xyxy: F32
    score: F32

    def __len__(self) -> int:
        """How many faces."""
        return len(self.score)


@dataclass(frozen=True, slots=True, eq=False)
class Expressions:
    """What a model says of n faces.

    logits: (n, 7).
    probabilities: (n, 7), calibrated for the model alone.
    pool: (n, 7), calibrated for the mean with the other arm: two arms that are each calibrated alone make a mean
        that is not, and in which the better arm counts for too little.
    embeddings: (n, d).
    """

    logits: F32
    probabilities: F64
    pool: F64
    embeddings: F32


@dataclass(frozen=True, slots=True)
class Heads:
    """Which head of each arm reads a face: `generic`, or a personal version such as `personal-3`."""

    pixel: str = "generic"
    landmark: str = "generic"


GENERIC_HEADS = Heads()


@dataclass(frozen=True, slots=True, eq=False)
class FaceEvidence:
    """What personalisation keeps of a face: (d,) embeddings of both arms and the (468, 3) mesh in pixels.

    crop: the picture that the pixel model read, only where pictures are wanted (`personal.keep_crops`).
    """

    pixel: F32
    landmark: F32
    mesh: F32
    crop: U8 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FaceReading:
    """One face in one frame: (7,) probabilities of each arm, calibrated for their mean, and the weight of this frame.

    `landmark` is None where no mesh was found; `quality` is in [0.05, 1].
    generic: both arms by the generic heads, where a personal one made `pixel` and `landmark`; None: these are generic.
    evidence: only where samples are gathered.
    """

    participant: str
    time_s: float
    quality: float
    pixel: F64
    landmark: F64 | None
    generic: tuple[F64, F64 | None] | None = None
    evidence: FaceEvidence | None = None
    heads: Heads = GENERIC_HEADS


@dataclass(frozen=True, slots=True, eq=False)
class SecondReading:
    """One participant in one second: quality-weighted means of each arm (GROUP, section 4.1).

    `pixel` is None when no frame was read: absence, never neutral. `coverage` = read / expected in [0, 1].
    heads: of the last frame. generic: both arms by the generic heads, None where no personal head read.
    """

    participant: str
    second: int
    n_frames: int
    coverage: float
    quality: float | None
    pixel: F64 | None
    landmark: F64 | None
    heads: Heads = GENERIC_HEADS
    generic: tuple[F64, F64 | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FusedReading:
    """A `SecondReading` with both arms made one (GROUP, section 4.3); `probabilities` None is absence.

    generic: (7,) what the generic heads make of it with the same weights; None where no personal head read.
    """

    arms: SecondReading
    weight_pixel: float
    weight_landmark: float
    probabilities: F64 | None
    abstain: bool
    generic: F64 | None = None

    @property
    def participant(self) -> str:
        """Pseudonym, `p-` and eight hexadecimal digits."""
        return self.arms.participant

    @property
    def by_generic(self) -> F64 | None:
        """(7,) by the generic heads, whichever are shown; None is absence."""
        return self.probabilities if self.generic is None else self.generic

    @property
    def top(self) -> str | None:
        """Most probable class; the first in `EMOTIONS` order on a tie."""
        return None if self.probabilities is None else EMOTIONS[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float | None:
        """Calibrated probability of `top`."""
        return None if self.probabilities is None else float(self.probabilities.max())

    @property
    def valence_arousal(self) -> tuple[float, float] | None:
        """Derived valence and arousal in [-1, 1]."""
        return None if self.probabilities is None else derived_valence_arousal(self.probabilities)


EngagementState = Literal["engaged", "unengaged", "unknown"]
GroupType = Literal["unengaged", "engaged", "synchronous", "homogeneous"]


@dataclass(frozen=True, slots=True)
class MemberEngagement:
    """How one member moves with the others (GROUP, section 5).

    state: `unknown` while there is too little to tell; such a member stays in the group.
    correlation: the largest Pearson correlation with the mean of the others, at `lag_s` seconds (positive: the member
        follows the others); p_value: of moving at the same time, against circular shifts. All None where nothing could
        be computed.
    """

    participant: str
    state: EngagementState
    correlation: float | None = None
    lag_s: int | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class GroupEngagement:
    """How a group moves together, as known when a second closes (GROUP, section 5).

    members: everybody, sorted by participant.
    type: None while there is too little to tell.
    synchrony: how much members move at the same times: mean correlation of the movements of pairs, in [0, 1].
    homogeneity: and the same way: mean inner product of their steps, in [0, 1]. Both over the trailing 150 s, or 60 s where
        these are different.
    """

    members: tuple[MemberEngagement, ...] = ()
    type: GroupType | None = None
    synchrony: float | None = None
    homogeneity: float | None = None


@dataclass(frozen=True, slots=True)
class Polarisation:
    """Sub-groups that feel differently (GROUP, section 4.2).

    clusters: participants of each, largest first; empty in a group that is one.
    distance: Euclidean distance of the two centroids that are farthest apart; 0 in a group that is one.
    """

    clusters: tuple[tuple[str, ...], ...] = ()
    distance: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class GroupLabel:
    """What the others say that a member feels in a second: soft label for personalisation (GROUP, section 5).

    probabilities: (7,), the mean of `n_others` others; confidence: its largest class.
    """

    participant: str
    second: int
    probabilities: F64
    n_others: int

    @property
    def confidence(self) -> float:
        """Probability of the largest class."""
        return float(self.probabilities.max())


@dataclass(frozen=True, slots=True, eq=False)
class GroupReading:
    """The group in one second (GROUP, section 4.2).

    members: everybody in the call, present or not; engaged: whose distributions were summed; excluded: why
    the others were not; deviation: Euclidean distance of each engaged member to `probabilities`; denoised: (7,), the
    group's series without its weak frequencies. What is None is not known.
    n_unnamed: how many were summed, where only the group is told and `engaged` names nobody; else 0.
    """

    second: int
    members: tuple[str, ...]
    engaged: tuple[str, ...]
    excluded: Mapping[str, str]
    probabilities: F64 | None
    dominant: tuple[str, ...]
    deviation: Mapping[str, float]
    denoised: F64 | None = None
    polarisation: Polarisation | None = None
    engagement: GroupEngagement = GroupEngagement()
    n_unnamed: int = 0

    @property
    def n_summed(self) -> int:
        """How many distributions were summed."""
        return self.n_unnamed or len(self.engaged)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at `time_s`; `participants` are pseudonyms, `data` is JSON."""

    kind: str
    time_s: float
    participants: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class SettledSecond:
    """A second as it looks once what was noise in it is known (GROUP, section 4.2), a few seconds later.

    distributions: (7,) of everybody who was in the call by the generic heads, None for absence; group: that of the
    engaged among them by the heads that are shown, None where they are too few; labels: what the others say that a
    member felt.
    """

    second: int
    distributions: Mapping[str, F64 | None]
    group: F64 | None
    labels: tuple[GroupLabel, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CallSecond:
    """Everything known when a second closes: readings in order of appearance, the group, what happened, what settled."""

    second: int
    readings: tuple[FusedReading, ...]
    group: GroupReading
    events: tuple[Event, ...]
    tiles: tuple[tuple[str, Box], ...]
    settled: tuple[SettledSecond, ...] = ()
