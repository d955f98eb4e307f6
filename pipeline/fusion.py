"""Two arms → one distribution, with weights that adapt to each participant (GROUP, section 4.3 and Fig. 6)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.emotions import F64
from pipeline.types import FusedReading, SecondReading, frozen_array


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """Constants of algorithm 3.

    every_s: seconds between updates; first_s: the first one.
    gain: how far the largest deviation from the group's mean moves a weight.
    pull: share of the distance to `rest` that every update takes back, so that weights settle; rest: where they settle
        without deviations. Everybody begins at 0.5. By log-loss 0.3 is the best fixed weight for validation faces.
    weight_min, weight_max: bounds of the landmark arm's weight.
    abstain_confidence, abstain_quality: below either, a reading abstains. On FER2013 PublicTest answers below 0.5 are wrong
        more often than right; quality costs accuracy only below 0.1 (the card of `fused` has both curves).
    """

    every_s: int = 10
    first_s: int = 20
    gain: float = 0.05
    pull: float = 0.1
    rest: float = 0.3
    weight_min: float = 0.2
    weight_max: float = 0.8
    abstain_confidence: float = 0.5
    abstain_quality: float = 0.1


DEFAULT_FUSION = FusionSettings()


def fuse(arms: SecondReading, weight_landmark: float, settings: FusionSettings = DEFAULT_FUSION) -> FusedReading:
    """What `fuse_all` says of one reading."""
    return fuse_all([arms], [weight_landmark], settings)[0]


def fuse_all(
    readings: Sequence[SecondReading], weights_landmark: Sequence[float], settings: FusionSettings = DEFAULT_FUSION
) -> tuple[FusedReading, ...]:
    """Linear pool p = w_px p_px + w_lm p_lm of each reading; without a mesh p = p_px; absence stays absence.

    A reading abstains when nobody should act on it: no face, too poor a picture, or no class stands out.
    """
    pooled = _pooled([(arms.pixel, arms.landmark) for arms in readings], weights_landmark)
    generic = _pooled([arms.generic or (None, None) for arms in readings], weights_landmark)
    rows = [row for row in pooled if row is not None]
    confidences = iter(np.array(rows).max(axis=1).tolist() if rows else ())
    return tuple(
        FusedReading(arms, 1 - weight, weight, row, _abstains(arms, next(confidences), settings), by_generic)
        if row is not None
        else FusedReading(arms, 1 - weight, weight, None, abstain=True)
        for arms, weight, row, by_generic in zip(readings, weights_landmark, pooled, generic, strict=True)
    )


def _abstains(arms: SecondReading, confidence: float, settings: FusionSettings) -> bool:
    poor = arms.quality is None or arms.quality < settings.abstain_quality
    return poor or confidence < settings.abstain_confidence


def _pooled(arms: Sequence[tuple[F64 | None, F64 | None]], weights_landmark: Sequence[float]) -> list[F64 | None]:
    """(7,) of each pair of arms; the pixel arm alone where there is no other."""
    pooled = [pixel for pixel, _ in arms]
    both = [
        (i, pixel, landmark) for i, (pixel, landmark) in enumerate(arms) if pixel is not None and landmark is not None
    ]
    if both:
        at, pixels, landmarks = zip(*both, strict=True)
        weights = np.array([weights_landmark[i] for i in at])[:, None]
        rows = frozen_array((1 - weights) * np.array(pixels) + weights * np.array(landmarks))
        for i, row in zip(at, rows, strict=True):
            pooled[i] = row
    return pooled


class WeightRule(Protocol):
    """Decides how much each arm counts for a participant; the landmark arm's weight begins at 0.5."""

    def observe(self, second: int, readings: Sequence[SecondReading]) -> None:
        """Takes what both arms said in a second, for rules that look at more than changes."""

    def landmark(self, participant: str) -> float:
        """Weight of the landmark arm in [0, 1]."""

    def due(self, elapsed_s: int) -> bool:
        """Whether an update is due when that many seconds of the call are over."""

    def update(self, changes_per_minute: Mapping[str, float], engaged: Collection[str]) -> None:
        """One step for everybody in `changes_per_minute`; the group's mean is over the `engaged`."""

    def forget(self, participant: str) -> None:
        """Somebody has been gone for long; whoever comes back begins at 0.5."""


def update_due(elapsed_s: int, settings: FusionSettings) -> bool:
    """Whether weights are updated when that many seconds of a call are over: every 10 s from 20 s on."""
    return elapsed_s >= settings.first_s and (elapsed_s - settings.first_s) % settings.every_s == 0


def mean_changes(changes_per_minute: Mapping[str, float], engaged: Collection[str]) -> float | None:
    """Mean over the engaged members who were counted; None with fewer than two of them, who are no group."""
    counted = sorted(changes_per_minute[p] for p in engaged if p in changes_per_minute)
    return sum(counted) / len(counted) if len(counted) >= 2 else None  # noqa: PLR2004 (a group)


def deviation(count: float, mean: float) -> float:
    """d_i = clip((c_i - mean) / (mean + 1), -1, 1) of changes per minute."""
    return min(1.0, max(-1.0, (count - mean) / (mean + 1)))


class AdaptiveWeights:
    """The landmark arm's weight of each participant; 0.5 at first, above-average movers lean on landmarks.

    Somebody who is absent keeps the weight that they had.
    """

    def __init__(self, settings: FusionSettings = DEFAULT_FUSION) -> None:
        self._settings = settings
        self._landmark: dict[str, float] = {}

    def observe(self, second: int, readings: Sequence[SecondReading]) -> None:
        """Nothing to be learned here: this rule looks at changes alone."""

    def landmark(self, participant: str) -> float:
        """Weight of the landmark arm in [0.2, 0.8]."""
        return self._landmark.get(participant, 0.5)

    def due(self, elapsed_s: int) -> bool:
        """Whether an update is due when that many seconds of the call are over."""
        return update_due(elapsed_s, self._settings)

    def update(self, changes_per_minute: Mapping[str, float], engaged: Collection[str]) -> None:
        """One step of GROUP Fig. 6, with the step a function of the deviation and a pull to `rest`.

        d_i = clip((c_i - mean) / (mean + 1), -1, 1); w <- clip(w + gain d_i - pull (w - rest), min, max).
        The mean is over the engaged members; with fewer than two of them the weights rest.

        Args:
            changes_per_minute: c_i of every participant who was covered long enough in the trailing minute.
            engaged: Members who count for the mean.
        """
        mean = mean_changes(changes_per_minute, engaged)
        if mean is None:
            return
        s = self._settings
        for participant, count in changes_per_minute.items():
            weight = self.landmark(participant)
            weight += s.gain * deviation(count, mean) - s.pull * (weight - s.rest)
            self._landmark[participant] = min(s.weight_max, max(s.weight_min, weight))

    def forget(self, participant: str) -> None:
        """Whoever comes back begins at 0.5."""
        self._landmark.pop(participant, None)
