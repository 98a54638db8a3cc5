"""CreateKey. It has no client token: a repeat makes a second key, so after a lost response the key is searched for.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bulk_import.creation import ALIAS_TAG, adoptable, new_key
from bulk_import.errors import ServiceError
from bulk_import.run.change import Kind
from bulk_import.run.steps.policy_refusals import passes

SEARCHED_FOR = 300.0  # seconds: the search by tag shows a new key with a delay
READS_APART = 5  # intervals of --read-interval between two searches


class CreateKey(Kind):
    """The key, with the tag by which it is found again if it gets no alias."""

    operation = "CreateKey"
    repeatable = False

    async def prepare(self) -> None:
        """Needs nothing."""

    async def send(self) -> Mapping[str, Any]:
        try:
            view = await self.kms.create_key(self.run, wanted=new_key(self.run.target))
        except ServiceError as error:
            error.retryable = error.retryable or passes(error)
            raise
        self.run.pin(view)
        return {"key_arn": view.arn}

    def looks(self) -> tuple[int, float]:
        """For five minutes, but no longer than --verify-timeout."""
        interval = max(READS_APART * self.policy.read_interval, 0.05)
        return 1 + round(min(SEARCHED_FOR, self.policy.verify_timeout) / interval), interval

    async def applied(self) -> bool:
        target = self.run.target
        for arn in (await self.kms.keys_tagged(ALIAS_TAG, self.run)).get(target.alias or "", ()):
            view = await self.kms.describe_key(arn, self.run)
            if adoptable(target, view, await self.kms.list_aliases(arn, self.run)):
                self.run.pin(view)
                return True
        return False
