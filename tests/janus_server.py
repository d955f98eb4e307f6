"""Janus from Debian, started in a namespace with a configuration of ours."""

import base64
import hashlib
import hmac
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from namespaces import Namespaces, inside, require

PORT = 8088
WEBSOCKET_PORT = 8188
ADMIN = "adminpwd"
ROOM = f'description = "a room", secret = "{ADMIN}", publishers = 20, bitrate = 512000, fir_freq = 10'
ROOMS = {
    "room-1234": ROOM,
    "room-1": f'{ROOM}, pin = "open sesame"',
    "room-2": f"{ROOM}, require_pvtid = true",
    "room-3": f'{ROOM}, videocodec = "vp9"',
    "room-4": f'{ROOM}, videocodec = "vp8,h264,vp9", notify_joining = true, dummy_publisher = true',
}
_FOLDER = Path("/usr/lib/x86_64-linux-gnu/janus")
_TOKEN_KEY = "key of the tokens"  # noqa: S105 (of a server of these tests)


@dataclass
class JanusServer:
    """A server that can be killed and started again.

    namespace: where it runs. address: the one address it uses. folder: for its configuration and its log.
    rooms: settings by section. string_ids: rooms and publishers are named by strings. tokens: requests need one.
    api_secret: requests need it.
    """

    namespace: str
    address: str
    folder: Path
    rooms: Mapping[str, str] = field(default_factory=lambda: ROOMS)
    string_ids: bool = False
    tokens: bool = False
    api_secret: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its HTTP API."""
        return f"http://{self.address}:{PORT}/janus"

    def start(self) -> None:
        """Returns when it answers."""
        self._configure()
        path = self.folder / "janus.log"
        with path.open("wb") as log:
            self.process = subprocess.Popen(
                inside(self.namespace, "janus", "-F", str(self.folder), "-o"), stdout=log, stderr=log
            )
        for _ in range(200):
            if "HTTP webserver started" in path.read_text():
                return
            assert self.process.poll() is None, path.read_text()[-2000:]
            time.sleep(0.05)
        pytest.fail("janus does not listen")

    def kill(self) -> None:
        """Ends it without goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def token(self) -> str:
        """A token that opens a server which asks for tokens."""
        words = f"{int(time.time()) + 3600},janus,janus.plugin.videoroom"
        digest = hmac.new(_TOKEN_KEY.encode(), words.encode(), hashlib.sha1).digest()
        return f"{words}:{base64.b64encode(digest).decode()}"

    def _configure(self) -> None:
        general = [
            f'plugins_folder = "{_FOLDER}/plugins"',
            f'transports_folder = "{_FOLDER}/transports"',
            "debug_level = 4",
        ]
        if self.tokens:
            general += ["token_auth = true", f'token_auth_secret = "{_TOKEN_KEY}"']
        if self.api_secret is not None:
            general.append(f'api_secret = "{self.api_secret}"')
        others = ",".join(
            path.name.split(".so")[0] + ".so"
            for kind in ("plugins", "transports")
            for path in (_FOLDER / kind).iterdir()
            if not any(word in path.name for word in ("videoroom", "_http", "websockets"))
        )
        self._write(
            "janus.jcfg",
            general=general,
            nat=[f'ice_enforce_list = "{self.address}"'],
            plugins=[f'disable = "{others}"'],
            transports=[f'disable = "{others}"'],
        )
        self._write("janus.transport.http.jcfg", general=[f'port = {PORT}, http = true, ip = "{self.address}"'])
        self._write(
            "janus.transport.websockets.jcfg",
            general=[f'ws = true, ws_port = {WEBSOCKET_PORT}, ws_ip = "{self.address}"'],
        )
        rooms = {name: [settings] for name, settings in self.rooms.items()}
        self._write(
            "janus.plugin.videoroom.jcfg", general=[f"string_ids = {'true' if self.string_ids else 'false'}"], **rooms
        )

    def _write(self, name: str, **sections: list[str]) -> None:
        text = "".join(
            f"{section}: {{\n" + "".join(f"  {line.replace(', ', chr(10) + '  ')}\n" for line in lines) + "}\n"
            for section, lines in sections.items()
        )
        (self.folder / name).write_text(text)


@pytest.fixture(name="janus")
def fixture_janus(namespaces: Namespaces, tmp_path: Path) -> Iterator[Callable[..., JanusServer]]:
    """Starts servers with given settings, one at a time; all are gone afterwards."""
    require(["janus"])
    servers: list[JanusServer] = []

    def make(**settings: object) -> JanusServer:
        server = JanusServer(namespaces.sfu, namespaces.sfu_address, tmp_path, **settings)  # type: ignore[arg-type]
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.kill()
