"""Fuzzing that is guided by coverage: `make fuzz`, or this file; atheris comes with the extra `fuzz`.

Every target of `tests/fuzz_targets.py` runs in a process of its own, ten minutes unless told otherwise, several at a
time. Prints one JSON object: for each how long it ran, how many inputs it tried and what it found; what makes a target
crash or hang lies in the corpus folder and is to be mended. Exit code 1 when there is any.
"""

import argparse
import json
import operator as op
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

HANG_S = 25
PICTURES = {"gallery", "faces"}
COMPARISONS = (op.lt, op.le, op.eq, op.ne, op.gt, op.ge)
"""As Python's bytecode numbers them."""
LENGTH_MAX = {"video": 65_536, "gallery": 64, "faces": 64}


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a target."""

    target: str
    seconds: float
    inputs: int
    per_s: float
    coverage: int
    crashes: int
    hangs: int
    exit_code: int
    said: str


def seeds(target: str, folder: Path) -> None:
    """Something sound to begin with."""
    sys.path.append(str(ROOT / "tests" / "fuzz"))
    import test_fuzz  # noqa: PLC0415 (its examples)

    examples: dict[str, list[bytes]] = {
        "config": [test_fuzz.DEFAULTS, (ROOT / "config" / "default.yaml").read_bytes(), b"a: 2001-99-99\n"],
        "wire": [json.dumps(test_fuzz.READING).encode()],
        "topics": [
            test_fuzz.TOPIC + b"consent/set\0granted",
            test_fuzz.TOPIC + b'label/set\0{"emotion": "anger", "from": 1}',
        ],
        "sdp": [test_fuzz.OFFER],
        "janus": [json.dumps(message).encode() for message in test_fuzz.MESSAGES],
        "addresses": test_fuzz.ADDRESSES,
        "gallery": [b"\x80\x02\x68\x01\x04\x02\x00" * 3],
        "faces": [b"\x80\x02\x68\x01\x05\x02\x00" * 3],
    }
    if target == "video":
        from videos import write_video  # noqa: PLC0415

        for name, codec in {"a.mp4": "libx264", "b.mkv": "libx264", "c.avi": "mpeg4", "d.webm": "libvpx"}.items():
            write_video(folder / name, range(10), size=(64, 48), codec=codec)
    for number, example in enumerate(examples.get(target, [])):
        (folder / f"seed-{number}").write_bytes(example)


def work(target: str, arguments: list[str]) -> None:
    """The process of one target; never returns."""
    import atheris  # noqa: PLC0415 (the extra `fuzz`)

    with atheris.instrument_imports(include=["config", "daemon", "pipeline", "models", "yaml", "aiortc.sdp"]):
        import fuzz_targets  # noqa: PLC0415

        if target in PICTURES:
            import daemon.inference  # noqa: PLC0415
            import daemon.seats  # noqa: F401, PLC0415
    test = fuzz_targets.TARGETS[target]

    def pictures(data: bytes) -> None:
        # Here, because atheris puts its own in place when it begins.
        if not isinstance(atheris._trace_cmp, partial):  # noqa: SLF001 (there is no other way)
            atheris._trace_cmp = partial(compare, atheris._trace_cmp)  # noqa: SLF001
        test(data)

    atheris.Setup([sys.argv[0], *arguments], pictures if target in PICTURES else test)
    atheris.Fuzz()


def compare(traced: Callable[..., object], left: object, right: object, operator: int, *where: object) -> object:
    """What a comparison gives; of arrays without atheris, whose version 3.0.0 never lets go of what that gives."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return COMPARISONS[operator](left, right)
    return traced(left, right, operator, *where)


def run(target: str, seconds: int, corpus: Path) -> Run:
    """Runs a target for so long, or until it fails."""
    folder, found = corpus / target, corpus / f"{target}-found"
    for made in (folder, found):
        made.mkdir(parents=True, exist_ok=True)
    seeds(target, folder)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={HANG_S}",
        "-rss_limit_mb=3000",
        f"-max_len={LENGTH_MAX.get(target, 4096)}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
    ]
    began_s = time.monotonic()
    done = subprocess.run(  # noqa: S603 (ourselves)
        [sys.executable, __file__, "--work", target, *options, str(folder)],
        capture_output=True, text=True, errors="replace", check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    took_s = time.monotonic() - began_s
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    inputs = int(stats.get("number_of_executed_units", 0))
    coverage = [int(n) for n in re.findall(r"cov: (\d+)", done.stderr)]
    names = [path.name for path in found.iterdir()]
    wrong = [line for line in done.stderr.splitlines() if "===" in line or "Error" in line or "Exception" in line]
    return Run(
        target,
        round(took_s, 1),
        inputs,
        round(inputs / took_s, 1),
        coverage[-1] if coverage else 0,
        sum(name.startswith(("crash", "oom", "leak")) for name in names),
        sum(name.startswith("timeout") for name in names),
        done.returncode,
        " | ".join(wrong[:3])[:400] if done.returncode else "",
    )


def main() -> None:
    """The command line."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3:])
        return
    from fuzz_targets import TARGETS  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="of each target")
    parser.add_argument("--at-once", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--targets", nargs="*", choices=[*TARGETS], default=[*TARGETS])
    parser.add_argument("--corpus", type=Path, default=ROOT / "var" / "fuzz")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / f"fuzz-{datetime.now(UTC):%Y-%m-%d}.json")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.at_once) as threads:
        runs = list(threads.map(partial(run, seconds=given.seconds, corpus=given.corpus), given.targets))
    text = json.dumps({"cores": os.cpu_count(), "targets": [asdict(one) for one in runs]}, indent=2)
    given.out.write_text(text + "\n")
    print(text)
    sys.exit(0 if all(one.exit_code == 0 and not one.crashes and not one.hangs for one in runs) else 1)


if __name__ == "__main__":
    main()
