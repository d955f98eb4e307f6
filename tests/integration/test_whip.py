"""A real browser on another machine pushes to the WHIP endpoint."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from namespaces import Namespaces, fixture_namespaces, python, require, sniffed  # noqa: F401
from talker import Talker

TESTS = Path(__file__).parent.parent
SIZE = (640, 360)
TOKEN = "s3cret"  # noqa: S105

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's camera sees: bars that move, as y4m."""
    path = tmp_path_factory.mktemp("camera") / "bars.y4m"
    bars = np.tile(np.repeat(np.arange(16, 236, 22, dtype=np.uint8), SIZE[0] // 10), (SIZE[1], 1))
    grey = np.full(SIZE[0] * SIZE[1] // 2, 128, np.uint8).tobytes()
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % SIZE)
        for i in range(20):
            file.write(b"FRAME\n" + np.roll(bars, 8 * i, axis=1).tobytes() + grey)
    return path


@pytest.fixture(scope="module")
def browser(namespaces: Namespaces, camera: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talker]:
    """Chromium on the other machine."""
    require(["chromium"])
    folder = tmp_path_factory.mktemp("browser")
    command = python(namespaces.sfu, TESTS / "whip_browser.py", str(camera))
    with Talker(command, folder / "log") as talker:
        yield talker


@pytest.mark.parametrize(("codec", "simulcast"), [("video/VP8", False), ("video/H264", False), ("video/VP8", True)])
def test_a_browser_pushes_and_leaves(
    namespaces: Namespaces,
    browser: Talker,
    tmp_path: Path,
    codec: str,
    simulcast: bool,  # noqa: FBT001
) -> None:
    """With a preflight, the token, candidates that trickle in, sound beside the picture, and DELETE in the end."""
    host = python(namespaces.bot, TESTS / "whip_host.py", namespaces.bot_address, TOKEN)
    with sniffed(namespaces.bot) as packets, Talker(host, tmp_path / "log") as endpoint:
        url = endpoint.until(lambda line: "url" in line)["url"]
        browser.tell(url=url, token=TOKEN, codec=codec, simulcast=simulcast)
        said = browser.until(lambda line: "said" in line, timeout_s=60)
        assert said["error"] is None, said
        assert (said["said"]["status"], said["said"]["state"]) == (201, "connected"), said
        assert set(said["said"]["patched"]) <= {204}, said
        seen = endpoint.until(lambda line: line["pictures"] > 30 and line["sizes"] == [list(SIZE)], timeout_s=30)
        assert seen["feeds"] == ["gallery"]
        browser.tell(leave=True)
        assert browser.until(lambda line: "said" in line)["said"] == {"status": 200}
        endpoint.until(lambda line: line["feeds"] == [])
        endpoint.finish()
    assert {source for source, _ in packets} == {namespaces.bot_address}


@pytest.mark.parametrize(
    ("codec", "token", "status", "text"),
    [("video/VP9", TOKEN, 400, "comes as VP9, and attuned reads VP8"), ("video/VP8", "wrong", 401, "http.token")],
)
def test_a_browser_is_told_why_not(
    namespaces: Namespaces, browser: Talker, tmp_path: Path, codec: str, token: str, status: int, text: str
) -> None:
    """The page can read the status and the reason, although it is of another origin."""
    host = python(namespaces.bot, TESTS / "whip_host.py", namespaces.bot_address, TOKEN)
    with Talker(host, tmp_path / "log") as endpoint:
        url = endpoint.until(lambda line: "url" in line)["url"]
        browser.tell(url=url, token=token, codec=codec, simulcast=False)
        said = browser.until(lambda line: "said" in line, timeout_s=60)["said"]
        assert said["status"] == status
        assert text in said["text"]
        endpoint.finish()
