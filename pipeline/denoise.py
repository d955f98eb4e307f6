"""Noise of one member and of the group: dismissed excursions, and a DFT that keeps the strong frequencies (GROUP, 4.2).

Individual noise is handled with care, "because we do not want to miss any real emotion readings obscured by
personalized behaviors": what was dismissed is told, and what recurs is no noise.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.types import Event, frozen_array


@dataclass(frozen=True, slots=True)
class TransientSettings:
    """Constants of algorithm 5.

    distance: total variation from what was before that an excursion reaches.
    back: total variation within which it has returned; what is within it is the noise of a steady face.
    longest_s: how long an excursion may last. A second counts by how far away it is beside the farthest one, for that
        is what the mean of a second shows of an excursion that begins or ends in its middle.
    recurs: so many earlier ones of the same class make an excursion a behaviour, which is kept.
    recurs_window_s: trailing seconds in which they count.
    reference_s: trailing seconds of which what was before is the median.
    lag_s: seconds by which what is derived from cleaned readings lags; the longest excursion and its return fit in.
    """

    distance: float = 0.25
    back: float = 0.1
    longest_s: int = 2
    recurs: int = 2
    recurs_window_s: int = 120
    reference_s: int = 8
    lag_s: int = 3


DEFAULT_TRANSIENTS = TransientSettings()
_NEVER: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Dismissal:
    """An excursion that does not count as an expression.

    second: its first; n_seconds: how many covered ones it has; emotion: the class that grew most in it; distance: its
    largest total variation from what was before.
    """

    participant: str
    second: int
    n_seconds: int
    emotion: str
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Cleaned:
    """One second of one participant without noise: (7,) or None for absence.

    `dismissal` stands at the first second of what was dismissed.
    """

    second: int
    probabilities: F64 | None
    dismissal: Dismissal | None = None


def dismissal_event(dismissal: Dismissal) -> Event:
    """A `dismissed` event, dated at the first second of what was dismissed."""
    return Event(
        kind="dismissed",
        time_s=float(dismissal.second),
        participants=(dismissal.participant,),
        data={
            "emotion": dismissal.emotion,
            "seconds": dismissal.n_seconds,
            "distance": round(dismissal.distance, 6),
        },
    )


class Transients:
    """Dismisses short excursions of everybody, each by themselves, and gives every second out `lag_s` later (algorithm 5).

    What was before is the median of the covered seconds since the last lasting change, at most the trailing 8 s. There
    must be more of them than the longest excursion has, else nobody can tell which of the two is the excursion. What
    is dismissed is replaced by the mean of before and after. Of a class that comes again and again the first two are
    dismissed, because nobody can know yet; from the third within 120 s on it is kept, for as long as that goes on.

    An absent second stays absent. Inside an excursion it counts as away, because it may have been.
    """

    def __init__(self, settings: TransientSettings = DEFAULT_TRANSIENTS) -> None:
        self._settings = settings
        self._newest: int | None = None
        self._members: dict[str, _Member] = {}
        # What was before, of each member's row: (7,) a second and which second that is, in the place of its remainder.
        self._steady: F64 = np.zeros((0, settings.reference_s, N_EMOTIONS))
        self._steady_s = np.zeros((0, settings.reference_s), dtype=np.int64)

    def add(self, second: int, distributions: Mapping[str, F64 | None]) -> list[tuple[str, Cleaned]]:
        """The seconds that are decided now, those of each participant in order.

        Seconds that are never added are absent and never given out.

        Raises:
            ValueError: `second` is not after the one before.
        """
        if self._newest is not None and second <= self._newest:
            msg = f"second: expected one after {self._newest}, got {second}"
            raise ValueError(msg)
        self._newest = second
        self._make_room([participant for participant in distributions if participant not in self._members])
        for participant, probabilities in distributions.items():
            self._members[participant].waiting.append(Cleaned(second, probabilities))
        return self._decide(second - self._settings.lag_s)

    def forget(self, participant: str) -> None:
        """Whoever comes back begins anew."""
        gone = self._members.pop(participant, None)
        if gone is not None:
            self._steady = np.delete(self._steady, gone.row, axis=0)
            self._steady_s = np.delete(self._steady_s, gone.row, axis=0)
            for member in self._members.values():
                member.row -= member.row > gone.row

    def finish(self) -> list[tuple[str, Cleaned]]:
        """The seconds that were still waiting; an excursion that has not returned by then is kept."""
        return self._decide(self._newest or 0)

    def _decide(self, until: int) -> list[tuple[str, Cleaned]]:
        """Takes the seconds up to `until` out, by what is known until now of those after them."""
        out = []
        while due := [
            member for member in self._members.values() if member.waiting and member.waiting[0].second <= until
        ]:
            self._judge([(member, member.waiting[0], row) for member in due if (row := member.undecided()) is not None])
            out += [(member.participant, member.waiting.popleft()) for member in due]
        return out

    def _make_room(self, newcomers: Sequence[str]) -> None:
        """A row more for each newcomer, of whom nothing is known yet."""
        if newcomers:
            n, length = self._steady_s.shape
            self._members |= {who: _Member(who, n + k) for k, who in enumerate(newcomers)}
            self._steady = np.concatenate([self._steady, np.zeros((len(newcomers), length, N_EMOTIONS))])
            self._steady_s = np.concatenate([self._steady_s, np.full((len(newcomers), length), _NEVER)])

    def _judge(self, heads: Sequence[tuple["_Member", Cleaned, F64]]) -> None:
        """Decides of each of these whether an excursion or a lasting change begins with the oldest second, their head."""
        if not heads:
            return
        rows = np.array([member.row for member, _, _ in heads])
        seconds = np.array([head.second for _, head, _ in heads])
        now = np.array([row for _, _, row in heads])
        before, distances = self._moved(rows, seconds, now)
        stays = np.ones(len(heads), dtype=np.bool_)
        moved = np.flatnonzero(distances > self._settings.back).tolist()
        shown = self._shown([heads[i][0] for i in moved], before[moved])
        for i, apart in zip(moved, shown, strict=True):
            if self._excursion(heads[i][0], before[i], apart):
                stays[i] = False
            elif distances[i] >= self._settings.distance:
                self._steady_s[rows[i]] = _NEVER
        places = rows[stays], seconds[stays] % self._settings.reference_s
        self._steady[places], self._steady_s[places] = now[stays], seconds[stays]

    def _moved(self, rows: NDArray[np.intp], seconds: NDArray[np.int64], now: F64) -> tuple[F64, F64]:
        """(n, 7) what was before, and (n,) how far away from it is what is `now`.

        It is the median of the steady seconds, normalised; where they are too few, or have little in common, there is
        none, and the distance is 0.
        """
        s = self._settings
        known = self._steady_s[rows] >= (seconds - s.reference_s)[:, None]
        sizes = known.sum(axis=1)
        # Beyond a member's own seconds stands what sorts behind them.
        steady = np.where(known[..., None], self._steady[rows], np.inf)
        steady.sort(axis=1)
        each = np.arange(len(rows))
        enough = sizes > s.longest_s
        median = (steady[each, sizes // 2 * enough] + steady[each, (sizes - 1) // 2 * enough]) / 2
        median[~enough] = 0
        total = median.sum(axis=1, keepdims=True)
        before = median / np.where(total > 0, total, 1.0)
        in_common = total[:, 0] > 0.5  # noqa: PLR2004 (more than half)
        return before, np.where(in_common, np.abs(now - before).sum(axis=1) / 2, 0.0)

    def _shown(self, members: Sequence["_Member"], before: F64) -> list[list[float]]:
        """How far what each of these shows in the covered seconds that wait is from (n, 7) what was before."""
        rows = [[one.probabilities for one in member.waiting if one.probabilities is not None] for member in members]
        flat = np.array([row for own in rows for row in own]).reshape(-1, N_EMOTIONS)
        distances = iter((np.abs(flat - before.repeat([*map(len, rows)], axis=0)).sum(axis=1) / 2).tolist())
        return [list(islice(distances, len(own))) for own in rows]

    def _excursion(self, member: "_Member", before: F64, shown: Sequence[float]) -> bool:
        """Whether the oldest second begins an excursion; it is marked as judged, and replaced unless it recurs.

        `shown` is what `_shown` gives of the member.
        """
        s = self._settings
        away: list[tuple[F64, float]] = []
        returned: Cleaned | None = None
        distances = iter(shown)
        for cleaned in member.waiting:
            if cleaned.probabilities is not None:
                distance = next(distances)
                if distance <= s.back:
                    returned = cleaned
                    break
                away.append((cleaned.probabilities, distance))
        row, peak = max(away, key=lambda pair: pair[1])
        first = member.waiting[0].second
        if returned is None or returned.probabilities is None or peak < s.distance:
            return False
        n_absent = returned.second - first - len(away)
        lasted_s = n_absent + sum((distance - s.back) / (peak - s.back) for _, distance in away)
        if lasted_s > s.longest_s + 1e-9:
            return False
        member.judged = returned.second - 1
        emotion = EMOTIONS[int((row - before).argmax())]
        if not self._recurring(member, emotion, first):
            between = frozen_array(np.asarray((before + returned.probabilities) / 2))
            dismissal = Dismissal(member.participant, first, len(away), emotion, peak)
            member.replace(between, dismissal)
        return True

    def _recurring(self, member: "_Member", emotion: str, second: int) -> bool:
        """Whether enough excursions of the class came before this one, which is counted too."""
        seen = member.seen.setdefault(emotion, deque())
        while seen and seen[0] <= second - self._settings.recurs_window_s:
            seen.popleft()
        seen.append(second)
        return len(seen) > self._settings.recurs


@dataclass(slots=True, eq=False)
class _Member:
    """What is remembered of a participant.

    row: of `Transients`' arrays. waiting: seconds that are not decided yet. seen: when excursions of a class began. judged:
    the last second of an excursion that is decided.
    """

    participant: str
    row: int
    waiting: deque[Cleaned] = field(default_factory=deque)
    seen: dict[str, deque[int]] = field(default_factory=dict)
    judged: int | None = None

    def undecided(self) -> F64 | None:
        """(7,) of the oldest second, where it shows something and no excursion before it has decided it."""
        head = self.waiting[0]
        return head.probabilities if self.judged is None or head.second > self.judged else None

    def replace(self, between: F64, dismissal: Dismissal) -> None:
        """Puts what was before and after in the place of what was dismissed."""
        n_left = dismissal.n_seconds
        for i, cleaned in enumerate(self.waiting):
            if n_left and cleaned.probabilities is not None:
                self.waiting[i] = replace(cleaned, probabilities=between, dismissal=None if i else dismissal)
                n_left -= 1


@dataclass(frozen=True, slots=True)
class DenoiseSettings:
    """Constants of algorithm 6.

    window_s: length of the DFT.
    energy: share of the power that the kept frequencies hold at least.
    floor: frequencies so many times above the noise are kept too; None keeps by energy alone. The noise is the median
        power of the upper half of the frequencies. A step has its edges in many weak frequencies, and in a series
        with little noise they are within the last tenth of the power: without them the top class is wrong more often.
    gap_s: an absence longer than that ends a series; what comes after it begins a new one.
    """

    window_s: int = 64
    energy: float = 0.9
    floor: float | None = 1.0
    gap_s: int = 10


DEFAULT_DENOISE = DenoiseSettings()
_BLOCK = 1024


def denoise(series: F64, settings: DenoiseSettings = DEFAULT_DENOISE) -> F64:
    """(n, 7) distributions of a whole call → the same without their weak frequencies (algorithm 6).

    A row a second; NaN where there was no group, and it stays NaN. Each second is read from the middle of a window
    of its own, so that what comes later counts as much as what was before; the series is mirrored at its ends.
    Absent seconds are skipped: windows reach over them, but not over more than `gap_s`.

    Raises:
        ValueError: `series` is not of shape (n, 7).
    """
    if series.ndim != 2 or series.shape[1] != N_EMOTIONS:  # noqa: PLR2004 (rows and columns)
        msg = f"series: expected shape (n, {N_EMOTIONS}), got {series.shape}"
        raise ValueError(msg)
    out = np.full(series.shape, np.nan)
    covered = np.flatnonzero(~np.isnan(series).any(axis=1))
    for stretch in np.split(covered, np.flatnonzero(np.diff(covered) > settings.gap_s + 1) + 1):
        if len(stretch):
            out[stretch] = _centred(series[stretch], settings)
    return out


def _centred(rows: F64, settings: DenoiseSettings) -> F64:
    """(n, 7) without gaps: each row from the middle of its window; in blocks, so that memory stays small."""
    middle = settings.window_s // 2
    padded = np.pad(rows, ((middle, settings.window_s - 1 - middle), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, settings.window_s, axis=0)
    blocks = [
        _strong(windows[i : i + _BLOCK].transpose(0, 2, 1), settings)[:, middle] for i in range(0, len(rows), _BLOCK)
    ]
    return _distributions(np.concatenate(blocks))


def _strong(windows: F64, settings: DenoiseSettings) -> F64:
    """(m, w, 7) windows without their weak frequencies.

    The DFT of a series that is mirrored at its ends, which is even, has cosines only: it is the DCT of the series.
    The mirror has no step where the DFT closes its circle, so edges do not ring.
    """
    mean = windows.mean(axis=1, keepdims=True)
    spectrum = np.asarray(dct(windows - mean, type=2, axis=1, norm="ortho"))
    power = (spectrum**2).sum(axis=2)
    # Strongest first; of equally strong ones the lower. What is kept is short of its share until it is not.
    order = np.argsort(-power, axis=1, kind="stable")
    each = np.arange(len(power))[:, None]
    ranked = power[each, order]
    keep = np.zeros(power.shape, dtype=bool)
    keep[each, order] = np.cumsum(ranked, axis=1) - ranked < settings.energy * power.sum(axis=1, keepdims=True)
    if settings.floor is not None:
        upper = np.sort(power[:, power.shape[1] // 2 :], axis=1)
        n = upper.shape[1]
        noise = (upper[:, (n - 1) // 2] + upper[:, n // 2]) / 2
        keep |= power > settings.floor * noise[:, None]
    return np.asarray(mean + idct(spectrum * keep[..., None], type=2, axis=1, norm="ortho"))


def _distributions(rows: F64) -> F64:
    """(n, 7) rows clipped at 0 and normalised.

    They sum to one before they are clipped, since all classes keep the same frequencies: never a division by zero.
    """
    clipped = np.clip(rows, 0, None)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


class GroupDenoiser:
    """Algorithm 6 while a call goes on: each second from the end of its trailing 64 s.

    Seconds without a group are skipped; after more than `gap_s` of them the series begins anew.
    """

    def __init__(self, settings: DenoiseSettings = DEFAULT_DENOISE) -> None:
        self._settings = settings
        self._rows: deque[tuple[int, F64]] = deque(maxlen=settings.window_s)

    def add(self, second: int, probabilities: F64 | None) -> F64 | None:
        """(7,) of this second without weak frequencies; None stays None."""
        if probabilities is None:
            return None
        if self._rows and second - self._rows[-1][0] > self._settings.gap_s + 1:
            self._rows.clear()
        while self._rows and self._rows[0][0] <= second - self._settings.window_s:
            self._rows.popleft()
        self._rows.append((second, probabilities))
        window = np.array([row for _, row in self._rows])
        return frozen_array(_distributions(_strong(window[None], self._settings)[0, -1:])[0])

    def amend(self, second: int, probabilities: F64 | None) -> None:
        """Puts what is known afterwards in the place of what was added for that second."""
        for i in range(len(self._rows) - 1, -1, -1):
            if self._rows[i][0] == second:
                if probabilities is None:
                    del self._rows[i]
                else:
                    self._rows[i] = (second, probabilities)
                return
            if self._rows[i][0] < second:
                return
