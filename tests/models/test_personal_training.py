"""What a training is given, and what of its results is believed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ModelError
from models.personal.samples import Origin, Samples
from models.personal.training import RESULT, features_of, read_result, readable

DIM = 8
N = 350

GOOD = {
    "verdict": {"passed": True, "reasons": [], "classes": ["fear", "neutral"]},
    "trained_until_s": 9.0,
    "sha256": "a" * 64,
}


def changed(**verdict: object) -> dict[str, Any]:
    """A result whose verdict differs."""
    return GOOD | {"verdict": {**GOOD["verdict"], **verdict}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[1]",
        "[" * 100_000,
        json.dumps(GOOD) + " " * (1 << 20),
        json.dumps({}),
        json.dumps(GOOD | {"sha256": None}),
        json.dumps(GOOD | {"trained_until_s": float("nan")}),
        json.dumps(changed(passed=False)),
        json.dumps(changed(passed=1)),
        json.dumps(changed(reasons=["worse"])),
        json.dumps(changed(reasons=[1], passed=False)),
        json.dumps(changed(classes=["joy"])),
    ],
    ids=range(12),
)
def test_results_that_contradict_themselves_are_none(tmp_path: Path, told: str) -> None:
    """Nothing of them is believed."""
    (tmp_path / RESULT).write_text(json.dumps(GOOD))
    assert read_result(tmp_path).passed
    (tmp_path / RESULT).write_text(told)
    with pytest.raises(ModelError, match="left what is no result"):
        read_result(tmp_path)


@pytest.mark.parametrize(("learner", "n"), [("offset", 350), ("knn", 175)])
def test_a_learner_is_given_what_it_can_read(learner: str, n: int) -> None:
    """Half without a mesh: embeddings of the picture are there for all, interpretable features for half."""
    half = (np.arange(N) % 2 == 0)[:, None]
    mesh, features = (np.where(half, np.ones((N, d), np.float32), np.float32(np.nan)) for d in (DIM, 51))
    whole = Samples(
        time_s=np.arange(N, dtype=np.float64),
        pixel=np.ones((N, DIM), np.float32),
        landmark=mesh,
        interpretable=features,
        target=np.eye(7)[np.arange(N) % 3],
        confidence=np.ones(N),
        quality=np.ones(N),
        origin=np.full(N, Origin.GROUP, dtype=np.uint8),
    )
    known = readable(whole, learner)
    seen, label = features_of(known, learner)
    assert (len(known), len(seen), len(label)) == (n, 175, 175)
    assert seen.shape[1] == (2 * DIM if learner == "offset" else 51)
