"""Who goes along with the group, and what type of group it is."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from builders import p
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.emotions import F64
from pipeline.engagement import DEFAULT_ENGAGEMENT, Engagement, EngagementSettings, _Alike, _Ladder
from pipeline.types import GroupEngagement

HAPPY, NEUTRAL = p(happiness=1.0), p()


def onsets(rng: np.random.Generator, length: int) -> list[int]:
    """Seconds of changes, 10 to 30 s apart."""
    times = np.cumsum(rng.uniform(10, 30, length // 10))
    return [int(t) for t in times if t < length]


def face(rng: np.random.Generator, length: int, times: list[int], classes: list[int], noise: float = 0.15) -> F64:
    """(length, 7): from each time on its class, up to 1 s late, with noise."""
    series = np.zeros((length, 7))
    series[:, 6] = 1.0
    for time, index in zip(times, classes, strict=True):
        late = time + int(rng.integers(0, 2))
        series[late:] = np.eye(7)[index]
    return (1 - noise) * series + noise * rng.dirichlet(np.ones(7), length)


def group(rng: np.random.Generator, length: int, n: int, *, same: bool) -> F64:
    """(length, n, 7) members who change at the same times, to the same emotions or each to their own."""
    times = onsets(rng, length)
    shared = rng.integers(0, 7, len(times)).tolist()
    own = [shared if same else rng.integers(0, 7, len(times)).tolist() for _ in range(n)]
    return np.stack([face(rng, length, times, classes) for classes in own], axis=1)


def alone(rng: np.random.Generator, length: int) -> F64:
    """(length, 7) a member who changes at times of their own."""
    times = onsets(rng, length)
    return face(rng, length, times, rng.integers(0, 7, len(times)).tolist())


def add_all(engagement: Engagement, series: F64, start: int = 0) -> list[GroupEngagement]:
    """Readings of members a, b, c, ... for a (T, n, 7) series; NaN is a second without a face."""
    names = "abcdefghijklmnopqrstuvwxyz"
    found = []
    for second, row in enumerate(series, start):
        faces = {name: None if np.isnan(face).any() else face for name, face in zip(names, row, strict=False)}
        found.append(engagement.add(second, faces))
    return found


def states(reading: GroupEngagement) -> dict[str, str]:
    """State by member."""
    return {member.participant: member.state for member in reading.members}


@pytest.fixture(scope="module")
def mixed() -> tuple[Engagement, list[GroupEngagement]]:
    """Four who feel the same, and a fifth, e, who follows nothing; 300 s."""
    rng = np.random.default_rng(24)
    series = np.concatenate([group(rng, 300, 4, same=True), alone(rng, 300)[:, None]], axis=1)
    engagement = Engagement()
    return engagement, add_all(engagement, series)


def test_who_follows_nothing_is_found(mixed: tuple[Engagement, list[GroupEngagement]]) -> None:
    """After some minutes those who move together are engaged, with p-value and lag; the fifth is unengaged."""
    for reading in mixed[1][210:]:
        assert states(reading) == {"a": "engaged", "b": "engaged", "c": "engaged", "d": "engaged", "e": "unengaged"}
    first = mixed[1][-1].members[0]
    assert first.p_value is not None
    assert first.p_value < 0.03
    assert first.correlation is not None
    assert first.correlation > 0.5
    assert first.lag_s in (-1, 0, 1)


def test_everybody_is_unknown_at_first(mixed: tuple[Engagement, list[GroupEngagement]]) -> None:
    """Before there are 60 s of movement nothing is said of anybody, nor of the group."""
    for reading in mixed[1][:60]:
        assert set(states(reading).values()) == {"unknown"}
        assert reading.members[0].p_value is None
        assert (reading.type, reading.synchrony) == (None, None)


def test_the_unengaged_do_not_count_for_the_type(mixed: tuple[Engagement, list[GroupEngagement]]) -> None:
    """The four are homogeneous, whatever the fifth shows."""
    last = mixed[1][-1]
    assert last.type == "homogeneous"
    assert last.synchrony == 1.0
    assert last.homogeneity is not None
    assert last.homogeneity > 0.8


def test_the_matrix_is_of_pairs(mixed: tuple[Engagement, list[GroupEngagement]]) -> None:
    """Names in order, those who move together with each other, the fifth with nobody."""
    names, correlation, p_value = mixed[0].matrix()
    assert names == ("a", "b", "c", "d", "e")
    assert correlation[:4, :4].min() > 0.5
    assert np.nanmax(p_value[:4, :4]) < 0.05
    assert np.nanmin(p_value[4]) > 0.05
    assert not correlation.flags.writeable


def test_a_matrix_of_nobody_is_empty() -> None:
    """Before the first second, and in an empty call, there is nobody to compare."""
    engagement = Engagement()
    assert engagement.matrix()[0] == ()
    assert engagement.add(0, {}) == GroupEngagement()
    assert engagement.matrix()[1].shape == (0, 0)


def test_who_changes_together_to_other_emotions_is_synchronous() -> None:
    """One cadence, emotions of their own."""
    readings = add_all(Engagement(), group(np.random.default_rng(7), 260, 5, same=False))
    assert {reading.type for reading in readings[200:]} == {"synchronous"}


def test_a_group_of_loners_is_unengaged() -> None:
    """Everybody changes on their own."""
    rng = np.random.default_rng(8)
    readings = add_all(Engagement(), np.stack([alone(rng, 260) for _ in range(5)], axis=1))
    assert {reading.type for reading in readings[200:]} == {"unengaged"}


def test_of_two_members_each_is_the_other_ones_group() -> None:
    """Both are engaged, with the same p-value, or neither is."""
    readings = add_all(Engagement(), group(np.random.default_rng(9), 240, 2, same=True))
    assert states(readings[-1]) == {"a": "engaged", "b": "engaged"}
    assert readings[-1].type == "homogeneous"
    apart = np.stack([alone(np.random.default_rng(seed), 240) for seed in (1, 2)], axis=1)
    readings = add_all(Engagement(), apart)
    assert states(readings[-1]) == {"a": "unengaged", "b": "unengaged"}
    assert readings[-1].type == "unengaged"
    assert readings[-1].homogeneity is None or readings[-1].homogeneity <= 1


def test_one_member_is_no_group() -> None:
    """Of one person alone nothing is ever known."""
    reading = add_all(Engagement(), alone(np.random.default_rng(1), 120)[:, None])[-1]
    assert states(reading) == {"a": "unknown"}
    assert (reading.type, reading.synchrony, reading.homogeneity) == (None, None, None)


def test_of_still_faces_nothing_is_known() -> None:
    """Who never moves beside others who never move may be listening or frozen: unknown, and kept in the group."""
    reading = add_all(Engagement(), np.tile(NEUTRAL, (150, 3, 1)))[-1]
    assert set(states(reading).values()) == {"unknown"}
    assert reading.type is None


def test_a_still_face_among_others_who_move_is_unengaged() -> None:
    """A frozen picture goes along with nobody."""
    series = group(np.random.default_rng(11), 240, 4, same=True)
    series[:, 3] = NEUTRAL
    assert states(add_all(Engagement(), series)[-1])["d"] == "unengaged"


def test_who_comes_back_soon_is_remembered() -> None:
    """Gone for 60 s an unengaged member is still that; gone for 61 s they are new, and unknown."""
    rng = np.random.default_rng(12)
    series = np.concatenate([group(rng, 420, 4, same=True), alone(rng, 420)[:, None]], axis=1)
    for away, state in ((60, "unengaged"), (61, "unknown")):
        engagement = Engagement()
        assert states(add_all(engagement, series[:250])[-1])["e"] == "unengaged"
        assert "e" not in states(add_all(engagement, series[250 : 250 + away, :4], start=250)[-1])
        assert states(add_all(engagement, series[250 + away :], start=250 + away)[0])["e"] == state


def test_a_camera_that_stays_off_makes_unknown() -> None:
    """In the call but without a face: the state holds while the window knows enough, and a minute more."""
    rng = np.random.default_rng(13)
    series = np.concatenate([group(rng, 560, 4, same=True), alone(rng, 560)[:, None]], axis=1)
    series[250:, 4] = np.nan
    found = [states(reading)["e"] for reading in add_all(Engagement(), series)]
    assert found[250] == found[330] == "unengaged"
    assert found[-1] == "unknown"


def test_gaps_do_no_harm() -> None:
    """A quarter of all seconds without a face, each member at their own: still everybody is known."""
    rng = np.random.default_rng(14)
    series = np.concatenate([group(rng, 300, 4, same=True), alone(rng, 300)[:, None]], axis=1)
    series[rng.random(series.shape[:2]) < 0.15] = np.nan
    found = states(add_all(Engagement(), series)[-1])
    assert found == {"a": "engaged", "b": "engaged", "c": "engaged", "d": "engaged", "e": "unengaged"}


def test_a_source_that_was_lost_starts_over() -> None:
    """Seconds that were never added are seconds without faces: after a thousand of them all is unknown again."""
    series = group(np.random.default_rng(15), 240, 3, same=True)
    engagement = Engagement()
    assert add_all(engagement, series)[-1].type == "homogeneous"
    reading = add_all(engagement, series[:1], start=1240)[-1]
    assert set(states(reading).values()) == {"unknown"}
    assert (reading.type, reading.synchrony, reading.homogeneity) == (None, None, None)


def test_seconds_come_in_order() -> None:
    """The same second twice is a mistake of the caller."""
    engagement = Engagement()
    engagement.add(5, {"a": NEUTRAL})
    with pytest.raises(ValueError, match="expected more than 5, found 5; add seconds in order, once each"):
        engagement.add(5, {"a": NEUTRAL})


@settings(max_examples=8)
@given(st.permutations("abcd"), st.integers(0, 1000))
def test_the_order_of_members_is_irrelevant(order: list[str], seed: int) -> None:
    """To the last bit; the same input gives the same output."""
    rng = np.random.default_rng(seed)
    series = np.concatenate([group(rng, 100, 3, same=True), alone(rng, 100)[:, None]], axis=1)
    one, other = Engagement(), Engagement()
    for second, row in enumerate(series):
        faces: Mapping[str, F64] = dict(zip("abcd", row, strict=True))
        assert repr(one.add(second, faces)) == repr(other.add(second, {name: faces[name] for name in order}))
    assert one.matrix()[1].tobytes() == other.matrix()[1].tobytes()
    assert one.others_alike() == other.others_alike()


def test_large_groups_are_compared_less_often() -> None:
    """With more members than `large` the pairs wait, and give the same answer in the end."""
    series = group(np.random.default_rng(16), 240, 4, same=True)
    large = Engagement(replace(DEFAULT_ENGAGEMENT, large=3))
    assert add_all(large, series)[-1].synchrony == add_all(Engagement(), series)[-1].synchrony == 1.0


def test_memory_is_bounded() -> None:
    """A member a second for ten minutes: only the last minute's are remembered, and the window's seconds."""
    engagement = Engagement()
    for second in range(600):
        engagement.add(second, {f"p{second}": HAPPY, "a": NEUTRAL})
    assert len(engagement._members) == 63
    assert len(engagement._alike._chance) <= 2 * 240 / 5
    assert len(engagement._alike._seconds) <= 45


def test_all_but_one_are_alike() -> None:
    """a, b, c share a face and d does not: without d the others are alike, without a they are not.

    Happy against neutral is 1 bit. Without d all pairs are 0 apart; without a there are b-c, b-d, c-d: 2/3 of a bit.
    """
    alike = _Alike(EngagementSettings(alike_lags_s=()))
    faces = np.stack([NEUTRAL, NEUTRAL, NEUTRAL, HAPPY])[None]
    assert alike.add(1, ["a", "b", "c", "d"], faces) is None
    assert alike.without == {"a": False, "b": False, "c": False, "d": True}
    for second in range(2, 16):
        share = alike.add(second, ["a", "b", "c"], faces[:, :3])
    assert share == 14 / 15


def test_alike_is_measured_against_chance() -> None:
    """Faces that are 1 bit apart at other moments are alike at 0.31 bits: the limit is 0.75 of a bit.

    One second later nothing but these two moments is known. a and b, happy before, are neutral now and half happy.
    """
    alike = _Alike(EngagementSettings(alike_lags_s=(1,), alike_ratio=0.75, every_s=1))
    now, before = np.stack([NEUTRAL, p(happiness=0.5)]), np.stack([HAPPY, HAPPY])
    alike.add(1, ["a", "b"], np.stack([before, now]))
    # Chance: a now (neutral) from b before (happy) 1 bit, b now from a before 0.3113 bits: limit 0.75 * 0.6556 = 0.49.
    assert list(alike._seconds) == [(1, True)]
    strict = _Alike(EngagementSettings(alike_lags_s=()))
    strict.add(1, ["a", "b"], np.stack([before, now]))
    assert list(strict._seconds) == [(1, False)]


def climb(steps: list[tuple[float | None, float | None, float | None]], hold: int = 0) -> list[str | None]:
    """Types of a ladder for shares second by second."""
    ladder = _Ladder(EngagementSettings(engaged_share=0.5, synchronous_share=0.65, type_hold_s=hold))
    return [ladder.add(second, *shares) for second, shares in enumerate(steps)]


def test_types_climb_and_fall_with_a_margin() -> None:
    """At 0.5 the first rung is reached at once, later only from 0.55; left below 0.45."""
    engaged = [(share, None, None) for share in (0.5, 0.46, 0.44, 0.5, 0.54, 0.56)]
    assert climb(engaged) == ["engaged", "engaged", "unengaged", "unengaged", "unengaged", "engaged"]
    assert climb([(1.0, 0.9, 0.9), (1.0, 0.61, 0.46), (1.0, 0.61, 0.44), (1.0, 0.59, 1.0)]) == [
        "homogeneous",
        "homogeneous",
        "synchronous",
        "engaged",
    ]


def test_a_new_type_must_last() -> None:
    """With 2 s to hold, one second of another type is nothing, and a third candidate starts anew."""
    low, high = (0.0, None, None), (1.0, None, None)
    top = (1.0, 1.0, None)
    assert climb([low, high, low, high, high, high], hold=2) == ["unengaged"] * 5 + ["engaged"]
    assert climb([low, high, high, top, top, top], hold=2) == ["unengaged"] * 5 + ["synchronous"]


def test_without_data_there_is_no_type() -> None:
    """And after it the next one is told at once."""
    assert climb([(1.0, None, None), (None, None, None), (0.0, None, None)], hold=9) == ["engaged", None, "unengaged"]
