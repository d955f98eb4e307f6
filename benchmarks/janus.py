"""Nine people in a Janus room, read by the whole daemon: `.venv/bin/python benchmarks/janus.py` (as root).

Makes two network namespaces joined by a cable, starts Janus in one and lets publishers replay 640x360 VP8 that was
encoded beforehand; in the other `attuned join` reads them, with its embedded broker, and a subscriber beside it takes
what is published. Prints one JSON object: coverage per participant and second, how long after a second's end it is
there, processor time and memory of each process, and what was dropped.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from aiomqtt import Client, MqttError  # noqa: E402
from janus_server import JanusServer  # noqa: E402
from namespaces import Namespaces, inside, made, python, sniffed  # noqa: E402
from publishers import encode  # noqa: E402
from talker import Talker  # noqa: E402

from daemon.demo.call import make_script, write_call  # noqa: E402

MQTT_PORT, HTTP_PORT = 21883, 28765
SIZE = (640, 360)
SETTLE_S = 10
CLIP_S = 12
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Runs as the command line says; the figures go to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--listen", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.listen is not None:
        asyncio.run(listen(given.listen))
        return
    with tempfile.TemporaryDirectory() as folder, made() as names:
        print(json.dumps(measure(names, Path(folder), given.people, given.seconds), indent=2))


def measure(names: Namespaces, folder: Path, n_people: int, seconds: int) -> dict[str, Any]:
    """The whole of it."""
    say("encoding what people show")
    clips = encoded(folder)
    server = JanusServer(names.sfu, names.sfu_address, folder)
    server.start()
    try:
        with Talker(python(names.sfu, ROOT / "tests" / "publishers.py", server.url), folder / "people.log") as people:
            for number in range(n_people):
                people.tell(join=f"person {number}", room=1234, videos=[[str(clips[number % len(clips)]), "camera"]])
                people.until(lambda line: "joined" in line)
            say(f"{n_people} people are in the room")
            with sniffed(names.bot) as packets, joined(names, folder, server.url) as daemon:
                processes = {"daemon": daemon.pid, "publishers": people.process.pid}
                if server.process is not None:
                    processes["janus"] = server.process.pid
                figures = watched(names, folder, processes, seconds)
                daemon.send_signal(2)
                figures["exit_code"] = daemon.wait(30)
            figures["from_and_to"] = sorted(packets)
            return {"people": n_people, "seconds": seconds, "cores": os.cpu_count(), "machine": machine()} | figures
    finally:
        server.kill()


def watched(names: Namespaces, folder: Path, processes: dict[str, int], seconds: int) -> dict[str, Any]:
    """What is published meanwhile, and what that costs."""
    command = python(names.bot, Path(__file__), "--listen", str(SETTLE_S + seconds))
    with Talker(command, folder / "listen.log") as listener:
        listener.until(lambda line: "listening" in line, 60)
        time.sleep(SETTLE_S)
        say("measuring")
        began_s, before = time.time(), {name: cpu_s(pid) for name, pid in processes.items()}
        peaks: dict[str, int] = defaultdict(int)
        while time.time() - began_s < seconds:
            time.sleep(min(5.0, max(0.0, began_s + seconds - time.time())))
            for name, pid in processes.items():
                peaks[name] = max(peaks[name], status(pid, "VmRSS"))
            say(f"{time.time() - began_s:.0f} of {seconds} s")
        took_s = time.time() - began_s
        costs = {
            name: {
                "cores": round((cpu_s(pid) - before[name]) / took_s, 3),
                "rss_mib": round(peaks[name] / 1024),
                "threads": status(pid, "Threads"),
            }
            for name, pid in processes.items()
        }
        heard = listener.until(lambda line: "readings" in line, SETTLE_S + 30)
    return figures_of(heard["readings"], began_s, seconds) | {"processes": costs, "counters": heard["counters"]}


def figures_of(readings: list[list[Any]], began_s: float, seconds: int) -> dict[str, Any]:
    """Coverage and lag of the whole seconds that were measured."""
    first = int(np.ceil(began_s))
    wanted = range(first, first + seconds - 1)
    coverage: dict[str, dict[int, float]] = defaultdict(dict)
    lags = []
    for participant, second, covered, came_s in readings:
        if second in wanted:
            coverage[participant][second] = covered
            lags.append(came_s - (second + 1))
    values = np.array([[by_second.get(second, 0.0) for second in wanted] for by_second in coverage.values()])
    return {
        "participants": len(coverage),
        "readings": len(lags),
        "coverage_mean": round(float(values.mean()), 4),
        "coverage_min": round(float(values.min()), 3),
        "seconds_below_0.9": int((values < 0.9).sum()),  # noqa: PLR2004 (the figure that is asked for)
        "participant_mean_min": round(float(values.mean(axis=1).min()), 4),
        "lag_ms": {f"p{q}": round(float(np.percentile(lags, q)) * 1000) for q in (50, 95, 99, 100)},
    }


@contextmanager
def joined(names: Namespaces, folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """`attuned join` in the bot's namespace."""
    config, log = folder / "attuned.yaml", folder / "daemon.log"
    config.write_text(
        f"mqtt: {{port: {MQTT_PORT}}}\nhttp: {{port: {HTTP_PORT}}}\n"
        f"webrtc: {{addresses: [{names.bot_address}]}}\nstate_dir: {folder / 'state'}\n"
    )
    words = ["join", f"janus+{url}?room=1234", "--purpose", "research", "--consent", "declared", "-c", str(config)]
    command = inside(names.bot, sys.executable, "-m", "daemon", *words)
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)  # noqa: S603 (our own command)
    try:
        yield process
    finally:
        process.kill()
        if process.wait() != 0:
            say(log.read_text()[-2000:])


async def listen(seconds: int) -> None:
    """Runs beside the daemon: when which reading of whom came, and the daemon's counters in the end."""
    readings: list[tuple[str, int, float, float]] = []
    deadline_s = time.monotonic() + 40
    while True:
        try:
            async with Client("127.0.0.1", MQTT_PORT) as client:
                await client.subscribe("attuned/+/session/+/participant/+/emotion")
                print(json.dumps({"listening": True}), flush=True)
                try:
                    async with asyncio.timeout(seconds + 3):
                        async for message in client.messages:
                            payload = json.loads(bytes(message.payload))  # type: ignore[arg-type]
                            whose = str(message.topic).split("/")[5]
                            readings.append((whose, payload["second"], payload["coverage"], time.time()))
                except TimeoutError:
                    break
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.2)
        except MqttError as error:
            if readings or time.monotonic() > deadline_s:
                raise SystemExit(str(error)) from error
            await asyncio.sleep(0.2)
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/metrics") as page:  # noqa: ASYNC210 (the end)
        lines = page.read().decode().splitlines()
    kept = [
        line for line in lines if not line.startswith("#") and ("_total" in line or "_sum" in line or "_count" in line)
    ]
    counters = dict(line.rsplit(" ", 1) for line in kept if line.startswith("attuned_"))
    print(json.dumps({"readings": readings, "counters": counters}), flush=True)


def encoded(folder: Path) -> list[Path]:
    """The four people of the made-up call, each as VP8 of `SIZE`."""
    script = make_script(CLIP_S)
    write_call(folder / "call.mp4", script)

    def pictures(rect: tuple[int, ...]) -> Iterator[np.ndarray]:
        x1, y1, x2, y2 = rect
        with av.open(str(folder / "call.mp4")) as container:
            for picture in container.decode(video=0):
                tile = np.ascontiguousarray(picture.to_ndarray(format="rgb24")[y1:y2, x1:x2])
                yield av.VideoFrame.from_ndarray(tile, format="rgb24").reformat(*SIZE).to_ndarray(format="rgb24")

    return [
        encode(folder / f"{i}.mkv", pictures(person.rect), bit_rate=600_000) for i, person in enumerate(script.people)
    ]


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def status(pid: int, name: str) -> int:
    """A number of /proc/PID/status; sizes are KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


def machine() -> str:
    """The processor, as far as the system says."""
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else platform.machine()


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
