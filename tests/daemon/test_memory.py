"""Settings of the allocator and of the collector, in processes of their own: they are the whole process's."""

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


LEAVERS = """
import gc, sys, weakref
from contextlib import nullcontext
from daemon.memory import light_collections

class Knot:
    def __init__(self):
        self.me = self

modules = [[] for _ in range(600_000)]
gc.collect()
people, there = [], []
with light_collections() if sys.argv[1] == "light" else nullcontext():
    for newcomer in range(72):
        people.append([Knot() for _ in range(1350)])
        there.append(weakref.ref(people[-1][0]))
        del people[:-12]
    people.clear()
    alive = sum(knot() is not None for knot in there)
    frozen = gc.get_freeze_count()
print(alive, frozen >= 600_000, gc.get_freeze_count())
"""


def left_behind(mode: str) -> list[str]:
    """How many of sixty leavers are still in memory; whether what was there before is passed over; what is afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVERS, mode],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.stdout.split()


def test_who_left_is_collected_soon() -> None:
    """Of 72 who leave a knot of objects behind most are gone; next to 600,000 old objects nobody would be."""
    alive, is_frozen, afterwards = left_behind("light")
    assert int(alive) <= 12 + 36
    assert (is_frozen, afterwards) == ("True", "0")
    assert left_behind("as it is")[0] == "72"
