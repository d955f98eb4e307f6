"""Erasing a person: everywhere that this machine keeps something of them, and what is beyond it.

Erased are samples and heads, the history, what waits for the broker, retained topics, what pages show, and the folders
of `attuned analyze` that are remembered. What an export or a subscriber has taken away is theirs: it is named.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from daemon.audit import AuditLog
from daemon.erasure_folders import erase_from_folder, is_ours
from daemon.erasure_register import registered
from daemon.errors import FailedError
from daemon.page.live import LivePage
from daemon.personal import Personalisation
from daemon.session import Session
from daemon.sinks import outbox_file
from daemon.sinks.history import FILE as HISTORY
from daemon.sinks.history import History, erase_participant, open_history
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from models.personal.people import People
from models.personal.private import erase_file

PEOPLE: Final = "personal"
"""Folder of samples and heads in the state folder."""
LINKS: Final = "audit links"


@dataclass(slots=True)
class Erasure:
    """What came of erasing a participant.

    removed: how much of what is gone; later: what goes by itself, and when; unreachable: what may hold this person and
    is beyond us; failed: what should have gone and could not.
    """

    participant: str
    removed: dict[str, int] = field(default_factory=dict)
    later: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def is_any(self) -> bool:
        """Whether there was anything; that somebody asked for it is on record, and no more than that."""
        return any(n for what, n in self.removed.items() if what != LINKS)

    def count(self, what: str, n: int) -> None:
        """So much was removed."""
        if n:
            self.removed[what] = self.removed.get(what, 0) + n

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.participant,
            "erased": self.is_any,
            "removed": self.removed,
            "later": self.later,
            "unreachable": self.unreachable,
            "failed": self.failed,
        }


class Eraser:
    """Erases people from a running daemon.

    Args:
        state: The state folder.
        personal: None where it is switched off; what was gathered before is erased all the same.
        history: As above.
        outbox: Of events.
        mqtt: The way to the broker.
        page: The live page.
        sessions: Those that run.
        audit: Is told.
    """

    def __init__(
        self,
        state: Path,
        *,
        personal: Personalisation | None,
        history: History | None,
        outbox: Outbox,
        mqtt: MqttSink,
        page: LivePage,
        sessions: Callable[[], Iterable[Session]],
        audit: AuditLog,
    ) -> None:
        self._state = state
        self._personal = personal
        self._history = history
        self._outbox = outbox
        self._mqtt = mqtt
        self._page = page
        self._sessions = sessions
        self._audit = audit
        self._turn = asyncio.Lock()

    async def erase(self, participant: str, *, who: str, keep_link: bool = False) -> Erasure:
        """Erases a participant; one at a time.

        Args:
            participant: A pseudonym.
            who: Asked for it.
            keep_link: Whether the audit log goes on knowing whom it speaks of: their denial is to be provable.

        Raises:
            FailedError: The disk refuses.
            OSError: As above.
            ValueError: That is no pseudonym.
        """
        People(self._state / PEOPLE).find(participant)
        async with self._turn:
            done = Erasure(participant)
            for session in self._sessions():
                session.forget(participant)
            done.count("page", self._page.forget(participant))
            if self._personal is not None:
                done.count("heads and samples", await self._personal.forget(participant))
            else:
                done.count("heads and samples", await asyncio.to_thread(_people, self._state, participant))
            if self._history is not None:
                done.count("history rows", await self._history.forget(participant))
            else:
                done.count("history rows", await asyncio.to_thread(_history, self._state, participant))
            await self._messages(participant, done)
            await asyncio.to_thread(erase_files, self._state, participant, done)
            self._audit.note("erasure", who=who, participant=participant, removed=dict(done.removed))
            if not keep_link:
                done.count(LINKS, await self._audit.forget(participant))
            return done

    async def _messages(self, participant: str, done: Erasure) -> None:
        """What waits for the broker, and what it retains."""
        waiting = await self._outbox.forget_participant(participant)
        done.count("events", waiting.events)
        done.count("waiting readings", waiting.readings)
        n_left = await self._mqtt.erase(participant)
        if n_left:
            done.later.append(f"{n_left} retained topics: as soon as the broker is there")
        await self._outbox.scrub()


def erase_files(state: Path, participant: str, done: Erasure, *, more: Sequence[Path] = ()) -> None:
    """Erases a participant from files that no part of the daemon has open; adds to `done` what came of it.

    Args:
        state: The state folder.
        participant: Who.
        done: So far.
        more: Folders of `analyze` or `compare` that are not remembered, or were moved.
    """
    name = participant.encode()
    for path in sorted(state.glob("*.damaged-*")):
        # What could be read of it was taken over; what is left is erased whole.
        if name in path.read_bytes():
            erase_file(path)
            done.count("damaged files", 1)
    try:
        outputs = registered(state)
    except (OSError, ValueError) as error:
        outputs = []
        done.failed.append(f"folders of `attuned analyze` are not known: {error}")
    known = [Path(output.path) for output in outputs if output.kind == "analysis"]
    erase_folders([*known, *more], participant, done)
    for output in outputs:
        if output.kind == "export" and Path(output.path).is_dir():
            done.unreachable.append(
                f"{output.path}: an export of {output.ts}; delete it, or whoever it was given to does"
            )


def erase_folders(folders: Iterable[Path], participant: str, done: Erasure) -> None:
    """Erases a participant from folders of `analyze` or `compare`; adds to `done` what came of it."""
    for folder in dict.fromkeys(path.resolve() for path in folders):
        if not is_ours(folder):
            done.unreachable.append(f"{folder}: the analysis there was moved or deleted; name its folder if it is kept")
            continue
        try:
            done.count("folders", erase_from_folder(folder, participant))
        except (OSError, ValueError) as error:
            done.failed.append(f"{folder}: {error}")


def erase_offline(state: Path, participant: str, *, more: Sequence[Path] = ()) -> tuple[Erasure, list[str]]:
    """Erases a participant while no daemon runs; what came of it, and retained topics that the broker may still have.

    The caller holds the state folder's lock.

    Raises:
        FailedError: Something cannot be erased.
        ValueError: That is no pseudonym.
    """
    done = Erasure(participant)
    topics: list[str] = []
    try:
        done.count("heads and samples", _people(state, participant))
        done.count("history rows", _history(state, participant))
        topics = _outbox(state, participant, done)
        erase_files(state, participant, done, more=more)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{participant}: not all of it could be erased ({reason}); try again as the owner of the folder"
        raise FailedError(msg) from error
    return done, topics


def forget_topics(state: Path, topics: Sequence[str]) -> None:
    """The broker has these no more."""
    with closing(outbox_file.open_file(state / "outbox.sqlite")) as db:
        db.executemany("DELETE FROM retained WHERE topic = ?", [(topic,) for topic in topics])
        outbox_file.scrub(db)


def _people(state: Path, participant: str) -> int:
    people = People(state / PEOPLE)
    # What a crash left of others goes along.
    people.sweep()
    return int(people.forget(participant))


def _history(state: Path, participant: str) -> int:
    path = state / HISTORY
    if not path.exists():
        return 0
    with closing(open_history(path)) as db:
        return erase_participant(db, participant)


def _outbox(state: Path, participant: str, done: Erasure) -> list[str]:
    path = state / "outbox.sqlite"
    if not path.exists():
        return []
    with closing(outbox_file.open_file(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        found = outbox_file.erase_participant(db, participant)
        part = f"/participant/{participant}/"
        topics = [topic for (topic,) in db.execute("SELECT topic FROM retained WHERE instr(topic, ?)", (part,))]
        db.execute("UPDATE retained SET payload = ? WHERE instr(topic, ?)", (b"", part))
        db.execute("COMMIT")
        outbox_file.scrub(db)
    done.count("events", found.events)
    done.count("waiting readings", found.readings)
    return topics
