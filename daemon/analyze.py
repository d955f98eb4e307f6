"""`attuned analyze`: recordings → tables and a report, as fast as the machine can."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import CollectorRegistry

from config.settings import Settings
from daemon.annotate import Annotations
from daemon.assembly import (
    make_metrics,
    make_reader,
    make_session,
    recording_info,
)
from daemon.consent import ConsentGate
from daemon.erasure_register import register
from daemon.errors import FailedError, UnusableInputError
from daemon.inference import FaceReader
from daemon.personal_session import PersonalSession
from daemon.personal_setup import make_personal, sheet_of
from daemon.report.drawn import NAMES
from daemon.report.page import write_report
from daemon.report.pictures import remove_pictures
from daemon.session import Session, SessionInfo
from daemon.sinks.features import FILE as FEATURES
from daemon.sinks.features import FeaturesSink
from daemon.sinks.metrics import Metrics
from daemon.sinks.tables import TablesSink
from daemon.sources.file import FileSource, Recording
from daemon.state import state_folder
from daemon.version import attuned_version
from models.loading import ExpressionModels

OUTPUTS = ("seconds.parquet", "group.parquet", "events.jsonl", "tiles.jsonl", "summary.json", "report.html", FEATURES)
SUMMARY = "attuned/summary/1"
SETTINGS = {
    *("analysis", "gallery", "fusion", "changes", "noise", "denoise"),
    *("group", "polarisation", "engagement", "labels"),
}
"""Sections that what is written depends on."""


def prepare_folder(folder: Path, *, force: bool) -> None:
    """Makes an empty place for the outputs.

    Raises:
        UnusableInputError: There is something in it and `force` is not set, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not force:
            msg = f"{folder}: is not empty; give another folder, or --force to replace what analyze wrote there"
            raise UnusableInputError(msg)
        for name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        remove_pictures(folder, ours=NAMES)
    except OSError as error:
        msg = f"{folder}: cannot be written ({error.strerror}); give another folder"
        raise UnusableInputError(msg) from error


async def analyze(
    recording: Recording,
    folder: Path,
    *,
    settings: Settings,
    models: ExpressionModels,
    purpose: str,
    anchor: datetime | None,
    seed: str | None,
    on_frame: Callable[[float], None],
    annotations: Annotations | None = None,
    personal: bool = False,
    labels: Annotations | None = None,
    features: bool = False,
) -> dict[str, Any]:
    """Writes the outputs of one recording into an empty folder and returns the summary.

    Whatever ends it early, what was read is kept, and the summary says that it is partial.

    Args (the less obvious):
        personal: Whether heads are trained on the way; they and the samples are gone at the end. The second that sets a
            training off waits for it, so that the head reads from a second on that does not depend on the machine.
        labels: Corrections, each given when its second closes.
        features: Whether `features.parquet` is written.

    Raises:
        FailedError: The disk does not take it.
        UnusableInputError: The annotations do not fit what was found; everything is written, the report without them.
    """
    info = recording_info(settings, recording, models, purpose=purpose, anchor=anchor, seed=seed)
    if info.group_only and (features or personal):
        msg = "privacy.group_only: nothing of individuals is kept, so that --personal and --features cannot be done"
        raise UnusableInputError(msg)
    metrics = make_metrics(settings, models, CollectorRegistry())
    # Before anything is written, so that nobody in it is ever out of reach.
    register(state_folder(settings), "analysis", folder)
    try:
        # Until it is done it is partial, also for whoever finds it after a power cut.
        _write_json(folder / "summary.json", {"schema": SUMMARY, "partial": True, "reason": "still being written"})
        source = FileSource(recording, rate_hz=settings.analysis.rate_hz)
        why = {"attuned.purpose": purpose, "attuned.basis": info.basis}
        metadata = {"attuned.version": attuned_version()} | why
        tables = TablesSink(folder, metadata=metadata)
        session = faces = None
        try:
            async with (
                make_reader(settings, models, metrics) as reader,
                source,
                _personal(settings, models, metrics, info, reader, labels, wanted=personal) as learning,
            ):
                if features:
                    faces = FeaturesSink(folder, learning, metadata=metadata)
                    reader.personalise(info.id)
                session = make_session(
                    settings,
                    info=info,
                    models=models,
                    source=source,
                    reader=reader,
                    sinks=(tables,),
                    observe=metrics,
                    consent=ConsentGate("declared"),
                    paced=False,
                    personal=faces or learning,
                )
                await session.run(on_frame)
        finally:
            tables.close()
            if faces is not None:
                faces.close()
            if session is not None:
                summary = _summary(settings, models, session=session, source=source, tables=tables)
                if faces is not None and faces.n_dropped:
                    summary["warnings"].append(f"{faces.n_dropped} seconds of people were too many for {FEATURES}")
                if personal:
                    summary["settings"] |= settings.model_dump(mode="json", include={"personal"})
                _write_json(folder / "summary.json", summary)
                try:
                    unfit = _report(folder, annotations)
                except FailedError as error:
                    _write_json(folder / "summary.json", summary | {"partial": True, "reason": str(error)})
                    raise
    except OSError as error:
        msg = f"{folder}: cannot be written ({error.strerror}); what was written is kept and incomplete"
        raise FailedError(msg) from error
    # Told when all is written, and never instead of what ended it early.
    if unfit is not None:
        raise unfit
    return summary


@asynccontextmanager
async def _personal(
    settings: Settings,
    models: ExpressionModels,
    metrics: Metrics,
    info: SessionInfo,
    reader: FaceReader,
    labels: Annotations | None,
    *,
    wanted: bool,
) -> AsyncIterator[PersonalSession | None]:
    """What learns during the analysis, where it is wanted."""
    if not wanted:
        yield None
        return
    with TemporaryDirectory(prefix="attuned-") as folder:
        async with make_personal(settings, models, Path(folder) / "personal", metrics, waits=True) as owner:
            # No task group: it would wrap what ends the analysis. If this fails, the session hears of it and ends.
            training = asyncio.ensure_future(owner.run())
            reader.personalise(info.id)
            try:
                async with PersonalSession(
                    owner,
                    info=info,
                    is_stable=lambda _: False,
                    set_head=partial(reader.set_head, info.id),
                    sheet={} if labels is None else sheet_of(labels),
                ) as session:
                    yield session
            finally:
                training.cancel()
                await asyncio.wait([training])


def _report(folder: Path, annotations: Annotations | None) -> UnusableInputError | None:
    """Writes the report, without the annotations where they do not fit; what is wrong with them."""
    try:
        write_report(folder, annotations=annotations)
    except UnusableInputError as error:
        if annotations is None:
            raise
        write_report(folder)
        return error
    return None


def _summary(
    settings: Settings,
    models: ExpressionModels,
    *,
    session: Session,
    source: FileSource,
    tables: TablesSink,
) -> dict[str, Any]:
    """What `summary.json` says; nothing in it depends on when or how fast it was made."""
    counts, tally, recording = session.counts, source.tally, source.recording
    warnings = []
    if not counts.faces:
        warnings.append("no face was found in this recording")
    if tally.n_broken:
        warnings.append(f"{tally.n_broken} pictures could not be decoded and were left out")
    if tally.n_jumps:
        warnings.append(f"timestamps were set anew {tally.n_jumps} times; time was counted on from there")
    return {
        "schema": SUMMARY,
        "version": attuned_version(),
        "libraries": {name: version(name) for name in ("av", "mediapipe", "numpy", "onnxruntime")},
        "purpose": session.info.purpose,
        "basis": session.info.basis,
        "group_only": session.info.group_only,
        "recording": {
            "fingerprint": recording.fingerprint,
            "duration_s": round(tally.end_s, 3),
            "width": recording.width,
            "height": recording.height,
            "fps": round(recording.fps, 3),
            "codec": recording.codec,
            "anchor": session.info.stamp.ts(0.0),
        },
        "session": session.info.id,
        "participants": tables.participants,
        "seconds": counts.seconds,
        "counts": {
            "pictures_decoded": tally.n_decoded,
            "pictures_broken": tally.n_broken,
            "pictures_out_of_order": tally.n_out_of_order,
            "timestamp_jumps": tally.n_jumps,
            "frames_analysed": counts.frames,
            "faces_analysed": counts.faces,
            "readings": tables.n_readings,
            "readings_abstained": tables.n_abstained,
        },
        "models": {
            arm: {"version": model.version, "sha256": model.sha256}
            for arm, model in (("pixel", models.pixel), ("landmark", models.landmark))
        },
        "settings": settings.model_dump(mode="json", include=SETTINGS),
        "partial": session.problem is not None,
        "reason": session.problem,
        "warnings": warnings,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON file, atomically."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
