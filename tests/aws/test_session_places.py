"""Places in flight: a call that assumes its role again while it holds a place must not wait for another place."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiobotocore.credentials import AioCredentials

from bulk_import.aws import session as session_room
from bulk_import.aws.session import AwsSession
from bulk_import.aws.wire.clients import RegionClients
from bulk_import.aws.wire.credentials import CurrentCredentials
from bulk_import.model import AccountAccess, Lane
from bulk_import.settings import Settings
from tests.virtual_time import run

OK = {"ResponseMetadata": {"RequestId": "r", "HTTPHeaders": {}}}
ACCOUNTS = [f"{number:012d}" for number in range(1, 6)]


class Aws:
    """AWS's side, and aiobotocore's: every call is signed, takes a while, and a role's first session ends soon."""

    def __init__(self, places: int) -> None:
        self.in_flight = places
        self.meta = SimpleNamespace(region_name="us-east-1")
        self.endpoints: dict[str, str] = {}
        self.foreign: dict[str, str] = {}
        self.assumed: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was opened."""

    async def caller_credentials(self) -> AioCredentials:
        return AioCredentials("access", "secret")

    @property
    def region(self) -> str:
        return "us-east-1"

    async def sts(self, _: str) -> Aws:
        return self

    async def kms(self, _: str) -> RegionClients:
        return RegionClients(self, self)

    async def get_caller_identity(self) -> dict[str, Any]:
        return OK | {"Account": ACCOUNTS[0], "Arn": f"arn:aws:iam::{ACCOUNTS[0]}:user/x"}

    async def assume_role(self, *, RoleArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - STS's names
        await asyncio.sleep(0.1)
        lasts = timedelta(hours=1) if RoleArn in self.assumed else timedelta(seconds=100)
        self.assumed.append(RoleArn)
        account = RoleArn.split(":")[4]
        return OK | {
            "AssumedRoleUser": {"Arn": f"arn:aws:sts::{account}:assumed-role/R/s"},
            "Credentials": {
                "AccessKeyId": "access",
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": datetime.now(UTC) + lasts,
            },
        }

    async def describe_key(self, *, KeyId: str) -> dict[str, Any]:  # noqa: N803 - KMS's names
        await CurrentCredentials().get_frozen_credentials()  # the signature
        await asyncio.sleep(0.1)
        return OK | {"KeyMetadata": {"Arn": KeyId}}


class Trace:
    settling_until = 0.0

    def sent(self, operation: str) -> None:
        """No one asks."""

    def note(self, operation: str, request_id: str) -> None:
        """No one asks."""


@pytest.mark.parametrize("places", [1, 2, 5])
def test_roles_are_assumed_again_however_few_places_there_are(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lanes start together, so their sessions grow old together: every place may be held by such a call."""
    aws = Aws(places)
    monkeypatch.setattr(session_room, "Clients", lambda *_: aws)

    async def main() -> None:
        lanes = [Lane("aws", account, "us-east-1") for account in ACCOUNTS]
        async with AwsSession(Settings(max_in_flight=places), "run", "aws", lanes, policies={}) as session:
            await session.connect()
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    access = AccountAccess(lane.account, f"arn:aws:iam::{lane.account}:role/R", session_duration=900)
                    kms = await session.lane(lane, access)
                    group.create_task(kms.describe_key(f"arn:aws:kms:us-east-1:{lane.account}:key/1", Trace()))

    run(main())  # a deadlock would be noticed
    assert sorted(aws.assumed) == sorted(2 * [f"arn:aws:iam::{account}:role/R" for account in ACCOUNTS])
