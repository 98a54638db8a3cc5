"""How often a source is used at once, and when a failed operation is repeated.

Only transient errors are repeated (MaterialError.retryable): no connection, no answer in time, too many requests.
After "too many requests", the operations of the source are spread over time, and come closer again while it answers.
After one operation has used up all its time, the source counts as down, and later operations get one attempt each
until one succeeds: a thousand targets of a source that is down do not wait a thousand times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import RetryCallState, wait_random_exponential

from bulk_import.errors import MaterialError
from bulk_import.repeating import repeated

T = TypeVar("T")

SMALLEST_GAP, LARGEST_GAP = 0.05, 5.0  # seconds
FULL_JITTER = wait_random_exponential(multiplier=0.25, max=10.0)  # uniform in 0 … min(10, 0.25 * 2^n) seconds


class Throttled(MaterialError):
    """The source was asked too often. A repeat can succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="SourceUnavailable", retryable=True)


class Pace:
    """The time between the beginnings of two operations: none, until the source was asked too often."""

    def __init__(self) -> None:
        self._gap = 0.0  # seconds
        self._next = 0.0  # by the loop's clock
        self._slowed = -1.0  # when the gap grew last

    async def turn(self) -> float:
        """Waits for the turn of an operation. Returns the moment at which it begins."""
        clock = asyncio.get_running_loop().time
        if self._gap:
            begins = max(clock(), self._next)
            self._next = begins + self._gap
            await asyncio.sleep(begins - clock())
        return clock()

    def slower(self, began: float) -> None:
        """The operation that began then was one too many. Those that began before the last growth say nothing new."""
        if began > self._slowed:
            self._slowed = asyncio.get_running_loop().time()
            self._gap = min(LARGEST_GAP, max(SMALLEST_GAP, 1.5 * self._gap))

    def quicker(self) -> None:
        """An operation was answered."""
        self._gap = self._gap * 0.9 if self._gap > SMALLEST_GAP / 2 else 0.0


class Patience:
    """For one source. `at_once`: most operations at the same time; `timeout`: seconds of repeating one that failed."""

    def __init__(self, at_once: int, timeout: float) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._timeout = timeout
        self._down = False
        self._pace = Pace()

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`. Raises its last MaterialError."""

        async def once() -> T:
            async with self._places:
                began = await self._pace.turn()
                try:
                    found = await attempt()
                except Throttled:
                    self._pace.slower(began)
                    raise
                self._pace.quicker()
                return found

        def gave_up(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if not (isinstance(error, MaterialError) and error.retryable):
                return True
            if self._down or (state.seconds_since_start or 0.0) + state.upcoming_sleep > self._timeout:
                self._down = True
                return True
            return False

        result = await repeated(once, MaterialError, wait=FULL_JITTER, gave_up=gave_up)
        self._down = False
        return result
