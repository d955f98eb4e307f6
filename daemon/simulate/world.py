"""A simulated call: what the engine is given of it, and the truth second by second."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from daemon.simulate.bank import Bank
from daemon.simulate.faces import Shown, show
from daemon.simulate.params import Params
from daemon.simulate.timeline import WHOLE_CALL, Bool, Plan, Timeline, draw_timeline
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.types import FaceReading, GroupType

Classes = NDArray[np.int8]

TYPES: Final[tuple[GroupType, ...]] = get_args(GroupType)
NOBODY: Final = -1
"""In place of an emotion: nobody is there, or there is no answer."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A call of n members and S seconds.

    felt: (n, S) what each feels most of the second, `NOBODY` where they are not in the call.
    engaged: (n, S) who follows the group. type: (S,) index into `TYPES`.
    group: (S,) what most of the engaged members who are there feel; `NOBODY` where two emotions have as many, or
        fewer than two members are engaged.
    polarised: (S,) 1 where all engaged members fall into sub-groups of two or more that feel differently, 0 where no
        more than one emotion is shared by two or more, -1 in between, where neither answer is wrong.
    pixel, landmark: (n, F, 7) probabilities of each frame as they enter the mean of both arms.
    """

    seed: int
    rate_hz: int
    participants: tuple[str, ...]
    timeline: Timeline
    shown: tuple[Shown, ...]
    felt: Classes
    engaged: Bool
    type: Classes
    group: Classes
    polarised: Classes
    pixel: F64
    landmark: F64

    @property
    def n_seconds(self) -> int:
        """Seconds of the call."""
        return self.timeline.seconds

    def here(self, second: int) -> tuple[str, ...]:
        """Who is in the call in a second."""
        return tuple(p for p, felt in zip(self.participants, self.felt[:, second], strict=True) if felt != NOBODY)

    def readings(self, second: int) -> Iterator[FaceReading]:
        """What the engine is given in a second, frame by frame."""
        there = [row for row in enumerate(self.participants) if self.felt[row[0], second] != NOBODY]
        for frame in range(second * self.rate_hz, (second + 1) * self.rate_hz):
            for i, participant in there:
                own = self.shown[i]
                if own.read[frame]:
                    yield FaceReading(
                        participant,
                        frame / self.rate_hz,
                        float(own.quality[frame]),
                        self.pixel[i, frame],
                        self.landmark[i, frame] if own.mesh[frame] else None,
                    )


def make_world(params: Params, bank: Bank, seed: int, plan: Plan = WHOLE_CALL, *, stream: int = 0) -> World:
    """The call of this seed; calls of one seed that are made for different things have different streams."""
    rng = np.random.default_rng([seed, stream])
    timeline = draw_timeline(params, plan, rng)
    shown = tuple(show(member, params, bank, timeline.seconds, rng) for member in timeline.members)
    said = [own.probabilities(bank, params) for own in shown]
    felt = _felt(timeline, shown, params.call.frames_per_second)
    seconds = np.arange(timeline.seconds) + 0.5
    at = np.searchsorted([phase.start_s for phase in timeline.phases], seconds, side="right") - 1
    engaged = np.stack([phase.engaged for phase in timeline.phases], axis=1)[:, at]
    types = np.array([TYPES.index(phase.type) for phase in timeline.phases], dtype=np.int8)[at]
    counts = _counts(felt, engaged)
    return World(
        seed=seed,
        rate_hz=params.call.frames_per_second,
        participants=tuple(f"p-{i:08x}" for i in range(len(shown))),
        timeline=timeline,
        shown=shown,
        felt=felt,
        engaged=engaged,
        type=types,
        group=_group(counts),
        polarised=_polarised(counts),
        pixel=np.stack([pixel for pixel, _ in said]),
        landmark=np.stack([landmark for _, landmark in said]),
    )


def _felt(timeline: Timeline, shown: tuple[Shown, ...], rate: int) -> Classes:
    """(n, S) the emotion of most frames of a second, the first of several."""
    middles = np.arange(timeline.seconds) + 0.5
    result = np.empty((len(shown), timeline.seconds), dtype=np.int8)
    for i, (member, own) in enumerate(zip(timeline.members, shown, strict=True)):
        counts = (own.felt.reshape(-1, rate, 1) == np.arange(N_EMOTIONS)).sum(axis=1)
        inside = np.any([(middles >= start) & (middles < end) for start, end in member.here], axis=0)
        result[i] = np.where(inside, counts.argmax(axis=1), NOBODY)
    return result


def _counts(felt: Classes, engaged: Bool) -> NDArray[np.int64]:
    """(S, 7) engaged members in the call who feel each emotion."""
    feels = (felt[..., None] == np.arange(N_EMOTIONS)) & engaged[..., None]
    return np.asarray(feels.sum(axis=0))


def _group(counts: NDArray[np.int64]) -> Classes:
    largest = counts.max(axis=1)
    known = (counts.sum(axis=1) >= 2) & ((counts == largest[:, None]).sum(axis=1) == 1)  # noqa: PLR2004 (a group)
    return np.where(known, counts.argmax(axis=1), NOBODY).astype(np.int8)


def _polarised(counts: NDArray[np.int64]) -> Classes:
    shared = (counts >= 2).sum(axis=1)  # noqa: PLR2004 (a sub-group)
    alone = (counts == 1).any(axis=1)
    return np.where(shared <= 1, 0, np.where(alone, -1, 1)).astype(np.int8)
