"""`status`: which key the alias of a replica names in the replica's own Region.

A replica is found by the key ID of its primary, so nothing else shows that its alias is missing or names another key.
"""

from __future__ import annotations

from collections.abc import Callable

from bulk_import.errors import ServiceError
from bulk_import.model import Target
from bulk_import.ports import KeyService
from bulk_import.run.policy import Policy
from bulk_import.run.target_run import TargetRun

NOT_FOUND = "NotFoundException"


def needs_alias(target: Target) -> bool:
    """Whether the target is a replica that must have an alias in its own Region: with `create`, a run creates it."""
    return target.primary is not None and target.create is not None and target.alias is not None


async def named_by_alias(run: TargetRun, kms: KeyService) -> str | None:
    """The ARN of the key that the alias names, by one read. None: there is no such alias. Raises TargetError."""
    try:
        return (await kms.describe_key(run.target.alias or "", run, at_once=True)).arn
    except ServiceError as error:
        if error.code != NOT_FOUND:
            raise
    return None


class Named:
    """Reads an alias until N consecutive reads agree, then calls `back` with the key's ARN, or None.

    Reads that never agree are not waited for: the last one counts, and it does not show the wanted key.
    """

    def __init__(self, run: TargetRun, kms: KeyService, policy: Policy, back: Callable[[str | None], None]) -> None:
        self._run = run
        self._kms = kms
        self._policy = policy
        self._back = back
        self._reads = self._consecutive = 0
        self._last: str | None = None

    async def __call__(self) -> float | None:
        found = await named_by_alias(self._run, self._kms)
        self._consecutive = self._consecutive + 1 if self._reads and found == self._last else 1
        self._reads += 1
        self._last = found
        wanted = self._run.view.arn if self._run.view else None
        if self._consecutive < self._policy.reads and (self._reads < 3 * self._policy.reads or found == wanted):
            return self._policy.read_interval
        self._back(found)
        return None
