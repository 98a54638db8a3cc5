"""How far a run is, by phase, by lane and by cause, and when it may end. Counts only; nothing here knows of terminals.

A target's phases, as the journal's events show them:

waiting     to be read, for a permit of its lane, or for the comparison of its material
importing   `intent`: ImportKeyMaterial may be on its way
verifying   `answered` with ok: KMS accepted the import
done        `ended`
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulk_import.model import Change, Lane, Outcome, Status

WINDOW = 10.0  # seconds over which the rate of imports is counted
IMPORTS = ("importing", "imports")
DELETIONS = ("deleting", "deletions")
ENOUGH = 10  # ended targets of a lane, from which on its own pace counts


@dataclass(slots=True)
class LaneTally:
    """One lane's counts."""

    account: str
    region: str
    total: int
    import_rate: Callable[[], float]  # imports per second by the lane's quota, as known now
    ended: int = 0
    failed: int = 0
    imports: int = 0  # targets for which an import was sent

    @property
    def left(self) -> int:
        return self.total - self.ended

    def seconds_left(self, elapsed: float) -> float:
        """At the quota's pace, as far as targets need an import; never faster than the lane's own pace."""
        if not self.left:
            return 0.0
        needing = (self.imports + 1) / (self.ended + 1)
        floor = self.left * needing / self.import_rate()
        own = self.left * elapsed / self.ended if self.ended >= ENOUGH else 0.0
        return max(floor, own)


class Tally:
    """Every lane's counts. `import_rate`: imports per second that a lane may make; `clock` in seconds.

    `words`: what is counted as imports, as in IMPORTS.
    """

    def __init__(
        self,
        lanes: Mapping[Lane, int],
        import_rate: Callable[[Lane], float],
        clock: Callable[[], float],
        words: tuple[str, str] = IMPORTS,
    ) -> None:
        self.words = words
        self.lanes = {
            (lane.account, lane.region): LaneTally(lane.account, lane.region, count, partial(import_rate, lane))
            for lane, count in lanes.items()
        }
        self.total = sum(lanes.values())
        self.ended = 0
        self.failed = 0
        self.causes: Counter[str] = Counter()  # failed targets by error code
        self._importing: set[int] = set()  # index of the target
        self._verifying: set[int] = set()
        self._clock = clock
        self._began = clock()
        self._imports: deque[tuple[float, LaneTally, int]] = deque()  # (when, where, how many), of the window

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    @property
    def percent(self) -> int:
        """Of the targets, how many are done; 100 only when all are."""
        return self.ended * 100 // self.total if self.total else 100

    @property
    def verifying(self) -> int:
        return len(self._verifying)

    @property
    def importing(self) -> int:
        return len(self._importing)

    @property
    def waiting(self) -> int:
        return max(0, self.total - self.ended - self.importing - self.verifying)

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Moves a target to its next phase."""
        index = fields.get("index")
        if not isinstance(index, int):
            return
        if name == "intent":
            self._importing.add(index)
        elif name == "answered" and fields["outcome"] == "ok":
            self._importing.discard(index)
            self._verifying.add(index)
        elif name == "ended":
            self._importing.discard(index)
            self._verifying.discard(index)

    def end(self, outcome: Outcome) -> None:
        """Counts a target's end."""
        lane = self.lanes[outcome.account, outcome.region]
        lane.ended += 1
        self.ended += 1
        if outcome.status is Status.FAILED:
            lane.failed += 1
            self.failed += 1
            if outcome.error is not None:
                self.causes[outcome.error.code] += 1
        sent = outcome.attempts or outcome.changes.count(Change.DELETED)
        if sent:
            lane.imports += 1
            self._imports.append((self._clock(), lane, sent))

    def rate(self) -> float:
        """Recent imports per second of the lanes that still have work: comparable with `quota_now`."""
        now = self._clock()
        while self._imports and now - self._imports[0][0] > WINDOW:
            self._imports.popleft()
        return sum(count for _, lane, count in self._imports if lane.left) / max(1.0, min(WINDOW, self.elapsed))

    def quota_now(self) -> float:
        """Imports per second that the quotas allow the lanes that still have work."""
        return sum(lane.import_rate() for lane in self.lanes.values() if lane.left)

    def seconds_left(self) -> float:
        """Of the lane that takes longest."""
        return max((lane.seconds_left(self.elapsed) for lane in self.lanes.values()), default=0.0)

    def longest(self) -> list[LaneTally]:
        """Lanes with work left, the one that takes longest first."""
        working = [lane for lane in self.lanes.values() if lane.left]
        return sorted(working, key=lambda lane: -lane.seconds_left(self.elapsed))
