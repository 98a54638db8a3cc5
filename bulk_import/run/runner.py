"""All lanes side by side, and the orderly end: drain on a stop, abandon after the grace period."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bulk_import.errors import JournalError
from bulk_import.run.barrier import Barrier
from bulk_import.run.lane import LaneRunner
from bulk_import.run.stop import Stop


async def run_lanes(lanes: Sequence[LaneRunner], stop: Stop, *, grace: float, barrier: Barrier | None = None) -> None:
    """Runs every lane to the end. `grace` in seconds; `barrier`: the lanes', if one has replicas.

    Raises JournalError where the journal failed.
    """
    if not lanes:
        return  # a resume that finds all work done
    try:
        async with asyncio.TaskGroup() as group:
            drain = group.create_task(_drain(lanes, stop, grace, barrier))
            reading = [group.create_task(barrier.run())] if barrier else []
            # The longest first: where calls in flight are bounded, it is the one that must not start late.
            ordered = sorted(lanes, key=lambda lane: -len(lane.targets))
            running = [group.create_task(lane.run()) for lane in ordered]
            await asyncio.wait(running)
            for helper in (drain, *reading):
                helper.cancel()
    except* JournalError as errors:
        raise _first(errors) from None


async def _drain(lanes: Sequence[LaneRunner], stop: Stop, grace: float, barrier: Barrier | None) -> None:
    await stop.requested.wait()
    for lane in lanes:
        lane.drain()
    if barrier is not None:
        barrier.stopped()
    await stop.over(grace)
    for lane in lanes:
        lane.abandon()


def _first(errors: BaseExceptionGroup[JournalError]) -> JournalError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, JournalError):
        raise error
    return error
