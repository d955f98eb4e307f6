"""Small videos for tests, made with PyAV: every picture is one grey level that says which one it is."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

T = TypeVar("T")
SIZE = (64, 48)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs in a fresh loop with debug on; a task that outlives `main` fails the test."""

    async def guarded() -> T:
        result = await main
        await asyncio.sleep(0.05)  # who was cancelled just now may end
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == [], f"tasks outlive the test: {left}"
        return result

    with asyncio.Runner(debug=True) as runner:
        return runner.run(guarded())


def write_video(
    path: Path,
    levels: Sequence[int],
    *,
    times: Sequence[Fraction] | None = None,
    fps: int = 25,
    size: tuple[int, int] = SIZE,
    codec: str = "mpeg4",
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A video whose pictures have these grey levels, at `times` in seconds or evenly."""
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for i, level in enumerate(levels):
            picture = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), level, np.uint8), format="rgb24")
            time = times[i] if times else Fraction(i, fps)
            picture.pts, picture.time_base = int(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def write_pictures(path: Path, pictures: Iterable[np.ndarray], *, fps: int = 5) -> Path:
    """A video of these (H, W, 3) uint8 pictures, at a rate of bits that leaves gutters sharp."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.bit_rate = 8_000_000
        for i, picture in enumerate(pictures):
            if i == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file with an audio track only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.rate, sound.pts = 16000, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path
