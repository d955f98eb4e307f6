"""Temperatures with which probabilities mean what they say: of one model, and of two that are averaged."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F32, F64, softmax

LOWEST: Final = 0.2
HIGHEST: Final = 5.0
"""Between these a temperature is looked for; with a lower one a model would say little more than its first answer."""

_SMALLEST: Final = 1e-12
_ENOUGH: Final = 1e-5
"""Precision in log-temperature, far below the digits kept."""

Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]


def fitted_temperature(logits: F32 | F64, truth: I64) -> float:
    """The temperature of least log-loss for (n, 7) logits and (n,) classes, from 0.2 to 5, to three digits.

    Guo et al. 2017, "On calibration of modern neural networks". The loss has one minimum in the inverse of
    the temperature, found by golden section.
    """

    def loss(log_temperature: float) -> float:
        return float(-np.log(_of_truth(logits, truth, log_temperature)).mean())

    low, high = np.log(LOWEST), np.log(HIGHEST)
    golden = (np.sqrt(5) - 1) / 2
    while high - low > _ENOUGH:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 3)


def fitted_pool(pixel_logits: F32 | F64, landmark_logits: F32 | F64, found: Bool, truth: I64) -> tuple[float, float]:
    """The temperatures with which the pixel and the landmark model enter their mean, to three digits.

    For (n, 7) logits of each, any of the landmark model where (n,) `found` is False, and (n,) classes. The landmark
    model is calibrated for itself. The pixel model is sharpened until the mean is as sure as it is right, but not
    below `LOWEST`: a mean of two calibrated arms is less sure than it is right (Ranjan & Gneiting 2010,
    "Combining probability forecasts"), and the weaker arm of the two, which may be as sure, outvotes the better.
    Without a mesh at all each is calibrated for itself, the landmark model with 1.
    """
    if not found.any():
        return fitted_temperature(pixel_logits, truth), 1.0
    pixel_logits, landmark_logits, truth = pixel_logits[found], landmark_logits[found], truth[found]
    at_landmark = fitted_temperature(landmark_logits, truth)
    landmark = softmax(landmark_logits, temperature=at_landmark)
    low, high = np.log(LOWEST), np.log(HIGHEST)
    while high - low > _ENOUGH:
        middle = (low + high) / 2
        mean = 0.5 * softmax(pixel_logits, temperature=float(np.exp(middle))) + 0.5 * landmark
        if mean.max(axis=1).mean() < (mean.argmax(axis=1) == truth).mean():
            high = middle
        else:
            low = middle
    return round(float(np.exp((low + high) / 2)), 3), at_landmark


def pooled(pixel: F64, landmark: F64, found: Bool, alone: F64) -> F64:
    """(n, 7) mean of what both models give to it, and what the pixel model says alone where no mesh was found."""
    return np.where(found[:, None], 0.5 * pixel + 0.5 * landmark, alone)


def _of_truth(logits: F32 | F64, truth: I64, log_temperature: float) -> F64:
    """(n,) probability of the true class, kept from 0."""
    probabilities = softmax(logits, temperature=float(np.exp(log_temperature)))
    return np.asarray(probabilities[np.arange(len(truth)), truth].clip(_SMALLEST))
