"""Whose samples and heads lie on this machine: a folder for each participant, and how one is forgotten.

`<state folder>/personal/<participant>/` is for people who are recognised across sessions. Who is known in one session
only gets a folder under `.passing/`, which goes with the session. A folder that is to be forgotten is renamed first:
from then on it is nobody's, and if erasing is interrupted, `sweep` goes on with it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

from models.personal.private import PART, erase_file, erase_folder, private_folder, sync_folder

_PSEUDONYM: Final = re.compile(r"p-[0-9a-f]{8}")
_PASSING: Final = ".passing"
_FORGOTTEN: Final = ".forgotten-"

HEADS: Final = "heads"
JOB: Final = "job"
"""Folders in that of a participant: the versions, and what a training process works on."""


@dataclass(frozen=True, slots=True)
class People:
    """The folder `personal` of the state folder; one process at a time uses it, which the state folder's lock sees to.

    Raises (every method):
        OSError: The disk refuses.
        ValueError: A participant is not a pseudonym, `p-` and eight hexadecimal digits.
    """

    root: Path

    def sweep(self) -> int:
        """Finishes what a crash interrupted, before the first session: how many leftovers were erased."""
        if not self.root.is_dir():
            return 0
        left = [path for path in self.root.iterdir() if path.name == _PASSING or path.name.startswith(_FORGOTTEN)]
        left += [folder / JOB for folder in self._folders() if (folder / JOB).exists()]
        for path in left:
            erase_folder(path)
        parts = [path for folder in self._folders() for path in folder.rglob(f"*{PART}")]
        for path in parts:
            erase_file(path)
        return len(left) + len(parts)

    def folder(self, participant: str) -> Path:
        """The folder of someone who is recognised across sessions, made where it is not there."""
        private_folder(self.root)
        return private_folder(self._path(participant))

    @contextmanager
    def passing(self, participant: str) -> Iterator[Path]:
        """A folder of someone whom the next session will not know again; erased when the context ends."""
        self._path(participant)
        private_folder(self.root)
        private_folder(self.root / _PASSING)
        path = private_folder(self.root / _PASSING / f"{participant}-{token_hex(4)}")
        try:
            yield path
        finally:
            erase_folder(path)

    @contextmanager
    def opened(self, participant: str, *, stable: bool) -> Iterator[Path]:
        """The folder for a session; `stable`: the configuration or the room gives an id by which one is known again."""
        if stable:
            yield self.folder(participant)
            return
        with self.passing(participant) as path:
            yield path

    def known(self) -> tuple[str, ...]:
        """Who has a folder, in order."""
        return tuple(path.name for path in self._folders())

    def find(self, participant: str) -> Path | None:
        """The folder of a participant, where there is one; nothing is made."""
        path = self._path(participant)
        return path if path.is_dir() and not path.is_symlink() else None

    def forget(self, participant: str) -> bool:
        """Erases all that is kept of a participant; False where nothing was.

        Buffers and stores of the participant must be closed: what they hold open is overwritten.
        """
        path = self.find(participant)
        if path is None:
            return False
        gone = path.with_name(f"{_FORGOTTEN}{token_hex(8)}")
        path.rename(gone)
        sync_folder(self.root)
        erase_folder(gone)
        sync_folder(self.root)
        return True

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        paths = (path for path in self.root.iterdir() if _PSEUDONYM.fullmatch(path.name))
        return sorted(path for path in paths if path.is_dir() and not path.is_symlink())

    def _path(self, participant: str) -> Path:
        if not _PSEUDONYM.fullmatch(participant):
            # What it is, is not said: it might be somebody's name.
            msg = "a participant is `p-` and eight hexadecimal digits, such as p-3f2a91c0"
            raise ValueError(msg)
        return self.root / participant
