"""Takes somebody out of what `attuned analyze` wrote: tables, events, tiles, summary; pages and pictures go whole.

The group of the others is summed anew from the others' own readings. What needed everybody's movements (type,
synchrony, homogeneity, sub-groups, engagement) is unknown from then on wherever the erased person was a member, for it
cannot be told without analysing the recording again.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from daemon.report import compare_drawn, drawn
from daemon.report.pictures import FIGURES
from daemon.sinks.features import FILE as FEATURES
from models.personal.private import erase_file, old_of, rewrite_private
from pipeline import wire
from pipeline.denoise import denoise
from pipeline.emotions import EMOTIONS, F64
from pipeline.group import dominant

TABLES: Final = ("seconds.parquet", "group.parquet", "events.jsonl", "tiles.jsonl", "summary.json", FEATURES)
PAGES: Final = ("report.html", "compare.html", "compare.json")
"""Pages hold everybody in pictures: they go, and `attuned report DIR` makes the report again."""
SHEET: Final = "annotations.csv"
UNKNOWN: Final = ("polarisation", "clusters", "type", "synchrony", "homogeneity")


def is_ours(folder: Path) -> bool:
    """Whether `analyze` or `compare` wrote there."""
    return any((folder / name).is_file() for name in (*TABLES, *PAGES))


def erase_from_folder(folder: Path, participant: str) -> bool:
    """Takes a participant out of a folder; whether there was anything.

    Raises:
        OSError: The disk refuses.
        ValueError: A file is not what `analyze` writes.
    """
    mark = participant.encode()
    for file in (*TABLES, SHEET):
        erase_file(old_of(folder / file))
    if not any(_holds(folder / file, mark) for file in (*TABLES, *PAGES, SHEET)):
        return False
    try:
        for name in ("seconds.parquet", FEATURES):
            _rows_of_others(folder / name, participant)
        _group(folder / "group.parquet", folder / "seconds.parquet", participant)
    except pl.exceptions.PolarsError as error:
        msg = f"{folder}: a table cannot be read ({str(error).splitlines()[0]})"
        raise ValueError(msg) from error
    _lines(folder / "events.jsonl", lambda line: wire.erased_event(line) if mark in line else line)
    _lines(folder / "tiles.jsonl", lambda line: _without_tile(line, participant) if mark in line else line)
    _lines(folder / SHEET, lambda line: None if mark in line else line)
    _summary(folder / "summary.json", folder / "seconds.parquet", participant)
    for page in PAGES:
        erase_file(folder / page)
    for figure in {*drawn.NAMES, *compare_drawn.NAMES}:
        for suffix in (".png", ".parquet"):
            erase_file(folder / FIGURES / (figure + suffix))
    return True


def _holds(path: Path, name: bytes) -> bool:
    """Whether a pseudonym stands in a file."""
    if not path.is_file():
        return False
    if path.suffix != ".parquet":
        return name in path.read_bytes()
    try:
        key = "members" if path.name == "group.parquet" else "participant"
        column = pl.read_parquet(path, columns=[key]).to_series()
    except pl.exceptions.PolarsError as error:
        msg = f"{path}: cannot be read ({str(error).splitlines()[0]})"
        raise ValueError(msg) from error
    flat = column.explode() if column.dtype == pl.List else column
    return bool((flat == name.decode()).any())


def _rows_of_others(path: Path, participant: str) -> None:
    if path.is_file():
        _rewrite(path, pl.read_parquet(path).filter(pl.col("participant") != participant))


def _group(path: Path, seconds: Path, participant: str) -> None:
    """Rows in which the participant is a member say what is known of the others."""
    if not path.is_file():
        return
    table = pl.read_parquet(path)
    readings = _readings(seconds)
    rows = [_row(row, readings, participant) for row in table.iter_rows(named=True)]
    changed = pl.DataFrame(rows, schema=table.schema, orient="row")
    sums = changed.select(f"p_{name}" for name in EMOTIONS).cast(pl.Float64).fill_null(np.nan).to_numpy()
    clean = denoise(sums.reshape(-1, len(EMOTIONS)))
    columns = [
        pl.Series(f"denoised_{name}", clean[:, i], dtype=pl.Float64, nan_to_null=True)
        for i, name in enumerate(EMOTIONS)
    ]
    _rewrite(path, changed.with_columns(columns))


def _row(row: dict[str, Any], readings: dict[tuple[int, str], F64], participant: str) -> dict[str, Any]:
    if participant not in row["members"]:
        return row
    others = {key: [who for who in row[key] if who != participant] for key in ("members", "engaged", "excluded")}
    rows = {who: p for who in others["engaged"] if (p := readings.get((row["second"], who))) is not None}
    told: dict[str, Any] = row | others | dict.fromkeys(UNKNOWN) | {"engagement": []}
    total = None
    if row["p_" + EMOTIONS[0]] is not None and len(rows) > 1:
        total = np.sum(list(rows.values()), axis=0)
        total = total / total.sum()
    told |= {f"p_{name}": None if total is None else float(total[i]) for i, name in enumerate(EMOTIONS)}
    told["dominant"] = [] if total is None else list(dominant(total))
    far = {} if total is None else {who: float(np.linalg.norm(p - total)) for who, p in sorted(rows.items())}
    told["deviation"] = [{"participant": who, "value": value} for who, value in far.items()]
    return {key: value for key, value in told.items() if key in row}


def _readings(seconds: Path) -> dict[tuple[int, str], F64]:
    """(7,) of everybody in every second in which they were read."""
    if not seconds.is_file():
        return {}
    table = pl.read_parquet(seconds, columns=["second", "participant", *EMOTIONS]).drop_nulls()
    return {(second, who): np.array(p, dtype=np.float64) for second, who, *p in table.iter_rows()}


def _rewrite(path: Path, table: pl.DataFrame) -> None:
    """With the same metadata as before: purpose, basis and version."""
    metadata = {key: value for key, value in pl.read_parquet_metadata(path).items() if key.startswith("attuned.")}
    buffer = io.BytesIO()
    table.write_parquet(buffer, metadata=metadata)
    rewrite_private(path, buffer.getvalue())


def _lines(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    if path.is_file():
        lines = (change(line) for line in path.read_bytes().splitlines())
        rewrite_private(path, b"".join(line + b"\n" for line in lines if line is not None))


def _without_tile(line: bytes, participant: str) -> bytes:
    told: dict[str, Any] = json.loads(line)
    told["tiles"] = [tile for tile in told["tiles"] if tile["participant"] != participant]
    return json.dumps(told, separators=(",", ":")).encode()


def _summary(path: Path, seconds: Path, participant: str) -> None:
    if not path.is_file():
        return
    told: dict[str, Any] = json.loads(path.read_bytes())
    if "participants" in told:
        told["participants"] = [who for who in told["participants"] if who != participant]
    if "counts" in told and seconds.is_file():
        read = pl.read_parquet(seconds, columns=["top", "abstain"]).drop_nulls("top")
        told["counts"] |= {"readings": read.height, "readings_abstained": int(read["abstain"].sum())}
    told["erased"] = told.get("erased", 0) + 1
    rewrite_private(path, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())
