"""Packets that wait to be decoded, and what is skipped of them so that latency stays bounded."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Packet(Protocol):
    """What is asked of a packet."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def is_keyframe(self) -> bool:
        """Whether decoding can begin here."""


P = TypeVar("P", bound=Packet)

LATE_S = 0.3
"""Pictures that no other needs are skipped when a packet has waited for so long."""
BEHIND_S = 1.0
"""Then all are skipped up to the newest key frame."""
LOST_S = 2.0
"""And then all up to a key frame that is yet to come."""
WAITING_MAX = 600
WAITING_MAX_BYTES = 32 << 20


class Backlog(Generic[P]):
    """Packets that wait to be decoded. What waits too long is skipped, so that nothing decoded is older than `LOST_S`.

    Args:
        skipped: Is told how many packets will not be decoded.
        clock: Seconds, steady.
    """

    def __init__(self, skipped: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._skipped = skipped
        self._clock = clock
        self._waiting: deque[tuple[float, P]] = deque()
        self._n_bytes = 0
        self._needs_key = False
        self._ended = False
        self._changed = threading.Condition()

    def put(self, packet: P) -> None:
        """Takes the newest packet."""
        with self._changed:
            if len(self._waiting) >= WAITING_MAX or self._n_bytes + packet.size > WAITING_MAX_BYTES:
                self._drop(len(self._waiting))
                self._needs_key = True
            if self._needs_key and not packet.is_keyframe:
                self._skipped(1)
                return
            self._needs_key = False
            self._waiting.append((self._clock(), packet))
            self._n_bytes += packet.size
            self._changed.notify()

    def take(self) -> tuple[P, bool] | None:
        """The packet to decode next, and whether it is late; waits for one. None at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return None
                self._catch_up()
                if self._waiting:
                    came_s, packet = self._waiting.popleft()
                    self._n_bytes -= packet.size
                    return packet, self._clock() - came_s > LATE_S

    def end(self) -> None:
        """Nothing more is to be decoded."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify()

    def _catch_up(self) -> None:
        """Skips what waited for too long."""
        now_s = self._clock()
        if now_s - self._waiting[0][0] <= BEHIND_S:
            return
        keys = [i for i, (_, packet) in enumerate(self._waiting) if packet.is_keyframe]
        self._drop(keys[-1] if keys else 0)
        if now_s - self._waiting[0][0] > LOST_S:
            self._drop(len(self._waiting))
            self._needs_key = True

    def _drop(self, n: int) -> None:
        for _ in range(n):
            self._n_bytes -= self._waiting.popleft()[1].size
        if n:
            self._skipped(n)
