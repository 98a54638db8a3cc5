"""Repeats what failed, with tenacity. What succeeds at once, as nearly everything does, does not pay its CPU."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import WaitBaseT

T = TypeVar("T")


async def repeated(
    attempt: Callable[[], Awaitable[T]],
    failure: type[Exception],
    *,
    wait: WaitBaseT,
    gave_up: Callable[[RetryCallState], bool],
) -> T:
    """The result of `attempt`, repeated after a `failure`. Raises the last one, as soon as `gave_up` says so.

    The state's seconds count from the end of the first attempt.
    """
    try:
        return await attempt()
    except failure as error:
        first: Exception | None = error

    async def again() -> T:
        nonlocal first
        if first is not None:
            error, first = first, None
            raise error
        return await attempt()

    return await AsyncRetrying(wait=wait, stop=gave_up, reraise=True)(again)
