"""Trains personal heads in the background, one at a time, in a process of its own.

A request is a snapshot of a participant's samples. The process may break, hang, be killed or write nonsense: then one
outcome says why, the head that served goes on serving, and the buffer is as it was, since no process ever sees it.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import structlog

from daemon.training_process import OUT_OF_MEMORY
from models.errors import ModelError
from models.personal.attempts import Attempt, note_attempt
from models.personal.basis import Basis
from models.personal.gate import DEFAULT_GATE, GateSettings
from models.personal.monitor import Harm
from models.personal.people import HEADS, JOB
from models.personal.private import erase_folder, private_folder
from models.personal.samples import Samples
from models.personal.store import MAX_VERSIONS, Store, Version
from models.personal.training import CANDIDATE, Job, Result, read_result, write_job
from pipeline.types import Event

T = TypeVar("T")

COMMAND: Final = (sys.executable, "-m", "daemon.training_process")
_LOOK_S: Final = 0.25
_STDERR: Final = "stderr.txt"
_STDERR_BYTES: Final = 4096

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """Bounds of the trainer.

    max_waiting: requests that wait; beyond it they are refused and counted.
    memory_mb, cpu_s: limits that the process puts on itself. wall_s: running time after which it is killed.
    patience_s: the same, the time included in which it was stopped because the machine was busy.
    max_versions: heads of each participant that are kept.
    """

    max_waiting: int = 8
    memory_mb: int = 1024
    cpu_s: int = 120
    wall_s: float = 300.0
    patience_s: float = 1800.0
    max_versions: int = MAX_VERSIONS
    gate: GateSettings = DEFAULT_GATE


DEFAULT_TRAINER: Final = TrainerSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A snapshot to train on: whose, what kind of head, for which models (and their names in the manifest)."""

    participant: str
    folder: Path
    samples: Samples
    learner: str
    basis: Basis
    names: tuple[str, str] = ("pixel", "landmark")
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a request: a version that may serve now, and its head as it was loaded; or the reasons against it."""

    participant: str
    learner: str
    reasons: tuple[str, ...] = ()
    result: Result | None = None
    version: Version | None = None
    head: Any = None

    @property
    def kind(self) -> str:
        """`promoted`; `rejected`, by the gate; `failed`, since the training broke or what came of it cannot be kept."""
        if self.version is not None:
            return "promoted"
        return "failed" if self.result is None else "rejected"

    def event(self, time_s: float) -> Event:
        """`head_promoted` or `head_rejected`."""
        verdict = {} if self.result is None else dict(self.result.verdict)
        data: dict[str, Any] = {"learner": self.learner, "reasons": list(self.reasons), "verdict": verdict}
        if self.version is None:
            return Event("head_rejected", time_s, (self.participant,), data)
        return Event("head_promoted", time_s, (self.participant,), data | {"version": self.version.name})


def rolled_back(participant: str, harm: Harm, time_s: float) -> Event:
    """`head_rolled_back`, for what the live monitor found."""
    data = {
        "version": harm.version,
        "reasons": [harm.reason],
        "blocks": harm.n_blocks,
        "worse_by": harm.worse_by,
        "serves": "generic",
    }
    return Event("head_rolled_back", time_s, (participant,), data)


def why_busy(
    p95_s: float | None, load: float, *, max_p95_s: float, max_load_per_core: float, cores: int | None = None
) -> str | None:
    """Why a training should wait; None when the machine can take one.

    p95_s: of the time from a second's end to its publishing, None while there is none. load: runnable processes, such
    as `os.getloadavg()[0]`.
    """
    if p95_s is not None and p95_s > max_p95_s:
        return f"readings are {p95_s:.2f} s late"
    cores = cores or os.cpu_count() or 1
    if load > max_load_per_core * cores:
        return f"load {load:.1f} on {cores} cores"
    return None


class _StoppedError(Exception):
    """The training did not come to a result; the message is the reason that is told."""


@dataclass(slots=True)
class _Running:
    """The request that is being worked on."""

    participant: str
    dropped: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Trainer:
    """Works off requests: `async with Trainer(…) as trainer`, with `trainer.run()` as one task of the owner's group.

    Args:
        load: Opens a candidate as it would serve, such as `catalogue.load_learner`; raises ModelError.
        on_outcome: Is told of every attempt, on the event loop.
        busy: Why nothing may be trained now, or None; asked before a training and while it runs.
        command: The process, to which the folder and the limits are appended.
        clock: Seconds since the epoch, for when a version was made.

    Attributes:
        n_refused: Requests for which there was no room.
    """

    def __init__(
        self,
        *,
        load: Callable[[Path], object],
        on_outcome: Callable[[Outcome], None],
        busy: Callable[[], str | None] = lambda: None,
        settings: TrainerSettings = DEFAULT_TRAINER,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._load = load
        self._on_outcome = on_outcome
        self._busy = busy
        self._settings = settings
        self._command = tuple(command)
        self._clock = clock
        self._waiting: dict[str, Request] = {}
        self._wake = asyncio.Event()
        self._running: _Running | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trainer")
        self.n_refused = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    def submit(self, request: Request) -> bool:
        """Whether the request waits now; a participant's earlier one that still waits is replaced."""
        if request.participant not in self._waiting and len(self._waiting) >= self._settings.max_waiting:
            self.n_refused += 1
            return False
        self._waiting[request.participant] = request
        self._wake.set()
        return True

    async def drop(self, participant: str) -> None:
        """Nothing of this participant waits or runs when this is over, and no outcome is told; before forgetting."""
        self._waiting.pop(participant, None)
        running = self._running
        if running is not None and running.participant == participant:
            running.dropped = True
            await running.over.wait()

    async def run(self) -> None:
        """Works off requests for ever; cancelled, it leaves neither a process nor its files."""
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            if self._busy() is not None:
                await asyncio.sleep(4 * _LOOK_S)
                continue
            request = self._waiting.pop(next(iter(self._waiting)))
            running = self._running = _Running(request.participant)
            try:
                outcome = await self._train(request, running)
                if not running.dropped:
                    await self._note(request, outcome)
            finally:
                self._running = None
                running.over.set()
            if not running.dropped:
                self._on_outcome(outcome)

    async def _train(self, request: Request, running: _Running) -> Outcome:
        job = request.folder / JOB
        try:
            await self._call(lambda: self._prepare(request, job))
            code = await self._work(job, running)
            result = await self._call(lambda: read_result(job)) if code == 0 else None
            if result is None:
                raise _StoppedError(await self._call(lambda: self._why(code, job)))  # noqa: TRY301 (one way to end)
            if not result.passed or running.dropped:
                return Outcome(request.participant, request.learner, result.reasons, result)
            head, version = await self._call(lambda: self._promote(request, job, result))
            return Outcome(request.participant, request.learner, (), result, version, head)
        except (_StoppedError, ModelError) as error:
            # Reasons are published; where this machine keeps its files is nobody's business.
            reason = str(error).replace(f"{request.folder}/", "")
            return Outcome(request.participant, request.learner, (reason,))
        except OSError as error:
            log.warning("personal training could not use the disk", detail=str(error))
            return Outcome(request.participant, request.learner, (f"the disk refused: {error.strerror or 'error'}",))
        finally:
            # What cannot be erased now is erased before the next training, or at the next start.
            with suppress(OSError):
                await self._call(lambda: erase_folder(job))

    async def _note(self, request: Request, outcome: Outcome) -> None:
        """Keeps what came of it for the participant's report; where the disk refuses, that alone is lost."""
        verdict = {} if outcome.result is None else outcome.result.verdict
        version = None if outcome.version is None else outcome.version.name
        attempt = Attempt.of(self._clock(), outcome.learner, version, outcome.reasons, verdict)
        try:
            await self._call(lambda: note_attempt(request.folder, attempt))
        except OSError as error:
            log.warning("what came of a personal training could not be noted", detail=str(error))

    def _prepare(self, request: Request, job: Path) -> None:
        erase_folder(job)
        private_folder(job)
        models = (request.basis.pixel_sha256, request.basis.landmark_sha256)
        write_job(job, request.samples, Job(request.learner, request.seed, models, request.names, self._settings.gate))

    async def _work(self, job: Path, running: _Running) -> int:
        """The exit code of the process, which is over whatever happens.

        Raises:
            _StoppedError: It took too long, or is no longer wanted.
            OSError: It cannot be started.
        """
        limits = ("--memory-mb", str(self._settings.memory_mb), "--cpu-s", str(self._settings.cpu_s))
        with (job / _STDERR).open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(job),
                *limits,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        try:
            return await self._watch(process, running)
        finally:
            await _end(process)

    async def _watch(self, process: asyncio.subprocess.Process, running: _Running) -> int:
        """Waits for the end; stops the process while the machine is busy."""
        ran_s = whole_s = 0.0
        stopped = False
        while True:
            with suppress(TimeoutError):
                return await asyncio.wait_for(process.wait(), _LOOK_S)
            whole_s += _LOOK_S
            ran_s += 0.0 if stopped else _LOOK_S
            if running.dropped:
                msg = "it is no longer wanted"
                raise _StoppedError(msg)
            if ran_s > self._settings.wall_s:
                msg = f"the training took longer than {self._settings.wall_s:g} s"
                raise _StoppedError(msg)
            if whole_s > self._settings.patience_s:
                msg = f"the machine was too busy to train within {self._settings.patience_s:g} s"
                raise _StoppedError(msg)
            if stopped != (self._busy() is not None):
                stopped = not stopped
                _signal(process, signal.SIGSTOP if stopped else signal.SIGCONT)

    def _why(self, code: int, job: Path) -> str:
        """What an exit code means; what the process said last goes to the log, since it may name files."""
        with (job / _STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _STDERR_BYTES))
            said = file.read().decode(errors="replace").strip().splitlines()
        log.warning("personal training broke", code=code, detail=said[-1] if said else "")
        if code == OUT_OF_MEMORY:
            return f"the training needed more than {self._settings.memory_mb} MB of memory"
        if code in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
            return f"the training took more than {self._settings.cpu_s} s of processor time"
        return f"the training was killed (signal {-code})" if code < 0 else f"the training broke (exit code {code})"

    def _promote(self, request: Request, job: Path, result: Result) -> tuple[object, Version]:
        candidate = job / CANDIDATE
        if not candidate.is_file() or result.sha256 is None:
            msg = "the training left no head"
            raise ModelError(msg)
        head = self._load(candidate)
        store = Store(request.folder / HEADS, basis=request.basis.key, max_versions=self._settings.max_versions)
        version = store.promote(
            candidate,
            result.sha256,
            learner=request.learner,
            created_s=self._clock(),
            trained_until_s=result.trained_until_s,
            classes=result.classes,
            verdict=result.verdict,
        )
        return head, version

    async def _call(self, work: Callable[[], T]) -> T:
        """Runs on the trainer's own thread; cancelled, it waits for what cannot be cancelled."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        finally:
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Sends a signal to the process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


async def _end(process: asyncio.subprocess.Process) -> None:
    """The process and all that it started are over when this is, however often one is cancelled meanwhile."""
    if process.stdin is not None:
        process.stdin.close()
    _signal(process, signal.SIGKILL)
    waiting = asyncio.ensure_future(process.wait())
    while not waiting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([waiting])
