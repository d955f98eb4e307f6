"""Temperatures against losses worked by hand."""

import numpy as np
import pytest

from models.evaluation.calibration import LOWEST, fitted_pool, fitted_temperature, pooled
from pipeline.emotions import softmax

RNG = np.random.default_rng(0)
ALL = np.ones(4, dtype=np.bool_)


def two_classes(*leads: float) -> np.ndarray:
    """(n, 7) logits of which only the first two classes count, the first ahead by so much."""
    logits = np.full((len(leads), 7), -1e4)
    logits[:, 0], logits[:, 1] = leads, 0
    return logits


def test_the_temperature_is_that_of_least_loss() -> None:
    """Three of four right with logits 4 and 0 (among two live classes): exp(4 / T) = 3, T = 4 / ln 3 = 3.641."""
    logits = two_classes(4, 4, 4, 4).astype(np.float32)
    assert fitted_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(4 / np.log(3), abs=2e-3)


def test_the_pool_is_made_as_sure_as_it_is_right() -> None:
    """A landmark model that knows nothing says 1/2 at any temperature: the pixel model has to say more than 3/4.

    Ten of 16 right: half of p and half of 1/2 is 10/16 at p = 3/4, so exp(2 / T) = 3 and T = 2 / ln 3 = 1.820.
    """
    pixel, landmark = two_classes(*[2] * 16), two_classes(*[0] * 16)
    truth = np.array([0] * 10 + [1] * 6)
    at_pixel, _ = fitted_pool(pixel, landmark, np.ones(16, dtype=np.bool_), truth)
    assert at_pixel == pytest.approx(2 / np.log(3), abs=2e-3)


def test_the_landmark_model_stays_calibrated_and_the_pixel_model_is_not_sharpened_beyond_use() -> None:
    """Where both err on the same faces the mean is as sure as it is right; where that cannot be, the lowest it is."""
    truth = RNG.integers(0, 7, 4000)
    shared = RNG.normal(size=(4000, 7))
    pixel, landmark = (2 * shared + 0.5 * RNG.normal(size=(4000, 7)) + pull * np.eye(7)[truth] for pull in (4, 3.5))
    found = RNG.random(4000) < 0.9
    at_pixel, at_landmark = fitted_pool(pixel, landmark, found, truth)
    assert at_landmark == fitted_temperature(landmark[found], truth[found])
    assert at_pixel < fitted_temperature(pixel[found], truth[found])
    mean = 0.5 * softmax(pixel, temperature=at_pixel) + 0.5 * softmax(landmark, temperature=at_landmark)
    right = mean.argmax(axis=1) == truth
    assert mean[found].max(axis=1).mean() == pytest.approx(right[found].mean(), abs=0.01)
    always = two_classes(*[1] * 16), two_classes(*[0] * 16), np.ones(16, dtype=np.bool_), np.zeros(16, dtype=np.int64)
    assert fitted_pool(*always)[0] == LOWEST


def test_without_a_mesh_the_mean_is_the_pixel_model() -> None:
    """Without any mesh its temperature is that of the pixel model alone; one by one, too, it speaks for itself."""
    logits, truth = two_classes(4, 4, 4, 4), np.array([0, 0, 0, 1])
    assert fitted_pool(logits, np.zeros((4, 7)), ~ALL, truth) == (fitted_temperature(logits, truth), 1.0)
    pixel, landmark, alone = (softmax(RNG.normal(size=(4, 7))) for _ in range(3))
    found = np.array([True, False, True, False])
    given = pooled(pixel, landmark, found, alone)
    np.testing.assert_allclose(given[found], (pixel + landmark)[found] / 2)
    np.testing.assert_array_equal(given[~found], alone[~found])
