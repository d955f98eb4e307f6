"""The tables of `attuned analyze`: seconds and group as Parquet, events and tiles as JSON lines.

JSON lines are written as they come; rows are kept in memory in chunks and written at the end. The same seconds
give the same bytes.
"""

import errno
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from daemon.session import SessionInfo
from daemon.sources.source import State
from pipeline import wire
from pipeline.denoise import denoise
from pipeline.emotions import EMOTIONS, F64
from pipeline.types import CallSecond, Event, FusedReading, GroupEngagement, GroupReading

CHUNK_ROWS = 20_000


def _columns(prefix: str = "") -> dict[str, type[pl.DataType]]:
    """A column for each class."""
    return {prefix + name: pl.Float64 for name in EMOTIONS}


SECONDS_SCHEMA: dict[str, Any] = {
    "second": pl.Int64,
    "participant": pl.String,
    "n_frames": pl.Int32,
    "coverage": pl.Float64,
    "quality": pl.Float64,
    **_columns(),
    **_columns("pixel_"),
    **_columns("landmark_"),
    "weight_pixel": pl.Float64,
    "weight_landmark": pl.Float64,
    "top": pl.String,
    "confidence": pl.Float64,
    "abstain": pl.Boolean,
    "valence": pl.Float64,
    "arousal": pl.Float64,
    "head_pixel": pl.String,
    "head_landmark": pl.String,
}
GROUP_SCHEMA: dict[str, Any] = {
    "second": pl.Int64,
    **_columns("p_"),
    **_columns("denoised_"),
    "dominant": pl.List(pl.String),
    "members": pl.List(pl.String),
    "engaged": pl.List(pl.String),
    "excluded": pl.List(pl.String),
    "deviation": pl.List(pl.Struct({"participant": pl.String, "value": pl.Float64})),
    "polarisation": pl.Float64,
    "clusters": pl.List(pl.List(pl.String)),
    "type": pl.String,
    "synchrony": pl.Float64,
    "homogeneity": pl.Float64,
    "engagement": pl.List(
        pl.Struct(
            {
                "participant": pl.String,
                "state": pl.String,
                "correlation": pl.Float64,
                "lag_s": pl.Int32,
                "p_value": pl.Float64,
            }
        )
    ),
}


class _Table:
    """Rows that become one Parquet file."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._chunks: list[pl.DataFrame] = []
        self._rows: list[tuple[object, ...]] = []

    def append(self, row: tuple[object, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= CHUNK_ROWS:
            self._pack()

    def write(self, path: Path, metadata: dict[str, str], columns: Sequence[pl.Series] = ()) -> None:
        """Writes all rows, atomically; `columns` take the place of those of their names.

        Raises:
            OSError: The disk does not take it.
        """
        self._pack()
        temporary = path.with_suffix(".part")
        try:
            pl.concat(self._chunks).with_columns(columns).write_parquet(temporary, metadata=metadata)
            temporary.replace(path)
        except pl.exceptions.ComputeError as error:
            raise OSError(errno.EIO, str(error).rsplit(": ", 1)[-1], str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _pack(self) -> None:
        self._chunks.append(pl.DataFrame(self._rows, schema=self._schema, orient="row"))
        self._rows.clear()


class TablesSink:
    """Writes one session into a folder, until `close`.

    Args:
        folder: Exists, and is ours.
        metadata: Goes into the Parquet files: purpose, version.
    """

    def __init__(self, folder: Path, *, metadata: dict[str, str]) -> None:
        self._folder = folder
        self._metadata = metadata
        self._seconds = _Table(SECONDS_SCHEMA)
        self._group = _Table(GROUP_SCHEMA)
        self._events = (folder / "events.jsonl").open("wb", buffering=0)
        self._tiles = (folder / "tiles.jsonl").open("wb", buffering=0)
        self._n_events = 0
        self._series: dict[int, F64 | None] = {}
        self.participants: list[str] = []
        self.n_readings = 0
        self.n_abstained = 0

    def close(self) -> None:
        """Writes the tables."""
        self._events.close()
        self._tiles.close()
        self._seconds.write(self._folder / "seconds.parquet", self._metadata)
        self._group.write(self._folder / "group.parquet", self._metadata, self._denoised())

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """What became of the recording stands in the summary."""

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """A row per participant, one for the group, a line of tiles."""
        for reading in second.readings:
            if reading.participant not in self.participants:
                self.participants.append(reading.participant)
            self.n_readings += reading.probabilities is not None
            self.n_abstained += reading.probabilities is not None and reading.abstain
            self._seconds.append(_second_row(reading))
        self._group.append(_group_row(second.group, info.minimum))
        large = len(second.group.members) >= info.minimum
        self._series[second.second] = second.group.probabilities if large else None
        self._series.update((s.second, s.group) for s in second.settled if self._series[s.second] is not None)
        tiles = [{"participant": participant, "xyxy": list(box)} for participant, box in second.tiles]
        line = {"second": second.second, "tiles": tiles}
        self._tiles.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        await self.events(info, second.events)

    def _denoised(self) -> list[pl.Series]:
        """The columns of algorithm 6 over the whole call, in which what comes later is known (GROUP, section 4.2)."""
        absent = np.full(len(EMOTIONS), np.nan)
        rows = [absent if row is None else row for row in self._series.values()]
        clean = denoise(np.array(rows).reshape(-1, len(EMOTIONS)))
        return [
            pl.Series(f"denoised_{name}", clean[:, i], dtype=pl.Float64, nan_to_null=True)
            for i, name in enumerate(EMOTIONS)
        ]

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """The payloads that MQTT would carry."""
        for event in events:
            self._events.write(wire.encode(wire.event(event, info.stamp, self._n_events)) + b"\n")
            self._n_events += 1


def _seven(probabilities: F64 | None) -> list[float | None]:
    """Seven cells."""
    return [None] * len(EMOTIONS) if probabilities is None else probabilities.tolist()


def _second_row(reading: FusedReading) -> tuple[object, ...]:
    """Cells in the order of `SECONDS_SCHEMA`."""
    arms = reading.arms
    return (
        arms.second,
        arms.participant,
        arms.n_frames,
        arms.coverage,
        arms.quality,
        *_seven(reading.probabilities),
        *_seven(arms.pixel),
        *_seven(arms.landmark),
        reading.weight_pixel,
        reading.weight_landmark,
        reading.top,
        reading.confidence,
        reading.abstain,
        *(reading.valence_arousal or (None, None)),
        arms.heads.pixel,
        arms.heads.landmark,
    )


def _group_row(group: GroupReading, minimum: int) -> tuple[object, ...]:
    """Cells in the order of `GROUP_SCHEMA`; too small a group has members and nothing else."""
    large = len(group.members) >= minimum
    deviation = [{"participant": p, "value": d} for p, d in group.deviation.items()] if large else []
    split = group.polarisation if large else None
    engagement = group.engagement if large else GroupEngagement()
    return (
        group.second,
        *_seven(group.probabilities if large else None),
        *_seven(None),  # that of the whole call comes at its end
        list(group.dominant) if large else [],
        list(group.members),
        list(group.engaged),
        list(group.excluded),
        deviation,
        None if split is None else split.distance,
        None if split is None else [list(cluster) for cluster in split.clusters],
        engagement.type,
        engagement.synchrony,
        engagement.homogeneity,
        [asdict(member) for member in engagement.members],
    )
