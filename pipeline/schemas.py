"""JSON Schemas (draft 7) of every payload that `pipeline.wire` makes: the contract, for those who read it.

Objects are open: a later version may add keys, so who reads must not mind them. Distributions are closed.
"""

from collections.abc import Mapping
from typing import Any, Final, get_args

from pipeline import wire
from pipeline.emotions import EMOTIONS
from pipeline.types import EngagementState, GroupType

Schema = dict[str, Any]

STATES: Final = ("connecting", "waiting", "live", "reconnecting", "ended", "failed")
PURPOSES: Final = ("research", "healthcare", "safety", "personal", "demo")
BASES: Final = (
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_interest",
    "legitimate_interests",
)
TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
SHARE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}
SIGNED: Final[Schema] = {"type": "number", "minimum": -1, "maximum": 1}
DISTANCE: Final[Schema] = {"type": "number", "minimum": 0}
PARTICIPANT: Final[Schema] = {"type": "string", "pattern": "^p-[0-9a-f]{8}$"}
MOMENT: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
    "description": "UTC time of capture",
}
EMOTION: Final[Schema] = {"enum": list(EMOTIONS)}
GROUP_TYPE: Final[Schema] = {"enum": list(get_args(GroupType))}
DISTRIBUTION: Final[Schema] = {
    "type": "object",
    "description": "probabilities by class, sum 1",
    "properties": dict.fromkeys(EMOTIONS, SHARE),
    "required": list(EMOTIONS),
    "additionalProperties": False,
}


def record(properties: Mapping[str, Schema], description: str, *, optional: frozenset[str] = frozenset()) -> Schema:
    """Schema of an object that has these keys, and may have others."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": [key for key in properties if key not in optional],
    }


def array(items: Schema, description: str = "") -> Schema:
    """Schema of a list."""
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def by_participant(value: Schema, description: str) -> Schema:
    """Schema of an object whose keys are pseudonyms."""
    return {
        "type": "object",
        "description": description,
        "propertyNames": {"pattern": PARTICIPANT["pattern"]},
        "additionalProperties": value,
    }


def known(schema: Schema) -> Schema:
    """The same, or null for what is not known."""
    return {"oneOf": [{"type": "null"}, schema]}


def arms(value: Schema, description: str) -> Schema:
    """Something for each of the two models."""
    return record({"pixel": value, "landmark": value}, description)


def head(schema: str, *, session: bool = True) -> dict[str, Schema]:
    """The keys that every payload begins with."""
    keys: dict[str, Schema] = {"schema": {"const": schema}, "ts": MOMENT}
    if session:
        keys["session"] = TEXT
    keys["boot"] = TEXT | {"description": "another one after every start: except for events, `seq` begins anew with it"}
    keys["seq"] = WHOLE | {"description": "per topic; a gap is a loss, a repetition a duplicate"}
    return keys


REPLAYED: Final[Schema] = {"const": True, "description": "there when the message waited for the broker; else absent"}
CLEARED: Final[Schema] = {"const": True, "description": "there in the last message of a topic, which then goes"}
HEADS: Final = {"models": arms(TEXT, "name and version"), "heads": arms(TEXT, "generic, or which personal one")}

BASIS: Final[Schema] = {"enum": list(BASES), "description": "legal basis, GDPR Art. 6(1)"}

EVENT_DATA: Final[Mapping[str, Mapping[str, Schema]]] = {
    "session_started": {
        "purpose": {"enum": list(PURPOSES)},
        "basis": BASIS,
        "consent": {"enum": ["required", "declared"]},
    },
    "session_ended": {"reason": known(TEXT)},
    "source_lost": {"reason": known(TEXT)},
    "source_recovered": {},
    "participant_joined": {},
    "participant_left": {},
    "camera_off": {},
    "camera_on": {},
    "layout_changed": {"tiles": WHOLE},
    "consent_changed": {"state": {"enum": ["granted", "denied", "required"]}},
    "change": {"scope": {"enum": ["individual", "group"]}, "from": EMOTION, "to": EMOTION, "distance": SHARE},
    "dismissed": {"emotion": EMOTION, "seconds": WHOLE, "distance": SHARE},
    "group_type_changed": {"from": known(GROUP_TYPE), "to": known(GROUP_TYPE)},
    "polarised": {"polarised": {"type": "boolean"}, "clusters": array(array(PARTICIPANT)), "distance": DISTANCE},
    "erased": {},
    "outbox_discarded": {
        "n": known(WHOLE) | {"description": "null: not known, because the outbox was damaged"},
        "reason": {"enum": ["size", "age", "damaged"]},
        "first_seq": known(WHOLE),
        "last_seq": known(WHOLE),
    },
}
"""What an event of a kind says beyond its head; kinds that are not here say what they like."""


def event_schema(kind: str) -> Schema:
    """Schema of the events of a kind."""
    keys = head(wire.EVENT) | {"kind": {"const": kind}, "second": WHOLE, "participants": array(PARTICIPANT)}
    schema = record(
        keys | dict(EVENT_DATA.get(kind, {})) | {"replayed": REPLAYED},
        f"something happened: {kind.replace('_', ' ')}",
        optional=frozenset({"replayed"}),
    )
    return schema if kind in EVENT_DATA else schema | {"additionalProperties": True}


def participant_emotion_schema() -> Schema:
    """Schema of one participant in one second."""
    keys = head(wire.PARTICIPANT_EMOTION) | {
        "participant": PARTICIPANT,
        "second": WHOLE,
        "coverage": SHARE | {"description": "frames read / frames expected; 0 is absence, never neutral"},
        "n_frames": WHOLE,
        "quality": known(SHARE),
        "probabilities": known(DISTRIBUTION),
        "top": known(EMOTION),
        "confidence": known(SHARE),
        "abstain": {"type": "boolean", "description": "too unsure to be called an expression"},
        "valence": known(SIGNED),
        "arousal": known(SIGNED),
        "affect_source": TEXT | {"description": "derived: from the probabilities; else the model"},
        "sources": arms(known(DISTRIBUTION), "what each model says"),
        "weights": arms(SHARE, "of the two models, sum 1"),
        **HEADS,
        "replayed": REPLAYED,
    }
    return record(keys, "apparent emotion of one participant in one second", optional=frozenset({"replayed"}))


def group_emotion_schema() -> Schema:
    """Schema of the group in one second."""
    engagement = {
        "state": {"enum": list(get_args(EngagementState))},
        "correlation": known(SIGNED),
        "lag_s": known({"type": "integer"}),
        "p_value": known(SHARE),
    }
    keys = head(wire.GROUP_EMOTION) | {
        "second": WHOLE,
        "members": array(PARTICIPANT, "everybody in the call"),
        "engaged": array(PARTICIPANT, "whose distributions were summed"),
        "excluded": by_participant(TEXT, "why the others were not"),
        "probabilities": known(DISTRIBUTION),
        "denoised": known(DISTRIBUTION),
        "dominant": array(EMOTION),
        "deviation": by_participant(DISTANCE, "Euclidean distance of each engaged member to the group"),
        "clusters": known(array(array(PARTICIPANT), "sub-groups; empty: the group is one")),
        "polarisation": known(DISTANCE | {"description": "distance of the sub-groups; 0: the group is one"}),
        "type": known(GROUP_TYPE),
        "synchrony": known(SHARE | {"description": "how much pairs move at the same times: mean correlation"}),
        "homogeneity": known(SHARE | {"description": "how much they then move the same way"}),
        "engagement": by_participant(record(engagement, "who is engaged, on what grounds"), "per member"),
        "n_engaged": WHOLE | {"description": "there where only the group is told: how many were summed"},
        "erased": {"const": True, "description": "there where a member was erased; nothing else is told then"},
        "replayed": REPLAYED,
    }
    optional = frozenset({"n_engaged", "erased", "replayed"})
    return record(keys, "apparent emotion of the group in one second", optional=optional)


def schemas() -> dict[str, Schema]:
    """Schema of every payload by name: `participantEmotion`, …, and `event_<kind>` for each kind of event."""
    model = head(wire.PARTICIPANT_MODEL) | {"participant": PARTICIPANT, **HEADS, "cleared": CLEARED}
    status = {
        "state": {"enum": list(STATES)},
        "reason": known(TEXT),
        "purpose": {"enum": list(PURPOSES)},
        "basis": BASIS,
        "cleared": CLEARED,
    }
    node = {
        "node": TEXT,
        "version": TEXT,
        "models": arms(record({"version": TEXT, "sha256": TEXT}, "a model"), "that are used"),
        "purposes": array({"enum": list(PURPOSES)}),
        "basis": BASIS,
        "group_only": {"type": "boolean", "description": "whether nothing of an individual is told"},
        "cleared": CLEARED,
    }
    last = frozenset({"cleared"})
    return {
        "nodeInfo": record(head(wire.NODE_INFO, session=False) | node, "what runs on the node", optional=last),
        "sessionStatus": record(head(wire.SESSION_STATUS) | status, "state of a session", optional=last),
        "participantEmotion": participant_emotion_schema(),
        "participantModel": record(model, "which models and heads read a participant", optional=last),
        "groupEmotion": group_emotion_schema(),
        **{f"event_{kind}": event_schema(kind) for kind in sorted(wire.EVENT_KINDS)},
    }
