"""Personalisation of running calls: samples from labels, trainings from samples, heads from trainings, and back again.

The daemon has one `Personalisation`: one trainer, and one thread that alone touches the disk. Each session has a
`PersonalSession`, which keeps the best face of each second for a minute; a label of that second, the group's or a
person's, makes a sample of it. What comes of a training is told with the next second.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import structlog

from daemon.personal_files import Kit, PersonalSettings
from daemon.personal_session import Person, PersonalSession
from daemon.session import to_the_end
from daemon.trainer import COMMAND, Outcome, Request, Trainer
from models.errors import ModelError
from models.personal.people import People
from models.personal.samples import Samples

T = TypeVar("T")

MAX_WORK: Final = 256
"""Pieces of work that wait for the disk; beyond it samples are dropped and counted."""

log = structlog.get_logger()


class Personalisation:
    """All sessions' personal heads: `async with Personalisation(…) as personal`, with `personal.run()` as a task.

    Args:
        folder: Where people's folders lie.
        kit: See `Kit`.
        count: Is told `promoted`, `rejected`, `failed` and `rolled_back`.
        busy: Why nothing may be trained now, or None.
        command: The training process.

    Attributes:
        n_dropped: Pieces of work for which the disk was too slow.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kit: Kit,
        settings: PersonalSettings,
        count: Callable[[str], None],
        busy: Callable[[], str | None] = lambda: None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.kit = kit
        self.settings = settings
        self.people = People(folder)
        self.count = count
        self.n_dropped = 0
        self._trainer = Trainer(
            load=kit.load, on_outcome=self._came, busy=busy, settings=settings.trainer, command=command
        )
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="personal")
        self._work: set[asyncio.Future[Any]] = set()
        self._training: dict[str, tuple[PersonalSession, Person]] = {}
        self._outcome = asyncio.Event()
        self._bug: BaseException | None = None
        self._is_refused = False
        self.sessions: list[PersonalSession] = []

    async def __aenter__(self) -> Self:
        await self.do(self.people.sweep)
        await self._trainer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._trainer.__aexit__(kind, error, trace)
        finally:
            await to_the_end(asyncio.to_thread(self._disk.shutdown))

    async def run(self) -> None:
        """Trains until it is cancelled; a bug in it reaches the sessions too, so that none waits for it in vain."""
        try:
            await self._trainer.run()
        except Exception as error:
            self._bug = error
            self._outcome.set()
            log.exception("personal training failed by a bug")
            raise

    async def forget(self, participant: str) -> bool:
        """Erases what is kept of a participant, in every session and on disk; the generic heads read on.

        Whether there was anything. The sessions that run keep nothing more of this person.

        Raises:
            OSError: The disk refuses.
            ValueError: It is no pseudonym.
        """
        # First of all nothing new begins.
        there = [person for session in self.sessions if (person := session.close_person(participant)) is not None]
        await self._trainer.drop(participant)
        self._training.pop(participant, None)
        self._outcome.set()

        def erase() -> bool:
            had = [person.files.close() for person in there]
            return self.people.forget(participant) or any(had)

        return await self.do(erase)

    def submit(self, session: PersonalSession, person: Person, samples: Samples) -> None:
        """Has a head trained; nothing happens while one is, or where too many wait."""
        if person.is_closed or person.files.folder is None or person.id in self._training:
            return
        kit, settings = self.kit, self.settings
        request = Request(person.id, person.files.folder, samples, settings.learner, kit.basis, kit.names)
        if self._trainer.submit(request):
            self._training[person.id] = (session, person)

    async def leave(self, session: PersonalSession, people: Iterable[Person]) -> None:
        """A session is over: who is known in it alone is forgotten, the others' trainings go on."""
        people = list(people)
        if self._work:  # what was said before the end is kept
            await asyncio.wait(self._work)
        for person in people:
            person.files.is_closed = True
        for person in people:
            if not person.is_stable and self._training.get(person.id, (None, None))[1] is person:
                await self._trainer.drop(person.id)
                self._training.pop(person.id, None)

        def close() -> None:
            for person in people:
                person.files.close()

        await self.do(close)
        self.sessions.remove(session)

    def bearers(self, session: PersonalSession, person: Person) -> list[tuple[PersonalSession, Person]]:
        """Where the same head reads: the session itself, and any other that knows the same stable person."""
        others = [
            (other, twin)
            for other in self.sessions
            if other is not session and person.is_stable and (twin := other.stable(person.id)) is not None
        ]
        return [(session, person), *others]

    def _came(self, outcome: Outcome) -> None:
        """A training is over."""
        session, person = self._training.pop(outcome.participant)
        self._outcome.set()
        self.count(outcome.kind)
        if outcome.version is not None:
            for where, who in self.bearers(session, person):
                where.serve(who, outcome.head, outcome.version)
        session.tell(outcome.event)

    # The disk

    async def do(self, work: Callable[[], T]) -> T:
        """Does what must be done, in turn; cancelled, it is done all the same.

        Raises what the work raises.
        """
        future = asyncio.get_running_loop().run_in_executor(self._disk, work)
        return await asyncio.shield(future)

    def hand(self, work: Callable[[], T], then: Callable[[T], None] = lambda _: None, *, must: bool = False) -> None:
        """Does it in turn while the loop goes on; `then` gets the result. `must`: also where too much waits."""
        if len(self._work) >= MAX_WORK and not must:
            self.n_dropped += 1
            if self.n_dropped == 1:
                log.warning("the disk is too slow for personal samples; some are dropped")
            return
        future = asyncio.get_running_loop().run_in_executor(self._disk, work)
        self._work.add(future)
        future.add_done_callback(partial(self._done, then))

    def _done(self, then: Callable[[Any], None], future: asyncio.Future[Any]) -> None:
        self._work.discard(future)
        error = future.exception()
        if error is None:
            self._is_refused = False
            then(future.result())
        elif isinstance(error, OSError | ModelError):
            # A full disk refuses every sample of everybody; once is enough until it takes one.
            if not self._is_refused:
                log.warning("personal data cannot be used", detail=str(error))
            self._is_refused = True
        else:
            self._bug = error

    async def settle(self) -> None:
        """Where a session is to wait: `finish`. A bug in what was handed over is raised here in any case."""
        if self.settings.waits:
            await self.finish()
        if self._bug is not None:
            raise self._bug

    async def finish(self) -> None:
        """Waits until nothing is under way; a bug in what was handed over is raised here."""
        while self._bug is None and (self._work or self._training):
            if self._work:
                await asyncio.wait(self._work)
                await asyncio.sleep(0)
            else:
                self._outcome.clear()
                await self._outcome.wait()
        if self._bug is not None:
            raise self._bug
