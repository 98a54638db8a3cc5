"""An aioboto3 script with a client per account and Region: `python -m tests.bench.baselines.aioboto3_script MANIFEST`.

One session, botocore's default retries, 64 keys at a time, gathered; keys that were given up are tried again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aioboto3
from botocore.exceptions import ClientError

from tests.bench.baselines.common import (
    INTERVAL,
    PASSES,
    READS,
    ROLE_SESSION,
    WRAPPING,
    Job,
    jobs,
    role_arn,
    seal,
    tell,
)

AT_ONCE = 64
Lane = tuple[str, str]


async def open_clients(lanes: set[Lane], stack: AsyncExitStack) -> dict[Lane, Any]:
    session = aioboto3.Session()
    sts = await stack.enter_async_context(session.client("sts", region_name="us-east-1"))
    accounts = sorted({account for account, _ in lanes})
    answers = await asyncio.gather(
        *(sts.assume_role(RoleArn=role_arn(account), RoleSessionName=ROLE_SESSION) for account in accounts)
    )
    roles = {account: answer["Credentials"] for account, answer in zip(accounts, answers, strict=True)}
    return {
        (account, region): await stack.enter_async_context(
            session.client(
                "kms",
                region_name=region,
                aws_access_key_id=roles[account]["AccessKeyId"],
                aws_secret_access_key=roles[account]["SecretAccessKey"],
                aws_session_token=roles[account]["SessionToken"],
            )
        )
        for account, region in sorted(lanes)
    }


async def import_key(kms: Any, job: Job, places: asyncio.Semaphore) -> Job | None:
    """The job itself where botocore gave up on it."""
    async with places:
        try:
            arn = (await kms.describe_key(KeyId=job.key_id))["KeyMetadata"]["Arn"]
            parameters = await kms.get_parameters_for_import(KeyId=arn, **WRAPPING)
            await kms.import_key_material(
                KeyId=arn,
                ImportToken=parameters["ImportToken"],
                EncryptedKeyMaterial=seal(parameters["PublicKey"], job.material.read_bytes()),
                ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
            )
            good = 0
            while True:
                state = (await kms.describe_key(KeyId=arn))["KeyMetadata"]["KeyState"]
                good = good + 1 if state == "Enabled" else 0
                if good >= READS:
                    return None
                await asyncio.sleep(INTERVAL)
        except ClientError:
            return job


async def main(manifest: Path) -> int:
    work = list(jobs(manifest))
    total, passes, failed_first = len(work), 0, 0
    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        clients = await open_clients({(job.account, job.region) for job in work}, stack)
        places = asyncio.Semaphore(AT_ONCE)
        while work and passes < PASSES:
            done = await asyncio.gather(*(import_key(clients[job.account, job.region], job, places) for job in work))
            work = [job for job in done if job]
            passes += 1
            failed_first = failed_first if passes > 1 else len(work)
        tell(time.perf_counter() - started, total, passes, failed_first)
    return bool(work)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))
