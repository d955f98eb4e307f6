"""Weights of the arms from a fitted model."""

import numpy as np
import pytest
from builders import arms, p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.emotions import F64
from pipeline.fusion import AdaptiveWeights, WeightRule
from pipeline.learned_weights import (
    FEATURES,
    ArmStatistics,
    LearnedSettings,
    LearnedWeights,
    WeightModel,
    entropy,
    fit,
)

N = len(FEATURES)


def model(intercept: float = 0.5, **coefficients: float) -> WeightModel:
    """A model on features as they are."""
    return WeightModel(np.zeros(N), np.ones(N), np.array([coefficients.get(name, 0.0) for name in FEATURES]), intercept)


def watched(weights: LearnedWeights, *names: str, seconds: int = 20) -> LearnedWeights:
    """The same weights, after some seconds in which the arms differ by 0.4."""
    for second in range(seconds):
        weights.observe(second, [arms(name, second, p(happiness=0.6), p(happiness=0.2)) for name in names])
    return weights


def test_a_fit_by_hand() -> None:
    """One feature, -1 and 1 after standardising, targets 0.3 and 0.7, penalty 2: 0.5 + z (0.7 - 0.3) / (2 + 2) = 0.1 z.

    The normal equation is (Σ z² + 2) b = Σ z (y - 0.5): (2 + 2) b = 0.4.
    """
    features = np.zeros((2, N))
    features[:, 4] = (0.1, 0.5)
    fitted = fit(features, np.array([0.3, 0.7]), ridge=2.0)
    expected = np.zeros(N)
    expected[4] = 0.1
    np.testing.assert_allclose(fitted.coefficients, expected, atol=1e-12)
    assert fitted.intercept == pytest.approx(0.5)
    assert (fitted.mean[4], fitted.scale[4]) == (pytest.approx(0.3), pytest.approx(0.2))
    np.testing.assert_allclose(fitted.predict(features), (0.4, 0.6), atol=1e-12)


def test_a_fit_finds_a_line() -> None:
    """Without a penalty, 0.4 + 0.2 disagreement - 0.1 quality comes back from samples of it, constants included."""
    rng = np.random.default_rng(4)
    features = rng.random((50, N))
    features[:, 1] = 3.0
    targets = 0.4 + 0.2 * features[:, 4] - 0.1 * features[:, 3]
    fitted = fit(features, targets, ridge=0.0)
    np.testing.assert_allclose(fitted.predict(features), targets, atol=1e-9)
    assert fitted.coefficients[1] == pytest.approx(0.0, abs=1e-12)


def test_importance_is_repetition() -> None:
    """A row that counts twice is a row that is there twice, and one that counts nothing is not there."""
    rng = np.random.default_rng(5)
    features, targets = rng.random((6, N)), rng.random(6)
    one = fit(features, targets, importance=np.array([2.0, 1, 1, 1, 0, 1]))
    rows = [0, 0, 1, 2, 3, 5]
    other = fit(features[rows], targets[rows])
    np.testing.assert_allclose(one.predict(features), other.predict(features), atol=1e-12)


def test_the_order_of_rows_does_not_matter() -> None:
    """But for rounding."""
    rng = np.random.default_rng(6)
    features, targets = rng.random((30, N)), rng.random(30)
    one, other = fit(features, targets), fit(features[::-1], targets[::-1])
    np.testing.assert_allclose(one.predict(features), other.predict(features), atol=1e-12)


@pytest.mark.parametrize(
    ("features", "targets", "importance", "ridge", "message"),
    [
        (np.zeros((3, 2)), np.zeros(3), None, 1.0, "expected features"),
        (np.zeros((3, N)), np.zeros(2), None, 1.0, "expected features"),
        (np.zeros((3, N)), np.zeros((3, 1)), None, 1.0, "expected features"),
        (np.zeros((3, N)), np.zeros(3), np.zeros(2), 1.0, "expected features"),
        (np.full((3, N), np.nan), np.zeros(3), None, 1.0, "expected finite numbers"),
        (np.zeros((3, N)), np.full(3, np.inf), None, 1.0, "expected finite numbers"),
        (np.zeros((3, N)), np.zeros(3), np.full(3, np.nan), 1.0, "expected finite numbers"),
        (np.zeros((3, N)), np.zeros(3), np.zeros(3), 1.0, "a row that counts"),
        (np.zeros((3, N)), np.zeros(3), np.array([1.0, -1.0, 2.0]), 1.0, "no negative number"),
        (np.zeros((3, N)), np.zeros(3), None, -1.0, "no negative number"),
        (np.zeros((0, N)), np.zeros(0), None, 1.0, "a row that counts"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    features: F64, targets: F64, importance: F64 | None, ridge: float, message: str
) -> None:
    """In one line that says what to do."""
    with pytest.raises(ValueError, match=message):
        fit(features, targets, importance=importance, ridge=ridge)


def test_entropy_by_hand() -> None:
    """One class 0 bits, two halves 1 bit."""
    assert (entropy(p()), entropy(p(happiness=0.5))) == (0.0, 1.0)


def test_features_by_hand() -> None:
    """Changes 3 against a mean of 1: d = 1. Quality 0.9, arms 0.4 apart, entropies of (0.6, 0.4) and of (0.2, 0.8)."""
    statistics = ArmStatistics()
    for second in range(15):
        statistics.add(second, [arms("a", second, p(happiness=0.6), p(happiness=0.2))])
    features = statistics.features("a", 3.0, 1.0)
    np.testing.assert_allclose(features, (3.0, 1.0, 1.0, 0.9, 0.4, 0.9709506, 0.7219281), atol=1e-7)


def test_too_few_seconds_with_both_arms_have_no_features() -> None:
    """Fewer than 15, or without a mesh, or absent, or long ago, or never seen."""
    statistics = ArmStatistics()
    for second in range(60):
        rows = [arms("few", second, p(), p() if second % 5 == 0 else None), arms("absent", second, None)]
        statistics.add(second, rows + ([arms("left", second, p(), p())] if second < 20 else []))
    assert statistics.features("left", 0.0, 0.0) is not None
    assert statistics.features("few", 0.0, 0.0) is None
    assert statistics.features("absent", 0.0, 0.0) is None
    assert statistics.features("never", 0.0, 0.0) is None
    statistics.add(79, [])
    assert statistics.features("left", 0.0, 0.0) is None
    assert set(statistics._seconds) == {"few"}
    assert ArmStatistics(LearnedSettings(least_s=0)).features("never", 0.0, 0.0) is None


def test_updates_go_half_of_the_way_by_hand() -> None:
    """0.1 + 0.5 x disagreement 0.4 = 0.3 is predicted: 0.5, 0.4, 0.35."""
    weights = watched(LearnedWeights(model(0.1, disagreement=0.5)), "a", "b")
    series = []
    for _ in range(2):
        weights.update({"a": 1.0, "b": 1.0}, "ab")
        series.append(weights.landmark("a"))
    assert series == [pytest.approx(0.4), pytest.approx(0.35)]


def test_weights_rest_without_a_group_or_without_both_arms() -> None:
    """One who counts is no group; who was not watched keeps the weight."""
    weights = watched(LearnedWeights(model(0.8)), "a", "b")
    weights.update({"a": 1.0}, "ab")
    assert weights.landmark("a") == 0.5
    weights.update({"a": 1.0, "c": 1.0}, "ac")
    assert (weights.landmark("a"), weights.landmark("c")) == (pytest.approx(0.65), 0.5)


def test_who_is_forgotten_begins_anew() -> None:
    """At 0.5, also somebody of whom nothing was known; the others keep theirs."""
    weights = watched(LearnedWeights(model(0.8)), "a", "b")
    weights.update({"a": 1.0, "b": 1.0}, "ab")
    weights.forget("a")
    weights.forget("x")
    assert weights.landmark("a") == weights.landmark("x") == 0.5
    assert weights.landmark("b") == pytest.approx(0.65)


def test_the_cadence_is_that_of_the_rule() -> None:
    """Both are weight rules, due at the same seconds."""
    rules: tuple[WeightRule, ...] = (AdaptiveWeights(), LearnedWeights(model()))
    assert [[second for second in range(1, 45) if rule.due(second)] for rule in rules] == [[20, 30, 40]] * 2


@given(st.floats(-5, 5), st.floats(-5, 5), st.permutations("abc"))
def test_weights_stay_bounded_and_settle(intercept: float, slope: float, names: list[str]) -> None:
    """Whatever the model says, weights stay in [0.2, 0.8] and go one way only; the order of members does not matter."""
    rates = {"a": 4.0, "b": 1.0, "c": 0.0}
    one = watched(LearnedWeights(model(intercept, deviation=slope)), *"abc")
    other = watched(LearnedWeights(model(intercept, deviation=slope)), *names)
    series = []
    for _ in range(35):
        one.update(rates, "abc")
        other.update({name: rates[name] for name in names}, names)
        series.append([one.landmark(name) for name in "abc"])
        assert series[-1] == [other.landmark(name) for name in "abc"]
    steps = np.diff(series, axis=0)
    assert 0.2 <= np.min(series) <= np.max(series) <= 0.8
    assert np.all((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0))
    assert np.abs(steps[-1]).max() < 1e-9


def test_settings_are_the_documented_ones() -> None:
    """A minute is watched, a quarter of it is enough."""
    assert LearnedSettings() == LearnedSettings(60, 15, 0.5)
