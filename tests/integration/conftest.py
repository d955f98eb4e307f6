"""Real parts: the `attuned` command, a made-up call, mosquitto."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.demo.call import DemoScript, make_script, write_call

Attuned = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Call:
    """A made-up call on disk."""

    path: Path
    script: DemoScript


@pytest.fixture(scope="session")
def demo_call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Thirty seconds of four people."""
    return _filmed(tmp_path_factory, 30)


@pytest.fixture(scope="session")
def short_call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Eight seconds of four people."""
    return _filmed(tmp_path_factory, 8)


def _filmed(factory: pytest.TempPathFactory, seconds: int) -> Call:
    """One that all workers share: the first to come films it, the others wait."""
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    call = Call(folder / f"call-{seconds}.mp4", make_script(seconds))
    with (folder / f"call-{seconds}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not call.path.exists():
            unfinished = folder / f"unfinished-{seconds}.mp4"
            write_call(unfinished, call.script)
            unfinished.rename(call.path)
    return call


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, nothing of the caller's settings, and a free HTTP port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTUNED_", "XDG_"))}
    return kept | {
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "ATTUNED_HTTP__PORT": str(free_port()),
        "COLUMNS": "200",
    }


@pytest.fixture
def attuned(environment: dict[str, str], tmp_path: Path) -> Attuned:
    """Runs the command to its end."""

    def run(*arguments: object, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "daemon", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=environment | variables,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def start_attuned(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "daemon", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | variables,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A real broker that can be stopped and started."""

    def __init__(self, program: str, folder: Path, settings: str) -> None:
        self.port = free_port()
        self._program = program
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{settings}\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen([self._program, "-c", self._config], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("mosquitto does not listen")

    def stop(self) -> None:
        """Ends it, without goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def variables(self) -> dict[str, str]:
        """What attuned needs to use it."""
        return {
            "ATTUNED_MQTT__BROKER": "external",
            "ATTUNED_MQTT__PORT": str(self.port),
            "ATTUNED_MQTT__HOST": "127.0.0.1",
        }


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[[str], Mosquitto]]:
    """Makes brokers with given settings; all are gone afterwards."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("mosquitto is needed in CI; make test installs it where it may")
        pytest.skip("mosquitto is not installed; apt-get install mosquitto")
    brokers: list[Mosquitto] = []

    def make(settings: str) -> Mosquitto:
        broker = Mosquitto(program, tmp_path, settings)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.stop()
