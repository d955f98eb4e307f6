"""The seven classes."""

import numpy as np
import pytest
from builders import p
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.emotions import EMOTIONS, derived_valence_arousal, permutation, softmax

LOGITS = arrays(np.float64, (7,), elements=st.floats(-50, 50))


def test_permutation_brings_columns_into_our_order() -> None:
    """Columns in FER+ order come out in ours, and contempt is left out."""
    ferplus = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    columns = np.arange(8)
    assert columns[permutation(ferplus)].tolist() == [4, 5, 6, 1, 3, 2, 0]


@pytest.mark.parametrize("order", [EMOTIONS[:-1], (*EMOTIONS, "anger"), ("Anger", *EMOTIONS[1:])])
def test_permutation_refuses_an_order_it_cannot_read(order: tuple[str, ...]) -> None:
    """A class that is missing, doubled or spelt otherwise is an error, never a guess."""
    with pytest.raises(ValueError, match="exactly once"):
        permutation(order)


@given(st.permutations(EMOTIONS))
def test_permutation_is_by_name(order: list[str]) -> None:
    """Whatever the order, the permuted names are ours."""
    assert list(EMOTIONS) == np.array(order)[permutation(order)].tolist()


def test_softmax_by_hand() -> None:
    """exp(0), exp(ln 2), exp(ln 5) and four times exp(-inf) are 1, 2, 5 of 8."""
    logits = np.array([0.0, np.log(2), np.log(5), -np.inf, -np.inf, -np.inf, -np.inf])
    np.testing.assert_allclose(softmax(logits), [1 / 8, 2 / 8, 5 / 8, 0, 0, 0, 0], atol=1e-12)


@given(LOGITS, st.floats(-20, 20), st.floats(0.1, 10))
def test_softmax_sums_to_one_and_ignores_a_shift(logits: np.ndarray, shift: float, temperature: float) -> None:
    """Probabilities sum to one at every temperature, and a constant added to all logits changes nothing."""
    probabilities = softmax(logits, temperature=temperature)
    assert abs(probabilities.sum() - 1) < 1e-9
    np.testing.assert_allclose(softmax(logits + shift, temperature=temperature), probabilities, atol=1e-9)


def test_valence_and_arousal_by_hand() -> None:
    """Half happiness (0.81, 0.51) and half sadness (-0.63, -0.27) is (0.09, 0.12)."""
    valence, arousal = derived_valence_arousal(p(happiness=0.5, sadness=0.5))
    assert (pytest.approx(0.09), pytest.approx(0.12)) == (valence, arousal)


def test_neutral_is_the_origin() -> None:
    """A neutral face has neither valence nor arousal."""
    assert derived_valence_arousal(p()) == (0.0, 0.0)


@given(LOGITS)
def test_valence_and_arousal_stay_bounded(logits: np.ndarray) -> None:
    """Both stay in [-1, 1] for every distribution."""
    valence, arousal = derived_valence_arousal(softmax(logits))
    assert -1 <= valence <= 1
    assert -1 <= arousal <= 1
