"""A caller in Chromium: a page on this machine's own localhost that publishes a fake camera to a Janus room.

Arguments: the server's API, the room, the camera's y4m file, and 2 for simulcast or 1. Writes one JSON object a line;
leaves when its input ends.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from aiohttp import web
from browser import browser

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


def fake_camera(camera: str) -> list[str]:
    """The browser's options for a camera that plays a y4m file."""
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ]


async def served_page(stack: AsyncExitStack) -> str:
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


async def main(api: str, room: int, camera: str, layers: int) -> None:
    """Publishes until the input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        page = await served_page(stack)
        tab = await stack.enter_async_context(browser(*fake_camera(camera)))
        async with asyncio.timeout(30):
            await tab.tell("Page.navigate", url=page)
            while (await tab.evaluate("typeof publish"))["said"] != "function":
                await asyncio.sleep(0.05)
            answer = await tab.evaluate(f"publish({json.dumps(api)}, {room}, {layers})")
        print(json.dumps(answer), flush=True)  # noqa: T201
        await reader.read()
        await tab.evaluate("leave()")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
