"""The contract on the wire."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from builders import arms, fused, p
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline import wire
from pipeline.emotions import EMOTIONS, softmax
from pipeline.fusion import fuse
from pipeline.group import synthesise
from pipeline.types import Event, GroupEngagement, Heads, MemberEngagement, Polarisation

STAMP = wire.Stamp("s-1", "b00t", datetime(2025, 11, 21, 12, 0, 0, tzinfo=UTC))
VERSIONS = wire.Versions("pixel-1.0", "landmark-1.0")
READING = fuse(arms("p-3f2a91c0", 7, p(happiness=0.9), p(happiness=0.7, surprise=0.1)), 0.5)


def test_a_participant_reading_is_the_contract_to_the_letter() -> None:
    """Every key, its order and its value, worked by hand.

    Happiness 0.8, surprise 0.05, neutral 0.15: valence 0.8 x 0.81 + 0.05 x 0.40 = 0.668, arousal
    0.8 x 0.51 + 0.05 x 0.67 = 0.4415.
    """
    zeros = dict.fromkeys(EMOTIONS, 0.0)
    expected = {
        "schema": "attuned/participant-emotion/1",
        "ts": "2025-11-21T12:00:07.000Z",
        "session": "s-1",
        "boot": "b00t",
        "seq": 3,
        "participant": "p-3f2a91c0",
        "second": 7,
        "coverage": 1.0,
        "n_frames": 5,
        "quality": 0.9,
        "probabilities": zeros | {"happiness": 0.8, "surprise": 0.05, "neutral": 0.15},
        "top": "happiness",
        "confidence": 0.8,
        "abstain": False,
        "valence": 0.668,
        "arousal": 0.4415,
        "affect_source": "derived",
        "sources": {
            "pixel": zeros | {"happiness": 0.9, "neutral": 0.1},
            "landmark": zeros | {"happiness": 0.7, "surprise": 0.1, "neutral": 0.2},
        },
        "weights": {"pixel": 0.5, "landmark": 0.5},
        "models": {"pixel": "pixel-1.0", "landmark": "landmark-1.0"},
        "heads": {"pixel": "generic", "landmark": "generic"},
    }
    payload = wire.participant_emotion(READING, VERSIONS, STAMP, 3)
    assert expected == payload
    assert list(expected) == list(payload)
    assert list(EMOTIONS) == list(payload["probabilities"])


def test_absence_is_null_on_the_wire() -> None:
    """Nobody seen: nulls and coverage 0, never neutral."""
    payload = wire.participant_emotion(fuse(arms("a", 0, None), 0.5), VERSIONS, STAMP, 0)
    for key in ("probabilities", "top", "confidence", "valence", "arousal", "quality"):
        assert payload[key] is None
    assert (payload["coverage"], payload["n_frames"], payload["abstain"]) == (0.0, 0, True)


def test_a_group_reading_names_what_is_not_known() -> None:
    """Members, sum and deviation are there; what is not known, or not yet, is null."""
    group = synthesise(2, [fused("a", 2, p(happiness=1.0)), fused("b", 2, p(happiness=1.0)), fused("c", 2, None)])
    payload = wire.group_emotion(group, STAMP, 0)
    assert (
        payload["schema"],
        payload["members"],
        payload["engaged"],
    ) == ("attuned/group-emotion/1", ["a", "b", "c"], ["a", "b"])
    assert (
        payload["excluded"],
        payload["dominant"],
        payload["deviation"],
    ) == ({"c": "no_face"}, ["happiness"], {"a": 0.0, "b": 0.0})
    for key in ("denoised", "clusters", "polarisation", "type", "synchrony", "homogeneity"):
        assert payload[key] is None
    assert payload["engagement"] == {}


def test_a_group_reading_says_how_it_moves_together() -> None:
    """Type, sub-groups and the grounds on which somebody counts or not, with six digits."""
    group = replace(
        synthesise(2, [fused("a", 2, p(happiness=1.0)), fused("b", 2, p(happiness=1.0))]),
        denoised=p(happiness=0.75),
        polarisation=Polarisation((("a",), ("b",)), 0.41421356),
        engagement=GroupEngagement(
            members=(MemberEngagement("a", "engaged", 0.61803398, -1, 0.0123456789), MemberEngagement("b", "unknown")),
            type="synchronous",
            synchrony=1 / 3,
            homogeneity=0.0,
        ),
    )
    payload = wire.group_emotion(group, STAMP, 0)
    assert payload["denoised"] == dict.fromkeys(EMOTIONS, 0.0) | {"happiness": 0.75, "neutral": 0.25}
    assert (payload["clusters"], payload["polarisation"]) == ([["a"], ["b"]], 0.414214)
    assert (payload["type"], payload["synchrony"], payload["homogeneity"]) == ("synchronous", 0.333333, 0.0)
    assert payload["engagement"] == {
        "a": {"state": "engaged", "correlation": 0.618034, "lag_s": -1, "p_value": 0.012346},
        "b": {"state": "unknown", "correlation": None, "lag_s": None, "p_value": None},
    }


def test_an_event_carries_its_kind_and_its_data() -> None:
    """Dated on the session's timeline, at its own time."""
    payload = wire.event(Event("change", 6.5, ("a",), {"scope": "individual"}), STAMP, 9)
    assert payload == {
        "schema": "attuned/event/1",
        "ts": "2025-11-21T12:00:06.500Z",
        "session": "s-1",
        "boot": "b00t",
        "seq": 9,
        "kind": "change",
        "second": 6,
        "participants": ["a"],
        "scope": "individual",
    }


def test_an_unknown_kind_of_event_is_refused() -> None:
    """What is not in the contract does not go out."""
    with pytest.raises(ValueError, match="event kind"):
        wire.event(Event("sneezed", 0.0), STAMP, 0)


def test_the_models_of_a_participant() -> None:
    """Versions of both arms and which head each of them has."""
    payload = wire.participant_model("a", VERSIONS, STAMP, 1.0, 0, heads=Heads(pixel="personal-3"))
    assert payload["heads"] == {"pixel": "personal-3", "landmark": "generic"}


def test_a_reading_names_its_heads() -> None:
    """Those that read its last frame, and they come back."""
    reading = replace(fused("p-1", 3, p(anger=1.0)), arms=replace(arms("p-1", 3, p()), heads=Heads("personal-3")))
    payload = wire.participant_emotion(reading, VERSIONS, STAMP, 0)
    assert payload["heads"] == {"pixel": "personal-3", "landmark": "generic"}
    assert wire.read_participant_emotion(payload).arms.heads == Heads("personal-3")
    assert payload["models"] == {"pixel": "pixel-1.0", "landmark": "landmark-1.0"}


def test_topics_are_the_contract() -> None:
    """Level by level."""
    topics = wire.Topics("lab")
    assert [
        topics.availability,
        topics.info,
        topics.status("s"),
        topics.event("s"),
        topics.group_emotion("s"),
        topics.participant_emotion("s", "p-1"),
        topics.participant_model("s", "p-1"),
        topics.consent_filter(),
    ] == [
        "attuned/lab/availability",
        "attuned/lab/info",
        "attuned/lab/session/s/status",
        "attuned/lab/session/s/event",
        "attuned/lab/session/s/group/emotion",
        "attuned/lab/session/s/participant/p-1/emotion",
        "attuned/lab/session/s/participant/p-1/model",
        "attuned/lab/session/+/participant/+/consent/set",
    ]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("attuned/lab/session/s/participant/p-1/consent/set", ("s", "p-1")),
        ("attuned/lab/session/s/participant/p-1/label/set", None),
        ("attuned/other/session/s/participant/p-1/consent/set", None),
        ("attuned/lab/session/s/somebody/p-1/consent/set", None),
        ("attuned/lab/session/s/participant//consent/set", None),
        ("attuned/lab/session/s/participant/p/1/consent/set", None),
    ],
)
def test_consent_topics_are_read_strictly(topic: str, expected: tuple[str, str] | None) -> None:
    """Session and participant, or nothing."""
    assert expected == wire.Topics("lab").parse_consent(topic)


def test_times_are_utc_with_milliseconds() -> None:
    """Another zone is turned into UTC, none at all is UTC, text that is no time is an error."""
    zurich = datetime(2026, 1, 31, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert wire.rfc3339(zurich) == "2026-01-31T12:00:00.123Z"
    assert wire.parse_time("2026-01-31T13:00:00+01:00") == wire.parse_time("2026-01-31 12:00:00")
    with pytest.raises(ValueError, match="Invalid isoformat"):
        wire.parse_time("yesterday")
    with pytest.raises(ValueError, match="year: expected 1900 to 2999, got 9999"):
        wire.parse_time("9999-12-31T23:59:58Z")


def test_a_live_calls_timeline_is_the_epoch() -> None:
    """With the default anchor a time on the timeline is UTC itself."""
    assert wire.Stamp("s", "b").ts(1763700001.0) == "2025-11-21T04:40:01.000Z"
    assert wire.Stamp("s", "b").epoch_s(1763700001.5) == 1763700001.5


def test_nan_never_goes_out() -> None:
    """JSON has no NaN, and neither has the contract."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        wire.encode({"x": float("nan")})


LOGITS = arrays(np.float64, (7,), elements=st.floats(-20, 20))


@given(LOGITS, LOGITS | st.none(), st.floats(0.2, 0.8))
def test_a_reading_survives_the_wire(pixel: np.ndarray, landmark: np.ndarray | None, weight: float) -> None:
    """JSON and back gives the same reading to six digits, and the same bytes again."""
    second = arms("p-00000000", 5, softmax(pixel), None if landmark is None else softmax(landmark))
    sent = wire.encode(wire.participant_emotion(fuse(second, weight), VERSIONS, STAMP, 1))
    back = wire.read_participant_emotion(json.loads(sent))
    np.testing.assert_allclose(back.probabilities, fuse(second, weight).probabilities, atol=1e-6)
    assert abs(back.probabilities.sum() - 1) < 1e-5
    assert (back.arms.landmark is None) == (landmark is None)
    assert (back.participant, back.arms.second) == ("p-00000000", 5)


@pytest.mark.parametrize(
    ("payload", "message"),
    [({"schema": "other/1"}, "schema: expected"), ({"schema": wire.PARTICIPANT_EMOTION}, "missing or misshapen")],
)
def test_other_payloads_are_refused(payload: dict[str, str], message: str) -> None:
    """A wrong schema and a missing field are told apart."""
    with pytest.raises(ValueError, match=message):
        wire.read_participant_emotion(payload)
