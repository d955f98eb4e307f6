"""FER2013 as Kaggle hands it out, with the votes of FER+ as Microsoft hands them out.

Goodfellow et al. 2013, "Challenges in representation learning"; Barsoum et al. 2016, "Training deep networks for
facial expression recognition with crowd-sourced label distribution".
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np

from models.datasets.data import VOTES, FaceData
from models.datasets.labels import Warn, chosen_split, emotion_index
from models.datasets.meshes import Progress
from models.datasets.tables import header_of, rows_of, whole_number
from models.errors import DataError
from models.pixel import SIDE_PX
from pipeline.types import U8

USAGES: Final = ("Training", "PublicTest", "PrivateTest")

_FILES: Final = ("fer2013.csv", "icml_face_data.csv")
_VOTES_FILE: Final = "fer2013new.csv"
_COLUMNS: Final = ("emotion", "pixels", "Usage")
_CODES: Final = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
_TO_EMOTION: Final = tuple(emotion_index(word) for word in _CODES)
_VOTE_COLUMNS: Final = tuple("NF" if name == "not a face" else name for name in VOTES)
_REPORT_EVERY: Final = 1000

_Votes = list[tuple[str, list[int]]]


def fer2013_table(path: Path) -> Path | None:
    """The table of pictures that `path` is, or that lies in the folder `path`; None where there is none."""
    if path.is_dir():
        return next((path / name for name in _FILES if (path / name).is_file()), None)
    return path if set(_COLUMNS) <= set(header_of(path)) else None


def load_fer2013(
    path: Path,
    *,
    usage: str | None = None,
    progress: Progress | None = None,
    warn: Warn = lambda _: None,
) -> FaceData:
    """The pictures with this `Usage` (see `USAGES`; None: all) of `fer2013.csv`, in its order.

    `path` is the file or its folder. Row i of `fer2013new.csv`, where it lies beside, holds the votes on row i;
    where it does not, nobody voted.

    Raises:
        DataError: A file is missing, is not of the documented form, or the two files do not belong together.
    """
    table = fer2013_table(path)
    if table is None:
        msg = f"{path}: no FER2013; give fer2013.csv with {', '.join(_COLUMNS)}, or its folder"
        raise DataError(msg)
    wanted = chosen_split(table, usage, USAGES, lambda _: None)
    votes = _votes(table.with_name(_VOTES_FILE))
    images, label, kept, found = _pictures(table, wanted, votes, progress)
    if not images:
        msg = f"{table}: holds no pictures" + (f" of {wanted}" if wanted else "")
        raise DataError(msg)
    if wanted is None:
        chosen_split(table, None, [name for name in USAGES if name in found], warn)
    cast = np.zeros((len(images), len(VOTES)), dtype=np.uint8)
    if votes is not None:
        cast[:] = [votes[row][1] for row in kept]
    return FaceData(np.stack(images), np.array(label, dtype=np.int64), cast)


def _pictures(
    table: Path, wanted: str | None, votes: _Votes | None, progress: Progress | None
) -> tuple[list[U8], list[int], list[int], set[str]]:
    """Pictures, labels, row numbers and usages of the wanted rows; every row is held against its votes."""
    images: list[U8] = []
    label: list[int] = []
    kept: list[int] = []
    found: set[str] = set()
    n = _n_rows(table)
    beside: Sequence[tuple[str, list[int]] | None] = () if votes is None else votes
    for row, (picture, voted) in enumerate(zip_longest(rows_of(table, _COLUMNS), beside)):
        if picture is None or (voted is None and votes is not None):
            msg = f"{table} and {_VOTES_FILE}: expected one row of votes for each picture, found {_counts(n, votes)}"
            raise DataError(msg)
        line, (emotion, pixels, usage) = picture
        if usage not in USAGES:
            msg = f"{table}, line {line}: expected a Usage of {', '.join(USAGES)}, found {usage[:40]!r}"
            raise DataError(msg)
        if voted is not None and voted[0] != usage:
            msg = f"{table}, line {line}: is {usage}, but {voted[0][:40]!r} in {_VOTES_FILE}; give files of one release"
            raise DataError(msg)
        if wanted in {None, usage}:
            label.append(_TO_EMOTION[whole_number(table, line, "emotion", emotion, len(_CODES) - 1)])
            images.append(_picture(table, line, pixels))
            kept.append(row)
            found.add(usage)
        if progress is not None and (row + 1) % _REPORT_EVERY == 0:
            progress(row + 1, max(n, row + 1))
    if progress is not None:
        progress(n, n)
    return images, label, kept, found


def _picture(table: Path, line: int, pixels: str) -> U8:
    """(48, 48) uint8 of 2,304 numbers with spaces between them."""
    numbers = np.zeros(0, dtype=np.int64)
    if not pixels.strip("0123456789 "):  # nothing else in it
        numbers = np.fromstring(pixels, dtype=np.int64, sep=" ")
    if numbers.size != SIDE_PX**2 or numbers.max() > np.iinfo(np.uint8).max:
        msg = f"{table}, line {line}: expected {SIDE_PX**2} pixels from 0 to 255 with spaces between, found other"
        raise DataError(msg)
    return numbers.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


def _votes(path: Path) -> _Votes | None:
    """Usage and votes, in `VOTES` order, of every row; None where there is no such file."""
    if not path.is_file():
        return None
    largest = np.iinfo(np.uint8).max
    return [
        (
            usage,
            [
                whole_number(path, line, f"votes for {name}", text, largest)
                for name, text in zip(VOTES, cast, strict=True)
            ],
        )
        for line, (usage, *cast) in rows_of(path, ("Usage", *_VOTE_COLUMNS))
    ]


def _n_rows(table: Path) -> int:
    """How many rows the table has, if none is blank: its lines without the header."""
    with table.open("rb") as file:
        return max(sum(1 for _ in file) - 1, 0)


def _counts(n: int, votes: _Votes | None) -> str:
    return f"{n} and {len(votes or ())}"
