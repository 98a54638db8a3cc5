"""How far a run is, lane by lane, and when it may end. Counts only; nothing here knows of terminals."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from bulk_import.model import Lane, Outcome, Status

WINDOW = 10.0  # seconds over which the rate of imports is counted
ENOUGH = 10  # ended targets of a lane, from which on its own pace counts


@dataclass(slots=True)
class LaneTally:
    """One lane's counts."""

    account: str
    region: str
    total: int
    import_rate: Callable[[], float]  # imports a second by the lane's quota, as known now
    ended: int = 0
    failed: int = 0
    imports: int = 0  # targets for which an import was sent

    @property
    def left(self) -> int:
        return self.total - self.ended

    def seconds_left(self, elapsed: float) -> float:
        """At the quota's pace, as far as targets need an import; never quicker than the lane's own pace."""
        if not self.left:
            return 0.0
        needing = (self.imports + 1) / (self.ended + 1)
        floor = self.left * needing / self.import_rate()
        own = self.left * elapsed / self.ended if self.ended >= ENOUGH else 0.0
        return max(floor, own)


class Tally:
    """Every lane's counts. `import_rate`: imports a second that a lane may make; `clock` in seconds."""

    def __init__(
        self, lanes: Mapping[Lane, int], import_rate: Callable[[Lane], float], clock: Callable[[], float]
    ) -> None:
        self.lanes = {
            (lane.account, lane.region): LaneTally(lane.account, lane.region, count, partial(import_rate, lane))
            for lane, count in lanes.items()
        }
        self.total = sum(lanes.values())
        self.ended = 0
        self.failed = 0
        self._clock = clock
        self._began = clock()
        self._imports: deque[tuple[float, LaneTally, int]] = deque()  # (when, where, how many), of the window

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    def end(self, outcome: Outcome) -> None:
        """Counts a target's end."""
        lane = self.lanes[outcome.account, outcome.region]
        lane.ended += 1
        self.ended += 1
        if outcome.status is Status.FAILED:
            lane.failed += 1
            self.failed += 1
        if outcome.attempts:
            lane.imports += 1
            self._imports.append((self._clock(), lane, outcome.attempts))

    def rate(self) -> float:
        """Imports a second, of late, in the lanes which still have work: what `quota_now` is to be compared with."""
        now = self._clock()
        while self._imports and now - self._imports[0][0] > WINDOW:
            self._imports.popleft()
        return sum(count for _, lane, count in self._imports if lane.left) / max(1.0, min(WINDOW, self.elapsed))

    def quota_now(self) -> float:
        """Imports a second that the quotas allow the lanes which still have work."""
        return sum(lane.import_rate() for lane in self.lanes.values() if lane.left)

    def seconds_left(self) -> float:
        """Of the lane that takes longest."""
        return max((lane.seconds_left(self.elapsed) for lane in self.lanes.values()), default=0.0)

    def longest(self) -> list[LaneTally]:
        """Lanes with work left, the one that takes longest first."""
        working = [lane for lane in self.lanes.values() if lane.left]
        return sorted(working, key=lambda lane: -lane.seconds_left(self.elapsed))
