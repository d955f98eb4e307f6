"""GStreamer's RTSP server on loopback, which can be killed, frozen and started again on the same port."""

import io
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from pipeline.types import U8

PYTHON = "/usr/bin/python3"
"""Debian's, which has python3-gi."""
BITS, BLOCK = 20, 16
"""As in gst_rtsp.py."""
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! rtph264pay name=pay0"
CLOCK = f"CLOCK ! {H264}"


class RtspServer:
    """Serves pipelines by path; `options` are those of gst_rtsp.py."""

    def __init__(self, paths: dict[str, str], *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.paths = paths
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str, scheme: str = "rtsp") -> str:
        """Where a path is."""
        return f"{scheme}://127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        """Returns when it listens."""
        script = Path(__file__).parent / "gst_rtsp.py"
        paths = [f"{path}={pipeline}" for path, pipeline in self.paths.items()]
        self._process = subprocess.Popen(
            [PYTHON, script, "--port", str(self.port), *self._options, *paths],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], 20)[0] or not self._process.stdout.readline():
            self.stop()
            pytest.fail("GStreamer's RTSP server does not start")

    def stop(self) -> None:
        """Ends it, without goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """It does nothing, but its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def rtsp_servers() -> Iterator[Callable[..., RtspServer]]:
    """For a fixture: makes servers and starts them; all are gone afterwards."""
    needed = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", needed], check=False, capture_output=True).returncode:
        missing = "GStreamer's RTSP server is needed; apt-get install python3-gi gir1.2-gst-rtsp-server-1.0"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    servers: list[RtspServer] = []

    def make(paths: dict[str, str], *options: str) -> RtspServer:
        server = RtspServer(paths, *options)
        servers.append(server)
        server.start()
        return server

    try:
        yield make
    finally:
        for server in servers:
            server.stop()


def looped(folder: Path, *recordings: Path) -> str:
    """The pipeline that serves recordings in H.264, one after another, over and over, at their own speed."""
    stream = folder / "looped.h264"
    with stream.open("wb") as file:
        for recording in recordings:
            file.write(_raw(recording))
    return f"multifilesrc location={stream} loop=true ! h264parse ! rtph264pay config-interval=-1 name=pay0"


def _raw(recording: Path) -> bytes:
    """Its pictures as a bare stream of one slice each: of more this server loses the first."""
    stream = io.BytesIO()
    with av.open(str(recording)) as source, av.open(stream, "w", format="h264") as target:
        template = source.streams.video[0]
        encoder = target.add_stream("libx264", rate=template.average_rate)
        encoder.width, encoder.height, encoder.pix_fmt = template.width, template.height, "yuv420p"
        encoder.thread_type = "FRAME"
        encoder.options = {"preset": "ultrafast", "crf": "25", "g": "50", "slices": "1"}
        for picture in source.decode(video=0):
            picture.pict_type = PictureType.NONE
            target.mux(encoder.encode(picture))
        target.mux(encoder.encode(None))
        target.close()
        return stream.getvalue()


def age_ms(rgb: U8) -> int:
    """How long ago a picture of CLOCK was made, in milliseconds; the monotonic clock is the machine's."""
    bits = rgb[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK, 0] > np.uint8(128)
    stamp = sum(1 << bit for bit in range(BITS) if bits[bit])
    return (int(1000 * time.monotonic()) - stamp) % (1 << BITS)
