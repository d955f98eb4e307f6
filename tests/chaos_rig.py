"""A whole attuned that can be harmed: a real daemon, mosquitto behind a wire that can be cut, an RTSP server.

What a daemon has published is what its outbox has counted; what the world has heard is what a subscriber of QoS 1 got
from mosquitto itself. `Rig.problems` compares the two, and looks for readings that nobody could have made.
"""

import asyncio
import json
import math
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiomqtt

ROOT = Path(__file__).parent.parent
SESSIONS = "/api/v1/sessions"
HOLD_S = 3.5
"""A picture is shown 2.5 s after it was made at the latest, and stands for a second."""


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], object], within_s: float, what: str, every_s: float = 0.05) -> float:
    """Waits for something; seconds that it took.

    Raises:
        AssertionError: It did not come true in time.
    """
    began_s = time.monotonic()
    while not true():
        took_s = time.monotonic() - began_s
        assert took_s < within_s, f"{what}: not within {within_s:g} s"
        time.sleep(every_s)
    return time.monotonic() - began_s


class Broker:
    """A mosquitto that keeps what it has taken, over an orderly stop."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert program is not None, "mosquitto is needed; apt-get install mosquitto"
        self._program, self._folder, self.port = program, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, refuses: bool = False) -> None:
        """Returns when it listens; one that refuses lets in only who has a password."""
        user = "user root\n" if os.getuid() == 0 else ""
        config = self._folder / "mosquitto.conf"
        config.write_text(
            f"{user}listener {self.port} 127.0.0.1\nallow_anonymous {'false' if refuses else 'true'}\n"
            f"persistence true\npersistence_location {self._folder}/\nmax_queued_messages 0\n"
        )
        self._process = subprocess.Popen(
            [self._program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._listens, 10, "mosquitto listens")

    def stop(self) -> None:
        """Ends it in order: what it has taken for the subscriber it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It does nothing, but its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


class Wire:
    """Loopback TCP from a port of its own to another; slow, or cut in the middle of whatever passes.

    Args:
        target: The port at its other end.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.bytes_per_s = math.inf
        self.cut_after: Callable[[], int] | None = None
        """How many bytes of the client's pass before it is cut; asked at every connection."""
        self.n_cuts = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire")

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:  # noqa: ANN401 (whatever it returns)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        left = self.cut_after() if self.cut_after is not None else None
        directions = [
            asyncio.create_task(self._pass(reader, there[1], left)),
            asyncio.create_task(self._pass(there[0], writer, None)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in (writer, there[1]):
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                slow = self.bytes_per_s < math.inf
                # A slow wire takes little at a time, and a part of a message may be on its far side.
                for at in range(0, len(data), 256 if slow else len(data)):
                    part = data[at : at + (256 if slow else len(data))]
                    if left is not None and len(part) >= left:
                        writer.write(part[:left])
                        await writer.drain()
                        self.n_cuts += 1
                        return
                    left = None if left is None else left - len(part)
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(len(part) / self.bytes_per_s if slow else 0)


@dataclass
class Heard:
    """What a subscriber got, and when."""

    events: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """By topic and number."""
    unlike: list[str] = field(default_factory=list)
    """Numbers that came twice with different content, and what came out of order."""
    readings: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    n_events: int = 0

    def take(self, topic: str, payload: dict[str, Any]) -> None:
        """One message."""
        if topic.endswith("/emotion"):
            if "participant" in payload:
                self.readings.append((time.time(), payload))
            return
        self.n_events += 1
        known, seq = self.events.setdefault(topic, {}), payload["seq"]
        if seq in known:
            same = ("kind", "boot", "ts", "participants")
            if any(known[seq].get(key) != payload.get(key) for key in same):
                self.unlike.append(f"{topic} {seq} twice, not alike")
        elif known and seq < max(known):
            self.unlike.append(f"{topic} {seq} after {max(known)}")
        known.setdefault(seq, payload)


class Listener:
    """A subscriber with a persistent session, straight at the broker."""

    def __init__(self, port: int) -> None:
        self.heard = Heard()
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="listener")

    def __enter__(self) -> Self:
        self._thread.start()
        self._job = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._job.cancel()
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._settle(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _settle(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            with suppress(aiomqtt.MqttError):
                client = aiomqtt.Client(
                    "127.0.0.1",
                    self._port,
                    identifier="chaos-listener",
                    clean_session=False,
                    max_queued_incoming_messages=None,
                    # A try that falls between two lives of the broker must not hide how soon the daemon is back.
                    timeout=2,
                )
                async with client:
                    await client.subscribe([("attuned/+/session/+/event", 1), ("attuned/#", 0)])
                    async for message in client.messages:
                        topic = str(message.topic)
                        if topic.endswith(("/event", "/emotion")):
                            self.heard.take(topic, json.loads(bytes(message.payload)))
            await asyncio.sleep(0.1)


class Daemon:
    """`attuned run` in a process of its own.

    Args:
        folder: Its home; its state and its log are there unless `state` says otherwise.
        variables: Of its environment, beside ours.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str], *, state: Path | None = None) -> None:
        self.folder, self.state = folder, state or folder / "state"
        self.log_file = folder / "daemon.log"
        self.http = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTUNED_", "XDG_"))}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = kept | {
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(paths),
            "ATTUNED_STATE_DIR": str(self.state),
            "ATTUNED_HTTP__PORT": str(self.http),
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Starts it, and does not wait for it."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "run"], stdout=log, stderr=log, env=self.environment, cwd=self.folder
            )

    def send(self, number: signal.Signals) -> None:
        """Sends one."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 40) -> int:
        """Ends it with a signal; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -999

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """What it has said so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def ask(self, method: str, path: str, body: object = None, timeout_s: float = 20) -> tuple[int, Any]:
        """Status and JSON of the API's answer; status 0: nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, ValueError):
            return 0, None

    def published(self) -> dict[str, int]:
        """How many events were committed, by topic; read from the outbox's own file."""
        file = self.state / "outbox.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=20)) as db:
            return dict(db.execute("SELECT topic, next FROM counters"))


class Rig:
    """All of it, with one live session `call` of four people that is read: `with Rig(folder, server) as rig`.

    Args:
        folder: For everything that lies on disk.
        url: Of the live call.
        variables: Of the daemon's environment.
        state: The daemon's state folder, where it is not to be in `folder`.
        seed: Of whatever is random.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        variables: Mapping[str, str] | None = None,
        state: Path | None = None,
        seed: int = 0,
    ) -> None:
        self.folder, self.url, self.random = folder, url, random.Random(seed)  # noqa: S311 (no secret)
        self.broker = Broker(folder)
        self.wire = Wire(self.broker.port)
        self.listener = Listener(self.broker.port)
        settings = {
            "ATTUNED_MQTT__BROKER": "external",
            "ATTUNED_MQTT__PORT": str(self.wire.port),
            "ATTUNED_MQTT__KEEPALIVE_S": "5",
            "ATTUNED_SOURCE__STALL_S": "4",
            "ATTUNED_PERSONAL__ERASE_ON_DENIAL": "false",
            "ATTUNED_HISTORY__ENABLED": "true",
        }
        self.daemon = Daemon(folder, settings | dict(variables or {}), state=state)
        self._flipping = threading.Event()
        self._flipper: threading.Thread | None = None
        self.longest_answer_s = 0.0
        self._n_log = 0

    def __enter__(self) -> Self:
        self.broker.start()
        self.wire.__enter__()
        self.listener.__enter__()
        self.daemon.start()
        try:
            self.begin("call", self.url)
            self.until_read("call", 60)
        except BaseException:
            self.__exit__()
            raise
        self._flipper = threading.Thread(target=self._flip, name="flipper")
        self._flipper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.quiet()
        if self.daemon.is_alive:
            self.daemon.end(signal.SIGKILL)
        self.listener.__exit__()
        self.wire.__exit__()
        self.broker.stop()

    @property
    def heard(self) -> Heard:
        """What the world has heard."""
        return self.listener.heard

    def quiet(self) -> None:
        """No more events are made."""
        self._flipping.set()
        if self._flipper is not None:
            self._flipper.join()
            self._flipper = None

    def begin(self, name: str, url: str, within_s: float = 60) -> None:
        """Begins a session of people who agreed beforehand; nothing happens where it runs."""
        body = {"url": url, "name": name, "purpose": "research", "consent": "declared"}
        done = {201, 409}
        until(lambda: self.daemon.ask("POST", SESSIONS, body)[0] in done, within_s, f"session {name} begins", 0.3)

    def state(self, name: str) -> str:
        """Where a session stands; empty where nobody says."""
        _, shown = self.daemon.ask("GET", f"{SESSIONS}/{name}")
        return str(shown["state"]) if shown else ""

    def until_state(self, name: str, states: set[str], within_s: float) -> float:
        """Waits for a session to be in one of these."""
        return until(lambda: self.state(name) in states, within_s, f"session {name} is {states}", 0.1)

    def read_since(self, time_s: float, name: str = "call") -> list[dict[str, Any]]:
        """Readings with a face in them whose second began after that time."""
        heard = list(self.heard.readings)
        return [r for came_s, r in heard if r["session"] == name and r["coverage"] > 0 and r["second"] >= time_s]

    def until_read(self, name: str, within_s: float) -> float:
        """Waits for the next reading of a second that has not begun yet."""
        now_s = time.time()
        return until(lambda: self.read_since(now_s, name), within_s, f"session {name} is read", 0.1)

    def until_event(self, within_s: float) -> float:
        """Waits for the next event to arrive."""
        n = self.heard.n_events
        return until(lambda: self.heard.n_events > n, within_s, "an event arrives")

    def problems(self, *, within_s: float = 40) -> list[str]:
        """What was promised and does not hold, since this was last asked; waits for what is on its way."""
        found = []
        if not self.daemon.is_alive:
            return [f"the daemon is gone: {self.daemon.log()[-600:]}"]
        log = self.daemon.log()
        if "Traceback" in log[self._n_log :]:
            found.append(f"a traceback: {log[log.rindex('Traceback') - 200 :][:1500]}")
        self._n_log = len(log)
        published = self.daemon.published()
        try:
            until(lambda: not self.missing(published), within_s, "all events are heard", 0.2)
        except AssertionError:
            found.append(f"events lost: {self.missing(published)}")
        found += self.heard.unlike
        self.heard.unlike.clear()
        return found + impossible([reading for _, reading in self.heard.readings])

    def missing(self, published: Mapping[str, int]) -> dict[str, list[int]]:
        """Numbers of events that were committed and not heard."""
        lost = {topic: sorted(set(range(n)) - set(self.heard.events.get(topic, {}))) for topic, n in published.items()}
        return {topic: numbers[:10] for topic, numbers in lost.items() if numbers}

    def _flip(self) -> None:
        """Somebody denies and agrees, again and again: events, and a look at how soon the daemon answers."""
        person, granted = "", False
        while not self._flipping.wait(0.2):
            if not person:
                _, shown = self.daemon.ask("GET", f"{SESSIONS}/call/participants", timeout_s=5)
                person = shown["participants"][-1]["id"] if shown and shown.get("participants") else ""
                continue
            began_s = time.monotonic()
            state = "granted" if granted else "denied"
            status, _ = self.daemon.ask(
                "PUT", f"{SESSIONS}/call/participants/{person}/consent", {"state": state}, timeout_s=60
            )
            if status == 200:
                granted = not granted
                self.longest_answer_s = max(self.longest_answer_s, time.monotonic() - began_s)
            elif status == 404:
                person = ""


def impossible(readings: list[dict[str, Any]]) -> list[str]:
    """Readings that nobody could have made: no distribution, a face where none was read, a second told twice."""
    found = []
    told: dict[tuple[str, str, str], int] = {}
    for reading in readings:
        name = f"{reading['session']} {reading['participant']} {reading['second']}"
        values = reading["probabilities"]
        if (values is None) != (reading["coverage"] == 0):
            found.append(f"{name}: coverage {reading['coverage']} with probabilities {values}")
        elif values is not None and not (
            all(math.isfinite(p) and 0 <= p <= 1 for p in values.values()) and abs(sum(values.values()) - 1) < 0.01
        ):
            found.append(f"{name}: no distribution {values}")
        if not 0 <= reading["coverage"] <= 1:
            found.append(f"{name}: coverage {reading['coverage']}")
        key = (reading["session"], reading["boot"], reading["participant"])
        if reading["second"] <= told.get(key, -1) and not reading.get("replayed"):
            found.append(f"{name}: told after {told[key]}")
        told[key] = reading["second"]
    return found[:5]
