"""Who sits in front of the cameras of a made-up meeting: puppets, stills or clips.

Puppets are made up from the demo's two public-domain portraits. Stills and clips fill the tiles with pictures that
stand on a development machine; nothing of them is kept.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import av
import cv2
import numpy as np

from daemon.demo.faces import POSES, Puppet
from daemon.demo.portraits import Look, Portrait, load_portraits
from daemon.demo.rooms import darker, landscape, muted, room
from daemon.errors import UnusableInputError
from pipeline.emotions import F32, F64
from pipeline.types import U8

Size = tuple[int, int]
_SMALL: Final = 180
_LARGE: Final = 360
"""Heights at which puppets are kept; a tile shows the nearest one, enlarged or reduced."""
_KEPT: Final = {_SMALL: 64, _LARGE: 10}
"""How many puppets are kept of each height, the latest used; about 3 and 10 MB each."""
_WIDE_KEPT: Final = 128
_CLIP_S: Final = 6.0
_CLIP_FPS: Final = 5
_PICTURES: Final = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_VIDEOS: Final = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m"}


class Cast(Protocol):
    """Gives everybody's camera picture. `people` of them differ; higher numbers are those again."""

    people: int

    def picture(self, person: int, time_s: float, size: Size) -> U8:
        """(height, width, 3) uint8 RGB of what the person's camera sees at this time; size is (width, height)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sitter:
    """A puppet, the room around it, (H, W, 3) uint8 RGB, with its share (H, W), and how much light there is."""

    puppet: Puppet
    portrait: str
    room: U8
    share: F32
    light: float
    phases: F64


class PuppetCast:
    """Made-up people: walls, rooms, light, cloth, size, place and movement from the seed.

    Raises:
        DemoError: The portraits cannot be had; the message says what to install.
    """

    people = 64

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._portraits = load_portraits()
        self._kept: dict[int, OrderedDict[tuple[int, int], _Sitter]] = {height: OrderedDict() for height in _KEPT}

    def picture(self, person: int, time_s: float, size: Size) -> U8:
        """The person at this time: breathing, turning, blinking and now and then smiling."""
        person %= self.people
        height = _SMALL if size[1] <= 1.3 * _SMALL else _LARGE
        sitter = self._sitter(person, height, round(height * size[0] / size[1] / 4) * 4)
        picture = sitter.puppet.render(_moves(sitter, time_s))
        seen = cv2.blendLinear(picture, sitter.room, 1 - sitter.share, sitter.share)
        if sitter.light < 1:
            seen = cv2.convertScaleAbs(seen, alpha=sitter.light)
        return _sized(seen, size)

    def _sitter(self, person: int, height: int, width: int) -> _Sitter:
        kept, key = self._kept[height], (person, width)
        if key not in kept:
            kept[key] = self._seat(person, (width, height))
            if len(kept) > _KEPT[height]:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]

    def _look(self, person: int) -> Look:
        """As seen in a picture of 16:9 with a height of 1."""
        rng = np.random.default_rng((self._seed, 21, person))
        wall = muted(rng, 60, 225)
        tint = 1 + rng.uniform(-0.10, 0.06) + rng.uniform(-0.05, 0.05, 3)
        return Look(
            portrait=("hopper", "collins")[person % 2],
            mirrored=bool(rng.random() < 0.5),  # noqa: PLR2004
            face_px=float(rng.uniform(0.34, 0.52)),
            stretch=float(rng.uniform(0.95, 1.07)),
            centre=(float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.46, 0.55))),
            tint=(float(tint[0]), float(tint[1]), float(tint[2])),
            dye=int(rng.integers(0, 360)),
            lift=muted(rng, 0, 70),
            wall=(wall, darker(wall, rng.uniform(0.55, 0.95))),
            intensity=float(rng.uniform(0.5, 1.0)),
        )

    def _seat(self, person: int, size: Size) -> _Sitter:
        """The puppet at this size, with a room or a virtual background behind it."""
        width, height = size
        look = self._look(person)
        # An upright or square camera sits as near as its width allows.
        face_px = min(look.face_px * height, 0.62 * width)
        sized = Look(
            look.portrait, look.mirrored, face_px, look.stretch, look.centre, look.tint, look.dye, look.lift, look.wall,
            look.intensity,
        )  # fmt: skip
        portrait = self._portraits[look.portrait]
        free = _free(portrait, sized, size)
        rng = np.random.default_rng((self._seed, 22, person))
        kind = rng.random()
        behind = landscape(rng, size) if kind < 0.15 else room(rng, size, look.wall)  # noqa: PLR2004
        # Some blur their room, as a virtual background; every camera is a little out of focus there.
        blurred = 0.15 <= kind < 0.45  # noqa: PLR2004
        soft = cv2.GaussianBlur(behind, (0, 0), height / (22 if blurred else 300))
        light = float(rng.choice([1.0, 1.0, 1.0, 0.75, 0.45]))  # some sit in the dark
        phases = rng.uniform(0, 1, 12)
        return _Sitter(
            Puppet(portrait, sized, size), look.portrait, np.asarray(soft, dtype=np.uint8), free, light, phases
        )


def _free(portrait: Portrait, look: Look, size: Size) -> F32:
    """(H, W) share of the background behind the sitter, 0 where the head may move."""
    low, high = portrait.mesh.min(axis=0), portrait.mesh.max(axis=0)
    scale = look.face_px / float(high[1] - low[1])
    gain = np.array([(-scale if look.mirrored else scale) * look.stretch, scale])
    matrix = np.column_stack([np.diag(gain), np.array(look.centre) * size - gain * (low + high) / 2])
    matte = cv2.warpAffine(portrait.matte, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    reach = 2 * max(2, round(0.05 * look.face_px)) + 1
    grown = cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return np.asarray(1 - cv2.GaussianBlur(grown, (0, 0), reach / 4), dtype=np.float32)


def _moves(sitter: _Sitter, time_s: float) -> dict[str, float]:
    """Where the face is at this time, as `Puppet.render` takes it."""
    phase = sitter.phases.tolist()

    def wave(number: int, *periods_s: float) -> float:
        return sum(math.sin(2 * math.pi * (time_s / period + phase[number])) for period in periods_s) / len(periods_s)

    poses = POSES[sitter.portrait]
    mood = ("happiness", "surprise", "sadness", "neutral")[int(4 * phase[10])]
    level = max(0.0, wave(0, 11.0 + 6 * phase[11], 7.3))
    moves = {name: (1 - level) * amount for name, amount in poses["neutral"].items()}
    for name, amount in poses[mood].items():
        moves[name] = moves.get(name, 0.0) + level * amount
    # Whoever speaks moves the jaw.
    if wave(1, 13.0) > 0.6:  # noqa: PLR2004
        moves["AU26"] = moves.get("AU26", 0.0) + 0.2 * (1 + math.sin(2 * math.pi * (2.1 * time_s + phase[2])))
    if (time_s + 4 * phase[3]) % (2.9 + 2 * phase[4]) < 0.2:  # noqa: PLR2004 (blinks)
        moves["AU43"] = 1.0
    moves["right"] = 0.09 * wave(5, 7.3, 4.1)
    moves["down"] = moves.get("down", 0.0) + 0.05 * wave(6, 6.1, 3.7)
    moves["roll"] = moves.get("roll", 0.0) + 0.05 * wave(7, 9.7, 5.3)
    moves["nearer"] = 0.03 * wave(8, 11.9)
    moves["yaw"] = 0.06 * wave(9, 8.3, 3.3)
    return moves


class StillsCast:
    """Pictures of a folder, one per person, which drift and zoom slowly.

    Where file names end in `_` and a number, one picture of each name is taken.

    Raises:
        UnusableInputError: There is no picture in the folder, or one cannot be read.
    """

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        of_each: dict[str, list[Path]] = {}
        for path in _files(folder, _PICTURES, "picture"):
            stem, _, number = path.stem.rpartition("_")
            of_each.setdefault(stem if number.isdigit() else path.stem, []).append(path)
        rng = np.random.default_rng((seed, 24))
        names = sorted(of_each)
        chosen = [names[index] for index in rng.permutation(len(names))]
        self._pictures = [_read_picture(of_each[name][int(rng.integers(len(of_each[name])))]) for name in chosen]
        self.people = len(self._pictures)
        self._wide: OrderedDict[tuple[int, float], U8] = OrderedDict()
        self._phases = rng.uniform(0, 1, (self.people, 4))

    def picture(self, person: int, time_s: float, size: Size) -> U8:
        """The picture, moved a little; what it lacks at the sides is its own edge, out of focus."""
        person %= self.people
        picture, phase = self._pictures[person], self._phases[person]
        height, width = picture.shape[:2]
        rock = [
            math.sin(2 * math.pi * (time_s / period + at)) for period, at in zip((7.1, 9.3, 13.7), phase, strict=False)
        ]
        if width / height < size[0] / size[1]:
            picture = self._widened(person, round(size[0] / size[1], 1))
            width = picture.shape[1]
        scale = max(size[0] / width, size[1] / height) * (1.04 + 0.02 * rock[2])
        shift = np.array(size) / 2 + 0.012 * np.array(rock[:2]) * size[1] - scale * np.array([width, height]) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        moved = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, dtype=np.uint8)

    def _widened(self, person: int, aspect: float) -> U8:
        """The latest used are kept."""
        key = (person, aspect)
        if key not in self._wide:
            self._wide[key] = _widened(self._pictures[person], aspect)
            if len(self._wide) > _WIDE_KEPT:
                self._wide.popitem(last=False)
        self._wide.move_to_end(key)
        return self._wide[key]


def _widened(picture: U8, aspect: float) -> U8:
    """The picture with its blurred edge at both sides, to the given width / height."""
    height, width = picture.shape[:2]
    side = math.ceil((aspect * height - width) / 2)
    wide = cv2.copyMakeBorder(picture, 0, 0, side, side, cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(wide, (0, 0), height / 12)
    share = np.zeros(wide.shape[1], dtype=np.float32)
    share[side : side + width] = 1
    share = cv2.blur(share[None], (max(3, width // 12) | 1, 1))[0][None, :, None]
    share[:, :side] = share[:, side + width :] = 0
    return np.asarray(share * wide + (1 - share) * soft, dtype=np.uint8)


class ClipsCast:
    """Videos of a folder, one per person, looped to and fro; the first six seconds of each.

    Raises:
        UnusableInputError: There is no video in the folder, or one cannot be read.
    """

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        paths = _files(folder, _VIDEOS, "video")
        rng = np.random.default_rng((seed, 25))
        self._clips = [_read_clip(paths[index]) for index in rng.permutation(len(paths))]
        self.people = len(self._clips)

    def picture(self, person: int, time_s: float, size: Size) -> U8:
        """The middle of the picture, cut to the shape that is wanted."""
        clip = self._clips[person % self.people]
        at = int(time_s * _CLIP_FPS) % max(1, 2 * len(clip) - 2)
        frame = clip[min(at, 2 * len(clip) - 2 - at) if at >= len(clip) else at]
        height, width = frame.shape[:2]
        wide, high = min(width, round(height * size[0] / size[1])), min(height, round(width * size[1] / size[0]))
        # Heads are in the upper part of a picture.
        left, top = (width - wide) // 2, (height - high) // 3
        return _sized(frame[top : top + high, left : left + wide], size)


def _sized(picture: Any, size: Size) -> U8:  # noqa: ANN401 (OpenCV does not say what it returns)
    """The picture at this (width, height)."""
    if (picture.shape[1], picture.shape[0]) == size:
        return np.asarray(picture, dtype=np.uint8)
    shrink = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR), np.uint8)


def _files(folder: Path, endings: set[str], what: str) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings) if folder.is_dir() else []
    if not paths:
        msg = f"{folder}: no {what} in it; give a folder of {what}s"
        raise UnusableInputError(msg)
    return paths


def _read_picture(path: Path) -> U8:
    # What OpenCV cannot read is an error of its own where the file is empty, else nothing.
    content = np.fromfile(path, dtype=np.uint8)
    picture: Any = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if picture is None:
        msg = f"{path}: cannot be read as a picture; take it out of the folder"
        raise UnusableInputError(msg)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_clip(path: Path) -> list[U8]:
    """Five pictures per second, at most 360 pixels high, for at most six seconds."""
    pictures: list[U8] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if frame.time >= _CLIP_S:
                    break
                if frame.time * _CLIP_FPS >= len(pictures):
                    height = min(frame.height, _LARGE)
                    width = round(frame.width * height / frame.height / 2) * 2
                    pictures.append(np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8))
    except (av.FFmpegError, IndexError) as error:
        msg = f"{path}: cannot be read as a video; take it out of the folder"
        raise UnusableInputError(msg) from error
    if not pictures:
        msg = f"{path}: has no picture; take it out of the folder"
        raise UnusableInputError(msg)
    return pictures
