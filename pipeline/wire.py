"""Readings ↔ versioned JSON: topics, payloads, stamps. What stands here is the contract.

A payload is a dict whose keys come in the order of the contract; `encode` makes the bytes, the same bytes for
the same reading. Probabilities are rounded to six digits, times to milliseconds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from pipeline.emotions import EMOTIONS, F64
from pipeline.types import GENERIC_HEADS, Event, FusedReading, GroupReading, Heads, SecondReading, frozen_array

Payload = dict[str, Any]

PARTICIPANT_EMOTION: Final = "attuned/participant-emotion/1"
PARTICIPANT_MODEL: Final = "attuned/participant-model/1"
GROUP_EMOTION: Final = "attuned/group-emotion/1"
EVENT: Final = "attuned/event/1"
SESSION_STATUS: Final = "attuned/session-status/1"
NODE_INFO: Final = "attuned/node-info/1"

EVENT_KINDS: Final = frozenset(
    [
        "session_started",
        "session_ended",
        "source_lost",
        "source_recovered",
        "participant_joined",
        "participant_left",
        "camera_off",
        "camera_on",
        "layout_changed",
        "consent_changed",
        "change",
        "dismissed",
        "group_type_changed",
        "polarised",
        "head_promoted",
        "head_rejected",
        "head_rolled_back",
        "outbox_discarded",
        "erased",
    ]
)
N_DIGITS = 6
YEARS: Final = range(1900, 3000)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names of a node; `root` is `attuned` in the contract."""

    node: str
    root: str = "attuned"

    @property
    def availability(self) -> str:
        """`online` or `offline`, retained, the last will."""
        return f"{self.root}/{self.node}/availability"

    @property
    def info(self) -> str:
        """What runs here, retained."""
        return f"{self.root}/{self.node}/info"

    def status(self, session: str) -> str:
        """State of a session, retained."""
        return f"{self.root}/{self.node}/session/{session}/status"

    def event(self, session: str) -> str:
        """Events of a session, QoS 1."""
        return f"{self.root}/{self.node}/session/{session}/event"

    def group_emotion(self, session: str) -> str:
        """The group, every second."""
        return f"{self.root}/{self.node}/session/{session}/group/emotion"

    def participant(self, session: str, participant: str) -> str:
        """What all topics of a participant begin with."""
        return f"{self.root}/{self.node}/session/{session}/participant/{participant}/"

    def participant_emotion(self, session: str, participant: str) -> str:
        """One participant, every second."""
        return f"{self.participant(session, participant)}emotion"

    def participant_model(self, session: str, participant: str) -> str:
        """Which heads read a participant, retained."""
        return f"{self.participant(session, participant)}model"

    def consent(self, session: str, participant: str) -> str:
        """Where somebody says whether a participant may be read."""
        return f"{self.participant(session, participant)}consent/set"

    def consent_filter(self) -> str:
        """What to subscribe to for consent."""
        return self.consent("+", "+")

    def label(self, session: str, participant: str) -> str:
        """Where somebody says what a participant really expressed."""
        return f"{self.participant(session, participant)}label/set"

    def label_filter(self) -> str:
        """What to subscribe to for corrections."""
        return self.label("+", "+")

    def parse_consent(self, topic: str) -> tuple[str, str] | None:
        """Session and participant of a `consent/set` topic; None for any other topic."""
        return self._parse(topic, "/consent/set")

    def parse_label(self, topic: str) -> tuple[str, str] | None:
        """Session and participant of a `label/set` topic; None for any other topic."""
        return self._parse(topic, "/label/set")

    def _parse(self, topic: str, tail: str) -> tuple[str, str] | None:
        head = f"{self.root}/{self.node}/session/"
        if not topic.startswith(head) or not topic.endswith(tail):
            return None
        parts = topic[len(head) : -len(tail)].split("/")
        if len(parts) != 3 or parts[1] != "participant" or not all(parts):  # noqa: PLR2004 (session/participant/id)
            return None
        return parts[0], parts[2]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every payload of a session says of itself: who, which run, and what second 0 is in UTC."""

    session: str
    boot: str
    anchor: datetime = EPOCH

    def ts(self, time_s: float) -> str:
        """RFC 3339 with milliseconds of a time on the session's timeline."""
        return rfc3339(self.anchor + timedelta(milliseconds=round(time_s * 1000)))

    def epoch_s(self, time_s: float) -> float:
        """Seconds since 1970 of a time on the session's timeline."""
        return self.anchor.timestamp() + time_s

    def head(self, schema: str, time_s: float, seq: int) -> Payload:
        """The fields that all payloads begin with."""
        return {"schema": schema, "ts": self.ts(time_s), "session": self.session, "boot": self.boot, "seq": seq}


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions of the two models."""

    pixel: str
    landmark: str


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T12:00:00.000Z`; the moment must know its time zone."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """A moment from RFC 3339 text; without a zone it is UTC.

    Raises:
        ValueError: The text is no date and time, or not one at which anybody recorded a video.
    """
    moment = datetime.fromisoformat(text)
    if moment.year not in YEARS:
        msg = f"year: expected {YEARS[0]} to {YEARS[-1]}, got {moment.year}"
        raise ValueError(msg)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def encode(payload: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8; NaN and infinities are refused with a ValueError."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def distribution(probabilities: F64 | None) -> dict[str, float] | None:
    """Probabilities by class name; None stays None."""
    if probabilities is None:
        return None
    return {name: rounded(p) for name, p in zip(EMOTIONS, probabilities.tolist(), strict=True)}


def rounded(value: float) -> float:
    """Six digits; no negative zero."""
    return round(value, N_DIGITS) + 0.0


def _known(value: float | None) -> float | None:
    """Six digits of what is known."""
    return None if value is None else rounded(value)


def participant_emotion(reading: FusedReading, versions: Versions, stamp: Stamp, seq: int) -> Payload:
    """One participant in one second; without a face every reading is null, never neutral."""
    arms, affect = reading.arms, reading.valence_arousal
    return stamp.head(PARTICIPANT_EMOTION, float(arms.second), seq) | {
        "participant": arms.participant,
        "second": arms.second,
        "coverage": rounded(arms.coverage),
        "n_frames": arms.n_frames,
        "quality": _known(arms.quality),
        "probabilities": distribution(reading.probabilities),
        "top": reading.top,
        "confidence": _known(reading.confidence),
        "abstain": reading.abstain,
        "valence": None if affect is None else rounded(affect[0]),
        "arousal": None if affect is None else rounded(affect[1]),
        "affect_source": "derived",
        "sources": {"pixel": distribution(arms.pixel), "landmark": distribution(arms.landmark)},
        "weights": {"pixel": rounded(reading.weight_pixel), "landmark": rounded(reading.weight_landmark)},
        "models": {"pixel": versions.pixel, "landmark": versions.landmark},
        "heads": {"pixel": arms.heads.pixel, "landmark": arms.heads.landmark},
    }


def group_emotion(group: GroupReading, stamp: Stamp, seq: int) -> Payload:
    """The group in one second; what is not known is null.

    `polarisation` is the distance of the sub-groups and 0 in a group that is one; `engagement` says of every member
    whether attuned takes them for engaged, and on what grounds. Where only the group is told, nobody is named but the
    members, and `n_engaged` says how many were summed.
    """
    engagement, split = group.engagement, group.polarisation
    unnamed = {"n_engaged": group.n_unnamed} if group.n_unnamed else {}
    told = stamp.head(GROUP_EMOTION, float(group.second), seq) | {
        "second": group.second,
        "members": list(group.members),
        "engaged": list(group.engaged),
        "excluded": dict(group.excluded),
        "probabilities": distribution(group.probabilities),
        "denoised": distribution(group.denoised),
        "dominant": list(group.dominant),
        "deviation": {participant: rounded(d) for participant, d in group.deviation.items()},
        "clusters": None if split is None else [list(cluster) for cluster in split.clusters],
        "polarisation": None if split is None else rounded(split.distance),
        "type": engagement.type,
        "synchrony": _known(engagement.synchrony),
        "homogeneity": _known(engagement.homogeneity),
        "engagement": {
            member.participant: {
                "state": member.state,
                "correlation": _known(member.correlation),
                "lag_s": member.lag_s,
                "p_value": _known(member.p_value),
            }
            for member in engagement.members
        },
    }
    return told | unnamed


def event(happened: Event, stamp: Stamp, seq: int) -> Payload:
    """Something that happened.

    Raises:
        ValueError: The kind is none of `EVENT_KINDS`.
    """
    if happened.kind not in EVENT_KINDS:
        msg = f"event kind: expected one of {sorted(EVENT_KINDS)}, got {happened.kind!r}"
        raise ValueError(msg)
    return (
        stamp.head(EVENT, happened.time_s, seq)
        | {"kind": happened.kind, "second": int(happened.time_s), "participants": list(happened.participants)}
        | dict(happened.data)
    )


def replayed(payload: bytes) -> bytes:
    """An encoded payload that waited for the broker, marked `"replayed": true`; else the same, `seq` included."""
    return payload[:-1] + b',"replayed":true}'


def cleared(payload: bytes) -> bytes:
    """An encoded retained payload, marked `"cleared": true`: the last word before its topic goes from the broker."""
    return payload[:-1] + b',"cleared":true}'


def erased_event(payload: bytes) -> bytes:
    """What takes the place of an encoded event of somebody who was erased: its `seq` and time, and nothing else."""
    told: Payload = json.loads(payload)
    kept = {key: told[key] for key in ("schema", "ts", "session", "boot", "seq")}
    return encode(kept | {"kind": "erased", "second": told["second"], "participants": []})


def erased_group(payload: bytes, participant: str) -> bytes:
    """What takes the place of an encoded group reading in which somebody took part who was erased.

    Nothing is left but who else was there: the sum less the others' readings would tell the one that was erased.
    """
    told: Payload = json.loads(payload)
    kept = {key: told[key] for key in ("schema", "ts", "session", "boot", "seq", "second")}
    members = [member for member in told["members"] if member != participant]
    unknown = ("probabilities", "denoised", "clusters", "polarisation", "type", "synchrony", "homogeneity")
    return encode(
        kept
        | {"members": members, "engaged": [], "excluded": {}, "dominant": [], "deviation": {}, "engagement": {}}
        | dict.fromkeys(unknown)
        | {"erased": True}
    )


def outbox_discarded(
    last: Mapping[str, Any], reason: str, n: int, seqs: tuple[int | None, int | None], seq: int
) -> Payload:
    """Tells what the outbox's bounds discarded, where it would have been told.

    Args:
        last: Payload of the last event that was discarded; its time, session and boot are taken.
        reason: `size` or `age`.
        n: How many.
        seqs: Lowest and highest `seq` among them; other events between these two may have arrived.
        seq: Of this event.
    """
    return {key: last[key] for key in ("schema", "ts", "session", "boot")} | {
        "seq": seq,
        "kind": "outbox_discarded",
        "second": last["second"],
        "participants": [],
        "n": n,
        "reason": reason,
        "first_seq": seqs[0],
        "last_seq": seqs[1],
    }


def session_status(
    stamp: Stamp, time_s: float, seq: int, *, state: str, reason: str | None, purpose: str, basis: str = "consent"
) -> Payload:
    """The state of a session, why it is run, and on what legal basis."""
    why = {"purpose": purpose, "basis": basis}
    return stamp.head(SESSION_STATUS, time_s, seq) | {"state": state, "reason": reason} | why


def stopped_status(status: Mapping[str, Any]) -> Payload | None:
    """What the status of a session should have become when its process was killed; None when it had ended before."""
    if status["state"] in {"ended", "failed"}:
        return None
    told = {"seq": status["seq"] + 1, "state": "failed", "reason": "attuned stopped without a goodbye"}
    return dict(status) | told


def node_info(moment: datetime, boot: str, seq: int, node: Mapping[str, Any]) -> Payload:
    """What runs here."""
    return {"schema": NODE_INFO, "ts": rfc3339(moment), "boot": boot, "seq": seq} | dict(node)


def participant_model(
    participant: str, versions: Versions, stamp: Stamp, time_s: float, seq: int, *, heads: Heads = GENERIC_HEADS
) -> Payload:
    """Which models and heads read a participant."""
    return stamp.head(PARTICIPANT_MODEL, time_s, seq) | {
        "participant": participant,
        "models": {"pixel": versions.pixel, "landmark": versions.landmark},
        "heads": {"pixel": heads.pixel, "landmark": heads.landmark},
    }


def read_participant_emotion(payload: Mapping[str, Any]) -> FusedReading:
    """The reading that `participant_emotion` wrote, to its six digits.

    Raises:
        ValueError: The payload has another schema, or lacks a field.
    """
    if payload.get("schema") != PARTICIPANT_EMOTION:
        msg = f"schema: expected {PARTICIPANT_EMOTION!r}, got {payload.get('schema')!r}"
        raise ValueError(msg)
    try:
        arms = SecondReading(
            participant=payload["participant"],
            second=payload["second"],
            n_frames=payload["n_frames"],
            coverage=payload["coverage"],
            quality=payload["quality"],
            pixel=_vector(payload["sources"]["pixel"]),
            landmark=_vector(payload["sources"]["landmark"]),
            heads=Heads(payload["heads"]["pixel"], payload["heads"]["landmark"]),
        )
        weights, probabilities = payload["weights"], _vector(payload["probabilities"])
        return FusedReading(arms, weights["pixel"], weights["landmark"], probabilities, abstain=payload["abstain"])
    except (KeyError, TypeError) as error:
        msg = f"{PARTICIPANT_EMOTION}: missing or misshapen field {error}"
        raise ValueError(msg) from error


def _vector(by_name: Mapping[str, float] | None) -> F64 | None:
    """(7,) probabilities from class names."""
    if by_name is None:
        return None
    return frozen_array(np.array([by_name[name] for name in EMOTIONS], dtype=np.float64))
