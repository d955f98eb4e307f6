"""What is missing on this machine, and how to fix it.

Whatever may be missing is looked for inside its check: a library that cannot be loaded is a finding, not the end.
"""

import ctypes
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from config.errors import ConfigError
from config.sections import LOOPBACK
from config.settings import Settings
from daemon.errors import AttunedError
from daemon.state import locked, state_folder

LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    needed: bool = True
    """Whether attuned cannot do its main job without it."""


def examine(settings: Settings) -> list[Finding]:
    """Everything that is known to go missing; makes the state folder where it is not there, and nothing else."""
    findings = [_python()]
    findings += [_library(name, package) for name, package in LIBRARIES.items()]
    findings.append(_try("expression models", lambda: _models(settings)))
    findings.append(_try("face tracker", _tracker))
    findings.append(_try("state folder", lambda: _state(settings)))
    findings.append(_try("MQTT port", lambda: _port(settings)))
    cores = os.cpu_count() or 1
    findings.append(Finding("processor", cores > 1, f"{cores} cores; two read four faces live", needed=False))
    demo = find_spec("skimage") is not None
    findings.append(Finding("demo portraits", demo, _hint(ok=demo, fix='pip install "attuned[demo]"'), needed=False))
    client = shutil.which("mosquitto_sub") is not None
    findings.append(
        Finding("mosquitto_sub", client, _hint(ok=client, fix="apt-get install mosquitto-clients"), needed=False)
    )
    findings.append(_try("WebRTC", lambda: _webrtc(settings)))
    findings.append(_try("RTSP", _rtsp))
    return findings


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("Python", ok, version if ok else f"{version}; attuned needs 3.11 or 3.12")


def _library(name: str, package: str) -> Finding:
    try:
        ctypes.CDLL(name)
    except OSError:
        return Finding(name, ok=False, detail=f"apt-get install {package}")
    return Finding(name, ok=True, detail="found")


def _try(what: str, look: Callable[[], str]) -> Finding:
    """What a check returns, or why it could not."""
    try:
        return Finding(what, ok=True, detail=look())
    except ImportError as error:
        return Finding(what, ok=False, detail=f"{error}; mend what is missing above, or install attuned again")
    except (AttunedError, ConfigError) as error:
        return Finding(what, ok=False, detail=str(error))


def _models(settings: Settings) -> str:
    from daemon.assembly import models_of  # noqa: PLC0415 (see above, here and below)
    from models.errors import ModelError  # noqa: PLC0415

    try:
        models = models_of(settings)
    except ModelError as error:
        raise AttunedError(str(error)) from error
    return f"{models.pixel.version}, {models.landmark.version}, hashes as they should be"


def _tracker() -> str:
    from models.faces import still_face_finder  # noqa: PLC0415

    with still_face_finder() as finder:
        finder.find(np.zeros((64, 64, 3), dtype=np.uint8))
    return "works"


def _state(settings: Settings) -> str:
    folder = state_folder(settings)
    with locked(folder):
        return str(folder)


def _port(settings: Settings) -> str:
    from daemon.broker import free_port  # noqa: PLC0415

    if settings.mqtt.broker == "external":
        return f"external broker {settings.mqtt.host}:{settings.mqtt.port}, not asked"
    port = free_port(settings.mqtt.host, settings.mqtt.port)
    taken = "" if port == settings.mqtt.port else f" ({settings.mqtt.port} is taken)"
    return f"the embedded broker would listen on {settings.mqtt.host}:{port}{taken}"


def _webrtc(settings: Settings) -> str:
    """What can be read, and whether the addresses that are configured are there."""
    from aioice.ice import get_host_addresses  # noqa: PLC0415

    from daemon.sources.sdp import CANNOT  # noqa: PLC0415

    here = {*get_host_addresses(use_ipv4=True, use_ipv6=True), *LOOPBACK}
    missing = [str(address) for address in settings.webrtc.addresses if str(address) not in here]
    if missing:
        msg = f"webrtc.addresses: {', '.join(missing)} is not an address of this machine, which has {', '.join(here)}"
        raise AttunedError(msg)
    return CANNOT


def _rtsp() -> str:
    import av  # noqa: PLC0415

    if "rtsp" not in av.formats_available:
        msg = f"PyAV {av.__version__} was built without RTSP; install the one of constraints.txt"
        raise AttunedError(msg)
    return f"H.264, H.265, MPEG-4, MJPEG and whatever else FFmpeg {av.ffmpeg_version_info} decodes"


def _hint(*, ok: bool, fix: str) -> str:
    return "found" if ok else fix
