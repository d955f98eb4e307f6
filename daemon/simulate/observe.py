"""What the engine says of a simulated call: the real `pipeline.call.Call`, fed second by second."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.simulate.timeline import Bool
from daemon.simulate.world import NOBODY, TYPES, Classes, World
from pipeline.call import Call, CallSettings
from pipeline.denoise import denoise
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.fusion import WeightRule
from pipeline.types import CallSecond, Event, GroupEngagement, SettledSecond

ENGAGED: Final = 1
UNENGAGED: Final = 0
UNKNOWN: Final = -1
STATES: Final = MappingProxyType({"engaged": ENGAGED, "unengaged": UNENGAGED, "unknown": UNKNOWN})


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What was published of a call of n members and S seconds; `NOBODY` where there is no answer.

    top: (n, S) of the readings as they go out; settled: (n, S) once what was noise in them is known.
    pixel, landmark: (n, S, 7) what the arms said, NaN where nothing.
    group: (S,) largest emotion of the group as it goes out; online: the same without its weak frequencies, as known
        then; denoised: of the settled series of the whole call, as recordings are analysed.
    state: (n, S) `ENGAGED`, `UNENGAGED` or `UNKNOWN`. p_value: (n, S), nan where none.
    type: (S,) index into `TYPES`, -1 where unknown. polarised: (S,). label: (n, S) of algorithm 9.
    """

    top: Classes
    settled: Classes
    pixel: F64
    landmark: F64
    group: Classes
    online: Classes
    denoised: Classes
    state: Classes
    p_value: F64
    type: Classes
    polarised: Bool
    label: Classes
    events: tuple[Event, ...]


def observe(world: World, settings: CallSettings, weights: WeightRule | None = None) -> Observed:
    """The whole call through the engine, with other weights than the settings say if given."""
    call = Call(replace(settings, rate_hz=float(world.rate_hz)), weights)
    seconds: list[CallSecond] = []
    for second in range(world.n_seconds):
        call.look(float(second), world.here(second))
        for reading in world.readings(second):
            call.add(reading)
        seconds += call.advance(second + 1 + settings.grace_s)
    rest, late = call.finish(float(world.n_seconds))
    tables = _Tables(world)
    for one in (*seconds, *rest):
        tables.take(one)
    tables.events += late
    return tables.observed()


class _Tables:
    """Collects what seconds say, each thing at the second that it is about."""

    def __init__(self, world: World) -> None:
        n, s = world.felt.shape
        self._rows = {participant: i for i, participant in enumerate(world.participants)}
        self._top, self._settled, self._state, self._label = (np.full((n, s), NOBODY, np.int8) for _ in range(4))
        self._group, self._online, self._type = (np.full(s, NOBODY, np.int8) for _ in range(3))
        self._pixel, self._landmark = (np.full((n, s, N_EMOTIONS), np.nan) for _ in range(2))
        self._series = np.full((s, N_EMOTIONS), np.nan)
        self._polarised = np.zeros(s, dtype=np.bool_)
        self._p_value = np.full((n, s), np.nan)
        self.events: list[Event] = []

    def take(self, one: CallSecond) -> None:
        """One second, as it goes out."""
        self.events += one.events
        for reading in one.readings:
            row = self._rows[reading.participant]
            if reading.probabilities is not None:
                self._top[row, one.second] = reading.probabilities.argmax()
                self._pixel[row, one.second] = reading.arms.pixel
            if reading.arms.landmark is not None:
                self._landmark[row, one.second] = reading.arms.landmark
        for later in one.settled:
            self._take_settled(later)
        if one.group.probabilities is not None:
            self._group[one.second] = one.group.probabilities.argmax()
        if one.group.denoised is not None:
            self._online[one.second] = one.group.denoised.argmax()
        self._polarised[one.second] = one.group.polarisation is not None and bool(one.group.polarisation.clusters)
        self._take_engagement(one.second, one.group.engagement)

    def _take_settled(self, later: SettledSecond) -> None:
        for participant, distribution in later.distributions.items():
            if distribution is not None:
                self._settled[self._rows[participant], later.second] = distribution.argmax()
        if later.group is not None:
            self._series[later.second] = later.group
        for said in later.labels:
            self._label[self._rows[said.participant], said.second] = said.probabilities.argmax()

    def _take_engagement(self, second: int, said: GroupEngagement) -> None:
        if said.type is not None:
            self._type[second] = TYPES.index(said.type)
        for member in said.members:
            row = self._rows[member.participant]
            self._state[row, second] = STATES[member.state]
            if member.p_value is not None:
                self._p_value[row, second] = member.p_value

    def observed(self) -> Observed:
        """All of it, with the DFT over the settled series of the whole call, as recordings are analysed."""
        clean = denoise(self._series)
        known = ~np.isnan(clean).any(axis=1)
        denoised = np.full(len(clean), NOBODY, dtype=np.int8)
        denoised[known] = clean[known].argmax(axis=1)
        return Observed(
            top=self._top,
            settled=self._settled,
            pixel=self._pixel,
            landmark=self._landmark,
            group=self._group,
            online=self._online,
            denoised=denoised,
            state=self._state,
            p_value=self._p_value,
            type=self._type,
            polarised=self._polarised,
            label=self._label,
            events=tuple(self.events),
        )


def floor_tops(world: World) -> tuple[Classes, Classes]:
    """(n, S) and (S,) of somebody who knows when everything changes, and who is engaged, and only cannot read better.

    Every stretch in which a member feels one thing is the mean of all its frames that show it, both arms counting the
    same; the group is the sum of the members who are engaged. What is wrong here, faces are misread for good:
    no smoothing in time can help, only knowing the person.
    """
    n, s = world.felt.shape
    top, total = np.full((n, s), NOBODY, dtype=np.int8), np.zeros((s, N_EMOTIONS))
    for i, own in enumerate(world.shown):
        stretch = np.cumsum(np.diff(world.felt[i], prepend=world.felt[i, :1]) != 0)
        meant = own.read & (own.emotion == own.felt)
        sums = np.zeros((int(stretch[-1]) + 1, N_EMOTIONS))
        np.add.at(sums, np.repeat(stretch, world.rate_hz)[meant], _fixed(world, i, np.flatnonzero(meant)))
        means = sums[stretch]
        known = (means.sum(axis=1) > 0) & (world.felt[i] != NOBODY)
        top[i, known] = means[known].argmax(axis=1)
        counted = known & world.engaged[i]
        total[counted] += means[counted] / means[counted].sum(axis=1, keepdims=True)
    return top, np.where(total.sum(axis=1) > 0, total.argmax(axis=1), NOBODY).astype(np.int8)


def _fixed(world: World, member: int, frames: NDArray[np.intp]) -> F64:
    """(m, 7) mean of both arms in some frames, the pixel arm alone where there is no mesh."""
    pixel, landmark = world.pixel[member, frames], world.landmark[member, frames]
    mesh = world.shown[member].mesh[frames, None]
    return np.asarray(np.where(mesh, 0.5 * pixel + 0.5 * landmark, pixel))


def raw_tops(world: World) -> tuple[Classes, Classes]:
    """(n, S) and (S,) of the last frame of each second that could be read, both arms counting the same: no second's mean.

    The group's is that of the sum over everybody in the call, as GROUP, Fig. 6, has it, from two members on.
    """
    n, s = world.felt.shape
    top = np.full((n, s), NOBODY, dtype=np.int8)
    total, n_read = np.zeros((s, N_EMOTIONS)), np.zeros(s, dtype=np.int64)
    for i, own in enumerate(world.shown):
        read = own.read.reshape(s, world.rate_hz)
        last = world.rate_hz - 1 - read[:, ::-1].argmax(axis=1) + np.arange(s) * world.rate_hz
        seconds = np.flatnonzero(read.any(axis=1) & (world.felt[i] != NOBODY))
        frames = last[seconds]
        fused = _fixed(world, i, frames)
        top[i, seconds] = fused.argmax(axis=1)
        total[seconds] += fused
        n_read[seconds] += 1
    return top, np.where(n_read >= 2, total.argmax(axis=1), NOBODY).astype(np.int8)  # noqa: PLR2004 (a group)
