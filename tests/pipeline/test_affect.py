"""From valence and arousal to the seven classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats
from numpy.testing import assert_allclose

from pipeline.affect import TOLERANCE, certainty, distribution_of_affect
from pipeline.emotions import EMOTIONS, VALENCE_AROUSAL, derived_valence_arousal


@given(arrays(np.float64, 7, elements=floats(0.02, 1)))
def test_what_can_be_shown_comes_back(weights: np.ndarray) -> None:
    """Whatever mixture it came from, the expectation of what is found is what was asked for."""
    asked = derived_valence_arousal(weights / weights.sum())
    found = distribution_of_affect(*asked)
    assert found.sum() == pytest.approx(1)
    assert_allclose(derived_valence_arousal(found), asked, atol=TOLERANCE)


def test_a_corner_is_one_class() -> None:
    """Happiness lies outside of all the others; nothing else can be meant by its coordinates."""
    happiness = EMOTIONS.index("happiness")
    found = distribution_of_affect(*VALENCE_AROUSAL[happiness].tolist())
    assert found[happiness] > 0.95
    assert certainty(found) > 0.8


def test_the_middle_assumes_least() -> None:
    """Of two mixtures with the same expectation the one found has the larger entropy, and it is no certain label."""
    middle = VALENCE_AROUSAL.mean(axis=0)
    # No slope: all seven alike, 1/7 each, is the mean of the coordinates and has the largest entropy there is.
    found = distribution_of_affect(*middle.tolist())
    assert_allclose(found, np.full(7, 1 / 7), atol=1e-3)
    assert certainty(found) == pytest.approx(0, abs=1e-4)


def test_certainty_by_hand() -> None:
    """One class: 1. Two alike: 1 - log 2 / log 7 = 1 - 0.6931 / 1.9459 = 0.6438."""
    assert certainty(np.eye(7)[3]) == 1
    assert certainty(np.array([0.5, 0.5, 0, 0, 0, 0, 0])) == pytest.approx(0.6438, abs=1e-4)


@pytest.mark.parametrize(
    ("affect", "told"), [((1, -1), "no mixture"), ((1.5, 0), "from -1 to 1"), ((float("nan"), 0), "from -1 to 1")]
)
def test_what_no_face_shows_is_refused(affect: tuple[float, float], told: str) -> None:
    """Rather than bent to the nearest class."""
    with pytest.raises(ValueError, match=told):
        distribution_of_affect(*affect)
