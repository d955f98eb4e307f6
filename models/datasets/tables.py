"""Comma-separated tables: the named columns of every row, and the line each row ends on."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from models.errors import DataError

_LONGEST_HEADER: Final = 1 << 16


def header_of(path: Path) -> tuple[str, ...]:
    """The fields of the first line without the spaces around them; none where the file is no text.

    Raises:
        DataError: The file cannot be opened.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
    except (UnicodeDecodeError, csv.Error):
        return ()
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    return tuple(field.strip() for field in first)


def rows_of(
    path: Path, columns: Sequence[str], *, header: Sequence[str] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Line number and the fields of `columns`, in that order, of every row that is not blank.

    `header` names the columns of a file whose first line is a row already. Further columns are not looked at.

    Raises:
        DataError: The file cannot be read as UTF-8 text, a column is missing or named twice, or a row is too short.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])] if header is None else list(header)
            wrong = [column for column in columns if names.count(column) != 1]
            if wrong:
                msg = f"{path}: expected the columns {', '.join(columns)}, each once; look at {', '.join(wrong)}"
                raise DataError(msg)
            places = [names.index(column) for column in columns]
            for row in reader:
                if not row:
                    continue
                if len(row) <= max(places):
                    msg = f"{path}, line {reader.line_num}: expected {len(names)} fields, found {len(row)}"
                    raise DataError(msg)
                yield reader.line_num, [row[place].strip() for place in places]
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text") from None
    except csv.Error as error:
        raise _unreadable(path, f"line {reader.line_num}, {error}") from None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None


def whole_number(path: Path, line: int, name: str, text: str, largest: int) -> int:
    """The number from 0 to `largest` that `text` is.

    Raises:
        DataError: It is none.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(largest)) else -1
    if not 0 <= number <= largest:
        msg = f"{path}, line {line}: expected {name} from 0 to {largest}, found {text[:40]!r}"
        raise DataError(msg)
    return number


def _unreadable(path: Path, reason: str | None) -> DataError:
    return DataError(f"{path}: not a readable table ({reason}); give a comma-separated file")
