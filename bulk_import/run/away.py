"""Targets of one lane that wait elsewhere, and those that came back from there for a decision.

A target waits in the lane's watch: for its next read, or for another target. It comes back with the work that it came
back for, and the lane serves it before it starts another target.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from bulk_import.run.target_run import TargetRun
from bulk_import.run.watch import LaneWatch, Look

Work = Callable[[], Awaitable[None]]


class Away:
    """Counts who may come back, so that a lane does not end before."""

    def __init__(self, watch: LaneWatch) -> None:
        self._watch = watch
        self._away = 0
        self._back: deque[tuple[TargetRun, Work]] = deque()
        self._news = asyncio.Event()  # one came back, or will not

    def send(self, run: TargetRun, look: Look, delay: float) -> None:
        """The first `look` is due in `delay` seconds."""
        self._away += 1
        self._watch.add(run, look, delay, left=self._left)

    def working(self) -> Callable[[], None]:
        """For a target that is being changed, and may be parked in between. What is returned is called at its end."""
        self._away += 1
        return self._left

    def park(self, run: TargetRun, work: Work) -> Callable[[], bool]:
        """For a target that waits for another one. What is returned brings it back for `work`.

        That returns False where the target has ended meanwhile.
        """
        self._away += 1
        wake = self._watch.park(run, left=self._left)

        def back() -> bool:
            if not wake():
                return False
            self.back(run, work)
            self._left()
            return True

        return back

    def back(self, run: TargetRun, work: Work) -> None:
        self._back.append((run, work))
        self._news.set()

    def next(self) -> tuple[TargetRun, Work] | None:
        """Who came back first, and for what."""
        return self._back.popleft() if self._back else None

    async def news(self) -> bool:
        """Waits until one came back, or will not. False: nobody is away."""
        if self._away:
            self._news.clear()
            await self._news.wait()
            return True
        return False

    def _left(self) -> None:
        self._away -= 1
        self._news.set()
