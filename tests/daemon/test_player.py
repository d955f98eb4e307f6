"""Stimuli are played by another program, which never outlives us and never fails unnoticed."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from videos import run

from daemon.errors import FailedError
from daemon.player import Player

SLEEPS = (
    sys.executable,
    "-c",
    "import sys, time; open(sys.argv[1], 'w').write(str(__import__('os').getpid())); time.sleep(60)",
)


def written(file: Path) -> str:
    """What stands in a file, if it is there."""
    return file.read_text() if file.exists() else ""


async def pid_in(file: Path) -> int:
    """The number that the program writes when it has started."""
    for _ in range(200):
        if said := written(file):
            return int(said)
        await asyncio.sleep(0.05)
    pytest.fail("the program did not start")


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_next_file_ends_the_one_before_and_the_end_ends_all(tmp_path: Path) -> None:
    """Also where the program would go on for long."""

    async def main() -> None:
        async with Player(SLEEPS) as player:
            await player.play(tmp_path / "a")
            first = await pid_in(tmp_path / "a")
            await player.check()
            assert player.is_playing
            await player.play(tmp_path / "b")
            assert not is_there(first)
            second = await pid_in(tmp_path / "b")
        assert not is_there(second)

    run(main())


def test_what_cannot_be_played_is_told(tmp_path: Path) -> None:
    """With what the program said last; coming to its end is no failure."""

    async def failing() -> None:
        async with Player((sys.executable, "-c", "import sys; sys.exit('no display')")) as player:
            await player.play(tmp_path / "a")
            while player.is_playing:
                await asyncio.sleep(0.05)
            await player.check()

    async def ending() -> None:
        async with Player((sys.executable, "-c", "pass")) as player:
            await player.play(tmp_path / "a")
            while player.is_playing:
                await asyncio.sleep(0.05)
            await player.check()
            assert not player.is_playing

    with pytest.raises(FailedError, match=r"cannot play .* \(no display\); give --player none"):
        run(failing())
    run(ending())


def test_a_player_that_is_not_there(tmp_path: Path) -> None:
    """Is told as such."""

    async def main() -> None:
        async with Player(("/none/player",)) as player:
            await player.play(tmp_path / "a")

    with pytest.raises(FailedError, match="cannot be started"):
        run(main())
