"""Weights of the two arms from a small model instead of a rule by hand (GROUP, section 7).

"The adaptive algorithm used by our system is being replaced with an adaptive machine learning model": here a ridge
regression from what is known of a participant in the trailing minute to the weight that would have served best.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.changes import total_variation
from pipeline.emotions import F64
from pipeline.fusion import DEFAULT_FUSION, FusionSettings, deviation, mean_changes, update_due
from pipeline.types import SecondReading, frozen_array

FEATURES: Final = (
    "changes_per_minute",
    "group_changes_per_minute",
    "deviation",
    "quality",
    "disagreement",
    "entropy_pixel",
    "entropy_landmark",
)
"""What the model looks at: c_i, its mean over the engaged members, d_i of algorithm 3, and means over the trailing
minute of frame quality, of the total variation between both arms, and of each arm's entropy in bits."""


@dataclass(frozen=True, slots=True)
class LearnedSettings:
    """Constants of the learned weights.

    window_s: trailing seconds over which arms are watched.
    least_s: seconds with both arms below which nothing is predicted, and the weight rests.
    rate: share of the way to the predicted weight that an update goes.
    """

    window_s: int = 60
    least_s: int = 15
    rate: float = 0.5


DEFAULT_LEARNED = LearnedSettings()


@dataclass(frozen=True, slots=True, eq=False)
class WeightModel:
    """A fitted ridge regression: weight = intercept + Σ coefficient · (feature - mean) / scale.

    mean, scale, coefficients: (7,), in the order of `FEATURES`; scales are above 0.
    """

    mean: F64
    scale: F64
    coefficients: F64
    intercept: float

    def predict(self, features: F64) -> F64:
        """(n,) best weights of the landmark arm, not yet bounded, of (n, 7) features."""
        return np.asarray(self.intercept + (features - self.mean) / self.scale @ self.coefficients)


def fit(features: F64, targets: F64, *, importance: F64 | None = None, ridge: float = 1.0) -> WeightModel:
    """The ridge regression of targets on standardised features.

    Args:
        features: (n, 7), in the order of `FEATURES`.
        targets: (n,) the landmark arm's weight that would have served best; it may lie beyond [0, 1].
        importance: (n,) how much each row counts, not negative; where both arms agree no weight is better than
            another. All the same if None.
        ridge: Penalty on squared coefficients, in rows: as if so many rows said that no feature matters.

    Raises:
        ValueError: Shapes do not fit, a number is not finite, or nothing counts.
    """
    counts = np.ones(len(targets)) if importance is None else importance
    if features.shape != (len(targets), len(FEATURES)) or counts.shape != targets.shape or targets.ndim != 1:
        msg = (
            f"expected features (n, {len(FEATURES)}), targets (n,) and importance (n,), "
            f"got {features.shape}, {targets.shape} and {counts.shape}"
        )
        raise ValueError(msg)
    if not (np.isfinite(features).all() and np.isfinite(targets).all() and np.isfinite(counts).all()):
        msg = "features, targets and importance: expected finite numbers; leave the other rows out"
        raise ValueError(msg)
    if (counts < 0).any() or not counts.sum() > 0 or ridge < 0:
        msg = "importance and ridge: expected no negative number, and a row that counts"
        raise ValueError(msg)
    shares = counts / counts.sum()
    mean = shares @ features
    spread = np.sqrt(shares @ (features - mean) ** 2)
    # What never varies says nothing: its coefficient becomes 0.
    scale = np.where(spread > 1e-9, spread, 1.0)  # noqa: PLR2004 (rounding)
    standard = np.where(spread > 1e-9, (features - mean) / scale, 0.0)  # noqa: PLR2004 (rounding)
    intercept = float(shares @ targets)
    # Least squares over the rows and, below them, a row for each penalty: solvable without any penalty too.
    rows = np.vstack([np.sqrt(counts)[:, None] * standard, np.sqrt(ridge) * np.eye(len(FEATURES))])
    aims = np.concatenate([np.sqrt(counts) * (targets - intercept), np.zeros(len(FEATURES))])
    coefficients = np.linalg.lstsq(rows, aims, rcond=None)[0]
    return WeightModel(frozen_array(mean), frozen_array(scale), frozen_array(coefficients), intercept)


def entropy(probabilities: F64) -> float:
    """Entropy of a (7,) distribution in bits, in [0, log2 7]."""
    some = probabilities[probabilities > 0]
    return float(-(some * np.log2(some)).sum()) + 0.0  # never minus zero


class ArmStatistics:
    """What both arms said of each participant in the trailing minute; the features for training and for use."""

    def __init__(self, settings: LearnedSettings = DEFAULT_LEARNED) -> None:
        self._settings = settings
        self._seconds: dict[str, deque[tuple[int, F64]]] = {}

    def add(self, second: int, readings: Sequence[SecondReading]) -> None:
        """Takes one second; only what both arms have read counts."""
        for reading in readings:
            if reading.pixel is not None and reading.landmark is not None and reading.quality is not None:
                row = [
                    reading.quality,
                    total_variation(reading.pixel, reading.landmark),
                    entropy(reading.pixel),
                    entropy(reading.landmark),
                ]
                self._seconds.setdefault(reading.participant, deque()).append((second, np.array(row)))
        for participant, seconds in list(self._seconds.items()):
            while seconds and seconds[0][0] <= second - self._settings.window_s:
                seconds.popleft()
            if not seconds:
                del self._seconds[participant]

    def features(self, participant: str, changes_per_minute: float, group_changes: float) -> F64 | None:
        """(7,) features of a participant; None while there are too few seconds with both arms."""
        seconds = self._seconds.get(participant, ())
        if len(seconds) < max(1, self._settings.least_s):
            return None
        means = np.mean([row for _, row in seconds], axis=0)
        counted = [changes_per_minute, group_changes, deviation(changes_per_minute, group_changes)]
        return np.asarray(np.concatenate([counted, means]))


class LearnedWeights:
    """The landmark arm's weight of each participant, from a fitted model, in the cadence of `AdaptiveWeights`.

    0.5 at first. An update goes half of the way to what the model predicts, within the same bounds. With fewer than
    two members who count, or too few seconds with both arms, a weight rests.
    """

    def __init__(
        self,
        model: WeightModel,
        settings: LearnedSettings = DEFAULT_LEARNED,
        fusion: FusionSettings = DEFAULT_FUSION,
    ) -> None:
        self._model = model
        self._settings = settings
        self._fusion = fusion
        self._statistics = ArmStatistics(settings)
        self._landmark: dict[str, float] = {}

    def observe(self, second: int, readings: Sequence[SecondReading]) -> None:
        """Takes what both arms said in a second."""
        self._statistics.add(second, readings)

    def landmark(self, participant: str) -> float:
        """Weight of the landmark arm in [0.2, 0.8]."""
        return self._landmark.get(participant, 0.5)

    def due(self, elapsed_s: int) -> bool:
        """Whether an update is due when that many seconds of the call are over."""
        return update_due(elapsed_s, self._fusion)

    def update(self, changes_per_minute: Mapping[str, float], engaged: Collection[str]) -> None:
        """One step towards what the model predicts of everybody in `changes_per_minute`."""
        mean = mean_changes(changes_per_minute, engaged)
        if mean is None:
            return
        for participant, count in changes_per_minute.items():
            features = self._statistics.features(participant, count, mean)
            if features is not None:
                predicted = float(self._model.predict(features[None])[0])
                best = min(self._fusion.weight_max, max(self._fusion.weight_min, predicted))
                weight = self.landmark(participant)
                self._landmark[participant] = weight + self._settings.rate * (best - weight)

    def forget(self, participant: str) -> None:
        """Whoever comes back begins at 0.5."""
        self._landmark.pop(participant, None)
