"""GStreamer's RTSP server, for `/usr/bin/python3`: the daemon's environment has no GStreamer.

    gst_rtsp.py OPTIONS PATH=PIPELINE...

Every PATH is served from a pipeline that ends in payloaders named pay0, pay1, …; in it, `CLOCK` stands for live
pictures that show the time (see `picture`). Prints a line when it listens.
"""

import argparse
import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, BITS, BLOCK = 320, 192, 20, 16
FPS = 25
CLOCK = (
    f"appsrc name=clock is-live=true do-timestamp=true format=time"
    f" caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1"
)


def picture(time_s: float, number: int) -> bytes:
    """I420 picture: the top row of blocks is the monotonic time in milliseconds, the lowest bit on the left.

    A bar moves below it, so that every picture differs.
    """
    stamp = int(1000 * time_s) % (1 << BITS)
    blocks = b"".join((b"\xeb" if stamp >> bit & 1 else b"\x10") * BLOCK for bit in range(BITS))
    bar = 4 * number % WIDTH
    line = bytearray(b"\x80" * WIDTH)
    line[bar : bar + 8] = b"\xc0" * len(line[bar : bar + 8])
    return blocks * BLOCK + bytes(line) * (HEIGHT - BLOCK) + b"\x80" * (WIDTH * HEIGHT // 2)


def show_clock(_: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
    """Feeds the pipeline's pictures, where it has such a source, for as long as it takes them."""
    source = media.get_element().get_by_name("clock")
    if source is None:
        return
    number, gone = 0, False

    def push() -> bool:
        nonlocal number
        number += 1
        source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(time.monotonic(), number)))
        return not gone

    def stop(_: GstRtspServer.RTSPMedia) -> None:
        nonlocal gone
        gone = True

    media.connect("unprepared", stop)
    GLib.timeout_add(1000 // FPS, push)


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--transport", choices=["any", "tcp", "udp"], default="any")
    parser.add_argument("--auth", choices=["none", "basic", "digest"], default="none")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("paths", nargs="+")
    asked = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(asked.port)
    guard = GstRtspServer.RTSPAuth()
    if asked.tls:
        guard.set_tls_certificate(Gio.TlsCertificate.new_from_files(*asked.tls))
    permissions = GstRtspServer.RTSPPermissions()
    if asked.auth != "none":
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        if asked.auth == "digest":
            guard.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            guard.add_digest(asked.user, asked.password, token)
        else:
            guard.add_basic(GstRtspServer.RTSPAuth.make_basic(asked.user, asked.password), token)
    else:
        anybody = GstRtspServer.RTSPToken()
        anybody.set_string("media.factory.role", "user")
        guard.set_default_token(anybody)
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    if asked.tls or asked.auth != "none":
        server.set_auth(guard)
    for entry in asked.paths:
        path, _, pipeline = entry.partition("=")
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {pipeline.replace('CLOCK', CLOCK)} )")
        factory.set_shared(True)
        if asked.tls or asked.auth != "none":
            factory.set_permissions(permissions)
        if asked.transport != "any":
            factory.set_protocols(
                GstRtsp.RTSPLowerTrans.TCP if asked.transport == "tcp" else GstRtsp.RTSPLowerTrans.UDP
            )
        factory.connect("media-configure", show_clock)
        server.get_mount_points().add_factory(f"/{path}", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {asked.port} is taken")
    print("listening", flush=True)  # noqa: T201
    GLib.MainLoop().run()


main()
