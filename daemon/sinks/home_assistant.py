"""Home Assistant's MQTT discovery: one device per node, by one retained message.

The format is Home Assistant's device-based discovery (since 2024.11): `device`, `origin` and `components`. An empty
message on the same topic removes the device.
"""

from dataclasses import dataclass
from typing import Any, get_args

from pipeline import wire
from pipeline.emotions import EMOTIONS
from pipeline.types import GroupType

MIXED = "mixed"
"""What the group's emotion is where no class dominates."""
EXPIRE_S = 30
"""A sensor that has heard nothing for so long is unavailable: there is no group just now."""


@dataclass(frozen=True, slots=True)
class HomeAssistant:
    """What Home Assistant is told of this node.

    Args:
        topics: Of the node.
        version: Of attuned.
        prefix: Where Home Assistant looks for discovery.
        sessions: Each gets sensors of its own; none named: one set shows whichever session runs.
        remove_on_exit: Whether the device goes when attuned ends, and comes again with it.
    """

    topics: wire.Topics
    version: str
    prefix: str = "homeassistant"
    sessions: tuple[str, ...] = ()
    remove_on_exit: bool = False

    @property
    def topic(self) -> str:
        """Where the device is announced, retained."""
        return f"{self.prefix}/device/{self._id}/config"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it is `online`."""
        return f"{self.prefix}/status"

    @property
    def _id(self) -> str:
        return f"attuned_{self.topics.node}"

    def payload(self) -> bytes:
        """The message that announces the device."""
        available = {
            "platform": "binary_sensor",
            "unique_id": f"{self._id}_availability",
            "name": "Availability",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.topics.availability,
            "payload_on": "online",
            "payload_off": "offline",
        }
        components = {"availability": available}
        for session in self.sessions or (None,):
            components |= self._sensors(session)
        message = {
            "device": {
                "identifiers": [self._id],
                "name": f"attuned {self.topics.node}",
                "manufacturer": "attuned",
                "model": "group expression reader",
                "sw_version": self.version,
            },
            "origin": {"name": "attuned", "sw_version": self.version},
            "components": components,
            "qos": 1,
        }
        return wire.encode(message)

    def _sensors(self, session: str | None) -> dict[str, dict[str, Any]]:
        """Sensors of a session, or of every session."""
        tail, title = ("", "") if session is None else (f"_{session.replace('.', '_')}", f" {session}")
        common = {
            "platform": "sensor",
            "state_topic": self.topics.group_emotion(session or "+"),
            "availability_topic": self.topics.availability,
            "expire_after": EXPIRE_S,
        }
        sensors: dict[str, dict[str, Any]] = {
            "group_emotion": {
                "name": "Group emotion",
                "icon": "mdi:emoticon-outline",
                "device_class": "enum",
                "options": [*EMOTIONS, MIXED],
                "value_template": _largest(),
                "json_attributes_topic": common["state_topic"],
                "json_attributes_template": (
                    "{{ {'session': value_json.session, 'dominant': value_json.dominant,"
                    " 'probabilities': value_json.probabilities} | tojson }}"
                ),
            },
            "group_type": {
                "name": "Group type",
                "icon": "mdi:account-group",
                "device_class": "enum",
                "options": list(get_args(GroupType)),
                # Home Assistant takes the word None for "unknown".
                "value_template": "{{ value_json.type }}",
            },
            "synchrony": {
                "name": "Synchrony",
                "icon": "mdi:sync",
                "unit_of_measurement": "%",
                "state_class": "measurement",
                "value_template": (
                    "{{ None if value_json.synchrony is none else (value_json.synchrony * 100) | round(0) }}"
                ),
            },
            "participants": {
                "name": "Participants",
                "icon": "mdi:account-multiple",
                "state_class": "measurement",
                "value_template": "{{ value_json.members | count }}",
            },
        }
        return {
            f"{key}{tail}": common
            | sensor
            | {"name": f"{sensor['name']}{title}", "unique_id": f"{self._id}_{key}{tail}"}
            for key, sensor in sensors.items()
        }


def _largest() -> str:
    """A template for the largest of the dominant classes; None where nobody is read."""
    return (
        "{% set p = value_json.probabilities %}{% set d = value_json.dominant %}"
        "{% if p is none %}None{% elif d %}"
        "{{ (p.items() | selectattr(0, 'in', d) | sort(attribute=1, reverse=true) | first)[0] }}"
        "{% else %}" + MIXED + "{% endif %}"
    )
