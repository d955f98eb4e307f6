"""`attuned join` and `attuned run`: live calls."""

import os
import re
from contextlib import suppress
from secrets import token_hex
from typing import Annotated

import typer

from config.sections import SESSION_NAME
from config.settings import load_settings
from daemon.commands import (
    PURPOSES,
    ConfigOption,
    ConsentOption,
    PurposeOption,
    StartOption,
    config_file,
    consent_of,
    moment,
    one_line_errors,
    purpose_of,
    run_async,
    settings_from,
)
from daemon.errors import UnusableInputError

calls_app = typer.Typer()


@calls_app.command()
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


@calls_app.command()
@one_line_errors
def run(config: ConfigOption = None) -> None:
    """The daemon: the sessions of the configuration and of the API, until SIGTERM or Ctrl-C.

    SIGHUP has it read the configuration again (in a terminal it still means that the terminal was closed). As a service
    of systemd it tells when it is ready, and is watched; see packaging/attuned.service.
    """
    from daemon.app import Node
    from daemon.service import Notifier, Service
    from daemon.sessions import plan_of

    settings = settings_from(config)
    plans = [plan_of(session, settings.source) for session in settings.sessions]
    file = config_file(config)

    async def main() -> None:
        with Notifier.of(os.environ) as notifier:
            service = Service(notifier, lambda: load_settings(file))
            service.listen()
            async with Node(settings) as node:
                await node.run(plans, stay=True, service=service)

    run_async(main())
