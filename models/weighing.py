"""The file of learned weights: how much each arm counts for whom (GROUP, section 7); `weights.md` is its card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.errors import ModelError
from models.manifest import WEIGHTS
from pipeline.emotions import F64
from pipeline.learned_weights import FEATURES, WeightModel
from pipeline.types import frozen_array

FILE: Final = "weights.json"
SCHEMA: Final = "attuned/learned-weights/1"

_REMEDY: Final = "reinstall attuned, or fit them with `python -m daemon.simulate.learn`"
_DIGITS: Final = 9
"""More would only tell processors apart."""


def load_weights(folder: Path = WEIGHTS, *, models: tuple[str, str] | None = None) -> WeightModel:
    """The fitted regression in a folder of models.

    Args:
        folder: Where `weights.json` lies.
        models: SHA-256 of the pixel and of the landmark model that are to be weighed; None: whichever.

    Raises:
        ModelError: The file is missing or damaged, or was fitted on what other models say.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: learned weights cannot be read ({error.strerror}); {_REMEDY}"
        raise ModelError(msg) from error
    except ValueError as error:
        msg = f"{path}: learned weights are damaged ({error}); {_REMEDY}"
        raise ModelError(msg) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("features") != list(FEATURES):
        msg = f"{path}: expected {SCHEMA} with the features {', '.join(FEATURES)}; {_REMEDY}"
        raise ModelError(msg)
    if models is not None and content.get("models") != list(models):
        msg = f"{path}: these weights were learned for other models; use fusion.rule: adaptive, or {_REMEDY}"
        raise ModelError(msg)
    mean, scale, coefficients = (_row(content, key, path) for key in ("mean", "scale", "coefficients"))
    intercept = content.get("intercept")
    if not isinstance(intercept, float) or not np.isfinite(intercept) or not (scale > 0).all():
        msg = f"{path}: learned weights are damaged (intercept or scale); {_REMEDY}"
        raise ModelError(msg)
    return WeightModel(mean, scale, coefficients, intercept)


def _row(content: Mapping[str, Any], key: str, path: Path) -> F64:
    """(7,) finite numbers."""
    try:
        row = np.array(content.get(key), dtype=np.float64)
    except (TypeError, ValueError):
        row = np.empty(0)
    if row.shape != (len(FEATURES),) or not np.isfinite(row).all():
        msg = f"{path}: learned weights are damaged ({key}: expected {len(FEATURES)} numbers); {_REMEDY}"
        raise ModelError(msg)
    return frozen_array(row)


def write_weights(
    folder: Path, model: WeightModel, *, models: tuple[str, str], learned_from: Mapping[str, Any]
) -> Path:
    """The file that was written; the same model gives the same bytes.

    Args:
        folder: Of the models.
        model: What was fitted.
        models: SHA-256 of the pixel and of the landmark model whose answers it was fitted on.
        learned_from: What it was fitted on, for whoever reads the file.
    """
    values = {
        name: [round(value, _DIGITS) for value in row.tolist()]
        for name, row in (("mean", model.mean), ("scale", model.scale), ("coefficients", model.coefficients))
    }
    content = {
        "schema": SCHEMA,
        "models": list(models),
        "learned_from": dict(learned_from),
        "features": list(FEATURES),
        **values,
        "intercept": round(model.intercept, _DIGITS),
    }
    path = folder / FILE
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
    return path
