"""The demo call: its script, its film, and how readings are compared with it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from daemon.demo.call import (
    DemoError,
    DemoScript,
    ScriptedPerson,
    agreement,
    format_agreement,
    make_script,
    write_call,
)
from models.faces import still_face_finder
from models.loading import load_models
from models.pixel import face_crop
from pipeline.emotions import EMOTIONS
from pipeline.types import U8, Faces

_CLASSES = ("neutral", "happiness", "surprise")


def _pictures(path: Path) -> Iterator[tuple[float, U8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield float(frame.time), frame.to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two seconds."""
    path = tmp_path_factory.mktemp("demo") / "call.mp4"
    write_call(path, make_script(2))
    return path


def test_script_is_deterministic_and_a_longer_call_starts_like_a_shorter_one() -> None:
    """The same length gives the same script, and every second of a shorter call is that of a longer one."""
    assert make_script(90) == make_script(90)
    for short, long in zip(make_script(7).people, make_script(90).people, strict=True):
        assert short.emotions == long.emotions[:7]
        assert (short.name, short.rect) == (long.name, long.rect)


@pytest.mark.parametrize(
    ("seconds", "classes"),
    [(30, {"neutral", "happiness", "surprise"}), (60, {"neutral", "happiness", "surprise", "sadness", "anger"})],
)
def test_everybody_shows_every_class_of_the_script(seconds: int, classes: set[str]) -> None:
    """Thirty seconds hold neutral, happiness and surprise of everybody for four seconds, sixty every class."""
    for person in make_script(seconds).people:
        assert len(person.emotions) == seconds
        assert classes <= set(person.emotions) <= set(EMOTIONS)
        assert all(person.emotions.count(name) >= 4 for name in classes)


def test_group_truth_is_the_class_of_more_than_half() -> None:
    """Three of four make a majority, two of four make none."""
    sixty = make_script(60)
    assert {"neutral", "happiness", "surprise", "sadness", "anger"} == set(sixty.group) - {None}
    box = (0, 0, 1, 1)
    shown = (("anger", "anger"), ("anger", "anger"), ("anger", "neutral"), ("neutral", "neutral"))
    people = tuple(ScriptedPerson(str(number), box, emotions) for number, emotions in enumerate(shown))
    assert DemoScript((1, 1), 25, 2, people).group == ("anger", None)


def test_a_call_without_seconds_is_refused() -> None:
    """A length below one second is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one second, not 0"):
        make_script(0)


def test_truth_is_json_in_the_form_of_a_labelled_meeting() -> None:
    """Layout, people and classes by second are JSON; rectangles are x, y, width, height inside the picture."""
    script = make_script(45)
    truth = json.loads(json.dumps(script.truth()))
    assert truth["size"] == [1280, 720]
    assert truth["fps"] == 25
    assert truth["duration"] == 45
    (layout,) = truth["layout"]
    assert (layout["t0"], layout["t1"], layout["grid"]) == (0, 45, "2x2")
    assert [tile["person"] for tile in layout["tiles"]] == ["p1", "p2", "p3", "p4"]
    assert layout["tiles"][3]["rect"] == layout["tiles"][3]["content_rect"] == [646, 366, 622, 348]
    for tile, person in zip(layout["tiles"], script.people, strict=True):
        x, y, width, height = tile["rect"]
        assert (x, y, x + width, y + height) == person.rect
        name_x, name_y, name_width, name_height = tile["name_rect"]
        assert x <= name_x < name_x + name_width <= x + width
        assert y <= name_y < name_y + name_height <= y + height
    for key, person in zip(("p1", "p2", "p3", "p4"), script.people, strict=True):
        assert truth["people"][key]["display_name"] == person.name
        assert truth["emotion_by_second"][key] == list(person.emotions)
        by_segment = [
            segment["emotion"]
            for segment in truth["people"][key]["segments"]
            for _ in range(segment["t1"] - segment["t0"])
        ]
        assert by_segment == list(person.emotions)


def test_the_same_script_gives_the_same_bytes(call: Path, tmp_path: Path) -> None:
    """Two films of one script are equal byte for byte, and progress counts every frame."""
    again, told = tmp_path / "again.mp4", []
    write_call(again, make_script(2), progress=lambda done, n_frames: told.append((done, n_frames)))
    assert again.read_bytes() == call.read_bytes()
    assert told == [(number, 50) for number in range(1, 51)]


def test_film_has_the_size_rate_and_length_of_the_script(call: Path) -> None:
    """H.264, 1280 x 720, 25 frames per second, one every 40 ms from 0."""
    with av.open(str(call)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.codec_context.width, stream.codec_context.height) == (1280, 720)
        assert stream.average_rate == 25
    times = [time_s for time_s, _ in _pictures(call)]
    assert times == pytest.approx([number / 25 for number in range(50)])


def test_a_face_is_found_in_every_tile_and_nowhere_between(call: Path) -> None:
    """In sampled frames every tile holds one face inside it; the page around the tiles is flat and dark."""
    script = make_script(2)
    with still_face_finder() as finder:
        for number, (_, image) in enumerate(_pictures(call)):
            if number % 20 == 0:
                for person in script.people:
                    x0, y0, x1, y1 = person.rect
                    faces = finder.find(image[y0:y1, x0:x1])
                    assert len(faces) == 1
                    assert 100 < faces.xyxy[0, 3] - faces.xyxy[0, 1] < 240
                    assert 0 <= faces.xyxy[0].min() <= faces.xyxy[0].max() <= x1 - x0
                assert np.abs(image[:, 638:642].astype(int) - 20).max() <= 12


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[U8, Faces]]]:
    """By class and name: the tile four fifths into a second of that class, and its face."""
    base = make_script(1)
    people = tuple(ScriptedPerson(person.name, person.rect, _CLASSES) for person in base.people)
    path = tmp_path_factory.mktemp("demo") / "classes.mp4"
    write_call(path, DemoScript(base.size, base.fps, len(_CLASSES), people))
    images = [image for number, (_, image) in enumerate(_pictures(path)) if number % 25 == 20]
    shown: dict[str, dict[str, tuple[U8, Faces]]] = {}
    with still_face_finder() as finder:
        for name, image in zip(_CLASSES, images, strict=True):
            tiles = {person.name: image[slice(*person.rect[1::2]), slice(*person.rect[::2])] for person in people}
            shown[name] = {who: (tile, finder.find(tile)) for who, tile in tiles.items()}
    return shown


def test_faces_move_as_the_script_says(settled: dict[str, dict[str, tuple[U8, Faces]]]) -> None:
    """Smiles are wider and surprised mouths more open than neutral ones, and surprise raises the brows."""
    for who in settled["neutral"]:
        width, opening, brow = {}, {}, {}
        for name, faces in settled.items():
            mesh = faces[who][1].landmarks[0, :, :2]
            unit = np.linalg.norm(mesh[33] - mesh[263])
            width[name] = np.linalg.norm(mesh[61] - mesh[291]) / unit
            opening[name] = (mesh[14, 1] - mesh[13, 1]) / unit
            brow[name] = (mesh[[159, 386], 1].mean() - mesh[[105, 334], 1].mean()) / unit
        assert width["happiness"] > width["neutral"] + 0.05
        assert opening["neutral"] < 0.06
        assert opening["surprise"] > opening["neutral"] + 0.1
        assert brow["surprise"] > brow["neutral"] + 0.005


def test_shipped_models_read_everybody(settled: dict[str, dict[str, tuple[U8, Faces]]]) -> None:
    """Neutral, happiness and surprise of all four participants come out on top of the mean of both models."""
    models = load_models()
    for name in ("neutral", "happiness", "surprise"):
        for who, (tile, faces) in settled[name].items():
            pixel = models.pixel.predict(face_crop(tile, faces.landmarks[0])[None]).probabilities[0]
            landmark = models.landmark.predict(faces.landmarks).probabilities[0]
            assert EMOTIONS[int((pixel + landmark).argmax())] == name, who


def test_agreement_by_hand() -> None:
    """Recall per class, its mean, and the group's, leaving out the first second after a switch."""
    box = (0, 0, 1, 1)
    script = DemoScript(
        (1, 1),
        25,
        6,
        (
            ScriptedPerson("Ann", box, ("neutral", "neutral", "happiness", "happiness", "happiness", "happiness")),
            ScriptedPerson("Bob", box, ("neutral", "neutral", "neutral", "happiness", "happiness", "happiness")),
        ),
    )
    readings = {
        "Ann": ["neutral", "anger", "anger", "happiness", "happiness", None],  # second 2 is left out
        "Bob": ["neutral", "neutral", "neutral", "anger", "happiness"],  # second 3 is left out, 5 is missing
    }
    # Ann: neutral 1 of 2, happiness 2 of 3. Bob: neutral 3 of 3, happiness 1 of 2.
    # Together: neutral 4 of 5, happiness 3 of 5. Group truth: neutral, neutral, -, happiness x 3, of which
    # second 3 follows a switch; the plurality of the readings: neutral; anger and neutral tie, anger is first
    # in class order; then happiness; then nothing.
    result = agreement(script, readings)
    assert result.people["Ann"].n_seconds == 5
    assert result.people["Ann"].accuracy == pytest.approx(3 / 5)
    assert result.people["Ann"].recall == pytest.approx({"happiness": 2 / 3, "neutral": 1 / 2})
    assert result.people["Bob"].recall == pytest.approx({"happiness": 1 / 2, "neutral": 1.0})
    assert result.uar == pytest.approx((4 / 5 + 3 / 5) / 2)
    assert result.n_group_seconds == 4
    assert result.group_recall == pytest.approx({"happiness": 1 / 2, "neutral": 1 / 2})
    assert result.group_uar == pytest.approx(0.5)

    by_place = agreement(script, {0: readings["Ann"], 1: readings["Bob"]}, group=["neutral"] * 2 + ["happiness"] * 4)
    assert by_place.people == result.people
    assert by_place.group_uar == 1.0

    table = format_agreement(result)
    assert table.splitlines()[0].split() == ["right", "happiness", "neutral"]
    assert table.splitlines()[1].split() == ["Ann", "60%", "67%", "50%"]
    assert "group 50%, everybody 70%" in table


def test_agreement_without_readings_is_no_agreement() -> None:
    """Nothing read is nothing right; classes that the script does not show are not counted."""
    result = agreement(make_script(6), {})
    assert result.uar == 0.0
    assert result.group_uar == 0.0
    assert all(person.accuracy == 0.0 for person in result.people.values())
    assert "anger" not in format_agreement(result)


def test_missing_scikit_image_is_said_clearly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the demo extra one error says what to install, and no file is left behind."""
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(DemoError, match=r'pip install "attuned\[demo\]"'):
        write_call(tmp_path / "call.mp4", make_script(1))
    assert not list(tmp_path.iterdir())
