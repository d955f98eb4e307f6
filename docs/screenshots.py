"""Makes the pictures of README anew: `make screenshots`.

Plays the demo call in real time and photographs its live page (wide, and dark on a phone), then analyses the same call
and photographs the report. Needs chromium.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import Tab, browser  # noqa: E402

from daemon.demo.call import make_script, write_call  # noqa: E402

CALL_S = 60
LOOK_AT_S = 45
"""The whole ribbon is there then, and some events."""
PORT, MQTT_PORT = 28766, 21886
ATTUNED = (sys.executable, "-m", "daemon")


async def main() -> None:
    """Takes the three pictures."""
    with TemporaryDirectory(prefix="screenshots-") as name:
        folder = Path(name)
        async with browser() as tab:
            await live_page(tab, folder)
            await report(tab, folder)


async def live_page(tab: Tab, folder: Path) -> None:
    """Of the demo while it runs."""
    config = folder / "attuned.yaml"
    config.write_text(f"http: {{port: {PORT}}}\nmqtt: {{port: {MQTT_PORT}}}\n")
    demo = await asyncio.create_subprocess_exec(
        *ATTUNED, "demo", "--seconds", str(CALL_S), "-c", str(config), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        say("filming the demo call")
        await reached(PORT)
        say(f"looking at its live page for {LOOK_AT_S} s")
        await asyncio.sleep(3)
        await tab.look_at(f"http://127.0.0.1:{PORT}/")
        await asyncio.sleep(LOOK_AT_S)
        keep("page.png", await tab.photograph(height=1180))
        await tab.look_at(f"http://127.0.0.1:{PORT}/", width=390, height=844, scheme="dark")
        await asyncio.sleep(3)
        keep("page-phone.png", await tab.photograph(height=1240))
    finally:
        demo.terminate()
        await demo.wait()


async def report(tab: Tab, folder: Path) -> None:
    """Of the analysed call."""
    say("analysing the call")
    recording, out = folder / "call.mp4", folder / "out"
    await asyncio.to_thread(write_call, recording, make_script(CALL_S))
    analysis = await asyncio.create_subprocess_exec(*ATTUNED, "analyze", str(recording), "--out", str(out))
    if await analysis.wait() != 0:
        sys.exit("the call cannot be analysed; see above")
    page = next(out.rglob("report.html"))
    await tab.look_at(page.as_uri(), width=1120)
    await asyncio.sleep(2)
    keep("report.png", await tab.photograph(height=1640))


async def reached(port: int) -> None:
    """Waits until somebody listens there."""
    async with asyncio.timeout(600):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            await writer.wait_closed()
            return


def keep(name: str, picture: bytes) -> None:
    """With 64 colours, which is enough for pages and a third of the size."""
    path = ROOT / "docs" / name
    command = ["ffmpeg", "-v", "error", "-y", "-f", "png_pipe", "-i", "-"]
    command += ["-vf", "split[a][b];[a]palettegen=64:stats_mode=single[p];[b][p]paletteuse=dither=none", str(path)]
    subprocess.run(command, input=picture, check=True)  # noqa: S603 (ours)
    say(f"docs/{name}: {path.stat().st_size // 1024} KiB")


def say(words: str) -> None:
    """Progress, for whoever waits."""
    print(words, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
