"""Keeps what the process has given back from staying with it: settings of glibc's allocator and of Python's collector.

By default every few threads get an arena of their own, up to eight per core, and a picture that was freed in one serves
no other; and buffers as large as pictures soon come from these arenas too. Over half an hour of people who come and go
that was 8 % more memory, and most of it free (`benchmarks/soak.py`).

Since that threshold is set, all that is free at the end of an arena goes back as soon as it is more than 128 KiB, which the group
engine needs anew every second: with 49 members, to get it again page by page took a tenth to a fifth of the engine's time
(`benchmarks/members.py`).

A peer connection that is closed is a knot of some 1,350 objects that refer to each other, which only a full collection
unties. Python does one when what is new exceeds a quarter of what is old, and the modules alone are 200,000 objects:
seventeen people who left waited for it, and it then held everything up for 0.2 s. Without the modules it is done several
times a minute, and takes 0.02 s.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ARENAS = 2
MAPPED_FROM = 256 * 1024
"""Bytes from which on a buffer is memory of its own and goes back when it is freed: a picture, not a message."""
KEPT = 4 * 1024 * 1024
"""Bytes that may be free at the end of each arena before they go back."""
THRESHOLDS = 700, 10, 5
"""Of the collector; the last is half of Python's, for a full collection every 42,000 objects."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of malloc.h."""


def steady_memory() -> bool:
    """Sets the allocator of this process, before threads have arenas of their own; False where it is not glibc's."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return False
    settings = {_M_ARENA_MAX: ARENAS, _M_MMAP_THRESHOLD: MAPPED_FROM, _M_TRIM_THRESHOLD: KEPT}
    return all(mallopt(name, value) for name, value in settings.items())


@contextmanager
def light_collections() -> Iterator[None]:
    """What is there now is not looked at by the collector any more, so that full collections are short, and frequent."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    # Counts what is old anew, which is next to nothing.
    gc.collect()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
