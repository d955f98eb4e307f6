"""The AsyncAPI document against what is really published: by the demo, and by the daemon in a room of a real Janus."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from contract import Contract
from janus_server import JanusServer, fixture_janus  # noqa: F401
from namespaces import fixture_namespaces, inside, python  # noqa: F401
from publishers import encode
from talker import Talker

from daemon.demo.call import make_script

pytestmark = pytest.mark.timeout(600)
TESTS = Path(__file__).parent.parent
PORT = 21893
Heard = list[tuple[str, bytes]]

# What each run must have published at least: the end of the topic, or the kind of an event.
EVERYWHERE = {
    "availability",
    "info",
    "status",
    "participant/emotion",
    "participant/model",
    "group/emotion",
    "session_started",
    "session_ended",
    "participant_joined",
}
DEMO = EVERYWHERE | {"change"}
ROOM = EVERYWHERE | {"participant_left", "consent_changed", "participant/consent/set"}


def sort_of(topic: str, payload: bytes) -> str:
    """Which sort of message it is."""
    parts = topic.split("/")
    if parts[-1] == "event":
        return str(json.loads(payload)["kind"])
    if "session" not in parts:
        return parts[-1]
    return "/".join(part for part in parts[4:] if not part.startswith("p-"))


def held_against_the_document(heard: Heard, wanted: set[str]) -> None:
    """Every message is as the document says, and those that make the run one worth looking at are there."""
    contract = Contract()
    assert [complaint for topic, payload in heard for complaint in contract.complaints(topic, payload)] == []
    seen = {sort_of(topic, payload) for topic, payload in heard if payload}
    assert wanted <= seen, wanted - seen
    assert len(heard) > 50


def written_down(listener: Talker, until: Callable[[], object]) -> Heard:
    """Everything that is published while something goes on, up to `offline`."""
    listener.until(lambda line: "listening" in line, 300)
    until()
    lines: Heard = []
    while not (lines and lines[-1][0].endswith("/availability") and lines[-1][1] == b"offline"):
        line = listener.until(lambda line: "topic" in line, 120)
        lines.append((line["topic"], line["payload"].encode()))
    return lines


def test_the_demo(environment: dict[str, str], tmp_path: Path) -> None:
    """Twenty-five seconds of the made-up call: every message valid."""
    wanted = environment | {"ATTUNED_MQTT__PORT": str(PORT)}
    with Talker([sys.executable, str(TESTS / "mqtt_ear.py"), str(PORT)], tmp_path / "ear.log") as listener:
        demo = subprocess.Popen(
            [sys.executable, "-m", "daemon", "demo", "--seconds", "25"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=wanted,
            cwd=tmp_path,
        )
        try:
            heard = written_down(listener, lambda: None)
            assert demo.wait(120) == 0
        finally:
            demo.kill()
            demo.communicate()
    held_against_the_document(heard, DEMO)


def faces(call: Path, number: int) -> Iterator[np.ndarray]:
    """What one person of the made-up call shows in its first two seconds."""
    x1, y1, x2, y2 = make_script(8).people[number].rect
    with av.open(str(call)) as container:
        for picture in islice(container.decode(video=0), 50):
            tile = np.ascontiguousarray(picture.to_ndarray(format="rgb24")[y1:y2, x1:x2])
            yield av.VideoFrame.from_ndarray(tile, format="rgb24").reformat(480, 270).to_ndarray(format="rgb24")


def test_a_janus_room(janus, namespaces, short_call, tmp_path) -> None:  # noqa: ANN001
    """Three people are read once they agreed; one leaves; the bot goes: every message valid."""
    server: JanusServer = janus()
    config = tmp_path / "attuned.yaml"
    address = namespaces.bot_address
    config.write_text(f"mqtt: {{port: {PORT}}}\nwebrtc: {{addresses: [{address}]}}\nstate_dir: {tmp_path / 'state'}\n")
    words = ["join", f"janus+{server.url}?room=1234", "--purpose", "research", "-c", str(config)]
    callers = python(server.namespace, TESTS / "publishers.py", server.url)
    ear = python(namespaces.bot, TESTS / "mqtt_ear.py", str(PORT))
    with Talker(callers, tmp_path / "people.log") as people, Talker(ear, tmp_path / "ear.log") as listener:
        for number in range(3):
            clip = encode(tmp_path / f"{number}.mkv", faces(short_call.path, number))
            people.tell(join=f"person {number}", room=1234, videos=[[str(clip), "camera"]])
            people.until(lambda line: "joined" in line, 120)
        bot = subprocess.Popen(
            inside(namespaces.bot, sys.executable, "-m", "daemon", *words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=TESTS.parent,
        )

        def meanwhile() -> None:
            agree = python(namespaces.bot, TESTS / "mqtt_agree.py", str(PORT))
            subprocess.run(["env", f"PYTHONPATH={TESTS.parent}", *agree], check=True, timeout=240)
            time.sleep(6)
            people.tell(leave="person 0")
            time.sleep(4)
            bot.terminate()

        try:
            heard = written_down(listener, meanwhile)
            bot.wait(30)
        finally:
            bot.kill()
            bot.communicate()
    held_against_the_document(heard, ROOM)
