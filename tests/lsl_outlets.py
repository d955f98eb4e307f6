"""Plays a made-up session through the LSL sink until it is told to stop: `lsl_outlets.py SCOPE`."""

import asyncio
import sys

from builders import fused, p

from daemon.clock import utc_s
from daemon.logs import configure_logs
from daemon.session import SessionInfo
from daemon.sinks.lsl import Lsl
from pipeline.group import synthesise
from pipeline.types import CallSecond
from pipeline.wire import Stamp, Versions

PEOPLE = ("p-00000001", "p-00000002")


async def main() -> None:
    """Two people, of whom the second is away in every third second."""
    info = SessionInfo(Stamp("monday", "boot"), "seed", "research", Versions("px-1", "lm-1"), 2)
    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    async with Lsl(node="lab", scope=sys.argv[1]) as lsl:
        while not stopped.done():
            second = int(utc_s()) - 1
            readings = (
                fused(PEOPLE[0], second, p(happiness=0.75)),
                fused(PEOPLE[1], second, None if second % 3 == 0 else p(anger=0.5)),
            )
            await lsl.second(info, CallSecond(second, readings, synthesise(second, readings), (), ()))
            await asyncio.sleep(0.2)
        await lsl.status(info, "ended", 0.0, None)


configure_logs()  # stdout is not for logs here
asyncio.run(main())
