"""Human annotations: an empty table for raters to fill in, and the filled one read back.

A CSV file with a line per rater, participant and second: `rater,participant,second,label`. The label is one of the seven
classes; a line without one was not labelled and counts for nothing. Further columns are left alone.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from daemon.errors import FailedError, UnusableInputError
from daemon.report.tables import Tables
from pipeline.emotions import EMOTIONS

COLUMNS: Final = ("rater", "participant", "second", "label")
RATERS: Final = ("rater-1", "rater-2", "rater-3")
"""Three, as in GROUP, section 3; raters need no names either."""
MAX_RATERS: Final = 20
MAX_SECOND: Final = 2**40
SCHEMA: Final[dict[str, Any]] = {
    "line": pl.Int64,
    "rater": pl.String,
    "participant": pl.String,
    "second": pl.Int64,
    "label": pl.Int8,
}


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """A filled-in table: `rows` of `SCHEMA`, labels as numbers in `EMOTIONS` order; raters in order of appearance."""

    path: Path
    rows: pl.DataFrame
    n_empty: int

    @property
    def raters(self) -> tuple[str, ...]:
        """Who labelled anything."""
        return tuple(self.rows["rater"].unique(maintain_order=True).to_list())


def write_template(tables: Tables, path: Path, *, raters: Sequence[str] = RATERS, every: int = 1) -> int:
    """How many empty lines were written: every `every`-th second in which a participant was in the call, per rater.

    Raises:
        UnusableInputError: There is a file already, which might hold somebody's work; or there is nothing to label.
        FailedError: It cannot be written.
    """
    if not 0 < len(raters) <= MAX_RATERS or len(set(raters)) < len(raters) or not all(map(str.strip, raters)):
        msg = f"--raters {','.join(raters)}: give 1 to {MAX_RATERS} different names, separated by commas"
        raise UnusableInputError(msg)
    due = (tables.seconds["second"] - tables.first) % every == 0
    rows = tables.seconds.filter(due).select("participant", "second")
    if not rows.height:
        msg = f"{path}: not written, for there is no participant to label in these tables"
        raise UnusableInputError(msg)
    order = {participant: number for number, participant in enumerate(tables.participants)}
    wanted = sorted(rows.iter_rows(), key=lambda row: (order[row[0]], row[1]))
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except FileExistsError as error:
        msg = f"{path}: is there already and may hold labels, so it is left alone; give another name with --out"
        raise UnusableInputError(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be written ({error.strerror}); give another place with --out"
        raise UnusableInputError(msg) from error
    try:
        with file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for rater in raters:
                writer.writerows((rater, participant, second, "") for participant, second in wanted)
    except OSError as error:
        path.unlink(missing_ok=True)
        msg = f"{path}: cannot be written ({error.strerror}); give another place with --out"
        raise FailedError(msg) from error
    return len(raters) * len(wanted)


def read_annotations(path: Path) -> Annotations:
    """What raters filled in; whether it fits a recording is for `check_fits` to say.

    Raises:
        UnusableInputError: It is no such table; the line is named.
    """
    rows: list[tuple[int, str, str, int, int]] = []
    n_empty = 0
    try:
        # Spreadsheets begin UTF-8 with a mark of their own.
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _lines(path, file):
                label = _label(path, line, row["label"])
                rater, participant = (row[name].strip() for name in ("rater", "participant"))
                if not rater or not participant:
                    msg = "names no rater or no participant; fill in both"
                    raise _bad(path, line, msg)
                entry = (line, rater, participant, _second(path, line, row["second"]), label)
                n_empty += label < 0
                rows.append(entry)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); give a CSV file with {', '.join(COLUMNS)}"
        raise UnusableInputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 text; save it as CSV in UTF-8"
        raise UnusableInputError(msg) from error
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    _refuse_twice(path, table)
    labelled = table.filter(pl.col("label") >= 0)
    if not labelled.height:
        msg = f"{path}: holds no label; write one of {', '.join(EMOTIONS)} into the column label"
        raise UnusableInputError(msg)
    if labelled["rater"].n_unique() > MAX_RATERS:
        msg = f"{path}: has more than {MAX_RATERS} raters; is the column rater right?"
        raise UnusableInputError(msg)
    return Annotations(path, labelled, n_empty)


def check_fits(annotations: Annotations, tables: Tables) -> None:
    """Nothing, where every line speaks of a participant and a second of these tables.

    Raises:
        UnusableInputError: It does not; the first such line is named.
    """
    strange = annotations.rows.filter(~pl.col("participant").is_in(list(tables.participants)))
    first, last = tables.first, tables.first + tables.n_seconds - 1
    outside = annotations.rows.filter(~pl.col("second").is_between(first, last))
    for row in strange.head(1).iter_rows(named=True):
        named = ", ".join(tables.participants[:4]) + (", …" if len(tables.participants) > 4 else "")  # noqa: PLR2004
        msg = f"participant {row['participant']} is not in this recording; it has {named or 'none'}"
        raise _bad(annotations.path, row["line"], msg)
    for row in outside.head(1).iter_rows(named=True):
        msg = f"second {row['second']} is outside of the recording; give {first} to {last}"
        raise _bad(annotations.path, row["line"], msg)


def _lines(path: Path, file: Iterator[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells of each line below the first, which names the columns."""
    head = next(file, "")
    delimiter = ";" if head.count(";") > head.count(",") else ","  # what spreadsheets write in half of Europe
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        msg = f"column {missing[0]} is missing; the first line must be {','.join(COLUMNS)}"
        raise _bad(path, 1, msg)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    places = {name: names.index(name) for name in COLUMNS}
    while True:
        line = reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _bad(path, line, f"is not CSV ({error}); save the table as CSV again") from error
        if cells is None:
            return
        if not any(cells):
            continue
        if len(cells) <= max(places.values()):
            msg = f"has {len(cells)} cells of {len(names)}; fill in {','.join(COLUMNS)}"
            raise _bad(path, line, msg)
        yield line, {name: cells[place] for name, place in places.items()}


def _label(path: Path, line: int, text: str) -> int:
    """Number of a class, -1 for an empty cell."""
    label = text.strip().lower()
    if not label:
        return -1
    if label not in EMOTIONS:
        msg = f"label {text.strip()[:40]!r} is none of {', '.join(EMOTIONS)}; write one of them, or nothing"
        raise _bad(path, line, msg)
    return EMOTIONS.index(label)


def _second(path: Path, line: int, text: str) -> int:
    """A whole number."""
    try:
        second = int(text)
    except ValueError as error:
        raise _bad(path, line, f"second {text.strip()[:40]!r} is no whole number; give one") from error
    if abs(second) > MAX_SECOND:
        raise _bad(path, line, "second is far outside of any recording; give one of its seconds")
    return second


def _refuse_twice(path: Path, table: pl.DataFrame) -> None:
    """A rater has one opinion of a participant in a second."""
    key = ["rater", "participant", "second"]
    again = table.filter(~pl.struct(key).is_first_distinct()).head(1)
    for row in again.iter_rows(named=True):
        same = table.filter(*(pl.col(name) == row[name] for name in key))["line"][0]
        what = f"rater {row['rater']} has labelled {row['participant']} in second {row['second']}"
        raise _bad(path, row["line"], f"{what} on line {same} already; keep one of them")


def _bad(path: Path, line: int, what: str) -> UnusableInputError:
    """One line that says where and what to do."""
    return UnusableInputError(f"{path}:{line}: {what}")
