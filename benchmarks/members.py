"""What the group engine takes for a second of a large call: `.venv/bin/python benchmarks/members.py`.

A simulated call of that many members goes through `pipeline.call.Call`. Prints one JSON object: milliseconds of
processor time (so that other work on the machine counts less) for every second of the call, its readings included.
"""

import argparse
import cProfile
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from daemon.memory import light_collections, steady_memory  # noqa: E402
from daemon.simulate.bank import load_bank  # noqa: E402
from daemon.simulate.params import load_params  # noqa: E402
from daemon.simulate.world import make_world  # noqa: E402
from pipeline.call import Call  # noqa: E402


def main() -> None:
    """Runs as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=49)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", type=Path, help="write cProfile's figures there; they slow it down")
    given = parser.parse_args()
    # As in the daemon.
    steady_memory()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_text(f"members: {{number: [{given.members}, {given.members}]}}\n")
        world = make_world(load_params(path), load_bank(), given.seed)
    profile = cProfile.Profile()
    call, took_ms = Call(), []
    with light_collections():
        for second in range(world.n_seconds):
            here, readings = world.here(second), list(world.readings(second))
            if given.profile:
                profile.enable()
            began_s = time.thread_time()
            call.look(float(second), here)
            for reading in readings:
                call.add(reading)
            call.advance(second + 1.2)
            took_ms.append(1000 * (time.thread_time() - began_s))
            profile.disable()
    if given.profile:
        profile.dump_stats(given.profile)
    shares = {"median": 50, "p95": 95, "p99": 99, "max": 100}
    figures = {name: round(float(np.percentile(took_ms, share)), 2) for name, share in shares.items()}
    print(
        json.dumps(
            {"members": given.members, "seconds": len(took_ms), "mean": round(float(np.mean(took_ms)), 2), **figures}
        )
    )


if __name__ == "__main__":
    main()
