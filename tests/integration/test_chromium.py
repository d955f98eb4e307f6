"""A caller in a real browser, seen by the bot through a real Janus."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from janus_server import JanusServer, fixture_janus  # noqa: F401
from namespaces import Namespaces, fixture_namespaces, python, require  # noqa: F401
from talker import Talker

TESTS = Path(__file__).parent.parent
SIZE = (640, 360)
N_PICTURES = 60

pytestmark = pytest.mark.timeout(120)


def _write_camera(call: Path, camera: Path) -> np.ndarray:
    """What the browser's camera sees: pictures of a call as y4m, and what they are like, (N, 9, 16) grey levels."""
    small = []
    with av.open(str(call)) as container, camera.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % SIZE)
        for picture in container.decode(video=0):
            planes = picture.reformat(*SIZE, format="yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())
            small.append(cv2.resize(planes[: SIZE[1]].astype(float), (16, 9), interpolation=cv2.INTER_AREA))
            if len(small) == N_PICTURES:
                break
    return np.array(small)


def test_the_bot_sees_the_camera_of_a_browser(
    janus: Callable[..., JanusServer],
    namespaces: Namespaces,
    short_call,  # noqa: ANN001 (of conftest)
    tmp_path: Path,
) -> None:
    """Chromium publishes a made-up call as its camera; the bot shows one participant with just that picture."""
    require(["chromium"])
    camera = tmp_path / "call.y4m"
    truth = _write_camera(short_call.path, camera)
    server = janus()
    words = json.dumps({"addresses": [namespaces.bot_address], "thumbnails": True})
    bot = python(namespaces.bot, TESTS / "room_bot.py", f"janus+{server.url}?room=1234", words)
    caller = [str(TESTS / "chromium_caller.py"), server.url, "1234", str(camera), "1"]
    with (
        Talker(bot, tmp_path / "bot.log") as watcher,
        Talker(python(namespaces.sfu, Path(caller[0]), *caller[1:]), tmp_path / "caller.log") as browser,
    ):
        said = browser.until(lambda line: "said" in line, timeout_s=60)
        assert said["error"] is None, said
        line = watcher.until(lambda line: any(line.get("thumbnails", {}).values()), timeout_s=30)
        for _ in range(3):  # the first pictures are blurred until the browser has found its bit rate
            line = watcher.until(lambda line: any(line.get("thumbnails", {}).values()))
        (seen,) = line["thumbnails"].values()
        # As yuv maps luma to a grey level up to a straight line, likeness is correlation.
        likeness = [np.corrcoef(np.ravel(seen), picture.ravel())[0, 1] for picture in truth]
        assert max(likeness) > 0.99
        assert len(line["feeds"]) == 1
        browser.finish()
        watcher.until(lambda line: line.get("feeds") == [], timeout_s=30)
        end = watcher.finish()
        assert (end["problem"], end["tasks"], end["threads"]) == (None, [], [])


def test_a_fixed_size_of_a_simulcast_is_asked_for(
    janus: Callable[..., JanusServer],
    namespaces: Namespaces,
    short_call,  # noqa: ANN001 (of conftest)
    tmp_path: Path,
) -> None:
    """Of two sizes that a browser sends each bot gets the one that it is set to."""
    require(["chromium"])
    camera = tmp_path / "call.y4m"
    _write_camera(short_call.path, camera)
    server = janus()
    caller = [server.url, "1234", str(camera), "2"]
    with Talker(python(namespaces.sfu, TESTS / "chromium_caller.py", *caller), tmp_path / "caller.log") as browser:
        said = browser.until(lambda line: "said" in line, timeout_s=60)
        assert said["error"] is None, said
        for substream, height in ((0, 180), (1, 360)):
            words = json.dumps({"addresses": [namespaces.bot_address], "substream": substream})
            command = python(namespaces.bot, TESTS / "room_bot.py", f"janus+{server.url}?room=1234", words)
            with Talker(command, tmp_path / "bot.log") as watcher:
                watcher.until(lambda line: [size[1] for size in line.get("seen", {}).values()] == [height])  # noqa: B023
                assert watcher.finish()["problem"] is None
        browser.finish()
