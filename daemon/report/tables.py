"""What `attuned analyze` left in a folder, read back for the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from daemon.errors import UnusableInputError
from pipeline.emotions import EMOTIONS

Layout = tuple[tuple[str, tuple[float, float, float, float]], ...]
"""Tiles of one second: participant and x0, y0, x1, y1 in pixels of the recording."""

SECONDS_COLUMNS: Final = (
    "second",
    "participant",
    "coverage",
    "quality",
    *EMOTIONS,
    *(f"pixel_{name}" for name in EMOTIONS),
    *(f"landmark_{name}" for name in EMOTIONS),
    "weight_landmark",
    "top",
    "confidence",
    "abstain",
)
MEASURES: Final = ("synchrony", "homogeneity", "polarisation")
GROUP_COLUMNS: Final = (
    "second",
    *(f"p_{name}" for name in EMOTIONS),
    *(f"denoised_{name}" for name in EMOTIONS),
    "dominant",
    "members",
    "clusters",
    "deviation",
    "type",
    *MEASURES,
)
ENGAGEMENT: Final = pl.List(
    pl.Struct(
        {
            "participant": pl.String,
            "state": pl.String,
            "correlation": pl.Float64,
            "lag_s": pl.Int32,
            "p_value": pl.Float64,
        }
    )
)
STATES: Final = ("engaged", "unengaged", "unknown")
GROUP_TYPES: Final = ("unengaged", "engaged", "synchronous", "homogeneous")
"""From the loosest to the closest group (GROUP, section 5)."""
ENVELOPE: Final = frozenset(["schema", "ts", "session", "boot", "seq", "kind", "second", "participants"])
"""Keys that every event has; the others are its data."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of `events.jsonl`: `scope` is `individual` or `group` for changes, `data` what else it says."""

    second: int
    kind: str
    participants: tuple[str, ...]
    scope: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """A folder of `attuned analyze`.

    seconds: rows of `SECONDS_COLUMNS` in order of time; group: rows of `GROUP_COLUMNS`, and `engagement`.
    participants: in order of appearance; layouts: where everybody sat when they were first seen.
    """

    summary: Mapping[str, Any]
    participants: tuple[str, ...]
    seconds: pl.DataFrame
    group: pl.DataFrame
    happenings: tuple[Happening, ...]
    layouts: Mapping[str, Layout]

    @property
    def why(self) -> str:
        """Purpose and legal basis, as they were declared."""
        known = [str(self.summary[key]).replace("_", " ") for key in ("purpose", "basis") if self.summary.get(key)]
        return ", on the legal basis of ".join(known) or "not recorded"

    @property
    def first(self) -> int:
        """The first second that any table speaks of."""
        return min((clock[0] for clock in self._clocks()), default=0)

    @property
    def n_seconds(self) -> int:
        """How many seconds lie between the first and the last row, both included; 0 where there is no row."""
        return max((clock[-1] + 1 for clock in self._clocks()), default=self.first) - self.first

    def of(self, participant: str) -> pl.DataFrame:
        """The seconds of one participant."""
        return self.seconds.filter(pl.col("participant") == participant)

    def _clocks(self) -> list[pl.Series]:
        """Seconds of the tables that have rows, in order of time."""
        return [table["second"] for table in (self.seconds, self.group) if table.height]


@dataclass(frozen=True, slots=True)
class Shares:
    """One participant in numbers; shares are of the seconds that were read, None where there are none."""

    participant: str
    n_seconds: int
    n_read: int
    coverage: float | None
    top: Mapping[str, float]
    abstained: float | None
    confidence: float | None
    quality: float | None


def read_tables(folder: Path) -> Tables:
    """Everything the report needs; only `tiles.jsonl` may be missing.

    Raises:
        UnusableInputError: A file is missing or is not what `attuned analyze` writes.
    """
    summary = _json(folder / "summary.json", _text(folder / "summary.json"))
    seconds = _table(folder / "seconds.parquet", SECONDS_COLUMNS).sort("second", maintain_order=True)
    group = _table(folder / "group.parquet", GROUP_COLUMNS, {"engagement": ENGAGEMENT}).sort("second")
    seen = seconds["participant"].unique(maintain_order=True).to_list()
    participants = tuple(dict.fromkeys([*strings(summary.get("participants")), *seen]))
    return Tables(summary, participants, seconds, group, _happenings(folder), _layouts(folder, participants))


def measure(tables: Tables, participant: str) -> Shares:
    """One participant in numbers; a top class counts where the models did not abstain."""
    rows = tables.of(participant)
    read = rows.drop_nulls(EMOTIONS)
    sure = read.filter(~pl.col("abstain"))
    tops = dict(sure.group_by("top").len().iter_rows())
    return Shares(
        participant=participant,
        n_seconds=rows.height,
        n_read=read.height,
        coverage=_mean(rows["coverage"]),
        top={name: tops.get(name, 0) / read.height for name in EMOTIONS} if read.height else {},
        abstained=1 - sure.height / read.height if read.height else None,
        confidence=_mean(read["confidence"]),
        quality=_mean(read["quality"]),
    )


def _table(path: Path, columns: Sequence[str], later: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """Those columns of a Parquet file; NaN counts as unknown, and so do `later` columns that it does not have yet."""
    try:
        table = pl.read_parquet(path)
        absent = {name: kind for name, kind in (later or {}).items() if name not in table.columns}
        table = table.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in absent.items())
        table = table.select(*columns, *(pl.col(name).cast(kind) for name, kind in (later or {}).items()))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unusable(path, error) from error
    return table.with_columns(pl.selectors.float().fill_nan(None))


def _happenings(folder: Path) -> tuple[Happening, ...]:
    """Events in order of time."""
    path = folder / "events.jsonl"
    happenings = []
    for line in _text(path).splitlines():
        event = _json(path, line)
        try:
            happening = Happening(
                second=int(event["second"]),
                kind=str(event["kind"]),
                participants=strings(event.get("participants")),
                scope=str(event.get("scope", "")),
                data={key: value for key, value in event.items() if key not in ENVELOPE},
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _unusable(path, error) from error
        happenings.append(happening)
    return tuple(sorted(happenings, key=lambda happening: happening.second))


def _layouts(folder: Path, participants: Sequence[str]) -> dict[str, Layout]:
    """Tiles of the first second in which each participant was seen."""
    path = folder / "tiles.jsonl"
    if not path.exists():
        return {}
    layouts: dict[str, Layout] = {}
    for line in _text(path).splitlines():
        if len(layouts) == len(participants):
            break
        try:
            layout = tuple(_tile(tile) for tile in _json(path, line)["tiles"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _unusable(path, error) from error
        for participant, _ in layout:
            if participant in participants:
                layouts.setdefault(participant, layout)
    return layouts


def strings(value: object) -> tuple[str, ...]:
    """A list's items as text; nothing where there is no list."""
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _tile(tile: Mapping[str, Any]) -> tuple[str, tuple[float, float, float, float]]:
    """Who, and x0, y0, x1, y1."""
    x0, y0, x1, y1 = tile["xyxy"]
    return str(tile["participant"]), (float(x0), float(y0), float(x1), float(y1))


def _text(path: Path) -> str:
    """A file's text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from error


def _json(path: Path, text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise _unusable(path, error) from error
    if not isinstance(value, dict):
        raise _unusable(path, f"expected an object, got {type(value).__name__}")
    return value


def _unusable(path: Path, why: object) -> UnusableInputError:
    """One line that says what to do."""
    first_line = next(iter(str(why).splitlines()), "")
    return UnusableInputError(f"{path}: not readable as output of `attuned analyze` ({first_line}); analyse again")


def _mean(series: pl.Series) -> float | None:
    """Mean of the known values."""
    mean = series.mean()
    return mean if isinstance(mean, float) else None
