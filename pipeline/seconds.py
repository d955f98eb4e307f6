"""Readings of single frames → one weighted mean per participant per second (GROUP, section 4.1)."""

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64, N_EMOTIONS
from pipeline.types import FaceReading, SecondReading, frozen_array

_TIME: Final = attrgetter("time_s")
_NO_MESH: Final = np.full(N_EMOTIONS, np.nan)


def read_seconds(
    second: int, readings: Mapping[str, Sequence[FaceReading]], n_expected: int
) -> tuple[SecondReading, ...]:
    """Quality-weighted means of everybody's frames in one second; no frame is absence, not neutral.

    The order of a participant's frames does not matter to the last bit.
    """
    frames = [frame for own in readings.values() for frame in own]
    if not frames:
        return tuple(_absent(participant, second) for participant in readings)
    sizes = np.array([len(own) for own in readings.values() if own])
    begins = np.cumsum(sizes) - sizes
    of = np.repeat(np.arange(len(sizes)), sizes)
    weights = np.array([frame.quality for frame in frames])
    shown = _both([frame.pixel for frame in frames], [frame.landmark for frame in frames])
    generic = None
    # Who was read by a personal head.
    personal = {frame.participant for frame in frames if frame.generic is not None}
    if personal:
        generic = _both(*zip(*(frame.generic or (frame.pixel, frame.landmark) for frame in frames), strict=True))
    # Sums round: frames are added in an order of their own, that of their weights, and of equal ones that of their values.
    order = np.lexsort((weights, of))
    if (np.diff(weights[order]) == 0).any():
        columns = shown.T[::-1] if generic is None else (*generic.T[::-1], *shown.T[::-1])
        order = np.lexsort((*columns, weights, of))
    weights, shown = weights[order], shown[order]
    quality = (np.add.reduceat(weights, begins) / sizes).tolist()
    means = _means(shown, weights, begins)
    own_means = means if generic is None else _means(generic[order], weights, begins)
    read = iter(zip(quality, means, own_means, strict=True))
    told = []
    for participant, own in readings.items():
        if not own:
            told.append(_absent(participant, second))
            continue
        mean_quality, (pixel, landmark), by_generic = next(read)
        told.append(
            SecondReading(
                participant,
                second,
                len(own),
                min(1.0, len(own) / n_expected),
                mean_quality,
                pixel,
                landmark,
                max(own, key=_TIME).heads,
                by_generic if participant in personal else None,
            )
        )
    return tuple(told)


def _absent(participant: str, second: int) -> SecondReading:
    return SecondReading(participant, second, 0, 0.0, None, None, None)


def _both(pixels: Sequence[F64], landmarks: Sequence[F64 | None]) -> F64:
    """(n, 14) of both arms, NaN where the landmark arm has no mesh."""
    meshes = [_NO_MESH if landmark is None else landmark for landmark in landmarks]
    return np.hstack(np.concatenate([*pixels, *meshes]).reshape(2, len(pixels), N_EMOTIONS))


def _means(rows: F64, weights: F64, begins: NDArray[np.intp]) -> list[tuple[F64, F64 | None]]:
    """Each participant's weighted means of both arms; of the landmark arm over the frames that have a mesh.

    `rows` are (n, 14) as of `_both`, sorted by participant, `begins` where each participant's begin.
    """
    pixel = np.add.reduceat(weights[:, None] * rows[:, :N_EMOTIONS], begins) / np.add.reduceat(weights, begins)[:, None]
    meshed = ~np.isnan(rows[:, N_EMOTIONS])
    counted = np.where(meshed, weights, 0.0)
    total = np.add.reduceat(counted, begins)
    sums = np.add.reduceat(np.where(meshed[:, None], counted[:, None] * rows[:, N_EMOTIONS:], 0.0), begins)
    landmark = sums / np.where(total > 0, total, 1.0)[:, None]
    read = (total > 0).tolist()
    return [
        (one, other if known else None)
        for one, other, known in zip(frozen_array(pixel), frozen_array(landmark), read, strict=True)
    ]


class SecondAggregator:
    """Collects readings and closes seconds: every reading is counted once or counted as late, never both.

    Args:
        rate_hz: Frames of a participant that are looked at per second; what `coverage` is measured against.
        grace_s: How long after its end a second still takes readings.
    """

    def __init__(self, *, rate_hz: float, grace_s: float = 0.2) -> None:
        self._rate_hz = rate_hz
        self._grace_s = grace_s
        self._open: dict[int, dict[str, list[FaceReading]]] = {}
        self._next: int | None = None
        self._members: tuple[str, ...] = ()
        self.n_late = 0

    def present(self, time_s: float, participants: tuple[str, ...]) -> None:
        """These participants are in the call at that time, whether or not their faces can be read."""
        second = math.floor(time_s)
        if self._next is None:
            self._next = second
        if second >= self._next:
            members = self._open.setdefault(second, {})
            for participant in participants:
                members.setdefault(participant, [])

    def add(self, reading: FaceReading) -> bool:
        """Takes a reading; False when its second is closed already (counted in `n_late`)."""
        second = math.floor(reading.time_s)
        members = self._open.get(second)
        if members is None:
            self.present(reading.time_s, (reading.participant,))
            members = self._open.get(second)
        if members is None:
            self.n_late += 1
            return False
        members.setdefault(reading.participant, []).append(reading)
        return True

    def advance(self, now_s: float) -> list[tuple[int, tuple[SecondReading, ...]]]:
        """Seconds whose grace is over at `now_s`, oldest first; silence closes a second too."""
        closed = []
        while self._next is not None and self._next + 1 + self._grace_s <= now_s:
            closed.append(self._close(self._next + 1))
        return closed

    def forget(self, participant: str) -> int:
        """Takes the readings of seconds that are not over away; how many. The participant stays in the call."""
        rows = [members[participant] for members in self._open.values() if participant in members]
        n = sum(map(len, rows))
        for readings in rows:
            readings.clear()
        return n

    def finish(self, end_s: float) -> list[tuple[int, tuple[SecondReading, ...]]]:
        """Every second that began before `end_s`; of the last one only what lies before the end is expected."""
        closed = []
        while self._next is not None and self._next < end_s:
            closed.append(self._close(min(end_s, self._next + 1)))
        return closed

    def _close(self, end_s: float) -> tuple[int, tuple[SecondReading, ...]]:
        """Closes the oldest second; while nothing is seen at all, the members stay who they were.

        Expected are the instants k / rate from its beginning to `end_s`, at least one.
        """
        second = self._next or 0
        instants = [math.ceil(round(time_s * self._rate_hz, 6)) for time_s in (second, end_s)]
        n_expected = max(1, instants[1] - instants[0])
        self._next = second + 1
        readings = self._open.pop(second, None)
        if readings is None:
            readings = {participant: [] for participant in self._members}
        self._members = tuple(readings)
        return second, read_seconds(second, readings, n_expected)
