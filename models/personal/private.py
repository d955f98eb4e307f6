"""Files that only their owner reads, that are whole or not there, and of which nothing is left when they go."""

import os
from pathlib import Path
from secrets import token_hex
from typing import Final

PART: Final = ".part"
"""Ending of files that were not finished; whoever finds one after a crash removes it."""

_AT_A_TIME: Final = 1 << 20


def private_folder(path: Path) -> Path:
    """The folder, made where it is not there, that only its owner may enter (mode 0700).

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path


def write_private(path: Path, data: bytes) -> None:
    """Puts a file of mode 0600 there at once: after a crash there is the old one or the new one, never a part.

    Raises:
        OSError: The disk does not take it; the old file is as it was.
    """
    part = path.with_name(f"{path.name}.{token_hex(4)}{PART}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def rewrite_private(path: Path, data: bytes) -> None:
    """Puts other content there at once, and overwrites the old one; where that is interrupted `old_of` is left.

    Raises:
        OSError: The disk does not take it; what is there is the old one or the new one, whole.
    """
    old = old_of(path)
    erase_file(old)
    os.link(path, old)
    write_private(path, data)
    erase_file(old)


def old_of(path: Path) -> Path:
    """Where the old content of a file lies while it is replaced; after a crash it is to be erased."""
    return path.with_name(f"{path.name}.old")


def sync_folder(path: Path) -> None:
    """Waits until what the folder names is on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def erase_file(path: Path) -> None:
    """Overwrites a file with zeros and removes it; a link is removed and what it leads to is left alone.

    Overwriting is what a program can do: a disk that writes elsewhere, or a backup, may have older copies.

    Raises:
        OSError: It cannot be written or removed.
    """
    if path.is_file() and not path.is_symlink():
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            left = os.fstat(file).st_size
            while left > 0:
                left -= os.write(file, bytes(min(left, _AT_A_TIME)))
            os.fsync(file)
        finally:
            os.close(file)
    path.unlink(missing_ok=True)


def erase_folder(path: Path) -> None:
    """Erases every file below a folder, and the folder; one that is not there is none to erase.

    Raises:
        OSError: Something in it cannot be removed.
    """
    if path.is_symlink() or not path.is_dir():
        erase_file(path)
        return
    for inner in sorted(path.iterdir()):
        erase_folder(inner)
    path.rmdir()
