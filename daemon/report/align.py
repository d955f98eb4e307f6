"""Two recordings of the same event: how many seconds lie between them, and who of the one is who of the other.

The paper's own comparison (GROUP, section 3) has one face and no offset. Here both are found from the expressions
themselves, or given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import linear_sum_assignment

from pipeline.emotions import F64

MAX_OFFSET_S: Final = 600
"""So far apart two recordings may begin, where it has to be found."""
LEAST_S: Final = 10
"""Common seconds that two people need; more where both are longer: half of those that the shorter one has."""
APART_S: Final = 3
"""Offsets nearer to the best than this are the same peak, not rivals."""
_RESTS: Final = 1e-9
"""What rounding leaves of a face that does not move."""
CLEAR: Final = 1.2
"""The best offset is clear where it scores so much better than any other."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Number of a participant of A and of B, their correlation over n common seconds, and whether it was given."""

    a: int
    b: int
    correlation: float
    n: int
    is_given: bool


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Second s of A is second s + `offset_s` of B.

    pairs: those of A in order. offsets, scores: (k,) what was tried, and how well the pairs go together at each.
    rival_s: the best other offset; None where there is none, and where the offset was given.
    """

    offset_s: int
    pairs: tuple[Pair, ...]
    offsets: NDArray[np.int64]
    scores: F64
    rival_s: int | None
    is_given: bool

    @property
    def is_clear(self) -> bool:
        """Whether the data leave no doubt; always, where the offset was given."""
        if self.is_given:
            return True
        best = float(self.scores[self.offsets == self.offset_s][0])
        rival = 0.0 if self.rival_s is None else float(self.scores[self.offsets == self.rival_s][0])
        return best > 0 and best >= CLEAR * rival


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """Spectra of n centred series: values (f, n, 7), squares and masks (f, n); `covered` (n,) seconds known."""

    values: NDArray[np.complex128]
    squares: NDArray[np.complex128]
    masks: NDArray[np.complex128]
    covered: F64


def align(
    a: F64, b: F64, *, shift_s: int = 0, offset_s: int | None = None, given: Mapping[int, int] | None = None
) -> Alignment:
    """The offset and the pairs for which the expressions of both go together best.

    For each offset the correlation r of every pair over their n common seconds is computed; the pairs are those with the
    largest sum of r √n, and so is the offset. √n makes many seconds that agree well beat few that agree by chance. Of
    equal ones the smallest offset is taken.

    Args:
        a: (T, n, 7) distributions, nan where nobody was read; its first second is 0.
        b: (U, m, 7).
        shift_s: The first second of `b` on the same clock.
        offset_s: Given rather than found.
        given: Pairs that are known: number in `b` by number in `a`. Two lone participants are a pair as well.
    """
    offsets = (
        np.arange(max(-MAX_OFFSET_S, shift_s - len(a) + 1), min(MAX_OFFSET_S, shift_s + len(b) - 1) + 1)
        if offset_s is None
        else np.array([offset_s])
    ).astype(np.int64)
    if not len(offsets):  # they begin further apart than is searched
        offsets = np.array([shift_s])
    named = dict(given or {})
    known = {0: 0} if a.shape[1] == b.shape[1] == 1 else named
    score = _all_offsets(a, b, offsets - shift_s)
    chosen = [_match(score[k], known) for k in range(len(offsets))]
    totals = np.array([sum(max(score[k, i, j], 0.0) for i, j in pairs) for k, pairs in enumerate(chosen)])
    order = np.lexsort((offsets, np.abs(offsets), -totals))
    best = int(order[0])
    rivals = [int(k) for k in order if abs(int(offsets[k] - offsets[best])) > APART_S and totals[k] > 0]
    lag = int(offsets[best]) - shift_s
    pairs = tuple(
        Pair(i, j, *_correlation(a[:, i], b[:, j], lag), is_given=named.get(i) == j)
        for i, j in chosen[best]
        if known.get(i) == j or score[best, i, j] > 0
    )
    return Alignment(
        offset_s=int(offsets[best]),
        pairs=pairs,
        offsets=offsets,
        scores=totals,
        rival_s=int(offsets[rivals[0]]) if rivals and offset_s is None else None,
        is_given=offset_s is not None,
    )


def _correlation(a: F64, b: F64, lag: int) -> tuple[float, int]:
    """Pearson correlation of (T, 7) and (U, 7) over all classes, and the n common seconds; nan where one rests."""
    begin, end = max(0, -lag), min(len(a), len(b) - lag)
    left, right = a[begin : max(begin, end)], b[begin + lag : max(begin, end) + lag]
    known = ~np.isnan(left[:, 0]) & ~np.isnan(right[:, 0])
    if not known.any():
        return float("nan"), 0
    x, y = (side[known] - side[known].mean(axis=0) for side in (left, right))
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    r = float((x * y).sum() / spread) if spread > _RESTS else float("nan")
    return r, int(known.sum())


def _all_offsets(a: F64, b: F64, lags: NDArray[np.int64]) -> F64:
    """(k, n, m) scores r √n at each lag; 0 where there are too few common seconds, or one of the two rests.

    Here the means are those of all seconds of each, not of the common ones: so all lags are found by one transform.
    """
    length = fft.next_fast_len(len(a) + len(b), real=True)
    of_a, of_b = _spectra(a, length), _spectra(b, length)
    score = np.zeros((len(lags), a.shape[1], b.shape[1]))
    meets = (lags > -len(a)) & (lags < len(b))  # beyond, the transform comes round again
    # One participant of A with all of B at a time, so that a big call fits the memory.
    for i in range(a.shape[1]):
        product = _cross((of_a.values[:, i, None, :].conj() * of_b.values).sum(axis=2), length, lags)
        spread_a = _cross(of_a.squares[:, i, None].conj() * of_b.masks, length, lags)
        spread_b = _cross(of_a.masks[:, i, None].conj() * of_b.squares, length, lags)
        common = np.rint(_cross(of_a.masks[:, i, None].conj() * of_b.masks, length, lags)) * meets[:, None]
        least = np.maximum(LEAST_S, np.minimum(of_a.covered[i], of_b.covered) / 2)
        spread = np.sqrt(np.maximum(spread_a, 0) * np.maximum(spread_b, 0))
        usable = (common >= least) & (spread > _RESTS)
        r = np.divide(product, spread, out=np.zeros(product.shape), where=usable)
        score[:, i] = np.clip(r, -1, 1) * np.sqrt(np.maximum(common, 0))
    # Rounding must not decide between offsets that are equally good.
    return np.round(score, 9)


def _spectra(series: F64, length: int) -> _Series:
    """Transforms of (T, n, 7) series minus each one's mean, of their squares, and of where they are known."""
    known = ~np.isnan(series[:, :, 0])
    covered = known.sum(axis=0)
    sums = np.where(known[:, :, None], series, 0).sum(axis=0)
    centred = np.where(known[:, :, None], series - sums / np.maximum(covered, 1)[:, None], 0)
    return _Series(
        values=fft.rfft(centred, length, axis=0),
        squares=fft.rfft((centred**2).sum(axis=2), length, axis=0),
        masks=fft.rfft(known.astype(np.float64), length, axis=0),
        covered=covered.astype(np.float64),
    )


def _cross(spectrum: NDArray[np.complex128], length: int, lags: NDArray[np.int64]) -> F64:
    """(k, m) sums over t of a(t) b(t + lag)."""
    return np.asarray(fft.irfft(spectrum, length, axis=0)[lags % length])


def _match(score: F64, known: Mapping[int, int]) -> list[tuple[int, int]]:
    """Pairs with the largest sum of (n, m) scores, those that are known among them, in order of the first."""
    free_a = [i for i in range(score.shape[0]) if i not in known]
    free_b = [j for j in range(score.shape[1]) if j not in set(known.values())]
    found: Sequence[tuple[int, int]] = []
    if free_a and free_b:
        rows, columns = linear_sum_assignment(np.maximum(score[np.ix_(free_a, free_b)], 0), maximize=True)
        found = [(free_a[i], free_b[j]) for i, j in zip(rows, columns, strict=True)]
    return sorted([*known.items(), *found])
