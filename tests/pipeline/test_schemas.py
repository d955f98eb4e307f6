"""Schemas of the wire against what the wire makes."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from builders import arms, fused, p
from contract import closed
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jsonschema import Draft7Validator

from pipeline import wire
from pipeline.emotions import softmax
from pipeline.fusion import fuse
from pipeline.group import synthesise
from pipeline.schemas import EVENT_DATA, Schema, event_schema, schemas
from pipeline.types import Event, GroupEngagement, MemberEngagement, Polarisation

STAMP = wire.Stamp("s-1", "b00t", datetime(2025, 11, 21, 12, 0, 0, tzinfo=UTC))
VERSIONS = wire.Versions("pixel-1.0", "landmark-1.0")
ANNA, BEA = "p-0000000a", "p-0000000b"
SEEN = wire.participant_emotion(fuse(arms(ANNA, 7, p(happiness=0.9)), 0.5), VERSIONS, STAMP, 3)
DATA: dict[str, dict[str, Any]] = {
    "session_started": {"purpose": "research", "basis": "consent", "consent": "declared"},
    "session_ended": {"reason": None},
    "source_lost": {"reason": "no picture"},
    "layout_changed": {"tiles": 4},
    "consent_changed": {"state": "granted"},
    "change": {"scope": "group", "from": "neutral", "to": "happiness", "distance": 0.4},
    "dismissed": {"emotion": "fear", "seconds": 2, "distance": 0.3},
    "group_type_changed": {"from": None, "to": "synchronous"},
    "polarised": {"polarised": True, "clusters": [[ANNA], [BEA]], "distance": 0.8},
    "outbox_discarded": {"n": 3, "reason": "size", "first_seq": 0, "last_seq": 2},
}


def mistakes(name: str, payload: Any) -> list[str]:  # noqa: ANN401 (also what is no payload)
    """What a schema has against a payload as it stands on the wire; keys that it does not name included."""
    schema: Schema = closed(schemas()[name])
    Draft7Validator.check_schema(schema)
    return [error.message for error in Draft7Validator(schema).iter_errors(json.loads(wire.encode(payload)))]


@given(arrays(np.float64, 7, elements=st.floats(-20, 20)), st.floats(0, 1), st.sampled_from([0, 59, 1_763_700_001]))
def test_every_participant_reading_keeps_its_schema(logits: np.ndarray, weight: float, second: int) -> None:
    """Whatever the models say, with and without a landmark model."""
    for landmark in (None, softmax(-logits)):
        reading = fuse(arms(ANNA, second, softmax(logits), landmark), weight)
        assert mistakes("participantEmotion", wire.participant_emotion(reading, VERSIONS, STAMP, 0)) == []


def test_absence_keeps_the_schema() -> None:
    """Nulls where nothing is known."""
    reading = fuse(arms(ANNA, 0, None), 0.5)
    assert mistakes("participantEmotion", wire.participant_emotion(reading, VERSIONS, STAMP, 0)) == []


def test_group_readings_keep_their_schema() -> None:
    """With everything known, with nothing known, and with nobody there."""
    group = synthesise(2, [fused(ANNA, 2, p(happiness=1.0)), fused(BEA, 2, p(sadness=1.0))])
    members = (MemberEngagement(ANNA, "engaged", 0.5, -2, 0.01), MemberEngagement(BEA, "unknown"))
    known = replace(
        group,
        denoised=group.probabilities,
        polarisation=Polarisation(((ANNA,), (BEA,)), 0.9),
        engagement=GroupEngagement(type="synchronous", synchrony=0.7, homogeneity=0.2, members=members),
    )
    for reading in (group, known, synthesise(2, [fused(ANNA, 2, None), fused(BEA, 2, None)])):
        assert mistakes("groupEmotion", wire.group_emotion(reading, STAMP, 0)) == []


@pytest.mark.parametrize("kind", sorted(wire.EVENT_KINDS))
def test_every_kind_of_event_has_a_schema(kind: str) -> None:
    """Live and replayed."""
    payload = wire.event(Event(kind, 7.5, (ANNA,), DATA.get(kind, {})), STAMP, 0)
    assert mistakes(f"event_{kind}", payload) == []
    assert mistakes(f"event_{kind}", json.loads(wire.replayed(wire.encode(payload)))) == []


def test_the_data_of_events_are_those_of_known_kinds() -> None:
    """Nothing is said of a kind that does not exist, and the examples here name every key."""
    assert set(EVENT_DATA) <= wire.EVENT_KINDS
    assert {kind: set(keys) for kind, keys in EVENT_DATA.items() if keys} == {k: set(d) for k, d in DATA.items()}
    assert "replayed" not in event_schema("change")["required"]


def test_state_keeps_its_schema() -> None:
    """Node, session and models; also as the last word of their topics."""
    node = {
        "node": "lab",
        "version": "0.1.0",
        "models": {arm: {"version": "x 1", "sha256": "0f"} for arm in ("pixel", "landmark")},
        "purposes": ["research"],
        "basis": "consent",
        "group_only": False,
    }
    payloads = {
        "nodeInfo": wire.node_info(datetime(2026, 1, 31, tzinfo=UTC), "b", 0, node),
        "sessionStatus": wire.session_status(STAMP, 1.0, 4, state="live", reason=None, purpose="research"),
        "participantModel": wire.participant_model(ANNA, VERSIONS, STAMP, 1.0, 0),
    }
    for name, payload in payloads.items():
        assert mistakes(name, payload) == []
        assert mistakes(name, json.loads(wire.cleared(wire.encode(payload)))) == []


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A payload that lacks a key."""
    return lambda payload: {name: value for name, value in payload.items() if name != key}


def having(**values: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A payload with other values."""
    return lambda payload: payload | values


@pytest.mark.parametrize(
    "spoil",
    [
        *(without(key) for key in SEEN),
        having(seq=-1),
        having(seq=1.5),
        having(ts="2025-11-21 12:00:07"),
        having(participant="Anna"),
        having(coverage=1.2),
        having(top="contempt"),
        having(abstain=None),
        having(probabilities={"happiness": 1.0}),
        having(schema="attuned/participant-emotion/2"),
        having(replayed=False),
        having(mood="fine"),
    ],
)
def test_a_wrong_reading_is_caught(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A missing key, a value out of its range, a name, a key that is not documented."""
    assert mistakes("participantEmotion", SEEN) == []
    assert mistakes("participantEmotion", spoil(SEEN)) != []


def test_what_waited_says_so_and_is_else_the_same() -> None:
    """`replayed` is added at the end; `seq` stays."""
    payload = {"seq": 3, "kind": "change"}
    assert json.loads(wire.replayed(wire.encode(payload))) == payload | {"replayed": True}
    assert json.loads(wire.cleared(wire.encode(payload))) == payload | {"cleared": True}


def test_what_was_discarded_is_told_with_its_numbers() -> None:
    """Three events up to number 9, dated like the last of them."""
    last = wire.event(Event("change", 7.0, (ANNA,), DATA["change"]), STAMP, 9)
    told = wire.outbox_discarded(last, "age", 3, (4, 9), 12)
    assert told == {
        "schema": "attuned/event/1",
        "ts": "2025-11-21T12:00:07.000Z",
        "session": "s-1",
        "boot": "b00t",
        "seq": 12,
        "kind": "outbox_discarded",
        "second": 7,
        "participants": [],
        "n": 3,
        "reason": "age",
        "first_seq": 4,
        "last_seq": 9,
    }
    assert mistakes("event_outbox_discarded", told) == []


@pytest.mark.parametrize(
    ("state", "expected"), [("live", "failed"), ("waiting", "failed"), ("ended", None), ("failed", None)]
)
def test_a_session_that_was_cut_off_has_failed(state: str, expected: str | None) -> None:
    """Its status goes on counting, and says why; one that had ended needs nothing."""
    status = wire.session_status(STAMP, 1.0, 4, state=state, reason=None, purpose="research")
    stopped = wire.stopped_status(status)
    if expected is None:
        assert stopped is None
    else:
        assert stopped == status | {"seq": 5, "state": "failed", "reason": "attuned stopped without a goodbye"}
        assert mistakes("sessionStatus", stopped) == []


def test_the_consent_topic_is_the_one_that_is_understood() -> None:
    """What is written to is what is read."""
    topics = wire.Topics("lab")
    assert topics.parse_consent(topics.consent("s", ANNA)) == ("s", ANNA)
    assert topics.consent_filter() == "attuned/lab/session/+/participant/+/consent/set"
    assert topics.parse_label(topics.label("s", ANNA)) == ("s", ANNA)
    assert topics.label_filter() == "attuned/lab/session/+/participant/+/label/set"
    assert topics.parse_label(topics.consent("s", ANNA)) is None
