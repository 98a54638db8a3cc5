"""`delete`: a lane whose targets are emptied. The same life, journal and reads as a run's; no source is queried."""

from __future__ import annotations

import asyncio
from functools import partial

from bulk_import.deletion import decide_deletion, material_to_delete
from bulk_import.errors import TargetError
from bulk_import.model import KeyView, Proof, Verification
from bulk_import.model.result import NO_MATERIAL
from bulk_import.plan import Decision
from bulk_import.ports import KeyService
from bulk_import.run.change import make
from bulk_import.run.found import Back
from bulk_import.run.lane import LaneRunner
from bulk_import.run.lifecycle import Event, State
from bulk_import.run.policy import Policy
from bulk_import.run.steps import KINDS
from bulk_import.run.steps.delete_material import DeleteMaterial, materials_of
from bulk_import.run.target_run import TargetRun


class LaneDeleter(LaneRunner):
    """A lane runner that deletes imported material."""

    def _look_again(self, run: TargetRun) -> None:
        """A key that is missing is not created here."""
        self._settle(run)

    def _wait_until_steady(self, _: TargetRun) -> bool:
        return False  # the reads that matter come after the deletion

    async def _decide(self, run: TargetRun, view: KeyView, **_: bool) -> Decision:
        rotations = await materials_of(run, self._kms, view)
        sent = DeleteMaterial.operation in run.tried
        return decide_deletion(run.wanted, view, rotations, self._policy.deletion, sent=sent)

    def _read_again(self, run: TargetRun) -> None:
        empty = Empty(run, self._kms, self._policy, partial(self._on_differing, run))
        self._away.send(run, empty, empty.delay)

    async def _change(self, run: TargetRun) -> None:
        for step in run.decision.steps if run.decision else ():
            await make(KINDS[step.kind](run, self._kms, self._policy))
        run.life.advance(Event.ALL_APPLIED)
        self._watch.add(run, Empty(run, self._kms, self._policy))


class Empty:
    """A key that holds no material, or not the named one: N consecutive reads must say so, and show the final state.

    `differs`: for a key found empty; called with the first read that shows otherwise.
    """

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, differs: Back | None = None) -> None:
        self._run = run
        self._kms = kms
        self._policy = policy
        self._differs = differs
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._reads = self._consecutive = 0

    @property
    def delay(self) -> float:
        """Seconds until the first look."""
        return 0.0

    async def __call__(self) -> float | None:
        """One read. Raises TargetError."""
        run, policy = self._run, self._policy
        view = await self._kms.describe_key(run.arn, run)
        rotations = await materials_of(run, self._kms, view)
        run.view, run.read_since = view, True
        self._reads += 1
        empty = material_to_delete(view, rotations, policy.deletion.name, sent=True) is None
        if empty and view.state == run.final_state:
            self._consecutive += 1
            if self._consecutive >= policy.reads:
                self._conclude()
                return None
            return policy.read_interval
        if self._differs is not None:
            self._differs(view)
            return None
        self._consecutive = 0
        if self._clock() - self._began < policy.verify_timeout:
            return policy.read_interval
        raise TargetError(
            f"{run.arn} did not show that the material is gone in {policy.reads} consecutive reads within "
            f"{policy.verify_timeout:g} s; last seen: {view.state}.",
            code="VerificationTimeout",
            operation="DescribeKey",
            retryable=True,
        )

    def _conclude(self) -> None:
        run = self._run
        run.verification = Verification(
            verified=True, reads=self._reads, consecutive=self._consecutive,
            duration_seconds=round(self._clock() - self._began, 3), proof=Proof.NONE, round_trip=None,
            detail=NO_MATERIAL,
        )  # fmt: skip
        if run.life.state is State.VERIFYING:
            run.life.advance(Event.VERIFIED)
        run.succeed(run.verification)
