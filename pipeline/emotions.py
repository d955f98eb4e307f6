"""The seven classes, their one order, and where they lie in the plane of valence and arousal."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

EMOTIONS: Final = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
N_EMOTIONS: Final = len(EMOTIONS)

VALENCE_AROUSAL: Final[F64] = np.array(
    [
        [-0.51, 0.59],
        [-0.60, 0.35],
        [-0.64, 0.60],
        [0.81, 0.51],
        [-0.63, -0.27],
        [0.40, 0.67],
        [0.00, 0.00],
    ]
)
"""Pleasure and arousal of the words angry, disgusted, fearful, happy, sad, surprised in [-1, 1].

Russell & Mehrabian 1977, "Evidence for a three-factor theory of emotions", Journal of Research in
Personality 11, 273-294; neutral is the origin by definition. Shape (7, 2), rows in `EMOTIONS` order.
"""
VALENCE_AROUSAL.setflags(write=False)


def permutation(source: Sequence[str], target: Sequence[str] = EMOTIONS) -> NDArray[np.intp]:
    """Indices that bring columns in `source` order into `target` order: `columns[..., indices]`.

    Every name of `target` must stand exactly once in `source`; further names of `source` are left out.

    Raises:
        ValueError: A target name is missing from `source`, or stands there twice.
    """
    for name in target:
        if source.count(name) != 1:
            msg = f"class order: expected {name!r} exactly once, found it {source.count(name)} times in {list(source)}"
            raise ValueError(msg)
    return np.array([source.index(name) for name in target], dtype=np.intp)


def softmax(logits: F64 | F32, *, temperature: float = 1.0) -> F64:
    """Probabilities of shape (..., 7): exp(logits / temperature), normalised over the last axis.

    Guo et al. 2017, "On calibration of modern neural networks", for the temperature (> 0).
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def derived_valence_arousal(probabilities: F64) -> tuple[float, float]:
    """Valence and arousal in [-1, 1]: the expectation of `VALENCE_AROUSAL` under (7,) probabilities.

    A stand-in where no regression head is trained (TRANSFER, section 3), and labelled as derived.
    """
    valence, arousal = probabilities @ VALENCE_AROUSAL
    return float(valence), float(arousal)
