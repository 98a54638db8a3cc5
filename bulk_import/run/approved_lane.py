"""A lane whose targets are worked on only if they are as a saved plan saw them (run/approved.py).

What differs is read N times before it counts: one read may be a stale one. Nothing is sent for a target before it was
compared, and every material was.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from bulk_import.errors import LaneError, ServiceError, TargetError
from bulk_import.material.bound import BoundMaterials
from bulk_import.model import KeyView
from bulk_import.plan import Decision, StepKind
from bulk_import.run.approved import Approved, stale
from bulk_import.run.creator import NOT_FOUND
from bulk_import.run.found import Settling, Steady
from bulk_import.run.lane import LaneRunner
from bulk_import.run.planner import LanePlanner
from bulk_import.run.target_run import TargetRun


class ApprovedLane(LaneRunner):
    """Needs Policy.approved, and BoundMaterials as the policy's materials."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._compared: set[int] = set()  # indexes of targets that differed, and were read again
        self._checked: set[int] = set()  # of those whose other materials were compared

    @property
    def _plan(self) -> Approved:
        if self._policy.approved is None:
            raise RuntimeError("a lane is compared with a plan only where there is one")
        return self._policy.approved

    async def _first_read(self, run: TargetRun) -> KeyView | None:
        try:
            return await super()._first_read(run)
        except ServiceError as error:
            raise self._gone(run, error) from None

    def _settle(self, run: TargetRun) -> None:
        settling = Settling(run, self._kms, self._policy, partial(self._on_back, run, settled=True))

        async def look() -> float | None:
            try:
                return await settling()
            except ServiceError as error:
                raise self._gone(run, error) from None

        self._away.send(run, look, settling.interval)

    async def _create(self, run: TargetRun) -> None:
        self._compare(run, None, None)
        await super()._create(run)

    async def _decide(self, run: TargetRun, view: KeyView, *, unfinished: bool = False, again: bool = True) -> Decision:
        try:
            return await super()._decide(run, view, unfinished=unfinished, again=again)
        except LaneError:
            raise
        except TargetError as error:
            try:
                self._compare(run, run.view or view, None)
            except TargetError as differs:
                raise _with(differs, error) from None
            raise

    async def _act_on(self, run: TargetRun, view: KeyView, decision: Decision) -> None:
        try:
            self._compare(run, run.view or view, decision)
        except TargetError as error:
            if run.target.index in self._compared:
                raise _with(error, decision.error) from None
            self._compared.add(run.target.index)
            steady = Steady(run, self._kms, self._policy, partial(self._on_back, run, settled=True))
            self._away.send(run, steady, steady.delay)
            return
        if decision.error is None:
            await self._check_the_rest(run, decision)
        await super()._act_on(run, view, decision)

    async def _change(self, run: TargetRun) -> None:
        decision = run.decision
        if decision is None:
            raise RuntimeError("a target is changed only after a decision")
        self._compare(run, run.view, decision)
        await self._check_the_rest(run, decision)
        await super()._change(run)

    def _compare(self, run: TargetRun, view: KeyView | None, decision: Decision | None) -> None:
        """Raises TargetError (PlanStale)."""

        def known(material_id: str) -> bool:
            if material_id in {run.material_id, *run.several.ids.values()}:
                return True
            look_up, several = self._policy.known, bool(run.target.materials)
            found = look_up(run.target, view.arn, material_id if several else "") if look_up and view else None
            return found is not None and found.key_material_id == material_id

        difference = self._plan.difference(run.wanted, view, decision, now=datetime.now(UTC), known=known)
        if difference is not None:
            raise stale(run.target, difference)

    async def _check_the_rest(self, run: TargetRun, decision: Decision) -> None:
        """Materials that will not be imported, once: those that will are compared when they are read for it."""
        materials, spec, several = self._policy.materials, decision.key_spec, bool(run.target.materials)
        if run.target.index in self._checked or spec is None or not isinstance(materials, BoundMaterials):
            return
        self._checked.add(run.target.index)
        imported = {step.entry for step in decision.steps if step.kind == StepKind.IMPORT_MATERIAL}
        for at, part in enumerate(run.target.parts):
            if (at if several else None) not in imported:
                await materials.check(part, spec, key_arn=run.view.arn if run.view else "")

    def _gone(self, run: TargetRun, error: ServiceError) -> TargetError:
        """`error`, or what it means where the plan saw the key."""
        found = self._plan.bound(run.target).found
        if error.code != NOT_FOUND or found is None or run.effects:
            return error
        return stale(run.target, f"it saw {found.key_arn}, and there is no such key now")


def _with(stale_plan: TargetError, error: TargetError | None) -> TargetError:
    """`error`: what the target would have failed with in any case."""
    if error is not None:
        stale_plan.message = f"{stale_plan.message} Without the plan it would be {error.code}: {error.message}"
    return stale_plan


class ApprovedPlanner(ApprovedLane, LanePlanner):
    """`run --dry-run --plan`."""
