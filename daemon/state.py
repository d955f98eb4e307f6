"""The state folder: where it is, and that one process at a time has it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.settings import Settings
from daemon.errors import UnusableInputError

LOCK = "lock"


def state_folder(settings: Settings) -> Path:
    """`state_dir`, else `$XDG_STATE_HOME/attuned`."""
    if settings.state_dir is not None:
        return settings.state_dir.expanduser()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "attuned"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the state folder ours while the context lasts.

    Raises:
        UnusableInputError: Another attuned has it, or it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / LOCK).touch(mode=0o600)
        lock = (folder / LOCK).open("w")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        msg = f"state_dir {folder}: cannot be written ({why}); set state_dir to a folder that can"
        raise UnusableInputError(msg) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"state_dir {folder}: another attuned is using it; stop that one, or set another state_dir"
            raise UnusableInputError(msg) from error
        yield
