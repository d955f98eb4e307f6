"""Events through a real mosquitto that is stopped, from a daemon that is killed: `.venv/bin/python benchmarks/delivery.py`.

A whole daemon gets events at a steady rate beside its sessions; each is written down once it is published, which means
committed to the outbox. Meanwhile mosquitto is stopped twice, and the daemon is killed with signal 9 while it replays
what waited during the second outage, and started again. A subscriber of QoS 1 with a persistent session hears it all.
Prints one JSON object; exit code 1 when anything was lost, out of order, or twice under another number.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

import aiomqtt  # noqa: E402

from config.settings import load_settings  # noqa: E402
from daemon.app import Node  # noqa: E402
from daemon.logs import configure_logs  # noqa: E402
from daemon.session import SessionInfo  # noqa: E402
from pipeline.types import Event  # noqa: E402
from pipeline.wire import Stamp, Versions  # noqa: E402

TOPIC = "attuned/local/session/bench/event"
RUN = 10_000_000
"""Events of the daemon's second life are counted from here."""
DRAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens when; all in seconds, `rate` in events per second."""

    seconds: float = 300.0
    rate: float = 50.0
    outage_s: float = 60.0
    first_s: float = 40.0
    second_s: float = 160.0
    kill_after_s: float = 0.5
    """After the end of the second outage: in the middle of the replay."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it."""

    published: int
    received: int
    lost: int
    lost_numbers: int
    out_of_order: int
    duplicates: int
    duplicates_unlike: int
    replayed: int
    seconds: float
    drained_after_s: float

    @property
    def is_good(self) -> bool:
        """Nothing lost, everything in order, duplicates are what they repeat."""
        return not (self.lost or self.lost_numbers or self.out_of_order or self.duplicates_unlike)


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def work(rate: float, first: int) -> None:
    """The daemon, configured by its environment, with events at a steady rate, none at 0; says each that is published."""
    configure_logs()
    info = SessionInfo(Stamp("bench", f"boot-{first}"), "seed", "research", Versions("none", "none"), 2)
    loop = asyncio.get_running_loop()
    async with Node(load_settings()) as node:

        async def inject() -> None:
            index, due_s = first, loop.time()
            if rate == 0:
                await asyncio.Event().wait()
            while True:
                event = Event("layout_changed", float(index), (), {"tiles": index})
                await node._mqtt.events(info, [event])  # noqa: SLF001 (beside the sessions, which need a call)
                sys.stdout.write(f"published {index}\n")
                sys.stdout.flush()
                index, due_s = index + 1, due_s + 1 / rate
                await asyncio.sleep(max(0.0, due_s - loop.time()))

        running = asyncio.create_task(node.run([], stay=True), name="node")
        injecting = asyncio.create_task(inject(), name="inject")
        node_stops = asyncio.create_task(node.stop.wait(), name="stop")
        await asyncio.wait([injecting, node_stops, running], return_when=asyncio.FIRST_COMPLETED)
        injecting.cancel()
        with suppress(asyncio.CancelledError):
            await injecting
        node_stops.cancel()
        await running


class Broker:
    """A mosquitto that keeps what it has taken, over an orderly stop."""

    def __init__(self, folder: Path, port: int) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            sys.exit("mosquitto is not installed; apt-get install mosquitto")
        self._program, self.port = program, port
        self._config = folder / "mosquitto.conf"
        user = "user root\n" if os.getuid() == 0 else ""
        self._config.write_text(
            f"{user}listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 0\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(  # noqa: S603
            [self._program, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit("mosquitto does not listen")

    def stop(self) -> None:
        """Ends it in order: what it has taken for the subscriber it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Daemon:
    """The daemon in a process of its own, and what it says it has published."""

    def __init__(self, folder: Path, port: int, rate: float) -> None:
        self.published: list[int] = []
        self._rate, self._log = rate, folder / "daemon.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTUNED_", "XDG_"))}
        self._environment = kept | {
            "ATTUNED_STATE_DIR": str(folder / "state"),
            "ATTUNED_HTTP__PORT": str(free_port()),
            "ATTUNED_MQTT__BROKER": "external",
            "ATTUNED_MQTT__PORT": str(port),
        }

    async def start(self, first: int, *, quiet: bool = False) -> None:
        """Starts it, and listens to it until it is gone; a quiet one only delivers what waits."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--work", str(0 if quiet else self._rate), str(first),
                stdout=subprocess.PIPE, stderr=log, env=self._environment,
            )  # fmt: skip
        self._reading = asyncio.create_task(self._read(), name="published")

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 (a pipe was asked for)
        async for line in self._process.stdout:
            # A kill may cut the last line short; what it said was published is heard all the same.
            if line.startswith(b"published ") and line.endswith(b"\n"):
                self.published.append(int(line.split()[1]))

    async def end(self, number: signal.Signals) -> None:
        """Ends it with a signal; what it had said is known then."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()
        await self._reading

    def complaint(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]


async def listen(port: int, heard: list[dict[str, Any]]) -> None:
    """Every event, over whatever happens to the broker."""
    while True:
        with suppress(aiomqtt.MqttError):
            async with aiomqtt.Client(
                "127.0.0.1",
                port,
                identifier="delivery-listener",
                clean_session=False,
                max_queued_incoming_messages=None,
            ) as client:
                await client.subscribe(TOPIC, qos=1)
                async for message in client.messages:
                    heard.append(json.loads(message.payload))  # noqa: PERF401 (as they come)
        await asyncio.sleep(0.1)


async def measure(plan: Plan, folder: Path) -> Figures:
    """Runs the plan."""
    broker = Broker(folder, free_port())
    daemon = Daemon(folder, broker.port, plan.rate)
    heard: list[dict[str, Any]] = []
    broker.start()
    listening = asyncio.create_task(listen(broker.port, heard), name="listen")
    loop = asyncio.get_running_loop()
    try:
        await asyncio.sleep(0.5)
        await daemon.start(0)
        await _until(lambda: bool(heard), DRAIN_S, daemon)
        began = loop.time()

        async def at(time_s: float) -> None:
            await asyncio.sleep(max(0.0, began + time_s - loop.time()))

        for outage_s in (plan.first_s, plan.second_s):
            await at(outage_s)
            await asyncio.to_thread(broker.stop)
            await at(outage_s + plan.outage_s)
            await asyncio.to_thread(broker.start)
        before = len(heard)
        await _until(lambda: len(heard) > before, DRAIN_S, daemon)
        await asyncio.sleep(plan.kill_after_s)
        await daemon.end(signal.SIGKILL)
        await daemon.start(RUN)
        await at(plan.seconds)
        ended = loop.time()
        await daemon.end(signal.SIGTERM)
        await _until(lambda: _all(daemon.published, heard), 5.0, daemon)
        # What the last seconds left in the outbox goes out with the next start, as after any other end.
        if not _all(daemon.published, heard):
            await daemon.start(2 * RUN, quiet=True)
            await _until(lambda: _all(daemon.published, heard), DRAIN_S, daemon)
            await daemon.end(signal.SIGTERM)
        drained_s = loop.time() - ended
        await asyncio.sleep(1.0)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        with suppress(AttributeError):
            await daemon.end(signal.SIGKILL)
        broker.stop()
    return judge(daemon.published, heard, ended - began, drained_s)


def _all(published: list[int], heard: list[dict[str, Any]]) -> bool:
    """Whether all that was published was heard."""
    return set(published) <= {row["tiles"] for row in heard if "tiles" in row}


async def _until(true: Callable[[], bool], timeout_s: float, daemon: Daemon) -> None:
    """Waits for something."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110 (the other process tells nobody)
                await asyncio.sleep(0.05)
            return
    sys.stderr.write(daemon.complaint())


def judge(published: list[int], heard: list[dict[str, Any]], seconds: float, drained_s: float) -> Figures:
    """Compares what was published with what was heard, in the order in which it was heard."""
    first: dict[int, dict[str, Any]] = {}
    out_of_order = duplicates = unlike = 0
    for row in heard:
        seq = row["seq"]
        if seq in first:
            duplicates += 1
            same = ("tiles", "kind", "boot", "ts")
            unlike += any(first[seq].get(key) != row.get(key) for key in same)
            continue
        out_of_order += bool(first) and seq < max(first)
        first[seq] = row
    told = [row["tiles"] for row in first.values() if "tiles" in row]
    out_of_order += sum(after <= before for before, after in pairwise(told))
    return Figures(
        published=len(published),
        received=len(heard),
        lost=len(set(published) - set(told)),
        lost_numbers=len(set(range(max(first, default=-1) + 1)) - set(first)),
        out_of_order=out_of_order,
        duplicates=duplicates,
        duplicates_unlike=unlike,
        replayed=sum(row.get("replayed", False) for row in heard),
        seconds=round(seconds, 1),
        drained_after_s=round(drained_s, 1),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="20 s with two outages of 5 s")
    parser.add_argument("--work", nargs=2, metavar=("RATE", "FIRST"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        asyncio.run(work(float(arguments.work[0]), int(arguments.work[1])))
        return
    plan = Plan(seconds=20, outage_s=5, first_s=2, second_s=9) if arguments.short else Plan()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(plan, Path(folder)))
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    print(json.dumps({"plan": asdict(plan), "figures": asdict(figures), "good": figures.is_good, "machine": machine}))
    sys.exit(0 if figures.is_good else 1)


if __name__ == "__main__":
    main()
