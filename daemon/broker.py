"""The embedded broker: amqtt in this process, on loopback, so that nothing needs installing."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiomqtt import ProtocolVersion
from amqtt.broker import Broker

from daemon.errors import UnusableInputError

log = structlog.get_logger()

PORTS_TRIED = 50
SHUTDOWN_S = 2.0
CANCELS = 10
PROTOCOL = ProtocolVersion.V311
"""What amqtt speaks; it leaves a client of version 5 that has a will without an answer."""


def free_port(host: str, port: int) -> int:
    """`port`, or the next one that nobody listens on.

    Raises:
        UnusableInputError: None of the next fifty is free, or the address is not this machine's.
    """
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                    continue
                msg = f"mqtt.host {host}: cannot be listened on ({error.strerror}); set an address of this machine"
                raise UnusableInputError(msg) from error
            return candidate
    msg = f"mqtt.port: no free port from {port} to {port + PORTS_TRIED - 1} on {host}"
    raise UnusableInputError(msg)


async def _end_tasks_of(package: str) -> None:
    """Cancels what a package has left running, again and again, for it swallows a cancel now and then."""
    for _ in range(CANCELS):
        left = [task for task in asyncio.all_tasks() if f"/{package}/" in _source_of(task)]
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.1)
    log.warning("tasks of the embedded broker do not end", n=len(left))


def _source_of(task: asyncio.Task[object]) -> str:
    """The file in which the coroutine of a task is written."""
    code = getattr(task.get_coro(), "cr_code", None)
    return "" if code is None else code.co_filename


@asynccontextmanager
async def embedded_broker(host: str, port: int) -> AsyncIterator[int]:
    """Runs a broker while the context lasts; the port it listens on, `port` or the next free one."""
    chosen = free_port(host, port)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{chosen}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    try:
        yield chosen
    finally:
        # A subscriber's acknowledgement in the same instant makes amqtt wait for ever for a reader it has cancelled.
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await broker.shutdown()
        except TimeoutError:
            await _end_tasks_of("amqtt")
