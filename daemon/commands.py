"""What the commands share: options, what they mean, how errors become lines and exit codes, and the one event loop."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TypeVar, cast, get_args

import typer

from config.errors import ConfigError
from config.sections import Consent, Purpose, check_purpose
from config.settings import Settings, find_config, load_settings
from daemon.errors import AttunedError, UnusableInputError

if TYPE_CHECKING:
    from daemon.annotate import Annotations

T = TypeVar("T")
P = ParamSpec("P")

PURPOSES = get_args(Purpose)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
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


def fail(message: str, code: int) -> NoReturn:
    """Says one line on stderr and ends with that exit code."""
    for line in message.splitlines():
        print(f"attuned: {line}", file=sys.stderr)
    raise typer.Exit(code)


def one_line_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Turns the errors that users are told of into one line and the contract's exit code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        from models.errors import DataError, ModelError

        try:
            return command(*args, **kwargs)
        except ConfigError as error:
            fail("\n".join(error.mistakes), 2)
        except AttunedError as error:
            fail(str(error), error.exit_code)
        except (ModelError, DataError) as error:
            fail(str(error), 2)
        except BaseExceptionGroup as group:
            # Tasks that fail together: one told error stands for all, a bug among them is a bug.
            told = group.subgroup((AttunedError, ModelError))
            if told is None or group.split((AttunedError, ModelError))[1] is not None:
                raise
            leaf = first_leaf(told)
            fail(str(leaf), leaf.exit_code if isinstance(leaf, AttunedError) else 2)
        except KeyboardInterrupt:
            fail("stopped", 1)
        except BrokenPipeError:
            # Whoever read our output has gone; Python would say so again when it closes it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    return run


def first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception in a group that is no group itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def config_file(path: Path | None) -> Path | None:
    """The file with the settings: the one that is given, else the first that is there, if any."""
    return path or find_config(Path.cwd(), Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser())


def settings_from(path: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings of this command, with logs configured accordingly."""
    from daemon.logs import configure_logs

    settings = load_settings(config_file(path), overrides=overrides)
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


def labels_of(path: Path | None, n_recordings: int = 1, option: str = "--annotations") -> "Annotations | None":
    """What raters filled in, if anything was given."""
    from daemon.annotate import read_annotations

    if path is not None and n_recordings > 1:
        msg = (
            f"{option} are of one recording; analyse the videos one by one, or `attuned report DIR --annotations` each"
        )
        raise UnusableInputError(msg)
    return None if path is None else read_annotations(path)


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
