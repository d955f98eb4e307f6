"""The sessions of a node: begun from the configuration, a command or the API, each a task, none outliving the node."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from config.sections import Consent, SessionSection, SourceSection
from daemon.errors import AttunedError, SourceError
from daemon.personal_session import PersonalSession
from daemon.security import Guard
from daemon.session import Session, Sink
from daemon.sources.source import State
from daemon.sources.urls import kind_of, shown

log = structlog.get_logger()


class Shutdown(Exception):  # noqa: N818 (it is no error)
    """Raised in the task group when it is time to go."""


class RefusedError(AttunedError):
    """No session can be begun now: the name is taken, or there are too many; `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Plan:
    """A session that is to be run."""

    id: str
    """Stands in topics and metrics."""
    url: str = field(repr=False)
    purpose: str
    consent: Consent
    source: SourceSection
    participants: dict[str, str] = field(default_factory=dict)
    """Pseudonyms by name in the room."""
    anchor: datetime | None = None
    """UTC of the first picture of a recording; None: what the container says."""
    sinks: tuple[Sink, ...] = ()
    give_up_s: float | None = None
    """A live source that was never reached for so long is given up; None: never."""
    answers: dict[str, bool] = field(default_factory=dict)
    """Who agreed and who did not, as configured."""
    guard: Guard | None = None
    """Where it may lead; None: anywhere, because whoever runs attuned says so."""


def plan_of(session: SessionSection, source: SourceSection) -> Plan:
    """The plan of a configured session, whose own `source:` wins key by key.

    Raises:
        SourceError: Its address cannot be used.
    """
    own = {} if session.source is None else session.source.model_dump(exclude_unset=True)
    # A secret's own file stands against a secret that is set for all.
    own |= {key: None for key in ("password", "token", "pin") if f"{key}_file" in own and key not in own}
    kind = kind_of(session.url)
    return Plan(
        id=session.name,
        url=session.url,
        purpose=session.purpose,
        consent=session.consent or ("declared" if kind == "file" else "required"),
        source=SourceSection.model_validate(source.model_dump() | own),
        participants=dict(session.participants),
        answers=dict.fromkeys(session.granted, True) | dict.fromkeys(session.denied, False),
    )


@dataclass(slots=True, eq=False)
class Entry:
    """A session and what became of it."""

    plan: Plan
    session: Session | None = None
    personal: PersonalSession | None = None
    failure: SourceError | None = None
    task: asyncio.Task[None] | None = None
    is_vital: bool = False
    """Whether its failure is the failure of all."""

    @property
    def state(self) -> State:
        """Where it stands."""
        is_done = self.task is not None and self.task.done()
        if self.session is not None and not (is_done and self.session.state not in {"ended", "failed"}):
            return self.session.state
        if is_done and self.failure is None:
            return "ended"
        return "failed" if self.failure is not None else "connecting"

    @property
    def reason(self) -> str | None:
        """Why it is there."""
        if self.session is not None and self.session.reason is not None:
            return self.session.reason
        if self.failure is None:
            return None
        # Names of files hold names of people.
        path = "" if "://" in self.plan.url else f"{self.plan.url}: "
        return str(self.failure).removeprefix(path)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in {"ended", "failed"}

    def told(self) -> dict[str, object]:
        """As the API tells it: no credentials, no path."""
        plan = self.plan
        url = shown(plan.url) if "://" in plan.url else "recording"
        return {
            "id": plan.id,
            "state": self.state,
            "reason": self.reason,
            "url": url,
            "purpose": plan.purpose,
            "consent": plan.consent,
        }


class Sessions:
    """Begins, finds and ends sessions while `run` runs.

    Args:
        play: Runs one session to its end; sets `session` of its entry.
        limit: How many may run at a time.
        keep: How many that are over are remembered; the oldest are forgotten.
        on_forget: Is told whose turn it was.
    """

    def __init__(
        self, play: Callable[[Entry], Awaitable[None]], *, limit: int, keep: int, on_forget: Callable[[str], None]
    ) -> None:
        self._on_forget = on_forget
        self._play = play
        self.limit = limit
        self.keep = keep
        self._tasks: asyncio.TaskGroup | None = None
        self.started = asyncio.Event()
        """Set as soon as sessions can be begun."""
        self.entries: dict[str, Entry] = {}

    def begin(self, plan: Plan, *, is_vital: bool = False) -> Entry:
        """Begins a session; whether all is over when it fails.

        Raises:
            RefusedError: Its name belongs to one that runs, or there are too many, or the node stops.
        """
        if self._tasks is None:
            msg = "attuned is starting or stopping; ask again in a moment"
            raise RefusedError(msg, status=503)
        before = self.entries.get(plan.id)
        if before is not None and not before.is_over:
            msg = f"a session {plan.id} is running; end it first, or give another name"
            raise RefusedError(msg, status=409)
        if sum(not entry.is_over for entry in self.entries.values()) >= self.limit:
            msg = f"{self.limit} sessions are running; end one, or raise limits.sessions"
            raise RefusedError(msg, status=503)
        self.entries.pop(plan.id, None)
        entry = self.entries[plan.id] = Entry(plan, is_vital=is_vital)
        over = [name for name, other in self.entries.items() if other.is_over]
        for name in over[: max(0, len(over) - self.keep)]:
            del self.entries[name]
            self._on_forget(name)
        entry.task = self._tasks.create_task(self._run(entry), name=f"session[{plan.id}]")
        return entry

    async def end(self, name: str) -> Entry | None:
        """Ends a session and returns when it has; None where there is none."""
        entry = self.entries.get(name)
        if entry is not None and entry.task is not None and not entry.task.done():
            if not entry.task.cancelling():
                entry.task.cancel()
            await asyncio.wait([entry.task])
        return entry

    async def replace(self, before: Sequence[Plan], after: Sequence[Plan]) -> None:
        """Ends the sessions of some plans, if it is they that run under these names, and begins others.

        What cannot be begun is logged.
        """
        gone = [plan.id for plan in before if plan.id in self.entries and self.entries[plan.id].plan == plan]
        await asyncio.gather(*(self.end(name) for name in gone))
        for plan in after:
            try:
                self.begin(plan)
            except RefusedError as error:
                log.error("session not begun", session=plan.id, reason=str(error))  # noqa: TRY400 (no traceback for users)

    async def run(self, plans: Sequence[Plan], *, stay: bool, stop: asyncio.Event) -> None:
        """Runs these and whatever is begun meanwhile, until all have ended, or until `stop` when it is to stay.

        Raises:
            SourceError: A source cannot be opened or reached; when it is to stay this is logged instead.
        """

        async def stopper() -> None:
            await stop.wait()
            self._tasks = None
            raise Shutdown

        try:
            async with asyncio.TaskGroup() as tasks:
                stopping = tasks.create_task(stopper(), name="stop")
                self._tasks = tasks
                self.started.set()
                begun = [self.begin(plan, is_vital=not stay) for plan in plans]
                running = [entry.task for entry in begun if entry.task is not None]
                if running:
                    await asyncio.wait(running)
                if not stay:
                    stopping.cancel()
                    for name in list(self.entries):
                        await self.end(name)
        except* Shutdown:
            log.info("stopping")
        finally:
            self._tasks = None

    async def _run(self, entry: Entry) -> None:
        """One session, from opening its source to its end."""
        plan = entry.plan
        try:
            await self._play(entry)
        except SourceError as error:
            entry.failure = error
            if entry.is_vital:
                raise
            log.error("session failed", session=plan.id, reason=entry.reason)  # noqa: TRY400 (no traceback for users)
        except Exception:
            # A bug in one call does not take the others down.
            entry.failure = SourceError("internal error; the log says more")
            if entry.is_vital:
                raise
            log.exception("session failed by a bug", session=plan.id)
