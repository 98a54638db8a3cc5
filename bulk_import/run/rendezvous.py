"""How far each Region of a multi-Region key is on the way to newer material, as the targets of this run know it.

    primary                                     each replica
    judged                                      judged: it can take part
    older materials are back        ──▶         (one that was never filled gets the older ones now)
    imports 2026: pending           ◀──         holds every older material
                                    ──▶         imports 2026 by its ID, and reads it N times
    rotates to 2026                 ◀──         holds 2026
                                    ──▶         shows 2026 as current
    imports 2027                    ◀──         (only if there is one more)

Facts are only added, and the end of a target ends every wait for it. Each wait is for a fact further up in this list,
so nobody waits in a circle. Nothing here calls AWS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bulk_import.model import Outcome, Target


@dataclass(slots=True)
class Progress:
    """Of one target of the family."""

    started: bool = False
    judged: bool = False  # its decision is made: it can take part
    missing: bool = False  # a replica that is created after its primary has ended OK
    following: str = ""  # a replica holds all material before this one, which it waits for or has
    holds: set[str] = field(default_factory=set)  # names of new materials that a replica has by now, verified
    used: set[str] = field(default_factory=set)  # names of the primary's materials that are current, or were
    ended: bool = False
    well: bool = False  # it ended OK
    why: str = ""  # it did not: its error

    def end(self, outcome: Outcome) -> None:
        error = outcome.error
        self.ended, self.well = True, outcome.status.well
        self.why = f"{error.code}: {error.message.rstrip('.')}" if error else ""


@dataclass(slots=True)
class Rendezvous:
    """Of one multi-Region key."""

    primary: Progress = field(default_factory=Progress)
    replicas: dict[str, Progress] = field(default_factory=dict)  # by Region: those that are targets of this run
    ids: dict[str, str] = field(default_factory=dict)  # KeyMaterialIds of what the primary has, by name
    shown: dict[str, str] = field(default_factory=dict)  # the same, as any Region showed them in verified reads
    filled: bool = False  # the primary holds all its older materials
    _waiting: list[tuple[Callable[[], bool], Callable[[], object]]] = field(default_factory=list)

    def of(self, target: Target) -> Progress:
        """`target`: one of the family."""
        return self.primary if target.primary is None else self.replicas[target.lane.region]

    def wait(self, until: Callable[[], bool], wake: Callable[[], object]) -> None:
        """`until`: whether the wait is over, with or without success."""
        self._waiting.append((until, wake))

    def news(self) -> None:
        """Wakes those whose wait is over."""
        waiting, self._waiting = self._waiting, []
        over = []
        for until, wake in waiting:
            if until():
                over.append(wake)
            else:
                self._waiting.append((until, wake))
        for wake in over:
            wake()
