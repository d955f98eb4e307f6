"""`attuned state`: backup and restoring of what attuned remembers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from daemon.commands import ConfigOption, JsonOption, one_line_errors, settings_from

state_app = typer.Typer(no_args_is_help=True, help="Back up and restore what attuned remembers.")


@state_app.command("backup")
@one_line_errors
def backup(
    file: Annotated[Path, typer.Argument(help="A new file; only you can read it. It holds data about people.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write outbox, history, personal heads and samples, and the secret that makes pseudonyms, into one file.

    The daemon may be running. Keep the file as carefully as the state folder.
    """
    from daemon.state import state_folder
    from daemon.state_files import back_up
    from daemon.version import attuned_version

    made = back_up(state_folder(settings_from(config)), file, version=attuned_version(), force=force)
    _tell({"file": str(file), "files": len(made.files), "created": made.created}, as_json=as_json)


@state_app.command("restore")
@one_line_errors
def restore(
    file: Annotated[Path, typer.Argument(help="What `attuned state backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Erase the state that is there.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the state of a backup in the place of the present one; the daemon must not be running.

    Whoever was erased after the backup was made is there again: erase them again (`attuned models forget`).
    """
    from daemon.state import state_folder
    from daemon.state_files import restore as put_back

    folder = state_folder(settings_from(config))
    made = put_back(folder, file, force=force)
    _tell({"state": str(folder), "files": len(made.files), "created": made.created}, as_json=as_json)


def _tell(done: dict[str, object], *, as_json: bool) -> None:
    where, n, created = done.values()
    print(json.dumps(done) if as_json else f"{where}: {n} files of {created}")
