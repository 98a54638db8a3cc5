"""Why a run stops before its end, said once and heard by all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

from bulk_import.codes import ENDS_ALL, STALE_CREDENTIALS
from bulk_import.errors import CallerError, CallerFault, LaneError, TargetError


class Stop:
    """The first reason counts. A second signal makes it urgent: no grace is given any more."""

    def __init__(self) -> None:
        self.reason = ""
        self.fatal: CallerError | None = None  # what makes every further call useless
        self.done = False  # the journal is closed: what is left is the report
        self.requested = asyncio.Event()
        self.urgent = asyncio.Event()

    def request(self, reason: str) -> None:
        """`reason`: SIGINT, SIGTERM, SIGHUP, deadline, max_failures or checkpoint."""
        if self.requested.is_set():
            return
        self.reason = reason
        self.requested.set()

    def ends_all(self, error: TargetError) -> bool:
        """Whether no target can be well after this error: the clock is wrong, or the caller's credentials have died.

        Then the run is stopped, with this one error for all.
        """
        # After AssumeRole, stale credentials are the caller's own, not the role's.
        fault = isinstance(error, CallerFault)
        dead = isinstance(error, LaneError) and error.operation == "AssumeRole" and error.code in STALE_CREDENTIALS
        if not dead and not fault and error.code not in ENDS_ALL:
            return False
        if self.fatal is None:
            advice = error.advice
            if dead and not fault:
                advice = "Give the run credentials that outlive it or refresh themselves, and continue with --resume."
            self.fatal = CallerError(error.message, code=error.code, advice=advice)
            self.request(error.code)
        return True

    async def unless_requested(self, work: Coroutine[None, None, None]) -> bool:
        """Does `work`, but gives it up when a stop is asked for before it is done. Returns whether it was done."""
        working = asyncio.create_task(work)
        waiting = asyncio.create_task(self.requested.wait())
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            given_up = working.cancel()
            await asyncio.wait({working, waiting})
        if not given_up:
            await working  # raises what it raised
        return not given_up

    @property
    def stopped_by(self) -> str:
        """The reason for the journal: empty if nothing stopped the run, or an error that is reported separately did."""
        return "" if self.fatal is not None and self.reason == self.fatal.code else self.reason

    def why(self) -> str:
        """Empty while nothing stops the run."""
        return self.reason

    async def over(self, grace: float) -> None:
        """Returns `grace` seconds after it is first waited for and a stop is requested, or when that is urgent."""
        await self.requested.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.urgent.wait()
