"""`attuned evaluate personal` as a user types it: stills, videos, what OpenFace wrote, and manifests that are wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from skimage import data as pictures
from typer.testing import CliRunner
from videos import write_pictures, write_video

from daemon import personal_material as pm
from daemon.cli import app
from daemon.errors import UnusableInputError
from pipeline.interpretable import NAMES

HEADER = "path,subject,group,order,start_s,end_s,label"


def manifest(folder: Path, *rows: str, header: str = HEADER) -> Path:
    """A manifest of these rows."""
    path = folder / "MANIFEST.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def openface_columns() -> list[str]:
    """What OpenFace 2.2 writes, as far as it is read."""
    return list(dict.fromkeys(name for names in pm._OPENFACE_COLUMNS for name in names))


def write_openface(path: Path, n_seconds: int, seed: int) -> Path:
    """Four pictures a second; in odd seconds AU12 is at 4 of 5, in even ones at 0; the last picture has no face."""
    rng = np.random.default_rng(seed)
    columns = openface_columns()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", " timestamp", " confidence", " success", *(f" {name}" for name in columns)])
        for k in range(4 * n_seconds):
            values = rng.normal(scale=0.1, size=len(columns))
            values[columns.index("AU12_r")] = 4.0 * (k // 4 % 2)
            success = int(k < 4 * n_seconds - 1)
            writer.writerow([k, k / 4, 0.9 + 0.01 * (k % 4), success, *values.round(4)])
    return path


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = CliRunner().invoke(app, ["evaluate", "personal", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def openface(tmp_path: Path) -> Path:
    """Two people of 20 seconds, one row a second: happiness where AU12 is up, neutral where not."""
    rows = []
    for name in ("a", "b"):
        write_openface(tmp_path / f"{name}.csv", 20, ord(name))
        for k in range(20):
            label = "happiness" if k % 2 else "neutral"
            rows.append(f"{name}.csv,{name},{name}{k},{k},{k},{k + 1},{label}")
    return manifest(tmp_path, *rows, "a.csv,a,x,99,0,1,boredom")


def test_one_object_for_what_openface_wrote(openface: Path) -> None:
    """Learners on the features are judged; those on pictures are left out with the reason, as are other labels."""
    code, out, error = invoke(str(openface), "--learner", "knn", "--learner", "head", "--json")
    assert (code, error) == (0, "")
    result = json.loads(out)
    assert result["subjects"]["a"]["knn"]["personal"]["uar"] == 1.0
    assert result["subjects"]["a"]["knn"]["personal"]["n"] == 12
    assert {(line["what"], line["reason"]) for line in result["excluded"]} == {
        ("a", "labels outside the seven classes: boredom"),
        ("a, head", "no pictures, only features"),
        ("b, head", "no pictures, only features"),
    }


def test_a_table_for_people(openface: Path) -> None:
    """A line per person, the summary, and what was left out."""
    code, out, _ = invoke(str(openface), "--learner", "knn")
    assert code == 0
    lines = out.splitlines()
    assert lines[1].startswith("a ")
    assert "> 100.0 (12)" in lines[1]
    assert any(line.startswith("knn: better for ") for line in lines)
    assert "left out: a (1): labels outside the seven classes: boredom" in lines
    code, out, _ = invoke(str(openface), "--learner", "head")
    assert "head: nobody to judge" in out
    assert "taken by gsx: no gain" in invoke(str(openface), "--learner", "head", "--curves")[1]


def test_means_of_openface_are_those_of_the_paper(tmp_path: Path) -> None:
    """Gaze is that of both eyes, landmarks the mean of 56 in each direction; the surest picture of a second is taken."""
    path = write_openface(tmp_path / "a.csv", 2, 0)
    times, features = pm._openface_table(path)
    assert times.shape == (7, 2)
    with path.open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    assert features.shape == (7, 51)
    assert np.isclose(features[3, NAMES.index("gaze_y")], (float(rows[3]["gaze_0_y"]) + float(rows[3]["gaze_1_y"])) / 2)
    mean = np.mean([float(rows[3][f"eye_lmk_Z_{k}"]) for k in range(56)])
    assert np.isclose(features[3, NAMES.index("eye_Z")], mean)
    rows_of_it = pm.read_manifest(manifest(tmp_path, "a.csv,a,g,1,0,1,neutral", "a.csv,a,h,2,1,2,fear"))
    material = pm.read_material(rows_of_it)
    # Of the second second the last picture, the surest, has no face.
    assert material.samples.quality.tolist() == [0.93, 0.92]
    assert np.array_equal(material.samples.interpretable[0], features[3])


def test_stills_and_videos(tmp_path: Path) -> None:
    """A portrait as a picture and as a video of two spans: a sample a second, sharing the weight of its row."""
    import cv2  # noqa: PLC0415

    portrait = pictures.astronaut()[:256, 96:352]
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((200, 200, 3), 90, np.uint8))
    write_pictures(tmp_path / "a.mp4", [portrait] * 15, fps=5)
    path = manifest(
        tmp_path,
        "a.png,a,g1,1,,,happy",
        "empty.png,a,g2,2,,,sad",
        "a.mp4,a,g3,3,0,2,happiness",
        "a.mp4,a,g4,4,2,,surprise",
        header=HEADER,
    )
    told: list[str] = []
    material = pm.read_material(pm.read_manifest(path), lambda what, *_: told.append(what))
    assert material.row.tolist() == [0, 2, 2, 3]
    assert material.samples.confidence.tolist() == [1, 0.5, 0.5, 1]
    assert material.samples.label.tolist() == [3, 3, 3, 5]
    assert np.isfinite(material.samples.pixel).all()
    assert material.excluded == ({"what": "a", "reason": "no face found", "n": 1},)
    assert set(told) == {"pictures", "videos"}
    assert material.samples.time_s.tolist() == sorted(material.samples.time_s.tolist())


def test_pictures_without_a_face_in_a_video(tmp_path: Path) -> None:
    """Nothing is left, and that is said."""
    write_video(tmp_path / "grey.mp4", [90] * 20)
    path = manifest(tmp_path, "grey.mp4,a,g,1,0,0.5,sad", "grey.mp4,a,h,2,,,sad")
    with pytest.raises(UnusableInputError, match="no row shows one of the seven classes and a face"):
        pm.read_material(pm.read_manifest(path))


def test_small_pictures_have_their_mesh_found(tmp_path: Path) -> None:
    """Pictures of 48 px are taken as they are, enlarged for the search."""
    import cv2  # noqa: PLC0415

    face = cv2.cvtColor(pictures.astronaut()[50:200, 150:300], cv2.COLOR_RGB2GRAY)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.resize(face, (48, 48), interpolation=cv2.INTER_AREA))
    material = pm.read_material(pm.read_manifest(manifest(tmp_path, "a.png,a,g,1,,,happy")))
    assert len(material) == 1


def test_ratings_are_measured_too(tmp_path: Path) -> None:
    """Of people with pictures; of those without it is said that they are left out."""
    write_openface(tmp_path / "a.csv", 20, 0)
    rows = [f"a.csv,a,a{k},{k},{k},{k + 1},{'fear' if k % 2 else 'neutral'},{k / 40},-0.5" for k in range(20)]
    path = manifest(tmp_path, *rows, header=HEADER + ",valence,arousal")
    code, out, _ = invoke(str(path), "--learner", "knn", "--json")
    assert code == 0
    assert json.loads(out)["affect"]["excluded"][0]["what"] == "a"
    assert "valence: " in invoke(str(path), "--learner", "knn")[1]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("gone.csv,a,g,1,0,1,fear", "line 3: there is no file"),
        ("a.csv,,g,1,0,1,fear", "line 3: subject is empty"),
        ("a.csv,a,g,soon,0,1,fear", "line 3: order: expected a number, found 'soon'"),
        ("a.csv,a,g,,0,1,fear", "line 3: order: expected a number, found ''"),
        ("a.csv,a,g,inf,0,1,fear", "line 3: order: expected a number, found 'inf'"),
        ("a.csv,a,g,1,2,1,fear", "line 3: end_s: expected more than start_s (2), found 1"),
        ("a.csv,a,g,1,-2,1,fear", "line 3: start_s: expected a number, found '-2'"),
        ("a.csv,a,g", "line 3: expected 7 fields, found 3"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: str, told: str) -> None:
    """One line on stderr, nothing on stdout, exit code 2."""
    write_openface(tmp_path / "a.csv", 2, 0)
    code, out, error = invoke(str(manifest(tmp_path, "a.csv,a,g,1,0,1,fear", row)))
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert told in error


def test_ratings_out_of_range_are_named(tmp_path: Path) -> None:
    """Valence is in [-1, 1]."""
    write_openface(tmp_path / "a.csv", 2, 0)
    path = manifest(tmp_path, "a.csv,a,g,1,0,1,fear,3,0", header=HEADER + ",valence,arousal")
    code, _, error = invoke(str(path))
    assert (code, "line 2: valence: expected a number from -1 to 1, found '3'" in error) == (2, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("path,subject\n", "expected the columns path, subject, group"),
        (HEADER + "\n", "has no rows"),
        ("\0\n", "expected the columns"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, content: str, told: str) -> None:
    """Said with the columns that are needed."""
    path = tmp_path / "MANIFEST.csv"
    path.write_text(content)
    code, _, error = invoke(str(path))
    assert (code, error.count("\n")) == (2, 1)
    assert told in error


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A picture that is none, a table of another program, and one with words in it."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    words = write_openface(tmp_path / "words.csv", 1, 0)
    words.write_text(words.read_text().replace("0.25", "often"))
    for name, told in (("bad.png", "is no picture"), ("other.csv", "expected the columns"), ("words.csv", "no number")):
        code, _, error = invoke(str(manifest(tmp_path, f"{name},a,g,1,0,1,fear")))
        assert (code, error.count("\n")) == (2, 1)
        assert told in error
        assert len(error) < 600


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--learner", "svm"], "--learner svm: choose from offset, head, knn, random-forest, mlp"),
        (["--split", "random"], "--split random: choose from rolling, last"),
    ],
)
def test_options_that_there_are_not(openface: Path, arguments: list[str], told: str) -> None:
    """Told before anything is read."""
    code, out, error = invoke(str(openface), *arguments)
    assert (code, out) == (2, "")
    assert told in error


def test_people_of_the_development_data(dev_data: Path, tmp_path: Path) -> None:
    """Of two people posing seven expressions the last takes are read no worse by heads of their own."""
    with (dev_data / "jaffe" / "MANIFEST.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["subject"] in {"KA", "UY"}]
    of_path = tmp_path / "MANIFEST.csv"
    with of_path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER.split(","))
        writer.writeheader()
        writer.writerows(row | {"path": str(dev_data / "jaffe" / row["path"])} for row in rows)
    code, out, _ = invoke(str(of_path), "--learner", "head", "--split", "last", "--json", "--curves")
    assert code == 0
    result = json.loads(out)
    assert set(result["subjects"]) == {"KA", "UY"}
    assert result["summary"]["head"]["worse"] == 0
    assert result["summary"]["head"]["mean_gain"] > 0
    assert set(result["curves"]) == {"random", "gsx", "gsy", "igs", "mcdue"}
