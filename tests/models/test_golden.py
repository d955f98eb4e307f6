"""What the shipped models say of made-up inputs and acted faces, number by number, for exactly the shipped weights.

After training anew: `python tests/models/test_golden.py` writes the file again; look at what changed.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from daemon.demo.faces import POSES, Puppet
from daemon.demo.portraits import LOOKS, load_portraits
from models.faces import still_face_finder
from models.landmark import OnnxLandmarkModel
from models.manifest import MANIFEST, WEIGHTS, read_manifest
from models.pixel import OnnxPixelModel, face_crop
from pipeline.emotions import EMOTIONS, softmax
from pipeline.landmarks import RIGID_POINTS, RIGID_REFERENCE

ACTED = POSES["hopper"] | {
    "disgust": {"AU4": 0.7, "AU6": 0.5, "AU9": 1.4, "AU12": -0.3, "AU15": 0.6, "AU17": 0.6, "AU43": 0.5},
    "fear": {"AU1": 0.8, "AU2": 0.5, "AU4": 0.4, "AU5": 0.7, "AU12": -0.1, "AU15": 0.3, "AU26": 0.35},
}
"""Action units of each class (Ekman & Friesen 1978), as strong as the demo's puppets show them."""

GOLDEN = Path(__file__).parents[1] / "golden" / "expressions.json"
FACES = Path(__file__).parents[1] / "golden" / "acted.npz"
ATOL = 2e-3
"""Logits of one network differ this much between the kernels of one processor and another."""


def pictures() -> np.ndarray:
    """(3, 48, 48) uint8: a ramp, rings around the middle, and bars with a dark spot."""
    rows, columns = np.indices((48, 48))
    radius = np.hypot(rows - 24, columns - 24)
    ramp = 5 * columns
    rings = 128 + 100 * np.cos(radius / 3)
    bars = 90 + 60 * (rows // 6 % 2) - 80 * (radius < 7)
    return np.stack([ramp, rings, bars]).clip(0, 255).astype(np.uint8)


def meshes() -> np.ndarray:
    """(3, 468, 3) float32: the rigid points of a face, the others on a bent sheet that moves from row to row."""
    k = np.arange(468)
    sheets = []
    for bend in (0.0, 0.05, 0.1):
        x, y = np.sin(2.4 * k) * np.sqrt(k / 468), np.cos(2.4 * k) * np.sqrt(k / 468)
        sheet = np.stack([x, 1.2 * y + bend * np.abs(x), 0.7 * x**2 - 0.5], axis=1)
        sheet[list(RIGID_POINTS)] = RIGID_REFERENCE
        sheets.append(100 * sheet + 300)
    return np.stack(sheets).astype(np.float32)


def acted() -> tuple[np.ndarray, np.ndarray]:
    """(7, 48, 48) crops and (7, 468, 3) meshes of one portrait that acts each class, in `EMOTIONS` order."""
    with np.load(FACES) as kept:
        return kept["crops"], kept["meshes"]


def spoken(name: str, folder: Path = WEIGHTS) -> np.ndarray:
    """(10, 7) logits of a model for the made-up inputs and the acted faces."""
    faces, points = acted()
    if read_manifest(folder)[name].kind == "pixel":
        return OnnxPixelModel(name, folder=folder).predict(np.concatenate([pictures(), faces])).logits
    return OnnxLandmarkModel(name, folder=folder).predict(np.concatenate([meshes(), points])).logits


@pytest.mark.parametrize("name", sorted(read_manifest()))
def test_logits_are_those_of_these_weights(name: str) -> None:
    """The file was written for the shipped weights, and they say the same on this machine."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    assert read_manifest()[name].sha256 == golden["sha256"]
    assert_allclose(spoken(name), golden["logits"], atol=ATOL)


@pytest.mark.parametrize("name", sorted(read_manifest()))
def test_a_permuted_class_order_does_not_pass(name: str, tmp_path: Path) -> None:
    """Were anger and disgust swapped in the manifest, the same weights would no longer say the golden logits."""
    folder = tmp_path / "weights"
    shutil.copytree(WEIGHTS, folder)
    path = folder / MANIFEST
    text = path.read_text(encoding="utf-8")
    assert '["anger", "disgust"' in text
    path.write_text(text.replace('["anger", "disgust"', '["disgust", "anger"'), encoding="utf-8")
    golden = np.array(json.loads(GOLDEN.read_text(encoding="utf-8"))[name]["logits"])
    swapped = spoken(name, folder)
    assert np.abs(swapped - golden).max() > 10 * ATOL
    assert_allclose(swapped[:, [1, 0, 2, 3, 4, 5, 6]], golden, atol=ATOL)


def test_each_class_is_read_most_on_the_face_that_acts_it() -> None:
    """Of the seven acted faces, the pixel model gives each class most on its own; disgust, its weakest, also on anger."""
    given = softmax(spoken("pixel")[-7:], temperature=read_manifest()["pixel"].temperature)
    most = {emotion: EMOTIONS[row] for emotion, row in zip(EMOTIONS, given.argmax(axis=0), strict=True)}
    assert most.pop("disgust") in {"disgust", "anger"}
    assert list(most) == list(most.values())


def act() -> None:
    """Write the acted faces: Grace Hopper (US Navy, 1984, public domain) as the demo's puppets show her."""
    puppet = Puppet(load_portraits()["hopper"], replace(LOOKS[0], face_px=220), (480, 480))
    pictures = [puppet.render(ACTED[emotion]) for emotion in EMOTIONS]
    with still_face_finder() as finder:
        found = np.concatenate([finder.find(picture).landmarks for picture in pictures])
    crops = np.stack([face_crop(picture, mesh) for picture, mesh in zip(pictures, found, strict=True)])
    np.savez_compressed(FACES, crops=crops, meshes=found)


def write() -> None:
    """Write the file for the weights there are."""
    golden = {
        name: {"sha256": entry.sha256, "logits": [[round(float(v), 5) for v in row] for row in spoken(name)]}
        for name, entry in read_manifest().items()
    }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if not FACES.exists():
        act()
    write()
