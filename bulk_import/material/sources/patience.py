"""How often a source is used at once, and when a failed operation is repeated.

Only transient errors are repeated (MaterialError.retryable): no connection, no answer in time, too many requests.
After one operation has used up all its time, the source counts as down, and later operations get one attempt each
until one succeeds: a thousand targets of a source that is down do not wait a thousand times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from bulk_import.errors import MaterialError

T = TypeVar("T")

FULL_JITTER = wait_random_exponential(multiplier=0.25, max=10.0)  # uniform in 0 … min(10, 0.25 * 2^n) seconds


class Patience:
    """For one source. `at_once`: most operations at the same time; `timeout`: seconds in which one is repeated."""

    def __init__(self, at_once: int, timeout: float) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._timeout = timeout
        self._down = False

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`. Raises its last MaterialError."""

        async def once() -> T:
            async with self._places:
                return await attempt()

        def gave_up(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if not (isinstance(error, MaterialError) and error.retryable):
                return True
            if self._down or (state.seconds_since_start or 0.0) + state.upcoming_sleep > self._timeout:
                self._down = True
                return True
            return False

        result: T = await AsyncRetrying(wait=FULL_JITTER, stop=gave_up, reraise=True)(once)
        self._down = False
        return result
