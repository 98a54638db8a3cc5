"""A manifest of the keys that exist. Changes nothing in KMS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bulk_import import __version__
from bulk_import.aws.session import AwsSession
from bulk_import.errors import ExitCode, UsageError
from bulk_import.iam import discovery_policies
from bulk_import.journal.begin import new_run_id
from bulk_import.manifest import fields, write
from bulk_import.manifest.access import check_options
from bulk_import.manifest.regions import partition_of
from bulk_import.model import AccountAccess, Lane
from bulk_import.model.found import Inventory, NotRead
from bulk_import.run import inventory
from bulk_import.settings import Settings
from bulk_import.words import not_aws


@dataclass(frozen=True, slots=True)
class Discovery:
    """`manifest`: YAML; `keys`: how many it names; `listed`: keys of any kind that were looked at."""

    manifest: str
    keys: int
    listed: int
    not_read: tuple[NotRead, ...]
    exit_code: ExitCode
    environment: str
    endpoints: Mapping[str, str]


async def discover(settings: Settings) -> Discovery:
    """Keys of Origin EXTERNAL in the accounts and Regions that the settings name.

    A lane or key that cannot be read is in the result, not an exception. Raises UsageError, ManifestError (for --role
    and --external-id), CallerError.
    """
    accounts, lanes = _places(settings)
    policies = discovery_policies(accounts, settings)
    async with AwsSession(settings, new_run_id(), lanes[0].partition, lanes, policies=policies) as session:
        await session.connect()
        ports = [await session.lane(lane, accounts[lane.account]) for lane in lanes]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(inventory.take(kms.lane, kms)) for kms in ports]
        found = [task.result() for task in tasks]
        warning = not_aws("discover", session.environment, session.endpoints)
        text = write.manifest(found, list(accounts.values()), at=datetime.now(UTC), version=__version__, notice=warning)
        return Discovery(
            manifest=text,
            keys=sum(key.view.state not in write.GOING for each in found for key in each.keys),
            listed=sum(each.listed for each in found),
            not_read=tuple(one for each in found for one in each.not_read),
            exit_code=_exit_code(found),
            environment=session.environment,
            endpoints=session.endpoints,
        )


def _places(settings: Settings) -> tuple[dict[str, AccountAccess], list[Lane]]:
    """Raises UsageError, ManifestError."""
    check_options(settings.role, settings.external_id)
    for option, values in (("--account", settings.account), ("--region", settings.region)):
        if not values:
            raise UsageError(f"{option} is missing. Name at least one place to look in.")
    if settings.external_id is not None and settings.role is None:
        raise UsageError("--external-id has no effect without --role. Specify the role, or omit it.")
    for region in settings.region:
        if said := fields.region(region):
            raise UsageError(f"--region: {said[0]}. {said[1]}")
    partitions = dict.fromkeys(partition_of(region) or "" for region in settings.region)
    if len(partitions) > 1:
        raise UsageError(f"--region: the Regions are of {' and '.join(partitions)}. Name those of one partition.")
    partition = next(iter(partitions))
    accounts = {account: _access(account, partition, settings) for account in dict.fromkeys(settings.account)}
    lanes = [Lane(partition, account, region) for account in accounts for region in dict.fromkeys(settings.region)]
    return accounts, lanes


def _access(account: str, partition: str, settings: Settings) -> AccountAccess:
    if settings.role is None:
        return AccountAccess(account, None)
    arn = fields.role_arn(settings.role, partition, account)
    if said := fields.role_fits(arn, partition, account):
        raise UsageError(f"--role: {said[0]}. {said[1]}")
    return AccountAccess(account, arn, settings.external_id)


def _exit_code(found: Sequence[Inventory]) -> ExitCode:
    if not any(each.reached for each in found):
        return ExitCode.NONE_WELL
    return ExitCode.PARTIAL if any(each.not_read for each in found) else ExitCode.OK
