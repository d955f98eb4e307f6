"""Second's end to publish with a training running beside it and without: `python benchmarks/training.py [--runs 3]`.

Each run plays the made-up call of `attuned demo` in real time through a daemon of its own and reads its histogram at the end. In
every second run the real training process (niced, one at a time, as the trainer starts it) trains on `--samples` samples over and
over, which is far more than the trainer ever does: it makes one attempt per participant and quarter of new samples.
"""

import argparse
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemon.demo.call import make_script, write_call
from models.manifest import WEIGHTS, find_entry
from models.personal.samples import Samples
from models.personal.training import Job, write_job

BUCKET: Final = re.compile(r'attuned_second_end_to_publish_seconds_bucket\{le="([^"]+)"\} (\S+)')


def main() -> None:
    """Runs with and without a training in turn, and what came of it as JSON."""
    parser = argparse.ArgumentParser(description="Latency with a training running beside it and without.")
    parser.add_argument("--runs", type=int, default=3, help="of each kind")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attuned-bench-") as name:
        folder = Path(name)
        write_call(folder / "call.mp4", make_script(options.seconds))
        runs = []
        for number in range(2 * options.runs):
            trains = bool(number % 2)
            runs.append(one_run(folder, training=trains, samples=options.samples))
            print(json.dumps(runs[-1]), file=sys.stderr)
    figures = {kind: [run["p95_ms"] for run in runs if run["training"] is flag] for kind, flag in KINDS}
    with_one, without = (statistics.median(figures[kind]) for kind, _ in KINDS)
    print(
        json.dumps(
            {
                "p95_ms": figures,
                "median_with_training": with_one,
                "median_without": without,
                "ratio": round(with_one / without, 3),
                "runs": runs,
                "samples": options.samples,
                "seconds": options.seconds,
                "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            },
            indent=1,
        )
    )


KINDS: Final = (("training", True), ("without", False))


def one_run(folder: Path, *, training: bool, samples: int) -> dict[str, Any]:
    """One call, and the latency of its seconds."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ATTUNED_", "XDG_"))}
    own = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / f"state-{port}"), "ATTUNED_HTTP__PORT": str(port)}
    load, page, over = os.getloadavg()[0], "", threading.Event()
    trained: list[float] = []
    with (folder / "attuned.log").open("w") as log:
        attuned = subprocess.Popen(  # noqa: S603 (ours)
            [sys.executable, "-m", "daemon", "join", str(folder / "call.mp4"), "--purpose", "demo"],
            env=kept | own,
            stdout=log,
            stderr=log,
        )
        thread = threading.Thread(target=train_until, args=(folder / "job", samples, over, trained))
        if training:
            thread.start()
        try:
            while attuned.poll() is None:
                with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    page = answer.read().decode()
                time.sleep(0.5)
        finally:
            over.set()
            attuned.kill()
            attuned.wait()
            if training:
                thread.join()
    if attuned.returncode:
        sys.exit((folder / "attuned.log").read_text())
    return {
        "training": training,
        "p95_ms": quantile(page, 0.95),
        "p50_ms": quantile(page, 0.5),
        "trainings": len(trained),
        "training_s": round(statistics.median(trained), 2) if trained else None,
        "load_before": round(load, 1),
    }


def train_until(folder: Path, n: int, over: threading.Event, trained: list[float]) -> None:
    """One training after the other until it is over; how long each took."""
    folder.mkdir(exist_ok=True)
    models = find_entry("pixel").sha256, find_entry("landmark").sha256
    write_job(folder, faces(n), Job("head", 0, models))
    command = [sys.executable, "-m", "daemon.training_process", str(folder), "--memory-mb", "1024", "--cpu-s", "120"]
    while not over.is_set():
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 (ours)
        while process.poll() is None and not over.wait(0.05):
            pass
        if process.poll() is None:
            process.kill()
        elif process.returncode:
            sys.exit(f"the training ended with {process.returncode}")
        else:
            trained.append(time.monotonic() - began)
        process.wait()


def faces(n: int) -> Samples:
    """What both arms saw on the faces of the bank, a class for five seconds each; labels are what annotators saw."""
    rng = np.random.default_rng(0)
    with np.load(WEIGHTS / "bank.npz") as bank:
        emotion = bank["emotion"].astype(int)
        arms = [bank[f"{arm}_embedding"][:, 0].astype(np.float32) for arm in ("pixel", "landmark")]
    label = rng.integers(0, 7, n // 5 + 1).repeat(5)[:n]
    rows = np.array([rng.choice(np.flatnonzero(emotion == c)) for c in label])
    target = np.full((n, 7), 0.05)
    target[np.arange(n), label] = 0.7
    return Samples(
        time_s=np.arange(n) + 0.5,
        pixel=arms[0][rows],
        landmark=arms[1][rows],
        interpretable=np.full((n, 51), np.nan, dtype=np.float32),
        target=target,
        confidence=np.full(n, 0.7),
        quality=np.full(n, 0.8),
        origin=np.zeros(n, dtype=np.uint8),
    )


def quantile(page: str, share: float) -> float:
    """Milliseconds, within a bucket of the histogram as Prometheus has it: linear."""
    buckets = [(float(le), float(n)) for le, n in BUCKET.findall(page)]
    total = buckets[-1][1]
    before_s = before = 0.0
    for le, n in buckets:
        if n >= share * total:
            inside = (share * total - before) / max(n - before, 1e-9)
            return round(1000 * (before_s + (le - before_s) * inside if np.isfinite(le) else before_s), 1)
        before_s, before = le, n
    raise ValueError(page)


if __name__ == "__main__":
    main()
