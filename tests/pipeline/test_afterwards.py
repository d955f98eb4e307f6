"""What is derived once noise is known."""

import numpy as np
from builders import p

from pipeline.afterwards import Afterwards, AfterwardsSettings
from pipeline.emotions import F64
from pipeline.engagement import EngagementSettings
from pipeline.types import Event, GroupEngagement, MemberEngagement, SettledSecond

HAPPY, SAD = p(happiness=0.9), p(sadness=0.9)


def play(after: Afterwards, series: dict[str, list[F64 | None]]) -> tuple[list[SettledSecond], list[Event]]:
    """Everybody's seconds from 0 on; a member is in the call as long as the series goes on."""
    settled: list[SettledSecond] = []
    events: list[Event] = []
    for second in range(max(len(values) for values in series.values())):
        known, happened = after.add(second, {w: row[second] for w, row in series.items() if second < len(row)})
        settled += known
        events += happened
    return settled, events


def swings(phase: int, every_s: int = 12, seconds: int = 200) -> list[F64 | None]:
    """Happiness and sadness in turns of uneven length."""
    flips = [(second + phase) * 7 % 97 // every_s for second in range(seconds)]
    return [HAPPY if flip % 2 else SAD for flip in flips]


def test_a_twitch_is_told_and_changes_nothing() -> None:
    """It is an event, but no change of expression, and the settled group does not know it."""
    after = Afterwards()
    twitch = [HAPPY] * 9 + [SAD] + [HAPPY] * 9
    settled, events = play(after, {"a": twitch, "b": [HAPPY] * 19})
    events += after.finish()[1]
    assert [(event.kind, event.participants, event.time_s) for event in events] == [("dismissed", ("a",), 9.0)]
    assert [second.second for second in settled] == list(range(16))
    assert all(second.group is not None and second.group[4] == 0.0 for second in settled)


def test_what_still_waits_is_told_at_the_end() -> None:
    """A change 3 s before the end has not been told by then."""
    after = Afterwards()
    _, events = play(after, {"a": [HAPPY] * 9 + [SAD] * 4, "b": [HAPPY] * 13})
    assert events == []
    _, [change] = after.finish()
    assert (change.kind, change.participants, change.time_s, change.data["scope"]) == (
        "change",
        ("a",),
        9.0,
        "individual",
    )


def test_who_goes_his_own_way_is_left_out_and_the_type_is_told() -> None:
    """Three swing together, the fourth on his own: he is left out of the settled group, and the type is an event."""
    after = Afterwards()
    own = [HAPPY if (second * second // 31) % 2 else SAD for second in range(200)]
    settled, events = play(after, {"a": swings(0), "b": swings(0), "c": swings(0), "d": own})
    assert after.unengaged == {"d"}
    assert {m.participant: m.state for m in after.engagement.members}["a"] == "engaged"
    last = settled[-1]
    assert last.group is not None
    assert last.group.tolist() == last.distributions["a"].tolist()
    [first, *_] = [event.data for event in events if event.kind == "group_type_changed"]
    assert first["from"] is None
    assert first["to"] in {"unengaged", "engaged", "synchronous", "homogeneous"}


def test_the_others_label_whom_they_move() -> None:
    """Four who feel the same label each other, three others each; the label is the others' own mean."""
    after = Afterwards()
    settled, _ = play(after, {who: swings(0) for who in "abcd"})
    labels = [label for second in settled for label in second.labels]
    assert {label.participant for label in labels} == set("abcd")
    assert {label.n_others for label in labels} == {3}
    by_second = {second.second: second.distributions["a"] for second in settled}
    assert all(label.probabilities.argmax() == by_second[label.second].argmax() for label in labels)


def test_who_is_gone_for_long_is_forgotten() -> None:
    """Coming back after more than the memory with another face is no change; soon it is one."""
    for away, kinds in ((5, ["change"]), (12, [])):
        after = Afterwards(AfterwardsSettings(memory_s=8, engagement=EngagementSettings(memory_s=8)))
        series: list[F64 | None] = [HAPPY] * 9
        for second in range(9 + away + 9):
            present = {"b": HAPPY}
            if second < len(series):
                present["a"] = HAPPY
            elif second >= 9 + away:
                present["a"] = SAD
            _, events = after.add(second, present)
            assert events == []
        assert [event.kind for event in after.finish()[1]] == kinds
        assert after.knows("a")
        assert not after.knows("c")


def test_nobody_is_left_out_where_too_few_would_be_left() -> None:
    """Of four one or two may be left out, of three only one: two must be left, and half of them."""
    after = Afterwards()
    for n, apart, left_out in (
        (4, "a", "a"),
        (4, "ab", "ab"),
        (4, "abc", ""),
        (3, "a", "a"),
        (3, "ab", ""),
        (2, "a", ""),
    ):
        members = [MemberEngagement(who, "unengaged" if who in apart else "engaged") for who in "abcd"[:n]]
        after._engage(GroupEngagement(tuple(members)))
        assert after.unengaged == set(left_out)


def test_what_is_not_settled_yet_is_so_at_the_end() -> None:
    """The last three seconds wait for what follows; nothing does."""
    after = Afterwards()
    settled, _ = play(after, {"a": [HAPPY] * 9, "b": [HAPPY] * 9})
    rest, _ = after.finish()
    assert [one.second for one in settled + rest] == list(range(9))
    assert [one.second for one in rest] == [6, 7, 8]


def test_the_settled_group_is_what_is_shown_and_labels_are_generic() -> None:
    """One of four is read as happy by a personal head and as sad by the generic one: only the group sees the former."""
    after, settled = Afterwards(), []
    for second in range(6):
        everybody: dict[str, F64 | None] = dict.fromkeys("abcd", SAD)
        settled += after.add(second, everybody, {"a": HAPPY})[0]
    [first, *_] = settled
    # (0.9 + 3 x 0) / 4 of happiness, on top of what SAD has of it.
    assert first.group is not None
    np.testing.assert_allclose(first.group, (HAPPY + 3 * SAD) / 4, atol=1e-12)
    assert all(row is not None and row.tolist() == SAD.tolist() for row in first.distributions.values())
    after.finish()


def test_what_a_personal_head_shows_has_its_own_noise() -> None:
    """Its excursion of one second is dismissed from the group, though the generic heads never saw it."""
    after, settled = Afterwards(), []
    for second in range(12):
        shown = SAD if second == 5 else HAPPY
        settled += after.add(second, {"a": HAPPY, "b": HAPPY}, {"a": shown})[0]
    group = {one.second: one.group for one in settled}[5]
    assert group is not None
    np.testing.assert_allclose(group, HAPPY, atol=1e-12)
