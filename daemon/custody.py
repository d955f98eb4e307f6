"""What a running daemon owes those it reads: agreement and access are on record, and nothing is kept too long."""

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiohttp import web

from config.settings import Settings
from daemon.audit import AuditFile, AuditLog
from daemon.consent import ConsentGate, Denials
from daemon.erasure import PEOPLE, Eraser, Erasure
from daemon.errors import FailedError, UnusableInputError
from daemon.personal import Personalisation
from daemon.session import SessionInfo
from daemon.sessions import Plan
from daemon.sinks.history import DAY_S, FILE, History, open_history, trim
from daemon.sinks.outbox import Outbox
from daemon.sources.source import State
from models.personal.basis import Basis
from models.personal.buffer import Buffer
from models.personal.people import People
from models.personal.private import erase_file
from pipeline.types import CallSecond, Event

log = structlog.get_logger()

RETRY_S: Final = 5.0
"""How soon the disk is asked again after it refused who denied."""
EVERY_S: Final = 3600.0
"""How often what is too old is looked for."""
ACCESS_S: Final = 60.0
"""The same caller asking for the same is one entry in so long."""
CALLERS_MAX: Final = 1000
DENIALS_MAX: Final = 100_000
TOLD: Final = frozenset({"head_promoted", "head_rejected", "head_rolled_back"})


def audit_file(settings: Settings, folder: Path) -> AuditFile:
    """The audit log of a state folder, bounded as configured."""
    return AuditFile(folder, days=settings.audit.days, max_entries=settings.audit.max_entries)


class Custody:
    """`async with Custody(settings, folder, secret) as custody`, then `bind`, and `run` as a task.

    Args:
        settings: Of the daemon.
        folder: Its state folder.
        secret: The node's.

    Raises (on entering):
        UnusableInputError: Its files cannot be used.
    """

    def __init__(self, settings: Settings, folder: Path, secret: bytes) -> None:
        self._settings = settings
        self._folder = folder
        self._secret = secret
        self._audit = AuditLog(audit_file(settings, folder))
        self._eraser: Eraser | None = None
        self._seen: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._unwritten = asyncio.Event()

    async def __aenter__(self) -> Self:
        path = self._folder / "denials.json"
        try:
            self._denials = await asyncio.to_thread(Denials, path, self._secret, DENIALS_MAX)
        except (OSError, ValueError) as error:
            msg = f"{path}: cannot be read ({error}), and it says who is not to be read; restore it"
            raise UnusableInputError(msg) from error
        await self._audit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unwritten.is_set():
            await self._write_denials()
        await self._audit.__aexit__(kind, error, trace)

    def bind(self, eraser: Callable[[AuditLog], Eraser]) -> None:
        """Erasing is done by this from now on."""
        self._eraser = eraser(self._audit)

    def gate(self, plan: Plan, answers: dict[str, bool], *, ask: bool) -> ConsentGate:
        """Who may be looked at in a session: what people said goes before what is configured; `ask`: ask everybody."""
        mode = "required" if ask or self._denials.is_full else plan.consent
        refused = {who: False for who, granted in plan.answers.items() if not granted}
        return ConsentGate(mode, plan.answers | answers | refused, partial(self._denials.has, plan.id))

    async def consent(self, session: str, participant: str, *, granted: bool, via: str) -> None:
        """Puts on record what somebody said; a denial is on the disk when this returns, unless the disk refuses.

        Then it counts all the same, and is written as soon as there is room.
        """
        state = "granted" if granted else "denied"
        self._audit.note("consent", who=via, participant=participant, session=session, state=state)
        if self._denials.note(session, participant, granted=granted):
            await self._write_denials()

    async def _write_denials(self) -> None:
        try:
            await asyncio.to_thread(self._denials.write)
        except OSError as error:
            if not self._unwritten.is_set():
                log.warning("the disk refuses who denied; it is asked again, and the denial holds", error=str(error))
            self._unwritten.set()
        else:
            self._unwritten.clear()

    async def _rewrite_denials(self) -> None:
        while True:
            await self._unwritten.wait()
            await asyncio.sleep(RETRY_S)
            await self._write_denials()

    async def erase(self, participant: str, *, who: str, keep_link: bool = False) -> Erasure:
        """See `Eraser.erase`."""
        if self._eraser is None:
            msg = "attuned is starting; ask again in a moment"
            raise FailedError(msg)
        done = await self._eraser.erase(participant, who=who, keep_link=keep_link)
        for failure in done.failed:
            log.error("somebody could not be erased everywhere", detail=failure)
        return done

    def on_access(self, request: web.Request, let_in: bool) -> None:  # noqa: FBT001 (a callback)
        """A request that may have to do with people."""
        resource = request.match_info.route.resource
        route = "unknown" if resource is None else resource.canonical
        session, participant = (request.match_info.get(key) for key in ("id", "participant"))
        what = "access" if let_in else "access refused"
        said = (what, request.method, route, session or "", participant or "", request.remote or "")
        now = time.monotonic()
        if now - self._seen.get(said, -ACCESS_S) < ACCESS_S:
            return
        self._seen.pop(said, None)
        self._seen[said] = now
        while len(self._seen) > CALLERS_MAX:
            self._seen.popitem(last=False)
        known = participant if participant is not None and _is_pseudonym(participant) else None
        about = {} if session is None else {"session": session[:64]}
        self._audit.note(
            what, who="http", participant=known, method=request.method, route=route, address=said[-1], **about
        )

    # A sink of sessions

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """Stands in its events."""

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Only its events matter here."""
        await self.events(info, second.events)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Sessions that begin, agreements that lapse, and what became of heads."""
        for event in events:
            if event.kind == "session_started":
                self._audit.note("session", who="daemon", session=info.id, **event.data)
            elif event.kind == "consent_changed" and event.data["state"] == "required":
                for who in event.participants:
                    self._audit.note("consent", who="daemon", participant=who, session=info.id, state="required")
            elif event.kind in TOLD:
                for who in event.participants:
                    self._audit.note(event.kind, who="daemon", participant=who, session=info.id)

    # Retention

    async def run(
        self, *, personal: Personalisation | None, history: History | None, outbox: Outbox, every_s: float = EVERY_S
    ) -> None:
        """Erases what is too old, now and every hour, until it is cancelled; what the disk refuses is tried again."""
        settings = self._settings
        days, max_bytes = settings.history.days, settings.history.max_mb * 2**20
        keep_days = settings.personal.keep_days
        work: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = [
            ("audit", self._audit.trim),
            ("outbox", outbox.expire),
            (
                "history",
                partial(asyncio.to_thread, trim_closed, self._folder / FILE, days, max_bytes)
                if history is None
                else history.trim,
            ),
            (
                "samples",
                partial(asyncio.to_thread, expire_people, self._folder / PEOPLE, None, keep_days)
                if personal is None
                else partial(personal.do, partial(expire_people, self._folder / PEOPLE, personal.kit.basis, keep_days)),
            ),
        ]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._rewrite_denials(), name="denials")
            while True:
                for what, erase in work:
                    try:
                        await erase()
                    except (OSError, FailedError, sqlite3.Error, ValueError) as error:
                        log.warning("what is too old cannot be erased", what=what, error=str(error))
                await asyncio.sleep(every_s)


def trim_closed(path: Path, days: float, max_bytes: int) -> None:
    """Erases what is too old from a history that is switched off and was on once.

    Raises:
        FailedError: A newer attuned wrote it.
        OSError, sqlite3.Error: The disk refuses, or it is damaged.
    """
    if path.exists():
        with closing(open_history(path)) as db:
            trim(db, time.time() - days * DAY_S, max_bytes)


def expire_people(folder: Path, basis: Basis | None, keep_days: float, now: Callable[[], float] = time.time) -> int:
    """Erases samples that are too old, also of people who do not come any more, and people of whom all is; how many.

    Args:
        folder: Where people's folders lie.
        basis: Of the models in use; samples of others go when their file is too old. None: none are in use.
        keep_days: For how long.
        now: Seconds since 1970.

    Raises:
        OSError: The disk refuses.
    """
    people, limit_s, n = People(folder), now() - keep_days * DAY_S, 0
    for participant in people.known():
        own = people.root / participant
        files = [path for path in own.rglob("*") if path.is_file()]
        if all(path.stat().st_mtime < limit_s for path in files):
            people.forget(participant)
            n += 1
            continue
        for path in own.glob("samples-*.sqlite"):
            if basis is not None and path.name == f"samples-{basis.key}.sqlite":
                with Buffer(own, basis=basis, keep_days=keep_days, clock=now):
                    pass  # opening it erases what is too old
            elif path.stat().st_mtime < limit_s:
                for tail in ("-wal", "-shm", ""):
                    erase_file(path.with_name(path.name + tail))
    return n


def _is_pseudonym(text: str) -> bool:
    return len(text) == 10 and text.startswith("p-") and set(text[2:]) <= set("0123456789abcdef")  # noqa: PLR2004
