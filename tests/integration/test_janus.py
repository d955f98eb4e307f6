"""The bot in a room of a real Janus, with real callers; two network namespaces stand for two machines."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from janus_server import ADMIN, WEBSOCKET_PORT, JanusServer, fixture_janus  # noqa: F401
from namespaces import OTHER_ADDRESSES, Namespaces, fixture_namespaces, inside, python, require, sniffed  # noqa: F401
from publishers import encode
from talker import Talker

TESTS = Path(__file__).parent.parent
LEVELS = (60, 110, 160, 210)
ROOM = 1234

Bot = Callable[..., Talker]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Two seconds each of these grey levels, which tell callers apart."""
    folder = tmp_path_factory.mktemp("videos")
    return {level: str(encode(folder / f"{level}.mkv", [_grey(level)] * 50)) for level in LEVELS}


@pytest.fixture
def server(janus: Callable[..., JanusServer]) -> JanusServer:
    """A Janus with its rooms."""
    return janus()


@pytest.fixture
def callers(server: JanusServer, tmp_path: Path) -> Iterator[Talker]:
    """People who come and go as they are told, on the server's machine."""
    with _callers(server, tmp_path) as talker:
        yield talker


@pytest.fixture
def bot(server: JanusServer, namespaces: Namespaces, tmp_path: Path) -> Iterator[Bot]:
    """Starts bots on a machine of their own; all are gone afterwards."""
    bots: list[Talker] = []

    def start(room: str = f"room={ROOM}", url: str | None = None, **settings: object) -> Talker:
        words = json.dumps({"addresses": [namespaces.bot_address]} | settings)
        address = f"janus+{url or server.url}?{room}"
        bots.append(Talker(python(namespaces.bot, TESTS / "room_bot.py", address, words), tmp_path / "bot.log"))
        return bots[-1]

    yield start
    for talker in bots:
        talker.kill()


def _callers(server: JanusServer, folder: Path) -> Talker:
    return Talker(python(server.namespace, TESTS / "publishers.py", server.url), folder / "callers.log")


def _grey(level: int) -> np.ndarray:
    return np.full((180, 320, 3), level, np.uint8)


def _join(callers: Talker, name: str, video: str | None, **more: Any) -> Any:  # noqa: ANN401
    """Somebody joins with a camera, or without; the answer is the room's id for them."""
    wish: dict[str, Any] = {"join": name, "room": ROOM, "videos": [[video, "camera"]] if video else []}
    callers.tell(**(wish | {"audio": video is None} | more))
    return callers.until(lambda line: "joined" in line)["id"]


def _ask(callers: Talker, **request: object) -> dict[str, Any]:
    callers.tell(ask={"room": ROOM} | request)
    answer: dict[str, Any] = callers.until(lambda line: "answer" in line)["answer"]
    return answer


def _levels(line: dict[str, Any]) -> dict[str, int]:
    """Which grey level each participant shows."""
    seen = line.get("seen", {})
    return {who: min(LEVELS, key=lambda level: abs(level - mean)) for who, (mean, *_) in seen.items()}


def _sees(*levels: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: sorted(_levels(line).values()) == sorted(levels)


def _bot_in(callers: Talker) -> dict[str, Any] | None:
    people = _ask(callers, request="listparticipants")["participants"]
    return next((person for person in people if "attuned" in person.get("display", "")), None)


def test_sees_everybody_and_follows_who_comes_and_goes(
    callers: Talker, bot: Bot, videos: dict[int, str], namespaces: Namespaces
) -> None:
    """Three callers are three participants; one leaves, one joins, ids stay; nothing but the allowed address is used."""
    for name, level in zip(("ann", "ben", "cem"), LEVELS, strict=False):
        _join(callers, name, videos[level])
    with sniffed(namespaces.bot) as packets:
        watcher = bot()
        first = _levels(watcher.until(_sees(*LEVELS[:3])))
        states = [line["state"] for line in watcher.heard if "state" in line]
        assert states in (["waiting", "live"], ["live"])  # a first picture may come with the connection
        assert len(first) == 3
        inside = _bot_in(callers)
        assert inside is not None
        assert inside["publisher"] is False
        callers.tell(leave="ben")
        without = watcher.until(_sees(LEVELS[0], LEVELS[2]))
        assert len(without["feeds"]) == 2
        _join(callers, "dan", videos[LEVELS[3]])
        last = _levels(watcher.until(_sees(LEVELS[0], LEVELS[2], LEVELS[3])))
        kept = {who: level for who, level in first.items() if level != LEVELS[1]}
        assert {who: level for who, level in last.items() if level != LEVELS[3]} == kept
        assert len(last.keys() - first.keys()) == 1
        end = watcher.finish()
    assert (end["tasks"], end["threads"], end["problem"]) == ([], [], None)
    assert _bot_in(callers) is None
    assert packets == {(namespaces.bot_address, namespaces.sfu_address)}
    assert OTHER_ADDRESSES[1] not in {source for source, _ in packets}


def test_comes_back_with_the_server(server: JanusServer, bot: Bot, videos: dict[int, str], tmp_path: Path) -> None:
    """A killed server is lost once, and seen again within 10 s after it listens; a configured id stays its owner's."""
    with _callers(server, tmp_path) as callers:
        _join(callers, "ann", videos[LEVELS[0]])
        watcher = bot(participants={"ann": "p-ann"})
        watcher.until(_sees(LEVELS[0]))
        server.kill()
        lost = watcher.until(lambda line: line.get("state") == "reconnecting")
        assert "8088" in lost["reason"]
        callers.finish()
    time.sleep(2)
    server.start()
    listens_s = time.time()
    with _callers(server, tmp_path) as callers:
        _join(callers, "ann", videos[LEVELS[0]])
        back = watcher.until(_sees(LEVELS[0]))
        assert back["at"] - listens_s < 10
        assert back["feeds"] == ["p-ann"]
        states = [line["state"] for line in watcher.heard if "state" in line]
        assert states.count("reconnecting") == 1
        end = watcher.finish()
        assert (end["tasks"], end["threads"]) == ([], [])


def test_who_is_removed_stays_out(callers: Talker, bot: Bot, videos: dict[int, str]) -> None:
    """Kicked from the room, the bot leaves, says so, and does not come back."""
    _join(callers, "ann", videos[LEVELS[0]])
    watcher = bot()
    watcher.until(_sees(LEVELS[0]))
    inside = _bot_in(callers)
    assert inside is not None
    assert _ask(callers, request="kick", secret=ADMIN, id=inside["id"])["videoroom"] == "success"
    end = watcher.until(lambda line: "end" in line)
    assert (end["end"], end["problem"], end["tasks"], end["threads"]) == ("removed from the room", None, [], [])
    assert _bot_in(callers) is None


def test_a_closed_room_is_the_end(callers: Talker, bot: Bot, videos: dict[int, str]) -> None:
    """When the room is destroyed the call is over, which is no problem."""
    _join(callers, "ann", videos[LEVELS[0]])
    watcher = bot()
    watcher.until(_sees(LEVELS[0]))
    assert _ask(callers, request="destroy", secret=ADMIN)["videoroom"] == "destroyed"
    end = watcher.until(lambda line: "end" in line)
    assert (end["end"], end["problem"], end["tasks"], end["threads"]) == ("the room was closed", None, [], [])


def test_who_shows_no_face_is_there_all_the_same(
    callers: Talker, bot: Bot, videos: dict[int, str], tmp_path: Path
) -> None:
    """Sound alone is a member without pictures; a screen is nobody; beside a camera it is not looked at; H.264 is read."""
    h264 = str(encode(tmp_path / "grey.h264", [_grey(LEVELS[3])] * 50, codec="libx264"))
    room = {"room": 4}
    _join(callers, "sound", None, **room)
    _join(callers, "screen", None, videos=[[videos[LEVELS[0]], "My screen"]], audio=False, **room)
    _join(callers, "both", None, videos=[[videos[LEVELS[0]], "screen share"], [videos[LEVELS[1]], "camera"]], **room)
    _join(callers, "unread", videos[LEVELS[0]], said_to_be="VP9", **room)
    _join(callers, "h264", h264, **room)
    watcher = bot("room=4")
    line = watcher.until(_sees(LEVELS[1], LEVELS[3]))
    assert len(line["feeds"]) == 4
    assert watcher.finish()["unreadable"] == 1
    assert watcher.stderr.read_text().count("cannot be read") == 1


@pytest.mark.parametrize(
    ("room", "settings", "problem"),
    [
        ("room=999", {}, "there is no room 999; check room= in the address"),
        ("room=1", {}, "the room asks for a pin; set source.pin"),
        ("room=1&pin=nope", {}, "wrong pin; set source.pin"),
        ("room=3", {}, "the room's video is VP9, and attuned reads"),
        ("room=1234", {"addresses": ["10.99.99.99"]}, "none of webrtc.addresses"),
    ],
)
def test_says_in_one_line_why_it_cannot_join(
    callers: Talker, bot: Bot, videos: dict[int, str], room: str, settings: dict[str, object], problem: str
) -> None:
    """What is wrong for good is the end, told in one line without the pin."""
    _join(callers, "ann", videos[LEVELS[0]])
    end = bot(room, **settings).until(lambda line: "end" in line)
    assert problem in end["problem"]
    assert "\n" not in end["problem"]
    assert "nope" not in end["problem"]
    assert (end["tasks"], end["threads"]) == ([], [])


def test_enters_rooms_that_ask_for_more(callers: Talker, bot: Bot, videos: dict[int, str]) -> None:
    """A pin, and a private id with every subscription, are given; over WebSockets too."""
    pinned = {"room": 1, "pin": "open sesame"}
    _join(callers, "ann", videos[LEVELS[0]], **pinned)
    _join(callers, "ben", videos[LEVELS[1]], room=2)
    first, second = bot("room=1", pin="open sesame"), bot("room=2")
    first.until(_sees(LEVELS[0]))
    second.until(_sees(LEVELS[1]))
    assert [first.finish()["problem"], second.finish()["problem"]] == [None, None]
    socket = bot("room=1&pin=open+sesame", url=f"ws://10.203.0.1:{WEBSOCKET_PORT}")
    socket.until(_sees(LEVELS[0]))
    assert socket.finish()["tasks"] == []


def test_a_server_that_asks_for_tokens(
    janus: Callable[..., JanusServer], namespaces: Namespaces, videos: dict[int, str], tmp_path: Path
) -> None:
    """With a token the bot is let in, also where rooms are named by strings; without one it says what to set."""
    server = janus(tokens=True, string_ids=True, api_secret="hush")  # noqa: S106 (of this server)
    words = json.dumps({"addresses": [namespaces.bot_address]})

    def start(more: str) -> Talker:
        script = TESTS / "room_bot.py"
        return Talker(
            python(namespaces.bot, script, f"janus+{server.url}?room=1234{more}", words), tmp_path / "bot.log"
        )

    for more in ("", "&token=wrong", "&apisecret=wrong"):
        with start(more) as watcher:
            end = watcher.until(lambda line: "end" in line)
            assert "set source.token" in end["problem"]
            assert "wrong" not in end["problem"]
    with start(f"&apisecret=hush&token={quote(server.token(), safe='')}") as watcher:
        watcher.until(lambda line: line.get("state") == "waiting")
        assert watcher.finish()["problem"] is None


@pytest.mark.parametrize(
    ("room", "code", "told"),
    [
        ("room=1&pin=hush", 2, "wrong pin; set source.pin"),
        ("room=999", 2, "there is no room 999"),
        ("room=1234", 0, "removed from the room"),
    ],
)
def test_the_command_ends_as_it_should(
    callers: Talker, namespaces: Namespaces, server: JanusServer, tmp_path: Path, room: str, code: int, told: str
) -> None:
    """What cannot be joined is one line and exit code 2; whom the room removes is done."""
    config = tmp_path / "attuned.yaml"
    config.write_text(
        f"webrtc: {{addresses: [{namespaces.bot_address}]}}\nmqtt: {{port: 31883}}\nhttp: {{port: 38765}}\n"
        f"state_dir: {tmp_path / 'state'}\n"
    )
    words = ["join", f"janus+{server.url}?{room}", "--purpose", "research", "--consent", "declared", "-c", str(config)]
    command = inside(namespaces.bot, sys.executable, "-m", "daemon", *words)
    with subprocess.Popen(
        command, cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(200):
            if code or (found := _bot_in(callers)) is not None:
                break
            time.sleep(0.1)
        if not code:
            assert found is not None
            _ask(callers, request="kick", secret=ADMIN, id=found["id"])
        out, errors = process.communicate(timeout=40)
    assert process.returncode == code, errors
    assert told in out + errors
    assert "hush" not in out + errors
    assert "Traceback" not in errors


def test_namespaces_go_with_who_made_them() -> None:
    """Tests that are killed leave no namespace, and no process that ran in one."""
    require(["ip"])
    script = (
        "import subprocess, namespaces as n\n"
        "with n.made() as names:\n"
        "    inner = subprocess.Popen(n.inside(names.bot, 'sleep', '600'))\n"
        "    print(names.bot, inner.pid, flush=True)\n"
        "    inner.wait()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as killed:
        assert killed.stdout is not None
        name, inner = killed.stdout.readline().split()
        killed.kill()
    for _ in range(100):
        if name not in subprocess.check_output(["ip", "netns", "list"], text=True):
            break
        time.sleep(0.05)
    assert name not in subprocess.check_output(["ip", "netns", "list"], text=True)
    process = Path(f"/proc/{inner}/stat")
    assert not process.exists() or process.read_text().split()[2] == "Z"
