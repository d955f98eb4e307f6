"""Tries again, not too often and not all at once."""

import random
from collections.abc import Iterator

FIRST_S = 0.5
LONGEST_S = 4.0
"""A peer that came back is found within 10 s, the time of connecting included."""


def waits(first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> Iterator[float]:
    """How long to wait before each next attempt, in seconds: doubling to `longest_s`, less a jitter of up to half.

    The jitter keeps all who lost the same peer from coming back in the same instant.
    """
    wait_s = first_s
    while True:
        yield wait_s * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
        wait_s = min(2 * wait_s, longest_s)
