"""Who goes along with the group, and what type of group it is."""

from collections.abc import Mapping

import numpy as np
import pytest
from builders import p
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.emotions import F64
from pipeline.engagement import Engagement, EngagementSettings, _Alike, _latest, _Member, _Steady, evidence_of, type_of
from pipeline.synchrony import compare, mean_of_others, normalised, steps
from pipeline.types import GroupEngagement, GroupType

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
    """Before there are 60 s of movement nothing is said of anybody, before 30 s nothing of the group."""
    for reading in mixed[1][:60]:
        assert set(states(reading).values()) == {"unknown"}
        assert reading.members[0].p_value is None
    for reading in mixed[1][:35]:
        assert (reading.type, reading.synchrony, reading.homogeneity) == (None, None, None)


def test_one_who_follows_nothing_does_not_make_another_type(mixed: tuple[Engagement, list[GroupEngagement]]) -> None:
    """Six of ten pairs feel the same at any time: homogeneous."""
    last = mixed[1][-1]
    assert last.type == "homogeneous"
    assert last.synchrony is not None
    assert last.homogeneity is not None
    assert 0.4 < last.homogeneity < 0.7
    assert 0.4 < last.synchrony < 0.7


def test_a_call_of_nobody_has_no_type() -> None:
    """Nobody to compare."""
    assert Engagement().add(0, {}) == GroupEngagement()


def test_who_changes_together_to_other_emotions_is_synchronous() -> None:
    """One cadence, emotions of their own."""
    readings = add_all(Engagement(), group(np.random.default_rng(7), 260, 5, same=False))
    assert {reading.type for reading in readings[200:]} == {"synchronous"}


def test_a_group_of_loners_is_unengaged() -> None:
    """Everybody changes on their own."""
    rng = np.random.default_rng(8)
    readings = add_all(Engagement(), np.stack([alone(rng, 260) for _ in range(5)], axis=1))
    assert {reading.type for reading in readings[200:]} == {"unengaged"}


def test_of_many_who_have_nothing_in_common_few_are_significant() -> None:
    """Of 520 members of large groups 5 % by chance, within three standard errors.

    That some of them have been found unengaged before must not leave those to compare with who happen to move alike.
    Nobody begins with the others: everybody is met in the midst of things.
    """
    rng = np.random.default_rng(19)
    n_significant = n_known = 0
    for _ in range(20):
        begins = rng.integers(30, 60, 26).tolist()
        series = np.stack([alone(rng, 360)[begin : begin + 300] for begin in begins], axis=1)
        engagement = Engagement(EngagementSettings(every_s=20, alike_lags_s=()))
        values = [member.p_value for member in add_all(engagement, series)[-1].members]
        n_significant += sum(value is not None and value < 0.05 for value in values)
        n_known += sum(value is not None for value in values)
    assert n_known == 520
    assert n_significant / n_known <= 0.05 + 3 * (0.05 * 0.95 / n_known) ** 0.5


def test_large_groups_are_judged_a_few_members_a_second() -> None:
    """Of thirty the first 25 in the second after a comparison begins, the others in the next; who has left meanwhile is not.

    The comparison of second 100 finds what that of 26 and fewer, all at once, would find in second 100.
    """
    rng = np.random.default_rng(29)
    series = np.stack([alone(rng, 110) for _ in range(30)], axis=1)
    names = [f"{i:02d}" for i in range(30)]
    engagement = Engagement(EngagementSettings(every_s=100, memory_s=0, alike_lags_s=()))
    known = []
    for second, row in enumerate(series[:103]):
        there = names if second < 101 else names[:-1]
        reading = engagement.add(second, dict(zip(there, row, strict=False)))
        known.append([member.participant for member in reading.members if member.p_value is not None])
    assert known[99] == known[100] == []
    assert known[101] == names[:25]
    assert known[102] == names[:-1]
    before = np.full((8, 30, 7), np.nan)
    stepped = normalised(steps(np.concatenate([before, series[:101]]))[8:])
    others = mean_of_others(stepped)
    one, other = (tuple(plane.T for plane in moves.steps) for moves in (others, stepped))
    found = compare(others.lengths.T, stepped.lengths.T, steps=(one, other))
    assert [member.p_value for member in reading.members] == found.p_value[:-1].tolist()


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
    rng = np.random.default_rng(17)
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
    assert one.others_alike() == other.others_alike()


def test_evidence_by_hand() -> None:
    """M (m / 2 - z): half way to the others nothing is known; among strong ones weakness says more."""
    assert [evidence_of(z, 2.0) for z in (0.0, 1.0, 2.0)] == [2.0, 0.0, -2.0]
    assert [evidence_of(0.0, m) for m in (1.5, 6.0)] == [1.125, 18.0]


@given(st.floats(-5, 12), st.floats(0.5, 12))
def test_evidence_is_the_ratio_of_two_normal_densities(strength: float, others: float) -> None:
    """Around 0 of who is unengaged, around the others' mean of who is engaged, both with deviation 1."""
    expected = -(strength**2) / 2 + (strength - others) ** 2 / 2
    assert evidence_of(strength, others) == pytest.approx(expected, abs=1e-9)


def judged(comparisons: list[tuple[float, float, float]]) -> list[str]:
    """States of a member after each comparison: strength, p-value, and mean strength of the others."""
    engagement, member, found = Engagement(), _Member(0), []
    for member.strength, member.p_value, others in comparisons:
        engagement._judge(member, others)
        found.append(str(member.state))
    return found


def test_much_must_speak_against_a_member() -> None:
    """Nothing in common with others at 4: 8 each time, of which 0.2 count: 1.6 is more than 1.2 at once.

    With others at 2 it is 2 each time: 0.4, 0.72, 0.976, 1.18, 1.34: more from the fifth time on. Others below 1.5 count as
    1.5: 1.125 at most, unless the member moves when they do not: 1.5 (0.75 + 1) = 2.625, of which 0.2, 0.36, 0.488.
    """
    assert judged([(0.0, 0.5, 4.0)]) == ["unengaged"]
    assert judged([(0.0, 0.5, 2.0)] * 6) == ["unknown"] * 4 + ["unengaged"] * 2
    assert judged([(0.0, 0.5, 0.3)] * 99) == ["unknown"] * 99
    assert judged([(-1.0, 0.8, 0.3)] * 4) == ["unknown"] * 2 + ["unengaged"] * 2


def test_who_moves_with_the_others_again_is_not_unengaged() -> None:
    """1.6 at first; half as strong as the others 0.8 x 1.6 + 0.2 x 0 = 1.28, then 1.02: nothing more is said; p says it all."""
    weak, half = (0.0, 0.5, 4.0), (2.0, 0.04, 4.0)
    assert judged([weak, half, half, half]) == ["unengaged", "unengaged", "unknown", "unknown"]
    assert judged([weak, (2.0, 0.02, 4.0), half]) == ["unengaged", "engaged", "engaged"]
    assert judged([(5.0, 0.01, 4.0), half]) == ["engaged", "engaged"]


def test_memory_is_bounded() -> None:
    """A member a second for ten minutes: only the last minute's are remembered, and the window's seconds."""
    engagement = Engagement()
    for second in range(600):
        engagement.add(second, {f"p{second}": HAPPY, "a": NEUTRAL})
    assert len(engagement._members) == 63
    assert engagement._alike._chance == {}  # of two members each one's others are no pair
    assert engagement._steps._values.shape == (7, 63, 2, 300)
    assert engagement._faces._values.shape == (7, 63, 2, 54)


def test_all_but_one_are_alike() -> None:
    """a, b, c share a face and d does not: without d the others are alike, without a they are not.

    Happy against neutral is 1 bit. Without d all pairs are 0 apart; without a there are b-c, b-d, c-d: 2/3 of a bit.
    """
    alike = _Alike(EngagementSettings(alike_lags_s=()))
    faces = np.stack([NEUTRAL, NEUTRAL, NEUTRAL, HAPPY])[None]
    alike.add(1, ["a", "b", "c", "d"], faces)
    assert alike.without == {"a": False, "b": False, "c": False, "d": True}
    alike.add(2, ["a", "d"], faces[:, [0, 3]])
    assert alike.without == {}


def test_alike_is_measured_against_chance() -> None:
    """Faces that are 1 bit apart at other moments are alike at 0.31 bits: the limit is 0.75 of a bit.

    One second later nothing but these two moments is known. a, b and c, happy before, are neutral, half happy and angry.
    """
    now, before = np.stack([NEUTRAL, p(happiness=0.5), p(anger=1.0)]), np.stack([HAPPY, HAPPY, HAPPY])
    alike = _Alike(EngagementSettings(alike_lags_s=(1,), alike_ratio=0.75, every_s=1))
    alike.add(1, ["a", "b", "c"], np.stack([before, now]))
    # Without c: a now (neutral) from b before (happy) 1 bit, b now from a before 0.3113 bits: limit 0.75 * 0.6556 = 0.49.
    assert alike.without == {"a": False, "b": False, "c": True}
    strict = _Alike(EngagementSettings(alike_lags_s=()))
    strict.add(1, ["a", "b", "c"], np.stack([before, now]))
    assert strict.without == {"a": False, "b": False, "c": False}


def test_chance_is_forgotten_after_the_window() -> None:
    """What was chance five minutes ago says nothing of now."""
    alike = _Alike(EngagementSettings(alike_lags_s=(1,), every_s=1))
    for second in range(360):
        alike.add(second, ["a", "b", "c"], np.stack([[NEUTRAL, HAPPY, HAPPY]] * 2))
    assert [list(seconds) for seconds, _ in alike._chance.values()] == [list(range(60, 360))] * 3
    for second in range(360, 700):
        alike.add(second, ["d", "e", "f"], np.stack([[NEUTRAL, HAPPY, HAPPY]] * 2))
    assert set(alike._chance) == {"d", "e", "f"}


@pytest.mark.parametrize(
    ("when", "whereto", "expected"),
    [
        (0.03, 0.02, "unengaged"),
        (0.04, 0.03, "engaged"),
        (0.12, 0.03, "engaged"),
        (0.14, 0.03, "synchronous"),
        (0.30, 0.17, "synchronous"),
        (0.20, 0.17, "engaged"),
        (0.20, 0.18, "homogeneous"),
        (0.50, 0.30, "homogeneous"),
        (-0.2, 0.20, "unengaged"),
    ],
)
def test_types_by_how_they_are_coupled(when: float, whereto: float, expected: str) -> None:
    """0.06 of both together; 0.18 of whereto; 0.1 more of when than of whereto."""
    assert type_of((when, whereto)) == expected


def test_the_longer_window_counts_until_the_shorter_one_has_moved_on() -> None:
    """Two of six seconds against all of them: 0.1 apart is chance, 0.2 is something new. A second in two must be known."""
    settings = EngagementSettings(type_window_s=6, type_recent_s=2, type_moved_on=0.15)
    whereto = np.full(9, 0.3)
    # All six: (4 * 0.1 + 2 * 0.25) / 6 = 0.15, the latest two 0.25.
    assert _latest((np.array([9, 9, 9, 0.1, 0.1, 0.1, 0.1, 0.25, 0.25]), whereto), settings) == pytest.approx(
        (0.15, 0.3)
    )
    # (4 * 0.1 + 2 * 0.4) / 6 = 0.2, the latest two 0.4.
    assert _latest((np.array([9, 9, 9, 0.1, 0.1, 0.1, 0.1, 0.4, 0.4]), whereto), settings) == pytest.approx((0.4, 0.3))
    assert _latest((np.array([0.1, 0.1, 0.1, np.nan]), whereto[:4]), settings) == pytest.approx((0.1, 0.3))
    assert _latest((np.array([0.1, 0.1, np.nan, np.nan]), whereto[:4]), settings) is None


def test_a_new_type_must_last() -> None:
    """With 2 s to hold, one second of another type is nothing, and a third candidate starts anew."""

    def told(*now: GroupType | None) -> list[GroupType | None]:
        steady = _Steady(2)
        return [steady.add(second, kind) for second, kind in enumerate(now)]

    low: GroupType = "unengaged"
    assert told(low, "engaged", low, "engaged", "engaged", "engaged") == [low] * 5 + ["engaged"]
    both: list[GroupType] = ["engaged", "engaged", "synchronous", "synchronous", "synchronous"]
    assert told(low, *both) == [low] * 5 + ["synchronous"]
    assert told(low, None, "engaged") == [low, None, "engaged"]
