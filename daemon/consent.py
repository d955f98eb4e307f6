"""Who agreed to be read: the gate between finding a tile and looking at the face in it."""

import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from config.sections import Consent
from models.personal.private import write_private
from pipeline.seating import Seat

SEEN_MAX: Final = 1024
"""People of a gallery of whom a gate remembers where it saw them; of further ones it knows less, and asks."""


class ConsentGate:
    """Consent of the participants of one session.

    `declared`: everybody agreed beforehand, until they deny it. `required`: nobody did, until they grant it. As soon
    as it matters who is who, only those are read who are known for certain.

    Args:
        mode: How consent is given.
        answers: What participants said before the session began: granted or not.
        denied_before: Whether somebody denied in an earlier run of attuned and has said nothing since.
    """

    def __init__(
        self,
        mode: Consent,
        answers: Mapping[str, bool] | None = None,
        denied_before: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.mode = mode
        self._granted = dict(answers or {})
        self._denied_before = denied_before
        # Who denied in this very session, and may come back as somebody new.
        self._deniers: set[str] = set()
        # Who was seen beside all who denied, so that they are known not to be one of these.
        self._others: set[str] = set()
        self._assumed: dict[str, int] = {}
        # Deniers of whom it was taken for granted that they still are who they were: they may be somebody else, too.
        self._unsure: set[str] = set()

    def allows(self, participant: str) -> bool:
        """Whether this participant, when known for certain, may be looked at."""
        self._recall(participant)
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
        self._unsure.discard(participant)
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
            before = self._assumed.pop(seat.participant, 0)
            if seat.assumed:
                self._assumed[seat.participant] = seat.assumed
            if seat.assumed != before:
                self._others.discard(seat.participant)
                self._unsure |= self._deniers & {seat.participant}
                if self._granted.get(seat.participant, False):
                    del self._granted[seat.participant]
                    if not self.allows(seat.participant):
                        asked.append(seat.participant)
        while len(self._assumed) > max(SEEN_MAX, len(seats)):
            # Who was seen least lately; back again, they are asked again.
            del self._assumed[next(iter(self._assumed))]
        return asked

    def readable(self, seats: Sequence[Seat]) -> frozenset[str]:
        """Whose faces may be looked at in this picture.

        Somebody who denied and is not to be seen may come back as somebody new: then nobody new is read who did not
        say yes, also where everybody else is said to have agreed.
        """
        for seat in seats:
            self._recall(seat.participant)
        if self.mode == "declared" and all(self._granted.values()):
            return frozenset(seat.participant for seat in seats)
        certain = frozenset(seat.participant for seat in seats if seat.certain)
        if self.mode == "required":
            return frozenset(p for p in certain if self._granted.get(p, False))
        if self._deniers <= certain - self._unsure:
            self._others = self._others | certain if len(self._others) < SEEN_MAX else set(certain)
        return frozenset(p for p in certain if self._granted.get(p, p in self._others))

    def _recall(self, participant: str) -> None:
        """A denial of an earlier run stands until it is taken back."""
        if participant not in self._granted and self._denied_before(participant):
            self._granted[participant] = False


class Denials:
    """Who denied, across restarts: `denials.json` in the state folder, mode 0600, with no pseudonym in it.

    What stands there is an HMAC of session and pseudonym under the node's secret: it tells whether a given person denied,
    and nobody can read from it who did. Somebody who is erased stays refused.

    Args:
        path: The file.
        secret: The node's.
        limit: How many are kept; beyond it `is_full`, and then everybody is to be asked.

    Raises (every method):
        OSError: The disk refuses.
        ValueError: The file is none of ours.
    """

    def __init__(self, path: Path, secret: bytes, limit: int) -> None:
        self._path, self._secret, self._limit = path, secret, limit
        marks = json.loads(path.read_bytes()) if path.exists() else []
        self._marks: dict[str, None] = dict.fromkeys(map(str, marks))
        self.is_full = len(self._marks) > limit

    def has(self, session: str, participant: str) -> bool:
        """Whether this participant denied in a session of that name."""
        return self._mark(session, participant) in self._marks

    def note(self, session: str, participant: str, *, granted: bool) -> bool:
        """Somebody answered; whether the file is to be written."""
        mark = self._mark(session, participant)
        if granted == (mark not in self._marks):
            return False
        if granted:
            del self._marks[mark]
        else:
            self._marks[mark] = None
            self.is_full = self.is_full or len(self._marks) > self._limit
        return True

    def write(self) -> None:
        """Puts on the disk what is known; not in the event loop."""
        write_private(self._path, json.dumps(list(self._marks)[: self._limit + 1]).encode())

    def _mark(self, session: str, participant: str) -> str:
        return hmac.new(self._secret, f"denied:{session}:{participant}".encode(), sha256).hexdigest()


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
