"""How one person's rows are divided: earlier to learn from, later to be judged on; and the earlier ones once more inside."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64
from pipeline.metrics import I64

N_BLOCKS: Final = 5
"""Blocks of time that many rows are cut into; the first two are only learnt from."""
FEW: Final = 6
"""With at most so many different moments each is a block, and the first one only is kept from the judging."""
N_INNER: Final = 3

_TINY: Final = 1e-12

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows that are learnt from and rows that are judged, all of these later."""

    earlier: I64
    later: I64


def rolling_origin(order: F64, group: NDArray[np.generic], label: I64) -> Iterator[Fold]:
    """Each block of time after the first ones with all that is strictly earlier, where this shows two classes at least.

    (n,) order in time, group and class of each row. A group that reaches into a block or beyond is not learnt from.
    """
    moments = np.unique(order)
    blocks = [moments[[k]] for k in range(len(moments))] if len(moments) <= FEW else np.array_split(moments, N_BLOCKS)
    for block in blocks[1 if len(moments) <= FEW else 2 :]:
        reaching = np.unique(group[order >= block[0]])
        earlier = np.flatnonzero((order < block[0]) & ~np.isin(group, reaching))
        later = np.flatnonzero((order >= block[0]) & (order <= block[-1]))
        if len(np.unique(label[earlier])) > 1:
            yield Fold(earlier, later)


def last_of_each_class(order: F64, group: NDArray[np.generic], label: I64) -> Iterator[Fold]:
    """One fold: the last group of each class that has several is judged, everything else learnt from.

    For takes of posed expressions, whose order is that within the class.
    """
    last = []
    for c in np.unique(label):
        rows = np.flatnonzero(label == c)
        if len(np.unique(group[rows])) > 1:
            last.append(group[rows[np.lexsort((group[rows], order[rows]))[-1]]])
    later = np.isin(group, last)
    if len(np.unique(label[~later])) > 1 and later.any():
        yield Fold(np.flatnonzero(~later), np.flatnonzero(later))


SPLITS: Final = {"rolling": rolling_origin, "last": last_of_each_class}


def inner_folds(label: I64, group: NDArray[np.generic], *, seed: int, n_folds: int = N_INNER) -> list[Fold]:
    """Folds for choosing hyper-parameters: the groups of each class dealt out in turn; none where these are too few."""
    rng = np.random.default_rng(seed)
    names, first = np.unique(group, return_index=True)
    dealt = np.zeros(len(names), dtype=np.int64)
    turn = 0
    for c in np.unique(label):
        mine = rng.permutation(np.flatnonzero(label[first] == c))
        dealt[mine] = (turn + np.arange(len(mine))) % n_folds
        turn += len(mine)
    of_row = dealt[np.searchsorted(names, group)]
    folds = [Fold(np.flatnonzero(of_row != k), np.flatnonzero(of_row == k)) for k in range(n_folds)]
    usable = [fold for fold in folds if len(fold.later) and len(np.unique(label[fold.earlier])) > 1]
    return usable if len(usable) > 1 else []


def chosen(candidates: Sequence[T], predict: Callable[[T, Fold], F64], label: I64, folds: Sequence[Fold]) -> T:
    """The candidate of least log-loss over the folds, each class counting alike; the first one of equals or without folds."""
    if not folds or len(candidates) == 1:
        return candidates[0]
    truth = label[np.concatenate([fold.later for fold in folds])]
    weight = 1 / np.bincount(truth)[truth]

    def loss(candidate: T) -> float:
        said = np.concatenate([predict(candidate, fold) for fold in folds])
        return float(np.average(-np.log(said[np.arange(len(truth)), truth] + _TINY), weights=weight))

    return min(candidates, key=loss)
