"""What a person is shown or asked to show, for how long, and which expression that is: the schedule of a calibration.

A CSV file with the columns `stimulus,file,label,valence,arousal,seconds`, or a YAML list of mappings with these keys. Of
`stimulus` (words) and `file` (what is played) one is needed. A row with a `label`, or with `valence` and `arousal`, is
recorded; a row with neither is a rest, in which nobody is looked at.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from daemon.errors import UnusableInputError
from models.datasets.labels import emotion_index
from models.personal.buffer import Label
from models.personal.samples import Origin
from pipeline.affect import certainty, distribution_of_affect
from pipeline.emotions import EMOTIONS

COLUMNS: Final = ("stimulus", "file", "label", "valence", "arousal", "seconds")
MAX_STEPS: Final = 1000
MAX_SECONDS: Final = 3600.0
MAX_BYTES: Final = 1 << 20
ROUNDS: Final = 6
"""Of the default schedule: 250 seconds that count, in more than forty tens of seconds, which is what a training asks for."""
SHOW_S: Final = 8.0
REST_S: Final = 4.0

WORDS: Final[Mapping[str, str]] = {
    "anger": "somebody takes what is yours, and laughs",
    "disgust": "you bite into something rotten",
    "fear": "steps behind you in the dark",
    "happiness": "a dear friend comes through the door",
    "sadness": "you say good-bye for a long time",
    "surprise": "the light goes on: everybody you know is there",
    "neutral": "nothing at all; let your face rest",
}
"""What the default schedule has one think of."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What is shown, in words; the file that is played, if any; what is recorded then, None: nothing; for how long."""

    words: str
    file: Path | None
    label: Label | None
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Steps, one after the other, from 0 s on."""

    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return math.fsum(step.seconds for step in self.steps)

    @property
    def begins(self) -> tuple[float, ...]:
        """When each step begins, and the end."""
        return tuple(float(at) for at in np.cumsum([0.0, *(step.seconds for step in self.steps)]))


def default_schedule(rounds: int = ROUNDS, *, seed: int = 0) -> Schedule:
    """The seven expressions in words with rest in between, each round in an order of its own.

    In every round, so that there is each of them to learn from earlier and to judge on later.
    """
    rng = np.random.default_rng(seed)
    steps = []
    for _ in range(rounds):
        for number in rng.permutation(len(EMOTIONS)):
            name = EMOTIONS[number]
            steps.append(Step(f"{name}: {WORDS[name]}", None, Label.of(name, Origin.CALIBRATION), SHOW_S))
            steps.append(Step("rest", None, None, REST_S))
    return Schedule(tuple(steps[:-1]))


def read_schedule(path: Path) -> Schedule:
    """The schedule in a file.

    Raises:
        UnusableInputError: It cannot be used; the row is named.
    """
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
        text = data.decode("utf-8-sig")
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); give a CSV or YAML file with {', '.join(COLUMNS)}"
        raise UnusableInputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 text; save it as CSV or YAML in UTF-8"
        raise UnusableInputError(msg) from error
    if len(data) > MAX_BYTES:
        msg = f"{path}: is larger than {MAX_BYTES >> 20} MB; that is no schedule"
        raise UnusableInputError(msg)
    rows = _yaml_rows(path, text) if path.suffix.lower() in {".yaml", ".yml"} else _csv_rows(path, text)
    steps = tuple(_step(path, place, row) for place, row in rows)
    if not 0 < len(steps) <= MAX_STEPS:
        msg = f"{path}: has {len(steps)} steps; give 1 to {MAX_STEPS}"
        raise UnusableInputError(msg)
    if not any(step.label is not None for step in steps):
        msg = f"{path}: no step has a label or valence and arousal, so there is nothing to record"
        raise UnusableInputError(msg)
    return Schedule(steps)


def _csv_rows(path: Path, text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Where each row stands, and its cells by column."""
    lines = text.splitlines()
    delimiter = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row:
                msg = f"{path}, {place}: has more cells than columns; quote what has a {delimiter!r} in it"
                raise UnusableInputError(msg)
            if any(row.values()):
                yield place, {key: (value or "").strip() for key, value in row.items()}
    except csv.Error as error:
        msg = f"{path}, line {reader.line_num}: is not CSV ({error}); save the table as CSV again"
        raise UnusableInputError(msg) from error


def _yaml_rows(path: Path, text: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The same of a YAML list."""
    try:
        rows = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"{path}: is not YAML ({str(error).splitlines()[0]})"
        raise UnusableInputError(msg) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"{path}: expected a list of steps, each with some of {', '.join(COLUMNS)}"
        raise UnusableInputError(msg)
    return [(f"step {number}", row) for number, row in enumerate(rows, start=1)]


def _step(path: Path, place: str, row: Mapping[str, Any]) -> Step:
    """One row."""
    try:
        strange = [str(name) for name in row if name not in COLUMNS]
        if strange:
            msg = f"{strange[0][:40]!r} is no column; there are {', '.join(COLUMNS)}"
            raise ValueError(msg)  # noqa: TRY301 (told with the place)
        text = {name: "" if row.get(name) is None else str(row[name]).strip() for name in COLUMNS}
        seconds = _number(text["seconds"])
        if not 0 < seconds <= MAX_SECONDS:
            msg = f"seconds: expected a number up to {MAX_SECONDS:g}, found {text['seconds'][:40]!r}"
            raise ValueError(msg)  # noqa: TRY301
        return Step(*_shown(path.parent, text), _label(text), seconds)
    except ValueError as error:
        msg = f"{path}, {place}: {error}"
        raise UnusableInputError(msg) from error


def _shown(folder: Path, text: Mapping[str, str]) -> tuple[str, Path | None]:
    """Words, and the file that is played.

    Raises:
        ValueError: There is neither, or no such file.
    """
    file = (folder / Path(text["file"]).expanduser()).absolute() if text["file"] else None
    if file is not None and not file.is_file():
        msg = f"there is no file {file}"
        raise ValueError(msg)
    words = text["stimulus"] or text["file"]
    if not words:
        msg = "give a stimulus in words, or a file to play"
        raise ValueError(msg)
    return words, file


def _label(text: Mapping[str, str]) -> Label | None:
    """What is recorded.

    Raises:
        ValueError: The label is no expression, or valence and arousal are none of a face.
    """
    affect = text["valence"], text["arousal"]
    if text["label"]:
        number = emotion_index(text["label"])
        if number < 0 or any(affect):
            wanted = f"one of {', '.join(EMOTIONS)}, or valence and arousal instead"
            msg = f"label: expected {wanted}, found {text['label'][:40]!r}"
            raise ValueError(msg)
        return Label.of(EMOTIONS[number], Origin.CALIBRATION)
    if not any(affect):
        return None
    target = distribution_of_affect(_number(affect[0]), _number(affect[1]))
    return Label(target, certainty(target), Origin.CALIBRATION)


def _number(text: str) -> float:
    """The number that it is; nan where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
