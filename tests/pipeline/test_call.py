"""A call, second by second."""

from dataclasses import replace

import numpy as np
import pytest
from builders import face, grid, p
from remembering import remembered

from pipeline.afterwards import AfterwardsSettings
from pipeline.call import Call, CallSettings
from pipeline.emotions import F64
from pipeline.learned_weights import FEATURES, WeightModel
from pipeline.types import CallSecond, Event, Heads

A, B, C, D = grid(2, 2)
PAIR = (("a", A), ("b", B))
HAPPY, SAD = p(happiness=0.9), p(sadness=0.9)
ALWAYS = WeightModel(np.zeros(len(FEATURES)), np.ones(len(FEATURES)), np.zeros(len(FEATURES)), 0.7)
"""Says 0.7, whatever it sees."""


def see(call: Call, time_s: float, tiles: tuple, unread: dict[str, str] | None = None) -> None:
    """A look at a gallery of these tiles."""
    call.look(time_s, tuple(who for who, _ in tiles), tiles, unread or {})


def play(call: Call, seconds: int, expression: dict[str, list[F64]], tiles: tuple = PAIR) -> list[CallSecond]:
    """Five frames a second of everybody; `expression` holds one distribution per second and participant."""
    closed = []
    for slot in range(5 * seconds):
        time_s = slot / 5
        closed += call.advance(time_s)
        see(call, time_s, tiles)
        for who, series in expression.items():
            call.add(face(who, time_s, series[int(time_s)], series[int(time_s)]))
    return closed


def test_a_call_from_first_frame_to_last() -> None:
    """Every second comes out once, with everybody in it, and the group's mean."""
    call = Call()
    closed = play(call, 5, {"a": [HAPPY] * 5, "b": [SAD] * 5})
    last, waiting = call.finish(5.0)
    seconds = closed + last
    assert [second.second for second in seconds] == [0, 1, 2, 3, 4]
    assert all(second.group.engaged == ("a", "b") for second in seconds)
    assert all(reading.arms.n_frames == 5 for second in seconds for reading in second.readings)
    assert seconds[2].group.dominant == ("happiness", "sadness")
    assert waiting == ()
    assert tuple(event.kind for event in seconds[0].events) == ("participant_joined", "participant_joined")
    assert call.n_late == 0


def test_weights_adapt_from_the_twentieth_second() -> None:
    """Who changes more than the group leans on landmarks from second 20 on, who changes less on pixels."""
    swings = [HAPPY if (second // 4) % 2 else SAD for second in range(40)]
    call = Call()
    seconds = play(call, 40, {"a": swings, "b": [HAPPY] * 40})
    mover = [second.readings[0].weight_landmark for second in seconds]
    still = [second.readings[1].weight_landmark for second in seconds]
    assert {0.5} == set(mover[:20]) == set(still[:20])
    assert mover[20] > 0.5 > still[20]
    assert mover[30] > mover[20]


def test_learned_weights_take_the_place_of_the_rule() -> None:
    """Half of the way to 0.7 at second 20, and half of the rest at 30."""
    seconds = play(Call(CallSettings(learned=ALWAYS)), 40, {"a": [HAPPY] * 40, "b": [SAD] * 40})
    weights = [second.readings[0].weight_landmark for second in seconds]
    assert [weights[at] for at in (19, 20, 30)] == pytest.approx([0.5, 0.6, 0.65])


def test_a_group_that_does_not_move_together_has_no_sides() -> None:
    """Two who stay happy and two who stay sad are polarised, but not while nobody moves with anybody."""
    rng = np.random.default_rng(3)
    own: dict[str, list[F64]] = {}
    for who, shown in zip("abcd", (HAPPY, HAPPY, SAD, SAD), strict=True):
        faint = np.zeros(150, dtype=bool)
        for at in np.cumsum(rng.integers(9, 16, 9)).tolist():
            faint[at : at + 5] = True
        own[who] = [0.8 * shown + 0.2 * p() if flag else shown for flag in faint]
    seconds = play(Call(), 150, own, tuple(zip("abcd", (A, B, C, D), strict=True)))
    sides = [bool(second.group.polarisation and second.group.polarisation.clusters) for second in seconds]
    types = [second.group.engagement.type for second in seconds]
    apart = [at for at in range(10, len(types)) if set(types[at - 10 : at]) == {"unengaged"}]
    assert sides[30]
    assert apart
    assert not any(sides[at] for at in apart)


def test_changes_of_most_are_the_groups() -> None:
    """Both go from happiness to sadness at second 6: one event, told when it is no noise and nobody else can join it."""
    series = [HAPPY] * 6 + [SAD] * 18
    seconds = play(Call(), 24, {"a": series, "b": series})
    changes = [(second.second, event) for second in seconds for event in second.events if event.kind == "change"]
    [(told, event)] = changes
    assert (told, event.time_s, event.data["scope"], event.participants) == (15, 6.0, "group", ("a", "b"))


def test_who_looks_away_for_a_moment_still_counts() -> None:
    """Three change together; two of them have no face in the second in which that is settled: it was the group."""
    call, closed = Call(), []
    series = [HAPPY] * 6 + [SAD] * 8
    for slot in range(5 * 14):
        time_s = slot / 5
        closed += call.advance(time_s)
        see(call, time_s, (*PAIR, ("c", C)))
        for who in "abc" if int(time_s) != 12 else "c":
            call.add(face(who, time_s, series[int(time_s)]))
    last, waiting = call.finish(14.0)
    told = [event for second in closed + last for event in second.events if event.kind == "change"] + list(waiting)
    assert [(event.data["scope"], event.participants) for event in told] == [("group", ("a", "b", "c"))]


def test_a_change_at_the_very_end_is_told_too() -> None:
    """What still waits when the call ends goes out with the end."""
    call = Call()
    series = [HAPPY] * 6 + [SAD] * 3
    play(call, 9, {"a": series, "b": [HAPPY] * 9})
    seconds, waiting = call.finish(9.0)
    assert tuple(event.data["scope"] for event in waiting) == ("individual",)
    assert seconds


def kinds(second: CallSecond) -> list[tuple[str, tuple[str, ...]]]:
    """What happened in a second, and to whom."""
    return [(event.kind, event.participants) for event in second.events]


def test_joins_leaves_and_layouts_are_events() -> None:
    """A third tile is a join and a new layout, one that goes is a leave; the tiles of a second are its last."""
    call = Call()
    for time_s, tiles in ((0.0, PAIR), (1.0, (*PAIR, ("c", C))), (2.0, PAIR), (3.0, ())):
        see(call, time_s, tiles)
    seconds, _ = call.finish(4.0)
    assert [kinds(second) for second in seconds] == [
        [("participant_joined", ("a",)), ("participant_joined", ("b",))],
        [("participant_joined", ("c",)), ("layout_changed", ())],
        [("participant_left", ("c",)), ("layout_changed", ())],
        [("participant_left", ("a",)), ("participant_left", ("b",))],
    ]
    assert [len(second.tiles) for second in seconds] == [2, 3, 2, 0]


def test_cameras_off_and_on_are_events() -> None:
    """Without a picture for two seconds it is off, though a second in which nobody looked says nothing; a face ends it."""
    call, closed = Call(), []
    for second in range(9):
        if second != 3:
            call.look(float(second), ("a", "b"), PAIR, off={"b"} if second in {2, 4, 5, 6} else ())
        if second == 6:
            call.add(face("b", 6.0, HAPPY))
        closed += call.advance(second + 1.5)
    events = [(second.second, event) for second in closed for event in second.events if "camera" in event.kind]
    assert [(told, event.kind, event.time_s, event.participants) for told, event in events] == [
        (4, "camera_off", 2.0, ("b",)),
        (7, "camera_on", 6.0, ("b",)),
    ]


def test_a_second_in_which_nobody_looked_keeps_its_members() -> None:
    """When a source is silent for two seconds, everybody is absent and nobody has left; one layout stays one."""
    call = Call()
    see(call, 0.0, PAIR)
    see(call, 3.0, PAIR)
    seconds, _ = call.finish(4.0)
    assert [len(second.events) for second in seconds] == [2, 0, 0, 0]
    assert all(len(second.readings) == 2 for second in seconds)


def test_who_is_withheld_is_said_to_be() -> None:
    """Without consent a participant is a member without a reading, and the group says why."""
    call = Call()
    see(call, 0.0, PAIR, {"b": "no_consent"})
    call.add(face("a", 0.0, HAPPY))
    [second], _ = call.finish(1.0)
    assert second.group.excluded == {"b": "no_consent"}


def test_why_a_face_was_not_read_is_said() -> None:
    """What reading found out stands beside what was known before it, until the second is over."""
    call = Call()
    see(call, 0.0, PAIR, {"b": "no_consent"})
    call.explain(0.2, {"a": "small_face"})
    call.explain(7.0, {"a": "small_face"})
    call.explain(0.4, {})
    [second], _ = call.finish(1.0)
    assert second.group.excluded == {"a": "small_face", "b": "no_consent"}


def test_members_without_a_tile_are_members() -> None:
    """In a room somebody without a picture is there, absent, and no layout changes."""
    call = Call()
    call.look(0.0, ("a", "b"))
    call.look(1.0, ("a", "b"))
    seconds, _ = call.finish(2.0)
    assert [event.kind for second in seconds for event in second.events] == ["participant_joined"] * 2
    assert [reading.arms.coverage for reading in seconds[1].readings] == [0.0, 0.0]


def test_a_look_at_a_second_that_is_over_is_forgotten() -> None:
    """A frame that comes a second late leaves nothing behind."""
    call = Call()
    see(call, 0.0, PAIR)
    call.advance(1.2)
    see(call, 0.5, ())
    see(call, 1.5, PAIR)
    seconds, _ = call.finish(2.0)
    assert [list(second.events) for second in seconds] == [[]]


def test_an_event_without_data_has_empty_data() -> None:
    """Nobody has to test for None."""
    assert dict(Event("session_started", 0.0).data) == {}


def test_a_weight_is_kept_over_a_short_absence_and_not_over_a_long_one() -> None:
    """Who comes back after ten seconds leans on landmarks as before; after a hundred everybody begins at 0.5."""
    swings = [HAPPY if (second // 4) % 2 else SAD for second in range(60)]
    for away, kept in ((10, True), (100, False)):
        call = Call()
        play(call, 60, {"a": swings, "b": [HAPPY] * 60})
        for second in range(60, 60 + away):
            see(call, float(second), (("b", B),))
            call.add(face("b", float(second), HAPPY))
        see(call, 60.0 + away, PAIR)
        *_, last = call.advance(61.2 + away)
        assert last.second == 60 + away
        [weight] = [reading.weight_landmark for reading in last.readings if reading.participant == "a"]
        assert (weight > 0.5) == kept
        assert kept or weight == 0.5


@pytest.mark.parametrize("rule", [None, ALWAYS])
@pytest.mark.parametrize("memory_s", [5, 60])
def test_who_left_long_ago_is_forgotten(rule: WeightModel | None, memory_s: int) -> None:
    """Three stay, eight come one after the other, for 18 s each; six minutes later only the three are known."""
    swings = [HAPPY, HAPPY, HAPPY, HAPPY, SAD, SAD, SAD, SAD]
    stay = ["p-0000000a", "p-0000000b", "p-0000000c"]
    passers = [f"p-000000{n:02d}" for n in range(8)]
    call = Call(CallSettings(learned=rule, afterwards=AfterwardsSettings(memory_s=memory_s)))
    for second in range(8 * 18 + 360):
        there = [*stay, *passers[second // 18 : second // 18 + 1]]
        for time_s in (float(second), second + 0.5):
            call.advance(time_s)
            see(call, time_s, tuple(zip(there, (A, B, C, D), strict=False)))
            for who in there:
                call.add(face(who, time_s, swings[second % 8], swings[(second + len(who)) % 8]))
        if second == 8 * 18:
            assert remembered(call) > set(stay)
    assert remembered(call) == set(stay)


def test_the_group_says_what_it_is() -> None:
    """Two happy and two sad for ten seconds are polarised; the denoised group is a distribution; engagement is said."""
    split = {"a": [HAPPY] * 12, "b": [HAPPY] * 12, "c": [SAD] * 12, "d": [SAD] * 12}
    seconds = play(Call(), 12, split, tuple(zip("abcd", (A, B, C, D), strict=True)))
    last = seconds[-1].group
    assert last.polarisation is not None
    assert last.polarisation.clusters == (("a", "b"), ("c", "d"))
    assert last.denoised is not None
    assert abs(last.denoised.sum() - 1) < 1e-9
    assert [member.state for member in last.engagement.members] == ["unknown"] * 4
    assert [event.kind for second in seconds for event in second.events if event.kind == "polarised"] == ["polarised"]
    assert [known.second for second in seconds for known in second.settled] == list(range(len(seconds) - 3))


def test_every_second_is_settled_when_the_call_is_over() -> None:
    """Those that still waited come with the last one; with no second open there is none to carry them."""
    call = Call()
    closed = play(call, 9, {"a": [HAPPY] * 9, "b": [HAPPY] * 9})
    last, _ = call.finish(9.0)
    assert [one.second for second in closed + last for one in second.settled] == list(range(9))
    assert call.finish(9.0)[0] == []


def test_labels_come_from_the_generic_heads_and_the_group_from_what_is_shown() -> None:
    """A personal head that calls everything sadness moves the group, and no label, change or weight."""
    calls = Call(), Call()
    series = [HAPPY if second // 7 % 2 else SAD for second in range(120)]
    closed: list[list[CallSecond]] = [[], []]
    for slot in range(5 * 120):
        time_s = slot / 5
        for i, call in enumerate(calls):
            closed[i] += call.advance(time_s)
            call.look(time_s, tuple("abcd"))
            for who in "abcd":
                row = series[int(time_s)]
                reading = face(who, time_s, row, row)
                if who == "a" and i:
                    heads = Heads("personal-1", "personal-1")
                    reading = replace(reading, pixel=SAD, landmark=SAD, generic=(row, row), heads=heads)
                call.add(reading)
    plain, personal = closed

    def told(seconds: list[CallSecond]) -> list[object]:
        labels = [
            (n.participant, n.second, n.probabilities.tolist()) for s in seconds for o in s.settled for n in o.labels
        ]
        return [
            labels,
            [event for s in seconds for event in s.events],
            [r.weight_pixel for s in seconds for r in s.readings],
        ]

    assert told(plain) == told(personal)
    assert told(plain)[0] != []
    # Second 10 is happy: one of four is shown as sad.
    assert personal[10].group.probabilities is not None
    np.testing.assert_allclose(personal[10].group.probabilities, (3 * HAPPY + SAD) / 4, atol=1e-12)
    [settled] = [one for second in personal for one in second.settled if one.second == 10]
    np.testing.assert_allclose(settled.group, (3 * HAPPY + SAD) / 4, atol=1e-12)
    assert {r.participant: r.arms.heads.pixel for r in personal[10].readings}["a"] == "personal-1"
