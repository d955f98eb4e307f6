"""The audit log: nothing changes unnoticed, nobody is named who was erased, and it does not grow for ever."""

import asyncio
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from videos import run

from daemon.audit import FILE, LINKS, WAITING_MAX, AuditFile, AuditLog, check, entries
from daemon.errors import UnusableInputError

MAUD, INES = "p-00000001", "p-00000002"


class Clock:
    """A time that is set."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def log_of(folder: Path, *, clock: Clock | None = None, max_entries: int = 1000) -> AuditFile:
    """A log that keeps a day."""
    return AuditFile(folder, days=1, max_entries=max_entries, now=clock or Clock())


def test_entries_are_numbered_chained_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    """Each has the hash of the one before; the files are 0600; the participant is shown through the link."""
    log = log_of(tmp_path)
    log.add("consent", who="api", participant=MAUD, state="granted")
    log.add("access", who="api", route="/api/v1/sessions")
    log_of(tmp_path).add("erasure", who="command", participant=INES)
    found = list(entries(tmp_path))
    assert [(e["n"], e["what"], e.get("participant")) for e in found] == [
        (0, "consent", MAUD),
        (1, "access", None),
        (2, "erasure", INES),
    ]
    assert (check(tmp_path).n, check(tmp_path).mistake) == (3, None)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert MAUD not in (tmp_path / FILE).read_text()


@pytest.mark.parametrize("line", [0, 1])
def test_a_changed_entry_is_noticed(tmp_path: Path, line: int) -> None:
    """So is one that was taken away from the middle."""
    log = log_of(tmp_path)
    for state in ("granted", "denied", "granted"):
        log.add("consent", who="api", participant=MAUD, state=state)
    path = tmp_path / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    changed = lines.copy()
    changed[line] = changed[line].replace(b'"api"', b'"abc"')
    path.write_bytes(b"".join(changed))
    assert check(tmp_path).mistake is not None
    path.write_bytes(b"".join([lines[0], lines[2]]))
    assert check(tmp_path).mistake == "entry 2 does not follow on the one before it"
    path.write_bytes(b"nonsense\n")
    assert check(tmp_path).mistake is not None


def test_an_erased_person_is_nobody_in_the_log(tmp_path: Path) -> None:
    """The entries and their chain stay, the link is gone, and whoever has the pseudonym next is somebody else."""
    log = log_of(tmp_path)
    log.add("consent", who="api", participant=MAUD, state="granted")
    log.add("consent", who="api", participant=INES, state="granted")
    assert log.forget(MAUD)
    assert not log.forget(MAUD)
    assert [entry.get("participant") for entry in entries(tmp_path)] == [None, INES]
    assert check(tmp_path).mistake is None
    assert not any(MAUD.encode() in path.read_bytes() for path in tmp_path.iterdir())
    log.add("consent", who="api", participant=MAUD, state="denied")
    first, _, third = entries(tmp_path)
    assert first["subject"] != third["subject"]


def test_what_is_too_old_or_too_much_goes_and_the_chain_holds(tmp_path: Path) -> None:
    """After a day, and beyond the bound; links that nobody needs go along; the last entry always stays."""
    clock = Clock()
    log = log_of(tmp_path, clock=clock, max_entries=10)
    log.add("consent", who="api", participant=MAUD)
    clock.now_s += 90_000
    log.add("consent", who="api", participant=INES)
    assert log.trim() == 1
    assert [entry["n"] for entry in entries(tmp_path)] == [1]
    assert list(json.loads((tmp_path / LINKS).read_text())) == [INES]
    for _ in range(30):
        log.add("access", who="api")
    assert len(list(entries(tmp_path))) <= 11
    assert check(tmp_path).mistake is None
    clock.now_s += 900_000
    log.trim()
    assert [entry["n"] for entry in entries(tmp_path)] == [31]
    log.add("access", who="api")
    assert check(tmp_path).mistake is None


def test_a_line_that_a_crash_cut_off_is_taken_away(tmp_path: Path) -> None:
    """The next entry follows on the last whole one."""
    log = log_of(tmp_path)
    log.add("access", who="api")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"n":1,"ts":"20')
    log.add("access", who="api")
    assert [entry["n"] for entry in entries(tmp_path)] == [0, 1]
    assert check(tmp_path).mistake is None


def test_many_may_write_at_once(tmp_path: Path) -> None:
    """A daemon and commands: all entries are there, in one chain."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: log_of(tmp_path).add("access", who="command"), range(40)))
    assert (check(tmp_path).n, check(tmp_path).mistake) == (40, None)


def test_the_daemon_does_not_wait_for_the_disk_and_loses_nothing_silently(tmp_path: Path) -> None:
    """Entries are written in order before the context ends; what the disk refuses is counted."""

    async def main() -> int:
        async with AuditLog(log_of(tmp_path)) as log:
            for n in range(5):
                log.note("access", who="api", number=n)
            log.note("erasure", who="api", participant=MAUD)
            assert await log.forget(MAUD)
            await asyncio.to_thread((tmp_path / LINKS).unlink)
            (tmp_path / LINKS).mkdir()
            log.note("consent", who="api", participant=MAUD)
            await log.trim()
            await asyncio.sleep(0)
            for _ in range(WAITING_MAX + 3):
                log._n_waiting = WAITING_MAX
                log.note("access", who="api")
            log._n_waiting = 0
        return log.n_lost

    assert run(main()) == 1 + WAITING_MAX + 3
    (tmp_path / LINKS).rmdir()
    assert [entry.get("number") for entry in entries(tmp_path)] == [0, 1, 2, 3, 4, None]


def test_a_log_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    """No log yet, and one that something else wrote."""
    with pytest.raises(UnusableInputError, match="there is no audit log yet"):
        list(entries(tmp_path))
    with pytest.raises(UnusableInputError, match="there is no audit log yet"):
        check(tmp_path)
    (tmp_path / FILE).write_bytes(b"\xff\n")
    with pytest.raises(UnusableInputError, match="cannot be read"):
        list(entries(tmp_path))

    async def main() -> None:
        async with AuditLog(log_of(tmp_path, max_entries=1)):
            pass

    (tmp_path / FILE).write_bytes(b"nonsense\nnonsense\n")
    with pytest.raises(UnusableInputError, match="audit log cannot be used"):
        run(main())
