"""The order of work in a lane: when a target is begun, when it is changed, and how many at once.

    inspect ──▶ (in manifest order) ──▶ change ──▶ verify     at most a few at once, pulled as places come free
     ▲   │  as wanted ──▶ read again ──▶ compare              never delays the next change
     │   │                    │ a read differs
     └───┴── not settled ◀────┘

Work is pulled: a target becomes a task only when a place is free, so that the number of live tasks depends on the
lanes and their quotas, never on the number of targets. Reads run a little ahead of the changes; they run further
ahead only where they find keys that need no scarce permit. A target that waits for another read waits in the lane's
watch (run/watch.py) and delays no one; it comes back where a decision is needed. What is decided is in run/lane.py.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial

from bulk_import.model import Lane, Target
from bulk_import.run.away import Away
from bulk_import.run.lifecycle import UNCHANGING
from bulk_import.run.stop import Stop
from bulk_import.run.target_run import TargetRun
from bulk_import.run.tasks import LaneTasks
from bulk_import.run.watch import LaneWatch

SECONDS_AHEAD = 0.5  # of imports, at the rate of the quota, whose targets are inspected before their turn
LOOK_AHEAD = 2  # targets inspected before their turn; one, until the lane has taken its first permit
READS_AT_ONCE = 32  # the most, in a lane whose keys are as wanted
# Importers per permit per second: from the permit to the import's answer a target takes well under this many seconds.
SECONDS_PER_IMPORT = 2


class LaneFeed(ABC):
    """Takes every target of one lane to the end. A subclass says what is done with it."""

    def __init__(self, lane: Lane, targets: Sequence[Target], *, stop: Stop, import_rate: Callable[[], float]) -> None:
        """`import_rate`: imports per second that the lane's quota allows."""
        self.lane = lane
        self.targets = targets
        self.duration = 0.0
        self._stop = stop
        self._import_rate = import_rate
        self._watch = LaneWatch(stop)
        self._tasks = LaneTasks(stop)
        self._away = Away(self._watch)

    @abstractmethod
    def _begin(self, target: Target) -> TargetRun:
        """Before anything else is done with a target."""

    @abstractmethod
    async def _inspect(self, run: TargetRun, claimed_before: asyncio.Event, claimed: asyncio.Event) -> None:
        """Reads and decides. Sets `claimed`, and claims its key only after `claimed_before` is set."""

    @abstractmethod
    async def _take_place(self, run: TargetRun) -> Callable[[], object]:
        """Waits for a place for the changes of `run`. Returns what gives it back."""

    @abstractmethod
    async def _change(self, run: TargetRun) -> None:
        """Makes the changes that were decided."""

    async def run(self) -> None:
        """Returns when every target that was started has ended. Raises JournalError only (in a group)."""
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch.run())
                group.create_task(self._feed())
        finally:
            self.duration = time.monotonic() - started

    def drain(self) -> None:
        """A stop was asked for: what has sent no import ends now, the rest continues."""
        self._watch.drain()
        self._tasks.cancel(lambda run: run.life.state in UNCHANGING)

    def abandon(self) -> None:
        """The grace period is over."""
        self._watch.abandon()
        self._tasks.cancel(lambda _: True)

    async def _feed(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                await self._pull(group)
        finally:
            self._watch.close()

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        window: deque[tuple[TargetRun, asyncio.Task[bool]]] = deque()
        waiting: Iterator[Target] = iter(self.targets)
        width = 1
        claimed_before = asyncio.Event()
        claimed_before.set()
        while True:
            while len(window) < width:
                back = self._away.next()
                if back is not None:
                    window.append((back[0], self._tasks.start(group, *back)))
                    continue
                target = None if self._stop.requested.is_set() else next(waiting, None)
                if target is None:
                    break
                run = self._begin(target)
                claimed = asyncio.Event()
                window.append(
                    (run, self._tasks.start(group, run, partial(self._inspect, run, claimed_before, claimed)))
                )
                claimed_before = claimed
            if window:
                run, inspected = window.popleft()
                if await inspected:
                    width = max(width, LOOK_AHEAD, math.ceil(SECONDS_AHEAD * self._import_rate()))
                    await self._start_change(group, run)
                else:
                    width = min(width * 2, READS_AT_ONCE)
            elif not await self._away.news():
                return

    @cached_property
    def _importing(self) -> asyncio.Semaphore:
        """Places of importers. Made for the first of them: the lane's first call may have read its quota."""
        return asyncio.Semaphore(2 + math.ceil(SECONDS_PER_IMPORT * self._import_rate()))

    async def _start_change(self, group: asyncio.TaskGroup, run: TargetRun) -> None:
        ends = [await self._take_place(run), self._away.working()]
        task = self._tasks.start(group, run, partial(self._change, run))
        task.add_done_callback(lambda _: [end() for end in ends])
