"""Frames to seconds."""

import numpy as np
import pytest
from builders import face, p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.emotions import F64
from pipeline.seconds import SecondAggregator, read_seconds
from pipeline.types import FaceReading, Heads, SecondReading


def test_the_mean_is_weighted_by_quality() -> None:
    """(0.9 x 1 + 0.3 x 0.5) / (1 + 0.5) = 0.7 happiness, landmark from the one frame that has a mesh."""
    seconds = SecondAggregator(rate_hz=5)
    seconds.add(face("a", 0.0, p(happiness=0.9), p(sadness=1.0), quality=1.0))
    seconds.add(face("a", 0.4, p(happiness=0.3), None, quality=0.5))
    [(second, (reading,))] = seconds.advance(1.2)
    assert (second, reading.participant, reading.n_frames, reading.coverage) == (0, "a", 2, 0.4)
    assert reading.quality == pytest.approx(0.75)
    np.testing.assert_allclose(reading.pixel, p(happiness=0.7), atol=1e-12)
    np.testing.assert_allclose(reading.landmark, p(sadness=1.0), atol=1e-12)


def test_a_second_without_a_frame_is_absence() -> None:
    """Who is there and was not read has coverage 0 and no distribution, never neutral."""
    seconds = SecondAggregator(rate_hz=5)
    seconds.present(7.1, ("a",))
    [(second, (reading,))] = seconds.advance(8.2)
    assert (second, reading.n_frames, reading.coverage) == (7, 0, 0.0)
    assert (reading.quality, reading.pixel, reading.landmark) == (None, None, None)


def test_a_second_waits_for_its_grace() -> None:
    """It closes 200 ms after its end and not before."""
    seconds = SecondAggregator(rate_hz=5)
    seconds.add(face("a", 0.0, p()))
    assert seconds.advance(1.19) == []
    assert [second for second, _ in seconds.advance(1.2)] == [0]


def test_a_late_reading_is_counted_and_dropped() -> None:
    """What comes after its second has closed changes nothing."""
    seconds = SecondAggregator(rate_hz=5)
    seconds.add(face("a", 0.0, p()))
    seconds.advance(1.2)
    assert not seconds.add(face("a", 0.8, p(anger=1.0)))
    assert seconds.n_late == 1
    assert seconds.add(face("a", 1.0, p()))


def test_silence_closes_seconds_and_members_stay() -> None:
    """When nothing comes for two seconds, both close and everybody is still a member."""
    seconds = SecondAggregator(rate_hz=5)
    seconds.add(face("a", 0.0, p()))
    closed = seconds.advance(3.3)
    assert [(second, readings[0].n_frames) for second, readings in closed] == [(0, 1), (1, 0), (2, 0)]


def test_nothing_has_begun_before_the_first_frame() -> None:
    """Without any frame there is no second to close."""
    seconds = SecondAggregator(rate_hz=5)
    assert seconds.advance(100.0) == []
    assert seconds.finish(100.0) == []


def test_the_last_second_expects_only_what_the_recording_holds() -> None:
    """Of a recording that ends at 1.4 s the second second can have two frames, so two are all of them."""
    seconds = SecondAggregator(rate_hz=5)
    for i in range(7):
        seconds.add(face("a", i / 5, p()))
    assert [(second, readings[0].coverage) for second, readings in seconds.finish(1.4)] == [(0, 1.0), (1, 1.0)]


def test_rates_that_do_not_divide_a_second() -> None:
    """At 2.5 per second the instants are 0, 0.4, 0.8 | 1.2, 1.6 | 2.0, …: three and two frames are all there are."""
    seconds = SecondAggregator(rate_hz=2.5)
    for k in range(5):
        seconds.add(face("a", k / 2.5, p()))
    assert [(r.n_frames, r.coverage) for _, (r,) in seconds.finish(2.0)] == [(3, 1.0), (2, 1.0)]


READINGS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 24), st.floats(0.05, 1), st.integers(0, 6)), max_size=40
)


@given(READINGS, st.randoms())
def test_order_within_a_second_does_not_matter(rows: list[tuple[str, int, float, int]], random: object) -> None:
    """The same readings in any order give the same bits, and each is counted exactly once."""
    readings = [face(who, slot / 5, np.eye(7)[k], quality=q) for who, slot, q, k in rows]
    shuffled = list(readings)
    random.shuffle(shuffled)
    results = []
    for order in (readings, shuffled):
        seconds = SecondAggregator(rate_hz=5)
        seconds.present(0.0, ())
        for reading in order:
            seconds.add(reading)
        closed = seconds.finish(5.0)
        results.append(
            {
                (second, r.participant): (r.n_frames, r.quality, None if r.pixel is None else r.pixel.tolist())
                for second, rows_ in closed
                for r in rows_
            }
        )
    assert results[0] == results[1]
    assert len(readings) == sum(n for n, _, _ in results[0].values())


@given(READINGS)
def test_nobody_changes_what_others_read(rows: list[tuple[str, int, float, int]]) -> None:
    """To the last bit: everybody's seconds are those of a call in which they are alone; some frames have no mesh."""
    readings = [face(who, slot / 5, np.eye(7)[k], None if slot % 3 else p(), quality=q) for who, slot, q, k in rows]

    def closed(of: str) -> dict[tuple[int, str], tuple[object, ...]]:
        seconds = SecondAggregator(rate_hz=5)
        seconds.present(0.0, ())
        for reading in readings:
            if reading.participant in of:
                seconds.add(reading)
        return {
            (second, r.participant): (
                r.quality,
                *(None if arm is None else arm.tolist() for arm in (r.pixel, r.landmark)),
            )
            for second, closed in seconds.finish(5.0)
            for r in closed
            if r.n_frames
        }

    assert closed("abc") == {**closed("a"), **closed("b"), **closed("c")}


PERSONAL = Heads("personal-1", "personal-1")


def personal(time_s: float, shown: F64, generic: F64, quality: float = 1.0) -> FaceReading:
    """A face that a personal head read; without a mesh."""
    return FaceReading("a", time_s, quality, shown, None, (generic, None), heads=PERSONAL)


def read_second(readings: list[FaceReading], n_expected: int) -> SecondReading:
    """One participant's second."""
    (reading,) = read_seconds(0, {"a": readings}, n_expected)
    return reading


def test_both_heads_have_a_mean_of_their_own() -> None:
    """Shown (0.9 x 1 + 0.3 x 0.5) / 1.5 = 0.7 happiness; generic (0.6 x 1 + 0 x 0.5) / 1.5 = 0.4 sadness."""
    readings = [personal(0.4, p(happiness=0.3), p(), 0.5), personal(0.0, p(happiness=0.9), p(sadness=0.6))]
    reading = read_second(readings, 2)
    np.testing.assert_allclose(reading.pixel, p(happiness=0.7), atol=1e-12)
    assert reading.generic is not None
    np.testing.assert_allclose(reading.generic[0], p(sadness=0.4), atol=1e-12)
    assert reading.generic[1] is None
    assert reading.heads == PERSONAL


def test_frames_without_a_personal_head_count_as_they_are() -> None:
    """Of a second that is mixed the generic mean has all frames, and the last frame names the heads."""
    reading = read_second([face("a", 0.0, p(anger=1.0)), personal(0.2, p(), p(anger=0.5))], 2)
    assert reading.generic is not None
    np.testing.assert_allclose(reading.generic[0], p(anger=0.75), atol=1e-12)
    assert reading.heads == PERSONAL
    assert read_second([personal(0.0, p(), p()), face("a", 0.2, p())], 2).heads == Heads()


def test_generic_heads_alone_have_no_second_mean() -> None:
    """What is shown is generic."""
    reading = read_second([face("a", 0.0, p(), p())], 1)
    assert (reading.generic, reading.heads) == (None, Heads())
