"""`attuned run` as a service: a real process, the manager's socket, signals, and what is on disk afterwards."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.timeout(240)

Popen = subprocess.Popen


class Manager:
    """A service manager's socket, and all it heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def until(self, line: str, *, within_s: float = 120) -> None:
        """Listens until this is said."""
        deadline = time.monotonic() + within_s
        while True:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                said = self._socket.recv(4096).decode().split("\n")
            except TimeoutError:
                pytest.fail(f"{line} was not said: {self.lines}")
            self.lines += said
            if line in said:
                return

    def close(self) -> None:
        """Gone."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A manager that listens."""
    with closing(Manager(tmp_path / "notify")) as made:
        yield made


def ask(port: str, path: str) -> Any:  # noqa: ANN401 (JSON)
    """What the API answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def states(port: str) -> dict[str, str]:
    """State of every session."""
    return {session["id"]: session["state"] for session in ask(port, "/api/v1/sessions")["sessions"]}


def until(condition: Callable[[], bool], *, within_s: float = 30) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


END_S = 5.0
"""Within which it must have ended, on a machine that is not busy with other things."""


def ends(process: "Popen[str]") -> str:
    """Sends SIGTERM; its log, after it has ended in time."""
    seconds = END_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    took_s = time.monotonic() - began
    assert process.returncode == 0, log
    assert took_s < seconds, f"{took_s:.1f} s: {log}"
    assert "Traceback" not in log
    return log


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a database has to say."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def test_a_reload_keeps_the_sessions_that_stay(manager, start_attuned, demo_call, environment, tmp_path) -> None:  # noqa: ANN001
    """Ready, watched, reloaded three times: one session plays on without a gap while others come and go; then it ends."""
    port, config = environment["ATTUNED_HTTP__PORT"], tmp_path / "attuned.yaml"
    stays = {"name": "stays", "url": str(demo_call.path), "purpose": "research"}
    comes = {"name": "comes", "url": "rtsp://127.0.0.1:9/x", "purpose": "research"}
    base: dict[str, Any] = {"mqtt": {"port": 18840}, "history": {"enabled": True}, "log": {"level": "warning"}}
    config.write_text(yaml.safe_dump(base | {"sessions": [stays]}))
    watched = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "20000000"}
    process = start_attuned("run", "-c", config, **watched)
    manager.until("READY=1")
    manager.until("STATUS=1 live")
    manager.until("WATCHDOG=1", within_s=30)

    def reload(text: str) -> None:
        config.write_text(text)
        process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")

    changed = base | {"log": {"level": "info"}, "mqtt": {"port": 18841}}
    reload(yaml.safe_dump(changed | {"sessions": [stays, comes]}))
    until(lambda: states(port) == {"stays": "live", "comes": "connecting"})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        told = page.read().decode()
    assert 'attuned_sessions{state="live"} 1.0' in told
    assert 'attuned_sessions{state="connecting"} 1.0' in told
    reload("sessions: [{name: stays}]\nlog: {level: loud}\n")
    assert states(port) == {"stays": "live", "comes": "connecting"}
    reload(yaml.safe_dump(changed | {"sessions": [stays]}))
    until(lambda: states(port) == {"stays": "live", "comes": "ended"})
    manager.until("WATCHDOG=1", within_s=30)
    log = ends(process)
    manager.until("STOPPING=1", within_s=1)
    lines = [json.loads(line) for line in log.splitlines()]
    effects = {line["key"]: line["takes_effect"] for line in lines if line["event"] == "setting changed"}
    assert effects == {"mqtt.port": "restart", "log.level": "now", "sessions": "now"}
    mistakes = [line["mistake"] for line in lines if line["event"].startswith("not reloaded")]
    assert any("log.level" in mistake for mistake in mistakes)
    assert any("sessions.0.url" in mistake for mistake in mistakes)
    # The one that stayed: one boot, every second, also the last, and its end.
    history = tmp_path / "state" / "attuned" / "history.sqlite"
    seconds = rows(history, "SELECT DISTINCT boot, ts FROM readings WHERE session = 'stays' ORDER BY ts")
    assert len({boot for boot, _ in seconds}) == 1
    assert [ts for _, ts in seconds] == [seconds[0][1] + i for i in range(len(seconds))]
    kinds = [json.loads(payload)["kind"] for (payload,) in rows(history, "SELECT payload FROM events ORDER BY id")]
    assert kinds.count("session_ended") == 2
    assert rows(history.with_name("outbox.sqlite"), "SELECT count(*) FROM messages") == [(0,)]


def test_it_ends_in_time_while_the_broker_hangs(mosquitto, start_attuned, demo_call, environment, tmp_path) -> None:  # noqa: ANN001
    """A broker that no longer answers, pages that listen and a slow client: all is on disk, and it ends within 5 s."""
    broker = mosquitto("allow_anonymous true")
    port = environment["ATTUNED_HTTP__PORT"]
    config = tmp_path / "attuned.yaml"
    session = {"name": "call", "url": str(demo_call.path), "purpose": "research"}
    config.write_text(yaml.safe_dump({"sessions": [session], "history": {"enabled": True}}))
    process = start_attuned("run", "-c", config, **broker.variables())
    until(lambda: _answers(port), within_s=60)
    until(lambda: states(port) == {"call": "live"})
    time.sleep(3)
    broker._process.send_signal(signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            page = stack.enter_context(socket.create_connection(("127.0.0.1", int(port))))
            page.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", int(port))))
            slow.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
            time.sleep(3)
            ends(process)
    finally:
        broker._process.send_signal(signal.SIGCONT)
    folder = tmp_path / "state" / "attuned"
    waiting = [
        json.loads(payload) for (payload,) in rows(folder / "outbox.sqlite", "SELECT payload FROM messages ORDER BY id")
    ]
    events = [event for event in waiting if "kind" in event]
    assert events[-1]["kind"] == "session_ended"
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[-1]["seq"] + 1))
    kinds = [
        json.loads(payload)["kind"] for (payload,) in rows(folder / "history.sqlite", "SELECT payload FROM events")
    ]
    assert kinds[-1] == "session_ended"


def _answers(port: str) -> bool:
    try:
        states(port)
    except OSError:
        return False
    return True


def test_two_daemons_do_not_share_a_state_folder(manager, start_attuned, attuned) -> None:  # noqa: ANN001
    """The second is refused in one line with exit code 2, and the first runs on."""
    first = start_attuned("run", ATTUNED_MQTT__PORT="18850", NOTIFY_SOCKET=str(manager.path))
    manager.until("READY=1")
    second = attuned("run", ATTUNED_MQTT__PORT="18851", ATTUNED_HTTP__PORT="18852")
    assert second.returncode == 2
    assert re.fullmatch(r"attuned: state_dir .*: another attuned is using it; .*\n", second.stderr)
    assert first.poll() is None
    ends(first)


@pytest.mark.parametrize(("style", "looks"), [("json", r"\{.*\}"), ("text", r"\d{4}-\d\d-\d\dT.*\[(info|error) *\].*")])
def test_logs_are_as_they_are_wanted(manager, start_attuned, style, looks, tmp_path) -> None:  # noqa: ANN001
    """Level and format come from the environment; each line is of the format that was asked for."""
    (tmp_path / "attuned.yaml").write_text("sessions: [{name: a, url: none.mp4, purpose: research}]\n")
    wanted = {"ATTUNED_MQTT__PORT": "18860", "ATTUNED_LOG__FORMAT": style, "NOTIFY_SOCKET": str(manager.path)}
    told = {}
    for level in ("info", "error"):
        process = start_attuned("run", **wanted, ATTUNED_LOG__LEVEL=level)
        manager.until("STATUS=1 failed")
        told[level] = ends(process)
        assert all(re.fullmatch(looks, line) for line in told[level].splitlines()), told[level]
    assert "stopping" in told["info"]
    assert "stopping" not in told["error"]
    assert "session failed" in told["error"]


def test_a_terminal_that_is_closed_ends_it(environment, tmp_path) -> None:  # noqa: ANN001
    """There SIGHUP means what it always did."""
    controller, terminal = pty.openpty()
    try:
        process = Popen(
            [sys.executable, "-m", "daemon", "run"],
            stdout=terminal,
            stderr=terminal,
            env=environment | {"ATTUNED_MQTT__PORT": "18870"},
            cwd=tmp_path,
        )
        try:
            until(lambda: _answers(environment["ATTUNED_HTTP__PORT"]), within_s=60)
            time.sleep(1)
            process.send_signal(signal.SIGHUP)
            assert process.wait(timeout=20) in {0, 1}
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(terminal)
        os.close(controller)


def test_a_newer_state_is_refused_before_anything_starts(attuned, tmp_path) -> None:  # noqa: ANN001
    """Exit code 2, which the service manager does not try again, and one line that says what to do."""
    folder = tmp_path / "state" / "attuned"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "outbox.sqlite")) as db:
        db.execute("CREATE TABLE t (x)")
        db.execute("PRAGMA user_version = 99")
    refused = attuned("run", ATTUNED_MQTT__PORT="18880")
    assert refused.returncode == 2
    assert re.fullmatch(r"attuned: .*outbox\.sqlite: was written by a newer attuned; [^\n]*\n", refused.stderr)
