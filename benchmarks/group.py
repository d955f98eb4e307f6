"""What every mechanism of the group engine is worth: `benchmarks/group-DATE.json`, and one file for each other group.

    python benchmarks/group.py [--seeds 20] [--jobs 2] [--only NAME ...]

`shipped` are the parameters that come with attuned; `benchmarks/groups` has others, which no setting was chosen on. The
same seeds give the same figures on any number of processes; the date and the commit are those of the run.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from daemon.simulate.command import format_simulation, run_simulation

HERE = Path(__file__).parent
SHIPPED = "shipped"


def main() -> int:
    """Runs the simulations that were asked for, and writes a file after each."""
    groups = {SHIPPED: None, **{path.stem: path for path in sorted((HERE / "groups").glob("*.yaml"))}}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="simulated calls of each kind; default 20")
    parser.add_argument("--jobs", type=int, default=2, help="processes; default 2")
    parser.add_argument("--only", nargs="+", choices=list(groups), default=list(groups), help="which groups")
    parser.add_argument("--out", type=Path, default=HERE, help="where files go; default benchmarks/")
    options = parser.parse_args()
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 (git)
    date = datetime.now(UTC).date().isoformat()
    for name in options.only:
        result = run_simulation(groups[name], n_seeds=options.seeds, jobs=options.jobs)
        path = options.out / f"group-{date}{'' if name == SHIPPED else f'-{name}'}.json"
        path.write_text(json.dumps({"commit": commit, **result}, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {path}\n{format_simulation(result)}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
