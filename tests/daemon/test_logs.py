"""What is said of libraries' troubles."""

import asyncio
import errno
import json
import logging

import pytest
import structlog

from daemon.logs import configure_logs


def failed(number: int, message: str) -> None:
    """Asyncio says that something went wrong in a callback, as its loop does."""
    loop = asyncio.new_event_loop()
    loop.call_exception_handler({"message": message, "exception": OSError(number, "no")})
    loop.close()


def test_out_of_files_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """However many connections cannot be taken, and without a traceback."""
    configure_logs(style="json")
    for _ in range(100):
        failed(errno.EMFILE, "socket.accept() out of system resource")
    [line] = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert "raise the limit of open files" in said["event"]
    assert "exception" not in said


def test_other_errors_of_asyncio_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    """A callback of ours that fails, also by a closed socket; what aiomqtt asks of one is not heard."""
    configure_logs(style="json")
    failed(errno.EBADF, "Exception in callback BaseSelectorEventLoop.add_writer(16)")
    failed(errno.EBADF, "Exception in callback ours()")
    failed(errno.EIO, "Exception in callback ours()")
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> object:
    """Handlers and filters are the process's."""
    root, noisy = logging.getLogger(), logging.getLogger("asyncio")
    before = (root.handlers[:], root.level, noisy.filters[:], noisy.level)
    yield
    root.handlers[:], level, noisy.filters[:], noisy_level = before
    root.setLevel(level)
    noisy.setLevel(noisy_level)
    structlog.reset_defaults()
