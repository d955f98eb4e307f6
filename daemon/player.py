"""Plays a file in a window of a program that is there for it: ffplay, of FFmpeg."""

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from daemon.errors import FailedError
from daemon.session import to_the_end

FFPLAY: Final = ("ffplay", "-hide_banner", "-loglevel", "error", "-nostdin", "-autoexit", "-fs")
_SAID: Final = 2048


def find_player() -> tuple[str, ...] | None:
    """The command of a player that is there; None where there is none."""
    return FFPLAY if shutil.which(FFPLAY[0]) else None


class Player:
    """One file at a time: `async with Player(command) as player`. Its program is over when the context is.

    Args:
        command: To which the file is appended.
    """

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._file: Path | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self.stop())

    async def play(self, file: Path) -> None:
        """Begins to play a file, instead of what is playing.

        Raises:
            FailedError: The program cannot be started.
        """
        await self.stop()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                str(file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            msg = f"{self._command[0]} cannot be started ({error.strerror}); give --player none and play the files yourself"
            raise FailedError(msg) from error
        self._file = file

    @property
    def is_playing(self) -> bool:
        """Whether a file is to be seen now."""
        return self._process is not None and self._process.returncode is None

    async def check(self) -> None:
        """Nothing, where what was begun plays or has come to its end.

        Raises:
            FailedError: The program could not play it.
        """
        process = self._process
        if process is None or process.returncode in {None, 0}:
            return
        said = b"" if process.stderr is None else await process.stderr.read(_SAID)
        why = said.decode(errors="replace").strip().splitlines()
        what = why[-1] if why else f"exit code {process.returncode}"
        msg = f"{self._command[0]} cannot play {self._file} ({what}); give --player none and play the files yourself"
        raise FailedError(msg)

    async def stop(self) -> None:
        """Ends what is playing."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
