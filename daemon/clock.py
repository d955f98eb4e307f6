"""The clock of live calls: UTC as it was when the process began, and steady from there.

A step of the system's clock would close seconds that never were, or hold some open for ever.
"""

import time

# Linux has a clock that goes on while the machine is suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_AHEAD_S = time.time() - time.clock_gettime(_CLOCK)


def utc_s() -> float:
    """Seconds since the epoch; never steps."""
    return time.clock_gettime(_CLOCK) + _AHEAD_S
