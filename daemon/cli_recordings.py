"""`attuned analyze` and what works on the folders that it writes: reports, comparisons, sheets for people to fill in."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from daemon.commands import (
    AnnotationsOption,
    ConfigOption,
    ConsentOption,
    JsonOption,
    PurposeOption,
    StartOption,
    consent_of,
    labels_of,
    moment,
    one_line_errors,
    purpose_of,
    run_async,
    settings_from,
)
from daemon.errors import FailedError, SourceError, UnusableInputError

if TYPE_CHECKING:
    from daemon.annotate import Annotations

recordings_app = typer.Typer()


@recordings_app.command()
@one_line_errors
def analyze(
    videos: Annotated[list[str], typer.Argument(help="Recordings; any container and codec that FFmpeg reads.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the outputs; several videos get a folder each.", readable=False)
    ],
    purpose: PurposeOption = None,
    consent: ConsentOption = None,
    start: StartOption = None,
    seed: Annotated[str | None, typer.Option(help="Makes the pseudonyms; default: the recording itself.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what analyze wrote into the folder before.")] = False,
    annotations: AnnotationsOption = None,
    personal: Annotated[
        bool, typer.Option("--personal", help="Learn from each face on the way, and read it by its own head then.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Corrections to learn from, a CSV like that of --annotations; with --personal.", readable=False
        ),
    ] = None,
    features: Annotated[
        bool,
        typer.Option(
            "--features", help="Also features.parquet, each face as numbers: what `attuned label` chooses by."
        ),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Turn recordings into tables and a report, as fast as the machine can.

    Writes seconds.parquet, group.parquet, events.jsonl, tiles.jsonl, summary.json, report.html and figures/. The same
    recording gives the same bytes. Without a face in it you get coverage 0 and a warning, not an error.
    """
    from daemon.analyze import analyze as analyze_recording
    from daemon.analyze import prepare_folder
    from daemon.assembly import models_of
    from daemon.sources.opening import open_recording

    settings = settings_from(config)
    declared, anchor = purpose_of(purpose, "research"), moment(start)
    if consent_of(consent) == "required":
        msg = "--consent required: nobody in a recording can agree any more; `declared` says that everybody did"
        raise UnusableInputError(msg)
    refuse_same_names(videos)
    truth = labels_of(annotations, n_recordings=len(videos))
    corrections = corrections_of(labels, n_recordings=len(videos), personal=personal)
    recordings = [open_recording(video) for video in videos]
    models = models_of(settings)
    # Nothing of an earlier run is touched before all that is needed for this one is known to be good.
    work = [(recording, out if len(videos) == 1 else out / recording.path.stem) for recording in recordings]
    for _, folder in work:
        prepare_folder(folder, force=force)
    console = Console(stderr=True)
    partial, unreadable = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        for recording, folder in work:
            task = progress.add_task(recording.path.name, total=recording.duration_s, state="")

            def on_frame(time_s: float, task: Any = task, total: float | None = recording.duration_s) -> None:  # noqa: ANN401
                length = f" of {total:.0f}" if total else ""
                progress.update(task, completed=time_s, state=f"{time_s:.0f}{length} s")

            summary = run_async(
                analyze_recording(
                    recording,
                    folder,
                    settings=settings,
                    models=models,
                    purpose=declared,
                    anchor=anchor,
                    seed=seed,
                    on_frame=on_frame,
                    annotations=truth,
                    personal=personal,
                    labels=corrections,
                    features=features,
                )
            )
            progress.update(
                task, total=summary["recording"]["duration_s"], completed=summary["recording"]["duration_s"]
            )
            if not summary["counts"]["pictures_decoded"]:
                unreadable.append(
                    f"{recording.path}: no picture in it can be decoded; record it again or copy it again"
                )
                continue
            for warning in summary["warnings"]:
                progress.console.print(
                    f"attuned: warning: {recording.path}: {warning}", highlight=False, soft_wrap=True
                )
            if summary["partial"]:
                partial.append(f"{recording.path}: {summary['reason']}; the part before is in {folder}")
            else:
                n, faces = len(summary["participants"]), summary["counts"]["faces_analysed"]
                told = f"{n} participant{'' if n == 1 else 's'}, {summary['seconds']} s, {faces} faces"
                line = f"{recording.path.name}: {told} → {folder}/report.html"
                progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
    if partial:
        raise FailedError("\n".join([*partial, *unreadable]))
    if unreadable:
        raise SourceError("\n".join(unreadable))


@recordings_app.command()
@one_line_errors
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `attuned analyze` wrote.", readable=False)],
    annotations: AnnotationsOption = None,
) -> None:
    """Make report.html and figures/ again from the tables, without the video: the bytes that analyze wrote."""
    from daemon.report.page import write_report

    print(f"{write_report(folder, annotations=labels_of(annotations))}", file=sys.stderr)


@recordings_app.command()
@one_line_errors
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A folder of `attuned analyze`.", readable=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one of the same event.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for compare.html, compare.json and figures/.", readable=False)],
    offset: Annotated[
        int | None, typer.Option(help="Second s of A is second s + OFFSET of B; default: found from the expressions.")
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="p-…=p-…: who of A is who of B; can be repeated; default: found.")
    ] = None,
    annotations: AnnotationsOption = None,
    annotations_b: Annotated[
        Path | None,
        typer.Option(
            help="Labels of B, where A and B use the same pseudonyms; else one file holds both.", readable=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what compare wrote into the folder before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Two analysed recordings of one event, aligned in time: an original and its deepfake, two cameras, two models."""
    from daemon.report.compare import compare as compare_folders

    pairs = [tuple(names.split("=")) for names in pair or []]
    if not all(len(names) == 2 and all(names) for names in pairs):  # noqa: PLR2004 (a pair)
        msg = f"--pair {next(n for n in pair or [] if n.count('=') != 1 or not all(n.split('=')))}: give p-…=p-…"
        raise UnusableInputError(msg)
    told = compare_folders(
        (first, second),
        out,
        offset_s=offset,
        pairs=cast("list[tuple[str, str]]", pairs),
        annotations=(labels_of(annotations), labels_of(annotations_b)),
        force=force,
    )
    if not told["offset_clear"]:
        print("attuned: warning: the offset is not clear from the data; give --offset if you know it", file=sys.stderr)
    if as_json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        found = f"offset {told['offset_s']:+d} s, {len(told['pairs'])} pairs"
        print(f"{found} → {out}/compare.html", file=sys.stderr)


@recordings_app.command("annotate-template")
@one_line_errors
def annotate_template(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `attuned analyze` wrote.", readable=False)],
    raters: Annotated[str, typer.Option(help="Names or numbers of those who will label, separated by commas.")] = (
        "rater-1,rater-2,rater-3"
    ),
    every: Annotated[int, typer.Option(min=1, max=3600, help="Label every N-th second.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="The CSV file; default DIR/annotations.csv. Never overwritten.", readable=False)
    ] = None,
) -> None:
    """Write an empty table for human raters: a line for each rater, participant and second of the recording."""
    from daemon.annotate import write_template
    from daemon.report.tables import read_tables

    path = out or folder / "annotations.csv"
    n = write_template(read_tables(folder), path, raters=[name.strip() for name in raters.split(",")], every=every)
    print(f"{path}: {n} lines to label; leave out what you cannot tell", file=sys.stderr)


def refuse_same_names(videos: list[str]) -> None:
    """Each of several videos gets a folder of its name."""
    names = [Path(video).stem for video in videos]
    shared = sorted({name for name in names if names.count(name) > 1})
    if shared:
        msg = f"videos of the same name would share a folder: {', '.join(shared)}"
        raise UnusableInputError(msg)


def corrections_of(path: Path | None, *, n_recordings: int, personal: bool) -> "Annotations | None":
    """What personal heads learn from besides the group, if anything was given."""
    if path is not None and not personal:
        msg = "--labels are what personal heads learn from; give --personal as well"
        raise UnusableInputError(msg)
    return labels_of(path, n_recordings, option="--labels")
