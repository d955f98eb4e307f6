"""A place for one value: the newest wins, what it displaces is counted."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """Between a producer that must not wait and a consumer that may be slow; for one event loop."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._filled = asyncio.Event()
        self._closed = False
        self.n_displaced = 0

    def put(self, value: T) -> None:
        """Replaces the value that waits, if any."""
        if self._value is not None:
            self.n_displaced += 1
        self._value = value
        self._filled.set()

    def close(self) -> None:
        """No more values will come."""
        self._closed = True
        self._filled.set()

    async def get(self) -> T | None:
        """The newest value, waiting for it; None when the slot is closed and empty."""
        await self._filled.wait()
        value, self._value = self._value, None
        if not self._closed:
            self._filled.clear()
        return value
