"""The two models against human annotations: two-judge truth, kappas, recall, and what the models share (Table I).

Intervals are those of blocks of time (`pipeline.agreement`): seconds that follow each other, and people of one call, are
alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl

from daemon.annotate import Annotations
from daemon.report.study import SEED, Arms, tops
from pipeline.agreement import (
    NO_LABEL,
    average_recall,
    block_accuracy_ci95,
    block_ci95,
    block_sums,
    cohen_kappa,
    exclusive,
    fleiss_kappa,
    fleiss_totals,
    outcomes,
    pair_blocks,
    share_right,
    two_judge_truth,
)
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.intervals import Interval
from pipeline.metrics import I64, Complementarity

MODELS: Final = {
    "fused": "both, adaptive weights",
    "fixed": "both, weights 0.5",
    "pixel": "pixel model",
    "landmark": "landmark model",
}
"""What is judged, in the words of the page."""
TRUTH: Final = "truth of two judges"


@dataclass(frozen=True, slots=True)
class Figure95:
    """One figure of agreement between two, or among all raters: with its interval, over n seconds of people.

    figure: `kappa`, `fleiss_kappa`, `accuracy`, `uar`, `exclusive`. What is not known is nan.
    """

    one: str
    other: str
    figure: str
    value: float
    ci95: Interval
    n: int
    n_blocks: int


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Everything that annotations say about a recording.

    n_items: different seconds of participants that anybody labelled; n_true: those with a two-judge truth; n_unread: those
    with a truth in which no face was read. truth: (7,) how often each class is the truth. confusion: (7, 7) per model, rows
    the truth. shared: pixel (A) and landmark (B), where both gave something; None without a truth.
    """

    raters: tuple[str, ...]
    n_labels: int
    n_items: int
    n_true: int
    n_unread: int
    truth: I64
    confusion: dict[str, I64]
    shared: Complementarity | None
    figures: tuple[Figure95, ...]

    def of(self, figure: str) -> list[Figure95]:
        """All of one kind."""
        return [found for found in self.figures if found.figure == figure]

    def table(self) -> pl.DataFrame:
        """A row per figure, as it is written beside its picture."""
        names = ("between", "and", "figure", "value", "low", "high", "n", "n_blocks")
        rows = [(f.one, f.other, f.figure, f.value, *f.ci95, f.n, f.n_blocks) for f in self.figures]
        kinds = (pl.String, pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64, pl.Int64)
        return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row").fill_nan(None)


def judge(annotations: Annotations, arms: Arms) -> Judged:
    """The annotations of these participants against what the models said of them."""
    rows = annotations.rows
    items = rows.select("participant", "second").unique().sort("participant", "second").with_row_index("item")
    rows = rows.join(items, on=["participant", "second"])
    second = items["second"].to_numpy().astype(np.int64)
    labels = {rater: np.full(len(second), NO_LABEL, dtype=np.int64) for rater in annotations.raters}
    for rater, of_rater in labels.items():
        own = rows.filter(pl.col("rater") == rater)
        of_rater[own["item"].to_numpy()] = own["label"].to_numpy()
    votes = np.zeros((len(second), N_EMOTIONS), dtype=np.int64)
    np.add.at(votes, (rows["item"].to_numpy(), rows["label"].to_numpy()), 1)
    truth = two_judge_truth(votes)
    said = _said(items, arms)
    figures = [_among(votes, second)]
    figures += [
        _kappa(f"rater {a}", f"rater {b}", labels[a], labels[b], second) for a, b in combinations(annotations.raters, 2)
    ]
    for model, words in MODELS.items():
        figures += [_kappa(words, f"rater {rater}", labels[rater], said[model], second) for rater in labels]
    has_truth = bool((truth != NO_LABEL).any())
    confusion = {}
    for model, words in MODELS.items():
        blocks = pair_blocks(truth, said[model], second, n_classes=N_EMOTIONS)
        confusion[model] = blocks.sum(axis=0).astype(np.int64)
        if has_truth:
            figures += _against_truth(words, blocks)
    both = (truth != NO_LABEL) & (said["pixel"] != NO_LABEL) & (said["landmark"] != NO_LABEL)
    cells = outcomes(said["pixel"][both] == truth[both], said["landmark"][both] == truth[both])
    if has_truth:
        figures += _exclusives(cells, second[both])
    return Judged(
        raters=annotations.raters,
        n_labels=rows.height,
        n_items=len(second),
        n_true=int((truth != NO_LABEL).sum()),
        n_unread=int(((truth != NO_LABEL) & (said["fused"] == NO_LABEL)).sum()),
        truth=np.bincount(truth[truth != NO_LABEL], minlength=N_EMOTIONS).astype(np.int64),
        confusion=confusion,
        shared=Complementarity(*(int(count) for count in cells.sum(axis=0))) if has_truth else None,
        figures=tuple(figures),
    )


def _said(items: pl.DataFrame, arms: Arms) -> dict[str, I64]:
    """(n,) top class of each model in each item, -1 where nothing was read."""
    read = pl.DataFrame(
        {"participant": [arms.participants[i] for i in arms.who], "second": arms.second, "row": range(len(arms.who))},
        schema={"participant": pl.String, "second": pl.Int64, "row": pl.Int64},
    )
    row = items.join(read, on=["participant", "second"], how="left").sort("item")["row"].fill_null(-1).to_numpy()
    # One more row at the end is what -1 points at.
    return {model: np.append(tops(arms.model(model)), NO_LABEL)[row] for model in MODELS}


def _kappa(one: str, other: str, first: I64, then: I64, second: I64) -> Figure95:
    """Cohen's kappa of two that label the same seconds."""
    return _figure95(one, other, "kappa", pair_blocks(first, then, second, n_classes=N_EMOTIONS), cohen_kappa)


def _figure95(one: str, other: str, name: str, blocks: F64, figure: Callable[[F64], F64]) -> Figure95:
    """A figure of sums over blocks of (b, k, k) pair tables."""
    total = blocks.sum(axis=0)
    interval = block_accuracy_ci95(blocks, seed=SEED) if name == "accuracy" else block_ci95(blocks, figure, seed=SEED)
    return Figure95(one, other, name, float(figure(total)), interval, int(total.sum()), len(blocks))


def _among(votes: I64, second: I64) -> Figure95:
    """Fleiss' kappa of all raters."""
    blocks = block_sums(fleiss_totals(votes), second)
    total = blocks.sum(axis=0)
    interval = block_ci95(blocks, fleiss_kappa, seed=SEED)
    return Figure95(
        "all raters", "each other", "fleiss_kappa", float(fleiss_kappa(total)), interval, int(total[0]), len(blocks)
    )


def _against_truth(words: str, blocks: F64) -> list[Figure95]:
    """Accuracy, average recall and kappa of one model."""
    wanted = {"accuracy": share_right, "uar": average_recall, "kappa": cohen_kappa}
    return [_figure95(words, TRUTH, name, blocks, figure) for name, figure in wanted.items()]


def _exclusives(cells: I64, second: I64) -> list[Figure95]:
    """Share of what either model got right that only one of them did."""
    blocks = block_sums(cells, second)
    total = blocks.sum(axis=0)

    def only_pixel(sums: F64) -> F64:
        return exclusive(sums, 0)

    def only_landmark(sums: F64) -> F64:
        return exclusive(sums, 1)

    return [
        Figure95(
            MODELS[model],
            TRUTH,
            "exclusive",
            float(only(total)),
            block_ci95(blocks, only, seed=SEED),
            int(total.sum()),
            len(blocks),
        )
        for model, only in (("pixel", only_pixel), ("landmark", only_landmark))
    ]
