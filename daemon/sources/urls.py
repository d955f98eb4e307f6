"""Addresses of calls: which kind of source one means, and how it may be shown."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from daemon.errors import SourceError

Kind = Literal["file", "rtsp", "whep", "whip", "janus"]
KINDS: dict[str, Kind] = {
    "file": "file",
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "whep+http": "whep",
    "whep+https": "whep",
    "whip": "whip",
    "janus+http": "janus",
    "janus+https": "janus",
    "janus+ws": "janus",
    "janus+wss": "janus",
}


def lowered(url: str) -> str:
    """The address with its scheme in lower case, which is the same address (RFC 3986 section 3.1)."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.lower()}://{rest}" if separator and scheme.lower() in KINDS else url


def path_of(url: str) -> Path:
    """The path of a file, given as it is or as `file:///path` or `file://localhost/path` (RFC 8089)."""
    path = lowered(url).removeprefix("file://")
    if path != url and path.lower().startswith("localhost/"):
        path = path[len("localhost") :]
    return Path(path)


def kind_of(url: str) -> Kind:
    """What kind of source an address means; whatever has no scheme is the path of a file.

    Raises:
        SourceError: It has a scheme that is not known, or no host where one is needed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "file"
    kind = KINDS.get(scheme.lower())
    if kind is None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
            return "file"
        msg = f"{scheme}:// is no kind of source; give a video file, rtsp://, whep+https://, janus+http:// or whip://"
        raise SourceError(msg)
    if kind in {"rtsp", "whep", "janus"}:
        try:
            parts = urlsplit(f"x://{rest}")
            host, port = parts.hostname, parts.port
        except ValueError:
            # What is wrong with it may be its password.
            msg = f"{shown(url)}: is no address; write {scheme}://host:port/…, and secrets into source.*"
            raise SourceError(msg) from None
        if port == 0:
            msg = f"{shown(url)}: has port 0; write {scheme}://host:port/…"
            raise SourceError(msg)
        if not host:
            msg = f"{shown(url)}: has no host; write {scheme}://host:port/…"
            raise SourceError(msg)
    return kind


def shown(url: str) -> str:
    """The address without whatever may be secret in it: of its query only the room is left."""
    scheme, separator, rest = lowered(url).partition("://")
    kind = KINDS.get(scheme)
    if not separator or kind is None or kind == "file":
        return url
    if kind == "whip":
        return "whip://"
    try:
        if kind == "rtsp":
            from daemon.sources.rtsp import parse_address  # noqa: PLC0415 (what only live calls need is loaded for them)

            return parse_address(url).shown
        parts = urlsplit(f"x://{rest}")
    except (ValueError, SourceError):
        return f"{scheme}://…"
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] == "room"])
    return scheme + urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query, fragment=""))[1:]
