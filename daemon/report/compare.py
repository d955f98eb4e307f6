"""`attuned compare`: two analysed recordings of the same event, such as an original and its deepfake (GROUP, section 3).

Made from the two folders alone; the same folders and options give the same bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any, Final

import polars as pl

from daemon.annotate import Annotations, check_fits
from daemon.errors import FailedError, UnusableInputError
from daemon.report.align import align
from daemon.report.compare_drawn import NAMES, compare_pictures
from daemon.report.compare_page import Comparison, Side, comparison_page
from daemon.report.judged import Figure95, judge
from daemon.report.judged_drawn import judged_pictures
from daemon.report.page import name_of, write_page
from daemon.report.paired import compare_pairs
from daemon.report.pictures import Picture, write_pictures
from daemon.report.study import arms_of, cube
from daemon.report.tables import Tables, read_tables

SCHEMA: Final = "attuned/compare/1"


def compare(
    folders: tuple[Path, Path],
    out: Path,
    *,
    offset_s: int | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    annotations: tuple[Annotations | None, Annotations | None] = (None, None),
    force: bool = False,
) -> dict[str, Any]:
    """What `compare.json` says, once `compare.html`, `compare.json` and `figures/` are in `out`.

    Args:
        folders: A and B, as `attuned analyze` left them.
        out: Empty or not there, unless `force`; then what compare wrote there before is replaced.
        offset_s: Second s of A is second s + offset_s of B; found where it is not given.
        pairs: Participants of A and of B who are the same; the others are found.
        annotations: Those for A, which may hold B's participants as well, and those for B.
        force: See `out`.

    Raises:
        UnusableInputError: A folder, a pair or the annotations cannot be used, or nobody can be paired.
        FailedError: The disk does not take it.
    """
    tables = (read_tables(folders[0]), read_tables(folders[1]))
    known = _known_pairs(pairs, *tables)
    labels = _labels(annotations, *tables)
    arms = (arms_of(tables[0]), arms_of(tables[1]))
    if not all(side.participants for side in tables):
        msg = f"{folders[0]} and {folders[1]}: nobody was seen in one of them, so there is nothing to compare"
        raise UnusableInputError(msg)
    shift = tables[1].first - tables[0].first
    alignment = align(cube(tables[0]), cube(tables[1]), shift_s=shift, offset_s=offset_s, given=known)
    paired = compare_pairs(*arms, alignment)
    if not any(paired.n.values()):
        msg = "no two participants share enough seconds in which both were read; give --offset, or --pair with --offset"
        raise UnusableInputError(msg)
    sides = [
        Side(letter, table, arm, judge(label, arm) if label is not None else None)
        for letter, table, arm, label in zip("AB", tables, arms, labels, strict=True)
    ]
    found = Comparison(sides[0], sides[1], alignment, paired)
    pictures = [*compare_pictures(*tables, paired, alignment), *_judged(found)]
    told = _told(found)
    _prepare(out, force=force)
    write_pictures(out, pictures, ours=NAMES)
    write_page(out / "compare.json", json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_page(out / "compare.html", comparison_page(found, pictures))
    return told


def _prepare(out: Path, *, force: bool) -> None:
    """A place for the outputs, after everything that can be wrong with the inputs is known."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not force:
            msg = f"{out}: is not empty; give another folder, or --force to replace what compare wrote there"
            raise UnusableInputError(msg)
    except OSError as error:
        msg = f"{out}: cannot be written ({error.strerror}); give another folder"
        raise FailedError(msg) from error


def _known_pairs(pairs: Sequence[tuple[str, str]], a: Tables, b: Tables) -> dict[int, int]:
    """Numbers of the participants of pairs that were given."""
    known: dict[int, int] = {}
    for first, second in pairs:
        for name, side, letter in ((first, a, "A"), (second, b, "B")):
            if name not in side.participants:
                msg = f"--pair {first}={second}: {letter} has no {name}; it has {', '.join(side.participants[:4])}"
                raise UnusableInputError(msg)
        i, j = a.participants.index(first), b.participants.index(second)
        if i in known or j in known.values():
            msg = f"--pair {first}={second}: one of them is in another pair already; give each participant once"
            raise UnusableInputError(msg)
        known[i] = j
    return known


def _labels(
    annotations: tuple[Annotations | None, Annotations | None], a: Tables, b: Tables
) -> tuple[Annotations | None, Annotations | None]:
    """The annotations of each side; one file may hold both sides', as long as it is clear whose a line is."""
    first, second = annotations
    if second is not None:
        check_fits(second, b)
    if first is None or second is not None:
        if first is not None:
            check_fits(first, a)
        return first, second
    shared = sorted(set(a.participants) & set(b.participants) & set(first.rows["participant"].to_list()))
    if shared:
        msg = f"{first.path}: {shared[0]} is in both recordings; give the labels of B as a file of their own, --annotations-b"
        raise UnusableInputError(msg)
    of_b = pl.col("participant").is_in(list(b.participants))
    split = (replace(first, rows=first.rows.filter(~of_b)), replace(first, rows=first.rows.filter(of_b)))
    for part, side in zip(split, (a, b), strict=True):
        check_fits(part, side)
    return (split[0] if split[0].rows.height else None, split[1] if split[1].rows.height else None)


def _judged(found: Comparison) -> list[Picture]:
    """Pictures of the annotations of each side."""
    return [
        replace(picture, name=f"compare_{picture.name}_{side.letter.lower()}", title=f"{side.letter}: {picture.title}")
        for side in (found.a, found.b)
        if side.judged is not None
        for picture in judged_pictures(side.judged)
    ]


def _told(found: Comparison) -> dict[str, Any]:
    """The figures for programs; null for what is not known."""
    alignment = found.alignment
    return {
        "schema": SCHEMA,
        "recordings": {side.letter.lower(): name_of(side.tables) for side in (found.a, found.b)},
        "purposes": {side.letter.lower(): side.tables.why for side in (found.a, found.b)},
        "offset_s": alignment.offset_s,
        "offset_given": alignment.is_given,
        "offset_clear": alignment.is_clear,
        "offset_rival_s": alignment.rival_s,
        "pairs": [
            {
                "a": found.a.tables.participants[pair.a],
                "b": found.b.tables.participants[pair.b],
                "correlation": _or_none(pair.correlation),
                "seconds": pair.n,
                "given": pair.is_given,
            }
            for pair in alignment.pairs
        ],
        "figures": [_figure(figure) for figure in (*found.paired.diagonal, *found.paired.alike)],
        "annotations": {
            side.letter.lower(): [_figure(figure) for figure in side.judged.figures]
            for side in (found.a, found.b)
            if side.judged is not None
        },
    }


def _figure(figure: Figure95) -> dict[str, Any]:
    """One figure as JSON."""
    low, high = figure.ci95
    interval = None if isnan(low) else [low, high]
    named = {"between": figure.one, "and": figure.other, "figure": figure.figure}
    return named | {"value": _or_none(figure.value), "ci95": interval, "n": figure.n}


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value
