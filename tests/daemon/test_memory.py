"""The allocator's settings, in processes of their own: they cannot be taken back."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import ctypes, re, sys, threading
from daemon.memory import steady_memory

if sys.argv[1] == "steady":
    assert steady_memory()
allocate = ctypes.CDLL(None).malloc
allocate.restype = ctypes.c_void_p
together = threading.Barrier(12)

def work():
    together.wait()
    for _ in range(100):
        allocate(1000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# An arena of a thread begins at a multiple of 64 MiB.
starts = [int(line.split("-")[0], 16) for line in open("/proc/self/maps") if line.split()[1] == "rw-p" and len(line.split()) == 5]
print(sum(start % (1 << 26) == 0 for start in starts))
"""


def n_arenas(mode: str) -> int:
    """How many arenas twelve threads make, beside the first."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return int(done.stdout)


def test_threads_share_arenas() -> None:
    """Otherwise there are as many as threads, up to eight a core."""
    assert n_arenas("steady") <= 1
    assert n_arenas("as it is") > 3
