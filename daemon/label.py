"""`attuned label`: which seconds of a recording a person should be asked about, as a sheet; and the answers as samples.

The sheet is one of `daemon.annotate`, with further columns: what `analyze --labels`, `analyze --annotations` and `report
--annotations` read. There is no picture in it: whoever fills it in watches the recording.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from config.settings import Settings
from daemon.annotate import Annotations, check_fits
from daemon.catalogue import basis_of
from daemon.errors import FailedError, UnusableInputError
from daemon.personal_setup import sheet_of
from daemon.report.tables import Tables
from daemon.sinks.features import read_features, samples_of
from daemon.state import state_folder
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features
from models.personal.heads import generic_arms
from models.personal.people import People
from models.personal.selection import Method, gsy, order_of, random_order
from models.personal.trigger import TriggerSettings, why_not_yet
from pipeline.emotions import EMOTIONS, F64
from pipeline.metrics import I64
from pipeline.wire import EPOCH, parse_time

COLUMNS: Final = ("rater", "participant", "second", "label", "time", "where", "both", "confidence", "pixel", "landmark")
N_BLIND: Final = 6
"""Columns before those that say what the models said."""
MAX_CANDIDATES: Final = 2000
"""Seconds of a participant that are compared, evenly spread; greedy selection compares each with each."""
WITHOUT_FEATURES: Final[tuple[Method, ...]] = ("random", "gsy")
"""Methods that need nothing but the tables."""
SEED: Final = 20261121


def choose(
    folder: Path, tables: Tables, settings: Settings, *, method: Method | None, n: int, apart_s: int
) -> tuple[Method, dict[str, list[int]]]:
    """The method that was used, and for each participant up to `n` seconds worth asking about, in order of time.

    method: None: `gsx`, and `gsy` where the folder has no features. apart_s: chosen seconds of a person lie at least so
    far from each other, for neighbours show the same.

    Raises:
        ModelError: The models' heads are missing.
        UnusableInputError: The method needs features; or they are of other models.
    """
    features = read_features(folder)
    if features is None and method not in {None, *WITHOUT_FEATURES}:
        known = ", ".join(WITHOUT_FEATURES)
        msg = f"--method {method} needs features: analyse the recording with --features, or choose from {known}"
        raise UnusableInputError(msg)
    used: Method = method or ("gsy" if features is None else "gsx")
    if features is not None and used not in WITHOUT_FEATURES:
        check_basis(folder, tables, basis_of(settings))
    chosen = {}
    for participant in tables.participants:
        rows = tables.of(participant).drop_nulls(EMOTIONS)
        if features is not None:
            rows = rows.join(features.filter(pl.col("participant") == participant).select("second"), on="second")
        rows = rows.gather_every(max(1, -(-rows.height // MAX_CANDIDATES)))
        if rows.height:
            order = _order(used, participant, rows, features, settings)
            chosen[participant] = _spread(rows["second"].to_numpy()[order], n=n, apart_s=apart_s)
    return used, chosen


def _order(
    method: Method, participant: str, rows: pl.DataFrame, features: pl.DataFrame | None, settings: Settings
) -> I64:
    """Rows in the order in which the method takes them."""
    if method == "random":
        return random_order(rows.height, seed=SEED)
    if method == "gsy":
        return gsy(_arms(rows))
    if features is None:
        msg = f"{method}: expected features, found none"
        raise ValueError(msg)
    own = features.filter(pl.col("participant") == participant).join(rows.select("second"), on="second", how="semi")
    return order_of(method, samples_of(own), generic_arms(settings.models.pixel, settings.models.landmark), seed=SEED)


def _arms(rows: pl.DataFrame) -> F64:
    """(n, 14) what both models said, each alone; where there was no mesh, the pixel model for both."""
    pixel = rows.select(f"pixel_{name}" for name in EMOTIONS).to_numpy()
    landmark = rows.select(f"landmark_{name}" for name in EMOTIONS).fill_null(np.nan).to_numpy()
    return np.concatenate([pixel, np.where(np.isfinite(landmark), landmark, pixel)], axis=1)


def _spread(seconds: I64, *, n: int, apart_s: int) -> list[int]:
    """The first n of them that are not too close to one before."""
    taken: list[int] = []
    for second in seconds.tolist():
        if len(taken) == n:
            break
        if all(abs(second - other) >= apart_s for other in taken):
            taken.append(second)
    return sorted(taken)


def write_sheet(
    tables: Tables, chosen: Mapping[str, Sequence[int]], path: Path, *, rater: str, blind: bool = False
) -> int:
    """How many lines there are to fill in. `blind`: without what the models said, which may lead who labels.

    Raises:
        UnusableInputError: There is a file already, which might hold somebody's work; or nothing to label.
        FailedError: It cannot be written.
    """
    lines = [
        (
            rater,
            participant,
            second,
            "",
            _clock(second),
            _where(tables, participant),
            *_said(tables, participant, second),
        )
        for participant, seconds in chosen.items()
        for second in seconds
    ]
    if not lines:
        msg = f"{path}: not written, for no face was read in this recording"
        raise UnusableInputError(msg)
    n_columns = N_BLIND if blind else len(COLUMNS)
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS[:n_columns])
            writer.writerows(line[:n_columns] for line in lines)
    except FileExistsError as error:
        msg = f"{path}: is there already and may hold labels, so it is left alone; give another name with --out"
        raise UnusableInputError(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be written ({error.strerror}); give another place with --out"
        raise FailedError(msg) from error
    return len(lines)


def _said(tables: Tables, participant: str, second: int) -> tuple[str, str, str, str]:
    """What both models together and each alone named in a second, and how sure both were."""
    row = tables.of(participant).row(by_predicate=pl.col("second") == second, named=True)

    def top(prefix: str) -> str:
        values = [row[prefix + name] for name in EMOTIONS]
        return "" if None in values else EMOTIONS[int(np.argmax(values))]

    return str(row["top"]), f"{row['confidence']:.2f}", top("pixel_"), top("landmark_")


def _where(tables: Tables, participant: str) -> str:
    """Where the person was when first seen, so that one knows whom to watch."""
    layout = dict(tables.layouts.get(participant, ()))
    recording: Mapping[str, Any] = tables.summary.get("recording") or {}
    width, height = recording.get("width"), recording.get("height")
    if participant not in layout or not width or not height:
        return ""
    x0, y0, x1, y1 = layout[participant]
    return f"{50 * (x0 + x1) / width:.0f} % from the left, {50 * (y0 + y1) / height:.0f} % from the top"


def _clock(second: int) -> str:
    """h:mm:ss from the beginning of the recording, as players show it."""
    return f"{second // 3600}:{second // 60 % 60:02d}:{second % 60:02d}"


@dataclass(frozen=True, slots=True)
class Read:
    """What became of a sheet, for one participant.

    kept: seconds by class; without_face: labelled seconds in which no face was read. missing: for a training, in words.
    """

    participant: str
    kept: Mapping[str, int]
    without_face: int
    missing: str | None


def keep_labels(
    folder: Path, tables: Tables, annotations: Annotations, settings: Settings, *, known_as: Mapping[str, str]
) -> list[Read]:
    """Makes samples of a sheet that was filled in.

    known_as: a participant of the recording, and the pseudonym by which sessions know this person.

    Raises:
        FailedError: The disk refuses.
        UnusableInputError: The sheet does not fit, or the recording has no features or no date.
    """
    check_fits(annotations, tables)
    strange = [who for who in known_as if who not in tables.participants]
    if strange:
        msg = f"--as {strange[0]}: is not in this recording; it has {', '.join(tables.participants)}"
        raise UnusableInputError(msg)
    features = read_features(folder)
    if features is None:
        msg = f"{folder}: was analysed without --features, so there is nothing to make samples of; analyse it with it"
        raise UnusableInputError(msg)
    basis = basis_of(settings)
    check_basis(folder, tables, basis)
    start_s = _start_s(folder, tables)
    labels = sheet_of(annotations)
    done = []
    for who, participant in known_as.items():
        own = samples_of(features.filter(pl.col("participant") == who))
        rows = {int(time_s): at for at, time_s in enumerate(own.time_s)}
        kept: Counter[str] = Counter()
        without = 0
        try:
            with _buffer(settings, participant, basis) as buffer:
                for (labelled, second), label in labels.items():
                    at = rows.get(second)
                    if labelled != who:
                        continue
                    if at is None:
                        without += 1
                        continue
                    face = Features(own.pixel[at], own.landmark[at], own.interpretable[at], float(own.quality[at]))
                    buffer.add(start_s + second, face, label)
                    kept[EMOTIONS[int(label.target.argmax())]] += 1
                counts = buffer.counts(settings.personal.gate.block_s)
        except OSError as error:
            raise FailedError(str(error)) from error
        trigger = TriggerSettings(**settings.personal.trigger.model_dump())
        missing = why_not_yet(counts, counts.human, trigger)
        done.append(Read(participant, {name: kept[name] for name in EMOTIONS if kept[name]}, without, missing))
    return done


def check_basis(folder: Path, tables: Tables, basis: Basis) -> None:
    """Nothing, where the recording was analysed with these models.

    Raises:
        UnusableInputError: It was not.
    """
    models: Mapping[str, Any] = tables.summary.get("models") or {}
    hashes = tuple((models.get(arm) or {}).get("sha256") for arm in ("pixel", "landmark"))
    if hashes != (basis.pixel_sha256, basis.landmark_sha256):
        msg = f"{folder}: was analysed with other expression models than are configured; analyse the recording again"
        raise UnusableInputError(msg)


def _start_s(folder: Path, tables: Tables) -> float:
    """UTC of the recording's first picture, by which samples of several recordings are told apart."""
    text = (tables.summary.get("recording") or {}).get("anchor")
    try:
        start = parse_time(str(text))
    except ValueError:
        start = EPOCH
    if start == EPOCH:
        msg = f"{folder}: does not say when the recording was made; analyse it again with --start"
        raise UnusableInputError(msg)
    return start.timestamp()


def _buffer(settings: Settings, participant: str, basis: Basis) -> Buffer:
    """The samples of somebody."""
    section = settings.personal
    folder = People(state_folder(settings) / "personal").folder(participant)
    return Buffer(folder, basis=basis, max_samples=section.max_samples, keep_days=section.keep_days)
