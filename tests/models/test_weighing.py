"""The file of learned weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ModelError
from models.loading import load_models
from models.manifest import find_entry
from models.weighing import FILE, load_weights, write_weights
from pipeline.learned_weights import FEATURES, WeightModel

N = len(FEATURES)
SHIPPED = (find_entry("pixel").sha256, find_entry("landmark").sha256)


def model() -> WeightModel:
    """Some regression."""
    return WeightModel(np.linspace(0, 1, N), np.linspace(1, 2, N), np.linspace(-0.1, 0.1, N), 0.25)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """The same numbers, read-only; written again, the same bytes; nothing is left beside it."""
    path = write_weights(tmp_path, model(), models=("a", "b"), learned_from={"seeds": [1, 2]})
    first = path.read_bytes()
    found = load_weights(tmp_path, models=("a", "b"))
    for name in ("mean", "scale", "coefficients"):
        np.testing.assert_allclose(getattr(found, name), getattr(model(), name), atol=1e-9)
        assert not getattr(found, name).flags.writeable
    assert found.intercept == 0.25
    write_weights(tmp_path, found, models=("a", "b"), learned_from={"seeds": [1, 2]})
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_weights_of_other_models_are_refused(tmp_path: Path) -> None:
    """What is best for two models says nothing of two others."""
    write_weights(tmp_path, model(), models=("a", "b"), learned_from={})
    with pytest.raises(ModelError, match=r"learned for other models; use fusion\.rule: adaptive"):
        load_weights(tmp_path, models=("a", "c"))
    assert load_weights(tmp_path).intercept == 0.25


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": "attuned/learned-weights/0"}, "expected attuned/learned-weights/1"),
        ({"features": list(FEATURES[1:])}, "with the features changes_per_minute"),
        ({"mean": [0.0] * (N - 1)}, "mean: expected 7 numbers"),
        ({"mean": "many"}, "mean: expected 7 numbers"),
        ({"coefficients": [float("nan")] * N}, "coefficients: expected 7 numbers"),
        ({"scale": [0.0] * N}, "intercept or scale"),
        ({"intercept": None}, "intercept or scale"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    """In one line that says what to do."""
    path = write_weights(tmp_path, model(), models=("a", "b"), learned_from={})
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=told) as caught:
        load_weights(tmp_path)
    assert "python -m daemon.simulate.learn" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_no_json_are_told(tmp_path: Path) -> None:
    """Both say which file."""
    with pytest.raises(ModelError, match=r"weights.json: learned weights cannot be read \(No such file"):
        load_weights(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ModelError, match=r"weights.json: learned weights are damaged"):
        load_weights(tmp_path)
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(ModelError, match="expected attuned/learned-weights/1"):
        load_weights(tmp_path)


def test_the_shipped_weights_are_of_the_shipped_models() -> None:
    """They are loaded where they are asked for, and refused beside another network."""
    assert load_weights(models=SHIPPED).scale.min() > 0
    assert load_models().weights is None
    assert load_models(learned_weights=True).weights is not None
    with pytest.raises(ModelError, match="other models"):
        load_models("pixel-fer2013", learned_weights=True)
