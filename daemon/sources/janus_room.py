"""What a Janus address says, and what a VideoRoom says of its publishers."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from daemon.errors import SourceError
from daemon.sources.janus_api import objects

CODECS = ("vp8", "h264")
"""As Janus names what we read."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a `janus+…` address says.

    api: the server's API, without credentials. room: as it stands there. login: what HTTP's Authorization says, for
    a proxy before the server.
    """

    api: str
    room: str
    pin: str | None
    token: str | None
    api_secret: str | None
    login: str | None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Reads `janus+http://host:8088/janus?room=1234`, also with `pin`, `token` and `apisecret`.

        Raises:
            SourceError: It names no room.
        """
        parts = urlsplit(url.removeprefix("janus+"))
        host = parts.netloc.rpartition("@")[2]
        said = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        path = parts.path.rstrip("/") or ("" if parts.scheme.startswith("ws") else "/janus")
        api = urlunsplit((parts.scheme, host, path, "", ""))
        if "room" not in said:
            msg = f"janus+{api}: names no room; add ?room=1234"
            raise SourceError(msg)
        who = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        login = f"Basic {b64encode(who).decode()}" if parts.username else None
        return cls(api, said["room"], said.get("pin"), said.get("token"), said.get("apisecret"), login)


@dataclass(frozen=True, slots=True)
class Camera:
    """The video of a publisher that shows the person.

    mid: of the publisher's m-line; None where the server is older than 1.0 and has one video per publisher.
    codec: as Janus names it, lower case; empty where it is not said.
    """

    mid: str | None
    codec: str
    is_simulcast: bool

    @property
    def is_readable(self) -> bool:
        """Whether we can decode it, as far as the server says."""
        return self.codec in {"", *CODECS}


def camera_of(publisher: Mapping[str, Any]) -> Camera | None:
    """The first video of a publisher that is switched on and no screen; None where there is none."""
    if "streams" not in publisher:
        codec = publisher.get("video_codec")
        return Camera(None, str(codec).lower(), is_simulcast=False) if codec else None
    for stream in objects(publisher["streams"]):
        if stream.get("type") == "video" and not stream.get("disabled") and not _is_screen(stream):
            simulcast = bool(stream.get("simulcast"))
            return Camera(str(stream.get("mid")), str(stream.get("codec", "")).lower(), is_simulcast=simulcast)
    return None


def is_person(publisher: Mapping[str, Any]) -> bool:
    """Whether a publisher is somebody: neither a shared screen alone nor the room's placeholder."""
    streams = objects(publisher.get("streams"))
    return not publisher.get("dummy") and not (streams and all(_is_screen(stream) for stream in streams))


def _is_screen(stream: Mapping[str, Any]) -> bool:
    return stream.get("type") == "video" and "screen" in str(stream.get("description", "")).lower()
