"""Which picture of a data set shows which expression, for the forms that data sets of picture files come in.

Folders named after classes; `MANIFEST.csv`; RAF-DB (Li et al. 2017, "Reliable crowdsourcing and deep
locality-preserving learning for expression recognition in the wild"); AffectNet (Mollahosseini et al. 2017,
"AffectNet: a database for facial expression, valence, and arousal computing in the wild").
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.datasets.labels import Warn, emotion_index, named
from models.datasets.pictures import Box, Picture
from models.datasets.tables import header_of, rows_of, whole_number
from models.errors import DataError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm"})

MANIFEST: Final = "MANIFEST.csv"
RAF_DB: Final = "list_patition_label.txt"
"""Spelt so by its authors."""

_RAF_DB_FOLDERS: Final = (".", "EmoLabel", "basic/EmoLabel")
_RAF_DB_CODES: Final = {
    "1": "surprise",
    "2": "fear",
    "3": "disgust",
    "4": "happiness",
    "5": "sadness",
    "6": "anger",
    "7": "neutral",
}
_AFFECTNET_COLUMNS: Final = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_AFFECTNET_USED: Final = (*_AFFECTNET_COLUMNS[:5], "expression")
_AFFECTNET_CODES: Final = (
    "neutral",
    "happy",
    "sad",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
    "none",
    "uncertain",
    "no face",
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture, the word for what it expresses (of whatever vocabulary), and its split, "" where undivided."""

    picture: Picture
    word: str
    split: str = ""


def list_pictures(path: Path, *, warn: Warn = lambda _: None) -> list[Listed]:
    """Every picture of the data set that `path` is, in its own order, or by name where it has none.

    How much lies in folders of classes that is not taken is said through `warn`.

    Raises:
        DataError: `path` is no data set of picture files, or a row of its table is wrong.
        OSError: Something in it may not be read.
    """
    listed = _folder(path, warn) if path.is_dir() else _table(path)
    if not listed:
        msg = f"{path}: holds no pictures ({', '.join(sorted(SUFFIXES))})"
        raise DataError(msg)
    return listed


def _folder(path: Path, warn: Warn) -> list[Listed]:
    if (path / MANIFEST).is_file():
        return list(_manifest(path / MANIFEST))
    for folder in _RAF_DB_FOLDERS:
        if (path / folder / RAF_DB).is_file():
            return list(_raf_db(path / folder / RAF_DB))
    tables = [table for pattern in ("*.csv", "*file_lists/*.csv") for table in path.glob(pattern)]
    tables = sorted(table for table in tables if _is_affectnet(header_of(table)))
    if tables:
        return [row for table in tables for row in _affectnet(table)]
    folders = _subfolders(path)
    if _of_classes(folders):
        return _class_folders(path, {"": folders}, 0, warn)
    splits = {folder.name: inner for folder in folders if _of_classes(inner := _subfolders(folder))}
    if not splits:
        raise _nothing_known(path)
    return _class_folders(path, splits, len(folders) - len(splits), warn)


def _table(path: Path) -> list[Listed]:
    if path.name == RAF_DB:
        return list(_raf_db(path))
    header = header_of(path)
    if _is_affectnet(header):
        return list(_affectnet(path))
    if path.name != MANIFEST and not {"path", "label"} <= set(header):
        raise _nothing_known(path)
    return list(_manifest(path))


def _nothing_known(path: Path) -> DataError:
    return DataError(
        f"{path}: no known data set; give an npz, FER2013's fer2013.csv, folders of pictures named after the classes, "
        f"{MANIFEST}, RAF-DB's {RAF_DB} or AffectNet's training.csv"
    )


def _of_classes(folders: Sequence[Path]) -> bool:
    """Whether one of them at least is named after one of the classes."""
    return any(emotion_index(folder.name) >= 0 for folder in folders)


def _class_folders(path: Path, splits: Mapping[str, Sequence[Path]], n_ignored: int, warn: Warn) -> list[Listed]:
    """The pictures in the folders of each split; `n_ignored` folders beside them are not looked into."""
    listed = []
    others: Counter[str] = Counter()
    for split, folders in splits.items():
        for folder in folders:
            for file in sorted(folder.iterdir()):
                suffix = file.suffix.lower()
                if file.name.startswith("."):
                    continue
                if suffix in SUFFIXES:
                    listed.append(Listed(Picture(file), folder.name, split))
                elif file.is_dir():
                    n_ignored += 1
                else:
                    others[suffix or "no suffix"] += 1
    ignored = [f"{others.total()} files ({named(others)})"] if others else []
    ignored += [f"{n_ignored} sub-folders"] if n_ignored else []
    if ignored:
        taken = f"{', '.join(sorted(SUFFIXES))} right in the folders of the classes"
        warn(f"{path}: {' and '.join(ignored)} left out; taken is {taken}")
    return listed


def _subfolders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _manifest(path: Path) -> Iterator[Listed]:
    columns = ["path", "label", *(name for name in header_of(path) if name == "start_s")]
    for line, (file, label, *start_s) in rows_of(path, columns):
        if any(start_s):
            msg = f"{path}, line {line}: start_s is given, so this is a video; stills are read here, with start_s empty"
            raise DataError(msg)
        yield Listed(Picture(path.parent / file), label)


def _raf_db(path: Path) -> Iterator[Listed]:
    """Lines such as `train_00001.jpg 5`; the picture itself may be `train_00001_aligned.jpg`, in any folder beside."""
    folder = path.absolute().parent
    root = folder.parent if folder.name == "EmoLabel" else folder
    files = {
        Path(name).stem: Path(folder) / name
        for folder, _, names in sorted(os.walk(root), reverse=True)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    }
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        msg = f"{path}: not UTF-8 text; give RAF-DB's list of names and labels"
        raise DataError(msg) from None
    for line, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        name, *codes = row.split()
        word = _RAF_DB_CODES.get(" ".join(codes))
        if word is None:
            msg = f"{path}, line {line}: expected a file name and a label from 1 to 7, found {row[:40]!r}"
            raise DataError(msg)
        stem = Path(name).stem
        file = files.get(f"{stem}_aligned") or files.get(stem) or root / name
        yield Listed(Picture(file), word, stem.partition("_")[0])


def _is_affectnet(header: Sequence[str]) -> bool:
    """By the names of the columns, or, since `validation.csv` comes without, by what stands in them."""
    nine_fields = len(header) == len(_AFFECTNET_COLUMNS) and all(field.isdigit() for field in header[1:5])
    return nine_fields or set(_AFFECTNET_USED) <= set(header)


def _affectnet(path: Path) -> Iterator[Listed]:
    """The rows of a table, whose name is their split."""
    header = None if _AFFECTNET_COLUMNS[0] in header_of(path) else _AFFECTNET_COLUMNS
    rows = list(rows_of(path, _AFFECTNET_USED, header=header))
    root = _affectnet_root(path, [fields[0] for _, fields in rows[:20]])
    for line, (name, *box, code) in rows:
        word = _AFFECTNET_CODES[whole_number(path, line, "expression", code, len(_AFFECTNET_CODES) - 1)]
        picture = Picture(root / name, _box(path, line, box) if emotion_index(word) >= 0 else None)
        yield Listed(picture, word, path.stem)


def _affectnet_root(path: Path, names: Sequence[str]) -> Path:
    """The folder that the table's paths start from: its own, the one above, or one in either."""
    own = path.absolute().parent
    for folder in (own, own.parent):
        for root in (folder, *_subfolders(folder)):
            # Unlike Path.is_file, silent about folders of others that may not be looked into.
            if any(os.path.isfile(root / name) for name in names):  # noqa: PTH113
                return root
    return own


def _box(path: Path, line: int, fields: Sequence[str]) -> Box:
    try:
        x, y, width, height = (round(float(field)) for field in fields)
    except (ValueError, OverflowError):
        msg = f"{path}, line {line}: expected face_x, face_y, face_width and face_height in px, found {fields}"
        raise DataError(msg) from None
    if width <= 0 or height <= 0:
        msg = f"{path}, line {line}: expected a face of some width and height, found {width} by {height} px"
        raise DataError(msg)
    return x, y, width, height
