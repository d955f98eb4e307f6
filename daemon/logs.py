"""Logs: to stderr, as text in a terminal and as JSON elsewhere; state changes only, never a person."""

import errno
import logging
import sys
import time
from typing import Literal, TextIO

import structlog

CHATTY = ("aioice", "aiortc", "amqtt", "transitions", "asyncio", "aiohttp", "mqtt")
"""Libraries that log their daily life, warnings of every client that leaves included; their errors are heard."""

AGAIN_S = 60.0
"""What asyncio would say again and again while no file can be opened is said so often."""


class _Chatter(logging.Filter):
    """What asyncio has tracebacks for and is no mistake of ours.

    Out of files: a line a minute stands for a traceback for every connection that cannot be taken. A socket that is
    closed already: aiomqtt asks to write to it in the next turn of the loop, and tells the loss itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._again_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is worth saying; it is rewritten."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, OSError):
            return True
        if error.errno == errno.EBADF:
            return "add_writer" not in record.getMessage()
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            return True
        now_s = time.monotonic()
        if now_s < self._again_s:
            return False
        self._again_s = now_s + AGAIN_S
        record.msg = "no more files can be opened, so connections wait; raise the limit of open files (ulimit -n)"
        record.args, record.exc_info = (), None
        return True


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is now: a live table moves it while it is shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The present stderr."""
        return sys.stderr


def configure_logs(*, level: str = "info", style: Literal["auto", "json", "text"] = "auto") -> None:
    """Sends structlog and the libraries' logging through one formatter."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if text else structlog.processors.JSONRenderer()
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    noisy = logging.getLogger("asyncio")
    for told in [told for told in noisy.filters if isinstance(told, _Chatter)]:
        noisy.removeFilter(told)
    noisy.addFilter(_Chatter())
