"""A caller in Chromium: a page on this machine's own localhost that publishes a fake camera to a Janus room.

Arguments: the server's API, the room, the camera's y4m file, a folder for the browser, and 2
for simulcast or 1. Writes one JSON object a line;
leaves when its input ends.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

PAGE = """<!doctype html><title>call</title><script>
async function publish(api, room, layers) {
  const post = async (path, message) => {
    const answer = await fetch(api + path, {method: "POST", body: JSON.stringify({transaction: "t", ...message})});
    return await answer.json();
  };
  const session = "/" + (await post("", {janus: "create"})).data.id;
  const handle = session + "/" + (await post(session, {janus: "attach", plugin: "janus.plugin.videoroom"})).data.id;
  window.leave = async () => { peer.close(); await post(session, {janus: "destroy"}); };
  const camera = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
  const peer = window.peer = new RTCPeerConnection({iceServers: []});
  const encodings = [{rid: "h"}, {rid: "l", scaleResolutionDownBy: 2}];
  for (const track of camera.getTracks()) {
    const simulcast = track.kind === "video" && layers > 1;
    peer.addTransceiver(track, {streams: [camera], ...(simulcast ? {sendEncodings: encodings} : {})});
  }
  await peer.setLocalDescription(await peer.createOffer());
  while (peer.iceGatheringState !== "complete") await new Promise(done => setTimeout(done, 20));
  const body = {request: "joinandconfigure", ptype: "publisher", room: room, display: "in a browser"};
  await post(handle, {janus: "message", body: body, jsep: peer.localDescription});
  const poll = async () => await (await fetch(api + session + "?maxev=1")).json();
  let event = {};
  while (!event.jsep) event = await poll();
  await peer.setRemoteDescription(event.jsep);
  (async () => { for (;;) if ((await poll()).janus === "error") return; })();
  while (peer.connectionState !== "connected") await new Promise(done => setTimeout(done, 20));
  const codec = [...(await peer.getStats()).values()].filter(s => s.type === "codec" && s.mimeType.startsWith("video"));
  return {id: event.plugindata.data.id, codecs: codec.map(c => c.mimeType)};
}
</script>"""


def _options(folder: Path, camera: str) -> list[str]:
    return [
        "chromium",
        "--headless=new",
        "--no-sandbox",  # we are root, and the page is ours
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
        f"--user-data-dir={folder}",
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        "about:blank",
    ]


async def _page(stack: AsyncExitStack) -> str:
    """The page's address; it is served until the stack ends."""

    async def serve(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://localhost:{runner.addresses[0][1]}/"


class DevTools:
    """A browser's tab, over its debugging port."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._n = 0

    async def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """The answer to a command; events are passed over."""
        self._n += 1
        await self._socket.send_json({"id": self._n, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get("id") == self._n:
                return dict(message["result"])


async def _tab(stack: AsyncExitStack, folder: Path) -> DevTools:
    """The only tab of the browser, once its port is open."""
    port = folder / "DevToolsActivePort"
    while not (port.exists() and port.read_text().strip()):
        await asyncio.sleep(0.05)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    async with http.get(f"http://127.0.0.1:{port.read_text().split()[0]}/json/list") as answer:
        tabs = await answer.json()
    address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
    return DevTools(await stack.enter_async_context(http.ws_connect(address, max_msg_size=0)))


async def main(api: str, room: int, camera: str, folder: Path, layers: int) -> None:
    """Publishes until the input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        page = await _page(stack)
        # Short, because the path of a socket in it may have 108 characters.
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="caller", ignore_cleanup_errors=True))
        environment = os.environ | {"TMPDIR": temporary, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
        browser = await asyncio.create_subprocess_exec(
            *_options(folder, camera),
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        try:
            async with asyncio.timeout(30):
                tab = await _tab(stack, folder)
                await tab.ask("Page.enable")
                await tab.ask("Page.navigate", url=page)
                while True:
                    ready = await tab.ask("Runtime.evaluate", expression="typeof publish")
                    if ready["result"].get("value") == "function":
                        break
                    await asyncio.sleep(0.05)
                words = f"publish({json.dumps(api)}, {room}, {layers})"
                said = await tab.ask("Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True)
            print(json.dumps({"said": said["result"].get("value"), "error": said.get("exceptionDetails")}), flush=True)  # noqa: T201
            await reader.read()
            await tab.ask("Runtime.evaluate", expression="leave()", awaitPromise=True)
        finally:
            browser.send_signal(signal.SIGTERM)
            await browser.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), int(sys.argv[5])))
