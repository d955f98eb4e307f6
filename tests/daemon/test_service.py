"""What the service manager hears, and what a reload changes."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from videos import run

from config.errors import ConfigError
from config.settings import Settings, load_settings
from daemon.errors import UnusableInputError
from daemon.reload import EFFECTS, changes, effect_of, merged, reload
from daemon.service import Notifier, Service


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Lines since the last call."""
        lines: list[str] = []
        while True:
            try:
                lines += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Any:  # noqa: ANN401 (a generator)
    """A manager that listens at a path, or at an abstract name."""
    address = f"{tmp_path}/notify" if request.param == "path" else f"@attuned-{os.getpid()}-{tmp_path.name}"
    with closing(Manager(address)) as made:
        yield made


def test_lines_arrive_and_the_environment_is_left_clean(manager: Manager) -> None:
    """One datagram for each call, and processes that we start do not inherit the way to the manager."""
    environment = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "2000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    with Notifier.of(environment) as notifier:
        assert notifier.watchdog_s == 2.0
        notifier.tell("READY=1", "STATUS=fine")
    assert manager.heard() == ["READY=1", "STATUS=fine"]
    assert environment == {"A": "b"}


def test_without_a_manager_nothing_is_told() -> None:
    """In a terminal there is no socket, and no watchdog; one that is meant for another process is none either."""
    with Notifier.of({}) as notifier:
        notifier.tell("READY=1")
    assert (notifier.watchdog_s, notifier.n_unsent) == (None, 0)
    with Notifier.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}) as notifier:
        assert notifier.watchdog_s is None


@pytest.mark.parametrize(
    "environment", [{"NOTIFY_SOCKET": "tcp:1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}], ids=str
)
def test_what_cannot_be_used_is_said(environment: dict[str, str]) -> None:
    """One line with the variable's name."""
    (name,) = environment
    with pytest.raises(UnusableInputError, match=name):
        Notifier.of(environment)


def test_a_manager_that_does_not_listen_costs_nothing(tmp_path: Path) -> None:
    """Neither one that is gone nor one that reads nothing holds us up; what it does not take is counted."""
    manager = Manager(str(tmp_path / "notify"))
    with Notifier(manager.address) as notifier:
        for _ in range(5000):  # more than a socket's buffer takes
            notifier.tell("WATCHDOG=1")
        assert 0 < notifier.n_unsent < 5000
        manager.close()
        before = notifier.n_unsent
        notifier.tell("WATCHDOG=1")
        assert notifier.n_unsent == before + 1


class FakeNode:
    """Entries and settings without a daemon."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries
        self.settings = load_settings()
        self.applied: list[Settings] = []

    async def apply(self, settings: Settings) -> None:
        """Remembered."""
        self.settings = settings
        self.applied.append(settings)


class Playing:
    """An entry whose session is in a state and has taken so many moments."""

    def __init__(self, name: str, state: str) -> None:
        self.plan = type("Plan", (), {"id": name})
        self.state = state
        counts = type("Counts", (), {"moments": 0, "seconds": 0})
        self.session = type("Session", (), {"counts": counts})


def attended(node: FakeNode, manager: Manager, load: Callable[[], Settings], during: Callable[[], Any]) -> list[str]:
    """What the manager hears while something goes on."""

    async def main() -> None:
        with Notifier(manager.address, watchdog_s=0.2) as notifier:
            service = Service(notifier, load)
            service.listen()
            task = asyncio.create_task(service.attend(node))
            await during()
            task.cancel()
            await asyncio.wait([task])
            service.leave()

    run(main())
    return manager.heard()


def test_the_watchdog_is_fed_while_all_moves_that_should(manager: Manager) -> None:
    """Sessions that wait for others are no reason to bark; one that stands still is, until it moves again."""
    stuck = Playing("stuck", "live")
    waits = [Playing(state, state) for state in ("connecting", "waiting", "reconnecting", "ended", "failed")]
    node = FakeNode([stuck, *waits])
    heard: list[list[str]] = []

    async def during() -> None:
        for moves in (True, False, True):
            manager.heard()
            for _ in range(20):
                stuck.session.counts.moments += moves
                await asyncio.sleep(0.02)
            heard.append(manager.heard())

    rest = attended(node, manager, load_settings, during)
    moving, standing, again = (lines.count("WATCHDOG=1") for lines in heard)
    assert moving >= 4
    assert standing <= 2  # the looks before the first that saw no movement
    assert again >= 4
    assert "STATUS=1 connecting, 1 ended, 1 failed, 1 live, 1 reconnecting, 1 waiting" in heard[0]
    assert rest[-2:] == ["STOPPING=1", "STATUS=stopping"]


def test_a_node_without_sessions_is_well(manager: Manager) -> None:
    """It is ready, and fed."""

    async def during() -> None:
        await asyncio.sleep(0.3)

    heard = attended(FakeNode([]), manager, load_settings, during)
    assert heard[:2] == ["READY=1", "STATUS=no sessions"]
    assert heard.count("WATCHDOG=1") >= 3


def test_a_hang_up_reloads(manager: Manager, tmp_path: Path) -> None:
    """The manager hears of the beginning and the end; a file with mistakes changes nothing."""
    path = tmp_path / "attuned.yaml"
    node = FakeNode([])

    lines: list[str] = []

    async def ready(n: int) -> None:
        async with asyncio.timeout(30):
            while lines.count("READY=1") < n:
                await asyncio.sleep(0.01)
                lines.extend(manager.heard())

    async def during() -> None:
        await ready(1)
        path.write_text("log: {level: debug}\nlimits: {sessions: 3}\nmqtt: {port: 1884}\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await ready(2)
        path.write_text("log: {level: loud}\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await ready(3)

    attended(node, manager, lambda: load_settings(path), during)
    [applied] = node.applied
    assert (applied.log.level, applied.limits.sessions, applied.mqtt.port) == ("debug", 3, 1883)
    told = [line.partition("=")[0] for line in lines if not line.startswith(("STATUS", "WATCHDOG"))]
    assert told == ["READY"] + ["RELOADING", "MONOTONIC_USEC", "READY"] * 2


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a schema, with dots."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        inner = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += leaves(kind, f"{prefix}{name}.") if inner else [prefix + name]  # type: ignore[arg-type]
    return found


def test_every_setting_says_when_a_change_takes_effect() -> None:
    """No section is forgotten, and no key is named that is not there."""
    keys = leaves(Settings)
    assert {key.partition(".")[0] for key in EFFECTS} == set(Settings.model_fields)
    assert {key for key in EFFECTS if "." in key} <= set(keys)
    assert {effect_of(key) for key in keys} == {"now", "next session", "restart"}
    with pytest.raises(KeyError):
        effect_of("nothing.at_all")


def test_what_needs_a_restart_stays_as_it_was(tmp_path: Path) -> None:
    """Key by key, also in a section of which a part can change."""
    (tmp_path / "new.yaml").write_text(
        "node: other\nanalysis: {rate_hz: 3, workers: 4}\npersonal: {erase_on_denial: false, trigger: {n_new: 7}}\n"
        "mqtt: {broker: external, password: new}\nengagement: {synchrony: {window_s: 100}}\n"
        "fusion: {rule: learned, gain: 0.1}\n"
    )
    old, new = load_settings(), load_settings(tmp_path / "new.yaml")
    found = {change.key: change.effect for change in changes(old, new)}
    assert found == {
        "node": "restart",
        "analysis.rate_hz": "next session",
        "analysis.workers": "restart",
        "engagement.synchrony.window_s": "next session",
        "fusion.gain": "next session",
        "fusion.rule": "restart",
        "personal.erase_on_denial": "now",
        "personal.trigger.n_new": "restart",
        "mqtt.broker": "restart",
        "mqtt.password": "restart",
    }
    both = merged(old, new)
    assert {change.key for change in changes(old, both)} == {k for k, effect in found.items() if effect != "restart"}
    assert {change.key for change in changes(both, new)} == {k for k, effect in found.items() if effect == "restart"}
    assert changes(both, both) == ()


def test_a_reload_with_a_mistake_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings that cannot be read, and an address of a session that cannot be used."""
    node = FakeNode([])

    def broken() -> Settings:
        raise ConfigError(["a.yaml:1: wrong", "a.yaml:2: wrong too"])

    assert not run(reload(node, broken))
    session = {"name": "a", "url": "gopher://x", "purpose": "research"}
    assert not run(reload(node, lambda: load_settings(overrides={"sessions": [session]})))
    assert node.applied == []
    assert run(reload(node, load_settings))
    assert node.applied == [node.settings]


def test_the_documentation_says_when_each_section_counts() -> None:
    """The table of docs/service.md is that of the code."""
    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    rows = re.findall(r"^\| (`.*) \| (now|in sessions .*|after a restart) \|$", text, re.MULTILINE)
    told = {word: how for words, how in rows for word in re.findall(r"`([a-z_.]+)`", words)}
    short = {"now": "now", "next session": "in sessions that begin from then on", "restart": "after a restart"}
    known = {key: short[effect] for key, effect in EFFECTS.items()}
    for apart in ("workers", "rule"):  # "analysis without workers", "fusion without rule"
        assert told.pop(apart) == "in sessions that begin from then on"
    assert told == known
