"""The `attuned` command: its groups of commands, in the order of `--help`."""

import os
import sys
from typing import Annotated

import typer

from daemon.cli_calls import calls_app
from daemon.cli_models import models_app
from daemon.cli_people import people_app
from daemon.cli_personal import personal_app
from daemon.cli_recordings import recordings_app
from daemon.cli_state import state_app
from daemon.cli_tools import config_app, tools_app
from daemon.commands import ConfigOption, one_line_errors, run_async, settings_from
from daemon.evaluate import evaluate_app

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


def version_wanted(value: bool) -> None:  # noqa: FBT001 (typer's callback)
    """`--version`."""
    if value:
        from daemon.version import attuned_version

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


app.add_typer(recordings_app)
app.add_typer(calls_app)
app.add_typer(personal_app)
app.add_typer(people_app)
app.add_typer(tools_app)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(models_app, name="models")
app.add_typer(config_app, name="config")
app.add_typer(state_app, name="state")


def main() -> None:
    """Entry point of the console script."""
    # Whatever is written is about people: it is for whoever runs this alone.
    os.umask(0o077)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us, as some service managers do
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (for good)
    try:
        app()
    except KeyboardInterrupt:
        print("attuned: stopped", file=sys.stderr)
        sys.exit(1)
