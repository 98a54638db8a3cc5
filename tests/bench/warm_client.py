"""What a call costs on a warm aiobotocore client: the unit that our own work is measured against.

    python -m tests.bench.warm_client ENDPOINT CALLS [ours]

A tight loop of DescribeKey over one client and one connection, one call at a time; `ours`: over the product's own
client, on its event loop. Prints JSON: `ms_per_call` is the CPU time of this process over the loop, start-up and a
warm-up apart.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aioboto3
import orjson
from aiobotocore.credentials import AioCredentials
from botocore.config import Config

from bulk_import.aws.wire.clients import Clients
from bulk_import.aws.wire.credentials import SigningAs
from bulk_import.commands import loop
from bulk_import.settings import load

WARM_UP = 300
REGION = "us-east-1"
KEYS = {
    "aws_access_key_id": "ASIA100000000001BNCH", "aws_secret_access_key": "s" * 40, "aws_session_token": "t" * 400,
}  # fmt: skip


async def _theirs(endpoint: str, calls: int) -> dict[str, float]:
    session = aioboto3.Session(**KEYS)
    config = Config(retries={"total_max_attempts": 1})
    async with session.client("kms", region_name=REGION, endpoint_url=endpoint, config=config) as kms:
        return await _measure(kms, calls)


async def _ours(endpoint: str, calls: int) -> dict[str, float]:
    async with Clients(load({"endpoint_url": endpoint}), "bench") as clients:
        pair = await clients.kms(REGION)
        with SigningAs(AioCredentials(*KEYS.values())):
            return await _measure(pair.reads, calls)


async def _measure(kms: Any, calls: int) -> dict[str, float]:
    for _ in range(WARM_UP):
        await kms.describe_key(KeyId="alias/k00001")
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        await kms.describe_key(KeyId="alias/k00001")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"calls": calls, "ms_per_call": cpu / calls * 1000, "wall_ms_per_call": wall / calls * 1000}


if __name__ == "__main__":
    ours = sys.argv[3:] == ["ours"]
    work = (_ours if ours else _theirs)(sys.argv[1], int(sys.argv[2]))
    sys.stdout.buffer.write(orjson.dumps(loop.run(work) if ours else asyncio.run(work)))
