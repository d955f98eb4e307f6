"""Recordings: any container and codec that FFmpeg reads, as frames on a regular grid of time.

A recording's timeline begins with its first picture. What is given out for the instant k / rate is the picture
that a player would show then: the newest one whose time is not later. So variable frame rates and missing
frames need no special case, and a still stretch counts as seen, but for no longer than `hold_s`.
"""

import asyncio
import contextlib
import os
import re
import stat
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from daemon.errors import SourceError
from daemon.sources.source import Moment
from pipeline.types import U8, Frame
from pipeline.wire import EPOCH, parse_time

FALLBACK_FPS = 25.0
BACK_MAX_S = 0.5
GAP_MAX_S = 3600.0
"""Timestamps that step back or ahead by more than this have been set anew: time goes on from the picture before."""
MISSING_MAX_S = 2.0
"""A file whose pictures end this much before it says they do has lost its end."""
FINGERPRINT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file says of itself before it is read."""

    path: Path
    fingerprint: str
    """Hexadecimal SHA-256 of size, beginning and end: the same recording, whatever it is called."""
    duration_s: float | None
    """For progress bars; of the whole file, where the video's own is not known."""
    video_s: float | None
    """From the first picture to the end of the last, where the file says so."""
    width: int
    height: int
    fps: float
    codec: str
    anchor: datetime
    """UTC of the first picture: the container's creation time, else 1970."""


@dataclass(slots=True)
class Tally:
    """What happened to the pictures of a file."""

    n_decoded: int = 0
    n_broken: int = 0
    n_out_of_order: int = 0
    n_jumps: int = 0
    end_s: float = 0.0
    """Where the last picture ends, in seconds from the first."""
    problem: str | None = None
    """Why the file ended before its end."""


def probe(path: Path) -> Recording:
    """What the file says of itself.

    Raises:
        SourceError: It is missing, unreadable, empty, no video, or has sound only.
    """
    with _open(path) as container:
        stream = _moving_pictures(container)
        video_s = _video_s(stream)
        fps = stream.average_rate or stream.guessed_rate
        return Recording(
            path=path,
            fingerprint=_fingerprint(path),
            duration_s=video_s or (container.duration / av.time_base if container.duration else None),
            video_s=video_s,
            width=stream.width,
            height=stream.height,
            fps=float(fps) if fps else FALLBACK_FPS,
            codec=stream.codec_context.name,
            anchor=_creation_time(container.metadata.get("creation_time")),
        )


def read_frames(recording: Recording, *, rate_hz: float, hold_s: float, tally: Tally) -> Generator[Frame, None, None]:
    """Frames at k / rate_hz, k = 0, 1, …, from the first picture to the end of the last.

    Args:
        recording: What `probe` returned.
        rate_hz: Frames per second.
        hold_s: How long a picture is shown when none follows.
        tally: Is kept up to date; its `problem` says whether the file broke off.
    """
    source_id = recording.fingerprint[:8]
    slot, shown_s = 0, 0.0
    shown: _Shown | None = None

    def until(end_s: float) -> Iterator[Frame]:
        """Frames before this time; a file may say that years pass, which are not counted through."""
        nonlocal slot
        while shown is not None and slot / rate_hz < end_s and slot / rate_hz - shown_s <= hold_s:
            yield Frame(source_id, slot / rate_hz, shown.rgb())
            slot += 1
        slot = max(slot, int(end_s * rate_hz) - 1)
        while slot / rate_hz < end_s:
            slot += 1

    for picture, time_s, aspect in _pictures(recording, tally):
        yield from until(time_s)
        shown, shown_s = _Shown(picture, aspect), time_s
    yield from until(tally.end_s)


class _Shown:
    """A decoded picture that is converted when it is first asked for."""

    def __init__(self, picture: VideoFrame, aspect: float) -> None:
        self._picture = picture
        self._aspect = aspect
        self._rgb: U8 | None = None

    def rgb(self) -> U8:
        """(H, W, 3) uint8 RGB, upright and with square pixels."""
        if self._rgb is None:
            self._rgb = upright_rgb(self._picture, self._aspect)
        return self._rgb


def upright_rgb(picture: VideoFrame, aspect: float = 1.0) -> U8:
    """(H, W, 3) uint8 RGB as a player shows it: turned by the rotation in the metadata, pixels made square.

    Args:
        picture: A decoded picture; its rotation is in degrees, counter-clockwise.
        aspect: Width of a pixel divided by its height.
    """
    width = max(2, round(picture.width * aspect))
    rgb = picture.to_ndarray(format="rgb24", width=width, height=picture.height).astype(np.uint8, copy=False)
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _pictures(recording: Recording, tally: Tally) -> Iterator[tuple[VideoFrame, float, float]]:
    """Decoded pictures, their time from the first one and their pixels' aspect; broken ones are counted."""
    first_s: float | None = None
    period_s = min(1 / recording.fps, GAP_MAX_S)
    last_s = -period_s
    with _open(recording.path) as container:
        stream = _moving_pictures(container)
        stream.thread_type = "AUTO"
        for picture in _decode(container, stream.index, tally):
            tally.n_decoded += 1
            time_s = last_s + period_s
            if picture.pts is not None and picture.time_base:
                if first_s is not None and not -BACK_MAX_S < picture.time - first_s - last_s < GAP_MAX_S:
                    tally.n_jumps += 1
                    first_s = None
                first_s = picture.time - time_s if first_s is None else first_s
                # Ticks become decimals: a whole second must stay one.
                time_s = round(picture.time - first_s, 9)
            if time_s <= last_s:
                tally.n_out_of_order += 1
                continue
            last_s = time_s
            length_s = float(picture.duration * picture.time_base) if picture.duration and picture.time_base else 0.0
            tally.end_s = round(time_s + (length_s if 0 < length_s < 1 else period_s), 9)
            yield picture, time_s, float(stream.sample_aspect_ratio or 1)
    if tally.problem is None and tally.n_decoded == 0:
        tally.problem = "no picture could be decoded"
    # Of timestamps that were set anew the container counts the jumps.
    is_known = recording.video_s is not None and tally.n_jumps == 0
    if tally.problem is None and is_known and tally.end_s < (recording.video_s or 0.0) - MISSING_MAX_S:
        tally.problem = f"the file ends after {tally.end_s:.1f} s of {recording.video_s:.1f} s"


def _decode(container: av.container.InputContainer, index: int, tally: Tally) -> Iterator[VideoFrame]:
    """Pictures of one stream; a packet that cannot be decoded is counted and the next one tried."""
    packets = container.demux(container.streams[index])
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError as error:
            tally.problem = f"the file breaks off after {tally.end_s:.1f} s ({_reason(error)})"
            return
        try:
            pictures = packet.decode()
        except FFmpegError:
            tally.n_broken += 1
            continue
        for picture in pictures:
            if isinstance(picture, VideoFrame):
                yield picture


@contextlib.contextmanager
def _open(path: Path) -> Iterator[av.container.InputContainer]:
    """The open container.

    Raises:
        SourceError: It is missing, unreadable, empty, no video, or has sound only.
    """
    try:
        # Before opening it: a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            msg = f"{path}: is no ordinary file; save the recording to one"
            raise SourceError(msg)
        with path.open("rb") as file:
            empty = file.seek(0, os.SEEK_END) == 0
    except IsADirectoryError as error:
        msg = f"{path}: is a folder; give a video file"
        raise SourceError(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise SourceError(msg) from error
    if empty:
        msg = f"{path}: is empty (0 bytes); record it again or copy it again"
        raise SourceError(msg)
    try:
        # An absolute path: of `12:00.mp4` FFmpeg would make a protocol.
        container = av.open(os.fspath(path.absolute()), mode="r", metadata_errors="ignore")
    except FFmpegError as error:
        msg = f"{path}: is not a video that can be read ({_reason(error)})"
        raise SourceError(msg) from error
    with container:
        if not any(map(_moves, container.streams.video)):
            others = sorted({s.type for s in container.streams if s.type != "video"})
            msg = f"{path}: has no video track, only {', '.join(others) or 'nothing'}"
            raise SourceError(msg)
        # mypy: PyAV's stubs do not know that there may be no decoder.
        if getattr(_moving_pictures(container), "codec_context", None) is None:
            msg = f"{path}: its video is in a codec that cannot be read; convert it, for example to H.264"
            raise SourceError(msg)
        yield container


def _moves(stream: VideoStream) -> bool:
    """Whether a stream is a video, and not the cover picture of a song."""
    return not stream.disposition & Disposition.attached_pic


def _moving_pictures(container: av.container.InputContainer) -> VideoStream:
    """The first video of a container that `_open` has let through."""
    return next(filter(_moves, container.streams.video))


def _video_s(stream: VideoStream) -> float | None:
    """Seconds from the first picture to the end of the last, where the container says so of this very stream.

    Matroska has it in a tag, counted from the beginning of the file. The duration of a whole file is no measure: sound
    may begin earlier and end later.
    """
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None or stream.start_time is None or not stream.time_base:
        return None
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - float(stream.start_time * stream.time_base)


def _reason(error: FFmpegError) -> str:
    """What FFmpeg said, in lower case."""
    return (error.strerror or type(error).__name__).lower()


def _creation_time(text: str | None) -> datetime:
    """The container's creation time in UTC; 1970 where there is none that can be read."""
    if text is None:
        return EPOCH
    try:
        return parse_time(text)
    except ValueError:
        return EPOCH


def _fingerprint(path: Path) -> str:
    """Hexadecimal SHA-256 of the size, the first and the last megabyte."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = sha256(str(size).encode())
        for start in (0, max(0, size - FINGERPRINT_BYTES)):
            file.seek(start)
            digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()


class FileSource:
    """A recording as a source: `async with FileSource(...) as source: async for moment in source.items()`.

    One picture is decoded ahead, in the source's own thread. Unpaced, every moment is given out, as fast as they
    are taken. Paced, a moment is given out when its time has come.

    Args:
        recording: What `probe` returned.
        rate_hz: Frames per second.
        hold_s: How long a picture is shown when none follows.
        paced: Whether to keep to the recording's own speed.
    """

    def __init__(self, recording: Recording, *, rate_hz: float, hold_s: float = 2.0, paced: bool = False) -> None:
        self.recording = recording
        self.tally = Tally()
        self.is_room = False
        self.farewell = "end of recording"
        self.due_s = 0.0
        self._frames = read_frames(recording, rate_hz=rate_hz, hold_s=hold_s, tally=self.tally)
        self._paced = paced
        self._began: float | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A picture may be in the making: the file is closed in the thread that reads it, after that.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._frames.close)
        self._thread.shutdown()

    def now_s(self) -> float:
        """Where a paced playback stands on the recording's timeline; its clock starts with the first frame."""
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now
        return now - self._began

    @property
    def problem(self) -> str | None:
        """Why the file ended before its end."""
        return self.tally.problem

    @property
    def end_s(self) -> float:
        """Where the last picture ends."""
        return self.tally.end_s

    @property
    def n_undecoded(self) -> int:
        """Pictures that could not be decoded."""
        return self.tally.n_broken

    async def items(self) -> AsyncGenerator[Moment, None]:
        """Moments in order of time, each with the one frame that it shows."""
        loop = asyncio.get_running_loop()
        ahead = loop.run_in_executor(self._thread, next, self._frames, None)
        while (frame := await ahead) is not None:
            self.due_s = frame.time_s
            ahead = loop.run_in_executor(self._thread, next, self._frames, None)
            if self._paced:
                await asyncio.sleep(max(0.0, frame.time_s - self.now_s()))
            yield Moment(frame.time_s, (frame,), (frame.source_id,))
