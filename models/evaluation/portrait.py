"""What one person's samples say of personal models for them: the figures of TRANSFER and PERSONAL for a single face.

Everything is judged later in time than it was learnt, as the gate does it. Pictures of it are for `daemon.report.personal`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.personal.gate import DEFAULT_GATE, GateSettings, classes_of, split_in_time
from models.personal.heads import Arms
from models.personal.learners import HeadLearner
from models.personal.metrics import restricted, scores, uar_gain_interval
from models.personal.samples import Samples
from models.personal.selection import METHODS, Method, order_of, z_scored
from pipeline.emotions import F32, F64, N_EMOTIONS
from pipeline.interpretable import N_INTERPRETABLE
from pipeline.metrics import I64, Bool

FRACTIONS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
N_DRAWS: Final = 3
"""Of the methods that draw; their figures are averaged."""
N_TREES: Final = 300
_DRAWING: Final[tuple[Method, ...]] = ("random", "mcdue")


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A head that learnt from so many samples: its gain in UAR over the generic one, with a 95 % interval."""

    fraction: float
    n: int
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """(n, 2) scores on the first two principal components, the (2,) shares of the variance, and (n,) classes."""

    scores: F64
    shares: F64
    label: I64


@dataclass(frozen=True, slots=True, eq=False)
class Importances:
    """(51,) impurity-based importances of a random forest, and their deviations between trees.

    noise: that of a column of random numbers beside them: what is not above it is chance.
    """

    mean: F64
    deviation: F64
    noise: float
    n: int


def curves_of(
    samples: Samples,
    generic: Arms,
    *,
    gate: GateSettings = DEFAULT_GATE,
    methods: Sequence[Method] = METHODS,
    seed: int = 0,
) -> Mapping[Method, tuple[CurvePoint, ...]]:
    """Method, then a point for each of `FRACTIONS` of the earlier samples, judged on the later ones; empty without these.

    Intervals come from the bootstrap over the gate's blocks of time: TRANSFER, Fig. 6, for one person.
    """
    split = split_in_time(samples.time_s, gate)
    earlier, later = samples.take(split.earlier), samples.take(split.later)
    classes = np.isin(np.arange(N_EMOTIONS), classes_of(earlier.label, gate))
    known = later.take(classes[later.label])
    if split.why_not is not None or classes.sum() < 2 or len(np.unique(known.label)) < 2:  # noqa: PLR2004 (one class)
        return {}
    block = np.floor(known.time_s / gate.block_s).astype(np.int64)
    before = restricted(generic.predict_proba(known), classes)

    def point(order: I64, fraction: float) -> CurvePoint:
        n = max(1, round(fraction * len(earlier)))
        head = HeadLearner(generic).fit(earlier.take(order[:n]))
        after = restricted(head.predict_proba(known), classes)
        gain = scores(known.label, after).uar - scores(known.label, before).uar
        said = before.argmax(axis=1).astype(np.int64), after.argmax(axis=1).astype(np.int64)
        return CurvePoint(fraction, n, gain, *uar_gain_interval(known.label, *said, block, seed=seed))

    result = {}
    for method in methods:
        draws = range(seed, seed + (N_DRAWS if method in _DRAWING else 1))
        orders = [order_of(method, earlier, generic, seed=draw) for draw in draws]
        result[method] = tuple(_mean([point(order, fraction) for order in orders]) for fraction in FRACTIONS)
    return result


def _mean(points: Sequence[CurvePoint]) -> CurvePoint:
    """Of several draws; the ends of the intervals too, which leaves them as wide as that of one draw."""
    gain, low, high = np.mean([(point.gain, point.low, point.high) for point in points], axis=0).tolist()
    return CurvePoint(points[0].fraction, points[0].n, gain, low, high)


def components_of(features: F32, label: I64) -> Components:
    """Of the (n, d) features that are finite, each put to mean 0 and deviation 1 (PERSONAL, Fig. 3)."""
    whole = np.isfinite(features).all(axis=1)
    scaled = z_scored(features[whole].astype(np.float64))
    left, strength, _ = np.linalg.svd(scaled, full_matrices=False)
    scored = np.zeros((len(scaled), 2))
    shares = np.zeros(2)
    k = min(2, len(strength))
    scored[:, :k] = left[:, :k] * strength[:k]
    total = float((strength**2).sum())
    shares[:k] = strength[:k] ** 2 / total if total > 0 else 0.0
    return Components(scored, shares, label[whole])


def correlations_of(samples: Samples) -> F64:
    """(51, 51) Pearson correlations of the interpretable features (PERSONAL, Fig. 2); nan where one never changes."""
    whole: Bool = np.isfinite(samples.interpretable).all(axis=1)
    scaled = z_scored(samples.interpretable[whole].astype(np.float64))
    moves = scaled.any(axis=0) if len(scaled) else np.zeros(N_INTERPRETABLE, dtype=np.bool_)
    table = scaled.T @ scaled / max(len(scaled), 1)
    table[~moves] = table[:, ~moves] = np.nan
    return np.asarray(table)


def importances_of(samples: Samples, *, seed: int = 0, n_trees: int = N_TREES) -> Importances | None:
    """Of a forest that tells this person's classes apart (PERSONAL, Fig. 6); None with fewer than two classes.

    Impurity favours features of many values (Strobl et al. 2007), which is why a column of noise stands beside them.
    """
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 (a second to import)

    whole = np.isfinite(samples.interpretable).all(axis=1)
    features, label = samples.interpretable[whole].astype(np.float64), samples.label[whole]
    if len(np.unique(label)) < 2:  # noqa: PLR2004
        return None
    noise = np.random.default_rng(seed).normal(size=(len(features), 1))
    forest = RandomForestClassifier(n_trees, class_weight="balanced", random_state=seed, n_jobs=1)
    forest.fit(np.concatenate([features, noise], axis=1), label)
    trees = np.array([tree.feature_importances_ for tree in forest.estimators_])
    mean, deviation = trees.mean(axis=0), trees.std(axis=0)
    return Importances(mean[:-1], deviation[:-1], float(mean[-1]), len(label))
