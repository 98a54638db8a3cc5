"""ReplicateKey: sent to the primary's Region, makes a key of the same key ID in the replica's.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html

There is one key of an ID in each Region, so a repeat makes no second one: KMS refuses it (AlreadyExistsException).
The new replica has none of the primary's material, policy, tags, description and aliases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bulk_import.errors import ServiceError
from bulk_import.family import new_replica
from bulk_import.model import KeyState, KeyView
from bulk_import.ports import KeyService
from bulk_import.run.barrier import Family
from bulk_import.run.change import Kind
from bulk_import.run.policy import Policy
from bulk_import.run.steps.policy_refusals import passes
from bulk_import.run.target_run import TargetRun

NOT_FOUND = "NotFoundException"
EXISTS = "AlreadyExistsException"


class ReplicateKey(Kind):
    """The replica, in the Region of the target's lane."""

    operation = "ReplicateKey"
    repeatable = True

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy) -> None:
        super().__init__(run, kms, policy)
        self._lost = self.operation in run.doubts  # an earlier request may have made the replica

    @property
    def _family(self) -> Family:
        if self.run.family is None:
            raise RuntimeError("only a replica is replicated")
        return self.run.family

    async def prepare(self) -> None:
        """Needs nothing: the primary is filled."""

    async def send(self) -> Mapping[str, Any]:
        run, primary = self.run, self._family.kms
        if primary is None:
            raise RuntimeError("a replica needs the lane of its primary")
        await self.kms.count_replica()
        try:
            view = await primary.replicate_key(self._family.key_id, run, wanted=new_replica(run.target))
        except ServiceError as error:
            error.retryable = error.retryable or passes(error)
            if error.code != EXISTS or not (self._lost and await self.applied()):
                raise self._somebody_elses(error) if error.code == EXISTS else error from None
        else:
            self._pin(view)
        return {"key_arn": run.arn}

    def lost(self, error: ServiceError) -> None:  # noqa: ARG002 - of every kind
        self._lost = True

    async def applied(self) -> bool:
        try:
            view = await self.kms.describe_key(self._family.key_id, self.run, at_once=True)
        except ServiceError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        self._pin(view)
        return True

    def shown_by(self, view: KeyView) -> bool:  # noqa: ARG002 - that there is a view
        """The replica exists."""
        return True

    def _pin(self, view: KeyView) -> None:
        """Creating passes by itself: what counts is the state that the import finds."""
        self.run.pin(replace(view, state=KeyState.PENDING_IMPORT) if view.state == KeyState.CREATING else view)

    def _somebody_elses(self, error: ServiceError) -> ServiceError:
        region = self.run.target.lane.region
        return ServiceError(
            f"Somebody else created the replica of {self._family.key_id} in {region} at the same time.",
            code=EXISTS,
            operation=self.operation,
            request_id=error.request_id,
            advice="Run again: the run compares that replica with the manifest, and fills it.",
        )
