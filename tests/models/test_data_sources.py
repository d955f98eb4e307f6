"""Data sets of every kind, recognised and read."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from models.datasets.data import FaceData
from models.datasets.labels import emotion_index
from models.datasets.sources import load_data
from models.errors import DataError
from pipeline.emotions import EMOTIONS

RAF_DB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""What the labels 1 to 7 mean."""

AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", None, None, None, None)
"""What the expressions 0 to 10 mean; contempt, none, uncertain and no-face are not of the seven."""

AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)
FACE = "180,70,90,105"


def picture(path: Path, grey: int = 0) -> Path:
    """A 48 px picture of one grey, in folders made for it; only bmp and png keep it exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((48, 48), grey, dtype=np.uint8))[1].tobytes())
    return path


def portrait(path: Path) -> Path:
    """The astronaut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))[1].tobytes())
    return path


def manifest(folder: Path, *rows: tuple[object, ...]) -> Path:
    """`MANIFEST.csv` of rows of path, start and label."""
    path = folder / "MANIFEST.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "subject", "group", "order", "start_s", "end_s", "label"])
        writer.writerows([name, "A", "g", 1, start, start, label] for name, start, label in rows)
    return path


def named(data: FaceData) -> dict[int, str]:
    """The class of each grey."""
    return {int(image[0, 0]): EMOTIONS[index] for image, index in zip(data.images, data.label, strict=True)}


@pytest.mark.parametrize(
    ("words", "emotion"),
    [
        (("anger", "Angry", " ANGER "), "anger"),
        (("disgust", "Disgusted"), "disgust"),
        (("fear", "fearful", "FEAR", "scared", "Afraid"), "fear"),
        (("happiness", "happy", "Happy", "JOY"), "happiness"),
        (("sadness", "sad"), "sadness"),
        (("surprise", "Surprised"), "surprise"),
        (("neutral", "NEUTRAL"), "neutral"),
    ],
)
def test_words_for_the_classes(words: tuple[str, ...], emotion: str) -> None:
    """Nouns and adjectives of any case mean the class."""
    assert {EMOTIONS[emotion_index(word)] for word in words} == {emotion}


@given(st.text())
def test_other_words(word: str) -> None:
    """Whatever is said, it is one of the seven or -1, and white space around it means nothing."""
    assert -1 <= emotion_index(word) < 7
    assert emotion_index(f" {word}\n") == emotion_index(word)


def test_folders_named_after_classes(tmp_path: Path) -> None:
    """Each picture gets the class of its folder; contempt is left out and said; what is hidden does not count."""
    folders = {"Angry": 1, "disgust": 2, "FEAR": 3, "happy": 4, "sadness": 5, "Surprised": 6, "neutral": 7}
    for folder, grey in folders.items():
        picture(tmp_path / "Dätä" / folder / "ß.PNG", grey)
    picture(tmp_path / "Dätä" / "contempt" / "a.png")
    picture(tmp_path / "Dätä" / "contempt" / "b.bmp")
    picture(tmp_path / "Dätä" / ".hidden" / "a.png")
    picture(tmp_path / "Dätä" / "happy" / "._a.png")
    said: list[str] = []
    data = load_data(tmp_path / "Dätä", n_workers=1, warn=said.append)
    nouns = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert named(data) == dict(enumerate(nouns, start=1))
    assert (data.votes.shape, data.votes.any(), data.meshes) == ((7, 10), False, None)
    assert said == [f"{tmp_path / 'Dätä'}: 2 of 9 pictures left out, not of the seven classes: contempt 2"]


@pytest.mark.parametrize("suffix", [".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff", ".webp"])
def test_every_suffix_can_be_decoded(tmp_path: Path, suffix: str) -> None:
    """What is taken for a picture by its name, in capital letters too, is read."""
    picture(tmp_path / "happy" / f"a{suffix}").rename(tmp_path / "happy" / f"a{suffix.upper()}")
    assert load_data(tmp_path, n_workers=1).label.tolist() == [3]


def test_what_is_not_taken_is_counted(tmp_path: Path) -> None:
    """Other files and folders below and beside those of the classes are said, whether divided or not."""
    picture(tmp_path / "train" / "happy" / "a.png", 1)
    picture(tmp_path / "train" / "happy" / "more" / "b.png")
    for name in ("Thumbs.db", "c.GIF", "d.gif"):
        (tmp_path / "train" / "happy" / name).write_bytes(b"")
    said: list[str] = []
    assert named(load_data(tmp_path / "train", n_workers=1, warn=said.append)) == {1: "happiness"}
    assert said.pop().startswith(f"{tmp_path / 'train'}: 3 files (.gif 2, .db 1) and 1 sub-folders left out; taken is")
    picture(tmp_path / "rest" / "e.png")
    assert named(load_data(tmp_path, n_workers=1, warn=said.append)) == {1: "happiness"}
    assert said.pop().startswith(f"{tmp_path}: 3 files (.gif 2, .db 1) and 2 sub-folders left out; taken is .bmp, ")


def test_a_divided_folder(tmp_path: Path) -> None:
    """Folders of class folders are splits; all of them together are taken with a word of warning."""
    picture(tmp_path / "train" / "happy" / "a.png", 1)
    picture(tmp_path / "test" / "sad" / "b.png", 2)
    assert named(load_data(tmp_path, split="Train", n_workers=1)) == {1: "happiness"}
    assert named(load_data(tmp_path / "test", n_workers=1)) == {2: "sadness"}
    said: list[str] = []
    assert named(load_data(tmp_path, n_workers=1, warn=said.append)) == {1: "happiness", 2: "sadness"}
    assert len(said) == 1
    assert "test, train taken together" in said[0]
    with pytest.raises(DataError, match="no split 'PublicTest'; choose from test, train"):
        load_data(tmp_path, split="PublicTest")


def test_a_manifest(tmp_path: Path) -> None:
    """Stills and their labels are read, from the file or its folder; other labels, and none, are left out and counted."""
    rows = [(picture(tmp_path / f"{k}.png", k).name, "", label) for k, label in enumerate(["happy", "fear", "", "awe"])]
    said: list[str] = []
    data = load_data(manifest(tmp_path, *rows), n_workers=1, warn=said.append)
    assert named(data) == named(load_data(tmp_path, n_workers=1)) == {0: "happiness", 1: "fear"}
    assert said[0].endswith("2 of 4 pictures left out, not of the seven classes: no label 1, awe 1")
    with pytest.raises(DataError, match="no split 'test'; it is not divided, so give none"):
        load_data(tmp_path, split="test")


def test_a_manifest_of_videos_is_refused(tmp_path: Path) -> None:
    """A row with a start in it is a video, and named by its line."""
    with pytest.raises(DataError, match="line 3: start_s is given, so this is a video; stills are read here"):
        load_data(manifest(tmp_path, ("a.png", "", "fear"), ("b.mp4", "1.0", "fear")))


def test_a_manifest_without_times(tmp_path: Path) -> None:
    """Path and label are enough."""
    picture(tmp_path / "a.png", 1)
    (tmp_path / "MANIFEST.csv").write_text("path,label\na.png,joy\n")
    assert named(load_data(tmp_path, n_workers=1)) == {1: "happiness"}


def test_raf_db(tmp_path: Path) -> None:
    """Labels 1 to 7 mean what its authors say; the aligned picture is taken first; names tell the split."""
    (tmp_path / "EmoLabel").mkdir()
    lines = [f"{'test' if label == 7 else 'train'}_{label:05d}.jpg {label}" for label in range(1, 8)]
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n\n")
    for label in range(1, 7):
        picture(tmp_path / "Image" / "aligned" / f"train_{label:05d}_aligned.png", label)
        picture(tmp_path / "Image" / "original" / f"train_{label:05d}.png", 100)
    picture(tmp_path / "Image" / "original" / "test_00007.png", 7)
    said: list[str] = []
    expected = dict(enumerate(RAF_DB, start=1))
    assert named(load_data(tmp_path, n_workers=1, warn=said.append)) == expected
    assert "train, test taken together" in said[0]
    listed = tmp_path / "EmoLabel" / "list_patition_label.txt"
    assert named(load_data(listed, split="test", n_workers=1)) == {7: "neutral"}


def test_raf_db_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of its labels, `.` finds the pictures beside it."""
    picture(tmp_path / "Image" / "aligned" / "train_00001_aligned.png", 1)
    (tmp_path / "EmoLabel").mkdir()
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 1\n")
    monkeypatch.chdir(tmp_path / "EmoLabel")
    assert named(load_data(Path(), n_workers=1)) == {1: "surprise"}


@pytest.mark.parametrize("line", ["train_1.jpg 0", "train_1.jpg 8", "train_1.jpg", "train_1.jpg happy", "a b 1"])
def test_wrong_lines_of_raf_db(tmp_path: Path, line: str) -> None:
    """A line that is not a name and a label from 1 to 7 is named."""
    path = tmp_path / "list_patition_label.txt"
    path.write_text(f"test_1.jpg 1\n{line}\n")
    with pytest.raises(DataError, match="line 2: expected a file name and a label from 1 to 7, found"):
        load_data(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(DataError, match="not UTF-8 text; give RAF-DB's list"):
        load_data(path)


@pytest.mark.parametrize("header", [AFFECTNET_HEADER + "\n", ""])
def test_affectnet(tmp_path: Path, header: str) -> None:
    """Expressions 0 to 10 mean what its authors say, with a header as in `training.csv` and without as in the other."""
    table = tmp_path / "Manually_Annotated_file_lists" / "validation.csv"
    table.parent.mkdir()
    table.write_text(header + "".join(f"{k}/{k}.png,0,0,48,48,1;2,{k},0.1,-0.2\n" for k in range(11)))
    for k in range(11):
        picture(tmp_path / "Manually_Annotated_Images" / str(k) / f"{k}.png", k)
    said: list[str] = []
    data = load_data(table, n_workers=1, warn=said.append)
    assert named(data) == {k: emotion for k, emotion in enumerate(AFFECTNET) if emotion}
    assert named(load_data(tmp_path, n_workers=1)) == named(data)
    assert named(load_data(table, split="Validation", n_workers=1)) == named(data)
    with pytest.raises(DataError, match="no split 'training'; choose from validation"):
        load_data(table, split="training")
    assert said[0].endswith("4 of 11 pictures left out, not of the seven classes: " + OTHERS)


OTHERS = "contempt 1, none 1, uncertain 1, no face 1"


def test_the_faces_of_affectnet_are_in_their_boxes(tmp_path: Path) -> None:
    """The box says which face of the picture is meant; the two tables in a folder are its splits."""
    portrait(tmp_path / "a.png")
    (tmp_path / "training.csv").write_text(f"{AFFECTNET_HEADER}\na.png,{FACE},,1,0,0\na.png,400,400,50,50,,1,0,0\n")
    (tmp_path / "validation.csv").write_text(f"a.png,{FACE},,6,0,0\n")
    data = load_data(tmp_path, split="training", n_workers=1)
    assert data.meshes is not None
    assert (data.meshes.found.tolist(), data.images[1].any()) == ([True, False], False)
    assert np.abs(data.meshes.landmarks[0].mean(axis=0)[:2] - (224, 123)).max() < 3
    assert [EMOTIONS[k] for k in load_data(tmp_path, split="validation", n_workers=1).label] == ["anger"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"a.png,{FACE},,11,0,0", "line 2: expected expression from 0 to 10, found '11'"),
        (f"a.png,{FACE},,-2,0,0", "line 2: expected expression from 0 to 10, found '-2'"),
        ("a.png,1,2,x,4,,1,0,0", "line 2: expected face_x, face_y, face_width and face_height in px"),
        ("a.png,1,2,nan,4,,1,0,0", "line 2: expected face_x, face_y, face_width and face_height in px"),
        ("a.png,1,2,inf,4,,1,0,0", "line 2: expected face_x, face_y, face_width and face_height in px"),
        ("a.png,1,2,0,4,,1,0,0", "line 2: expected a face of some width and height, found 0 by 4 px"),
        ("a.png,1,2", "line 2: expected 9 fields, found 3"),
    ],
)
def test_wrong_rows_of_affectnet(tmp_path: Path, row: str, complaint: str) -> None:
    """A row that is not of the documented form is named by its line."""
    path = tmp_path / "training.csv"
    path.write_text(f"{AFFECTNET_HEADER}\n{row}\n")
    with pytest.raises(DataError, match=complaint):
        load_data(path)


def test_unreadable_pictures_do_not_stop_the_others(tmp_path: Path) -> None:
    """They are left out, among 48 px pictures as among larger ones, and that is said once."""
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "0.png").write_bytes(b"torn")
    (tmp_path / "happy" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 2 pictures could be read, .*0\.png being the first"):
        load_data(tmp_path, n_workers=1)
    picture(tmp_path / "happy" / "2.png", 2)
    said: list[str] = []
    data = load_data(tmp_path, n_workers=1, warn=said.append)
    assert (len(data), named(data), data.meshes) == (1, {2: "happiness"}, None)
    assert "2 of 3 pictures could not be read and are left out" in said.pop()
    portrait(tmp_path / "sad" / "3.png")
    data = load_data(tmp_path, n_workers=1, warn=said.append)
    assert data.meshes is not None
    assert data.meshes.found.tolist() == [False, True]
    assert data.images.any(axis=(1, 2)).tolist() == [False, True]
    assert data.label.tolist() == [3, 4]
    assert len(said) == 1
    assert "2 of 4 pictures could not be read and are left out" in said[0]


def test_an_npz(tmp_path: Path) -> None:
    """It is recognised by its name in any case, and has no splits."""
    path = tmp_path / "data.NPZ"
    with path.open("wb") as file:
        np.savez(file, images=np.ones((1, 48, 48), np.uint8), label=np.full(1, 3), votes=np.eye(1, 10, dtype=np.uint8))
    data = load_data(path)
    assert (named(data), EMOTIONS[data.ferplus[0]]) == ({1: "happiness"}, "neutral")
    with pytest.raises(DataError, match="no split 'test'; it is not divided"):
        load_data(path, split="test")


def test_what_is_no_data_set(tmp_path: Path) -> None:
    """A missing path, an empty folder, unknown folders and tables, and empty ones are one line that says what to give."""
    unknown = "no known data set; give an npz, FER2013's fer2013.csv, folders of pictures named after the classes, "
    with pytest.raises(DataError, match="none: no such file or folder; give a data set"):
        load_data(tmp_path / "none")
    with pytest.raises(DataError, match=unknown):
        load_data(tmp_path)
    picture(tmp_path / "cats" / "a.png")
    with pytest.raises(DataError, match=unknown):
        load_data(tmp_path)
    for content in (b"", b"name,colour\na,b\n", b"\xff\xfe\x00", b"\x00" * 100_000):
        (tmp_path / "table.csv").write_bytes(content)
        with pytest.raises(DataError, match=unknown) as refusal:
            load_data(tmp_path / "table.csv")
        assert "\n" not in str(refusal.value)
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="no picture of the seven classes; found cats 1"):
        load_data(tmp_path)
    (tmp_path / "cats" / "a.png").unlink()
    with pytest.raises(DataError, match=r"holds no pictures \(\.bmp, \.jpeg, .*\.webp\)$"):
        load_data(tmp_path)
    with pytest.raises(DataError, match="holds no pictures"):
        load_data(manifest(tmp_path))
    with pytest.raises(DataError, match="no picture of the seven classes; found awe 1"):
        load_data(manifest(tmp_path, ("a.png", "", "awe")))
    (tmp_path / "MANIFEST.csv").write_text("path,start_s\na.png,\n")
    with pytest.raises(DataError, match="expected the columns path, label, start_s, each once; look at label"):
        load_data(tmp_path)


def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    """What the system refuses to look at is said in one line."""
    with pytest.raises(DataError, match="cannot be read"):
        load_data(tmp_path / ("x" * 300))


def test_posed_faces_are_all_found(dev_data: Path) -> None:
    """Of JAFFE's 107 pictures every one has a mesh, and every class is there."""
    data = load_data(dev_data / "jaffe", n_workers=1)
    assert data.meshes is not None
    assert (len(data), int(data.meshes.found.sum()), set(data.label.tolist())) == (107, 107, set(range(7)))
    assert data.images.any(axis=(1, 2)).all()


def test_photographs_of_many_sizes(dev_data: Path, tmp_path: Path) -> None:
    """Of the first 40 photographs of muxspace at least 38 have a mesh."""
    with (dev_data / "muxspace" / "MANIFEST.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:40]
    data = load_data(
        manifest(tmp_path, *[(dev_data / "muxspace" / r["path"], "", r["label"]) for r in rows]), n_workers=1
    )
    assert data.meshes is not None
    assert len(data) == 40
    assert data.meshes.found.sum() >= 38
