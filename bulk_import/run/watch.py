"""Targets that wait: for their next read (keys that settle, keys found as wanted, imports that are verified), or for
another target.

A target that waits is an entry in a heap, not a task. One task per lane serves them all, so that thousands of waiting
targets cost nothing but their entries, their waits overlap, and none of them delays another target.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bulk_import.run.lifecycle import UNCHANGING
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun

READS_AT_ONCE = 32  # of one lane

# One read, and what follows from it. Returns the seconds until the next one; None: the target waits no longer. It has
# ended, or anyone who put it here has taken it back.
Look = Callable[[], Awaitable[float | None]]


def _nobody() -> None:
    """No one wants to know."""


@dataclass(slots=True, order=True)
class Waiting:
    """A target that waits for its next read. `left` is called once, when it waits no longer."""

    due: float
    index: int
    run: TargetRun = field(compare=False)
    look: Look = field(compare=False)
    left: Callable[[], None] = field(compare=False)


class LaneWatch:
    """Serves the waiting targets of one lane, as they come."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._heap: list[Waiting] = []
        self._parked: dict[TargetRun, Callable[[], None]] = {}  # those that wait for another target
        self._changed = asyncio.Event()  # something came, was put back, or ended
        self._closed = False
        self._abandoned = False
        self._reading: set[TargetRun] = set()
        self._tasks: dict[asyncio.Task[None], TargetRun] = {}  # those that have begun: no other may be cancelled

    def add(self, run: TargetRun, look: Look, delay: float = 0.0, *, left: Callable[[], None] = _nobody) -> None:
        """The first `look` is due in `delay` seconds."""
        if self._over_for(run):
            run.stop(self._stop.why())
            left()
            return
        self._push(Waiting(self._clock() + delay, run.target.index, run, look, left))

    def park(self, run: TargetRun, *, left: Callable[[], None]) -> Callable[[], bool]:
        """For a target that waits for no read of its own. What is returned takes it back; False: it has ended.

        `left` is called only where it ends here.
        """
        if self._over_for(run):
            run.stop(self._stop.why())
            left()
            return lambda: False
        self._parked[run] = left
        return lambda: self._parked.pop(run, None) is not None

    def close(self) -> None:
        """No further target will come."""
        self._closed = True
        self._changed.set()

    def drain(self) -> None:
        """A stop was asked for: what has changed nothing ends now, the rest continues."""
        self._stop_where(lambda run: run.life.state in UNCHANGING)

    def abandon(self) -> None:
        """The grace period is over: everything that still waits ends as it is."""
        self._abandoned = True
        self._stop_where(lambda _: True)

    async def run(self) -> None:
        """Returns when nothing waits any more, after `close`."""
        async with asyncio.TaskGroup() as group:
            while self._heap or self._reading or not self._closed:
                self._changed.clear()
                now = self._clock()
                while self._heap and self._heap[0].due <= now and len(self._reading) < READS_AT_ONCE:
                    waiting = heapq.heappop(self._heap)
                    self._reading.add(waiting.run)
                    group.create_task(self._look(waiting))
                await self._wait()

    async def _wait(self) -> None:
        """Until the next read is due, or something changes."""
        idle = len(self._reading) < READS_AT_ONCE
        due = self._loop.call_at(self._heap[0].due, self._changed.set) if self._heap and idle else None
        try:
            await self._changed.wait()
        finally:
            if due is not None:
                due.cancel()

    def _push(self, waiting: Waiting) -> None:
        heapq.heappush(self._heap, waiting)
        self._changed.set()

    async def _look(self, waiting: Waiting) -> None:
        run = waiting.run
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a target is read in a task")
        self._tasks[task] = run
        delay: float | None = None
        try:
            async with run.boundary(self._stop):
                if self._over_for(run):
                    run.stop(self._stop.why())
                    return
                delay = await waiting.look()
                if delay is not None and self._over_for(run):
                    delay = None
                    run.stop(self._stop.why())
        finally:
            del self._tasks[task]
            self._reading.discard(run)
            if delay is None:
                waiting.left()
            else:
                waiting.due = self._clock() + delay
                self._push(waiting)
            self._changed.set()

    def _over_for(self, run: TargetRun) -> bool:
        return self._abandoned or (self._stop.requested.is_set() and run.life.state in UNCHANGING)

    def _stop_where(self, ends: Callable[[TargetRun], bool]) -> None:
        ending = [waiting for waiting in self._heap if ends(waiting.run)]
        self._heap = [waiting for waiting in self._heap if not ends(waiting.run)]
        heapq.heapify(self._heap)
        for waiting in ending:
            waiting.run.stop(self._stop.why())
            waiting.left()
        for run in [run for run in self._parked if ends(run)]:
            left = self._parked.pop(run)
            run.stop(self._stop.why())
            left()
        for task, run in self._tasks.items():
            if ends(run):
                task.cancel()
        self._changed.set()
