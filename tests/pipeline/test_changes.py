"""Changes of expression."""

import numpy as np
import pytest
from builders import p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.changes import (
    Change,
    ChangeCounter,
    ChangeDetectors,
    ChangeScopes,
    ChangeSettings,
    change_event,
    total_variation,
)
from pipeline.emotions import F64

NEUTRAL, HAPPY, SAD = p(), p(happiness=1.0), p(sadness=1.0)


def run(series: list[F64 | None]) -> list[tuple[int, int]]:
    """(second of confirmation, onset) of every change in a series that starts at second 0."""
    detectors = ChangeDetectors()
    return [(second, change.onset) for second, row in enumerate(series) for change in detectors.add(second, {"a": row})]


def test_total_variation_by_hand() -> None:
    """Half of |0.5 - 0| + |0.5 - 1| is 0.5."""
    assert total_variation(p(happiness=0.5), NEUTRAL) == pytest.approx(0.5)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcd"), st.one_of(st.none(), st.sampled_from([0.0, 0.3, 0.6, 1.0])), max_size=4
        ),
        max_size=40,
    )
)
def test_everybody_is_judged_by_themselves(seconds: list[dict[str, float | None]]) -> None:
    """Whoever else is there, comes or goes: the changes of all are those of each alone, and sorted by participant."""
    rows = [{who: None if x is None else p(happiness=x) for who, x in one.items()} for one in seconds]
    together = ChangeDetectors()
    said = [
        (second, change.participant, change.onset)
        for second, one in enumerate(rows)
        for change in together.add(second, one)
    ]
    alone = [
        (second, change.participant, change.onset)
        for who in "abcd"
        for detectors in [ChangeDetectors()]
        for second, one in enumerate(rows)
        for change in detectors.add(second, {who: one.get(who)})
    ]
    assert said == sorted(said)
    assert sorted(alone) == said


def test_who_is_forgotten_begins_anew_and_nobody_else() -> None:
    """Two faces that have become happy for one second each; the one that is forgotten takes that for how it is."""
    detectors = ChangeDetectors()
    for second in range(5):
        detectors.add(second, {"a": NEUTRAL, "b": NEUTRAL})
    detectors.forget(["a", "c"])
    assert detectors.known() == ("b",)
    found = [
        change.participant for second in range(5, 12) for change in detectors.add(second, {"a": HAPPY, "b": HAPPY})
    ]
    assert found == ["b"]
    detectors.forget([])
    assert detectors.known() == ("b", "a")


@given(st.integers(0, 6), st.integers(0, 6))
def test_total_variation_is_a_distance(i: int, j: int) -> None:
    """0 for the same class, 1 for another, the same both ways."""
    one, other = np.eye(7)[i], np.eye(7)[j]
    assert total_variation(one, other) == total_variation(other, one) == float(i != j)


def test_a_change_is_dated_at_its_onset() -> None:
    """Neutral until second 4, happy from 5: the 3-s mean is 1/3 away at 5, 2/3 at 6, 1 at 7: onset 5, known at 7."""
    assert run([NEUTRAL] * 5 + [HAPPY] * 6) == [(7, 5)]


def test_what_lasts_two_seconds_is_no_change() -> None:
    """An excursion of the mean that is over before its third second is none.

    One second of happiness keeps the mean 1/3 away for three seconds, which would confirm it; at half the
    strength the mean is 1/6 away, below 0.25.
    """
    assert run([NEUTRAL] * 5 + [p(happiness=0.5)] + [NEUTRAL] * 5) == []


def test_an_excursion_that_is_over_is_no_change() -> None:
    """After one or two seconds of happiness the mean is still away for a while, but the face is not."""
    assert run([NEUTRAL] * 5 + [HAPPY] + [NEUTRAL] * 8) == []
    assert run([NEUTRAL] * 5 + [HAPPY] * 2 + [NEUTRAL] * 8) == []


def test_a_faint_change_is_dated_when_the_face_changed() -> None:
    """0.4 from second 5: its onset is 5, although the mean is beyond only at 7, so that it is known at 9.

    The mean is 0.133 away at 5, and the reference follows by 0.1 x 0.4 to 0.04; 0.267 - 0.04 = 0.227 away at 6, and the
    reference follows to 0.076; 0.4 - 0.076 = 0.324 away at 7, which is beyond 0.3, and at 8 and 9.
    """
    assert run([NEUTRAL] * 5 + [p(happiness=0.4)] * 6) == [(9, 5)]


def test_a_drift_is_no_change() -> None:
    """A face that becomes 0.01 happier every second for a minute: a reference that stays would be left three times."""
    series = [p(happiness=second / 100) for second in range(60)]
    assert run(series) == []
    detectors = ChangeDetectors(ChangeSettings(follow=0))
    assert any(detectors.add(second, {"a": row}) for second, row in enumerate(series))


def test_a_change_in_the_middle_of_a_second() -> None:
    """A second that is a little nearer to what comes after belongs to it, one nearer to what was before does not.

    At 0.7 the readings are 0.7 and -0.3 nearer: 0.7 - |1 - 0.7| = 0.4 > 0; at 0.3: 0.3 - 0.7 = -0.4.
    """
    assert run([NEUTRAL] * 5 + [p(happiness=0.7)] + [HAPPY] * 5)[0][1] == 5
    assert run([NEUTRAL] * 5 + [p(happiness=0.3)] + [HAPPY] * 5)[0][1] == 6


def test_a_return_is_a_second_change() -> None:
    """The reference moves with the change, so the way back counts too."""
    assert run([NEUTRAL] * 5 + [HAPPY] * 7 + [NEUTRAL] * 4) == [(7, 5), (14, 12)]


def test_absent_seconds_neither_confirm_nor_end() -> None:
    """A gap in the middle of an excursion only delays it."""
    assert run([NEUTRAL] * 5 + [HAPPY, None, None, HAPPY, HAPPY]) == [(9, 5)]


def test_a_long_absence_is_not_bridged() -> None:
    """Back with another face after 10 s is a change, dated at the return; after 11 s it is where one begins anew."""
    assert run([NEUTRAL] * 5 + [None] * 10 + [HAPPY] * 5) == [(17, 15)]
    assert run([NEUTRAL] * 5 + [None] * 11 + [HAPPY] * 5) == []
    assert run([NEUTRAL] * 5 + [None] * 11 + [HAPPY] * 5 + [SAD] * 3) == [(23, 21)]


def test_a_long_absence_ends_what_was_under_way() -> None:
    """Two seconds of happiness before it do not count for what comes after it."""
    assert run([NEUTRAL] * 5 + [HAPPY] * 2 + [None] * 11 + [HAPPY] * 9) == []


def test_nothing_is_known_before_three_seconds() -> None:
    """The first mean is the reference, not a change."""
    assert run([HAPPY, HAPPY, HAPPY, HAPPY]) == []


def test_changes_per_covered_minute_by_hand() -> None:
    """One change in 30 covered seconds is 2 per minute; nobody covered is not in it; the window is 60 s."""
    counter = ChangeCounter()
    for second in range(60):
        counter.add(second, () if second % 2 else ("a",), ("a",) if second == 10 else ())
    assert counter.per_minute(59) == {"a": 2.0}
    assert counter.per_minute(70) == {"a": 0.0}


def test_who_has_just_joined_has_no_rate() -> None:
    """One change in 14 covered seconds would be 4.3 per minute; from 15 on it is counted, and who left is forgotten."""
    counter = ChangeCounter()
    for second in range(14):
        counter.add(second, ("a", "b"), ("a", "b") if second == 8 else ())
    assert counter.per_minute(13) == {}
    counter.forget("b")
    counter.add(14, ("a", "b"), ())
    assert counter.per_minute(14) == {"a": 4.0}
    assert counter.per_minute(100) == {}
    assert not counter._seconds


def change(participant: str, onset: int, after: F64 = HAPPY) -> Change:
    """A change from neutral."""
    return Change(participant, onset, NEUTRAL, after)


def test_most_members_within_two_seconds_are_a_group_change() -> None:
    """Three of four, at 10, 11 and 12, are one group-wise event, dated at the first."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10), change("c", 12)])
    scopes.add([change("b", 11)])
    [event] = scopes.settle(16, "abcd")
    assert (event.kind, event.time_s, event.participants) == ("change", 10.0, ("a", "b", "c"))
    assert event.data == {"scope": "group", "from": "neutral", "to": "happiness", "distance": 1.0}
    assert scopes.settle(20, "abcd") == []


def test_half_of_the_members_are_not_most() -> None:
    """Two of four are two individual events, by onset."""
    scopes = ChangeScopes()
    scopes.add([change("b", 11, SAD), change("a", 10)])
    events = scopes.finish("abcd")
    assert [(event.data["scope"], event.participants, event.data["to"]) for event in events] == [
        ("individual", ("a",), "happiness"),
        ("individual", ("b",), "sadness"),
    ]


def test_two_of_two_are_a_group_and_one_of_one_is_not() -> None:
    """A group change needs at least two members."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10), change("b", 12)])
    assert [event.data["scope"] for event in scopes.finish("ab")] == ["group"]
    scopes.add([change("a", 20)])
    assert [event.data["scope"] for event in scopes.finish("a")] == ["individual"]


def test_a_small_change_counts_only_in_company() -> None:
    """0.44 is too little to be told of one person, 0.46 is enough; of two of three 0.31 is, since they vouch for each other."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10, p(happiness=0.44)), change("b", 20, p(happiness=0.46))])
    scopes.add([change("a", 30, p(happiness=0.31)), change("c", 31, p(happiness=0.31))])
    events = scopes.finish("abc")
    assert [(event.time_s, event.data["scope"]) for event in events] == [(20.0, "individual"), (30.0, "group")]
    assert scopes._pending == []


def test_more_than_two_seconds_apart_are_apart() -> None:
    """10 and 13 do not belong together."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10), change("b", 13)])
    assert [event.data["scope"] for event in scopes.finish("ab")] == ["individual", "individual"]


def test_a_change_waits_until_all_that_could_join_it_are_known() -> None:
    """Onset 10: one at 12 may have company at 14, confirmed at 16, so it is told at 16 and not at 15."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10)])
    assert scopes.settle(15, "ab") == []
    assert [event.data["scope"] for event in scopes.settle(16, "ab")] == ["individual"]


def test_who_is_not_engaged_does_not_make_a_group() -> None:
    """A change of somebody outside stays individual and does not count."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10), change("x", 10)])
    assert [event.data["scope"] for event in scopes.finish("ab")] == ["individual", "individual"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30)), max_size=20, unique=True))
def test_every_change_is_told_once(rows: list[tuple[str, int]]) -> None:
    """However changes fall, each participant's onset is in exactly one event."""
    scopes = ChangeScopes()
    scopes.add([change(who, onset) for who, onset in rows])
    told = [event for second in range(40) for event in scopes.settle(second, "abcd")]
    told += scopes.finish("abcd")
    assert len(rows) == sum(len(event.participants) for event in told)


def test_the_group_event_is_the_mean_of_its_members() -> None:
    """Two members go to happiness, one to sadness: 2/3 happiness is the top, 1 away from neutral."""
    event = change_event("group", {"c": change("c", 9, SAD), "a": change("a", 8), "b": change("b", 10)})
    assert (event.data["to"], event.data["distance"], event.time_s) == ("happiness", 1.0, 8.0)


def test_the_company_may_be_on_both_sides() -> None:
    """10, 12 and 14 of four: the one at 12 has both others within 2 s, so all three are one group-wise event."""
    scopes = ChangeScopes()
    scopes.add([change("a", 10), change("b", 12), change("c", 14)])
    [event] = scopes.settle(16, "abcd")
    assert (event.data["scope"], event.participants) == ("group", ("a", "b", "c"))


def test_an_outsider_who_was_first_stays_alone() -> None:
    """Somebody who is not engaged changes first: the group's change is the group's, theirs is their own."""
    scopes = ChangeScopes()
    scopes.add([change("x", 10), change("a", 11), change("b", 11)])
    assert [event.data["scope"] for event in scopes.finish("ab")] == ["group", "individual"]


def test_a_change_without_another_top_says_what_moved() -> None:
    """0.9 neutral to 0.6 neutral and 0.35 happiness: the top stays, neutral fell and happiness grew."""
    event = change_event("individual", {"a": Change("a", 3, p(sadness=0.1), p(happiness=0.35, sadness=0.05))})
    assert (event.data["from"], event.data["to"], event.data["distance"]) == ("neutral", "happiness", 0.35)


DISTRIBUTION = st.tuples(st.integers(0, 6), st.floats(0, 1)).map(
    lambda x: (1 - x[1]) * np.full(7, 1 / 7) + x[1] * np.eye(7)[x[0]]
)


@given(st.lists(st.one_of(st.none(), DISTRIBUTION), max_size=60))
def test_changes_are_dated_where_somebody_was_read(series: list[F64 | None]) -> None:
    """Onsets are covered seconds, at most hold - 1 covered ones before the excursion of the mean, and move forward."""
    found = run(series)
    onsets = [onset for _, onset in found]
    assert onsets == sorted(set(onsets))
    for second, onset in found:
        assert onset <= second
        assert series[onset] is not None
        assert sum(row is not None for row in series[onset : second + 1]) <= 5
    assert found == run(series)


@given(DISTRIBUTION, DISTRIBUTION)
def test_from_and_to_differ(before: F64, after: F64) -> None:
    """Whatever moved a quarter has somewhere to come from and to go to."""
    if total_variation(before, after) >= 0.25:
        data = change_event("individual", {"a": Change("a", 3, before, after)}).data
        assert data["from"] != data["to"]


def test_settings_are_the_documented_ones() -> None:
    """Algorithm 4 of the design."""
    assert ChangeSettings() == ChangeSettings(0.3, 0.45, 3, 2, 60, 10, 0.1, 15)
