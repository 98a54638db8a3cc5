"""`discover`: every key of Origin EXTERNAL in one account and Region. Reads only, each call paced by its quota."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from bulk_import.codes import UNSUPPORTED
from bulk_import.errors import ServiceError, TargetError
from bulk_import.matching import in_order
from bulk_import.model import KeyRotation, Lane
from bulk_import.model.found import FoundKey, Inventory, NotRead
from bulk_import.plan import needs_rotations
from bulk_import.ports import KeyService

AT_ONCE = 64  # keys of one lane that are read at once


class Untraced:
    """Implements ports.Trace: an inventory has no entry for its calls."""

    settling_until = 0.0

    def sent(self, operation: str) -> None:
        """Forgets it."""

    def note(self, operation: str, request_id: str) -> None:
        """Forgets it."""


_UNTRACED = Untraced()


async def take(lane: Lane, kms: KeyService) -> Inventory:
    """Lists the lane's keys and describes each. What cannot be read is in the result, not an exception.

    https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html
    """
    found = Inventory(lane)
    try:
        arns = await kms.list_keys(_UNTRACED)
        aliases = await kms.aliases_of_all(_UNTRACED)
    except TargetError as error:
        found.not_read.append(_not_read(lane, error))
        return found
    found.reached, found.listed = True, len(arns)
    places = asyncio.Semaphore(AT_ONCE)

    async def read(arn: str) -> FoundKey | NotRead | None:
        async with places:
            try:
                return await _key(lane, kms, arn, aliases)
            except TargetError as error:
                return _not_read(lane, error, arn)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read(arn)) for arn in arns]
    for task in tasks:
        one = task.result()
        if isinstance(one, NotRead):
            found.not_read.append(one)
        elif one is not None:
            found.keys.append(one)
    return found


async def _key(lane: Lane, kms: KeyService, arn: str, aliases: Mapping[str, Sequence[str]]) -> FoundKey | None:
    """None: it is not of Origin EXTERNAL. Raises TargetError."""
    view = await kms.describe_key(arn, _UNTRACED, at_once=True)
    if view.origin != "EXTERNAL" or view.manager == "AWS":
        return None
    materials: list[KeyRotation] = []
    if needs_rotations(view):
        try:
            materials = await kms.list_key_rotations(view.arn, _UNTRACED)
        except ServiceError as error:
            if error.code not in UNSUPPORTED:
                raise
            # A KMS without on-demand rotation: DescribeKey says all that there is.
    names = tuple(sorted(aliases.get(view.arn.rsplit("/", 1)[-1], ())))
    return FoundKey(lane, view, names, tuple(in_order(materials)))


def _not_read(lane: Lane, error: TargetError, arn: str | None = None) -> NotRead:
    return NotRead(lane, error.code, error.message, error.advice, arn)
