"""Hours of a call in which people come and go and the broker restarts: `make soak` (as root), or this file.

Nine people in a Janus room of its own network namespace, read by a whole daemon that publishes to a real mosquitto.
Every minute somebody leaves and somebody new comes; every five minutes the broker is stopped for ten seconds. Resident
memory, files, threads and tasks of the daemon are looked at every five seconds, and when each reading arrives. Prints
and writes JSON and a plot; exit code 1 when something grew or drifted.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

MQTT_PORT, HTTP_PORT = 21883, 28765
PEOPLE = 9
EVERY_S = 5.0
BROKER_EVERY_S, BROKER_AWAY_S = 300.0, 10.0
CHURN_EVERY_S = 60.0
BLOCK_S = 60.0
"""Memory of neighbouring moments is alike: a line is drawn through the medians of minutes."""
GROWTH_MAX = 0.01
DRIFT_MAX_S = 0.05
"""Over the whole run, whatever the interval says; a clock that is wrong by 30 ppm drifts as far in half an hour."""
PROMPT = 10.0
"""Percentile of a minute's lags that counts for the drift: a busy machine makes many readings late, a clock all of them."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through what was measured.

    slope: per hour, with its 95 % interval. growth: what the line gains over the run, as a share of its mean.
    """

    slope: float
    low: float
    high: float
    growth: float

    @property
    def rises(self) -> bool:
        """Whether the whole interval is above 0."""
        return bool(self.low > 0)


@dataclass(frozen=True, slots=True)
class Samples:
    """What was looked at, at the same instants: seconds from the start, KiB, and numbers."""

    time_s: np.ndarray[Any, np.dtype[np.float64]]
    rss_kib: np.ndarray[Any, np.dtype[np.float64]]
    files: np.ndarray[Any, np.dtype[np.float64]]
    threads: np.ndarray[Any, np.dtype[np.float64]]
    tasks: np.ndarray[Any, np.dtype[np.float64]]

    def after(self, time_s: float) -> "Samples":
        """What was looked at from then on."""
        kept = self.time_s >= time_s
        return Samples(*(getattr(self, name)[kept] for name in self.__slots__))


def trend(
    time_s: Sequence[float], values: Sequence[float], *, block_s: float = BLOCK_S, percentile: float = 50.0
) -> Trend:
    """The line through the medians of blocks of time, by least squares, with Student's interval for its slope.

    percentile: another one than the median.

    Raises:
        ValueError: There are fewer than three blocks.
    """
    times, series = np.asarray(time_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    block = np.floor((times - times[0]) / block_s) if len(times) else times
    names = np.unique(block)
    if len(names) < 3:  # noqa: PLR2004 (two points say nothing of how far a line is off)
        msg = f"a trend needs three blocks of {block_s:g} s, found {len(names)}; run for longer"
        raise ValueError(msg)
    middle = np.array([times[block == name].mean() for name in names]) / 3600
    level = np.array([np.percentile(series[block == name], percentile) for name in names])
    line = stats.linregress(middle, level)
    # What never changes has no error that could be told.
    margin = float(stats.t.ppf(0.975, len(names) - 2)) * float(np.nan_to_num(line.stderr))
    gain = float(line.slope) * float(middle[-1] - middle[0])
    return Trend(
        float(line.slope),
        float(line.slope) - margin,
        float(line.slope) + margin,
        gain / max(abs(float(level.mean())), 1e-9),
    )


def judge(samples: Samples, lags: Sequence[tuple[float, float]], warm_s: float) -> dict[str, Any]:
    """What came of it, after a warm-up; `lags` are (time, seconds from a second's end to its arrival)."""
    warm = samples.after(warm_s)
    trends = {name: trend(warm.time_s, getattr(warm, name)) for name in ("rss_kib", "files", "threads", "tasks")}
    late = [(time_s, lag) for time_s, lag in lags if time_s >= warm_s]
    drift = trend([t for t, _ in late], [lag for _, lag in late], percentile=PROMPT)
    hours = (late[-1][0] - late[0][0]) / 3600
    drift_s = drift.slope * hours
    memory = trends["rss_kib"]
    promises = {
        "memory does not rise (95 % interval of the slope)": not memory.rises,
        "memory grows by less than 1 %": memory.growth < GROWTH_MAX,
        "files do not rise": not trends["files"].rises,
        "threads do not rise": not trends["threads"].rises,
        "tasks do not rise": not trends["tasks"].rises,
        f"media time drifts from wall time by at most {1000 * DRIFT_MAX_S:g} ms": abs(drift_s) <= DRIFT_MAX_S,
    }
    return {
        "promises": {name: bool(holds) for name, holds in promises.items()},
        "holds": bool(all(promises.values())),
        "rss_mib": {
            "first": round(float(np.median(warm.rss_kib[:12])) / 1024, 1),
            "last": round(float(np.median(warm.rss_kib[-12:])) / 1024, 1),
            "most": round(float(warm.rss_kib.max()) / 1024, 1),
            "slope_mib_per_hour": [round(value / 1024, 3) for value in (memory.slope, memory.low, memory.high)],
            "growth": round(memory.growth, 5),
        },
        "per_hour": {
            name: [round(value, 3) for value in (line.slope, line.low, line.high)]
            for name, line in trends.items()
            if name != "rss_kib"
        },
        "range": {
            name: [int(getattr(warm, name).min()), int(getattr(warm, name).max())]
            for name in ("files", "threads", "tasks")
        },
        "lag_ms": {f"p{q}": round(1000 * float(np.percentile([lag for _, lag in late], q))) for q in (50, 95, 100)},
        "drift_ms": round(1000 * drift_s, 2),
        "drift_ms_per_hour_ci95": [round(1000 * value, 2) for value in (drift.low, drift.high)],
    }


def draw(
    path: Path, samples: Samples, lags: Sequence[tuple[float, float]], outages: Sequence[float], warm_s: float
) -> None:
    """Writes the plot."""
    import matplotlib as mpl  # noqa: PLC0415 (only here)

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(4, 1, figsize=(10, 9), sharex=True, layout="constrained")
    minutes = samples.time_s / 60
    rows = (("rss_kib", "resident MiB", 1024.0), ("files", "open files", 1.0), ("threads", "threads, tasks", 1.0))
    for axis, (name, label, unit) in zip(axes, rows, strict=False):
        axis.plot(minutes, getattr(samples, name) / unit, linewidth=1, label=name if name == "threads" else None)
        axis.set_ylabel(label)
    axes[2].plot(minutes, samples.tasks, linewidth=1, label="tasks")
    axes[2].legend(loc="upper right", fontsize="small")
    warm = samples.after(warm_s)
    line = np.polyfit(warm.time_s, warm.rss_kib, 1)
    axes[0].plot(warm.time_s / 60, np.polyval(line, warm.time_s) / 1024, "k--", linewidth=1, label="after warm-up")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(loc="lower right", fontsize="small")
    axes[3].plot([t / 60 for t, _ in lags], [1000 * lag for _, lag in lags], ".", markersize=1)
    axes[3].set_ylabel("arrival after a\nsecond's end, ms")
    axes[3].set_yscale("log")
    axes[3].set_xlabel("minutes; grey: the broker is away, every minute one leaves and one comes")
    for axis in axes:
        axis.axvline(warm_s / 60, color="tab:green", linewidth=0.8)
        for outage_s in outages:
            axis.axvspan(outage_s / 60, (outage_s + BROKER_AWAY_S) / 60, color="0.85")
    figure.savefig(path, dpi=80)
    plt.close(figure)


class Watcher:
    """Runs beside the daemon, in its namespace: arrivals, the number of tasks and the counters, a JSON line each time."""

    def __init__(self) -> None:
        self.readings: list[tuple[str, int, float]] = []
        self.events: list[int] = []

    async def run(self) -> None:
        """Until it is killed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="listen")
            tasks.create_task(self._tell(), name="tell")

    async def _listen(self) -> None:
        from aiomqtt import Client, MqttError  # noqa: PLC0415 (only the process that listens)

        while True:
            with suppress(MqttError):
                async with Client("127.0.0.1", MQTT_PORT, identifier="soak", clean_session=False) as client:
                    await client.subscribe("attuned/+/session/+/participant/+/emotion")
                    await client.subscribe("attuned/+/session/+/event", qos=1)
                    async for message in client.messages:
                        payload = json.loads(bytes(message.payload))  # type: ignore[arg-type]
                        if str(message.topic).endswith("/event"):
                            self.events.append(payload["seq"])
                        else:
                            self.readings.append((payload["participant"], payload["second"], time.time()))
            await asyncio.sleep(0.2)

    async def _tell(self) -> None:
        while True:
            with suppress(OSError):
                page = await asyncio.to_thread(_metrics)
                said = {"metrics": page, "readings": self.readings, "events": self.events}
                self.readings, self.events = [], []
                print(json.dumps(said), flush=True)
            await asyncio.sleep(EVERY_S)


def _metrics() -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    wanted = (
        "attuned_tasks ",
        "attuned_mqtt_",
        "attuned_frames_",
        "attuned_faces_",
        "attuned_participants",
        "attuned_reconnects",
    )
    found = (line.rsplit(" ", 1) for line in lines if line.startswith(wanted))
    return {name: float(value) for name, value in found}


@contextmanager
def process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards."""
    with log.open("ab") as file:
        started = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)  # noqa: S603 (our own command)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


class Rig:
    """Everything that runs, and what is done to it."""

    def __init__(self, stack: ExitStack, folder: Path, clips: Path | None) -> None:
        from janus import encoded  # noqa: PLC0415 (benchmarks/janus.py)
        from janus_server import JanusServer  # noqa: PLC0415
        from namespaces import inside, made, python  # noqa: PLC0415
        from talker import Talker  # noqa: PLC0415

        self._folder, self._stack, self._inside = folder, stack, inside
        self._names = stack.enter_context(made())
        self._clips = encoded(folder) if clips is None else sorted(clips.glob("*.mkv"))
        server = JanusServer(self._names.sfu, self._names.sfu_address, folder)
        server.start()
        stack.callback(server.kill)
        people = python(self._names.sfu, ROOT / "tests" / "publishers.py", server.url)
        self._people = stack.enter_context(Talker(people, folder / "people.log"))
        self._there: list[str] = []
        self._n = 0
        self._broker: subprocess.Popen[bytes] | None = None
        stack.callback(self.stop_broker)
        self.start_broker()
        for _ in range(PEOPLE):
            self.come()
        config = folder / "attuned.yaml"
        config.write_text(
            f"mqtt: {{broker: external, port: {MQTT_PORT}}}\nhttp: {{port: {HTTP_PORT}}}\nstate_dir: {folder / 'state'}\n"
            f"webrtc: {{addresses: [{self._names.bot_address}]}}\nsessions:\n"
            f"  - {{name: soak, url: 'janus+{server.url}?room=1234', purpose: research, consent: declared}}\n"
        )
        self.log = folder / "daemon.log"
        command = inside(self._names.bot, sys.executable, "-m", "daemon", "run", "-c", str(config))
        self.daemon = stack.enter_context(process(command, self.log))
        watching = python(self._names.bot, Path(__file__), "--watch")
        self.watcher = stack.enter_context(Talker(watching, folder / "watch.log"))

    def start_broker(self) -> None:
        """A mosquitto of the bot's own."""
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            sys.exit("mosquitto is not installed; apt-get install mosquitto")
        config = self._folder / "mosquitto.conf"
        config.write_text(
            f"user root\nlistener {MQTT_PORT} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self._folder}/\nautosave_on_changes true\nautosave_interval 1\n"
        )
        command = self._inside(self._names.bot, program, "-c", str(config))
        self._broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603

    def stop_broker(self) -> None:
        """It goes in order: what it has taken, and the watcher has not, is its own to keep."""
        if self._broker is not None:
            self._broker.terminate()
            self._broker.wait()
            self._broker = None

    def come(self) -> None:
        """Somebody who was never there comes."""
        self._n += 1
        clip, name = self._clips[self._n % len(self._clips)], f"guest {self._n}"
        self._people.tell(join=name, room=1234, videos=[[str(clip), "camera"]])
        self._people.until(lambda line: line.get("joined") == name, 60)
        self._there.append(name)

    def go(self) -> None:
        """Who is there for longest goes."""
        name = self._there.pop(0)
        self._people.tell(leave=name)
        self._people.until(lambda line: line.get("left") == name, 60)

    @property
    def n_come(self) -> int:
        """How many have come so far."""
        return self._n


def run(
    seconds: float, warm_s: float, folder: Path, clips: Path | None
) -> tuple[dict[str, Any], Samples, list[tuple[float, float]], list[float]]:
    """The whole of it."""
    with ExitStack() as stack:
        rig = Rig(stack, folder, clips)
        rig.watcher.until(lambda line: line.get("readings"), 120)
        began_s, wall_s = time.monotonic(), time.time()
        rows: list[tuple[float, ...]] = []
        lags: list[tuple[float, float]] = []
        seen: dict[str, set[int]] = {}
        events: list[int] = []
        outages: list[float] = []
        metrics: dict[str, float] = {}
        churn_s, broker_s, back_s, leave = CHURN_EVERY_S, BROKER_EVERY_S, float("inf"), True
        while (now_s := time.monotonic() - began_s) < warm_s + seconds:
            if now_s >= churn_s:
                (rig.go if leave else rig.come)()
                churn_s, leave = churn_s + CHURN_EVERY_S / 2, not leave
            if now_s >= broker_s:
                rig.stop_broker()
                outages.append(now_s)
                broker_s, back_s = broker_s + BROKER_EVERY_S, now_s + BROKER_AWAY_S
            if now_s >= back_s:
                rig.start_broker()
                back_s = float("inf")
            said = rig.watcher.until(lambda line: "metrics" in line, 60)
            metrics = said["metrics"]
            pid = rig.daemon.pid
            rows.append((now_s, *look(pid), metrics.get("attuned_tasks", float("nan"))))
            events += said["events"]
            for who, second, came_s in said["readings"]:
                seen.setdefault(who, set()).add(second)
                lags.append((came_s - wall_s, came_s - (second + 1)))
            if len(rows) % 12 == 0:
                say(
                    f"{now_s:.0f} s: {rows[-1][1] / 1024:.0f} MiB, {rows[-1][2:]} files, threads, tasks, {rig.n_come} came"
                )
        rig.daemon.send_signal(15)
        exit_code = rig.daemon.wait(60)
        log = rig.log.read_text()
        samples = Samples(*(np.array(column) for column in zip(*rows, strict=True)))
        told = judge(samples, lags, warm_s) | {
            "seconds": round(seconds),
            "warm_up_s": round(warm_s),
            "came": rig.n_come,
            "broker_restarts": len(outages),
            "exit_code": exit_code,
            "tracebacks": log.count("Traceback"),
            "events": len(set(events)),
            "event_numbers_missing": len(set(range(max(events, default=-1) + 1)) - set(events)),
            "readings": len(lags),
            "participants_seen": len(seen),
            "counters": {name: value for name, value in metrics.items() if value},
            "machine": {
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
            },
        }
        return told, samples, lags, outages


def look(pid: int) -> tuple[float, float, float]:
    """Resident KiB, open files and threads of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (names of things that come and go)
    return float(fields["VmRSS"].split()[0]), float(files), float(fields["Threads"])


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="measured, after the warm-up")
    parser.add_argument("--warm-up", type=float, default=5.0, help="minutes that are not measured")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / f"soak-{datetime.now(UTC):%Y-%m-%d}")
    parser.add_argument("--clips", type=Path, help="folder of VP8 videos that people show; none: they are filmed anew")
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if given.watch:
        asyncio.run(Watcher().run())
        return
    with tempfile.TemporaryDirectory() as folder:
        told, samples, lags, outages = run(60 * given.minutes, 60 * given.warm_up, Path(folder), given.clips)
    draw(given.out.with_suffix(".png"), samples, lags, outages, 60 * given.warm_up)
    text = json.dumps(told, indent=2)
    given.out.with_suffix(".json").write_text(text + "\n")
    print(text)
    sys.exit(0 if told["holds"] and told["exit_code"] == 0 and not told["tracebacks"] else 1)


if __name__ == "__main__":
    main()
