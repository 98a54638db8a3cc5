"""A primary and its replicas, across lanes: which replica waits for its primary, and how it learns its key ID.

    replica ── key ID known? ──▶ read in its own Region ──▶ held material before ──▶ as any other target
       │ alias                        │ missing, or never filled
       ▼                              ▼
    the alias is read in the      the primary's target must end OK first; it fails, or is not selected:
    primary's Region              PrimaryNotReady, and nothing was sent

- A replica waits for its primary's target only; a primary waits for no one. So nobody can wait in a circle.
- A target that waits is an entry of its lane's watch (run/watch.py): it holds no permit, no place and no task, and a
  stop ends it there. Its own lane continues, also if its primary's lane does not.
- Aliases are read in the primaries' Regions by tasks of the barrier, so many at once per Region. A Region that is slow
  or down keeps only those waiting who need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bulk_import.errors import TargetError
from bulk_import.family import primary_lanes
from bulk_import.model import Lane, Outcome, Primary, Target
from bulk_import.ports import KeyService, Trace
from bulk_import.run.rendezvous import Progress, Rendezvous

READS_AT_ONCE = 16  # of aliases, in one lane of primaries

_Name = tuple[str, str, str]  # id, account, Region of the primary


@dataclass(slots=True)
class Family:
    """One multi-Region key, as the targets of this run know it."""

    selected: bool = False  # whether the primary is a target of this run
    primary: Primary | None = None  # as its replicas name it; None: no replica is selected
    kms: KeyService | None = None  # the primary's lane
    key_id: str = ""  # that all related keys share; empty: not known
    material_id: str | None = None  # that some Region showed, or a response named
    asked: bool = False  # the primary's alias is or was read
    refusal: TargetError | None = None  # why it could not be
    ended: bool = False  # the primary's target
    well: bool = False  # it ended OK
    why: str = ""  # it did not: its error
    retryable: bool = False
    rendezvous: Rendezvous = field(default_factory=Rendezvous)
    _for_id: list[Callable[[], object]] = field(default_factory=list)
    _for_end: list[Callable[[], object]] = field(default_factory=list)

    def wait_for_id(self, wake: Callable[[], object]) -> None:
        self._for_id.append(wake)

    def wait_for_end(self, wake: Callable[[], object]) -> None:
        self._for_end.append(wake)

    def told(self) -> None:
        """The alias was read, or could not be."""
        waiting, self._for_id = self._for_id, []
        for wake in waiting:
            wake()

    def known_as(self, key_arn: str) -> None:
        """The primary was read, and has this ARN."""
        if not self.key_id and self._name_by(key_arn):
            self._wake()

    def filled(self) -> None:
        """The primary holds all its older materials, and is to be rotated: replicas that were never filled get them."""
        if not self.rendezvous.filled:
            self.rendezvous.filled = True
            self._wake()

    def end(self, *, well: bool, key_arn: str | None, why: str = "", retryable: bool = False) -> None:
        """The primary's target has ended."""
        self.ended, self.well, self.why, self.retryable = True, well, why, retryable
        self._name_by(key_arn or "")
        self._wake()
        self.rendezvous.news()

    def _name_by(self, key_arn: str) -> bool:
        """Whether the key can have relatives: a single-Region key has none."""
        related = "/mrk-" in key_arn
        if related:
            self.key_id = key_arn.rsplit("/", 1)[-1]
        return related

    def _wake(self) -> None:
        waiting, self._for_id, self._for_end = [*self._for_id, *self._for_end], [], []
        for wake in waiting:
            wake()

    def not_ready(self, target: Target) -> TargetError:
        """Why a replica that needs its primary cannot go on."""
        if self.primary is None:
            raise RuntimeError("only a replica needs its primary")
        lane = self.primary.lane
        if self.ended:
            why = f"the primary in {lane.region} did not end OK ({self.why})"
        elif self.refusal is not None:
            why = f"the primary in {lane.region} is not selected, and {self.primary.key_id} there is of no use "
            why += f"({self.refusal.code}: {self.refusal.message.rstrip('.')})"
        else:
            why = f"the primary in {lane.region} is not selected"
        message = f"{target.id} in {lane.account}/{target.lane.region} needs its primary first: {why}."
        return TargetError(message, code="PrimaryNotReady", retryable=self.ended and self.retryable)


class Barrier:
    """All families of a run."""

    def __init__(self, targets: Iterable[Target] = ()) -> None:
        targets = tuple(targets)
        self.lanes = primary_lanes(targets)  # whose ports `connect` needs
        self._families: dict[_Name, Family] = {}
        self._replicas: dict[_Name, tuple[Rendezvous, Progress]] = {}
        for target in targets:
            if target.related:
                family = self._families.setdefault(_name(target), Family())
                family.selected = family.selected or target.primary is None
                family.primary = family.primary or target.primary
                if target.primary is not None:
                    progress = family.rendezvous.replicas[target.lane.region] = Progress()
                    self._replicas[target.id, target.lane.account, target.lane.region] = family.rendezvous, progress
        self._to_read: asyncio.Queue[tuple[Family, Trace]] = asyncio.Queue()
        self._places = {lane: asyncio.Semaphore(READS_AT_ONCE) for lane in self.lanes}

    def connect(self, ports: Mapping[Lane, KeyService]) -> None:
        """`ports`: of all `lanes`."""
        for family in self._families.values():
            if family.primary is not None:
                family.kms = ports[family.primary.lane]

    def of(self, target: Target) -> Family | None:
        """None: the target is not one of several Regions."""
        return self._families.get(_name(target)) if target.related else None

    def ended(self, outcome: Outcome) -> None:
        """A target of the run has ended; most are neither primary nor replica."""
        name = (outcome.id, outcome.account, outcome.region)
        family, replica = self._families.get(name), self._replicas.get(name)
        if replica is not None:
            rendezvous, progress = replica
            progress.end(outcome)
            rendezvous.news()
        if family is not None:
            family.rendezvous.primary.end(outcome)
            error = outcome.error
            why = f"{error.code}: {error.message.rstrip('.')}" if error else ""
            family.end(
                well=outcome.status.well, key_arn=outcome.key_arn, why=why, retryable=bool(error and error.retryable)
            )

    def stopped(self) -> None:
        """No further target is started: nobody may wait for one that was not."""
        for family in self._families.values():
            family.rendezvous.news()

    def read(self, family: Family, trace: Trace) -> None:
        """Reads the primary's alias, once for all replicas. `trace`: of the replica that asks first."""
        if not family.asked:
            family.asked = True
            self._to_read.put_nowait((family, trace))

    async def run(self) -> None:
        """Serves `read` until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._read(*await self._to_read.get()))

    async def _read(self, family: Family, trace: Trace) -> None:
        primary, kms = family.primary, family.kms
        if primary is None or kms is None:
            raise RuntimeError("a family is read only after `connect`")
        async with self._places[primary.lane]:
            try:
                view = await kms.describe_key(primary.key_id, trace, at_once=True)
            except TargetError as error:
                family.refusal = error
            else:
                if not view.multi_region:
                    message = f"{view.arn} is a single-Region key"
                    family.refusal = TargetError(message, code="KeyContradiction", operation="DescribeKey")
                    family.told()
                    return
                family.key_id = view.arn.rsplit("/", 1)[-1]
                family.material_id = family.material_id or view.current_key_material_id
        family.told()


def _name(target: Target) -> _Name:
    """Of the family: that of its primary's target."""
    lane = target.primary.lane if target.primary is not None else target.lane
    return target.id, lane.account, lane.region
