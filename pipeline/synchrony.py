"""Whether faces change together: movement, lagged correlation, a test by circular shifts (GROUP, section 5)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.emotions import F64

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Planes = tuple[F64, ...]
"""Steps class by class, seven arrays: one of all would be so large that it goes back to the system when it is freed, and to get
the next one takes longer than to fill it."""

_SILENT = 1e-6
"""Below this root mean square a face has not moved: rounding makes less, the faintest real movement a lot more."""

_TIE = 1e-9
"""Statistics nearer than this are equal: the transform rounds."""


@dataclass(frozen=True, slots=True)
class SynchronySettings:
    """Constants of the first half of algorithm 8.

    step_s: movement is the distance of the mean of these seconds from the mean of as many before them.
    step_least: seconds with a face that either mean needs.
    lag_s: lags up to this are tested. Steps of 4 s overlap by half when their beginnings are 2 s apart, so that no lag
        is needed, and every further one gives chance another try: with ± 3 s less is found, not more.
    told_lag_s: the lag that is told is sought up to this.
    guard_s: circular shifts up to this are no independent pairs.
    window_s: trailing seconds that are compared.
    least_s: seconds with movement of both that are needed to say anything.
    least_shifts: circular shifts that are needed to say anything; below 19 nothing could be significant.
    alpha: p-value below which two people move together significantly.
    """

    step_s: int = 4
    step_least: int = 2
    lag_s: int = 0
    told_lag_s: int = 3
    guard_s: int = 10
    window_s: int = 300
    least_s: int = 60
    least_shifts: int = 25
    alpha: float = 0.05


DEFAULT_SYNCHRONY = SynchronySettings()


@dataclass(frozen=True, slots=True, eq=False)
class Synchrony:
    """How m pairs of series go together, each of shape (m,), NaN where nothing could be computed.

    correlation: the largest Pearson correlation over the lags that are told, in [-1, 1].
    lag_s: where it is; positive: the second series follows the first.
    p_value: share of the shifts that do at least as well over the lags that are tested, in (0, 1].
    strength: by how many standard deviations of the shifts' values what is tested exceeds their mean; 0 where they have none.
        About standard normal by chance, and unlike the p-value it goes on growing.
    """

    correlation: F64
    lag_s: F64
    p_value: F64
    strength: F64


def steps(series: F64, settings: SynchronySettings = DEFAULT_SYNCHRONY) -> F64:
    """(T, n, 7) where each of n faces has moved: differences of two neighbouring means, all seven NaN where unknown.

    Row t compares the mean of the seconds (t - step_s, t] with that of the `step_s` before them. One second against
    one second, as GROUP has it, is mostly noise of the models; see decisions for what the longer step gains.

    Args:
        series: (T, n, 7) distributions, NaN where there is no face.
        settings: Which constants.

    Raises:
        ValueError: `series` is not of three axes.
    """
    if series.ndim != 3:  # noqa: PLR2004 (seconds, members, classes)
        msg = f"series: expected (seconds, members, classes), found shape {series.shape}"
        raise ValueError(msg)
    step = settings.step_s
    stepped = np.full(series.shape, np.nan)
    n_rows = len(series) - 2 * step + 1
    if n_rows < 1:
        return stepped
    covered = np.isfinite(series).all(axis=2)
    filled = np.where(covered[..., None], series, 0.0)
    # Sums over so few seconds are added one by one: running sums would make a row depend on where the series began.
    n_means = n_rows + step
    total, count = filled[:n_means].copy(), covered[:n_means].astype(np.intp)
    for k in range(1, step):
        total += filled[k : k + n_means]
        count += covered[k : k + n_means]
    mean = total / np.maximum(count, 1)[..., None]
    enough = (count >= settings.step_least)[..., None]
    mean = np.where(enough, mean, np.nan)
    stepped[2 * step - 1 :] = mean[step:] - mean[:-step]
    return stepped


def movement(steps: F64) -> F64:
    """(T, n) how far faces have moved, wherever to: Euclidean lengths of their (T, n, 7) steps, NaN where unknown."""
    return _lengths(tuple(np.moveaxis(steps, 2, 0)))


def _lengths(planes: Planes) -> F64:
    """Euclidean lengths of steps, of which each class is a plane."""
    return np.asarray(np.sqrt(sum(plane * plane for plane in planes)))


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """How n faces have moved in T seconds.

    lengths: (T, n), as of `movement`, NaN where unknown. steps: of each class (T, n), 0 where unknown: what is added up over
    a window need not ask again and again what is known.
    """

    lengths: F64
    steps: Planes


def normalised(steps: F64) -> Moves:
    """(T, n, 7) steps, NaN where unknown, divided by the root mean square of their own lengths.

    So faint faces count like loud ones. A face that never moved stays at 0.
    """
    known = np.isfinite(steps[..., 0])
    filled = [np.where(known, plane, 0.0) for plane in np.moveaxis(steps, 2, 0)]
    power = sum((plane * plane).sum(axis=0) for plane in filled)
    rms = np.sqrt(power / np.maximum(known.sum(axis=0), 1))
    # By infinity: who never moved stays at 0.
    units = tuple(plane / np.where(rms > _SILENT, rms, np.inf) for plane in filled)
    return Moves(np.where(known, _lengths(units), np.nan), units)


def mean_of_others(moves: Moves) -> Moves:
    """For each member the mean of the others; where none of these is known, the length is NaN and the step 0."""
    known = np.isfinite(moves.lengths)
    count = known.sum(axis=1, keepdims=True) - known.astype(np.intp)
    divisor = np.maximum(count, 1)
    filled = np.where(known, moves.lengths, 0.0)
    lengths = (filled.sum(axis=1, keepdims=True) - filled) / divisor
    steps = tuple((plane.sum(axis=1, keepdims=True) - plane) / divisor for plane in moves.steps)
    return Moves(np.where(count > 0, lengths, np.nan), steps)


def compare(
    first: F64,
    second: F64,
    settings: SynchronySettings = DEFAULT_SYNCHRONY,
    steps: tuple[Planes, Planes] | None = None,
) -> Synchrony:
    """The largest correlation of m pairs of series over the lags, tested against the same maximum after shifts.

    One series is rotated against the other by every number of seconds beyond `guard_s`, which keeps the cadence of both
    and destroys what they share; p = (1 + shifts that do at least as well) / (1 + shifts). Missing seconds rotate with
    their series. There a series is at its mean, and a sum is divided by the root of the number of seconds that both
    have, so that shifts with fewer of them spread as widely as others. Of two faces that never moved nothing is known;
    where one of them did, they share nothing: correlation 0, p = 1.

    With `steps`, what is tested is when they move and whereto: the larger of the correlation of the movements
    and of the mean inner product of the steps, each divided by its standard deviation over the shifts. The correlation and the lag
    that are told are those of the movements.

    Args:
        first: (m, T), NaN where unknown.
        second: (m, T), NaN where unknown.
        settings: Which constants.
        steps: Of the first and of the second series, of each class (m, T), 0 where unknown.
    """
    rows = np.arange(len(first))
    along = None if steps is None else _along(*steps)
    return _compare(_spectra(first), _spectra(second), rows, rows, settings, along)


def coupling(moves: Moves) -> tuple[F64, F64]:
    """How much faces move together, second by second: (T,) when, and (T,) whereto; NaN with fewer than two faces that move.

    The first is the mean product of the movements of all pairs, each face's standardised over the T seconds: its mean
    over them is the mean correlation of pairs. The second is the mean inner product of the steps of all pairs, in units
    of each face's root mean square length: as much as the first where what moves them moves them the same way, 0 where
    each goes their own way at the same time. GROUP, section 5, tells synchronous from homogeneous groups by that.

    Args:
        moves: As of `normalised`.
    """
    known = np.isfinite(moves.lengths)
    lengths = np.where(known, moves.lengths, 0.0)
    n_known = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, lengths - lengths.sum(axis=0) / n_known, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / n_known)
    # Who never moved goes together with nobody, and says nothing of the others.
    known &= spread > _SILENT
    centred = centred / np.where(spread > _SILENT, spread, 1.0)
    n = known.sum(axis=1)
    # All pairs at once: the square of a sum less the squares.
    shared = (
        centred.sum(axis=1) ** 2 - (centred**2).sum(axis=1),
        np.asarray(sum(plane.sum(axis=1) ** 2 for plane in moves.steps)) - (lengths**2).sum(axis=1),
    )
    when, whereto = (np.where(n > 1, total / np.maximum(n * (n - 1), 1), np.nan) for total in shared)
    return when, whereto


def all_pairs(moves: F64, settings: SynchronySettings = DEFAULT_SYNCHRONY) -> tuple[F64, F64]:
    """(n, n) largest correlations and (n, n) p-values of (T, n) movements, both symmetric.

    On the diagonal the correlation is 1 and the p-value NaN: nobody is tested against themselves.
    """
    n = moves.shape[1]
    correlation, p_value = np.eye(n), np.full((n, n), np.nan)
    if moves.size == 0:
        return correlation, p_value
    spectra = _spectra(moves.T)
    # One member against all later ones at a time: all pairs of a long call at once would not fit the memory.
    for i in range(n - 1):
        later = np.arange(i + 1, n)
        found = _compare(spectra, spectra, np.full(len(later), i), later, settings)
        correlation[i, later] = correlation[later, i] = found.correlation
        p_value[i, later] = p_value[later, i] = found.p_value
    return correlation, p_value


def synchrony_matrix(series: F64, settings: SynchronySettings = DEFAULT_SYNCHRONY) -> tuple[F64, F64]:
    """(n, n) largest pair correlations and (n, n) p-values of a whole call: see `all_pairs`.

    `series` is (T, n, 7) with NaN where there is no face; a whole call is as long as it is, `window_s` does not count.
    """
    return all_pairs(movement(steps(series, settings)), settings)


def divergences(first: F64, second: F64) -> F64:
    """(n, m) Jensen-Shannon divergence in bits, in [0, 1], of (n, 7) and (m, 7) distributions; NaN stays NaN.

    Lin 1991, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37, 145-151.
    """
    # Classes first, in memory too: sums over so few run much faster along whole matrices.
    one, other = np.ascontiguousarray(first.T), np.ascontiguousarray(second.T)
    mixed = _entropy((one[:, :, None] + other[:, None]) / 2)
    return np.asarray(np.maximum(mixed - (_entropy(one)[:, None] + _entropy(other)[None]) / 2, 0.0))


def _entropy(p: F64) -> F64:
    """Entropy in bits over the first axis; 0 log 0 is 0."""
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-300))).sum(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Spectra:
    """Fourier transforms of m series of `length`: standardised ones, and of 1 where they are known.

    known: None where all seconds of all of them are. n_known: (m, 1) how many are, at least 1. moved: (m,) the series varies.
    """

    length: int
    values: NDArray[np.complex128]
    known: NDArray[np.complex128] | None
    n_known: Index
    moved: Bool


def _spectra(series: F64) -> _Spectra:
    """Series (m, T) with mean 0 and variance 1 over their known seconds, 0 in the others, transformed."""
    known = np.isfinite(series)
    n_known = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, series, 0.0)
    centred = np.where(known, series - filled.sum(axis=1, keepdims=True) / n_known, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n_known)
    # Who has not moved goes together with nobody.
    moved = deviation > _SILENT
    standard = np.where(moved, centred / np.where(moved, deviation, 1.0), 0.0)
    of_known = None if known.all() else fft.rfft(known.astype(np.float64))
    return _Spectra(series.shape[1], fft.rfft(standard), of_known, n_known, moved[:, 0])


def _n_both(first: _Spectra, second: _Spectra, i: Index, j: Index) -> F64:
    """(m, T), or (m, 1) where shifts make no difference: how many known seconds meet, at least 1."""
    if first.known is None:
        return second.n_known[j].astype(np.float64)
    if second.known is None:
        return first.n_known[i].astype(np.float64)
    met = np.rint(fft.irfft(np.conj(first.known[i]) * second.known[j], first.length))
    return np.asarray(np.maximum(met, 1.0))


def _along(first: Planes, second: Planes) -> F64:
    """(m, T) entry k: the sum over t of the inner product of step t of the first with step t + k of the second."""
    spectrum = sum(np.conj(fft.rfft(one)) * fft.rfft(other) for one, other in zip(first, second, strict=True))
    return np.asarray(fft.irfft(spectrum, first[0].shape[1]))


def _standardised(statistic: F64, shifts: slice) -> F64:
    """(m, T) divided by the standard deviation over the shifts; 0 where there is none."""
    spread = statistic[:, shifts].std(axis=1, keepdims=True)
    return np.where(spread > _TIE, statistic / np.where(spread > _TIE, spread, 1.0), 0.0)


def _compare(
    first: _Spectra, second: _Spectra, i: Index, j: Index, settings: SynchronySettings, along: F64 | None = None
) -> Synchrony:
    """Series i[m] of the first against series j[m] of the second, see `compare`; `along` is what `_along` gives of them."""
    length, reach = first.length, settings.lag_s
    nothing = np.full(len(i), np.nan)
    n_shifts = length - 2 * settings.guard_s - 1
    if n_shifts < settings.least_shifts:
        return Synchrony(nothing, nothing, nothing, nothing)
    # Entry k of a circular correlation: the sum over t of first[t] second[t + k].
    statistic = np.asarray(fft.irfft(np.conj(first.values[i]) * second.values[j], length))
    n_both = _n_both(first, second, i, j)
    root = np.sqrt(n_both)
    statistic /= root
    both = np.broadcast_to(n_both, statistic.shape)
    # Smallest lags first, so that of equal ones the nearest to 0 is told.
    lags = np.array(sorted(range(-settings.told_lag_s, settings.told_lag_s + 1), key=abs))
    at_lags = statistic[:, lags]
    best = at_lags.argmax(axis=1)[:, None]
    largest = np.take_along_axis(at_lags, best, axis=1)
    correlation = largest / np.sqrt(np.take_along_axis(both[:, lags], best, axis=1))
    start = settings.guard_s + 1
    if along is not None:
        shifts = slice(start, start + n_shifts)
        statistic = np.maximum(_standardised(statistic, shifts), _standardised(along / root, shifts))
        at_lags = statistic[:, lags]
    tested = at_lags[:, np.abs(lags) <= reach].max(axis=1, keepdims=True)
    shifted = statistic[:, start - reach : start - reach + n_shifts].copy()
    for k in range(start - reach + 1, start + reach + 1):
        np.maximum(shifted, statistic[:, k : k + n_shifts], out=shifted)
    usable = both[:, start : start + n_shifts] >= settings.least_s / 2
    n_usable = usable.sum(axis=1)
    p_value = (1 + (usable & (shifted >= tested - _TIE)).sum(axis=1)) / (1 + n_usable)
    known = (both[:, 0] >= settings.least_s) & (n_usable >= settings.least_shifts) & (first.moved[i] | second.moved[j])
    lag_s = lags[best[:, 0]].astype(np.float64)
    n_spread = np.maximum(n_usable, 1)[:, None]
    mean = np.where(usable, shifted, 0.0).sum(axis=1, keepdims=True) / n_spread
    spread = np.sqrt((np.where(usable, shifted - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / n_spread)
    strength = np.where(spread > _TIE, (tested - mean) / np.where(spread > _TIE, spread, 1.0), 0.0)[:, 0]
    found = (np.clip(correlation[:, 0], -1.0, 1.0), lag_s, p_value, strength)
    return Synchrony(*(np.where(known, values, np.nan) for values in found))
