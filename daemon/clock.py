"""The clock of live calls: UTC as it was when the process began, and steady from there.

A step of the system's clock would close seconds that never were, or hold some open for ever.
"""

import time

_AHEAD_S = time.time() - time.monotonic()


def utc_s() -> float:
    """Seconds since the epoch; never steps."""
    return time.monotonic() + _AHEAD_S
