"""Movement, lagged correlation and its test by circular shifts."""

import numpy as np
import pytest
from builders import p
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.emotions import F64
from pipeline.synchrony import (
    Moves,
    SynchronySettings,
    all_pairs,
    compare,
    coupling,
    divergences,
    mean_of_others,
    movement,
    normalised,
    steps,
    synchrony_matrix,
)

NEUTRAL, HAPPY = p(), p(happiness=1.0)
THREE = SynchronySettings(step_s=3)
GONE = np.full(7, np.nan)
SMALL = SynchronySettings(lag_s=1, told_lag_s=1, guard_s=2, least_s=6, least_shifts=3)


def impulses(length: int, *seconds: int) -> F64:
    """(1, length) 1 at these seconds, 0 elsewhere."""
    series = np.zeros((1, length))
    series[0, list(seconds)] = 1.0
    return series


def changing(rng: np.random.Generator, onsets: F64, length: int, noise: float = 0.3) -> F64:
    """(length, 1) movements: a bump of 3 s at every onset, and noise."""
    series = noise * rng.random(length)
    for onset in onsets:
        series[int(onset) : int(onset) + 3] += 1.0
    return series[:, None]


def test_movement_is_the_distance_of_two_means() -> None:
    """Neutral for 3 s, then happy: the two 3-s means are sqrt(1 + 1) apart at second 5; one later by 2/3 of it.

    At second 6 the means are of 4..6, happy, and of 1..3, a third happy: sqrt(2) (1 - 1/3).
    """
    series = np.stack([NEUTRAL] * 3 + [HAPPY] * 4)[:, None]
    moved = movement(steps(series, THREE))
    assert np.isnan(moved[:5]).all()
    assert moved[5:, 0] == pytest.approx([np.sqrt(2), np.sqrt(2) * 2 / 3])


def test_movement_needs_two_of_three_seconds() -> None:
    """A second without a face is left out of its mean; with two of three missing there is none."""
    one = np.stack([NEUTRAL, GONE, NEUTRAL, HAPPY, HAPPY, HAPPY])[:, None]
    two = np.stack([NEUTRAL, GONE, GONE, HAPPY, HAPPY, HAPPY])[:, None]
    assert movement(steps(one, THREE))[-1, 0] == pytest.approx(np.sqrt(2))
    assert np.isnan(movement(steps(two, THREE))[-1, 0])


def test_movement_of_a_row_does_not_depend_on_where_the_series_begins() -> None:
    """The last row of eight seconds is the same to the last bit as that of sixty."""
    series = np.random.default_rng(1).dirichlet(np.ones(7), (60, 4))
    assert steps(series[-8:])[-1].tobytes() == steps(series)[-1].tobytes()


def test_movement_of_a_short_series_is_unknown() -> None:
    """Seven seconds hold no two means of four."""
    assert np.isnan(steps(np.stack([NEUTRAL] * 7)[:, None])).all()


def test_movement_says_what_it_expects() -> None:
    """A series of two axes is refused."""
    with pytest.raises(ValueError, match=r"expected \(seconds, members, classes\), found shape \(5, 7\)"):
        steps(np.zeros((5, 7)))


def test_normalised_by_hand() -> None:
    """The root mean square of 3 and 4 is sqrt(12.5); who never moved stays at 0, what is unknown stays unknown."""
    stepped = np.full((3, 3, 7), np.nan)
    stepped[:2] = 0.0
    stepped[0, 0, 1], stepped[1, 0, 4] = 3.0, -4.0
    stepped[:2, 2] = np.nan
    moves = normalised(stepped)
    units = np.stack(moves.steps, axis=2)
    np.testing.assert_allclose(units[:, 0], np.nan_to_num(stepped[:, 0]) / 12.5**0.5)
    assert not units[:, 1:].any()
    expected = [[3 / 12.5**0.5, 0.0, np.nan], [4 / 12.5**0.5, 0.0, np.nan], [np.nan] * 3]
    np.testing.assert_allclose(moves.lengths, expected)
    np.testing.assert_allclose(movement(stepped)[:2, :2], [[3.0, 0.0], [4.0, 0.0]])


def test_the_mean_of_the_others_by_hand() -> None:
    """Who is unknown in a second is left out; of two members the other one is the mean; steps are as lengths are."""
    lengths = np.array([[1.0, 2.0, 6.0], [1.0, np.nan, 5.0]])
    moves = Moves(lengths, (np.nan_to_num(lengths),) * 7)
    expected = np.array([[4.0, 3.5, 1.5], [5.0, 3.0, 1.0]])
    np.testing.assert_array_equal(mean_of_others(moves).lengths, expected)
    np.testing.assert_array_equal(mean_of_others(moves).steps[3], expected)
    pair = mean_of_others(Moves(lengths[:, :2], tuple(plane[:, :2] for plane in moves.steps)))
    np.testing.assert_array_equal(pair.lengths, [[2.0, 1.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(pair.steps[3], [[2.0, 1.0], [0.0, 1.0]])


def test_correlation_lag_and_p_value_by_hand() -> None:
    """The second series is the first, one second later; three shifts do worse, so p = 1/4.

    Both have mean 2/8 and variance 2/8 - 1/16 = 3/16. With N(k) impulses that meet after a shift by k the correlation
    is (N/8 - 1/16) / (3/16): 1 for two, 1/3 for one, -1/3 for none. The differences between impulses at 1, 4 and at
    0, 3 are 1, 4, -2 = 6 and 1: N(1) = 2, N(4) = N(6) = 1. Shifts beyond 2 s are 3, 4, 5; the maxima over their
    neighbours within 1 s are all 1/3.
    """
    found = compare(impulses(8, 0, 3), impulses(8, 1, 4), SMALL)
    assert found.correlation == pytest.approx([1.0])
    assert found.lag_s.tolist() == [1.0]
    assert found.p_value.tolist() == [1 / 4]


def test_a_p_value_of_one_by_hand() -> None:
    """Without lags N(0) = 0: -1/3, and all of the shifts 3, 4, 5 do at least as well (-1/3, 1/3, -1/3)."""
    settings = SynchronySettings(lag_s=0, told_lag_s=0, guard_s=2, least_s=6, least_shifts=3)
    found = compare(impulses(8, 0, 3), impulses(8, 1, 4), settings)
    assert found.correlation == pytest.approx([-1 / 3])
    assert found.p_value.tolist() == [1.0]


def test_strength_by_hand() -> None:
    """The same -1/3 among -1/3, 1/3, -1/3: their mean is -1/9, their standard deviation 2/3 x sqrt(1/3 x 2/3).

    (-1/3 + 1/9) / (2/3 x sqrt(2)/3) = -1/sqrt(2). Where all shifts do the same there is none.
    """
    settings = SynchronySettings(lag_s=0, told_lag_s=0, guard_s=2, least_s=6, least_shifts=3)
    assert compare(impulses(8, 0, 3), impulses(8, 1, 4), settings).strength == pytest.approx([-(0.5**0.5)])
    assert compare(impulses(8, 0, 3), impulses(8, 1, 4), SMALL).strength.tolist() == [0.0]


def test_strength_is_about_standard_normal_by_chance() -> None:
    """Of 400 independent pairs of white series, within four standard errors of the mean and of the deviation."""
    first, second = np.random.default_rng(10).standard_normal((2, 400, 300))
    strength = compare(first, second).strength
    assert abs(strength.mean()) < 4 / 20
    assert abs(strength.std() - 1) < 4 / 800**0.5


def test_whereto_counts_as_much_as_when() -> None:
    """The same directions at the same time are surely no chance, whatever the movements say; others are.

    Directions are random and fresh in every second, so that no shift comes near: p = 1 / (1 + 159 shifts).
    """
    rng = np.random.default_rng(6)
    first, other = (tuple(rng.standard_normal((7, 1, 180))) for _ in range(2))
    moves = np.linalg.norm(first, axis=0)
    apart = moves[:, rng.permutation(180)]
    together = compare(moves, apart, steps=(first, first))
    assert together.p_value[0] == 1 / 160
    assert compare(moves, apart, steps=(first, other)).p_value[0] > 0.05
    # What is told is the correlation of the movements, not that of the steps.
    assert together.correlation.tolist() == compare(moves, apart).correlation.tolist()
    assert together.lag_s.tolist() == compare(moves, apart).lag_s.tolist()


def test_steps_that_are_always_the_same_say_nothing() -> None:
    """Without any spread over the shifts only movement counts."""
    still = (np.zeros((1, 8)),) * 7
    assert compare(impulses(8, 0, 3), impulses(8, 1, 4), SMALL, (still, still)).p_value.tolist() == [1 / 4]


def test_coupling_by_hand() -> None:
    """A and b step along different axes at the same seconds, of lengths 1 and 0 in turn; c rests and says nothing.

    Root mean squares are sqrt(1/2), so that steps become sqrt(2) long; movements, sqrt(2) or 0, standardised are 1 and
    -1: their product is 1 in every second. The inner product is 0, or, the same way, 2 in the seconds of a step.
    """
    stepped = np.zeros((4, 3, 7))
    stepped[::2, 0, 0] = 1.0
    stepped[::2, 1, 1] = 1.0
    when, whereto = coupling(normalised(stepped))
    np.testing.assert_allclose(when, np.ones(4), atol=1e-12)
    np.testing.assert_allclose(whereto, np.zeros(4), atol=1e-12)
    stepped[::2, 1] = 3 * stepped[::2, 0]
    when, whereto = coupling(normalised(stepped))
    np.testing.assert_allclose(when, np.ones(4), atol=1e-12)
    np.testing.assert_allclose(whereto, [2, 0, 2, 0], atol=1e-12)
    stepped[1, 1] = np.nan
    assert np.isnan(coupling(normalised(stepped))[0]).tolist() == [False, True, False, False]


@given(hnp.arrays(np.float64, (30, 4, 7), elements=st.floats(-1, 1, width=16)))
def test_the_mean_coupling_is_that_of_the_pairs(stepped: F64) -> None:
    """The mean over time is the mean correlation of the movements of pairs of those who move."""
    moves = np.linalg.norm(stepped, axis=2)
    if moves.std(axis=0).min() > 1e-2:
        correlations = np.corrcoef(moves.T)[np.triu_indices(4, 1)]
        assert coupling(normalised(stepped))[0].mean() == pytest.approx(correlations.mean(), abs=1e-6)


def test_missing_seconds_count_for_nothing() -> None:
    """Of the first series two impulses are known and four seconds of rest; the second has an impulse of its own.

    First: mean 2/6, variance 1/3 - 1/9 = 2/9. Second: impulses at 1, 4, 5: mean 3/8, variance 3/8 - 9/64 = 15/64. At
    lag 1 the known t = 0..5 meet 1..6: two pairs of impulses, (2/3) (5/8) each, t = 4 at rest meets an impulse,
    (-1/3) (5/8), and three pairs of rest, (1/3) (3/8) each: 5/6 - 5/24 + 3/8 = 1, over 6 seconds and both deviations.
    """
    first = impulses(8, 0, 3)
    first[0, [6, 7]] = np.nan
    found = compare(first, impulses(8, 1, 4, 5), SMALL)
    assert found.correlation == pytest.approx([1 / 6 / (2 / 9 * 15 / 64) ** 0.5])
    assert found.lag_s.tolist() == [1.0]


def test_too_few_common_seconds_say_nothing() -> None:
    """Five known seconds of six needed; and a call too short to be rotated."""
    first = impulses(8, 0, 3)
    first[0, 5:] = np.nan
    assert np.isnan(compare(first, impulses(8, 1, 4), SMALL).p_value).all()
    assert np.isnan(compare(impulses(7, 0, 3), impulses(7, 1, 4), SMALL).p_value).all()


def test_a_face_that_never_moves_goes_along_with_nobody() -> None:
    """One still face: correlation 0 and p = 1; two still faces: nothing is known."""
    moving, still = impulses(8, 0, 3), np.zeros((1, 8))
    one = compare(moving, still, SMALL)
    assert (one.correlation.tolist(), one.lag_s.tolist(), one.p_value.tolist()) == ([0.0], [0.0], [1.0])
    assert np.isnan(compare(still, still, SMALL).p_value).all()


@given(hnp.arrays(np.float64, (2, 60), elements=st.floats(0, 4, width=16)), st.sampled_from([0.25, 2.0, 1024.0]))
def test_scale_is_irrelevant(series: F64, scale: float) -> None:
    """A face that moves less by a constant factor gets the same correlation, lag and p-value, the latter in (0, 1]."""
    settings = SynchronySettings(least_s=20)
    one, other = (compare(series[:1], factor * series[1:], settings) for factor in (1.0, scale))
    assert np.isnan(one.p_value[0]) or 0 < one.p_value[0] <= 1
    # Who moves less than rounding does has not moved, at another scale they may have.
    if np.std(series[1]) > 1e-3:
        np.testing.assert_allclose(one.correlation, other.correlation, atol=1e-9)
        np.testing.assert_array_equal(one.p_value, other.p_value)


@given(hnp.arrays(np.float64, (60, 3), elements=st.floats(0, 4, width=16)))
def test_pairs_are_symmetric_and_repeatable(moves: F64) -> None:
    """The same input gives the same bytes; i with j is j with i; nobody is tested against themselves."""
    settings = SynchronySettings(least_s=20)
    correlation, p_value = all_pairs(moves, settings)
    assert correlation.tobytes() == all_pairs(moves, settings)[0].tobytes()
    np.testing.assert_array_equal(correlation, correlation.T)
    np.testing.assert_array_equal(p_value, p_value.T)
    assert np.diag(correlation).tolist() == [1.0] * 3
    assert np.isnan(np.diag(p_value)).all()


def test_of_nobody_there_are_no_pairs() -> None:
    """Before anything was seen: nobody is correlated with anybody else."""
    correlation, p_value = all_pairs(np.empty((0, 2)))
    assert correlation.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert np.isnan(p_value).all()


def test_size_and_power() -> None:
    """Of 400 independent pairs 5 % are significant, within three standard errors; of 100 coupled ones 80 % or more."""
    rng = np.random.default_rng(4)
    length = 180

    def onsets() -> F64:
        times = np.cumsum(rng.uniform(10, 40, 12))
        return times[times < length - 5]

    apart = [np.hstack([changing(rng, onsets(), length), changing(rng, onsets(), length)]) for _ in range(400)]
    together = []
    for _ in range(100):
        group = onsets()
        together.append(np.hstack([changing(rng, group + rng.uniform(0, 2, len(group)), length) for _ in range(2)]))
    rates = []
    for pairs in (np.stack(apart), np.stack(together)):
        found = compare(pairs[..., 0], pairs[..., 1])
        rates.append(float((found.p_value < 0.05).mean()))
    assert rates[0] <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert rates[1] >= 0.8


def test_the_matrix_of_a_whole_call() -> None:
    """Two who change together stand out against a third who does not; a gap of one of them does no harm."""
    rng = np.random.default_rng(5)
    length, happy = 400, np.zeros((400, 3))
    for members in ([0, 1], [2]):
        state = False
        for onset in np.cumsum(rng.uniform(10, 40, 20)).astype(int):
            state = not state
            happy[onset:, members] = state
    series = happy[..., None] * HAPPY + (1 - happy[..., None]) * NEUTRAL
    series = 0.9 * series + 0.1 * rng.dirichlet(np.ones(7), (length, 3))
    series[100:120, 1] = np.nan
    correlation, p_value = synchrony_matrix(series)
    assert correlation[0, 1] > 0.8
    assert p_value[0, 1] < 0.02
    assert p_value[0, 2] > 0.05
    assert p_value[1, 2] > 0.05


def test_divergence_by_hand() -> None:
    """0 for the same, 1 bit for nothing in common, and between: H(3/4, 1/4) - (0 + 1) / 2 = 0.3113."""
    apart = divergences(np.stack([HAPPY]), np.stack([HAPPY, NEUTRAL, p(happiness=0.5)]))
    assert apart == pytest.approx(np.array([[0.0, 1.0, 0.311278]]), abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_divergence_is_symmetric_and_bounded(seed: int) -> None:
    """The same both ways, within 0 and 1 bit."""
    rng = np.random.default_rng(seed)
    p_, q = rng.dirichlet(np.full(7, 0.3), 3), rng.dirichlet(np.full(7, 0.3), 2)
    apart = divergences(p_, q)
    np.testing.assert_array_equal(apart, divergences(q, p_).T)
    assert apart.min() >= 0
    assert apart.max() <= 1 + 1e-12
