"""Every fault that attuned promises to survive, what it promises, and how it is made."""

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_rig import HOLD_S, ROOT, Daemon, Rig
from rtsp_server import RtspServer, looped

BACK_S = 10.0
"""A peer that came back is found within this time."""
PIXEL = Path("models/weights/pixel.onnx")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault: whether its own promise holds, in words, and seconds from its end until all is well."""

    holds: bool
    found: str
    recovery_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What a fault is done to. scale: 1 for the whole suite; less where time is short."""

    rig: Rig
    server: RtspServer
    scale: float

    def lasts(self, seconds: float) -> float:
        """That long, or shorter where time is."""
        return max(2.0, seconds * self.scale)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. short: also in CI."""

    name: str
    promise: str
    do: Callable[[Stage], Outcome]
    short: bool = False


def recovered(found: str, recovery_s: float, *, within_s: float = BACK_S, holds: bool = True) -> Outcome:
    """A fault that is over."""
    return Outcome(holds and recovery_s <= within_s, found, round(recovery_s, 1))


# The broker


def broker_down(stage: Stage) -> Outcome:
    """It is stopped, and comes back."""
    rig = stage.rig
    rig.broker.stop()
    time.sleep(stage.lasts(20))
    state = rig.state("call")
    rig.broker.start()
    took_s = rig.until_event(30)
    return recovered(f"the call was {state} meanwhile", took_s, holds=state == "live")


def broker_refuses(stage: Stage) -> Outcome:
    """It lets nobody in for a while."""
    rig = stage.rig
    rig.broker.stop()
    rig.broker.start(refuses=True)
    time.sleep(stage.lasts(15))
    state, alive = rig.state("call"), rig.daemon.is_alive
    rig.broker.stop()
    rig.broker.start()
    took_s = rig.until_event(30)
    return recovered(f"the call was {state} meanwhile", took_s, holds=alive and state == "live")


def broker_frozen(stage: Stage) -> Outcome:
    """It answers nothing, but its connections stay."""
    rig = stage.rig
    rig.broker.freeze()
    time.sleep(stage.lasts(20))
    state = rig.state("call")
    rig.broker.thaw()
    took_s = rig.until_event(30)
    return recovered(f"the call was {state} meanwhile", took_s, holds=state == "live")


def broker_slow(stage: Stage) -> Outcome:
    """2 kB a second pass, which is less than the readings are."""
    rig = stage.rig
    rig.wire.bytes_per_s = 2000
    rig.longest_answer_s = 0.0
    time.sleep(stage.lasts(20))
    state, longest_s = rig.state("call"), rig.longest_answer_s
    rig.wire.bytes_per_s = float("inf")
    took_s = rig.until_read("call", 30)
    return recovered(f"the call was {state}, the API answered within {longest_s:.1f} s", took_s, holds=state == "live")


def broker_cut(stage: Stage) -> Outcome:
    """Its connection is cut after 40 to 4000 bytes, in the middle of whatever that is, over and over."""
    rig = stage.rig
    before = rig.wire.n_cuts
    rig.wire.cut_after = lambda: rig.random.randint(40, 4000)
    rig.broker.stop()
    rig.broker.start()
    time.sleep(stage.lasts(30))
    rig.wire.cut_after = None
    n = rig.wire.n_cuts - before
    took_s = rig.until_read("call", 40)
    return recovered(f"cut {n} times", took_s, within_s=BACK_S + 5, holds=n > 0)


# The source


def source_gone(stage: Stage) -> Outcome:
    """The RTSP server is killed, and started again."""
    rig, server = stage.rig, stage.server
    server.stop()
    gone_s = time.time()
    rig.until_state("call", {"reconnecting"}, 20)
    time.sleep(stage.lasts(8))
    back_s = time.time()
    read = [r["second"] for r in rig.read_since(gone_s + HOLD_S) if r["second"] < back_s]
    server.start()
    took_s = rig.until_read("call", 30)
    return recovered(f"{len(read)} readings of seconds without a picture", took_s, holds=not read)


def source_stalls(stage: Stage) -> Outcome:
    """The RTSP server stands still, with its connections open, and goes on."""
    rig, server = stage.rig, stage.server
    server.freeze()
    gone_s = time.time()
    time.sleep(stage.lasts(15))
    back_s = time.time()
    read = [r["second"] for r in rig.read_since(gone_s + HOLD_S) if r["second"] < back_s]
    server.thaw()
    took_s = rig.until_read("call", 40)
    return recovered(f"{len(read)} readings of seconds without a picture", took_s, holds=not read)


def _other(stage: Stage, path: str, seconds: float) -> tuple[list[dict[str, Any]], set[str], str]:
    """Readings, people and the state in the end of a second session on another path of the server."""
    rig = stage.rig
    began_s = time.time()
    rig.begin(path, stage.server.url(path) if "/" not in path else path)
    time.sleep(seconds)
    state = rig.state(path)
    rig.daemon.ask("DELETE", f"/api/v1/sessions/{path}")
    heard = [r for _, r in list(rig.heard.readings) if r["session"] == path and r["second"] >= began_s - 1]
    return heard, {r["participant"] for r in heard}, state


def resolution_changes(stage: Stage) -> Outcome:
    """A stream goes from 1280x720 to 640x360 and back every few seconds."""
    heard, people, state = _other(stage, "sizes", stage.lasts(30))
    read = [r for r in heard if r["coverage"] > 0]
    found = f"{len(people)} people of 4, {len(read)} readings, state {state}"
    return Outcome(len(people) == 4 and bool(read) and state == "live", found)


def garbage(stage: Stage) -> Outcome:
    """A stream with every third byte of its pictures wrong for four of every twelve seconds."""
    heard, people, state = _other(stage, "garbage", stage.lasts(40))
    read = [r for r in heard if r["coverage"] > 0]
    found = f"{len(people)} people of 4, {len(read)} readings, state {state}"
    return Outcome(len(people) <= 4 and bool(read) and state == "live", found)


def wrong_timestamps(stage: Stage) -> Outcome:
    """A recording whose timestamps jump back, far ahead and below zero is played."""
    rig = stage.rig
    path = stage.rig.folder / "wrong-times.ts"
    rig.begin("times", str(path))
    rig.until_state("times", {"ended", "failed"}, 60)
    state = rig.state("times")
    seconds = [r["second"] for _, r in list(rig.heard.readings) if r["session"] == "times"]
    span = max(seconds, default=-1) + 1
    found = f"state {state}, {span} seconds told of a recording of 8"
    return Outcome(state == "ended" and 6 <= span <= 10, found)


# The machine


def stopped(stage: Stage) -> Outcome:
    """The process is stopped by SIGSTOP for half a minute, and goes on."""
    rig = stage.rig
    gone_s = time.time()
    rig.daemon.send(signal.SIGSTOP)
    time.sleep(stage.lasts(30))
    back_s = time.time()
    rig.daemon.send(signal.SIGCONT)
    took_s = rig.until_read("call", 40)
    read = [r["second"] for r in rig.read_since(gone_s + HOLD_S) if r["second"] + 1 < back_s]
    return recovered(f"{len(read)} readings of seconds in which it stood still", took_s, holds=not read)


def no_files(stage: Stage) -> Outcome:
    """No file and no socket can be opened, while broker and source go away; then they can again."""
    rig, server = stage.rig, stage.server
    pid = rig.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, before[1]))
    rig.broker.stop()
    server.stop()
    time.sleep(1)
    server.start()
    rig.broker.start()
    time.sleep(stage.lasts(15))
    alive = rig.daemon.is_alive
    if alive:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    took_s = rig.until_read("call", 40) if alive else 0.0
    return recovered(f"the daemon {'lives' if alive else 'is gone'}", took_s, within_s=BACK_S + 5, holds=alive)


def disk_full(stage: Stage) -> Outcome:
    """The state folder's disk is filled to the last byte, and freed again."""
    rig = stage.rig
    ballast = rig.daemon.state / "ballast"
    fill(ballast)
    time.sleep(stage.lasts(20))
    alive, state = rig.daemon.is_alive, rig.state("call")
    recent = rig.read_since(time.time() - 4)
    ballast.unlink()
    took_s = rig.until_event(40) if alive else 0.0
    found = f"the call was {state}, {len(recent)} readings in the last 4 s of it"
    return recovered(found, took_s, holds=alive and state == "live" and bool(recent))


def fill(ballast: Path) -> None:
    """Writes until the disk takes no byte more."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


RUNNING = (
    Fault("broker down", "events wait on disk; none lost; back in 10 s", broker_down),
    Fault("broker refuses", "the call goes on; none lost; back in 10 s", broker_refuses, short=True),
    Fault("broker frozen", "the call goes on; none lost; back in 10 s", broker_frozen),
    Fault("broker slow (2 kB/s)", "the call goes on; none lost; readings current again in 10 s", broker_slow),
    Fault("broker cut mid-message", "none lost, duplicates alike; back in 15 s", broker_cut, short=True),
    Fault("source killed", "no reading without a picture; read again in 10 s", source_gone, short=True),
    Fault("source stalls", "no reading without a picture; read again in 10 s", source_stalls),
    Fault("resolution changes", "the same four people go on being read", resolution_changes),
    Fault("garbage bitstream", "nobody is made up; the call stays live", garbage),
    Fault("wrong timestamps", "every second once, in order; the recording is read to its end", wrong_timestamps),
    Fault("SIGSTOP 30 s, SIGCONT", "no reading of the time between; read again in 10 s", stopped, short=True),
    Fault("out of file descriptors", "the process lives; back in 15 s", no_files, short=True),
    Fault("disk full", "readings go on; no event lost; back in 10 s", disk_full, short=True),
)
"""What is done, one after the other, to one daemon that must live through it all."""


def strike(stage: Stage, fault: Fault) -> Outcome:
    """Does it, and looks at what every fault promises: no crash, no event lost, no impossible reading."""
    try:
        outcome = fault.do(stage)
    except AssertionError as error:
        outcome = Outcome(holds=False, found=str(error))
    problems = stage.rig.problems()
    if problems:
        return Outcome(holds=False, found="; ".join([outcome.found, *problems]), recovery_s=outcome.recovery_s)
    return outcome


# Daemons of their own


def _refusal(daemon: Daemon, wanted: str) -> Outcome:
    """What a daemon that cannot start says: status 2, and one line."""
    daemon.start()
    assert daemon.process is not None
    try:
        status = daemon.process.wait(120)
    except subprocess.TimeoutExpired:
        daemon.end(signal.SIGKILL)
        return Outcome(holds=False, found="it runs")
    lines = [line for line in daemon.log().splitlines() if line.strip()]
    said = lines[-1] if lines else ""
    holds = status == 2 and len(lines) == 1 and wanted in said
    return Outcome(holds, f"exit {status}, {len(lines)} line: {said.replace(str(daemon.folder), '…')[:160]}")


def _copy(folder: Path) -> Path:
    """The program in a folder of its own, whose model files can be harmed."""
    copy = folder / "program"
    for package in ("pipeline", "models", "config", "daemon"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def model_missing(folder: Path) -> Outcome:
    """The file of the model that reads pictures is not there."""
    copy = _copy(folder)
    (copy / PIXEL).unlink()
    return _refusal(Daemon(folder, {"PYTHONPATH": str(copy)}), PIXEL.name)


def model_corrupt(folder: Path) -> Outcome:
    """One bit of the model that reads pictures is wrong."""
    copy = _copy(folder)
    data = bytearray((copy / PIXEL).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / PIXEL).write_bytes(bytes(data))
    return _refusal(Daemon(folder, {"PYTHONPATH": str(copy)}), PIXEL.name)


def read_only(folder: Path) -> Outcome:
    """The state folder is on a disk that is mounted read-only."""
    state = folder / "disk"
    with tmpfs(state, "4m"):
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        return _refusal(Daemon(folder, {}, state=state), "state_dir")


def full_at_start(folder: Path) -> Outcome:
    """The disk is full when it starts."""
    state = folder / "disk"
    with tmpfs(state, "4m"):
        fill(state / "ballast")
        daemon = Daemon(folder, {}, state=state)
        daemon.start()
        assert daemon.process is not None
        status = daemon.process.wait(120)
        lines = daemon.log().splitlines()
        said = lines[-1] if lines else ""
        holds = status in {1, 2} and "Traceback" not in daemon.log() and str(state) in said
        return Outcome(holds, f"exit {status}: {said.replace(str(folder), '…')[:160]}")


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[None]:
    """A small disk in memory, mounted there while the context lasts; root's."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


STARTING = (
    ("model file missing", "exit 2 and one line", model_missing, False),
    ("model file corrupt", "exit 2 and one line", model_corrupt, True),
    ("read-only state folder", "exit 2 and one line", read_only, True),
    ("disk full at start", "one line that names the folder, no traceback", full_at_start, False),
)
"""Daemons that cannot start: name, promise, how, and whether CI does it too."""


def can_mount() -> bool:
    """Whether small disks can be made here."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


# What is served


def harmful_streams(folder: Path, call: Path) -> dict[str, str]:
    """Pipelines for an RTSP server: `call` as it is, `sizes` and `garbage`; and `wrong-times.ts` beside them."""
    streams = folder / "streams"
    streams.mkdir()
    small = streams / "small.mp4"
    command = ["ffmpeg", "-v", "error", "-i", call, "-vf", "scale=640:360", "-c:v", "libx264", "-preset", "ultrafast"]
    subprocess.run([*command, small], check=True)
    paths: dict[str, str] = {}
    for name, recordings in {"call": [call], "sizes": [call, small], "garbage": [call]}.items():
        (streams / name).mkdir()
        paths[name] = looped(streams / name, *recordings)
    file = streams / "garbage" / "looped.h264"
    file.write_bytes(spoiled(file.read_bytes()))
    scrambled(call, folder / "wrong-times.ts")
    return paths


def spoiled(stream: bytes, *, every: int = 3, seed: int = 1) -> bytes:
    """An H.264 stream in the middle third of whose pictures bytes are wrong; its start codes and headers are left."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    units = stream.split(b"\0\0\1")
    out = []
    for number, unit in enumerate(units):
        kind = unit[0] & 31 if unit else 0
        if kind in {1, 5} and len(units) / 3 < number < 2 * len(units) / 3:
            body = bytearray(unit)
            for at in range(12, len(body) - 4, every):
                # Never a byte of which a start code could be made.
                body[at] = chance.randint(4, 255)
            unit = bytes(body)  # noqa: PLW2901
        out.append(unit)
    return b"\0\0\1".join(out)


def scrambled(call: Path, path: Path) -> None:
    """Eight seconds of a recording in four parts whose timestamps begin at 0, a day, 0 again and two hours."""
    with path.open("wb") as whole:
        for number, offset_s in enumerate((0, 86_400, 0, 7200)):
            part = path.with_suffix(f".{number}.ts")
            command = ["ffmpeg", "-v", "error", "-ss", str(2 * number), "-t", "2", "-i", call, "-c:v", "libx264"]
            more = ["-preset", "ultrafast", "-bf", "0", "-output_ts_offset", str(offset_s), "-f", "mpegts", part]
            subprocess.run([*command, *more], check=True)
            whole.write(part.read_bytes())
