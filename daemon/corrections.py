"""What a person says that somebody expressed: a bare class name for the last second, or JSON with a span of seconds."""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from pipeline.emotions import EMOTIONS

MAX_SPAN_S: Final = 600
"""Seconds of one correction, and how far into the future it may reach."""


@dataclass(frozen=True, slots=True)
class Correction:
    """An expression and the seconds in which it was shown, both included; None: the last second that closed."""

    emotion: str
    seconds: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What stands in a `label/set` message: `sadness`, or `{"emotion": "sadness", "from": 10, "to": 12}`.

        Raises:
            ValueError: It is neither.
        """
        text = text.strip()
        if not text.startswith("{"):
            return cls.of({"emotion": text})
        try:
            return cls.of(json.loads(text))
        except RecursionError as error:
            msg = "is no JSON object with emotion, from and to"
            raise ValueError(msg) from error

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The correction of a JSON object; without `to` it is for the second `from` alone.

        Raises:
            ValueError: A field is missing, strange or out of range.
        """
        strange = fields.keys() - {"emotion", "from", "to"}
        if strange:
            msg = f"{min(strange)!r:.40}: no such field; give emotion, from and to"
            raise ValueError(msg)
        emotion, first, last = fields.get("emotion"), fields.get("from"), fields.get("to", fields.get("from"))
        if emotion not in EMOTIONS:
            msg = f"emotion: expected one of {', '.join(EMOTIONS)}, got {emotion!r:.40}"
            raise ValueError(msg)
        if first is None and last is None:
            return cls(emotion)
        # `bool` is an `int` in Python; in JSON it is none.
        if type(first) is not int or type(last) is not int or not 0 <= first <= last < first + MAX_SPAN_S:
            msg = f"from, to: expected whole seconds, to not before from, {MAX_SPAN_S} at most"
            raise ValueError(msg)
        return cls(emotion, (first, last))
