"""A WHIP endpoint in a process of its own, for tests that put it on another machine.

Arguments: the address to serve on and to use for ICE, the token. Writes one JSON object a line; leaves when its input
ends.
"""

import asyncio
import json
import sys
from contextlib import suppress

from aiohttp import web
from prometheus_client import CollectorRegistry

from daemon.errors import LostError
from daemon.http import make_app
from daemon.sources.live import Feeds
from daemon.sources.webrtc import IceSettings
from daemon.sources.whip import WhipConnection, WhipEndpoint


class Everywhere(set[str]):
    """Whatever port the browser's page has got."""

    def __contains__(self, origin: object) -> bool:
        """Any origin that is one."""
        return isinstance(origin, str) and origin.startswith("http://localhost:")


async def tell(feeds: Feeds) -> None:
    """Five times a second: who is there, how many pictures came, and how large they are."""
    while True:
        sizes = [frame.image.shape[1::-1] for frame in feeds.show(feeds._clock())]
        print(json.dumps({"feeds": feeds.open_feeds, "pictures": feeds.n_pictures, "sizes": sizes}), flush=True)  # noqa: T201
        await asyncio.sleep(0.2)


async def keep_up(connection: WhipConnection, feeds: Feeds) -> None:
    """Takes one publisher after another, also after one was lost."""
    while True:
        with suppress(LostError):
            await connection.run(feeds)


async def main(address: str, token: str) -> None:
    """Serves until the input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ice = IceSettings(addresses=(address,))
    endpoint = WhipEndpoint(token=token, limit=1, ice=ice, origins=Everywhere({"*"}))
    connection, feeds = WhipConnection(ice=ice), Feeds()
    endpoint.register("one", connection)
    runner = web.AppRunner(make_app(CollectorRegistry(), list, routes=endpoint.routes(), token=token), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, 0).start()
    print(json.dumps({"url": f"http://{address}:{runner.addresses[0][1]}/whip/one"}), flush=True)  # noqa: T201
    tasks = [asyncio.create_task(tell(feeds)), asyncio.create_task(keep_up(connection, feeds))]
    await reader.read()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
