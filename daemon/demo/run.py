"""`attuned demo`: films a made-up call, runs the whole system on it, and says how the readings agree."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from config.settings import Settings
from daemon.app import Node
from daemon.demo.call import DemoScript, agreement, format_agreement, make_script, write_call
from daemon.session import SessionInfo
from daemon.sessions import Plan
from daemon.sinks.terminal import Screen, TerminalSink
from daemon.sources.file import probe
from daemon.sources.source import State
from pipeline.emotions import EMOTIONS
from pipeline.seating import pseudonym
from pipeline.types import CallSecond, Event


class Transcript:
    """Keeps what was read of each participant and of the group, to compare it with the script."""

    def __init__(self) -> None:
        self.tops: dict[str, dict[int, str | None]] = {}
        self.group: dict[int, str | None] = {}

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """Not compared."""

    async def second(self, info: SessionInfo, second: CallSecond) -> None:  # noqa: ARG002 (a sink's signature)
        """Top class of each participant and of the group."""
        for reading in second.readings:
            self.tops.setdefault(reading.participant, {})[second.second] = reading.top
        p = second.group.probabilities
        self.group[second.second] = None if p is None else EMOTIONS[int(p.argmax())]

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Not compared."""


def compare(script: DemoScript, transcript: Transcript, seed: str) -> str:
    """A table of how often the readings say what the script says, up to the last second that was read."""
    seconds = range(max(transcript.group, default=-1) + 1)
    heard = make_script(max(1, len(seconds)))
    readings = {
        person.name: [transcript.tops.get(pseudonym(seed, i), {}).get(second) for second in seconds]
        for i, person in enumerate(script.people)
    }
    return format_agreement(agreement(heard, readings, [transcript.group.get(second) for second in seconds]))


async def _film(path: Path, script: DemoScript, *, on_picture: Callable[[int], None]) -> None:
    """Films in a thread, which ends with the next picture when this is cancelled."""
    cancelled = threading.Event()

    def progress(done: int, _: int) -> None:
        if cancelled.is_set():
            raise FilmingStopped
        on_picture(done)

    filming = asyncio.get_running_loop().run_in_executor(None, partial(write_call, path, script, progress=progress))
    try:
        await asyncio.shield(filming)
    except asyncio.CancelledError:
        cancelled.set()
        with suppress(FilmingStopped):
            await filming
        raise


class FilmingStopped(Exception):  # noqa: N818 (it is no error)
    """Nobody waits for the film any more."""


async def run_demo(settings: Settings, seconds: int) -> None:
    """Films, runs and compares; leaves nothing behind.

    Raises:
        UnusableInputError: The portraits are not installed, or a port is taken.
    """
    console = Screen()
    with TemporaryDirectory(prefix="attuned-demo-") as folder:
        path, script = Path(folder) / "call.mp4", make_script(seconds)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("filming a made-up call of four people", total=seconds * script.fps)
            await _film(path, script, on_picture=lambda done: progress.update(task, completed=done))
        recording = probe(path)
        names = {pseudonym(recording.fingerprint, i): person.name for i, person in enumerate(script.people)}
        transcript = Transcript()
        home = {"broker": "embedded", "host": "127.0.0.1", "username": None, "password": None}
        private = settings.model_copy(
            update={"state_dir": Path(folder) / "state", "mqtt": settings.mqtt.model_copy(update=home)}
        )
        async with Node(private) as node:
            console.on_closed = node.stop.set
            host, port = node.ready.broker.rsplit(":", 1)
            console.print(
                f"broker   mosquitto_sub -h {host} -p {port} -v -t '{node.ready.topics.root}/#'", highlight=False
            )
            console.print(f"page     {node.ready.http}/", highlight=False)
            console.print(f"metrics  {node.ready.http}/metrics", highlight=False)
            console.print(f"topics   {node.ready.topics.group_emotion('demo')}", highlight=False)
            console.print(f"         {node.ready.topics.participant_emotion('demo', '<id>')}", highlight=False)
            with TerminalSink(console, title="attuned demo", names=names) as terminal:
                plan = Plan(
                    id="demo",
                    url=str(path),
                    purpose="demo",
                    consent="declared",
                    source=settings.source,
                    anchor=datetime.now(UTC),
                    sinks=(terminal, transcript),
                )
                await node.run([plan], stay=False)
        console.print(compare(script, transcript, recording.fingerprint), highlight=False)
