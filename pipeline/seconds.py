"""Readings of single frames → one weighted mean per participant per second (GROUP, section 4.1)."""

import math

import numpy as np

from pipeline.emotions import F64
from pipeline.types import FaceReading, SecondReading, frozen_array


def weighted_mean(vectors: list[F64], weights: list[float]) -> F64:
    """Mean of (7,) vectors under positive weights; the order of the rows does not matter to the last bit."""
    order = sorted(range(len(weights)), key=lambda i: (weights[i], vectors[i].tolist()))
    rows = np.array([vectors[i] for i in order])
    w = np.array([weights[i] for i in order])
    return frozen_array(np.asarray((w[:, None] * rows).sum(axis=0) / w.sum()))


def read_second(participant: str, second: int, readings: list[FaceReading], n_expected: int) -> SecondReading:
    """Quality-weighted means of one participant's frames in one second; no frame is absence, not neutral."""
    if not readings:
        return SecondReading(participant, second, 0, 0.0, None, None, None)
    weights = [r.quality for r in readings]
    pixel, landmark = _arms([(r.pixel, r.landmark) for r in readings], weights)
    personal = any(r.generic is not None for r in readings)
    return SecondReading(
        participant=participant,
        second=second,
        n_frames=len(readings),
        coverage=min(1.0, len(readings) / n_expected),
        quality=sum(sorted(weights)) / len(readings),
        pixel=pixel,
        landmark=landmark,
        heads=max(readings, key=lambda r: r.time_s).heads,
        generic=_arms([r.generic or (r.pixel, r.landmark) for r in readings], weights) if personal else None,
    )


def _arms(pairs: list[tuple[F64, F64 | None]], weights: list[float]) -> tuple[F64, F64 | None]:
    """Means of both arms; of the landmark arm over the frames that have a mesh."""
    meshed = [(arm, weight) for (_, arm), weight in zip(pairs, weights, strict=True) if arm is not None]
    landmark = weighted_mean([arm for arm, _ in meshed], [weight for _, weight in meshed]) if meshed else None
    return weighted_mean([arm for arm, _ in pairs], weights), landmark


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
        self.present(reading.time_s, (reading.participant,))
        second = math.floor(reading.time_s)
        if second not in self._open:
            self.n_late += 1
            return False
        self._open[second][reading.participant].append(reading)
        return True

    def advance(self, now_s: float) -> list[tuple[int, tuple[SecondReading, ...]]]:
        """Seconds whose grace is over at `now_s`, oldest first; silence closes a second too."""
        closed = []
        while self._next is not None and self._next + 1 + self._grace_s <= now_s:
            closed.append(self._close(self._next + 1))
        return closed

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
        return second, tuple(read_second(p, second, rows, n_expected) for p, rows in readings.items())
