"""How large a machine must be: `.venv/bin/python benchmarks/sizing.py`.

For every number of participants and rate of analysis, `attuned join` reads a gallery of people of the demo call in real
time (1280x720 up to nine of them, 1920x1080 above, H.264, 25 pictures per second), with its embedded broker. Prints one
JSON object: processor cores that it used on average after it had settled, memory at its highest, the lag between the
end of a second and its readings, faces read against faces shown, and what was dropped.
"""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

ROOT = Path(__file__).parent.parent
BENCHMARKS = Path(__file__).parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(BENCHMARKS)]

from janus import cpu_s, machine, say, status  # noqa: E402

from daemon.demo.call import make_script, write_call  # noqa: E402

HTTP_PORT, MQTT_PORT = 28767, 21887
SETTLE_S = 8
GUTTER_PX = 8


def main() -> None:
    """Runs as the command line says; the figures go to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4, 9, 16, 25])
    parser.add_argument("--rates", type=float, nargs="+", default=[2, 5, 10])
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("filming")
        write_call(folder / "call.mp4", make_script(given.seconds))
        rows = []
        for n_people in given.people:
            recording = tiled(folder, n_people)
            for rate_hz in given.rates:
                rows.append(measured(recording, folder, n_people, rate_hz, given.seconds))
                say(json.dumps(rows[-1]))
    print(
        json.dumps({"machine": machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "rows": rows}, indent=1)
    )


def tiled(folder: Path, n_people: int) -> Path:
    """The people of the demo call, over and over, as a gallery of that many tiles."""
    people = make_script(1).people
    columns = math.ceil(math.sqrt(n_people))
    rows = math.ceil(n_people / columns)
    width, height = (1280, 720) if n_people <= 9 else (1920, 1080)  # noqa: PLR2004
    side = (width - (columns + 1) * GUTTER_PX) // columns, (height - (rows + 1) * GUTTER_PX) // rows
    path = folder / f"{n_people}.mp4"
    with av.open(str(folder / "call.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "24"}
        for picture in source.decode(video=0):
            call = picture.to_ndarray(format="rgb24")
            page = np.full((height, width, 3), 24, np.uint8)
            for i in range(n_people):
                x0, y0, x1, y1 = people[i % len(people)].rect
                x = GUTTER_PX + (i % columns) * (side[0] + GUTTER_PX)
                y = GUTTER_PX + (i // columns) * (side[1] + GUTTER_PX)
                page[y : y + side[1], x : x + side[0]] = cv2.resize(call[y0:y1, x0:x1], side)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        target.mux(stream.encode(None))
    return path


def measured(recording: Path, folder: Path, n_people: int, rate_hz: float, seconds: int) -> dict[str, Any]:
    """One session of it."""
    config = folder / "attuned.yaml"
    config.write_text(
        f"analysis: {{rate_hz: {rate_hz}}}\nhttp: {{port: {HTTP_PORT}}}\nmqtt: {{port: {MQTT_PORT}}}\n"
        f"state_dir: {folder / 'state'}\n"
    )
    words = ["join", str(recording), "--purpose", "research", "--consent", "declared", "-c", str(config)]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "daemon", *words], cwd=ROOT, stdout=file, stderr=file)  # noqa: S603 (ours)
        try:
            first = counters(process, log)
            while first.get("attuned_frames_received_total", 0) == 0:
                time.sleep(0.2)
                first = counters(process, log)
            time.sleep(SETTLE_S)
            began_s, first, used_s = time.monotonic(), counters(process, log), cpu_s(process.pid)
            time.sleep(max(1, seconds - SETTLE_S - 4))
            last, used_s, took_s = counters(process, log), cpu_s(process.pid) - used_s, time.monotonic() - began_s
            memory_mb = status(process.pid, "VmHWM") / 1024
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    faces = last["attuned_faces_analysed_total"] - first["attuned_faces_analysed_total"]
    return {
        "people": n_people,
        "rate_hz": rate_hz,
        "cores": round(used_s / took_s, 2),
        "memory_mb": round(memory_mb),
        "faces_per_s": round(faces / took_s, 1),
        "share_read": round(faces / took_s / rate_hz / n_people, 3),
        "lag_p95_below_s": p95(first, last),
        "dropped": round(
            sum(last[key] - first.get(key, 0) for key in last if key.startswith("attuned_frames_dropped_total"))
        ),
    }


def counters(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, float]:
    """The daemon's metrics; empty as long as it does not listen."""
    if process.poll() is not None:
        raise SystemExit(log.read_text()[-2000:])
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/metrics") as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return {}
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line.startswith("attuned_"))}


def p95(first: dict[str, float], last: dict[str, float]) -> float | None:
    """The upper end of the histogram's bucket that holds the 95th percentile; None beyond its last."""
    name = "attuned_second_end_to_publish_seconds"
    n = last[f"{name}_count"] - first.get(f"{name}_count", 0)
    for key, value in last.items():
        edge = re.fullmatch(rf'{name}_bucket{{le="([0-9.]+)"}}', key)
        if edge and value - first.get(key, 0) >= 0.95 * n:
            return float(edge[1])
    return None


if __name__ == "__main__":
    main()
