"""The `attuned` command."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from config.sections import SESSION_NAME, Consent, Purpose, check_purpose
from config.settings import Settings, find_config, load_settings
from daemon.commands import JsonOption, one_line_errors
from daemon.errors import FailedError, SourceError, UnusableInputError
from daemon.evaluate import evaluate_app

if TYPE_CHECKING:
    from daemon.annotate import Annotations

T = TypeVar("T")

PURPOSES = get_args(Purpose)

app = typer.Typer(
    name="attuned",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Reads what the faces and the group in a video call express, second by second.

Try it:  **attuned demo**

Your own recording:  **attuned analyze meeting.mp4 --out out/**

What attuned names are *apparent expressions*, with a confidence and an abstain flag: not what people feel.""",
)
models_app = typer.Typer(no_args_is_help=True, help="The expression models there are.")
config_app = typer.Typer(no_args_is_help=True, help="Check configuration files.")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(models_app, name="models")
app.add_typer(config_app, name="config")

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", help="Settings; default ./attuned.yaml, where there is one.", readable=False),
]
PurposeOption = Annotated[str | None, typer.Option(help=f"Why: {', '.join(PURPOSES)}.")]
ConsentOption = Annotated[
    str | None,
    typer.Option(help="`declared`: everybody agreed beforehand. `required`: nobody is read until they agree."),
]
StartOption = Annotated[
    str | None, typer.Option(help="UTC of the first picture, as 2026-01-31T12:00:00Z; default: what the file says.")
]


AnnotationsOption = Annotated[
    Path | None,
    typer.Option(help="CSV with rater, participant, second, label; see `annotate-template`.", readable=False),
]


def settings_from(path: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings of this command, with logs configured accordingly."""
    from daemon.logs import configure_logs

    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    settings = load_settings(path or find_config(Path.cwd(), home), overrides=overrides)
    configure_logs(level=settings.log.level, style=settings.log.format)
    return settings


def purpose_of(value: str | None, default: str) -> str:
    """A purpose that is allowed."""
    value = value or default
    try:
        check_purpose(value)
    except ValueError as error:
        raise UnusableInputError(str(error)) from error
    if value not in PURPOSES:
        msg = f"--purpose {value}: give one of {', '.join(PURPOSES)}"
        raise UnusableInputError(msg)
    return value


def consent_of(value: str | None, default: Consent = "declared") -> Consent:
    """How consent is given."""
    value = value or default
    if value not in get_args(Consent):
        msg = f"--consent {value}: give `required` or `declared`"
        raise UnusableInputError(msg)
    return cast("Consent", value)


def moment(value: str | None) -> datetime | None:
    """The value of `--start`."""
    from pipeline.wire import parse_time

    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError as error:
        msg = f"--start {value}: give a date and time such as 2026-01-31T12:00:00Z"
        raise UnusableInputError(msg) from error


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Runs the one event loop of a command; SIGTERM and a closed terminal are as good as Ctrl-C."""

    async def until_terminated() -> T:
        task = asyncio.ensure_future(main)
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    try:
        with asyncio.Runner() as runner:
            return runner.run(until_terminated())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def version_wanted(value: bool) -> None:  # noqa: FBT001 (typer's callback)
    """`--version`."""
    if value:
        from daemon.app import attuned_version

        print(f"attuned {attuned_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=version_wanted, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing runs here; commands do."""


@app.command()
@one_line_errors
def demo(
    seconds: Annotated[int, typer.Option(min=10, max=3600, help="Length of the made-up call.")] = 60,
    config: ConfigOption = None,
) -> None:
    """The whole system on a made-up call of four people: nothing to set up, no camera, no account."""
    from daemon.demo.run import run_demo

    run_async(run_demo(settings_from(config), seconds))


def refuse_same_names(videos: list[str]) -> None:
    """Each of several videos gets a folder of its name."""
    names = [Path(video).stem for video in videos]
    shared = sorted({name for name in names if names.count(name) > 1})
    if shared:
        msg = f"videos of the same name would share a folder: {', '.join(shared)}"
        raise UnusableInputError(msg)


def labels_of(path: Path | None, n_recordings: int = 1, option: str = "--annotations") -> "Annotations | None":
    """What raters filled in, if anything was given."""
    from daemon.annotate import read_annotations

    if path is not None and n_recordings > 1:
        msg = (
            f"{option} are of one recording; analyse the videos one by one, or `attuned report DIR --annotations` each"
        )
        raise UnusableInputError(msg)
    return None if path is None else read_annotations(path)


def corrections_of(path: Path | None, *, n_recordings: int, personal: bool) -> "Annotations | None":
    """What personal heads learn from besides the group, if anything was given."""
    if path is not None and not personal:
        msg = "--labels are what personal heads learn from; give --personal as well"
        raise UnusableInputError(msg)
    return labels_of(path, n_recordings, option="--labels")


@app.command()
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
    config: ConfigOption = None,
) -> None:
    """Turn recordings into tables and a report, as fast as the machine can.

    Writes seconds.parquet, group.parquet, events.jsonl, tiles.jsonl, summary.json, report.html and figures/. The same
    recording gives the same bytes. Without a face in it you get coverage 0 and a warning, not an error.
    """
    from daemon.analyze import analyze as analyze_recording
    from daemon.analyze import prepare_folder
    from daemon.app import models_of
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


@app.command()
@one_line_errors
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `attuned analyze` wrote.", readable=False)],
    annotations: AnnotationsOption = None,
) -> None:
    """Make report.html and figures/ again from the tables, without the video: the bytes that analyze wrote."""
    from daemon.report.page import write_report

    print(f"{write_report(folder, annotations=labels_of(annotations))}", file=sys.stderr)


@app.command()
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


@app.command("annotate-template")
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


@app.command()
@one_line_errors
def join(
    url: Annotated[
        str,
        typer.Argument(
            help="`rtsp://…`, `whep+https://…`, `janus+http://host:8088/janus?room=1234`, `whip://` (then push to the "
            "address that is shown), or a video file, which is played in real time."
        ),
    ],
    purpose: PurposeOption = None,
    consent: ConsentOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the session in topics; no person's name.")] = None,
    start: StartOption = None,
    config: ConfigOption = None,
) -> None:
    """Read one call until it ends or Ctrl-C, publish it on MQTT, and show it here.

    On a live call nobody is read before they agree, unless you say `--consent declared`: everybody agreed beforehand.
    """
    from daemon.app import Node
    from daemon.sessions import Plan
    from daemon.sinks.terminal import Screen, TerminalSink
    from daemon.sources.opening import open_recording
    from daemon.sources.urls import kind_of

    settings = settings_from(config)
    is_live = kind_of(url) != "file"
    if is_live and purpose is None:
        msg = f"a live call needs a declared purpose: --purpose with one of {', '.join(PURPOSES)}"
        raise UnusableInputError(msg)
    declared, anchor = purpose_of(purpose, "research"), moment(start)
    agreed = consent_of(consent, "required" if is_live else "declared")
    if name is not None:
        check_name(name)
    # What cannot be opened is told before anything is started.
    recording = None if is_live else open_recording(url)
    number = token_hex(4) if recording is None else recording.fingerprint[:8]
    console = Screen()

    async def main() -> None:
        async with Node(settings) as node:
            console.on_closed = node.stop.set
            console.print(f"broker {node.ready.broker}   metrics {node.ready.http}/metrics", highlight=False)
            with TerminalSink(console, title=name or "call") as terminal:
                plan = Plan(
                    id=name or f"s-{number}",
                    url=url,
                    purpose=declared,
                    consent=agreed,
                    source=settings.source,
                    anchor=anchor,
                    sinks=(terminal,),
                    give_up_s=settings.source.give_up_s,
                )
                if kind_of(url) == "whip":
                    console.print(f"push to {node.ready.http}/whip/{plan.id}", highlight=False)
                await node.run([plan], stay=False)

    with suppress(KeyboardInterrupt):  # before there was anything to end
        run_async(main())


def check_name(name: str) -> None:
    """A session's name stands in topics."""
    if not re.fullmatch(SESSION_NAME, name):
        msg = f"--name {name!r}: letters, digits, dot, dash and underscore, at most 64"
        raise UnusableInputError(msg)


@app.command()
@one_line_errors
def run(config: ConfigOption = None) -> None:
    """The daemon: the sessions of the configuration and of the API, until SIGTERM or Ctrl-C."""
    from daemon.app import Node
    from daemon.sessions import plan_of

    settings = settings_from(config)
    plans = [plan_of(session, settings.source) for session in settings.sessions]

    async def main() -> None:
        async with Node(settings) as node:
            await node.run(plans, stay=True)

    run_async(main())


@app.command()
@one_line_errors
def doctor(config: ConfigOption = None) -> None:
    """What is missing on this machine, and how to fix it."""
    from daemon.doctor import examine

    findings = examine(settings_from(config))
    console = Console()
    for finding in findings:
        mark = "[green]ok  [/green]" if finding.ok else "[red]MISS[/red]" if finding.needed else "[yellow]--  [/yellow]"
        console.print(f"{mark} {finding.what}: {finding.detail}", highlight=False, soft_wrap=True)
    if not all(finding.ok for finding in findings if finding.needed):
        raise typer.Exit(1)


@app.command()
@one_line_errors
def bench(
    seconds: Annotated[int, typer.Option(min=5, max=600, help="Length of the made-up call that is measured.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Throughput and latency of the whole chain against the raw cost of the models, in one run."""
    from daemon.bench import format_bench, run_bench

    result = run_async(run_bench(settings_from(None), seconds))
    print(json.dumps(result, indent=1) if as_json else format_bench(result))


@app.command()
@one_line_errors
def simulate(
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="How many simulated calls of each sort.")] = 20,
    params: Annotated[
        Path | None,
        typer.Option(help="YAML with parameters of the groups; what it leaves out is as shipped.", readable=False),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that simulate; default: as many as there are cores.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What every mechanism of the group engine is worth, on simulated groups whose truth is known.

    Their faces are drawn from what the models said of real ones; see daemon/simulate/params.yaml for everything else.
    """
    from daemon.simulate.command import format_simulation, run_simulation

    result = run_simulation(params, n_seeds=seeds, jobs=jobs or os.cpu_count() or 1)
    print(json.dumps(result, indent=1) if as_json else format_simulation(result))


@app.command("export")
@one_line_errors
def export_history(
    out: Annotated[Path, typer.Argument(help="A folder that is empty or not there yet.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="UTC from which on, such as 2026-01-31T12:00:00Z; default: all there is."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="UTC before which; default: until now.")] = None,
    style: Annotated[str, typer.Option("--format", help="`csv`, `parquet` or `emotionml`.")] = "parquet",
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what the history has: seconds, groups and events. It is kept only where `history.enabled` is set."""
    from daemon.app import state_folder
    from daemon.export import Format, Span, export
    from daemon.sinks.history import FILE
    from pipeline.wire import parse_time

    if style not in get_args(Format):
        msg = f"--format {style}: give one of {', '.join(get_args(Format))}"
        raise UnusableInputError(msg)
    times: dict[str, datetime | None] = {"--from": None, "--to": None}
    for option, value in (("--from", start), ("--to", end)):
        try:
            times[option] = None if value is None else parse_time(value)
        except ValueError as error:
            msg = f"{option} {value}: give a date and time such as 2026-01-31T12:00:00Z"
            raise UnusableInputError(msg) from error
    history = state_folder(settings_from(config)) / FILE
    span = Span(times["--from"], times["--to"], session)
    done = export(history, out, span, cast("Format", style), force=force)
    files = cast("dict[str, int]", done["files"])
    print(json.dumps(done) if as_json else "\n".join(f"{out / name}: {n}" for name, n in files.items()))


@models_app.command("list")
@one_line_errors
def models_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The models that come with attuned, and those that the configuration names."""
    from daemon.catalogue import format_models, list_models

    found = list_models(settings_from(config))
    print(json.dumps({"models": found}, indent=1, ensure_ascii=False) if as_json else format_models(found))


@models_app.command("show")
@one_line_errors
def models_show(
    model: Annotated[
        str, typer.Argument(help="A name that `list` shows, a participant, or the YAML that describes a model.")
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """All that is known of one model, after loading it: file, hash, input and output are as they are said to be."""
    from daemon.catalogue import format_model, show_model, show_person

    is_person = re.fullmatch(r"p-[0-9a-f]{8}", model)
    found = show_person(settings_from(config), model) if is_person else show_model(model)
    print(json.dumps(found, indent=1, ensure_ascii=False) if as_json else format_model(found))


@models_app.command("rollback")
@one_line_errors
def models_rollback(
    participant: Annotated[str, typer.Argument(help="Whose head, such as p-3f2a91c0.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the head that reads a participant back for good; the version before it serves, else the generic one."""
    from daemon.catalogue import roll_back

    done = roll_back(settings_from(config), participant)
    print(json.dumps(done) if as_json else f"{done['participant']}: {done['from']} → {done['to']}")


@models_app.command("forget")
@one_line_errors
def models_forget(
    participant: Annotated[str, typer.Argument(help="Who is to be forgotten, such as p-3f2a91c0.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase all samples, pictures and heads of a participant; this cannot be undone."""
    from daemon.catalogue import forget

    done = forget(settings_from(config), participant)
    print(json.dumps(done) if as_json else f"{done['participant']}: {done['state']}")


@config_app.command("check")
@one_line_errors
def config_check(file: Annotated[Path, typer.Argument(help="A YAML file with settings.")]) -> None:
    """Every mistake in one go, with line and key."""
    from daemon.sessions import plan_of

    settings = load_settings(file)
    for session in settings.sessions:
        plan_of(session, settings.source)
    print(f"{file}: ok")


def main() -> None:
    """Entry point of the console script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us, as some service managers do
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (for good)
    try:
        app()
    except KeyboardInterrupt:
        print("attuned: stopped", file=sys.stderr)
        sys.exit(1)
