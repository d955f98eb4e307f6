"""What personalisation is given of a simulated call: each member's faces, and the labels that the engine makes of the others.

Labels come of what the generic heads say, whichever heads serve (algorithm 9), so the engine hears a call once, and
every member's personal heads can be made of that afterwards, second by second.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daemon.simulate.bank import Bank
from daemon.simulate.params import Params
from daemon.simulate.world import Classes, World
from models.personal.serving import ServedHead
from pipeline.call import Call, CallSettings
from pipeline.emotions import F32, F64, N_EMOTIONS
from pipeline.types import CallSecond

Index = NDArray[np.intp]
NO_FACE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A label as it comes: at the end of second `at`, of an earlier `second`; (7,) target and its confidence."""

    at: int
    second: int
    target: F64
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What the engine says of a call of n members and S seconds with generic heads alone.

    generic: (n, S, 7) fused readings, nan without a face; weight: (n, S) of the landmark arm. labels: each member's.
    """

    generic: F64
    weight: F64
    labels: tuple[tuple[Told, ...], ...]


def hear(world: World, settings: CallSettings) -> Heard:
    """The whole call through the engine."""
    call = Call(replace(settings, rate_hz=float(world.rate_hz)))
    rows = {participant: i for i, participant in enumerate(world.participants)}
    generic = np.full((*world.felt.shape, N_EMOTIONS), np.nan)
    weight = np.full(world.felt.shape, np.nan)
    labels: list[list[Told]] = [[] for _ in rows]
    for one in _seconds(call, world, settings.grace_s):
        for reading in one.readings:
            if reading.probabilities is not None:
                generic[rows[reading.participant], one.second] = reading.probabilities
                weight[rows[reading.participant], one.second] = reading.weight_landmark
        for settled in one.settled:
            for said in settled.labels:
                told = Told(one.second, settled.second, said.probabilities, said.confidence)
                labels[rows[said.participant]].append(told)
    return Heard(generic, weight, tuple(map(tuple, labels)))


def _seconds(call: Call, world: World, grace_s: float) -> Iterator[CallSecond]:
    for second in range(world.n_seconds):
        call.look(float(second), world.here(second))
        for reading in world.readings(second):
            call.add(reading)
        yield from call.advance(second + 1 + grace_s)
    yield from call.finish(float(world.n_seconds))[0]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All of one member: m frames that were read, in S seconds.

    pixel, landmark: (m, d) embeddings, rows of nan in `landmark` where there is no mesh. second, quality: (m,).
    best: (S,) row of the best frame of each second, the first of several, `NO_FACE` without any.
    generic, weight, labels: as in `Heard`. felt: (S,) the truth. engaged: whether the member follows the group.
    """

    pixel: F32
    landmark: F32
    second: Index
    quality: F64
    best: Index
    generic: F64
    weight: F64
    labels: tuple[Told, ...]
    felt: Classes
    engaged: bool
    resting: bool

    @property
    def n_seconds(self) -> int:
        """Seconds of the call."""
        return len(self.felt)

    def read_by(self, head: ServedHead) -> F64:
        """(S, 7) the fused readings if this head read every frame; generic where it says nothing, nan without a face."""
        said = head.arms(self.pixel, self.landmark, np.full((len(self.second), 1), np.nan, dtype=np.float32))
        if said is None:
            return self.generic
        pixel, landmark = (self._means(p, np.isfinite(p).all(axis=1)) for p in said)
        weight = np.where(np.isfinite(landmark).all(axis=1), self.weight, 0.0)[:, None]
        return np.asarray((1 - weight) * pixel + weight * np.nan_to_num(landmark))

    def _means(self, p: F64, known: NDArray[np.bool_]) -> F64:
        """(S, 7) quality-weighted means of frames (GROUP, section 4.1)."""
        summed, total = np.zeros((self.n_seconds, N_EMOTIONS)), np.zeros((self.n_seconds, 1))
        np.add.at(summed, self.second[known], self.quality[known, None] * p[known])
        np.add.at(total, self.second[known], self.quality[known, None])
        return np.divide(summed, total, out=np.full_like(summed, np.nan), where=total > 0)


def material_of(world: World, heard: Heard, member: int, bank: Bank, params: Params) -> Material:
    """Everything of one member."""
    own = world.shown[member]
    frames = np.flatnonzero(own.read)
    pixel, landmark = (arm[frames] for arm in own.embeddings(bank, params))
    landmark = np.where(own.mesh[frames, None], landmark, np.float32(np.nan))
    second, quality = frames // world.rate_hz, own.quality[frames]
    best = np.full(world.n_seconds, NO_FACE)
    for row in np.lexsort((-np.arange(len(frames)), quality)):
        best[second[row]] = row
    return Material(
        pixel=pixel,
        landmark=landmark,
        second=second,
        quality=quality,
        best=best,
        generic=heard.generic[member],
        weight=heard.weight[member],
        labels=heard.labels[member],
        felt=world.felt[member],
        engaged=bool(world.engaged[member].all()),
        resting=world.timeline.members[member].resting is not None,
    )
