"""`attuned bench`: what the whole chain does in a second, against the raw cost of its models in the same run."""

import asyncio
import os
import platform
import resource
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from config.settings import Settings
from daemon.assembly import make_reader, make_session, models_of, recording_info
from daemon.consent import ConsentGate
from daemon.demo.call import make_script, write_call
from daemon.session import SessionInfo
from daemon.sources.file import FileSource, Tally, probe, read_frames
from daemon.sources.source import State
from models.faces import MediaPipeFaceTracker
from models.loading import ExpressionModels
from models.pixel import face_crop
from pipeline import wire
from pipeline.gallery import find_tiles
from pipeline.types import U8, Box, CallSecond, Event


@dataclass(slots=True)
class Stopwatch:
    """An `Observer` that keeps every figure."""

    stages: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lags: list[float] = field(default_factory=list)
    faces: int = 0

    def frame_received(self, time_s: float) -> None:
        """Not kept."""

    def frames_dropped(self, reason: str, n: int = 1) -> None:
        """Not kept."""

    def faces_analysed(self, n: int) -> None:
        """Counted."""
        self.faces += n

    def stage(self, name: str, seconds: float) -> None:
        """Summed."""
        self.stages[name] += seconds

    def second_published(self, lag_s: float) -> None:
        """Kept."""
        self.lags.append(lag_s)


class Encoder:
    """A `Sink` that makes the JSON that would be published, and nothing of it."""

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """Too rare to count."""

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Encodes all readings."""
        for reading in second.readings:
            wire.encode(wire.participant_emotion(reading, info.versions, info.stamp, 0))
        wire.encode(wire.group_emotion(second.group, info.stamp, 0))

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Encodes events."""
        for event in events:
            wire.encode(wire.event(event, info.stamp, 0))


async def run_bench(settings: Settings, seconds: int) -> dict[str, Any]:
    """Films a made-up call of four, then measures raw models, whole chain unpaced, and latency paced."""
    models = models_of(settings)
    with TemporaryDirectory(prefix="attuned-bench-") as folder, Progress(console=Console(stderr=True)) as progress:
        path = Path(folder) / "call.mp4"
        task = progress.add_task("filming", total=seconds * 25)
        await asyncio.to_thread(
            write_call, path, make_script(seconds), progress=lambda done, _: progress.update(task, completed=done)
        )
        recording = probe(path)
        rate_hz = settings.analysis.rate_hz
        task = progress.add_task("models alone", total=None)
        frames = (frame.image for frame in read_frames(recording, rate_hz=rate_hz, hold_s=2.0, tally=Tally()))
        raw = await asyncio.to_thread(_raw_faces_per_s, frames, models)
        progress.update(task, total=1, completed=1)

        async def chain(*, paced: bool, on_frame: Callable[[float], None]) -> tuple[Stopwatch, float]:
            watch = Stopwatch()
            info = recording_info(settings, recording, models, purpose="demo")
            async with (
                make_reader(settings, models, watch) as reader,
                FileSource(recording, rate_hz=rate_hz, paced=paced) as source,
            ):
                session = make_session(
                    settings,
                    info=info,
                    models=models,
                    source=source,
                    reader=reader,
                    sinks=(Encoder(),),
                    observe=watch,
                    consent=ConsentGate("declared"),
                    paced=paced,
                )
                began = time.perf_counter()
                await session.run(on_frame)
                return watch, time.perf_counter() - began

        task = progress.add_task("whole chain", total=seconds)
        watch, took_s = await chain(paced=False, on_frame=lambda t: progress.update(task, completed=t))
        task = progress.add_task("latency in real time", total=seconds)
        paced, _ = await chain(paced=True, on_frame=lambda t: progress.update(task, completed=t))
    # The first second pays for what is built once; the last ones close with the end of the file.
    lags = sorted(1000 * lag for lag in paced.lags[1:-1])
    cuts = quantiles(lags, n=20, method="inclusive")
    whole = watch.faces / took_s
    return {
        "tiles": 4,
        "rate_hz": rate_hz,
        "times_real_time": round(seconds / took_s, 2),
        "faces_per_s": round(whole, 1),
        "raw_faces_per_s": round(raw, 1),
        "share": round(whole / raw, 3),
        "second_end_to_publish_ms": {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1)},
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "stages": {name: round(total / watch.faces, 6) for name, total in sorted(watch.stages.items())},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": _commit(),
    }


def _raw_faces_per_s(frames: Iterable[U8], models: ExpressionModels) -> float:
    """Faces per second of the models alone, one after the other: mesh with tracking, both expression models."""
    tiles: tuple[Box, ...] = ()
    trackers: list[MediaPipeFaceTracker] = []
    n_faces, took_s, crop = 0, 0.0, models.pixel.crop
    for i, frame in enumerate(frames):
        if not tiles:
            tiles = find_tiles(frame)
            trackers = [MediaPipeFaceTracker() for _ in tiles]
        began = time.perf_counter()
        crops, meshes = [], []
        for tracker, (x0, y0, x1, y1) in zip(trackers, tiles, strict=True):
            tile = frame[y0:y1, x0:x1]
            for mesh in tracker.find(tile).landmarks:
                crops.append(face_crop(tile, mesh, side_px=crop.side_px, colour=crop.colour))
                meshes.append(mesh)
        if meshes:
            models.pixel.predict(np.stack(crops))
            models.landmark.predict(np.stack(meshes))
        if i > 0:  # the first picture pays for what is built once
            n_faces += len(meshes)
            took_s += time.perf_counter() - began
    for tracker in trackers:
        tracker.close()
    return n_faces / took_s


def _commit() -> str | None:
    """The commit this is run from, where it is run from a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None


def format_bench(result: dict[str, Any]) -> str:
    """The figures as text."""
    lag = result["second_end_to_publish_ms"]
    stages = ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in result["stages"].items())
    return "\n".join(
        (
            f"{result['tiles']} people at {result['rate_hz']:g} frames per second: {result['times_real_time']} x real time",
            f"whole chain      {result['faces_per_s']} faces/s",
            f"models alone     {result['raw_faces_per_s']} faces/s on one thread (share {result['share']})",
            f"second's end to publish   p50 {lag['p50']} ms, p95 {lag['p95']} ms",
            f"stages, ms per face       {stages}",
            f"memory           {result['rss_mb']} MB",
            f"machine          {result['machine']}, commit {result['commit']}",
        )
    )
