"""Who agreed to be read: the gate between finding a tile and looking at the face in it."""

from collections.abc import Iterable, Sequence
from typing import Literal

from config.sections import Consent
from pipeline.identity import Seat


class ConsentGate:
    """Consent of the participants of one session.

    `declared`: everybody agreed beforehand, until they deny it. `required`: nobody did, until they grant it. As soon
    as it matters who is who, only those are read who are known for certain.

    Args:
        mode: How consent is given.
        answers: What participants said before the session began: granted or not.
    """

    def __init__(self, mode: Consent, answers: dict[str, bool] | None = None) -> None:
        self.mode = mode
        self._granted = dict(answers or {})
        # Who denied in this very session, and may come back as somebody new.
        self._deniers: set[str] = set()
        # Who was seen beside all who denied, so that they are known not to be one of these.
        self._others: set[str] = set()
        self._assumed: dict[str, int] = {}

    def allows(self, participant: str) -> bool:
        """Whether this participant, when known for certain, may be looked at."""
        return self._granted.get(participant, self.mode == "declared")

    def state(self, participant: str) -> Literal["granted", "denied", "required"]:
        """What is known of this participant's consent."""
        if self.allows(participant):
            return "granted"
        return "denied" if participant in self._granted else "required"

    def set(self, participant: str, *, granted: bool) -> bool:
        """Notes what the participant said; whether that changes anything."""
        before = self.state(participant)
        self._granted[participant] = granted
        (self._deniers.discard if granted else self._deniers.add)(participant)
        return before != self.state(participant)

    def left(self, participants: Iterable[str]) -> list[str]:
        """Who of these is to be asked again when they come back, for ids of a room can be taken by others."""
        asked = [participant for participant in participants if self._granted.get(participant, False)]
        for participant in asked:
            del self._granted[participant]
        return [participant for participant in asked if not self.allows(participant)]

    def lapse(self, seats: Sequence[Seat]) -> list[str]:
        """Who of these is to be asked again, for whoever agreed may be somebody else.

        That is so where it was taken for granted, rather than seen, that somebody is who they were.
        """
        asked = []
        for seat in seats:
            if seat.assumed != self._assumed.get(seat.participant, 0):
                self._assumed[seat.participant] = seat.assumed
                self._others.discard(seat.participant)
                if self._granted.get(seat.participant, False):
                    del self._granted[seat.participant]
                    if not self.allows(seat.participant):
                        asked.append(seat.participant)
        return asked

    def readable(self, seats: Sequence[Seat]) -> frozenset[str]:
        """Whose faces may be looked at in this picture.

        Somebody who denied and is not to be seen may come back as somebody new: then nobody new is read who did not
        say yes, also where everybody else is said to have agreed.
        """
        if self.mode == "declared" and all(self._granted.values()):
            return frozenset(seat.participant for seat in seats)
        certain = frozenset(seat.participant for seat in seats if seat.certain)
        if self.mode == "required":
            return frozenset(p for p in certain if self._granted.get(p, False))
        if self._deniers <= certain:
            self._others |= certain
        return frozenset(p for p in certain if self._granted.get(p, p in self._others))


class Answers:
    """What people said outside of a session: kept for the next one of that name.

    A denial stays until it is taken back; an agreement is for one session. Where there are more than can be kept,
    sessions ask everybody: it is not known any more who denied.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int) -> None:
        self.is_full = False
        self._limit = limit
        self._said: dict[str, dict[str, bool]] = {}

    def note(self, session: str, participant: str, *, granted: bool, for_next: bool) -> None:
        """Somebody answered; `for_next`: there is no such session yet, so an agreement is for the next one."""
        said = self._said.setdefault(session, {})
        if granted and not for_next:
            said.pop(participant, None)
        elif participant in said or sum(map(len, self._said.values())) < self._limit:
            said[participant] = granted
        elif not granted:
            self.is_full = True
        if not said:
            del self._said[session]

    def take(self, session: str) -> dict[str, bool]:
        """What is known when a session begins; agreements are used up by it."""
        said = self._said.pop(session, {})
        denials = [participant for participant, granted in said.items() if not granted]
        if denials:
            self._said[session] = dict.fromkeys(denials, False)
        return said
