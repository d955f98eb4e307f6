"""`attuned run` as a service: tells the service manager how it goes, feeds its watchdog, reloads at SIGHUP.

The protocol is that of sd_notify(3) and sd_watchdog_enabled(3): lines of `KEY=value` as datagrams to a socket that the
environment names. Without such a socket nothing is told, and reloading works all the same.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, MutableMapping
from types import TracebackType
from typing import Protocol, Self

import structlog

from config.settings import Settings
from daemon.errors import UnusableInputError
from daemon.reload import Reloadable, reload
from daemon.sessions import Entry

log = structlog.get_logger()

LOOKS = 4
"""Looks at the sessions in the time in which the watchdog must hear of us: all of them must fail before it barks."""
LOOK_S = 5.0
"""Between two looks where nobody watches, for the status line alone."""


class Notifier:
    """Tells the service manager: `with Notifier.of(os.environ) as notifier: notifier.tell("READY=1")`.

    Args:
        address: Path of the manager's socket, or its abstract name after an `@`; None: nobody is told.
        watchdog_s: How long the manager waits for a sign of life; None: it does not.

    Attributes:
        n_unsent: Datagrams that the manager did not take; none is worth a wait.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self.n_unsent = 0
        self._address = address
        self._socket = None if address is None else socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if self._socket is not None:
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Self:
        """As systemd says; its variables are taken away, for they are not meant for processes that we start.

        Raises:
            UnusableInputError: What they say cannot be used.
        """
        address, period, pid = (
            environment.pop(name, None) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        )
        if address is not None and not address.startswith(("/", "@")):
            msg = f"NOTIFY_SOCKET {address}: expected a path or a name after @; unset it, or let systemd start attuned"
            raise UnusableInputError(msg)
        if period is None or (pid or str(os.getpid())) != str(os.getpid()):
            return cls(address)
        if not period.isdigit() or int(period) == 0:
            msg = f"WATCHDOG_USEC {period}: expected microseconds; set WatchdogSec= in the unit"
            raise UnusableInputError(msg)
        return cls(address, int(period) / 1e6)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    def tell(self, *lines: str) -> None:
        """Sends `KEY=value` lines, and never waits."""
        if self._socket is None or self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            self.n_unsent += 1
            if self.n_unsent == 1:
                log.warning("the service manager does not listen", error=error.strerror)


class Standstill:
    """Finds sessions that should move and do not, from one look to the next.

    A session that is live takes a moment of its source every fraction of a second, and closes seconds in the pauses of
    a recording. One that connects, waits for people or is sought again waits for others: starting anew would not help.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, int]] = {}

    def look(self, entries: Iterable[Entry]) -> frozenset[str]:
        """Which of them stand still since the last look."""
        now = {
            entry.plan.id: (id(entry), entry.session.counts.moments, entry.session.counts.seconds)
            for entry in entries
            if entry.session is not None and entry.state == "live"
        }
        before, self._seen = self._seen, now
        return frozenset(name for name, marks in now.items() if before.get(name) == marks)


class Served(Reloadable, Protocol):
    """The node that is served."""

    @property
    def entries(self) -> Collection[Entry]:
        """Its sessions."""


class Service:
    """What a daemon does beside its sessions.

    Args:
        notifier: The service manager.
        load: Reads the settings anew.
    """

    def __init__(self, notifier: Notifier, load: Callable[[], Settings]) -> None:
        self._notifier = notifier
        self._load = load
        self._hung_up = asyncio.Event()

    def listen(self) -> None:
        """From now on SIGHUP means: reload. In a terminal it goes on to mean that the terminal was closed."""
        if not sys.stderr.isatty():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up.set)

    async def attend(self, node: Served) -> None:
        """Says that it is ready, then watches and reloads until it is cancelled."""
        self._notifier.tell("READY=1", self._status(node))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(node), name="watchdog")
            tasks.create_task(self._reload(node), name="reload")

    def leave(self) -> None:
        """Says that it stops."""
        self._notifier.tell("STOPPING=1", "STATUS=stopping")

    async def _watch(self, node: Served) -> None:
        """Feeds the watchdog while all moves that should."""
        standstill, stood = Standstill(), frozenset[str]()
        watchdog_s = self._notifier.watchdog_s
        while True:
            await asyncio.sleep(LOOK_S if watchdog_s is None else watchdog_s / LOOKS)
            stands = standstill.look(node.entries)
            for name in stands - stood:
                log.error("session stands still", session=name, watched=watchdog_s is not None)
            for name in stood - stands:
                log.info("session moves again", session=name)
            stood = stands
            fed = () if watchdog_s is None or stands else ("WATCHDOG=1",)
            self._notifier.tell(self._status(node), *fed)

    async def _reload(self, node: Served) -> None:
        """Takes new settings over whenever it is asked to; those with a mistake change nothing."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            await reload(node, self._load)
            self._notifier.tell("READY=1", self._status(node))

    def _status(self, node: Served) -> str:
        """A line for `systemctl status`: how many sessions are in which state, and nothing else."""
        counts = Counter(entry.state for entry in node.entries)
        return "STATUS=" + (", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no sessions")
