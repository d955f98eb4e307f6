"""The bot alone, for tests: `LiveSource(JanusConnection(...))` in a process of its own that says what it sees.

Arguments: the address, and JSON of the connection's settings. Writes one JSON object a line: changes of state, and
once a second who is there and the mean level and size of each picture. Leaves when its input ends; its last line tells
how it ended and which tasks and threads are left.
"""

import asyncio
import json
import sys
import threading
import time
from typing import Any

import cv2
import structlog

from daemon.errors import SourceError
from daemon.secret import RoomPseudonyms
from daemon.sources.janus import JanusConnection
from daemon.sources.live import LiveSource
from daemon.sources.source import SourceState
from daemon.sources.webrtc import IceSettings
from pipeline.types import U8


def say(**said: object) -> None:
    """One line."""
    print(json.dumps({"at": round(time.time(), 3)} | said), flush=True)  # noqa: T201


def thumbnail(image: U8) -> list[list[int]]:
    """Nine rows of sixteen grey levels."""
    return cv2.resize(image.mean(axis=2), (16, 9), interpolation=cv2.INTER_AREA).round().astype(int).tolist()


async def look(source: LiveSource, *, thumbnails: bool) -> None:
    """Tells what comes, until the call is over."""
    last = 0
    async for item in source.items():
        if isinstance(item, SourceState):
            say(state=item.state, reason=item.reason)
        elif int(item.time_s) > last:
            last = int(item.time_s)
            seen = {f.source_id: [round(float(f.image.mean())), *f.image.shape[:2]] for f in item.frames}
            small = {f.source_id: thumbnail(f.image) for f in item.frames} if thumbnails else {}
            say(feeds=item.feeds, seen=seen, undecoded=source.n_undecoded, thumbnails=small)


async def main(url: str, settings: dict[str, Any]) -> None:
    """Watches until the call is over or the input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    thumbnails = bool(settings.pop("thumbnails", False))
    known = settings.pop("participants", {})
    ice = IceSettings(addresses=tuple(settings.pop("addresses", ())))
    connection = JanusConnection(url, ice=ice, pseudonym=RoomPseudonyms(b"k" * 32, "room", known), **settings)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    problem = None
    async with LiveSource(connection, rate_hz=5, give_up_s=8) as source:
        looking = asyncio.create_task(look(source, thumbnails=thumbnails), name="look")
        reading = asyncio.create_task(reader.read(), name="read")
        await asyncio.wait({looking, reading}, return_when=asyncio.FIRST_COMPLETED)
        for task in (looking, reading):
            if not task.done():
                task.cancel()
        try:
            await looking
        except SourceError as error:
            problem = str(error)
        except asyncio.CancelledError:
            pass
        farewell = source.farewell
    await asyncio.sleep(0.1)  # who was cancelled just now may end
    tasks = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    say(
        end=farewell,
        problem=problem,
        tasks=tasks,
        threads=[name for name in threads if not name.startswith("asyncio_")],  # those of to_thread end with the loop
        unreadable=connection.n_unreadable,
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
