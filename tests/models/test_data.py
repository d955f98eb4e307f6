"""Reading data sets: labels, votes, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from models.datasets.data import VOTES, FaceData, load_faces
from models.errors import DataError
from pipeline.emotions import EMOTIONS


def arrays(n: int = 3) -> dict[str, np.ndarray]:
    """What a small npz holds."""
    return {
        "images": np.zeros((n, 48, 48), dtype=np.uint8),
        "label": np.full(n, -1, dtype=np.int8),
        "votes": np.zeros((n, 10), dtype=np.uint8),
    }


def with_votes(*rows: dict[str, int]) -> FaceData:
    """Data of which only the votes matter."""
    votes = np.array([[row.get(name, 0) for name in VOTES] for row in rows], dtype=np.uint8)
    n = len(rows)
    return FaceData(np.zeros((n, 48, 48), np.uint8), np.full(n, -1, np.int64), votes, near_duplicate=None)


def test_the_majority_of_the_votes() -> None:
    """The largest of ten wins; a tie goes to the first in their order; contempt and the like, and no votes, leave -1."""
    data = with_votes(
        {"anger": 6, "neutral": 4},
        {"sadness": 5, "happiness": 5},
        {"contempt": 6, "anger": 4},
        {"unknown": 4, "fear": 3, "surprise": 3},
        {"not a face": 10},
        {"unknown": 5, "fear": 5},
        {},
    )
    names = [None if k < 0 else EMOTIONS[k] for k in data.ferplus]
    assert names == ["anger", "happiness", None, None, None, "fear", None]


def test_vote_shares() -> None:
    """Votes for the seven are normalised, and the row weighs as much as was left: 8 of 10; with none, nothing."""
    data = with_votes({"happiness": 6, "neutral": 2, "unknown": 2}, {"contempt": 9, "not a face": 1}, {})
    targets, weights = data.vote_shares
    assert targets[0].tolist() == [0, 0, 0, 0.75, 0, 0, 0.25]
    assert targets[1:].tolist() == np.full((2, 7), np.float32(1 / 7)).tolist()
    assert weights.tolist() == [np.float32(0.8), 0, 0]


def test_a_written_file_is_read(tmp_path: Path) -> None:
    """Pictures, labels, votes and the mark of near-duplicates come back, and rows can be taken."""
    path = tmp_path / "data.npz"
    held = arrays() | {"near_duplicate_in_dev": np.array([True, False, True])}
    held["label"][:] = [0, 6, -1]
    np.savez(path, **held)
    data = load_faces(path)
    assert (len(data), data.label.tolist(), data.label.dtype) == (3, [0, 6, -1], np.int64)
    part = data.rows(slice(1, 3))
    assert part.near_duplicate is not None
    assert (len(part), part.near_duplicate.tolist()) == (2, [False, True])
    np.savez(path, **arrays())
    assert load_faces(path).rows(slice(1)).near_duplicate is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"votes": None}, "found no votes"),
        ({"votes": None, "label": None}, "found no label, votes"),
        (
            {"images": np.zeros((3, 64, 64), np.uint8)},
            r"expected integers of shape \(3, 48, 48\) in images, found uint8",
        ),
        ({"images": np.zeros((3, 48, 48))}, "in images, found float64"),
        ({"images": np.zeros((3, 48, 48), np.int16)}, "expected uint8 in images, found int16"),
        ({"images": np.zeros((0, 48, 48), np.uint8)}, "holds no pictures"),
        ({"images": np.uint8(3)}, "holds no pictures"),
        ({"votes": np.zeros((3, 7), np.uint8)}, r"shape \(3, 10\) in votes"),
        ({"label": np.zeros(4, np.int8)}, r"shape \(3,\) in label"),
        ({"label": np.array([0, 1, 7], np.int8)}, "labels from -1 to 6, found 0 to 7"),
        ({"votes": np.full((3, 10), -1, np.int8)}, "votes from 0 to 255, found -1 to -1"),
        ({"near_duplicate_in_dev": np.zeros(2, bool)}, "in near_duplicate_in_dev"),
    ],
)
def test_unusable_arrays(tmp_path: Path, changes: dict[str, np.ndarray | None], complaint: str) -> None:
    """A missing array, another shape, type or label is named in one line."""
    path = tmp_path / "data.npz"
    held = {name: array for name, array in (arrays() | changes).items() if array is not None}
    np.savez(path, **held)
    with pytest.raises(DataError, match=complaint) as refusal:
        load_faces(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [None, b"", b"no zip", b"PK\x03\x04 torn"])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, and one that is no npz, are named."""
    path = tmp_path / "data.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: (no such file|not a readable npz); give an npz"):
        load_faces(path)


def test_a_pickle_and_a_lone_array_are_refused(tmp_path: Path) -> None:
    """What is not an archive of plain arrays is not opened."""
    lone = tmp_path / "lone.npy"
    np.save(lone, np.zeros(3))
    held = tmp_path / "objects.npz"
    np.savez(held, **(arrays() | {"label": np.array([None] * 3)}))
    for path in (lone, held, tmp_path):
        with pytest.raises(DataError, match="not a readable npz"):
            load_faces(path)
