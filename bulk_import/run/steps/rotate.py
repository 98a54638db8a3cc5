"""RotateKeyOnDemand: the material that is pending rotation becomes the current one. Older ciphertexts still decrypt.

https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html

KMS answers before the rotation is done, and rotates only to material that is pending. So the pending material must be
the intended one in consecutive reads before the request, and a second request for it is refused without harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bulk_import.errors import ServiceError, TargetError
from bulk_import.matching import CURRENT, conflict, pending, undo
from bulk_import.model import KeyRotation, KeyView
from bulk_import.plan import Step, shows_expiry
from bulk_import.ports import KeyService
from bulk_import.rotation import as_view
from bulk_import.run.change import Kind
from bulk_import.run.policy import Policy
from bulk_import.run.several import read
from bulk_import.run.target_run import TargetRun

READY = "PENDING_ROTATION"


class Rotate(Kind):
    """To the material of one entry of `materials`."""

    operation = "RotateKeyOnDemand"
    repeatable = True  # `prepare` has looked again by then, and KMS refuses to rotate twice to one material

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, step: Step) -> None:
        super().__init__(run, kms, policy, step)
        if step.entry is None:
            raise RuntimeError("the step does not say to which of the materials the key is rotated")
        self._at = step.entry
        self._name = run.target.materials[step.entry].name
        self._id = run.several.ids.get(self._name) or step.key_material_id
        self._clock = asyncio.get_running_loop().time

    async def prepare(self) -> None:
        """Consecutive reads must show the material as the pending one. Raises TargetError."""
        good = bad = 0
        deadline = self._clock() + self.policy.verify_timeout
        while True:
            view = await self._read()
            other = self._other(view)
            good = good + 1 if other is None and self._is_ready(view) else 0
            bad = bad + 1 if other is not None else 0
            if good >= self.policy.reads:
                return
            if other is not None and bad >= self.policy.reads:
                found = other.key_material_id
                message = f"{view.arn} has material {found} pending rotation, which this run did not import."
                raise conflict(message, undo(view, other))
            if self._clock() >= deadline:
                raise self._timeout(view, "pending rotation, as it was imported")
            await asyncio.sleep(self.policy.read_interval)

    def intent(self) -> Mapping[str, Any]:
        return {"material": self._name}

    async def send(self) -> Mapping[str, Any]:
        await self.kms.rotate_key_on_demand(self.run.arn, self.run)
        return {"material": self._name}

    async def stands(self, error: ServiceError) -> bool:
        """KMS refuses to rotate twice to one material."""
        return error.code == "KMSInvalidStateException" and await self.applied()

    async def applied(self) -> bool:
        return self._is_current(await self._read())

    async def settle(self) -> None:
        """Waits until a read shows the material as the current one. Raises TargetError."""
        deadline = self._clock() + self.policy.verify_timeout
        while True:
            view = await self._read()
            if self._is_current(view):
                return
            if self._clock() >= deadline:
                raise self._timeout(view, "the current one")
            await asyncio.sleep(self.policy.read_interval)

    async def _read(self) -> KeyView:
        return await read(self.run, self.run.target, self.kms, self.run.arn)

    def _mine(self, view: KeyView) -> KeyRotation | None:
        return next((each for each in view.materials or () if each.key_material_id == self._id), None)

    def _is_current(self, view: KeyView) -> bool:
        mine = self._mine(view)
        return mine is not None and mine.key_material_state == CURRENT

    def _other(self, view: KeyView) -> KeyRotation | None:
        """Material that is pending and not this entry's: the request would rotate to that.

        What this run imported before is current by now, and a host that shows it as pending lags behind.
        """
        ours = {self._id, *self.run.several.ids.values()}
        return next((each for each in view.materials or () if pending(each) and each.key_material_id not in ours), None)

    def _is_ready(self, view: KeyView) -> bool:
        mine = self._mine(view)
        if mine is None or mine.import_state != "IMPORTED":
            return False
        if mine.key_material_state == CURRENT:
            return True  # by an earlier request: the next one is refused, or finds nothing to do
        wanted = self.run.wanted.parts[self._at]
        if self._name in self.run.several.asked and not shows_expiry(wanted, as_view(view, mine)):
            return False
        return mine.key_material_state == READY

    def _timeout(self, view: KeyView, what: str) -> TargetError:
        mine = self._mine(view)
        last = f"{mine.key_material_state}, {mine.import_state}, {mine.valid_to}" if mine else "not listed"
        return TargetError(
            f"{view.arn} did not show {self._name} as {what} within {self.policy.verify_timeout:g} s; last seen: "
            f"{last}.",
            code="VerificationTimeout",
            operation="ListKeyRotations",
            retryable=True,
        )
