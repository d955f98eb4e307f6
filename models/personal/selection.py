"""Which samples to keep, and which to ask a person to label first (TRANSFER, section 3.4).

Each method gives the order in which it would take all n rows; the first k of it are its choice of k. Features are
z-scored before distances are measured. Among equals the row that comes first is taken. GSx, GSy, iGS: Wu, Lin & Huang 2019, "Active learning
for regression using greedy sampling", in the reduced form of TRANSFER, Tables 2 and 3: predictions are those of the
head at hand, which is not fitted anew in between. MCDUE: Tsymbalov, Panov & Shapeev 2018, "Dropout-based active learning
for regression" (Table 4).
"""

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.personal.heads import Arm, Arms
from models.personal.samples import Samples
from pipeline.emotions import F32, F64, softmax

I64 = NDArray[np.int64]

Method = Literal["random", "gsx", "gsy", "igs", "mcdue"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

N_PASSES: Final = 50
"""T: passes with dropout."""
DROPOUT: Final = 0.5
"""pi: the share of hidden units that a pass leaves out."""

_STILL: Final = 1e-9


def order_of(method: Method, samples: Samples, arms: Arms, *, seed: int) -> I64:
    """(n,) rows of the samples in the order in which the method takes them; the same seed gives the same order.

    Distances are between the embeddings of both arms, those between predictions between fused probabilities.
    """
    if method == "random":
        return random_order(len(samples), seed=seed)
    if method == "mcdue":
        return by_uncertainty(dropout_deviation(samples, arms, seed=seed))
    features = z_scored(np.concatenate([samples.pixel, samples.landmark], axis=1).astype(np.float64))
    if method == "gsx":
        return gsx(features)
    outputs = arms.predict_proba(samples)
    return gsy(outputs) if method == "gsy" else igs(features, outputs)


def z_scored(features: F64) -> F64:
    """(n, d) features with mean 0 and deviation 1 each; what is constant or not finite becomes 0."""
    known = np.isfinite(features)
    n = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, features, 0)
    centred = np.where(known, features - filled.sum(axis=0) / n, 0)
    deviation = np.sqrt((centred**2).sum(axis=0) / n)
    # Rounding makes the mean of equal numbers another one by a hair.
    moves = deviation > _STILL * np.abs(filled).max(axis=0, initial=0)
    return np.asarray(np.divide(centred, deviation, out=np.zeros_like(centred), where=moves))


def random_order(n: int, *, seed: int) -> I64:
    """All n rows, shuffled."""
    return np.random.default_rng(seed).permutation(n).astype(np.int64)


def gsx(features: F64) -> I64:
    """Rows spread over the space of (n, d) features: the one nearest the centroid, then always the farthest from all taken."""
    return _greedy(_nearest_to_centroid(features), features)


def gsy(outputs: F64) -> I64:
    """The same in the space of (n, k) predictions."""
    return gsx(outputs)


def igs(features: F64, outputs: F64) -> I64:
    """The same by the product of both distances, from the row whose prediction is nearest the centroid of predictions."""
    return _greedy(_nearest_to_centroid(outputs), features, outputs)


def by_uncertainty(deviation: F64) -> I64:
    """Rows of (n,) deviations, the most uncertain first."""
    return np.argsort(-deviation, kind="stable").astype(np.int64)


def dropout_deviation(
    samples: Samples, arms: Arms, *, seed: int, n_passes: int = N_PASSES, dropout: float = DROPOUT
) -> F64:
    """(n,) standard deviation of the fused probabilities over passes with dropout, mean over the seven classes."""
    rng = np.random.default_rng(seed)
    with_mesh = np.isfinite(samples.landmark).all(axis=1)
    pixel, landmark = arms.pixel.head.hidden(samples.pixel), arms.landmark.head.hidden(samples.landmark[with_mesh])
    passes = []
    for _ in range(n_passes):
        said = _with_dropout(arms.pixel, pixel, rng, dropout)
        said[with_mesh] = (said[with_mesh] + _with_dropout(arms.landmark, landmark, rng, dropout)) / 2
        passes.append(said)
    return np.asarray(np.std(passes, axis=0).mean(axis=1))


def _with_dropout(arm: Arm, hidden: F32, rng: np.random.Generator, dropout: float) -> F64:
    """(n, 7) probabilities of one pass: units fall out row by row, the others make up for them as in training."""
    kept = (rng.random(hidden.shape) >= dropout) / (1 - dropout)
    return softmax((hidden * kept) @ arm.head.w2.T + arm.head.b2, temperature=arm.pool_temperature)


def _nearest_to_centroid(points: F64) -> int:
    return int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin()) if len(points) else 0


def _greedy(first: int, *spaces: F64) -> I64:
    """All rows from `first` on: next is that whose least product of distances to those taken is the largest."""
    n = len(spaces[0])
    order = np.zeros(n, dtype=np.int64)
    least = np.full(n, np.inf)
    row = first
    for at in range(n):
        order[at] = row
        away = np.ones(n)
        for points in spaces:
            away *= np.sqrt(((points - points[row]) ** 2).sum(axis=1))
        least = np.minimum(least, away)
        # What is taken is never taken again, be it as far from the others as it may.
        least[row] = -np.inf
        row = int(least.argmax())
    return order
