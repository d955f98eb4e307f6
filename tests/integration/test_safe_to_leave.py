"""A daemon as it is started: what it lets in, what it leaves on the disk, and what it shows of itself."""

import http.client
import json
import re
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.audit import check, entries

pytestmark = pytest.mark.timeout(400)
WORD = "hunter2-Sesame"
ROOT = "/api/v1/sessions"
GONE = "p-0000dead"


class Client:
    """Asks a daemon as anybody might, byte by byte."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port, self.token = port, token

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON or text, and headers; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if data is not None else {}
        if self.token is not None:
            given["Authorization"] = f"Bearer {self.token}"
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in {**given, **({"Content-Length": str(len(data))} if data else {}), **headers}.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            kind = answer.headers.get_content_type()
            return answer.status, json.loads(text) if kind == "application/json" else text, dict(answer.headers)
        finally:
            connection.close()


@pytest.fixture
def daemon(start_attuned, environment) -> Callable[..., tuple[Client, Any]]:  # noqa: ANN001
    """Starts `attuned run`, and waits until it answers."""

    def start(token: str | None = None, **variables: str) -> tuple[Client, Any]:
        process = start_attuned("run", **variables)
        client = Client(int(environment["ATTUNED_HTTP__PORT"]), token)
        began = time.monotonic()
        while True:
            try:
                if client.ask("GET", "/livez")[0] == 200:
                    return client, process
            except OSError:
                pass
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - began < 150
            time.sleep(0.2)

    return start


def listening(pid: int) -> set[str]:
    """Addresses that a process listens on, from /proc."""
    own = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(str(link.readlink()))
        except OSError:
            continue
    found = set()
    for table, family, size in (("tcp", socket.AF_INET, 8), ("tcp6", socket.AF_INET6, 32)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                raw = bytes.fromhex(fields[1].split(":")[0].zfill(size))
                words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
                found.add(socket.inet_ntop(family, b"".join(words)))
    return found


def test_a_daemon_is_safe_to_leave_running(daemon, environment: dict[str, str], tmp_path: Path, attuned) -> None:  # noqa: ANN001
    """Secrets, modes, sockets, traversal, other origins, SSRF, body size, rate, audit and erasure, on one daemon."""
    config = tmp_path / "attuned.yaml"
    config.write_text("privacy: {basis: public_interest, contact: ethics@example.org}\nhistory: {enabled: true}\n")
    secrets = {
        "ATTUNED_HTTP__TOKEN": WORD,
        "ATTUNED_SOURCE__PASSWORD": WORD,
        "ATTUNED_SOURCE__TOKEN": WORD,
        "ATTUNED_WEBRTC__TURN_PASSWORD": WORD,
        "ATTUNED_API__BURST": "200",
        "ATTUNED_API__RATE_PER_S": "5",
    }
    client, process = daemon(WORD, **secrets)
    _refuses_strangers(client)
    _leads_nowhere(client)
    assert listening(process.pid) == {"127.0.0.1"}
    body = {"url": f"rtsp://maud:{WORD}@127.0.0.1:9/x", "name": "room", "purpose": "healthcare", "password": WORD}
    status, begun, _ = client.ask("POST", ROOT, body)
    assert (status, WORD in json.dumps(begun)) == (201, False)
    status, erased, _ = client.ask("DELETE", f"/api/v1/participants/{GONE}/data")
    assert (status, erased["erased"]) == (200, False)
    for pid in [str(process.pid), *_children(process.pid)]:
        assert WORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    limited = [client.ask("GET", ROOT)[0] for _ in range(300)]
    assert set(limited) == {200, 429}
    assert client.ask("GET", "/livez")[0] == 200
    told = attuned("forget", GONE, "--json", **secrets)
    assert told.returncode in (0, 1), told.stderr
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert WORD not in log
    assert "Traceback" not in log
    state = Path(environment["XDG_STATE_HOME"]) / "attuned"
    modes = {str(p.relative_to(state)): stat.S_IMODE(p.stat().st_mode) for p in [state, *state.rglob("*")]}
    assert {mode for path, mode in modes.items() if (state / path).is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if (state / path).is_file()} == {0o600}, modes
    assert not any(WORD.encode() in path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert check(state).mistake is None
    kinds = {entry["what"] for entry in entries(state)}
    assert {"access", "access refused", "erasure"} <= kinds
    assert not any(GONE in path.read_text(errors="replace") for path in state.glob("audit*"))
    shown = attuned("audit")
    assert (shown.returncode, "erasure" in shown.stdout) == (0, True)
    notice = attuned("notice", "--lang", "de")
    assert "ethics@example.org" in notice.stdout
    assert "öffentlichen Interesse" in notice.stdout


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _refuses_strangers(client: Client) -> None:
    """Wrong and missing tokens, files that are none of the page's, other origins, too large bodies."""
    for token in (None, "", WORD[:-1], WORD + "x", "Bearer"):
        status, answer, _ = Client(client.port, token).ask("GET", ROOT)
        assert status == 401, answer
        assert WORD not in str(answer)
    for path in (
        "/page/../../etc/passwd",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/page/....//etc/passwd",
        f"{ROOT}/../../../etc/passwd",
        f"{ROOT}/%2e%2e%2fsecret/participants",
    ):
        status, answer, _ = client.ask("GET", path)
        assert status in {400, 404, 405}, (path, status)
        assert "root:" not in str(answer)
    for method, path in (("GET", ROOT), ("OPTIONS", ROOT), ("OPTIONS", "/whip/room"), ("GET", "/")):
        _, _, headers = client.ask(method, path, Origin="https://evil.example")
        assert not [name for name in headers if name.lower().startswith("access-control")]
    assert client.ask("POST", ROOT, b'{"url": "' + b"x" * 100_000 + b'"}')[0] == 413


def _leads_nowhere(client: Client) -> None:
    """The usual tricks of server-side request forgery."""
    for url in (
        "whep+http://169.254.169.254/latest/meta-data",
        "whep+http://[::ffff:169.254.169.254]/x",
        "rtsp://2852039166/x",
        "janus+http://0.0.0.0:8088/janus?room=1",
        "http://127.0.0.1/",
        "gopher://127.0.0.1/",
        "ftp://127.0.0.1/x",
    ):
        status, answer, _ = client.ask("POST", ROOT, {"url": url, "purpose": "research"})
        assert (status, re.search(r"api\.|no kind of source", str(answer)) is not None) == (400, True), (url, answer)
    for purpose in ("workplace", "education"):
        status, answer, _ = client.ask("POST", ROOT, {"url": "rtsp://127.0.0.1/x", "purpose": purpose})
        assert (status, "AI Act" in str(answer)) == (400, True)
    assert client.ask("POST", ROOT, {"url": "rtsp://127.0.0.1/x"})[0] == 400
