"""What a call costs on a warm aiobotocore client: the unit that our own work is measured against.

    python -m tests.bench.warm_client ENDPOINT CALLS

A tight loop of DescribeKey over one client and one connection, one call at a time. Prints JSON: `ms_per_call` is
the CPU time of this process over the loop, start-up and a warm-up apart.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aioboto3
import orjson
from botocore.config import Config

WARM_UP = 300


async def _measure(endpoint: str, calls: int) -> dict[str, float]:
    session = aioboto3.Session(
        aws_access_key_id="ASIA100000000001BNCH", aws_secret_access_key="s" * 40, aws_session_token="t" * 400
    )
    config = Config(retries={"total_max_attempts": 1})
    async with session.client("kms", region_name="us-east-1", endpoint_url=endpoint, config=config) as kms:
        for _ in range(WARM_UP):
            await kms.describe_key(KeyId="alias/k00001")
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            await kms.describe_key(KeyId="alias/k00001")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"calls": calls, "ms_per_call": cpu / calls * 1000, "wall_ms_per_call": wall / calls * 1000}


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(_measure(sys.argv[1], int(sys.argv[2])))))
