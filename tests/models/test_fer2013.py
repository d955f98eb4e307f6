"""FER2013 and FER+ from the files their authors hand out."""

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.datasets.data import VOTES
from models.datasets.fer2013 import USAGES, load_fer2013
from models.datasets.sources import load_data
from models.errors import DataError
from pipeline.emotions import EMOTIONS

KAGGLE = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""What the codes 0 to 6 mean, as Kaggle says: Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral."""

FERPLUS = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
BLACK = " ".join(["0"] * 2304)


def write(folder: Path, *rows: tuple[object, ...], header: str = "emotion,pixels,Usage") -> Path:
    """`fer2013.csv` of these rows, in a new folder where there is none."""
    path = folder / "fer2013.csv"
    folder.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def write_votes(folder: Path, *rows: Sequence[object], columns: str = FERPLUS) -> None:
    """`fer2013new.csv` of these rows, which begin with usage and name."""
    with (folder / "fer2013new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Usage", "Image name", *columns.split(",")], *rows])


def test_codes_are_read_as_kaggle_names_them(tmp_path: Path) -> None:
    """Every code comes out as the class of that name, from the folder and from the file; without votes there are none."""
    path = write(tmp_path, *[(code, BLACK, "Training") for code in range(7)])
    for data in (load_fer2013(tmp_path), load_data(path), load_data(tmp_path, split="training")):
        assert [EMOTIONS[index] for index in data.label] == list(KAGGLE)
        assert (data.votes.any(), set(data.ferplus.tolist()), data.meshes) == (False, {-1}, None)


def test_pixels_stand_row_by_row(tmp_path: Path) -> None:
    """The first 48 numbers are the top row."""
    write(tmp_path, (0, " ".join(str(k % 48 + k // 48) for k in range(2304)), "Training"))
    (image,) = load_fer2013(tmp_path).images
    assert (image[0, :3].tolist(), image[47, 45:].tolist(), image.dtype) == ([0, 1, 2], [92, 93, 94], np.uint8)


@pytest.mark.parametrize("columns", [FERPLUS, ",".join(reversed(FERPLUS.split(",")))])
def test_votes_are_read_by_the_names_of_their_columns(tmp_path: Path, columns: str) -> None:
    """Each answer's votes stand in its own column, whatever the order; a row without a picture's name is kept."""
    write(tmp_path, *[(0, BLACK, "Training")] * 10)
    names = ["not a face" if name == "NF" else name for name in columns.split(",")]
    rows = [["Training", "fer.png" if k else "", *np.eye(10, dtype=int)[k] * 10] for k in range(10)]
    write_votes(tmp_path, *rows, columns=columns)
    data = load_fer2013(tmp_path)
    assert [VOTES[column] for column in data.votes.argmax(axis=1)] == names
    assert [None if k < 0 else EMOTIONS[k] for k in data.ferplus] == [n if n in EMOTIONS else None for n in names]
    assert set(data.votes.sum(axis=1).tolist()) == {10}


def test_splits(tmp_path: Path) -> None:
    """Only rows of the usage asked for come, with their own votes; taking all of them together is said."""
    write(tmp_path, *[(code, BLACK, usage) for code, usage in enumerate([*USAGES, *USAGES])])
    write_votes(tmp_path, *[[usage, "x", k, *[0] * 9] for k, usage in enumerate([*USAGES, *USAGES])])
    said: list[str] = []
    data = load_data(tmp_path, split="PUBLICTEST", warn=said.append)
    assert (data.label.tolist(), data.votes[:, 0].tolist(), said) == ([1, 4], [1, 4], [])
    assert load_data(tmp_path, warn=said.append).label.tolist() == [0, 1, 2, 3, 4, 5]
    assert [line.partition(": ")[2] for line in said] == [
        "Training, PublicTest, PrivateTest taken together; choose one to keep training pictures out of a test"
    ]
    with pytest.raises(DataError, match="no split 'test'; choose from Training, PublicTest, PrivateTest"):
        load_data(tmp_path, split="test")


def test_one_split_alone_is_not_taken_together(tmp_path: Path) -> None:
    """Only the usages that the table has are named, and one alone is not."""
    said: list[str] = []
    write(tmp_path, (0, BLACK, "PublicTest"), (1, BLACK, "PublicTest"))
    assert (len(load_data(tmp_path, warn=said.append)), said) == (2, [])
    write(tmp_path, (0, BLACK, "PrivateTest"), (1, BLACK, "Training"))
    load_data(tmp_path, warn=said.append)
    assert "csv: Training, PrivateTest taken together" in said[0]


def test_the_other_file_of_kaggle(tmp_path: Path) -> None:
    """`icml_face_data.csv`, with its order of columns and its spaces in the header, is the same table."""
    path = write(tmp_path, (6, "PrivateTest", BLACK), header="emotion, Usage, pixels")
    path.rename(tmp_path / "icml_face_data.csv")
    assert EMOTIONS[load_data(tmp_path).label[0]] == "neutral"


def test_blank_lines_mean_nothing(tmp_path: Path) -> None:
    """They are no rows."""
    path = write(tmp_path, (1, BLACK, "Training"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    assert [EMOTIONS[index] for index in load_fer2013(tmp_path).label] == ["disgust"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ((0, "0 " * 2303, "Training"), "line 2: expected 2304 pixels from 0 to 255"),
        ((0, BLACK + " 0", "Training"), "line 2: expected 2304 pixels"),
        ((0, BLACK[:-1] + "256", "Training"), "line 2: expected 2304 pixels"),
        ((0, BLACK[:-1] + "9" * 30, "Training"), "line 2: expected 2304 pixels"),
        ((0, BLACK[:-1] + "-1", "Training"), "line 2: expected 2304 pixels"),
        ((0, BLACK[:-1] + "x", "Training"), "line 2: expected 2304 pixels"),
        ((0, "", "Training"), "line 2: expected 2304 pixels"),
        ((7, BLACK, "Training"), "line 2: expected emotion from 0 to 6, found '7'"),
        (("-1", BLACK, "Training"), "line 2: expected emotion from 0 to 6, found '-1'"),
        (("happy", BLACK, "Training"), "line 2: expected emotion from 0 to 6, found 'happy'"),
        ((0, BLACK, "train"), "line 2: expected a Usage of Training, PublicTest, PrivateTest, found 'train'"),
        ((0, BLACK), "line 2: expected 3 fields, found 2"),
        ((0, "1" * 200_000, "Training"), r"not a readable table \(line 2, field larger than"),
    ],
)
def test_wrong_rows(tmp_path: Path, row: tuple[object, ...], complaint: str) -> None:
    """A row that is not of the documented form is named by its line."""
    write(tmp_path, row)
    with pytest.raises(DataError, match=complaint) as refusal:
        load_fer2013(tmp_path)
    assert "\n" not in str(refusal.value)


def test_wrong_files(tmp_path: Path) -> None:
    """No such table, one without pictures or without any of the split, and torn text are one line each."""
    with pytest.raises(DataError, match=r"no FER2013; give fer2013\.csv with emotion, pixels, Usage, or its folder"):
        load_fer2013(tmp_path)
    path = write(tmp_path)
    with pytest.raises(DataError, match=r"fer2013\.csv: holds no pictures$"):
        load_fer2013(tmp_path)
    write(tmp_path, (0, BLACK, "Training"))
    with pytest.raises(DataError, match="holds no pictures of PrivateTest"):
        load_fer2013(path, usage="PrivateTest")
    path.write_bytes(b"emotion,pixels,Usage\n0,\xff,Training\n")
    with pytest.raises(DataError, match=r"not a readable table \(it is not UTF-8 text\)"):
        load_fer2013(path.parent)
    with pytest.raises(DataError, match="columns emotion, pixels, Usage, each once; look at pixels"):
        load_fer2013(write(tmp_path, header="emotion,Usage").parent)


def test_votes_of_another_release_are_refused(tmp_path: Path) -> None:
    """The two files must have as many rows, of the same usages, in the same order, whatever split is asked for."""
    write(tmp_path, (0, BLACK, "Training"), (0, BLACK, "PublicTest"))
    none = [0] * 10
    write_votes(tmp_path, ["Training", "x", *none])
    with pytest.raises(DataError, match="one row of votes for each picture, found 2 and 1"):
        load_fer2013(tmp_path)
    write_votes(tmp_path, *[["Training", "x", *none], ["PublicTest", "x", *none], ["PublicTest", "x", *none]])
    with pytest.raises(DataError, match="found 2 and 3"):
        load_fer2013(tmp_path)
    write_votes(tmp_path, ["Training", "x", *none], ["PrivateTest", "x", *none])
    with pytest.raises(DataError, match=r"line 3: is PublicTest, but 'PrivateTest' in fer2013new\.csv"):
        load_fer2013(tmp_path, usage="Training")
    write_votes(tmp_path, ["Training", "x", *none[:-1], 256], ["PublicTest", "x", *none])
    with pytest.raises(DataError, match=r"new\.csv, line 2: expected votes for not a face from 0 to 255, found '256'"):
        load_fer2013(tmp_path)


def test_progress_counts_rows(tmp_path: Path) -> None:
    """It is told of every thousand rows, and of the end."""
    write(tmp_path, *[(0, BLACK, "Training")] * 2001)
    told: list[tuple[int, int]] = []
    load_fer2013(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(1000, 2001), (2000, 2001), (2001, 2001)]


@settings(max_examples=20, deadline=None)
@given(
    images=arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(48), st.just(48))),
    codes=st.lists(st.integers(0, 6), min_size=3, max_size=3),
)
def test_what_was_written_is_read(images: np.ndarray, codes: list[int]) -> None:
    """Any pictures and codes come back as they were written."""
    with tempfile.TemporaryDirectory() as name:
        rows = [
            (code, " ".join(map(str, image.ravel())), "Training") for code, image in zip(codes, images, strict=False)
        ]
        write(Path(name), *rows)
        data = load_fer2013(Path(name))
    assert np.array_equal(data.images, images)
    assert [EMOTIONS[index] for index in data.label] == [KAGGLE[code] for code in codes[: len(images)]]
