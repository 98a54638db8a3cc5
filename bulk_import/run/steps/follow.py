"""What a replica does while its primary is rotated: it changes nothing, and reads until it can continue.

https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bulk_import.errors import TargetError
from bulk_import.matching import pending
from bulk_import.model import KeyRotation, KeyState, KeyView
from bulk_import.plan import shows_expiry
from bulk_import.ports import KeyService
from bulk_import.rotation import as_view
from bulk_import.run.policy import Policy
from bulk_import.run.several import read, text_of
from bulk_import.run.target_run import TargetRun


class Follow:
    """Of one replica, in its own Region."""

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy) -> None:
        self._run = run
        self._kms = kms
        self._policy = policy

    async def complete(self) -> None:
        """Consecutive reads must show the key as Enabled: it holds every older material. Raises TargetError."""
        await self._until(lambda view: view.state == KeyState.ENABLED, self._policy.reads, "all its older materials")

    async def holds(self, at: int) -> None:
        """Consecutive reads must show the material of entry `at` as it was imported. Raises TargetError."""
        run, name = self._run, self._run.target.materials[at].name
        part = run.wanted.parts[at]

        def shown(view: KeyView) -> bool:
            mine = self._mine(view, name)
            if mine is None or mine.import_state != "IMPORTED" or mine.description != name:
                return False
            return name not in run.several.asked or shows_expiry(part, as_view(view, mine))

        await self._until(shown, self._policy.reads, name)

    async def in_use(self, at: int) -> None:
        """A read must show the material of entry `at` as current, or as an older one. Raises TargetError."""
        name = self._run.target.materials[at].name

        def shown(view: KeyView) -> bool:
            mine = self._mine(view, name)
            return mine is not None and not pending(mine)

        await self._until(shown, 1, f"{name} as rotated to")

    def _mine(self, view: KeyView, name: str) -> KeyRotation | None:
        found = self._run.several.ids.get(name)
        return next(
            (one for one in view.materials or () if one.key_material_id == found or one.description == name), None
        )

    async def _until(self, shown: Callable[[KeyView], bool], reads: int, what: str) -> None:
        run, policy, clock = self._run, self._policy, asyncio.get_running_loop().time
        deadline, good = clock() + policy.verify_timeout, 0
        while True:
            view = await read(run, run.target, self._kms, run.arn)
            good = good + 1 if shown(view) else 0
            if good >= reads:
                return
            if clock() >= deadline:
                raise TargetError(
                    f"{view.arn} did not show {what} within {policy.verify_timeout:g} s; last seen: {view.state}; "
                    f"{text_of(view)}.",
                    code="VerificationTimeout",
                    operation="ListKeyRotations",
                    retryable=True,
                )
            await asyncio.sleep(policy.read_interval)
