"""Fusion and adaptive weights."""

from dataclasses import replace

import numpy as np
import pytest
from builders import arms, p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fusion import AdaptiveWeights, FusionSettings, deviation, fuse
from pipeline.types import SecondReading

AT_HALF = FusionSettings(rest=0.5)
"""The constants of the design: worked examples are easier around the start."""


def test_the_pool_is_linear() -> None:
    """0.4 x (0.5 happiness) + 0.6 x (1.0 happiness) = 0.8."""
    reading = fuse(arms("a", 3, p(happiness=0.5), p(happiness=1.0)), weight_landmark=0.6)
    np.testing.assert_allclose(reading.probabilities, p(happiness=0.8), atol=1e-12)
    assert (pytest.approx(0.4), 0.6, "happiness", False) == (
        reading.weight_pixel,
        reading.weight_landmark,
        reading.top,
        reading.abstain,
    )
    assert reading.confidence == pytest.approx(0.8)


def test_without_a_mesh_pixels_speak_alone() -> None:
    """P = p_px where no mesh was found."""
    reading = fuse(arms("a", 3, p(anger=0.9), None), weight_landmark=0.8)
    np.testing.assert_array_equal(reading.probabilities, p(anger=0.9))


def test_absence_stays_absence() -> None:
    """Nobody seen is no distribution, no class, and an abstention."""
    reading = fuse(arms("a", 3, None), weight_landmark=0.5)
    assert (
        reading.probabilities,
        reading.top,
        reading.confidence,
        reading.valence_arousal,
        reading.abstain,
    ) == (None, None, None, None, True)
    assert reading.participant == "a"


def test_a_reading_abstains_when_unsure_or_poor() -> None:
    """Below 0.5 confidence, or below 0.1 quality, nobody should act on it."""
    unsure = np.full(7, 1 / 7)
    assert fuse(arms("a", 0, unsure), 0.5).abstain
    assert fuse(arms("a", 0, p(anger=0.49, neutral=0.48, sadness=0.03)), 0.5).abstain
    assert not fuse(arms("a", 0, p(anger=0.51, neutral=0.49)), 0.5).abstain
    poor = SecondReading("a", 0, 5, 1.0, 0.09, p(happiness=1.0), None)
    assert fuse(poor, 0.5).abstain


def test_weights_after_three_updates_by_hand() -> None:
    """Changes per minute 6, 0, 0: mean 2, d = clip(4/3) = 1 for the first and -2/3 for the others.

    First:  0.5 + 0.05 = 0.55;  0.55 + 0.05 - 0.1 x 0.05 = 0.595;  0.595 + 0.05 - 0.1 x 0.095 = 0.6355.
    Others: 0.5 - 1/30 = 0.466667;  - 1/30 + 0.1 x 0.033333 = 0.436667;  - 1/30 + 0.1 x 0.063333 = 0.409667.
    """
    weights = AdaptiveWeights(AT_HALF)
    series = []
    for _ in range(3):
        weights.update({"a": 6.0, "b": 0.0, "c": 0.0}, ("a", "b", "c"))
        series.append((weights.landmark("a"), weights.landmark("b"), weights.landmark("c")))
    expected = [(0.55, 7 / 15, 7 / 15), (0.595, 0.43666667, 0.43666667), (0.6355, 0.40966667, 0.40966667)]
    np.testing.assert_allclose(series, expected, atol=1e-8)


def test_weights_after_six_updates_by_hand() -> None:
    """Rates that change, with a member who joins, is gone for a while, and comes back; w' = 0.9 w + 0.05 + 0.05 d.

    1. a 4, b 1, c 1: mean 2; d = 2/3, -1/3, -1/3: 0.5 + 0.033333, 0.5 - 0.016667 twice.
    2. a 3, b 0: mean 1.5; d = 0.6, -0.6: a 0.48 + 0.05 + 0.03 = 0.56; b 0.435 + 0.05 - 0.03 = 0.455; c rests.
    3. a 2, b 2, c 2, d 2: all d = 0: a 0.554; b 0.4595; c 0.485; d, who joins, 0.5.
    4. a 0, b 6, d 0: mean 2; d = -2/3, 1, -2/3: a 0.4986 + 0.05 - 0.033333; b 0.41355 + 0.1; d 0.466667.
    5. only a: no group, all rest.
    6. c 1, d 0: mean 0.5; d = 1/3, -1/3: c 0.4365 + 0.05 + 0.016667; d 0.42 + 0.05 - 0.016667.
    """
    weights = AdaptiveWeights(AT_HALF)
    rates = (
        {"a": 4.0, "b": 1.0, "c": 1.0},
        {"a": 3.0, "b": 0.0},
        {"a": 2.0, "b": 2.0, "c": 2.0, "d": 2.0},
        {"a": 0.0, "b": 6.0, "d": 0.0},
        {"a": 9.0},
        {"c": 1.0, "d": 0.0},
    )
    series = []
    for counted in rates:
        weights.update(counted, "abcd")
        series.append([weights.landmark(who) for who in "abcd"])
    expected = [
        [0.53333333, 0.48333333, 0.48333333, 0.5],
        [0.56, 0.455, 0.48333333, 0.5],
        [0.554, 0.4595, 0.485, 0.5],
        [0.51526667, 0.51355, 0.485, 0.46666667],
        [0.51526667, 0.51355, 0.485, 0.46666667],
        [0.51526667, 0.51355, 0.50316667, 0.45333333],
    ]
    np.testing.assert_allclose(series, expected, atol=1e-8)


def test_who_is_forgotten_begins_anew() -> None:
    """At 0.5, also somebody of whom nothing was known; the others keep theirs."""
    weights = AdaptiveWeights(AT_HALF)
    weights.update({"a": 3.0, "b": 0.0}, "ab")
    weights.forget("a")
    weights.forget("x")
    assert weights.landmark("a") == weights.landmark("x") == 0.5
    assert weights.landmark("b") < 0.5


def test_what_the_arms_say_does_not_move_the_rule() -> None:
    """It takes part in the protocol, and looks at changes alone."""
    weights = AdaptiveWeights(AT_HALF)
    weights.observe(3, [arms("a", 3, p(anger=1.0), p(happiness=1.0))])
    assert weights.landmark("a") == 0.5


def test_the_step_grows_with_the_deviation() -> None:
    """Who is further above the mean moves further towards landmarks."""
    weights = AdaptiveWeights(AT_HALF)
    weights.update({"a": 4.0, "b": 3.0, "c": 0.5}, ("a", "b", "c"))
    assert weights.landmark("a") > weights.landmark("b") > 0.5 > weights.landmark("c")


def test_weights_rest_without_a_group() -> None:
    """One member who counts is no group, whatever the others do."""
    weights = AdaptiveWeights(AT_HALF)
    weights.update({"a": 60.0, "b": 0.0}, ("a",))
    weights.update({"a": 60.0}, ("a", "b"))
    assert (weights.landmark("a"), weights.landmark("b")) == (0.5, 0.5)


def test_updates_are_due_every_ten_seconds_from_twenty() -> None:
    """The first corrective action is taken after 20 s (GROUP, section 4.3)."""
    weights = AdaptiveWeights(AT_HALF)
    assert [second for second in range(1, 45) if weights.due(second)] == [20, 30, 40]


RATES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 60), min_size=2)


@given(RATES, st.integers(1, 200))
def test_weights_stay_bounded_and_settle(rates: dict[str, float], n: int) -> None:
    """Under constant rates weights never leave [0.2, 0.8], go one way only, and come to rest."""
    weights = AdaptiveWeights(AT_HALF)
    series = []
    for _ in range(n + 300):
        weights.update(rates, tuple(rates))
        series.append([weights.landmark(who) for who in sorted(rates)])
    steps = np.diff(np.array(series), axis=0)
    assert 0.2 <= np.min(series) <= np.max(series) <= 0.8
    assert np.all((steps >= -1e-12).all(axis=0) | (steps <= 1e-12).all(axis=0))
    assert np.abs(steps[-1]).max() < 1e-9


@given(RATES)
def test_weights_come_to_rest_where_the_pull_holds_the_step(rates: dict[str, float]) -> None:
    """At 0.5 + d / 2 within the bounds, and every update brings each weight nearer: no oscillation."""
    weights = AdaptiveWeights(AT_HALF)
    mean = sum(rates.values()) / len(rates)
    rest = {who: min(0.8, max(0.2, 0.5 + deviation(rate, mean) / 2)) for who, rate in rates.items()}
    distance = {who: abs(0.5 - rest[who]) for who in rates}
    for _ in range(300):
        weights.update(rates, tuple(rates))
        for who in rates:
            now = abs(weights.landmark(who) - rest[who])
            assert now <= distance[who] + 1e-12
            distance[who] = now
    assert max(distance.values()) < 1e-9


@given(RATES, st.randoms())
def test_the_order_of_members_does_not_matter(rates: dict[str, float], random: object) -> None:
    """Members in another order get the same weights, to the last bit."""
    names = list(rates)
    random.shuffle(names)
    one, other = AdaptiveWeights(AT_HALF), AdaptiveWeights(AT_HALF)
    one.update(rates, tuple(rates))
    other.update({name: rates[name] for name in names}, names)
    assert [one.landmark(name) for name in names] == [other.landmark(name) for name in names]


def test_settings_are_the_documented_ones() -> None:
    """Algorithm 3 of the design, and where the card of the mean says an answer is better held back."""
    assert FusionSettings() == FusionSettings(10, 20, 0.05, 0.1, 0.3, 0.2, 0.8, 0.5, 0.1)


def test_weights_come_to_rest_at_the_better_weight() -> None:
    """Who changes as often as the others starts at 0.5 and goes a tenth of the way to 0.3 at a time: 0.48, 0.462."""
    weights = AdaptiveWeights()
    found = []
    for _ in range(60):
        weights.update({"a": 2.0, "b": 2.0}, ("a", "b"))
        found.append(weights.landmark("a"))
    assert found[:2] == pytest.approx([0.48, 0.462])
    assert found[-1] == pytest.approx(0.3, abs=0.001)


def test_the_generic_heads_are_fused_alike() -> None:
    """Shown 0.4 x 0.5 + 0.6 x 1.0 = 0.8 happiness; generic 0.4 x 0.5 + 0.6 x 1.0 = 0.8 sadness, with the same weights."""
    generic = (p(sadness=0.5), p(sadness=1.0))
    reading = fuse(replace(arms("a", 3, p(happiness=0.5), p(happiness=1.0)), generic=generic), weight_landmark=0.6)
    np.testing.assert_allclose(reading.probabilities, p(happiness=0.8), atol=1e-12)
    np.testing.assert_allclose(reading.generic, p(sadness=0.8), atol=1e-12)
    assert reading.by_generic is reading.generic


def test_without_a_personal_head_the_reading_is_the_generic_one() -> None:
    """There is no second distribution, and of absence there is none at all."""
    reading = fuse(arms("a", 3, p(happiness=0.5)), weight_landmark=0.5)
    assert reading.generic is None
    assert reading.by_generic is reading.probabilities
    assert fuse(arms("a", 3, None), weight_landmark=0.5).by_generic is None
