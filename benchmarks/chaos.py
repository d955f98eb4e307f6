"""Every fault of `tests/chaos_faults.py`, done to whole daemons: `make chaos` (as root), or this file.

One daemon lives through the faults one after the other; others are started where they cannot start; one is killed with
signal 9 at random moments, fifty times. Prints the table of faults, promises, outcomes and recovery times, and writes
it as Markdown and JSON; exit code 1 when a promise does not hold. `--seed` makes other random moments.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaos_faults import RUNNING, STARTING, Outcome, Stage, harmful_streams, strike, tmpfs  # noqa: E402
from chaos_kill import KILL_PROMISE, killed  # noqa: E402
from chaos_rig import Rig  # noqa: E402
from chaos_time import CLOCK_PROMISE, clock_jumps  # noqa: E402
from rtsp_server import RtspServer  # noqa: E402

from daemon.demo.call import make_script, write_call  # noqa: E402

STATE = "96m"
"""Size of the disk that is filled."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    fault: str
    promise: str
    holds: bool
    found: str
    recovery_s: float | None
    took_s: float


def measure(folder: Path, seed: int, n_kills: int, only: str) -> list[Row]:
    """Does all of it."""
    call = folder / "call.mp4"
    write_call(call, make_script(12))
    rows: list[Row] = []

    def add(name: str, promise: str, do: Callable[[], Outcome]) -> None:
        if only not in name:
            return
        began_s = time.monotonic()
        try:
            outcome = do()
        except Exception as error:  # noqa: BLE001 (is told in the table)
            outcome = Outcome(holds=False, found=f"{type(error).__name__}: {error}")
        rows.append(Row(name, promise, took_s=round(time.monotonic() - began_s, 1), **asdict(outcome)))
        say(f"{'ok  ' if outcome.holds else 'FAIL'} {name}: {outcome.found} ({outcome.recovery_s} s)")

    server = RtspServer(harmful_streams(folder, call))
    server.start()
    try:
        for name, promise, do, _ in STARTING:
            home = folder / name.replace(" ", "-")
            home.mkdir()
            add(name, promise, lambda do=do, home=home: do(home))  # type: ignore[misc]
        if any(only in fault.name for fault in RUNNING):
            state = folder / "small-disk"
            with tmpfs(state, STATE), Rig(folder, server.url("call"), state=state, seed=seed) as rig:
                for fault in RUNNING:
                    add(fault.name, fault.promise, lambda fault=fault: strike(Stage(rig, server, 1.0), fault))  # type: ignore[misc]
                rig.quiet()
                add("SIGTERM after all of it", "exit 0, within 40 s", lambda: _end(rig))
        add("clock jumps", CLOCK_PROMISE, lambda: clock_jumps(folder / "clock", server.url("call")))
        add(
            f"kill -9 at {n_kills} random moments",
            KILL_PROMISE,
            lambda: killed(folder / "kill", server.url("call"), n_kills, seed),
        )
    finally:
        server.stop()
    return rows


def _end(rig: Rig) -> Outcome:
    began_s = time.monotonic()
    status = rig.daemon.end(signal.SIGTERM)
    return Outcome(status == 0, f"exit {status}", round(time.monotonic() - began_s, 1))


def table(rows: list[Row], seed: int) -> str:
    """As Markdown."""
    lines = [
        f"# Chaos, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"`make chaos`, seed {seed}; {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}. Real daemons,",
        "mosquitto, GStreamer's RTSP server; of every fault that a daemon lives through it is also checked that there is no",
        "traceback, that every event that was committed is heard, in order, and that no reading is impossible.",
        "",
        "| fault | promise | holds | what was found | recovery |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        recovery = "" if row.recovery_s is None else f"{row.recovery_s:g} s"
        found = row.found.replace("|", "/").replace("\n", " ")[:300]
        lines.append(f"| {row.fault} | {row.promise} | {'yes' if row.holds else '**no**'} | {found} | {recovery} |")
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / f"chaos-{datetime.now(UTC):%Y-%m-%d}")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), given.seed, given.kills, given.only)
    text = table(rows, given.seed)
    given.out.with_suffix(".md").write_text(text)
    told = {"seed": given.seed, "cores": os.cpu_count(), "faults": [asdict(row) for row in rows]}
    given.out.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")
    print(text)
    sys.exit(0 if all(row.holds for row in rows) else 1)


if __name__ == "__main__":
    main()
