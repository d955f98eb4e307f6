"""Figures by which a personal head is compared with the generic one, sure to within an interval.

Readings of neighbouring seconds are alike, so intervals come from the bootstrap over blocks of time (Kunsch 1989, "The
jackknife and the bootstrap for general stationary observations"): blocks are drawn with replacement, all else follows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist

from pipeline.emotions import F32, F64, N_EMOTIONS
from pipeline.metrics import I64, bin_edges

SMALLEST: Final = 1e-6
"""Probabilities are raised to this before the logarithm: one sure mistake counts for 14 nats, not for all."""

_TINY: Final = 1e-12
_SOFTNESS: Final = (float(-np.log(3.0)), float(np.log(20.0)))
_STILL: Final = 1e-9
"""A sum of squares that rounding leaves of nothing."""


@dataclass(frozen=True, slots=True)
class Gain:
    """A figure of both heads; low: one-sided lower bound of what the personal head gains."""

    generic: float
    personal: float
    low: float


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """(m, k) soft labels and probabilities of k classes, and the (m,) block of each row, from 0 without a gap."""

    target: F64
    generic: F64
    personal: F64
    block: I64

    @property
    def n_blocks(self) -> int:
        """How many blocks."""
        return int(self.block.max()) + 1


def restricted(probabilities: F64, classes: tuple[int, ...]) -> F64:
    """(n, k) shares of k classes alone, from (n, 7); equal ones where none of them has any."""
    chosen = probabilities[:, list(classes)] + _TINY
    return np.asarray(chosen / chosen.sum(axis=1, keepdims=True))


def softened(probabilities: F64, softness: float) -> F64:
    """(n, k) probabilities as at a temperature so much higher; 1 leaves them as they are."""
    raised = (probabilities + _TINY) ** (1 / softness)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def best_softness(target: F64, probabilities: F64) -> float:
    """The softness, from 1/3 to 20, at which (m, k) probabilities are nearest to soft labels."""
    found = minimize_scalar(
        lambda log: float(cross_entropy(target, softened(probabilities, float(np.exp(log)))).mean()),
        bounds=_SOFTNESS,
        method="bounded",
    )
    return float(np.exp(found.x))


def mistaken(probabilities: F64, told: F64, noise: F64) -> F64:
    """(m, k) how likely each label is to be told, where it is the reading but for a share of noise.

    The forward correction of Patrini et al. 2017, "Making deep neural networks robust to label noise": what is wrong
    costs no more than noise does, whoever is sure of something else.

    told: (k,) how often each class is told; noise: (m, 1) share of labels that are told whatever is shown.
    """
    return np.asarray((1 - noise) * probabilities + noise * told)


def drawn_blocks(n_blocks: int, *, n_resamples: int, seed: int) -> I64:
    """(r, b): how often each of b blocks is in each of r resamples of as many blocks."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_resamples))


def cross_entropy(target: F64, probabilities: F64) -> F64:
    """(m,) nats of each row, of soft labels."""
    return np.asarray(-(target * np.log(probabilities.clip(SMALLEST))).sum(axis=-1))


def log_loss_gain(rows: Rows, drawn: I64, *, level: float) -> Gain:
    """Mean cross-entropy, lower is better; the gain is generic less personal."""
    generic, personal = (cross_entropy(rows.target, p) for p in (rows.generic, rows.personal))
    summed = _sums((generic - personal)[:, None], rows.block)[:, 0]
    means = (drawn @ summed) / (drawn @ np.bincount(rows.block))
    return Gain(float(generic.mean()), float(personal.mean()), float(np.quantile(means, 1 - level)))


def correlation_gain(rows: Rows, drawn: I64, *, level: float) -> Gain:
    """Pearson correlation over time of a class's probability with its label, mean over the classes that move.

    The criterion of GROUP, section 5; the gain is personal less generic. A head that stands still while the label
    moves has correlation 0.
    """
    once = np.ones((1, rows.n_blocks), dtype=np.int64)
    generic, personal = (
        _correlations(rows.target, p, rows.block, np.concatenate([once, drawn])) for p in (rows.generic, rows.personal)
    )
    low = np.quantile(personal[1:] - generic[1:], 1 - level)
    return Gain(float(generic[0]), float(personal[0]), float(low))


def calibration_error(target: F64, probabilities: F64, *, n_bins: int) -> float:
    """Mean over bins of equal mass of |what the labels give the largest class - its probability|.

    `pipeline.metrics.expected_calibration_error`, for soft labels, too.
    """
    top = probabilities.argmax(axis=1)
    at = np.arange(len(top))
    sure, tie = np.unique(probabilities[at, top], return_inverse=True)
    # Equally sure ones share what the labels give them, so that their order does not matter.
    given = (np.bincount(tie, weights=target[at, top]) / np.bincount(tie))[tie]
    order = np.argsort(tie, kind="stable")
    gap = (given - sure[tie])[order]
    return float(np.abs(np.add.reduceat(gap, bin_edges(len(gap), n_bins)[:-1])).sum() / len(gap))


def calibration_lost(rows: Rows, drawn: I64, *, n_bins: int, level: float) -> float:
    """One-sided lower bound of how much larger the personal head's calibration error is; above 0 it is surely larger.

    Bins stay those of all rows: only how often each row counts is drawn.
    """

    def errors(p: F64) -> F64:
        top, at = p.argmax(axis=1), np.arange(len(p))
        edges = bin_edges(len(p), n_bins)
        of_bin = np.empty(len(p), dtype=np.int64)
        of_bin[np.argsort(p[at, top], kind="stable")] = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        off = np.zeros((rows.n_blocks, n_bins))
        np.add.at(off, (rows.block, of_bin), rows.target[at, top] - p[at, top])
        return np.asarray(np.abs(drawn @ off).sum(axis=1) / (drawn @ np.bincount(rows.block)))

    return float(np.quantile(errors(rows.personal) - errors(rows.generic), 1 - level))


def separability(features: F32 | F64, label: I64, *, n_components: int) -> float:
    """Mean silhouette in [-1, 1] of the classes on the first principal components (PERSONAL, section 4 and Fig. 5).

    features: (n, d), put to mean 0 and deviation 1 each, those that never change left out; label: (n,). Classes of one
    sample are left out. 0 where fewer than two classes are left: nothing is told apart. Rousseeuw 1987, "Silhouettes".
    """
    counts = np.bincount(label, minlength=N_EMOTIONS)
    present = np.flatnonzero(counts > 1)
    if len(present) < 2:  # noqa: PLR2004 (one class)
        return 0.0
    rows = counts[label] > 1
    points = _principal(features[rows].astype(np.float64), n_components)
    member = label[rows][:, None] == present
    own, at = member.argmax(axis=1), np.arange(len(points))
    size = member.sum(axis=0)
    summed = cdist(points, points) @ member
    within = summed[at, own] / (size[own] - 1)
    others = summed / size
    others[at, own] = np.inf
    nearest = others.min(axis=1)
    widest = np.maximum(within, nearest)
    return float(np.divide(nearest - within, widest, out=np.zeros(len(at)), where=widest > 0).mean())


def _principal(features: F64, n_components: int) -> F64:
    """(n, c) scores of the first components of standardised features."""
    deviation = features.std(axis=0)
    moving = deviation > _STILL
    scaled = (features[:, moving] - features[:, moving].mean(axis=0)) / deviation[moving]
    # The components are those of the covariance, which is small where features are fewer than samples.
    _, directions = np.linalg.eigh(scaled.T @ scaled)
    return np.asarray(scaled @ directions[:, ::-1][:, :n_components])


def _correlations(target: F64, p: F64, block: I64, drawn: I64) -> F64:
    """(r,) mean correlation of r resamples; a class that the labels of a resample never move is left out of it."""
    count = (drawn @ np.bincount(block))[:, None]
    x, y, xx, yy, xy = (drawn @ _sums(values, block) for values in (target, p, target**2, p**2, target * p))
    of_x, of_y, shared = xx - x**2 / count, yy - y**2 / count, xy - x * y / count
    moves = of_x > _STILL
    each = np.divide(
        shared, np.sqrt(of_x.clip(0) * of_y.clip(0)), out=np.zeros_like(shared), where=moves & (of_y > _STILL)
    )
    return np.asarray(each.sum(axis=1) / np.maximum(moves.sum(axis=1), 1))


def _sums(values: F64, block: I64) -> F64:
    """(b, k) sums of (m, k) values over the rows of each block."""
    return np.stack([np.bincount(block, weights=column) for column in values.T], axis=1)
