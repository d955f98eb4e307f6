"""Recordings, good and bad."""

import os
import struct
import subprocess
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from videos import SIZE, run, write_sound, write_video

from daemon.errors import SourceError
from daemon.sources.file import FileSource, Tally, probe, read_frames
from pipeline.types import Frame
from pipeline.wire import EPOCH


def frames(path: Path, rate_hz: float = 5.0, hold_s: float = 2.0) -> tuple[list[Frame], Tally]:
    """Everything that a file gives."""
    tally = Tally()
    return list(read_frames(probe(path), rate_hz=rate_hz, hold_s=hold_s, tally=tally)), tally


def levels(found: list[Frame]) -> list[int]:
    """Mean grey level of each frame."""
    return [round(float(frame.image.mean())) for frame in found]


def test_frames_come_on_a_regular_grid(tmp_path: Path) -> None:
    """Of 25 pictures per second every fifth is shown at k / 5, and whole seconds are whole."""
    found, tally = frames(write_video(tmp_path / "v.mp4", [4 * i for i in range(50)]))
    assert [i / 5 for i in range(10)] == [frame.time_s for frame in found]
    np.testing.assert_allclose(levels(found), [20 * i for i in range(10)], atol=6)
    assert (tally.n_decoded, tally.end_s, tally.problem) == (50, 2.0, None)


def test_a_variable_frame_rate_shows_what_a_player_shows(tmp_path: Path) -> None:
    """A picture stays until the next one comes; after `hold_s` without one nothing is shown."""
    times = [Fraction(0), Fraction(1, 10), Fraction(1), Fraction(5)]
    found, _ = frames(write_video(tmp_path / "v.mkv", [0, 60, 120, 180], times=times))
    shown = {frame.time_s: level for frame, level in zip(found, levels(found), strict=True)}
    expected = {0.0: 0, 0.2: 60, 0.8: 60, 1.0: 120, 2.2: 120, 3.0: 120, 5.0: 180}
    assert expected == pytest.approx({time_s: shown[time_s] for time_s in expected}, abs=6)
    assert not any(3.0 < time_s < 5.0 for time_s in shown)


def test_time_counts_from_the_first_picture(tmp_path: Path) -> None:
    """A file whose first picture is at 7.3 s begins at 0."""
    times = [Fraction(73, 10) + Fraction(i, 5) for i in range(6)]
    found, tally = frames(write_video(tmp_path / "v.mkv", [30] * 6, times=times))
    assert [frame.time_s for frame in found] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert tally.problem is None


def test_missing_timestamps_are_counted_up(tmp_path: Path) -> None:
    """A raw H.264 stream has no times: pictures follow each other at its nominal rate."""
    found, tally = frames(write_video(tmp_path / "v.h264", [40] * 50, codec="libx264"))
    assert tally.n_decoded == 50
    assert found[-1].time_s == pytest.approx(1.8, abs=0.21)


def test_rotation_in_the_metadata_is_applied(tmp_path: Path) -> None:
    """A phone's portrait video comes out upright: as ffmpeg itself would turn it."""
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:rate=5", "-t", "1", flat], check=True
    )
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", flat, "-c", "copy", "-metadata:s:v", "rotate=90", turned], check=True
    )
    raw = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", turned, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        check=True,
        capture_output=True,
    ).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(96, 64, 3).astype(int)
    found, _ = frames(turned)
    assert np.abs(found[0].image.astype(int) - expected).mean() < 8


def test_pixels_are_made_square(tmp_path: Path) -> None:
    """A picture stored at half its width is shown at its whole width."""
    path = tmp_path / "v.mp4"
    subprocess.run(
        [
            *[
                "ffmpeg",
                "-loglevel",
                "error",
                "-f",
                "lavfi",
                "-i",
                "testsrc=size=64x64:rate=5",
                "-t",
                "1",
                "-vf",
                "setsar=2",
            ],
            path,
        ],
        check=True,
    )
    found, _ = frames(path)
    assert found[0].image.shape == (64, 128, 3)


def test_the_resolution_may_change_inside_the_stream(tmp_path: Path) -> None:
    """Two sizes one after the other both come out as they are, and time goes on though its stamps begin anew."""
    parts = [
        write_video(tmp_path / f"{i}.ts", [90] * 25, size=size, codec="libx264")
        for i, size in enumerate([(64, 48), (128, 96)])
    ]
    path = tmp_path / "v.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found, tally = frames(path)
    assert [frame.image.shape for frame in found] == [(48, 64, 3)] * 5 + [(96, 128, 3)] * 5
    assert [i / 5 for i in range(10)] == [frame.time_s for frame in found]
    assert tally.n_jumps == 1


def test_timestamps_that_jump_are_no_missing_end(tmp_path: Path) -> None:
    """A container whose stamps go back, a day ahead and two hours ahead says a length that it has not; it is read whole."""
    whole = tmp_path / "v.ts"
    with whole.open("wb") as file:
        for number, offset_s in enumerate((0, 86_400, 0, 7200)):
            part = write_video(tmp_path / "part.mp4", [60 * number] * 25, codec="libx264")
            shifted = tmp_path / "part.ts"
            command = ["ffmpeg", "-v", "error", "-y", "-i", part, "-c", "copy", "-output_ts_offset", str(offset_s)]
            subprocess.run([*command, "-f", "mpegts", shifted], check=True)
            file.write(shifted.read_bytes())
    assert probe(whole).video_s > 7000
    found, tally = frames(whole)
    assert [frame.time_s for frame in found] == [i / 5 for i in range(20)]
    assert (tally.problem, tally.n_jumps) == (None, 3)


def test_the_anchor_is_the_creation_time(tmp_path: Path) -> None:
    """Where the container has one; else 1970, also when it cannot be read."""
    dated = write_video(tmp_path / "a.mp4", [0] * 5, metadata={"creation_time": "2026-01-31T12:00:00.000000Z"})
    assert datetime(2026, 1, 31, 12, tzinfo=UTC) == probe(dated).anchor
    assert probe(write_video(tmp_path / "b.mp4", [0] * 5)).anchor == EPOCH
    assert probe(write_video(tmp_path / "c.mkv", [0] * 5, metadata={"creation_time": "a Sunday"})).anchor == EPOCH


def test_the_fingerprint_is_the_recordings_not_the_names(tmp_path: Path) -> None:
    """A copy has the same one, another recording another."""
    one = write_video(tmp_path / "one.mp4", [0] * 5)
    (tmp_path / "copy.mp4").write_bytes(one.read_bytes())
    other = write_video(tmp_path / "other.mp4", [200] * 5)
    assert probe(one).fingerprint == probe(tmp_path / "copy.mp4").fingerprint != probe(other).fingerprint


def test_a_file_that_breaks_off_says_where(tmp_path: Path) -> None:
    """Half of a file gives half of its pictures and a problem."""
    rng = np.random.default_rng(0)
    whole = write_video(tmp_path / "whole.mp4", rng.integers(0, 255, 250).tolist(), options={"movflags": "+faststart"})
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    found, tally = frames(half)
    assert 0 < found[-1].time_s < 9
    assert tally.problem is not None
    assert "after" in tally.problem


def test_broken_pictures_are_counted_and_the_rest_read(tmp_path: Path) -> None:
    """Garbage in the middle of a stream costs the pictures it hits, not the file."""
    rng = np.random.default_rng(1)
    path = write_video(tmp_path / "v.ts", rng.integers(0, 255, 250).tolist(), codec="libx264")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 4000] = rng.integers(0, 255, 4000, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(data))
    found, _ = frames(path)
    assert found[-1].time_s > 8


@pytest.mark.timeout(30)
def test_years_between_two_pictures_are_not_counted_through(tmp_path: Path) -> None:
    """A header may say that a picture lasts for 68 years: what can be seen is there at once."""
    data = bytearray(write_video(tmp_path / "a.avi", [10, 100, 200], codec="mpeg4").read_bytes())
    rate = data.index(b"strh") + 28
    data[rate : rate + 8] = struct.pack("<II", 2**31 - 1, 1)
    (tmp_path / "b.avi").write_bytes(data)
    found, tally = frames(tmp_path / "b.avi")
    assert [frame.time_s for frame in found[:11]] == [pytest.approx(i / 5) for i in range(11)]
    assert len(found) <= 3 * 11
    assert tally.n_decoded == 3
    assert tally.end_s <= 3 * 3600


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.write_text("this is no video\n" * 100), "is not a video that can be read"),
        (lambda path: path.mkdir(), "is a folder"),
        (write_sound, "has no video track, only audio"),
    ],
    ids=["missing", "empty", "text", "folder", "sound only"],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path: Path, make: object, message: str) -> None:
    """Each kind of unusable file has its own line."""
    path = tmp_path / "v.mp4"
    make(path)
    with pytest.raises(SourceError, match=message) as caught:
        probe(path)
    assert "\n" not in str(caught.value)


def test_a_codec_that_nobody_knows_is_told_in_one_line(tmp_path: Path) -> None:
    """FFmpeg sees that it is a video, and has no decoder for it."""
    path = write_video(tmp_path / "v.mp4", [0] * 5, codec="libx264")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(SourceError, match="is in a codec that cannot be read; convert it"):
        probe(path)


def test_sound_that_is_longer_than_the_pictures_is_no_break(tmp_path: Path) -> None:
    """A Matroska file whose sound goes on for five seconds has all its pictures."""
    path = tmp_path / "v.mkv"
    inputs = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=2", "-f", "lavfi", "-i", "sine=duration=7"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, path], check=True)
    assert frames(path)[1].problem is None


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    """The picture of a song is not taken for a recording of one picture."""
    cover, song = tmp_path / "c.png", tmp_path / "s.m4a"
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", *["-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1"], cover],
        check=True,
    )
    inputs = ["-f", "lavfi", "-i", "sine=duration=2", "-i", cover]
    kept = ["-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *inputs, *kept, song], check=True)
    with pytest.raises(SourceError, match="has no video track, only audio"):
        probe(song)


def test_a_title_in_another_encoding_is_let_be(tmp_path: Path) -> None:
    """Bytes in the metadata that are no UTF-8 do not keep a file from being read."""
    path = write_video(tmp_path / "v.avi", [30] * 10, metadata={"title": "xxxxxxxx"})
    path.write_bytes(path.read_bytes().replace(b"xxxxxxxx", b"M\xfcller\xe9\xe9"))
    assert len(frames(path)[0]) == 2


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    """What the system cannot even look up is one line like any other."""
    with pytest.raises(SourceError, match="cannot be read: File name too long"):
        probe(tmp_path / ("x" * 300))


def test_a_file_without_permission_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own word for it; root may read everything, so the system is asked to say no."""
    path = write_video(tmp_path / "v.mp4", [0] * 5)

    def refuse(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, os.strerror(13), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        probe(path)


def test_a_source_gives_all_its_frames_and_closes(tmp_path: Path) -> None:
    """Unpaced, as fast as they are taken; left early, its thread ends with it."""
    recording = probe(write_video(tmp_path / "v.mp4", [50] * 50))

    async def main() -> tuple[int, int]:
        async with FileSource(recording, rate_hz=5) as source:
            n = len([moment async for moment in source.items()])
        async with FileSource(recording, rate_hz=5) as source:
            taken = 0
            async for _ in source.items():
                taken += 1
                break
        return n, taken

    assert run(main()) == (10, 1)


def test_a_paced_source_keeps_to_the_clock(tmp_path: Path) -> None:
    """No frame comes before its time."""
    recording = probe(write_video(tmp_path / "v.mp4", [50] * 20))

    async def main() -> list[float]:
        async with FileSource(recording, rate_hz=5, paced=True) as source:
            return [source.now_s() - moment.time_s async for moment in source.items()]

    early = run(main())
    assert len(early) == 4
    assert min(early) > -0.005
    assert SIZE == (64, 48)
