"""The places of calls in flight: a bound on connections, in which scarce calls go first.

A lane's quota of GetParametersForImport runs from its first call, and what is not called in time is lost. Where more
calls want a place than there are, as when a thousand lanes start at once, nothing else may keep such a call waiting:
imports and reads are done a moment later at no cost. They are never starved: each lane has few targets between its
permit and its import, and then asks for no further permit.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Places:
    """`count` places. First come first served, scarce calls before all others."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._scarce: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, scarce: bool = False) -> None:
        """Waits for a place; the caller releases it. Cancelled, it takes none."""
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._scarce if scarce else self._others).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # it was handed over in the very turn in which its taker was cancelled
            place.cancel()
            raise

    def release(self) -> None:
        """Hands the place to who has waited longest."""
        for waiting in (self._scarce, self._others):
            while waiting:
                place = waiting.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1

    def locked(self) -> bool:
        """Whether no place is free."""
        return not self._free
