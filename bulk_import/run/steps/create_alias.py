"""CreateAlias. The alias is a key's identity: of two runs that create the same alias, the first one decides.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from bulk_import.creation import ALIAS_TAG
from bulk_import.errors import ServiceError, TargetError
from bulk_import.run.change import Kind
from bulk_import.run.found import SHORTEST_WAIT


class CreateAlias(Kind):
    """The alias of the manifest, in the key's account and Region."""

    operation = "CreateAlias"
    repeatable = True  # KMS refuses a second alias of the same name

    @property
    def _alias(self) -> str:
        if self.run.target.alias is None:
            raise RuntimeError("only a target that is named by alias gets one")
        return self.run.target.alias

    async def prepare(self) -> None:
        """The key must carry the tag that CreateKey gave it: its ARN is only what one response said.

        A response for somebody else's key, or for that of another target, would give that key the alias and the
        material. Raises TargetError. A replica has no such tag, and its key ID is its primary's.
        """
        run = self.run
        if run.target.primary is not None:
            return
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.policy.verify_timeout
        while (found := (await self.kms.list_resource_tags(run.arn, run)).get(ALIAS_TAG)) != self._alias:
            if found is not None or clock() >= deadline:  # a host that lags behind shows no tag
                carries = f"carries the tag {ALIAS_TAG}={found}" if found is not None else f"has no tag {ALIAS_TAG}"
                raise TargetError(
                    f"The key for {self._alias} is {run.arn}, by the response that named it. But that key {carries}: "
                    "it was not created for this alias.",
                    code="WrongKey",
                    operation="ListResourceTags",
                )
            await asyncio.sleep(max(self.policy.read_interval, SHORTEST_WAIT))

    async def send(self) -> Mapping[str, Any]:
        try:
            await self.kms.create_alias(self.run.arn, self.run, alias=self._alias)
        except ServiceError as error:
            if error.code != "AlreadyExistsException" or not await self._is_ours(error):
                raise
        return {}

    async def applied(self) -> bool:
        found = await self._points_to()
        return found == self.run.arn

    async def _is_ours(self, error: ServiceError) -> bool:
        """Whether the alias exists because an earlier request, whose response was lost, created it."""
        found = await self._points_to()
        if found is None:
            error.retryable = True  # somebody created it, and this host does not show it yet
            return False
        if found != self.run.arn and self.run.target.primary is not None:
            raise ServiceError(
                f"{self._alias} points to {found}, not to the replica {self.run.arn}.", code="KeyContradiction",
                operation=self.operation, request_id=error.request_id,
            )  # fmt: skip
        if found != self.run.arn:
            arn, region = self.run.arn, self.run.target.lane.region
            raise ServiceError(
                f"{self._alias} was created for {found} by somebody else at the same time. {arn}, which this run "
                "created, has no alias and no material.",
                code="OrphanedKey",
                operation=self.operation,
                request_id=error.request_id,
                advice=f"Delete it: ScheduleKeyDeletion with KeyId {arn}, in {region}. Then run again: the run uses "
                "the key that has the alias.",
            )
        return True

    async def _points_to(self) -> str | None:
        try:
            view = await self.kms.describe_key(self._alias, self.run, at_once=True)
        except ServiceError as error:
            if error.code != "NotFoundException":
                raise
            return None
        return view.arn
