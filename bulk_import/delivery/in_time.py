"""Work that may take long, and the moment at which no one waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def in_time(work: Coroutine[Any, Any, None], given_up: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` ended before `given_up`; else it is cancelled. Raises what `work` raises."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(given_up)
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
