"""Who agreed to be read: the gate between finding a tile and looking at the face in it."""

from typing import Literal

Consent = Literal["required", "declared"]


class ConsentGate:
    """Consent of the participants of one session.

    `declared`: everybody agreed beforehand, until they deny it. `required`: nobody did, until they grant it.
    """

    def __init__(self, mode: Consent) -> None:
        self.mode = mode
        self._granted: dict[str, bool] = {}

    def allows(self, participant: str) -> bool:
        """Whether the face of this participant may be looked at."""
        return self._granted.get(participant, self.mode == "declared")

    def set(self, participant: str, *, granted: bool) -> bool:
        """Notes what the participant said; whether that changes anything."""
        before = self.allows(participant)
        self._granted[participant] = granted
        return before != granted
