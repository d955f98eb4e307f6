"""What strangers may hand to attuned, as functions of bytes: each returns, or there is a crash to mend.

An error that is promised to be told in one line is no crash; any other exception is. Hypothesis feeds these in CI
(`tests/fuzz`), atheris by hand (`make fuzz`).
"""

import json
import math
import struct
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from aiortc.sdp import SessionDescription
from cameras import camera as pictured
from cameras import layout, wall_of

from config.errors import ConfigError
from config.settings import load_settings
from daemon.corrections import Correction
from daemon.errors import SourceError
from daemon.sources.file import Tally, probe, read_frames
from daemon.sources.janus_api import (
    RefusedError,
    _checked,
    _error_code,
    _id,
    _NonsenseError,
    _one,
    _read,
    objects,
    plugin_data,
)
from daemon.sources.janus_room import Address, camera_of, is_person
from daemon.sources.rtsp import parse_address
from daemon.sources.sdp import Description, Fragment, answer_for, transcript, unreadable
from daemon.sources.urls import kind_of, shown
from pipeline.gallery import GalleryHints, GallerySettings, GallerySplitter
from pipeline.identity import TileIdentity
from pipeline.protocols import FaceSpotter, FaceTracker
from pipeline.types import U8, Crop, Tile
from pipeline.wire import Topics, read_participant_emotion

TOPICS = Topics("local")
SIDE_MAX = 700
PICTURES_MAX = 200


def one_line(*told: object) -> None:
    """Whatever users are told is a line each, and not empty."""
    assert told, "nothing is told"
    for text in map(str, told):
        assert text.strip(), "an error without words"
        assert "\n" not in text.strip(), f"more than a line: {text!r}"


def config(data: bytes) -> None:
    """A configuration file."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        try:
            load_settings(Path(file.name))
        except ConfigError as error:
            one_line(*error.mistakes)


def wire(data: bytes) -> None:
    """A payload of MQTT, as it is read back."""
    said = _json(data)
    if isinstance(said, dict):
        with suppress(ValueError):
            read_participant_emotion(said)


def topics(data: bytes) -> None:
    """A topic and a payload, as the broker hands them over."""
    topic, _, payload = data.partition(b"\0")
    text = topic.decode(errors="replace")
    for known in (TOPICS.parse_consent(text), TOPICS.parse_label(text)):
        assert known is None or (len(known) == 2 and all(known) and "/" not in "".join(known))
    with suppress(ValueError):
        found = Correction.parse(payload.decode(errors="replace"))
        assert found.seconds is None or 0 <= found.seconds[1] - found.seconds[0] < 600


def sdp(data: bytes) -> None:
    """An offer or an answer of a WHIP encoder, a WHEP server or Janus; and candidates that follow."""
    text = data.decode(errors="replace")
    with suppress(SourceError):
        Fragment.parse(text)
    try:
        description = Description.parse(text)
        why = unreadable(text)
    except SourceError as error:
        one_line(error)
        return
    assert why is None or "\n" not in why
    written = transcript(description)
    if description.read_sections():
        # aiortc's parser raises whatever its lines happen to raise; `Peer` tells it in a line.
        with suppress(ValueError, LookupError, AssertionError, AttributeError, StopIteration, RuntimeError):
            SessionDescription.parse(written)
        answer_for(description, written)


def janus(data: bytes) -> None:
    """A message of a Janus server's, and its plugin's."""
    try:
        message = _one(_read(data))
    except _NonsenseError:
        return
    with suppress(_NonsenseError):
        _id(message)
    with suppress(RefusedError):
        _checked(message)
    _error_code(message)
    said = plugin_data(message)
    for publisher in [*objects(said.get("publishers")), message, said]:
        is_person(publisher)
        found = camera_of(publisher)
        assert found is None or isinstance(found.codec, str)


def addresses(data: bytes) -> None:
    """The address of a session, as the API gets it."""
    url = data.decode(errors="replace")
    try:
        kind = kind_of(url)
        assert isinstance(shown(url), str)
        if kind == "janus":
            Address.parse(url)
        elif kind == "rtsp":
            parse_address(url)
    except SourceError as error:
        one_line(error)


def gallery(data: bytes) -> None:
    """Pictures of any size and content, one after the other, through splitting and recognising people."""
    from daemon.seats import GalleryFollower  # noqa: PLC0415 (brings MediaPipe)

    follower = GalleryFollower(
        GallerySplitter(GallerySettings(), GalleryHints(None, ())), TileIdentity("seed"), open_spotter=_spotter
    )
    for number, image in enumerate(pictures(data)):
        seats = follower.look(image, number / 5)
        height, width = image.shape[:2]
        for seat, tile in zip(seats.seats, seats.images, strict=True):
            x0, y0, x1, y1 = seat.xyxy
            assert 0 <= x0 < x1 <= width, (seat.xyxy, image.shape)
            assert 0 <= y0 < y1 <= height, (seat.xyxy, image.shape)
            assert tile.size
        assert len({seat.participant for seat in seats.seats}) == len(seats.seats)


def faces(data: bytes) -> None:
    """Tiles of any size and content through face mesh, crop, pose and quality."""
    from daemon.inference import _find  # noqa: PLC0415 (brings MediaPipe)

    for number, image in enumerate(pictures(data)):
        height, width = image.shape[:2]
        found = _find(_tracker(), Tile(f"p-{number:08x}", (0, 0, width, height), image), Crop())
        if isinstance(found, tuple):
            crop, mesh, quality = found
            assert crop.shape == (48, 48)
            assert np.isfinite(mesh).all()
            assert 0.05 <= quality <= 1


def video(data: bytes) -> None:
    """Any bytes as a recording."""
    with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
        file.write(data)
        file.flush()
        try:
            recording = probe(Path(file.name))
        except SourceError as error:
            one_line(error)
            return
        tally, before = Tally(), -math.inf
        try:
            for number, frame in enumerate(read_frames(recording, rate_hz=5, hold_s=2, tally=tally)):
                assert frame.time_s > before
                assert frame.image.ndim == 3
                before = frame.time_s
                if number > PICTURES_MAX:
                    break
        except SourceError as error:
            one_line(error)


def pictures(data: bytes) -> list[U8]:
    """Up to four pictures that the bytes describe: each by size, kind, and a seed or the bytes themselves."""
    found: list[U8] = []
    for at in range(0, min(len(data), 28) - 6, 7):
        width, height, kind, seed = struct.unpack_from("<HHBH", data, at)
        width, height = 1 + width % SIDE_MAX, 1 + height % SIDE_MAX
        found.append(_picture(width, height, kind % 6, seed, data))
    return found


def _picture(width: int, height: int, kind: int, seed: int, data: bytes) -> U8:
    rng = np.random.default_rng(seed)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        return np.full((height, width, 3), seed % 256, np.uint8)
    if kind == 2:
        return np.resize(np.frombuffer(data or b"\0", np.uint8), (height, width, 3)).copy()
    if kind == 3:
        # Bars: walls of one or two pixels' width, gutters without end.
        stripes = rng.integers(0, 256, (1, width, 3), dtype=np.uint8)
        return np.repeat(stripes, height, axis=0)
    if kind == 4 and min(width, height) > 60:
        columns, rows = 1 + seed % 4, 1 + seed // 4 % 4
        tiles = layout(columns, rows, size=(width, height))
        people = [pictured(seed % 7 + i, height=48) for i in range(len(tiles))]
        return wall_of(people, tiles, size=(width, height))
    face = _face()
    rows = np.linspace(0, face.shape[0] - 1, height).astype(int)
    columns_ = np.linspace(0, face.shape[1] - 1, width).astype(int)
    return np.ascontiguousarray(np.rot90(face[rows][:, columns_], seed % 4))


@cache
def _face() -> U8:
    """Somebody who can be found."""
    from skimage.data import astronaut  # noqa: PLC0415 (the demo's portrait)

    return np.asarray(astronaut()[:280, 80:380], np.uint8)


@cache
def _tracker() -> FaceTracker:
    from models.faces import MediaPipeFaceTracker  # noqa: PLC0415 (is slow to come)

    return MediaPipeFaceTracker()


@cache
def _spotter() -> FaceSpotter:
    from models.faces import MediaPipeFaceSpotter  # noqa: PLC0415 (is slow to come)

    return MediaPipeFaceSpotter()


def _json(data: bytes) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "config": config,
    "wire": wire,
    "topics": topics,
    "sdp": sdp,
    "janus": janus,
    "addresses": addresses,
    "gallery": gallery,
    "faces": faces,
    "video": video,
}
"""By name."""
