"""`attuned doctor`, `bench`, `simulate`, `export` and `config check`: what is not about one call."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console

from config.settings import load_settings
from daemon.commands import ConfigOption, JsonOption, one_line_errors, run_async, settings_from
from daemon.errors import UnusableInputError

tools_app = typer.Typer()
config_app = typer.Typer(no_args_is_help=True, help="Check configuration files.")


@tools_app.command()
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


@tools_app.command()
@one_line_errors
def bench(
    seconds: Annotated[int, typer.Option(min=5, max=600, help="Length of the made-up call that is measured.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Throughput and latency of the whole chain against the raw cost of the models, in one run."""
    from daemon.bench import format_bench, run_bench

    result = run_async(run_bench(settings_from(None), seconds))
    print(json.dumps(result, indent=1) if as_json else format_bench(result))


@tools_app.command()
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
    personal: Annotated[
        bool,
        typer.Option("--personal", help="What personal heads are worth, instead: with good labels and wrong ones."),
    ] = False,
    minutes: Annotated[
        int | None,
        typer.Option(min=10, max=600, help="Length of a call of --personal; its later half is judged. [default: 30]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What every mechanism of the group engine is worth, on simulated groups whose truth is known.

    Their faces are drawn from what the models said of real ones; see daemon/simulate/params.yaml for everything else.
    """
    from daemon.simulate.command import format_simulation, run_simulation
    from daemon.simulate.personal import SECONDS
    from daemon.simulate.personal_figures import format_personal_simulation, run_personal_simulation

    if minutes is not None and not personal:
        msg = "--minutes goes with --personal; other calls last call.seconds of --params"
        raise UnusableInputError(msg)
    n_jobs = jobs or os.cpu_count() or 1
    if personal:
        seconds = SECONDS if minutes is None else 60 * minutes
        result = run_personal_simulation(params, n_seeds=seeds, jobs=n_jobs, seconds=seconds)
        table = format_personal_simulation
    else:
        result = run_simulation(params, n_seeds=seeds, jobs=n_jobs)
        table = format_simulation
    print(json.dumps(result, indent=1) if as_json else table(result))


@tools_app.command("export")
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
    from daemon.export import Format, Span, export
    from daemon.sinks.history import FILE
    from daemon.state import state_folder
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


@config_app.command("check")
@one_line_errors
def config_check(file: Annotated[Path, typer.Argument(help="A YAML file with settings.")]) -> None:
    """Every mistake in one go, with line and key."""
    from daemon.sessions import plan_of

    settings = load_settings(file)
    for session in settings.sessions:
        plan_of(session, settings.source)
    print(f"{file}: ok")
