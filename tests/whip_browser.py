"""Chromium pushes its fake camera and microphone by WHIP, with trickle ICE, from a page of another origin.

Arguments: the camera's y4m file, a folder for the browser. Told one JSON object a line, {"url", "token", "codec",
"simulcast"} to push or {"leave": true}, it answers one a line; leaves when its input ends.
"""

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from chromium_caller import _options, _page, _tab

PUSH = """
window.push = async ({url, token, codec, simulcast}) => {
  const camera = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
  const peer = window.peer = new RTCPeerConnection({iceServers: [], bundlePolicy: "max-bundle"});
  for (const track of camera.getTracks()) {
    const layers = [{rid: "h"}, {rid: "l", scaleResolutionDownBy: 2}];
    const encodings = simulcast && track.kind === "video" ? {sendEncodings: layers} : {};
    const sender = peer.addTransceiver(track, {direction: "sendonly", streams: [camera], ...encodings});
    if (track.kind === "video") {
      const known = RTCRtpSender.getCapabilities("video").codecs;
      sender.setCodecPreferences(known.filter(c => c.mimeType === codec || c.mimeType === "video/rtx"));
    }
  }
  const bearer = {Authorization: "Bearer " + token};
  const found = [];
  let resource = null, etag = null, patched = [];
  const trickle = async () => {
    if (resource === null || found.length === 0) return;
    const own = name => "a=" + new RegExp(name + ":\\\\S+").exec(peer.localDescription.sdp)[0];
    const lines = found.splice(0).map(c => c ? "a=" + c : "a=end-of-candidates");
    const body = [own("ice-ufrag"), own("ice-pwd"), "m=audio 9 RTP/AVP 0", "a=mid:0", ...lines].join("\\r\\n") + "\\r\\n";
    const headers = {...bearer, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag};
    patched.push((await fetch(resource, {method: "PATCH", headers, body})).status);
  };
  peer.onicecandidate = event => { found.push(event.candidate ? event.candidate.candidate : ""); trickle(); };
  await peer.setLocalDescription();
  const headers = {...bearer, "Content-Type": "application/sdp"};
  const answer = await fetch(url, {method: "POST", headers, body: peer.localDescription.sdp});
  const text = await answer.text();
  if (answer.status !== 201) { peer.close(); return {status: answer.status, text}; }
  resource = new URL(answer.headers.get("Location"), url).href;
  etag = answer.headers.get("ETag");
  await peer.setRemoteDescription({type: "answer", sdp: text});
  trickle();
  while (peer.connectionState === "connecting" || peer.connectionState === "new")
    await new Promise(done => setTimeout(done, 20));
  window.leave = async () => { const {status} = await fetch(resource, {method: "DELETE", headers: bearer}); peer.close();
                               return {status}; };
  return {status: answer.status, state: peer.connectionState, patched};
};
"""


async def main(camera: str, folder: Path) -> None:
    """Does what it is told until the input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        page = await _page(stack)
        browser = await asyncio.create_subprocess_exec(
            *_options(folder, camera), stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            tab = await _tab(stack, folder)
            await tab.ask("Page.enable")
            await tab.ask("Page.navigate", url=page)
            await asyncio.sleep(0.5)
            await tab.ask("Runtime.evaluate", expression=PUSH)
            async for line in reader:
                words = "leave()" if "leave" in json.loads(line) else f"push({line.decode()})"
                said = await tab.ask("Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True)
                heard = {"said": said["result"].get("value"), "error": said.get("exceptionDetails")}
                print(json.dumps(heard), flush=True)  # noqa: T201
        finally:
            browser.send_signal(signal.SIGTERM)
            await browser.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
