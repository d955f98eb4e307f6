"""Dismissed excursions of one member, and the weak frequencies of the group."""

import numpy as np
import pytest
from builders import p
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.denoise import (
    Cleaned,
    DenoiseSettings,
    Dismissal,
    GroupDenoiser,
    Transients,
    TransientSettings,
    denoise,
    dismissal_event,
)
from pipeline.emotions import F64

NEUTRAL, HAPPY, SAD = p(), p(happiness=0.8), p(sadness=0.6)


class One:
    """`Transients` of one participant, `a`."""

    def __init__(self, settings: TransientSettings | None = None) -> None:
        self._all = Transients(settings or TransientSettings())

    def add(self, second: int, row: F64 | None) -> tuple[Cleaned, ...]:
        """What is decided of it."""
        return tuple(one for _, one in self._all.add(second, {"a": row}))

    def finish(self) -> tuple[Cleaned, ...]:
        """The rest."""
        return tuple(one for _, one in self._all.finish())


def clean(series: list[F64 | None], start: int = 0, settings: TransientSettings | None = None) -> list[Cleaned]:
    """A series that starts at a second, cleaned to its end."""
    transients = One(settings or TransientSettings())
    out = [cleaned for i, row in enumerate(series) for cleaned in transients.add(start + i, row)]
    return [*out, *transients.finish()]


def dismissals(cleaned: list[Cleaned]) -> list[Dismissal]:
    """What was dismissed."""
    return [one.dismissal for one in cleaned if one.dismissal is not None]


def same(cleaned: list[Cleaned], series: list[F64 | None]) -> bool:
    """Whether every second came out as it went in."""
    return all(one.probabilities is row for one, row in zip(cleaned, series, strict=True))


def test_two_seconds_that_return_are_dismissed() -> None:
    """Neutral, 2 s of 0.8 happiness, a little happy: before is neutral, after p(happiness=0.06), their mean 0.03."""
    series = [NEUTRAL] * 5 + [HAPPY, HAPPY] + [p(happiness=0.06)] * 4
    cleaned = clean(series)
    [dismissal] = dismissals(cleaned)
    assert (dismissal.participant, dismissal.second, dismissal.n_seconds, dismissal.emotion) == ("a", 5, 2, "happiness")
    assert dismissal.distance == pytest.approx(0.8)
    for second in (5, 6):
        np.testing.assert_allclose(cleaned[second].probabilities, p(happiness=0.03), atol=1e-12)
    assert cleaned[5].dismissal is dismissal
    assert same(cleaned[:5] + cleaned[7:], series[:5] + series[7:])


def test_three_seconds_are_an_expression() -> None:
    """Longer than 2 s is kept; so is what does not return, and what has not returned when the call ends."""
    for series in (
        [NEUTRAL] * 5 + [HAPPY] * 3 + [NEUTRAL] * 5,
        [NEUTRAL] * 5 + [HAPPY] * 9,
        [NEUTRAL] * 5 + [HAPPY],
        [NEUTRAL] * 5 + [HAPPY, HAPPY] + [SAD] * 5,
    ):
        assert same(clean(series), series)


def test_two_seconds_in_three_bins_are_two_seconds() -> None:
    """0.6, 1 and 0.4 of an excursion of 0.8: (0.48 - 0.1 + 0.7 + 0.32 - 0.1) / 0.7 = 1.86 s; 0.8, 1, 0.8: 2.54 s."""
    series = [NEUTRAL] * 5 + [p(happiness=0.48), HAPPY, p(happiness=0.32)] + [NEUTRAL] * 4
    assert [d.n_seconds for d in dismissals(clean(series))] == [3]
    longer = [NEUTRAL] * 5 + [p(happiness=0.64), HAPPY, p(happiness=0.64)] + [NEUTRAL] * 4
    assert same(clean(longer), longer)


def test_a_shoulder_does_not_hide_an_excursion() -> None:
    """0.15 before 2 s at 0.8 makes 0.07 s too many; without it, the 2 s are dismissed."""
    series = [NEUTRAL] * 5 + [p(happiness=0.15), HAPPY, HAPPY] + [NEUTRAL] * 4
    assert [(d.second, d.n_seconds) for d in dismissals(clean(series))] == [(6, 2)]


def test_what_stays_below_a_quarter_is_no_excursion() -> None:
    """0.2 for a second is told as it is."""
    series = [NEUTRAL] * 5 + [p(happiness=0.2)] + [NEUTRAL] * 5
    assert same(clean(series), series)


def test_the_third_of_a_kind_is_a_behaviour() -> None:
    """A smile every 20 s: the first two are dismissed, the rest is kept; sadness counts for itself."""
    series = ([NEUTRAL] * 19 + [HAPPY]) * 5 + [NEUTRAL] * 5 + [SAD] + [NEUTRAL] * 5
    found = [(d.second, d.emotion) for d in dismissals(clean(series))]
    assert found == [(19, "happiness"), (39, "happiness"), (105, "sadness")]


def test_recurrence_is_forgotten_after_two_minutes() -> None:
    """At 19, 39 and 139 s: 19 is 120 s ago, so the third has one before it; the fourth, at 150, has two."""
    series = [NEUTRAL] * 170
    for second in (19, 39, 139, 150):
        series[second] = HAPPY
    assert [d.second for d in dismissals(clean(series))] == [19, 39, 139]


def test_a_behaviour_of_two_seconds_counts_once() -> None:
    """Its second second is not one more occurrence."""
    series = ([NEUTRAL] * 18 + [HAPPY, HAPPY]) * 6 + [NEUTRAL] * 5
    settings = TransientSettings(recurs=4)
    assert [d.second for d in dismissals(clean(series, settings=settings))] == [18, 38, 58, 78]


def test_absence_counts_as_away_and_stays_absence() -> None:
    """One second away and one absent are 2 s; two and one are 3 s, and nobody knows."""
    series: list[F64 | None] = [*([NEUTRAL] * 5), HAPPY, None, *([NEUTRAL] * 4)]
    cleaned = clean(series)
    assert [(d.second, d.n_seconds) for d in dismissals(cleaned)] == [(5, 1)]
    assert cleaned[6].probabilities is None
    longer: list[F64 | None] = [*([NEUTRAL] * 5), HAPPY, None, HAPPY, *([NEUTRAL] * 4)]
    assert same(clean(longer), longer)


def test_seconds_that_were_never_added_are_absent() -> None:
    """HAPPY at 5, nothing for 6, back at 7: 2 s."""
    transients = One()
    series = [(s, HAPPY if s == 5 else NEUTRAL) for s in (0, 1, 2, 3, 4, 5, 7, 8, 9, 10)]
    out = [one for second, row in series for one in transients.add(second, row)]
    assert [one.second for one in out] == [0, 1, 2, 3, 4, 5, 7]
    assert [d.second for d in dismissals(out)] == [5]


def test_an_absent_second_after_a_gap_gives_the_seconds_before_it_out() -> None:
    """What waits comes out three seconds later, whoever is to be seen then."""
    transients = One()
    assert transients.add(0, NEUTRAL) == ()
    assert [one.second for one in transients.add(100, None)] == [0]
    assert [one.second for one in transients.finish()] == [100]


def test_who_was_away_for_long_has_no_before() -> None:
    """Eight seconds later what was before the absence says nothing of what came after it."""
    series: list[F64 | None] = [*([NEUTRAL] * 5), *([None] * 8), HAPPY, *([NEUTRAL] * 6)]
    assert same(clean(series), series)


def test_the_first_seconds_have_no_before() -> None:
    """Two seconds of neutral do not tell that happiness is the excursion."""
    series = [NEUTRAL] * 2 + [HAPPY] + [NEUTRAL] * 5
    assert same(clean(series), series)


def test_a_face_without_a_steady_expression_has_no_before() -> None:
    """Three seconds of three classes have nothing in common: their median is empty."""
    series = [p(anger=1.0), p(fear=1.0), p(sadness=1.0), HAPPY, p(fear=1.0), p(anger=1.0), p(sadness=1.0)]
    assert same(clean(series), series)


def test_one_odd_second_does_not_move_what_was_before() -> None:
    """A mixed second at the beginning of an expression is outvoted by those that follow it."""
    series = [NEUTRAL] * 5 + [p(happiness=0.4)] + [HAPPY] * 4 + [SAD] + [HAPPY] * 5
    assert [(d.second, d.emotion) for d in dismissals(clean(series))] == [(10, "sadness")]


def test_time_goes_forward() -> None:
    """A second that is not after the one before is a mistake of the caller."""
    transients = One()
    transients.add(3, NEUTRAL)
    with pytest.raises(ValueError, match="second: expected one after 3, got 3"):
        transients.add(3, NEUTRAL)


def test_the_lag_may_be_nothing() -> None:
    """Then nothing can be known to return, and nothing is dismissed."""
    series = [NEUTRAL] * 5 + [HAPPY] + [NEUTRAL] * 5
    assert same(clean(series, settings=TransientSettings(lag_s=0)), series)


def test_the_event_says_what_was_dismissed() -> None:
    """Whose, when, for how long, which class, and how far away."""
    event = dismissal_event(Dismissal("p-1", 7, 2, "fear", 0.3333333333))
    assert (event.kind, event.time_s, event.participants) == ("dismissed", 7.0, ("p-1",))
    assert dict(event.data) == {"emotion": "fear", "seconds": 2, "distance": 0.333333}


ROWS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 6), st.floats(0, 1)).map(lambda x: (1 - x[1]) * NEUTRAL + x[1] * np.eye(7)[x[0]]),
)


@given(
    st.lists(st.lists(st.sampled_from([None, 0.0, 0.3, 0.8]), min_size=3, max_size=3), min_size=1, max_size=30),
    st.integers(0, 30),
    st.sampled_from("abcx"),
)
def test_everybody_is_judged_by_themselves(seconds: list[list[float | None]], at: int, gone: str) -> None:
    """Whoever else is there or is forgotten meanwhile: of the others everything is as of each alone; x was never there."""
    rows = [[None if x is None else p(happiness=x) for x in one] for one in seconds]
    together, told = Transients(), []
    for second, one in enumerate(rows):
        if second == at:
            together.forget(gone)
        told += together.add(second, dict(zip("abc", one, strict=True)))
    told += together.finish()
    for i, name in enumerate("abc"):
        if name != gone:
            alone = [(one.probabilities, one.dismissal) for one in clean([one[i] for one in rows])]
            own = [(one.probabilities, one.dismissal) for who, one in told if who == name]
            assert [d.second for _, d in own if d] == [d.second for _, d in alone if d]
            np.testing.assert_array_equal(
                [np.full(7, np.nan) if row is None else row for row, _ in own],
                [np.full(7, np.nan) if row is None else row for row, _ in alone],
            )


@given(st.lists(ROWS, max_size=60), st.integers(0, 10**6))
def test_every_second_comes_out_once(series: list[F64 | None], start: int) -> None:
    """In order, absent where it was absent, a distribution where it was one, at most three seconds late; twice the same."""
    transients = One()
    out: list[Cleaned] = []
    for i, row in enumerate(series):
        out += transients.add(start + i, row)
        assert len(out) == max(0, i - 2)
    out += transients.finish()
    assert [one.second for one in out] == [start + i for i in range(len(series))]
    for one, row in zip(out, series, strict=True):
        assert (one.probabilities is None) == (row is None)
        if one.probabilities is not None:
            assert one.probabilities.min() >= 0
            assert one.probabilities.sum() == pytest.approx(1)
    again = clean(series, start)
    assert [(one.second, one.dismissal) for one in out] == [(one.second, one.dismissal) for one in again]


@given(st.lists(ROWS, max_size=60))
def test_what_is_not_dismissed_is_untouched(series: list[F64 | None]) -> None:
    """Only the covered seconds of dismissals change."""
    cleaned = clean(series)
    left, changed = 0, set()
    for one in cleaned:
        left = one.dismissal.n_seconds if one.dismissal else left
        if left and one.probabilities is not None:
            changed.add(one.second)
            left -= 1
    assert all(one.probabilities is row for one, row in zip(cleaned, series, strict=True) if one.second not in changed)


def causal(series: F64, settings: DenoiseSettings | None = None) -> F64:
    """The whole series through the online denoiser."""
    denoiser = GroupDenoiser(settings or DenoiseSettings())
    rows = [denoiser.add(second, row) for second, row in enumerate(series)]
    return np.array(rows).reshape(-1, 7)


def happy(shares: F64) -> F64:
    """(n, 7) so much happiness, the rest neutral."""
    return np.outer(shares, np.eye(7)[3]) + np.outer(1 - shares, np.eye(7)[6])


def test_weak_frequencies_by_hand() -> None:
    """Four seconds, half of the samples' cosines known.

    The DCT's first frequency over 4 samples is cos(pi (t + 1/2) / 4) = c, s, -s, -c with c = 0.92388, s = 0.38268; the
    second is cos(pi (t + 1/2) / 2) = r, -r, -r, r with r = 0.70711. 0.5 + 0.3 first + 0.05 second has powers
    0.09 : 0.0025, so the first holds 97 % and is all that is kept: the last second is 0.5 - 0.3 c = 0.222836.
    """
    t = np.arange(4) + 0.5
    shares = 0.5 + 0.3 * np.cos(np.pi * t / 4) + 0.05 * np.cos(np.pi * t / 2)
    out = causal(happy(shares), DenoiseSettings(floor=None))
    np.testing.assert_allclose(out[3], p(happiness=0.5 - 0.3 * 0.9238795), atol=1e-7)


def test_the_transform_is_the_dft_of_the_mirrored_series() -> None:
    """The same by numpy's DFT over the window and its mirror image, with each frequency's power summed over classes."""
    series = np.random.default_rng(3).dirichlet(np.ones(7), size=64)
    mean = series.mean(axis=0)
    spectrum = np.fft.rfft(np.concatenate([series - mean, (series - mean)[::-1]]), axis=0)
    power = (np.abs(spectrum) ** 2).sum(axis=1)
    kept = np.zeros(len(power), dtype=bool)
    for k in np.argsort(-power):
        if power[kept].sum() < 0.9 * power.sum():
            kept[k] = True
    expected = mean + np.fft.irfft(spectrum * kept[:, None], n=128, axis=0)[63]
    expected = expected.clip(0) / expected.clip(0).sum()
    np.testing.assert_allclose(causal(series, DenoiseSettings(floor=None))[63], expected, atol=1e-12)


@pytest.mark.parametrize("floor", [None, 1.0])
def test_a_constant_group_stays_as_it_is(floor: float | None) -> None:
    """Nothing to be taken away."""
    series = np.tile(p(happiness=0.3, sadness=0.2), (100, 1))
    settings = DenoiseSettings(floor=floor)
    np.testing.assert_allclose(causal(series, settings), series, atol=1e-12)
    np.testing.assert_allclose(denoise(series, settings), series, atol=1e-12)


@pytest.mark.parametrize("floor", [None, 1.0])
def test_white_noise_shrinks(floor: float | None) -> None:
    """Around a constant, the deviation from it is less afterwards, online and over the whole call."""
    rng = np.random.default_rng(1)
    series = np.tile(np.full(7, 1 / 7), (400, 1)) + rng.normal(0, 0.01, (400, 7))
    series /= series.sum(axis=1, keepdims=True)
    settings = DenoiseSettings(floor=floor)
    before = (series[64:] - 1 / 7).std()
    assert (causal(series, settings)[64:] - 1 / 7).std() < 0.98 * before
    assert (denoise(series, settings)[64:] - 1 / 7).std() < 0.98 * before


def test_a_square_wave_keeps_its_edges() -> None:
    """Ten seconds of each with noise: the top class changes within a second of when it did."""
    rng = np.random.default_rng(2)
    square = np.where(np.arange(200) // 10 % 2 == 0, 0.8, 0.2)
    series = happy(np.clip(square + rng.normal(0, 0.03, 200), 0, 1))
    for out in (causal(series), denoise(series)):
        tops = out[:, 3] > 0.5
        truth = square > 0.5
        near = np.array([tops[t] in truth[max(0, t - 1) : t + 2] for t in range(200)])
        assert near.all()


@pytest.mark.parametrize("floor", [None, 1.0])
def test_edges_do_not_ring(floor: float | None) -> None:
    """A step from 0.1 to 0.9 in the middle: at the far edges, where the DFT's circle closes, there is no other step."""
    series = happy(np.where(np.arange(64) < 32, 0.1, 0.9))
    settings = DenoiseSettings(floor=floor)
    out = denoise(series, settings)
    assert np.abs(out[:8, 3] - 0.1).max() < 0.1
    assert np.abs(out[-8:, 3] - 0.9).max() < 0.1
    assert abs(causal(series, settings)[63, 3] - 0.9) < 0.1


def test_a_step_at_the_edge_is_seen_at_once() -> None:
    """The group changes in the last second: with the noise floor online it is there within a second."""
    series = happy(np.where(np.arange(100) < 90, 0.1, 0.9))
    assert causal(series)[91, 3] > 0.5


def test_absent_seconds_are_skipped() -> None:
    """The window reaches over a short gap, and nothing is said inside it."""
    series = happy(0.5 + 0.3 * np.sin(np.arange(80) / 5))
    gap = series.copy()
    gap[40:45] = np.nan
    out = denoise(gap)
    assert np.isnan(out[40:45]).all()
    np.testing.assert_allclose(out[~np.isnan(gap[:, 0])], denoise(np.delete(series, slice(40, 45), axis=0)))
    denoiser = GroupDenoiser()
    online = [denoiser.add(t, None if 40 <= t < 45 else row) for t, row in enumerate(series)]
    assert [row is None for row in online] == [40 <= t < 45 for t in range(80)]


def test_after_a_long_gap_the_series_begins_anew() -> None:
    """Eleven seconds without a group: what was before does not reach over them."""
    series = np.concatenate([happy(np.full(30, 0.9)), np.full((11, 7), np.nan), happy(np.full(30, 0.1))])
    out = denoise(series)
    np.testing.assert_allclose(out[41:], series[41:], atol=1e-12)
    denoiser = GroupDenoiser()
    online = [denoiser.add(t, None if np.isnan(row[0]) else row) for t, row in enumerate(series)]
    np.testing.assert_allclose(online[41], p(happiness=0.1), atol=1e-12)


def test_the_window_is_of_seconds_and_bounded() -> None:
    """What is 64 s ago is not in it, and a series longer than a block is one series."""
    series = np.random.default_rng(5).dirichlet(np.ones(7), size=1500)
    np.testing.assert_allclose(denoise(series)[1200:1300], denoise(series[1100:1400])[100:200], atol=1e-9)
    denoiser = GroupDenoiser(DenoiseSettings(window_s=4, gap_s=10))
    for second, row in ((0, HAPPY), (5, NEUTRAL)):
        out = denoiser.add(second, row)
    np.testing.assert_allclose(out, NEUTRAL, atol=1e-12)


def test_what_is_known_afterwards_takes_the_place_of_what_was_added() -> None:
    """A series that is amended up to a second goes on like one that was so from the beginning."""
    series = np.random.default_rng(8).dirichlet(np.ones(7), size=20)
    amended, other = GroupDenoiser(), GroupDenoiser()
    for second, row in enumerate(series):
        one = amended.add(second, HAPPY if second in (10, 11) else row)
        expected = None if second == 11 else other.add(second, row)
        if second == 13:
            amended.amend(10, series[10])
            amended.amend(11, None)
            amended.amend(11, None)
            amended.amend(99, HAPPY)
            amended.amend(-1, HAPPY)
        if second > 13:
            np.testing.assert_array_equal(one, expected)


def test_short_series_and_none_at_all() -> None:
    """One second is as it is, and nothing is nothing."""
    np.testing.assert_allclose(denoise(HAPPY[None]), HAPPY[None], atol=1e-12)
    assert denoise(np.empty((0, 7))).shape == (0, 7)
    assert np.isnan(denoise(np.full((3, 7), np.nan))).all()


@pytest.mark.parametrize("shape", [(7,), (3, 6)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Rows of seven."""
    with pytest.raises(ValueError, match=r"series: expected shape \(n, 7\)"):
        denoise(np.zeros(shape))


@given(arrays(np.float64, st.tuples(st.integers(1, 40), st.just(7)), elements=st.floats(0.01, 1)))
def test_rows_stay_distributions(rows: F64) -> None:
    """Not negative, sum one, twice the same; the online series does not depend on what comes later."""
    series = rows / rows.sum(axis=1, keepdims=True)
    settings = DenoiseSettings(window_s=16)
    online = causal(series, settings)
    for out in (online, denoise(series, settings)):
        assert out.min() >= 0
        np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_array_equal(causal(series[: len(series) // 2], settings), online[: len(series) // 2])
    np.testing.assert_array_equal(denoise(series, settings), denoise(series, settings))


@given(st.permutations(range(7)))
def test_the_order_of_classes_does_not_matter(order: list[int]) -> None:
    """The kept frequencies are shared: permuting classes permutes what comes out."""
    series = np.random.default_rng(7).dirichlet(np.ones(7), size=40)
    np.testing.assert_allclose(denoise(series[:, order]), denoise(series)[:, order], atol=1e-9)


def test_settings_are_the_documented_ones() -> None:
    """Algorithms 5 and 6 of the design."""
    assert TransientSettings() == TransientSettings(0.25, 0.1, 2, 2, 120, 8, 3)
    assert DenoiseSettings() == DenoiseSettings(64, 0.9, 1.0, 10)
