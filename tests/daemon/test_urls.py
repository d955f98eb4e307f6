"""Addresses of calls, and the secrets that are not shown."""

import re
import stat
from pathlib import Path

import pytest

from daemon.errors import SourceError, UnusableInputError
from daemon.secret import RoomPseudonyms, node_secret
from daemon.sources.opening import open_recording
from daemon.sources.urls import kind_of, lowered, path_of, shown


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("meeting.mp4", "file"),
        ("/data/12:00.mp4", "file"),
        ("file:///data/a.mp4", "file"),
        ("C://odd name://x", "file"),
        ("rtsp://camera/1", "rtsp"),
        ("RTSPS://camera:322/1", "rtsp"),
        ("whep+https://host/whep/a", "whep"),
        ("janus+http://127.0.0.1:8088/janus?room=1234", "janus"),
        ("whip://", "whip"),
        ("WHIP://", "whip"),
        ("WHEP+HTTP://host/whep/a", "whep"),
        ("JANUS+HTTP://127.0.0.1:8088/janus?room=1234", "janus"),
        ("FILE:///data/a.mp4", "file"),
    ],
)
def test_the_scheme_says_what_it_is(url: str, kind: str) -> None:
    """Whatever has no scheme is a file."""
    assert kind_of(url.replace("C://odd name", "odd name")) == kind


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("zoom://123", "zoom:// is no kind of source"),
        ("rtsp:///x", "has no host"),
        ("rtsp://host:99999/x", "is no address"),
        ("rtsp://maud:secret@host:0/x", "rtsp://…: has port 0; write rtsp://host:port/"),
        ("whep+http://maud:secret@host:0/x", "whep+http://host:0/x: has port 0"),
        ("whep+https://[::1/x", "is no address"),
    ],
)
def test_what_is_no_address_is_said(url: str, part: str) -> None:
    """One line each, with what to write instead."""
    with pytest.raises(SourceError, match=re.escape(part)) as caught:
        kind_of(url)
    assert "\n" not in str(caught.value)
    assert "maud" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("JANUS+HTTP://Host/Janus?room=A", "janus+http://Host/Janus?room=A"),
        ("RTSP://Host/A", "rtsp://Host/A"),
        ("Meeting.MP4", "Meeting.MP4"),
        ("Odd Name://X", "Odd Name://X"),
    ],
)
def test_schemes_are_the_same_in_any_case(url: str, expected: str) -> None:
    """And nothing else of an address is."""
    assert lowered(url) == expected


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("a.mp4", "a.mp4"),
        ("localhost/a.mp4", "localhost/a.mp4"),
        ("file:///data/a.mp4", "/data/a.mp4"),
        ("file://localhost/data/a.mp4", "/data/a.mp4"),
        ("FILE://LocalHost/data/a.mp4", "/data/a.mp4"),
        ("file://a.mp4", "a.mp4"),
    ],
)
def test_files_are_found_by_address(url: str, path: str) -> None:
    """With this host, with none, or as a path."""
    assert path_of(url) == Path(path)


def test_a_live_call_is_no_recording() -> None:
    """`analyze` says what reads it."""
    with pytest.raises(SourceError, match="attuned join"):
        open_recording("rtsp://user:secret@camera/1")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rtsp://maud:secret@camera:554/1", "rtsp://camera:554/1"),
        ("rtsp://maud:s3cr/et@camera/1", "rtsp://…"),
        ("janus+http://h:8088/janus?room=1&pin=9&token=t", "janus+http://h:8088/janus?room=1"),
        ("whep+https://h/x?Token=t#frag", "whep+https://h/x"),
        ("rtsp://[::1/maud:secret@x", "rtsp://…"),
        ("JANUS+HTTP://h/janus?room=1&pin=9", "janus+http://h/janus?room=1"),
        ("WHEP+HTTPS://maud:secret@h/x", "whep+https://h/x"),
        ("WHIP://", "whip://"),
        ("whip://maud:secret@x", "whip://"),
        ("meeting.mp4", "meeting.mp4"),
    ],
)
def test_secrets_are_not_shown(url: str, told: str) -> None:
    """User, password, pin and tokens are left out, whatever else is wrong with the address."""
    assert shown(url) == told


def test_the_nodes_secret_is_made_once(tmp_path: Path) -> None:
    """Thirty-two bytes that only their owner can read; what was cut off or is somebody else's is not used."""
    first = node_secret(tmp_path)
    path = tmp_path / "secret"
    assert (len(first), node_secret(tmp_path)) == (32, first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    with pytest.raises(UnusableInputError, match="expected 32 bytes, found 5"):
        node_secret(tmp_path)
    with pytest.raises(UnusableInputError, match="cannot be used"):
        node_secret(tmp_path / "secret")


def test_pseudonyms_of_a_room() -> None:
    """The same person in the same room of the same node, and nobody else; configured ones belong to one at a time."""
    names = RoomPseudonyms(b"k" * 32, "room", {"Maud": "p-00000001"})
    assert names("12", None) == names("12", "anything") != names("13", None)
    assert names("12", None) != RoomPseudonyms(b"k" * 32, "other", {})("12", None)
    assert names("12", None) != RoomPseudonyms(b"x" * 32, "room", {})("12", None)
    assert names("1", "Maud") == names("1", "Maud") == "p-00000001"
    assert names("2", "Maud") not in {"p-00000001", names("3", None)}
    names.left("1")
    assert names("2", "Maud") == "p-00000001"
