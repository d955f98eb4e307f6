"""How well each arm reads the faces of the bank, by intensity and by what is wrong with the picture."""

from typing import Any, Final

import numpy as np

from daemon.simulate.bank import NEUTRAL, Bank
from daemon.simulate.params import Params
from pipeline.emotions import F64, N_EMOTIONS

LEVELS: Final = ("faint", "moderate", "strong")
_WEIGHTS: Final = np.arange(21) / 20


def face_accuracy(bank: Bank, params: Params) -> list[dict[str, Any]]:
    """Rows of a table: intensity, condition, and what each arm and their mean get right of frames that have a mesh.

    best_weight_landmark: of 0, 0.05, …, 1 the weight of the landmark arm with which most are right, the one nearest to
    0.5 of several. gain: share more than with 0.5; found on these very faces, so no mechanism can be expected to reach it.
    """
    intensity = params.members.intensity
    level = np.where(bank.emotion == NEUTRAL, -1, bank.levels(intensity.faint_below, intensity.strong_from))
    pixel = _pool_of(bank, "pixel")
    landmark = _pool_of(bank, "landmark")
    rows = []
    for k, name in enumerate((*LEVELS, "neutral")):
        faces = level == (-1 if name == "neutral" else k)
        for condition in dict.fromkeys(bank.takes):
            takes = bank.under(condition)
            meshed = bank.mesh[np.ix_(faces, takes)]
            truth = np.repeat(bank.emotion[faces][:, None], len(takes), axis=1)[meshed]
            px, lm = (arm[np.ix_(faces, takes)][meshed] for arm in (pixel, landmark))
            right = np.array([_right((1 - w) * px + w * lm, truth) for w in _WEIGHTS])
            best = np.flatnonzero(right == right.max())
            nearest = int(best[np.abs(_WEIGHTS[best] - 0.5).argmin()])
            rows.append(
                {
                    "intensity": name,
                    "condition": condition,
                    "n": len(truth),
                    "with_mesh": _rounded(meshed.mean() if meshed.size else np.nan),
                    "pixel": _rounded(right[0]),
                    "landmark": _rounded(right[-1]),
                    "fused": _rounded(right[10]),
                    "best_weight_landmark": float(_WEIGHTS[nearest]),
                    "gain": _rounded(right[nearest] - right[10]),
                }
            )
    return rows


def _pool_of(bank: Bank, name: str) -> F64:
    arm = bank.pixel if name == "pixel" else bank.landmark
    f, t, d = arm.embeddings.shape
    return arm.pool(arm.embeddings.reshape(f * t, d)).reshape(f, t, N_EMOTIONS)


def _right(probabilities: F64, truth: F64) -> float:
    return float((probabilities.argmax(axis=1) == truth).mean()) if len(truth) else float("nan")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
