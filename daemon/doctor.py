"""What is missing on this machine, and how to fix it."""

import ctypes
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from config.settings import Settings
from daemon.app import locked, state_folder
from daemon.broker import free_port
from daemon.errors import AttunedError
from models.errors import ModelError
from models.loading import load_models

LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    needed: bool = True
    """Whether attuned cannot do its main job without it."""


def examine() -> list[Finding]:
    """Everything that is known to go missing; changes nothing."""
    settings = Settings()
    findings = [_python()]
    findings += [_library(name, package) for name, package in LIBRARIES.items()]
    findings.append(_try("expression models", _models))
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
    findings.append(
        Finding("live calls", ok=False, detail="WebRTC and RTSP are not joined by this version", needed=False)
    )
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
    try:
        return Finding(what, ok=True, detail=look())
    except (AttunedError, ModelError) as error:
        return Finding(what, ok=False, detail=str(error))


def _models() -> str:
    models = load_models()
    return f"{models.pixel.version}, {models.landmark.version}, hashes as in the manifest"


def _state(settings: Settings) -> str:
    folder = state_folder(settings)
    with locked(folder):
        return str(folder)


def _port(settings: Settings) -> str:
    port = free_port(settings.mqtt.host, settings.mqtt.port)
    taken = "" if port == settings.mqtt.port else f" ({settings.mqtt.port} is taken)"
    return f"the embedded broker would listen on {settings.mqtt.host}:{port}{taken}"


def _hint(*, ok: bool, fix: str) -> str:
    return "found" if ok else fix
