"""The tasks of one lane: each works on one target, inside the boundary where a failure becomes a value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bulk_import.run.away import Work
from bulk_import.run.lifecycle import UNCHANGING, State
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun


class LaneTasks:
    """Starts them, and cancels those of some targets."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._active: dict[asyncio.Task[Any], TargetRun] = {}

    def start(self, group: asyncio.TaskGroup, run: TargetRun, work: Work) -> asyncio.Task[bool]:
        return group.create_task(self._bounded(run, work))

    def cancel(self, which: Callable[[TargetRun], bool]) -> None:
        for task, run in self._active.items():
            if which(run):
                task.cancel()

    async def _bounded(self, run: TargetRun, work: Work) -> bool:
        """Returns whether this work left the target ready to be changed. Work that sent it away did not: by the time
        that somebody asks, the target may have come back.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a target is worked on in a task")
        # Only from here on: a task that is cancelled before its first step would end without a word.
        self._active[task] = run
        try:
            async with run.boundary(self._stop):
                if self._stop.requested.is_set() and run.life.state in UNCHANGING:
                    run.stop(self._stop.why())
                else:
                    await work()
        finally:
            del self._active[task]
        return run.life.state in (State.PREPARING, State.APPLIED)
