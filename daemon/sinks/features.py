"""`features.parquet`: the best face of each second as the models saw it, where `analyze --features` asks for it.

Embeddings and the 51 interpretable features, no picture: enough to choose which seconds a person should be asked about,
and to make samples of the answers. It is data about a face; the file is for its owner alone.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from daemon.errors import UnusableInputError
from daemon.personal_files import BestFace
from daemon.session import Personal
from models.personal.samples import Samples
from pipeline.emotions import F32, N_EMOTIONS
from pipeline.interpretable import N_INTERPRETABLE, interpretable_features
from pipeline.types import CallSecond, Event, FaceReading

FILE: Final = "features.parquet"
MAX_ROWS: Final = 200_000
"""Seconds of people that are kept, some 250 MB of memory; beyond it they are counted."""
_ARMS: Final = ("pixel", "landmark")


class FeaturesSink:
    """Keeps the best face of each second until `close`; sees what a session reads, and hands it on.

    Args:
        folder: Where the file goes.
        then: Learns from the same readings; None: nobody does.
        metadata: Goes into the file.

    Attributes:
        n_dropped: Seconds for which there was no room.
    """

    def __init__(self, folder: Path, then: Personal | None, *, metadata: dict[str, str]) -> None:
        self._folder = folder
        self._then = then
        self._metadata = metadata
        self._best: dict[tuple[int, str], BestFace] = {}
        self._keys: list[tuple[int, str, float]] = []
        self._rows: list[tuple[F32, F32, F32]] = []
        self.n_dropped = 0

    def see(self, readings: Sequence[FaceReading]) -> None:
        """The better face of each second is kept."""
        for reading in readings:
            where = (int(reading.time_s // 1), reading.participant)
            best = self._best.get(where)
            if reading.evidence is not None and (best is None or reading.quality > best.quality):
                self._best[where] = BestFace(reading.quality, reading.evidence)
        if self._then is not None:
            self._then.see(readings)

    async def second(self, second: CallSecond) -> Sequence[Event]:
        """What was seen until here becomes rows."""
        for where in [where for where in self._best if where[0] <= second.second]:
            best = self._best.pop(where)
            if len(self._rows) >= MAX_ROWS:
                self.n_dropped += 1
                continue
            face = best.evidence
            self._keys.append((*where, best.quality))
            self._rows.append((face.pixel, face.landmark, interpretable_features(face.mesh[None])[0]))
        return () if self._then is None else await self._then.second(second)

    def close(self) -> None:
        """Writes the file, atomically.

        Raises:
            OSError: The disk does not take it.
        """
        keys = pl.DataFrame(
            self._keys, schema={"second": pl.Int64, "participant": pl.String, "quality": pl.Float64}, orient="row"
        )
        columns = [
            pl.Series(name, np.stack([row[at] for row in self._rows]).astype(np.float32))
            if self._rows
            else _empty(name)
            for at, name in enumerate((*_ARMS, "interpretable"))
        ]
        path = self._folder / FILE
        temporary = path.with_suffix(".part")
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            keys.with_columns(columns).write_parquet(temporary, metadata=self._metadata)
            temporary.replace(path)
        except pl.exceptions.ComputeError as error:
            raise OSError(errno.EIO, str(error).rsplit(": ", 1)[-1], str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)


def read_features(folder: Path) -> pl.DataFrame | None:
    """The rows of a folder: second, participant, quality, pixel, landmark, interpretable. None: analysed without.

    Raises:
        UnusableInputError: It is not what `analyze --features` writes.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        table = pl.read_parquet(path)
        kinds = {name: pl.Array(pl.Float32, table.schema[name].shape[0]) for name in _ARMS}  # type: ignore[attr-defined]
        kinds["interpretable"] = pl.Array(pl.Float32, N_INTERPRETABLE)
        wanted: dict[str, Any] = {"second": pl.Int64, "participant": pl.String, "quality": pl.Float64} | kinds
        return table.select(pl.col(name).cast(kind) for name, kind in wanted.items()).sort("second", "participant")
    except (OSError, KeyError, AttributeError, TypeError, IndexError, pl.exceptions.PolarsError) as error:
        msg = f"{path}: is not what `attuned analyze --features` writes; analyse the recording again"
        raise UnusableInputError(msg) from error


def samples_of(rows: pl.DataFrame) -> Samples:
    """These rows of `read_features` as samples that nobody labelled: every class alike, with confidence 0."""
    n = rows.height
    pixel, landmark, interpretable = (rows[name].to_numpy().reshape(n, -1) for name in (*_ARMS, "interpretable"))
    return Samples(
        time_s=rows["second"].to_numpy().astype(np.float64),
        pixel=pixel,
        landmark=landmark,
        interpretable=interpretable,
        target=np.full((n, N_EMOTIONS), 1 / N_EMOTIONS),
        confidence=np.zeros(n),
        quality=rows["quality"].to_numpy(),
        origin=np.zeros(n, dtype=np.uint8),
    )


def _empty(name: str) -> pl.Series:
    """A column without rows."""
    return pl.Series(name, [], dtype=pl.Array(pl.Float32, N_INTERPRETABLE if name == "interpretable" else 1))
