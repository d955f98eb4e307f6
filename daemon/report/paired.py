"""Two recordings second by second: what each model said of the same person in both (GROUP, section 3 and Fig. 1)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from daemon.report.align import Alignment
from daemon.report.judged import Figure95
from daemon.report.study import SEED, Arms, centred, correlations, tops
from pipeline.agreement import block_accuracy_ci95, block_ci95, block_sums, cohen_kappa, pair_blocks, share_right
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.metrics import I64

COMPARED: Final = {"pixel": "pixel model", "landmark": "landmark model", "fused": "both, adaptive weights"}
MEAN: Final = "mean of the seven"


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """What two recordings have in common.

    n: common seconds of each model. correlation: (7, 7) of each model, rows A, columns B, nan for what rests.
    counts: (7, 7) of each model, seconds by most probable class, rows A. diagonal: correlation of each emotion with itself,
    and their mean, for each model, and of the means' difference. alike: share and kappa of equal classes.
    """

    n: dict[str, int]
    correlation: dict[str, F64]
    counts: dict[str, I64]
    diagonal: tuple[Figure95, ...]
    alike: tuple[Figure95, ...]

    def table(self) -> pl.DataFrame:
        """A row per figure."""
        rows = [(f.one, f.other, f.figure, f.value, *f.ci95, f.n, f.n_blocks) for f in (*self.diagonal, *self.alike)]
        names = ("model", "of", "figure", "value", "low", "high", "n", "n_blocks")
        kinds = (pl.String, pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64, pl.Int64)
        return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row").fill_nan(None)


def compare_pairs(a: Arms, b: Arms, alignment: Alignment) -> Paired:
    """Every model's readings of the pairs in their common seconds."""
    rows_a, rows_b, pair = _common(a, b, alignment)
    n, correlation, counts = {}, {}, {}
    diagonal: list[Figure95] = []
    alike: list[Figure95] = []
    means = {}
    # Both models, and so their blocks, over the same seconds: those in which all of them gave something.
    both = ~np.isnan(a.landmark[rows_a, 0]) & ~np.isnan(b.landmark[rows_b, 0])
    rows_a, rows_b, pair = rows_a[both], rows_b[both], pair[both]
    second = a.second[rows_a]
    for model, words in COMPARED.items():
        left, right = a.model(model)[rows_a], b.model(model)[rows_b]
        x, y = centred(left, pair), centred(right, pair)
        n[model], correlation[model] = len(pair), correlations(x, y)
        means[model] = np.stack([x * y, x * x, y * y], axis=2)
        diagonal += _of_model(words, means[model], second)
        blocks = pair_blocks(tops(left), tops(right), second, n_classes=N_EMOTIONS)
        total = blocks.sum(axis=0)
        counts[model] = total.astype(np.int64)
        size = (int(total.sum()), len(blocks))
        share, kappa = float(share_right(total)), float(cohen_kappa(total))
        alike.append(Figure95(words, "A and B", "same class", share, block_accuracy_ci95(blocks, seed=SEED), *size))
        alike.append(Figure95(words, "A and B", "kappa", kappa, block_ci95(blocks, cohen_kappa, seed=SEED), *size))
    diagonal.append(_difference(means, second))
    return Paired(n, correlation, counts, tuple(diagonal), tuple(alike))


def self_correlations(sums: F64) -> F64:
    """(..., 7) correlations of (..., 7, 3) sums of x y, x² and y² of centred series; nan for what rests."""
    spread = np.sqrt(sums[..., 1] * sums[..., 2])
    return np.divide(sums[..., 0], spread, out=np.full(spread.shape, np.nan), where=spread > 1e-9)  # noqa: PLR2004


def mean_correlation(sums: F64) -> F64:
    """(...) mean of the seven `self_correlations`, of those that are known."""
    each = self_correlations(sums)
    known = ~np.isnan(each)
    n = known.sum(axis=-1)
    return np.divide(np.where(known, each, 0).sum(axis=-1), n, out=np.full(n.shape, np.nan), where=n > 0)


def _of_model(words: str, products: F64, second: I64) -> list[Figure95]:
    """Correlation of each emotion with itself, and their mean."""
    blocks = block_sums(products, second)
    total = blocks.sum(axis=0)
    each = self_correlations(total)
    size = (len(second), len(blocks))
    figures = []
    for number, name in enumerate(EMOTIONS):

        def one(sums: F64, number: int = number) -> F64:
            return np.asarray(self_correlations(sums)[..., number])

        interval = block_ci95(blocks, one, seed=SEED)
        figures.append(Figure95(words, name, "correlation", float(each[number]), interval, *size))
    mean, interval = float(mean_correlation(total)), block_ci95(blocks, mean_correlation, seed=SEED)
    return [*figures, Figure95(words, MEAN, "correlation", mean, interval, *size)]


def _difference(products: dict[str, F64], second: I64) -> Figure95:
    """How much more alike A and B are for the landmark model than for the pixel model, over the same blocks."""
    blocks = block_sums(np.stack([products["landmark"], products["pixel"]], axis=1), second)

    def difference(sums: F64) -> F64:
        return mean_correlation(sums[..., 0, :, :]) - mean_correlation(sums[..., 1, :, :])

    value = float(difference(blocks.sum(axis=0)))
    interval = block_ci95(blocks, difference, seed=SEED)
    return Figure95("landmark minus pixel", MEAN, "difference", value, interval, len(second), len(blocks))


def _common(a: Arms, b: Arms, alignment: Alignment) -> tuple[I64, I64, I64]:
    """(n,) rows of A and of B of the same pair and moment, and the number of the pair."""
    rows_a, rows_b, numbers = [], [], []
    for number, pair in enumerate(alignment.pairs):
        own_a, own_b = np.flatnonzero(a.who == pair.a), np.flatnonzero(b.who == pair.b)
        moment = b.second[own_b] - alignment.offset_s
        _, at_a, at_b = np.intersect1d(a.second[own_a], moment, assume_unique=True, return_indices=True)
        rows_a.append(own_a[at_a])
        rows_b.append(own_b[at_b])
        numbers.append(np.full(len(at_a), number))
    empty = np.zeros(0, dtype=np.int64)
    joined = [np.concatenate([empty, *parts]).astype(np.int64) for parts in (rows_a, rows_b, numbers)]
    return joined[0], joined[1], joined[2]
