"""Who agreed to be read: the gate between finding a tile and looking at the face in it."""

from collections.abc import Iterable

from config.settings import Consent


class ConsentGate:
    """Consent of the participants of one session.

    `declared`: everybody agreed beforehand, until they deny it. `required`: nobody did, until they grant it.

    Args:
        mode: How consent is given.
        answers: What participants said before the session began: granted or not.
    """

    def __init__(self, mode: Consent, answers: dict[str, bool] | None = None) -> None:
        self.mode = mode
        self._granted = dict(answers or {})

    def allows(self, participant: str) -> bool:
        """Whether the face of this participant may be looked at."""
        return self._granted.get(participant, self.mode == "declared")

    def set(self, participant: str, *, granted: bool) -> bool:
        """Notes what the participant said; whether that changes anything."""
        before = self.allows(participant)
        self._granted[participant] = granted
        return before != granted

    def fail_closed(self, participants: Iterable[str]) -> list[str]:
        """Ids may stand for other people now: who of these is no longer read until they agree again.

        Where everybody agreed beforehand and nobody has denied, it does not matter who is who.
        """
        if self.mode == "declared" and all(self._granted.values()):
            return []
        closed = [participant for participant in participants if self.allows(participant)]
        self.mode = "required"
        self._granted.clear()
        return closed
