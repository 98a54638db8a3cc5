"""Policy, tags and description of a key that exists, set to what `create` states.

https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html
https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateKeyDescription.html
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from bulk_import.drift import Correctable, drift
from bulk_import.errors import ServiceError
from bulk_import.model import Create, KeyView
from bulk_import.run.change import Kind
from bulk_import.run.metadata import with_metadata
from bulk_import.run.steps.policy_refusals import passes


class Correction(Kind):
    """One field of `create`. The same request again changes nothing."""

    repeatable = True
    field: ClassVar[Correctable]

    @property
    def _create(self) -> Create:
        if self.run.target.create is None:
            raise RuntimeError("only a target with `create` is corrected")
        return self.run.target.create

    async def prepare(self) -> None:
        """Needs nothing."""

    async def send(self) -> Mapping[str, Any]:
        await self._send()
        return {}

    @abstractmethod
    async def _send(self) -> None: ...

    async def applied(self) -> bool:
        view = await self.kms.describe_key(self.run.arn, self.run)
        return self.shown_by(await with_metadata(self.run, self.kms, view))

    def shown_by(self, view: KeyView) -> bool:
        return all(difference.field != self.field for difference in drift(self.run.target, view))


class PutKeyPolicy(Correction):
    """Replaces the whole policy. KMS's check against lockout is never bypassed."""

    operation = "PutKeyPolicy"
    field = Correctable.POLICY

    async def _send(self) -> None:
        try:
            await self.kms.put_key_policy(self.run.arn, self.run, policy=self._create.policy or "")
        except ServiceError as error:
            error.retryable = error.retryable or passes(error)
            raise


class TagResource(Correction):
    """Sets the tags that the manifest names; a key's other tags stay."""

    operation = "TagResource"
    field = Correctable.TAGS

    async def _send(self) -> None:
        await self.kms.tag_resource(self.run.arn, self.run, tags=dict(self._create.tags))


class UpdateKeyDescription(Correction):
    operation = "UpdateKeyDescription"
    field = Correctable.DESCRIPTION

    async def _send(self) -> None:
        await self.kms.update_key_description(self.run.arn, self.run, description=self._create.description or "")
