"""Chromium pushes its fake camera and microphone by WHIP, with trickle ICE, from a page of another origin.

Argument: the camera's y4m file. Told one JSON object a line, {"url", "token", "codec",
"simulcast"} to push or {"leave": true}, it answers one a line; leaves when its input ends.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from browser import browser
from chromium_caller import fake_camera, served_page

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


async def main(camera: str) -> None:
    """Does what it is told until the input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        page = await served_page(stack)
        tab = await stack.enter_async_context(browser(*fake_camera(camera)))
        await tab.tell("Page.navigate", url=page)
        await asyncio.sleep(0.5)
        await tab.evaluate(PUSH)
        async for line in reader:
            words = "leave()" if "leave" in json.loads(line) else f"push({line.decode()})"
            print(json.dumps(await tab.evaluate(words)), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
