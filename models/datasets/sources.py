"""One door to data sets of every kind: npz, FER2013, folders and lists of pictures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.datasets.data import VOTES, FaceData, load_faces
from models.datasets.fer2013 import fer2013_table, load_fer2013
from models.datasets.labels import Warn, chosen_split, emotion_index, named
from models.datasets.listings import Listed, list_pictures
from models.datasets.meshes import Progress
from models.datasets.pictures import Pictures, read_pictures
from models.errors import DataError


def load_data(
    path: Path,
    *,
    split: str | None = None,
    n_workers: int = 2,
    progress: Progress | None = None,
    warn: Warn = lambda _: None,
) -> FaceData:
    """The faces and labels of a data set, whose kind is recognised.

    - an npz, see `load_faces`;
    - FER2013: `fer2013.csv`, or its folder, with the votes of `fer2013new.csv` where it lies beside;
    - a folder of folders of pictures, named after the classes, such as `happy` or `Happiness`; or one of such
      folders, such as `train` and `test`;
    - a `MANIFEST.csv` of stills, or its folder;
    - RAF-DB: `list_patition_label.txt`, or a folder in which it, or `EmoLabel` with it, lies;
    - AffectNet: `training.csv` or `validation.csv`, or the folder they are in.

    In picture files other than 48 by 48 px the face is found and cut as the daemon does, and its mesh
    kept; see `read_pictures`. Where nobody voted, all votes are 0.

    Args:
        path: The file or folder.
        split: The part to take, in any case: `Training`, `PublicTest`, `PrivateTest` of FER2013, `train`, `test` of
            RAF-DB, a folder of class folders, `training`, `validation` of AffectNet; None takes everything.
        n_workers: Processes that read pictures.
        progress: Is given pictures done and pictures in all.
        warn: Is given a line on each kind of file that was left out, or could not be read.

    Raises:
        DataError: It is no known data set, some of it is not of the documented form, or none of it can be used.
    """
    try:
        if not path.exists():
            msg = f"{path}: no such file or folder; give a data set"
            raise DataError(msg)
        if path.suffix.lower() == ".npz":
            chosen_split(path, split, (), warn)
            return load_faces(path)
        if fer2013_table(path) is not None:
            return load_fer2013(path, usage=split, progress=progress, warn=warn)
        listed = list_pictures(path, warn=warn)
    except OSError as error:
        msg = f"{error.filename or path}: cannot be read ({error.strerror})"
        raise DataError(msg) from None
    splits = list(dict.fromkeys(row.split for row in listed if row.split))
    wanted = chosen_split(path, split, splits, warn)
    rows = _of_the_classes(path, [row for row in listed if wanted in {None, row.split}], warn)
    read = read_pictures([row.picture for row in rows], n_workers=n_workers, progress=progress)
    _report_unreadable(path, rows, read, warn)
    return _face_data(rows, read)


def _of_the_classes(path: Path, listed: Sequence[Listed], warn: Warn) -> list[Listed]:
    rows = [row for row in listed if emotion_index(row.word) >= 0]
    others = Counter(" ".join(row.word.split())[:40] or "no label" for row in listed if emotion_index(row.word) < 0)
    if not rows:
        msg = f"{path}: no picture of the seven classes; found {named(others)}"
        raise DataError(msg)
    if others:
        warn(f"{path}: {others.total()} of {len(listed)} pictures left out, not of the seven classes: {named(others)}")
    return rows


def _report_unreadable(path: Path, rows: Sequence[Listed], read: Pictures, warn: Warn) -> None:
    bad = np.flatnonzero(~read.readable)
    if not len(bad):
        return
    first = rows[bad[0]].picture.path
    if len(bad) == len(rows):
        msg = f"{path}: none of {len(rows)} pictures could be read, {first} being the first; check where they lie"
        raise DataError(msg)
    warn(f"{path}: {len(bad)} of {len(rows)} pictures could not be read and are left out, {first} being the first")


def _face_data(rows: Sequence[Listed], read: Pictures) -> FaceData:
    """What could be read."""
    label = np.array([emotion_index(row.word) for row in rows], dtype=np.int64)
    votes = np.zeros((len(rows), len(VOTES)), dtype=np.uint8)
    return FaceData(read.images, label, votes, meshes=read.meshes).rows(np.flatnonzero(read.readable))
