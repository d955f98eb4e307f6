"""A made-up call of four people whose expressions are known: written as a video, and compared with readings.

`make_script` says who shows what in which second, `write_call` films it, `agreement` counts how often readings
say the same. Everything is computed from the script and fixed seeds: the same script gives the same bytes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np

from daemon.demo.faces import POSES, Puppet
from daemon.demo.portraits import LOOKS, DemoError, load_portraits
from pipeline.emotions import EMOTIONS
from pipeline.types import U8, Box

__all__ = [
    "Agreement",
    "DemoError",
    "DemoScript",
    "PersonAgreement",
    "ScriptedPerson",
    "agreement",
    "format_agreement",
    "make_script",
    "write_call",
]

_SIZE: Final = (1280, 720)
_FPS: Final = 25
_PAGE: Final = 20
_TILES: Final[tuple[Box, ...]] = ((12, 6, 634, 354), (646, 6, 1268, 354), (12, 366, 634, 714), (646, 366, 1268, 714))
_NAMES: Final = ("Maud", "Ines", "Vera", "Nora")
_EASE_S: Final = 0.4
_BLINK_S: Final = 0.24
_STRIP_PX: Final = 32
_NOISE_SD: Final = 1.3

# What the group shows and for how many seconds; after a minute it starts again.
_SCENES: Final = (
    ("neutral", 5),
    ("happiness", 7),
    ("surprise", 6),
    ("neutral", 5),
    ("sadness", 7),
    ("happiness", 6),
    ("anger", 7),
    ("neutral", 5),
    ("surprise", 6),
    ("happiness", 6),
)
_MINUTE: Final = sum(length for _, length in _SCENES)
# Seconds by which a person lags behind the group, scene by scene.
_LAGS: Final = (
    (0, 0, 1, 0, 0, 1, 0, 0, 0, 1),
    (0, 1, 0, 0, 1, 0, 0, 1, 0, 0),
    (0, 0, 0, 1, 0, 0, 1, 0, 1, 0),
    (0, 0, 1, 0, 1, 0, 0, 0, 0, 1),
)
# Who leaves the group's expression: person, first second, first second after, what instead.
_ASIDES: Final = ((3, 43, 48, "sadness"), (0, 30, 36, "neutral"), (1, 48, 54, "neutral"))


@dataclass(frozen=True, slots=True)
class ScriptedPerson:
    """A participant: name on the strip, tile in pixels of the video, and the class shown in each second."""

    name: str
    rect: Box
    emotions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoScript:
    """A call of `seconds` at `fps` frames per second, `size` = (width, height) pixels, tiles in reading order."""

    size: tuple[int, int]
    fps: int
    seconds: int
    people: tuple[ScriptedPerson, ...]

    @property
    def group(self) -> tuple[str | None, ...]:
        """The class that more than half of the people show in each second; None where there is none."""
        half = len(self.people) / 2
        return tuple(
            next(
                (name for name in EMOTIONS if sum(person.emotions[second] == name for person in self.people) > half),
                None,
            )
            for second in range(self.seconds)
        )

    def truth(self) -> dict[str, Any]:
        """The script as JSON for `attuned evaluate gallery`: rectangles are [x, y, width, height]."""
        keys = [f"p{number}" for number in range(1, len(self.people) + 1)]
        return {
            "size": list(self.size),
            "fps": self.fps,
            "duration": self.seconds,
            "note": "made by attuned demo: two public-domain portraits, animated",
            "rect": "[x,y,w,h] in pixels of the recording; content_rect is the part of the tile that holds the picture",
            "people": {
                key: {
                    "display_name": person.name,
                    "present": [[0, self.seconds]],
                    "segments": _segments(person.emotions),
                }
                for key, person in zip(keys, self.people, strict=True)
            },
            "layout": [
                {
                    "t0": 0,
                    "t1": self.seconds,
                    "grid": "2x2",
                    "tiles": [
                        {
                            "person": key,
                            "rect": _xywh(person.rect),
                            "content_rect": _xywh(person.rect),
                            "name_rect": _xywh(_name_box(person)),
                        }
                        for key, person in zip(keys, self.people, strict=True)
                    ],
                }
            ],
            "emotion_by_second": {key: list(person.emotions) for key, person in zip(keys, self.people, strict=True)},
        }


def _segments(emotions: Sequence[str]) -> list[dict[str, Any]]:
    starts = [second for second in range(len(emotions)) if second == 0 or emotions[second] != emotions[second - 1]]
    ends = [*starts[1:], len(emotions)]
    return [
        {"t0": start, "t1": end, "emotion": emotions[start], "label_source": "script", "camera": "on"}
        for start, end in zip(starts, ends, strict=True)
    ]


def _xywh(box: Box) -> list[int]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _name_box(person: ScriptedPerson) -> Box:
    (text_width, _), _ = cv2.getTextSize(person.name, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    x0, _, _, y1 = person.rect
    return x0 + 4, y1 - 4 - _STRIP_PX, x0 + 4 + text_width + 20, y1 - 4


def make_script(seconds: int) -> DemoScript:
    """The call of this many seconds: in 30 everybody is neutral, happy and surprised, in 60 also sad and angry.

    Raises:
        ValueError: `seconds` is less than 1.
    """
    if seconds < 1:
        msg = f"a call lasts at least one second, not {seconds}"
        raise ValueError(msg)
    people = tuple(
        ScriptedPerson(name, rect, tuple(_emotion(index, second % _MINUTE) for second in range(seconds)))
        for index, (name, rect) in enumerate(zip(_NAMES, _TILES, strict=True))
    )
    return DemoScript(_SIZE, _FPS, seconds, people)


def _emotion(person: int, second: int) -> str:
    for who, start, end, emotion in _ASIDES:
        if who == person and start <= second < end:
            return emotion
    shown, start = "neutral", 0
    for (emotion, length), lag in zip(_SCENES, _LAGS[person], strict=True):
        if second >= start + lag:
            shown = emotion
        start += length
    return shown


def write_call(path: Path, script: DemoScript, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Film the script as H.264 in an MP4 file; `progress` is told frames done and frames in all.

    Raises:
        DemoError: A portrait cannot be had; the message says what to install.
    """
    camera = _Camera(script)
    n_frames = script.seconds * script.fps
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=script.fps)
        stream.width, stream.height = script.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, script.fps)
        # A fixed number of threads: x264 decides differently with another.
        stream.options = {"preset": "ultrafast", "crf": "25", "threads": "2", "g": str(2 * script.fps)}
        for number in range(n_frames):
            frame = av.VideoFrame.from_ndarray(camera.picture(number), format="yuv420p")
            frame.pts = number
            frame.time_base = Fraction(1, script.fps)
            container.mux(stream.encode(frame))
            if progress is not None:
                progress(number + 1, n_frames)
        container.mux(stream.encode(None))


class _Camera:
    """The screen of the meeting, frame by frame."""

    def __init__(self, script: DemoScript) -> None:
        self._script = script
        portraits = load_portraits()
        width, height = script.size
        self._page = np.full((height, width, 3), _PAGE, dtype=np.uint8)
        quiet = np.zeros((height, width), dtype=np.float32)
        self._puppets = []
        self._strips: list[tuple[slice, slice, U8]] = []
        for person, look in zip(script.people, LOOKS, strict=True):
            x0, y0, x1, y1 = person.rect
            self._puppets.append(Puppet(portraits[look.portrait], look, (x1 - x0, y1 - y0)))
            quiet[y0:y1, x0:x1] = _NOISE_SD
            x0, y0, x1, y1 = _name_box(person)
            strip = np.full((y1 - y0, x1 - x0, 3), 28, dtype=np.uint8)
            cv2.putText(strip, person.name, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (240, 240, 240), 1, cv2.LINE_AA)
            self._strips.append((slice(y0, y1), slice(x0, x1), strip))
            quiet[y0:y1, x0:x1] = 0  # the app draws the names, no camera does
        rng = np.random.default_rng(7)
        self._noise = [np.rint(rng.standard_normal(quiet.shape) * quiet).astype(np.int16) for _ in range(5)]
        self._order = rng.integers(len(self._noise), size=script.seconds * script.fps)

    def picture(self, number: int) -> U8:
        """Frame `number` as planar YUV 4:2:0, (height * 3 / 2, width) uint8."""
        time_s = number / self._script.fps
        for index, (person, puppet) in enumerate(zip(self._script.people, self._puppets, strict=True)):
            x0, y0, x1, y1 = person.rect
            self._page[y0:y1, x0:x1] = puppet.render(_moves(index, person, time_s))
        for rows, columns, strip in self._strips:
            self._page[rows, columns] = strip
        planes = cv2.cvtColor(self._page, cv2.COLOR_RGB2YUV_I420)
        luma = planes[: self._script.size[1]]
        cv2.add(luma, self._noise[self._order[number]], dst=luma, dtype=cv2.CV_8U)
        return np.asarray(planes, dtype=np.uint8)


def _moves(index: int, person: ScriptedPerson, time_s: float) -> dict[str, float]:
    """Where the face of person `index` is at `time_s`: eased from class to class, blinking, never quite still."""
    second = int(time_s)
    done = min(1.0, (time_s - second) / _EASE_S)
    done = done * done * (3 - 2 * done)
    poses = POSES[LOOKS[index].portrait]
    before, now = poses[person.emotions[max(0, second - 1)]], poses[person.emotions[second]]
    rest = poses["neutral"]
    strength = LOOKS[index].intensity * (1 + 0.05 * _wave(time_s, index, 3, 5.3, 2.9))
    moves = {}
    for name in before.keys() | now.keys() | rest.keys():
        level = (1 - done) * before.get(name, 0.0) + done * now.get(name, 0.0)
        moves[name] = rest.get(name, 0.0) + strength * (level - rest.get(name, 0.0))
    blink = (time_s + 1.3 * index + 0.8) % (3.7 + 0.6 * index)
    if blink < _BLINK_S:
        moves["AU43"] = max(moves.get("AU43", 0.0), 1 - abs(2 * blink / _BLINK_S - 1))
    moves["right"] = 0.05 * _wave(time_s, index, 1, 7.3, 4.1)
    moves["down"] = moves.get("down", 0.0) + 0.03 * _wave(time_s, index, 2, 6.1, 3.7)
    moves["roll"] = moves.get("roll", 0.0) + 0.035 * _wave(time_s, index, 3, 9.7, 5.3)
    moves["nearer"] = 0.02 * _wave(time_s, index, 4, 11.9)
    moves["yaw"] = 0.045 * _wave(time_s, index, 5, 8.3, 3.3)
    moves["pitch"] = moves.get("pitch", 0.0) + 0.02 * _wave(time_s, index, 6, 5.9, 3.1)
    return moves


def _wave(time_s: float, index: int, number: int, *periods_s: float) -> float:
    """A slow movement in [-1, 1] that differs by person and number."""
    phase = 0.61 * index + 0.37 * number
    return sum(math.sin(2 * math.pi * (time_s / period + phase)) for period in periods_s) / len(periods_s)


@dataclass(frozen=True, slots=True)
class PersonAgreement:
    """How readings of one person agree with the script: shares in [0, 1] of `n_seconds` scored seconds."""

    n_seconds: int
    accuracy: float | None
    recall: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How readings agree with a script; UAR is the mean recall of the scripted classes, None without seconds.

    people: by name. uar: over the seconds of all people together. group_uar: of the group's class against
    `DemoScript.group`; group_recall: of each class there.
    """

    people: Mapping[str, PersonAgreement]
    uar: float | None
    group_uar: float | None
    group_recall: Mapping[str, float]
    n_group_seconds: int


def agreement(
    script: DemoScript,
    readings: Mapping[str, Sequence[str | None]] | Mapping[int, Sequence[str | None]],
    group: Sequence[str | None] | None = None,
) -> Agreement:
    """Compare the most probable class of each person and second, and of the group, with the script.

    `readings` are by name or by place in the gallery, counted from 0 in reading order. Where no series of the
    group is given, it is what most people were read to show, the first in `EMOTIONS` order on a tie. The first
    second after a switch is left out: faces are between two classes. A scored second without a reading is wrong.
    """
    given = {str(key): series for key, series in readings.items()}
    people, pairs, series = {}, [], []
    for index, person in enumerate(script.people):
        read = given.get(person.name, given.get(str(index), ()))
        series.append(read)
        scored = _settled(person.emotions, read)
        pairs += scored
        recall = _recall(scored)
        right = sum(truth == said for truth, said in scored)
        people[person.name] = PersonAgreement(len(scored), right / len(scored) if scored else None, recall)
    if group is None:
        group = [
            _plurality([read[second] if second < len(read) else None for read in series])
            for second in range(script.seconds)
        ]
    scored = _settled(script.group, group)
    group_recall = _recall(scored)
    return Agreement(people, _mean(_recall(pairs)), _mean(group_recall), group_recall, len(scored))


def _settled(truth: Sequence[str | None], read: Sequence[str | None]) -> list[tuple[str, str | None]]:
    """Truth and reading of the seconds that count."""
    return [
        (label, read[second] if second < len(read) else None)
        for second, label in enumerate(truth)
        if label is not None and (second == 0 or truth[second - 1] == label)
    ]


def _recall(pairs: Sequence[tuple[str, str | None]]) -> dict[str, float]:
    said = {name: [reading == name for truth, reading in pairs if truth == name] for name in EMOTIONS}
    return {name: sum(hits) / len(hits) for name, hits in said.items() if hits}


def _mean(recall: Mapping[str, float]) -> float | None:
    return sum(recall.values()) / len(recall) if recall else None


def _plurality(classes: Sequence[str | None]) -> str | None:
    counts = [classes.count(name) for name in EMOTIONS]
    return EMOTIONS[counts.index(max(counts))] if any(counts) else None


def format_agreement(result: Agreement) -> str:
    """The result as a plain text table: a row per person and one for the group, recall per scripted class."""
    classes = [
        name
        for name in EMOTIONS
        if name in result.group_recall or any(name in person.recall for person in result.people.values())
    ]
    rows = [["", "right", *classes]]
    for name, person in result.people.items():
        rows.append([name, _percent(person.accuracy), *(_percent(person.recall.get(label)) for label in classes)])
    rows.append(["group", "", *(_percent(result.group_recall.get(label)) for label in classes)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.append(
        f"mean recall of the scripted classes: group {_percent(result.group_uar)}, everybody {_percent(result.uar)}"
    )
    lines.append("The first second after each switch is left out. These faces were made to be")
    lines.append("read; how well people are read is what `attuned evaluate expression` says.")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"
