"""When a call is repeated: back-off with full jitter, each attempt through the limiter.

https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, wait_random_exponential

from bulk_import.codes import NOT_YET_CONSISTENT, SETTLES
from bulk_import.errors import ServiceError
from bulk_import.repeating import repeated

T = TypeVar("T")

# Uniform in 0 … min(20, 0.25 * 2^n) seconds.
FULL_JITTER = wait_random_exponential(multiplier=0.25, max=20.0)


@dataclass(frozen=True, slots=True)
class Retry:
    """Repeats a call that may be repeated without harm: every read, GetParametersForImport, AssumeRole.

    `timeout`: seconds after the first attempt in which a throttled, broken or lost call is repeated;
    `consistency_timeout`: the same for "not found" and "wrong state", which are mostly the plain truth.
    """

    timeout: float
    consistency_timeout: float

    async def __call__(self, attempt: Callable[[], Awaitable[T]], *, settling_until: float = 0.0) -> T:
        """Raises the last ServiceError. `settling_until`: by the loop's clock; until then a denial may pass."""

        def gave_up(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if settling_until and isinstance(error, ServiceError) and error.code in SETTLES:
                return asyncio.get_running_loop().time() + state.upcoming_sleep > settling_until
            patience = self._patience(error)
            return (state.seconds_since_start or 0.0) + state.upcoming_sleep > patience

        return await repeated(attempt, ServiceError, wait=FULL_JITTER, gave_up=gave_up)

    def _patience(self, error: BaseException | None) -> float:
        if not isinstance(error, ServiceError):
            return -1.0
        if error.retryable:
            return self.timeout
        return self.consistency_timeout if error.code in NOT_YET_CONSISTENT else -1.0
