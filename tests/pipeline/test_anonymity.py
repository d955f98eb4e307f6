"""Where only the group is told, nothing of an individual is left."""

import json
from dataclasses import fields, replace

from builders import face, fused, p
from hypothesis import given
from hypothesis import strategies as st

from pipeline import wire
from pipeline.anonymity import OF_NOBODY, OF_THE_GROUP, group_only, group_only_events, is_large
from pipeline.call import Call
from pipeline.group import synthesise
from pipeline.types import (
    CallSecond,
    Event,
    GroupEngagement,
    GroupLabel,
    MemberEngagement,
    Polarisation,
    SettledSecond,
)

PEOPLE = ("p-00000001", "p-00000002", "p-00000003", "p-00000004")
ROWS = (p(happiness=0.9), p(sadness=0.8), p(anger=0.7), p(fear=0.6))


def second_of(n_read: int) -> CallSecond:
    """A second of four people, of whom the first `n_read` are read, with everything that can be said of them."""
    readings = tuple(
        fused(who, 7, row if i < n_read else None) for i, (who, row) in enumerate(zip(PEOPLE, ROWS, strict=True))
    )
    engaged = tuple(MemberEngagement(who, "engaged", 0.5, 1, 0.01) for who in PEOPLE)
    group = replace(
        synthesise(7, readings),
        denoised=ROWS[0],
        polarisation=Polarisation((PEOPLE[:2], PEOPLE[2:]), 0.6),
        engagement=GroupEngagement(engaged, "engaged", 0.5, 0.25),
    )
    events = (
        Event("participant_joined", 7.0, (PEOPLE[0],)),
        Event("change", 7.0, (PEOPLE[0],), {"scope": "individual", "from": "neutral", "to": "anger", "distance": 0.5}),
        Event("change", 7.0, PEOPLE[:3], {"scope": "group", "from": "neutral", "to": "anger", "distance": 0.5}),
        Event("dismissed", 7.0, (PEOPLE[1],), {"emotion": "fear", "seconds": 1, "distance": 0.4}),
        Event("polarised", 7.0, (), {"polarised": True, "clusters": [list(PEOPLE[:2])], "distance": 0.6}),
        Event("head_promoted", 7.0, (PEOPLE[1],), {"version": "personal-1"}),
    )
    label = GroupLabel(PEOPLE[0], 4, ROWS[0], 3)
    settled = SettledSecond(4, dict(zip(PEOPLE, ROWS, strict=True)), ROWS[0], (label,))
    return CallSecond(7, readings, group, events, ((PEOPLE[0], (0, 0, 9, 9)),), (settled,))


def test_a_large_group_is_told_and_nobody_in_it() -> None:
    """Sum, type and distance of sub-groups stay; who was summed, how far from it, and whatever names one, is gone."""
    told = group_only(second_of(4), 3)
    whole = second_of(4).group
    assert told.readings == ()
    assert told.group.probabilities is not None
    assert (told.group.probabilities == whole.probabilities).all()
    assert (told.group.members, told.group.engaged, told.group.n_summed) == (PEOPLE, (), 4)
    assert (dict(told.group.excluded), dict(told.group.deviation)) == ({}, {})
    assert told.group.polarisation == Polarisation((), 0.6)
    assert told.group.engagement == GroupEngagement((), "engaged", 0.5, 0.25)
    assert told.group.denoised is not None
    assert [(event.kind, event.participants) for event in told.events] == [
        ("participant_joined", (PEOPLE[0],)),
        ("change", ()),
        ("polarised", ()),
    ]
    assert told.events[2].data["clusters"] == []
    [settled] = told.settled
    assert (dict(settled.distributions), settled.labels, settled.group is None) == ({}, (), False)
    assert told.tiles == second_of(4).tiles


def test_of_too_few_faces_nothing_is_told() -> None:
    """Two of four are read where three are asked for: members, who joined, and no more."""
    second = second_of(2)
    assert not is_large(second, 3)
    told = group_only(second, 3)
    assert told.group.members == PEOPLE
    assert (told.group.probabilities, told.group.denoised, told.group.polarisation) == (None, None, None)
    assert (told.group.engagement, told.group.n_summed) == (GroupEngagement(), 0)
    assert [event.kind for event in told.events] == ["participant_joined"]
    assert told.settled[0].group is None


def test_a_group_that_is_not_split_or_not_known_to_be_stays_so() -> None:
    """What is not known is not made up."""
    second = second_of(3)
    bare = replace(second, group=replace(second.group, polarisation=None))
    assert group_only(bare, 3).group.polarisation is None


def test_every_kind_of_event_is_decided_upon() -> None:
    """A new kind is told only when somebody has thought of it: those that are not named are held back."""
    rest = wire.EVENT_KINDS - OF_NOBODY - OF_THE_GROUP
    assert rest == {
        "dismissed",
        "head_promoted",
        "head_rejected",
        "head_rolled_back",
        # Made by the outbox, which is told of nothing individual here.
        "outbox_discarded",
        "erased",
    }
    assert group_only_events([Event(kind, 0.0, PEOPLE) for kind in sorted(rest)], large=True) == []


@given(n_read=st.integers(0, 4), minimum=st.integers(3, 5))
def test_no_number_of_an_individual_is_left(n_read: int, minimum: int) -> None:
    """Whatever is left of a second has pseudonyms in members, in who joined, and in tiles; nowhere else."""
    told = group_only(second_of(n_read), minimum)
    bare = replace(told.group, members=())
    text = repr([getattr(bare, field.name) for field in fields(bare)]) + repr(told.settled)
    assert not any(who in text for who in PEOPLE)
    named = [event for event in told.events if event.participants]
    assert {event.kind for event in named} <= OF_NOBODY
    payload = wire.group_emotion(told.group, wire.Stamp("s", "b"), 0)
    assert ("n_engaged" in payload) == (n_read >= minimum)


def test_what_was_read_in_an_open_second_can_be_taken_away() -> None:
    """Two of three readings lie in the second that is open; who was read stays in the call, without a reading."""
    call = Call()
    call.look(0.0, PEOPLE[:2])
    for time_s in (0.1, 0.3):
        assert call.add(face(PEOPLE[0], time_s, p(happiness=1.0)))
    assert call.add(face(PEOPLE[1], 0.1, p(sadness=1.0)))
    assert call.forget(PEOPLE[0]) == 2
    assert call.forget(PEOPLE[2]) == 0
    [second] = call.advance(1.3)
    assert {r.participant: r.arms.n_frames for r in second.readings} == {PEOPLE[0]: 0, PEOPLE[1]: 1}


def test_what_waits_is_replaced_and_keeps_its_number() -> None:
    """An event says that it was erased and nothing else; a group says who else was there and nothing else."""
    stamp = wire.Stamp("s", "b")
    data = {"scope": "individual", "from": "neutral", "to": "anger", "distance": 0.5}
    event = wire.event(Event("change", 7.25, (PEOPLE[0],), data), stamp, 12)
    assert json.loads(wire.erased_event(wire.encode(event))) == {
        "schema": "attuned/event/1",
        "ts": "1970-01-01T00:00:07.250Z",
        "session": "s",
        "boot": "b",
        "seq": 12,
        "kind": "erased",
        "second": 7,
        "participants": [],
    }
    group = json.loads(wire.erased_group(wire.encode(wire.group_emotion(second_of(4).group, stamp, 3)), PEOPLE[0]))
    assert (group["seq"], group["second"], group["members"], group["erased"]) == (3, 7, list(PEOPLE[1:]), True)
    assert PEOPLE[0] not in json.dumps(group)
    assert {key for key, value in group.items() if value} == {
        *("schema", "ts", "session", "boot", "seq", "second", "members", "erased")
    }
