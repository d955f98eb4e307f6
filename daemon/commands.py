"""What the commands share: options, and how errors become lines and exit codes."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, NoReturn, ParamSpec, TypeVar

import typer

from config.errors import ConfigError
from daemon.errors import AttunedError

T = TypeVar("T")
P = ParamSpec("P")

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]


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
