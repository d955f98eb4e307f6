"""What the tables say about the two models, their weights and who moves with whom: numbers, before they are drawn.

(GROUP, sections 3 to 5.) Everything is computed from the seconds in which a face was read; absence counts for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from daemon.report.tables import Tables
from pipeline.agreement import NO_LABEL, block_accuracy_ci95, block_ci95, cohen_kappa, pair_blocks, share_right
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.intervals import Interval
from pipeline.metrics import I64

ARMS: Final = ("pixel", "landmark")
SEED: Final = 0
"""Of all bootstraps in the report: the same tables give the same page."""
EVEN: Final = 0.5
"""Weight of either model where weights do not adapt (GROUP, Fig. 6: both begin with it)."""


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """The n seconds of all participants in which the pixel model read a face, in order of participant and time.

    who: (n,) number of the participant; second: (n,).
    pixel, landmark: (n, 7) probabilities; landmark is nan where there was no mesh. fused: (n, 7) as given out.
    """

    participants: tuple[str, ...]
    who: I64
    second: I64
    pixel: F64
    landmark: F64
    fused: F64

    @property
    def fixed(self) -> F64:
        """(n, 7) what the mean of both models with the weights 0.5 and 0.5 would have been."""
        both = EVEN * self.pixel + (1 - EVEN) * self.landmark
        return np.where(np.isnan(both), self.pixel, both)

    @property
    def has_both(self) -> I64:
        """(m,) rows in which both models gave something."""
        return np.flatnonzero(~np.isnan(self.landmark[:, 0]))

    def model(self, name: str) -> F64:
        """(n, 7) of `pixel`, `landmark`, `fused` or `fixed`."""
        return {"pixel": self.pixel, "landmark": self.landmark, "fused": self.fused, "fixed": self.fixed}[name]


def arms_of(tables: Tables) -> Arms:
    """Both models' readings of a recording."""
    names = [f"{arm}_{name}" for arm in ARMS for name in EMOTIONS]
    numbers = pl.DataFrame({"participant": tables.participants, "who": range(len(tables.participants))})
    numbers = numbers.cast({"participant": pl.String, "who": pl.Int64})
    rows = tables.seconds.drop_nulls([*EMOTIONS, *names[:N_EMOTIONS]]).join(numbers, on="participant")
    rows = rows.sort("who", "second")
    seven = [_matrix(rows, group) for group in (names[:N_EMOTIONS], names[N_EMOTIONS:], EMOTIONS)]
    # A reading of which a part is missing is none.
    seven[1][np.isnan(seven[1]).any(axis=1)] = np.nan
    whole = [rows[name].to_numpy().astype(np.int64) for name in ("who", "second")]
    return Arms(tables.participants, whole[0], whole[1], *seven)


def tops(probabilities: F64) -> I64:
    """(n,) most probable class of (n, 7); -1 for rows of nan."""
    known = ~np.isnan(probabilities[:, 0])
    filled = np.where(known[:, None], probabilities, 0.0)
    return np.where(known, filled.argmax(axis=1), NO_LABEL).astype(np.int64)


def centred(values: F64, who: I64) -> F64:
    """(n, 7) values minus each participant's own mean, so that what a face always shows correlates with nothing."""
    n = int(who.max(initial=-1)) + 1
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, who, values)
    means = sums / np.maximum(np.bincount(who, minlength=n), 1)[:, None]
    return np.asarray(values - means[who])


def correlations(a: F64, b: F64) -> F64:
    """(7, 7) Pearson correlation of each column of centred (n, 7) a with each of b; nan for a column that rests."""
    spread = np.sqrt((a**2).sum(axis=0))[:, None] * np.sqrt((b**2).sum(axis=0))[None, :]
    product = a.T @ b
    # What is left of a constant after its mean is subtracted is rounding, not movement.
    moves = spread > 1e-12 * max(len(a), 1)
    return np.clip(np.divide(product, spread, out=np.full(product.shape, np.nan), where=moves), -1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """How alike the two models are over n seconds: correlations (7, 7), counts of top classes (7, 7), agreement.

    correlation: by (model of the rows, model of the columns).
    counts: rows pixel, columns landmark. agreed and kappa come with 95 % intervals.
    """

    n: int
    correlation: dict[tuple[str, str], F64]
    counts: I64
    agreed: float
    agreed_ci95: Interval
    kappa: float
    kappa_ci95: Interval


def likeness(arms: Arms) -> Likeness:
    """How alike the two models are where both read a face (GROUP, section 3 and Fig. 1)."""
    rows = arms.has_both
    moved = {arm: centred(arms.model(arm)[rows], arms.who[rows]) for arm in ARMS}
    pairs = (("pixel", "landmark"), ("pixel", "pixel"), ("landmark", "landmark"))
    pixel, landmark = (tops(arms.model(arm)[rows]) for arm in ARMS)
    blocks = pair_blocks(pixel, landmark, arms.second[rows], n_classes=N_EMOTIONS)
    counts = blocks.sum(axis=0)
    return Likeness(
        n=len(rows),
        correlation={(a, b): correlations(moved[a], moved[b]) for a, b in pairs},
        counts=counts.astype(np.int64),
        agreed=float(share_right(counts)),
        agreed_ci95=block_accuracy_ci95(blocks, seed=SEED),
        kappa=float(cohen_kappa(counts)),
        kappa_ci95=block_ci95(blocks, cohen_kappa, seed=SEED),
    )


@dataclass(frozen=True, slots=True)
class Adapted:
    """What adaptive weights did to one participant's n seconds (GROUP, Fig. 7).

    differing: seconds whose most probable class is another one with fixed weights. moved: mean total variation between
    both, 0 to 1. switches, switches_fixed: how often the most probable class changed from one read second to the next.
    """

    participant: str
    n: int
    differing: int
    moved: float
    switches: int
    switches_fixed: int
    commonest: tuple[tuple[str, str, int], ...]


def adapted(arms: Arms) -> list[Adapted]:
    """What the weights did to each participant who was read; fixed → adaptive classes, the three commonest."""
    adaptive, fixed = tops(arms.fused), tops(arms.fixed)
    moved = np.abs(arms.fused - arms.fixed).sum(axis=1) / 2
    found = []
    for number, participant in enumerate(arms.participants):
        own = arms.who == number
        if not own.any():
            continue
        before, after, second = fixed[own], adaptive[own], arms.second[own]
        follows = np.diff(second) == 1
        pairs, counts = np.unique(np.stack([before, after])[:, before != after], axis=1, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:3]
        found.append(
            Adapted(
                participant=participant,
                n=int(own.sum()),
                differing=int((before != after).sum()),
                moved=float(moved[own].mean()),
                switches=int((follows & (np.diff(after) != 0)).sum()),
                switches_fixed=int((follows & (np.diff(before) != 0)).sum()),
                commonest=tuple((EMOTIONS[pairs[0, i]], EMOTIONS[pairs[1, i]], int(counts[i])) for i in order),
            )
        )
    return found


def adaptive_rows(arms: Arms) -> pl.DataFrame:
    """A row per participant and second: top classes with the weights used and with 0.5, and how far both are apart."""
    names = np.array([*EMOTIONS])
    moved = np.abs(arms.fused - arms.fixed).sum(axis=1) / 2
    columns = {"participant": pl.Series([arms.participants[i] for i in arms.who], dtype=pl.String)}
    columns |= {"second": pl.Series(arms.second)}
    columns |= {"top_adaptive": pl.Series(names[tops(arms.fused)]), "top_fixed": pl.Series(names[tops(arms.fixed)])}
    columns |= {f"adaptive_{name}": pl.Series(arms.fused[:, i]) for i, name in enumerate(EMOTIONS)}
    columns |= {f"fixed_{name}": pl.Series(arms.fixed[:, i]) for i, name in enumerate(EMOTIONS)}
    return pl.DataFrame(columns | {"distance": pl.Series(moved)})


def group_means(arms: Arms, values: F64, names: Sequence[str]) -> pl.DataFrame:
    """A row per second: mean of (n, k) values over the participants who were read in it; columns as named."""
    seconds, place = np.unique(arms.second, return_inverse=True)
    sums = np.zeros((len(seconds), values.shape[1]))
    np.add.at(sums, place, values)
    means = sums / np.bincount(place, minlength=len(seconds))[:, None]
    return pl.DataFrame({"second": seconds} | {name: means[:, i] for i, name in enumerate(names)})


def cube(tables: Tables) -> F64:
    """(T, n, 7) fused distributions by second and participant, nan where nobody was read."""
    values = np.full((tables.n_seconds, len(tables.participants), N_EMOTIONS), np.nan)
    for number, participant in enumerate(tables.participants):
        rows = tables.of(participant).drop_nulls(EMOTIONS)
        values[rows["second"].to_numpy() - tables.first, number] = _matrix(rows, EMOTIONS)
    return values


def _matrix(rows: pl.DataFrame, names: Sequence[str]) -> F64:
    """(n, k) float64; nan for what is not known."""
    columns = [rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
    return np.column_stack(columns).reshape(rows.height, len(names))
