"""Everything that a report shows of one recording, found once and then drawn twice: for the page and as pictures."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from daemon.annotate import Annotations
from daemon.report.judged import Judged, judge
from daemon.report.study import Adapted, Arms, Likeness, adapted, arms_of, cube, likeness
from daemon.report.tables import Tables
from daemon.report.timeline import Timeline
from pipeline.emotions import F64
from pipeline.synchrony import synchrony_matrix


@dataclass(frozen=True, slots=True, eq=False)
class Synchrony:
    """Who moves with whom over the whole recording: (n, n) largest correlations and their p-values, nan if unknown."""

    correlation: F64
    p_value: F64

    @property
    def is_known(self) -> bool:
        """Whether anything could be said of any pair."""
        return bool((~np.isnan(self.p_value)).any())

    def pairs(self, participants: tuple[str, ...]) -> pl.DataFrame:
        """A row per pair, the most significant first."""
        rows = [
            (participants[i], participants[j], self.correlation[i, j], self.p_value[i, j])
            for i in range(len(participants))
            for j in range(i + 1, len(participants))
        ]
        kinds = {"one": pl.String, "other": pl.String, "correlation": pl.Float64, "p_value": pl.Float64}
        pairs = pl.DataFrame(rows, schema=kinds, orient="row").fill_nan(None)
        return pairs.sort("p_value", "correlation", descending=[False, True], nulls_last=True, maintain_order=True)


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What the sections and pictures are made of.

    engagement: a row per second and participant as `group.parquet` has them; synchrony: None for fewer than two people.
    """

    tables: Tables
    timeline: Timeline
    arms: Arms
    likeness: Likeness
    adapted: list[Adapted]
    engagement: pl.DataFrame
    synchrony: Synchrony | None
    judged: Judged | None


def find(tables: Tables, annotations: Annotations | None) -> Findings:
    """Everything about one recording; annotations fit its participants and seconds."""
    arms = arms_of(tables)
    rows = tables.group.select("second", "engagement").explode("engagement").drop_nulls("engagement")
    return Findings(
        tables=tables,
        timeline=Timeline.of(tables),
        arms=arms,
        likeness=likeness(arms),
        adapted=adapted(arms),
        engagement=rows.unnest("engagement"),
        synchrony=_synchrony(tables),
        judged=None if annotations is None else judge(annotations, arms),
    )


def _synchrony(tables: Tables) -> Synchrony | None:
    """Of the fused distributions as they were given out."""
    if len(tables.participants) < 2:  # noqa: PLR2004 (a pair)
        return None
    return Synchrony(*synchrony_matrix(cube(tables)))
