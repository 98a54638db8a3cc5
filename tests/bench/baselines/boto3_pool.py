"""A boto3 thread pool with botocore's default retries: `python -m tests.bench.baselines.boto3_pool MANIFEST`.

One client per account and Region, 64 threads, keys in manifest order; keys that were given up are tried again.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
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

THREADS = 64


class Clients:
    """Sessions are not thread-safe, clients are: all are made under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session = boto3.Session()
        self._sts = self._session.client("sts", region_name="us-east-1")
        self._roles: dict[str, dict[str, str]] = {}
        self._kms: dict[tuple[str, str], Any] = {}

    def kms(self, account: str, region: str) -> Any:
        with self._lock:
            if account not in self._roles:
                answer = self._sts.assume_role(RoleArn=role_arn(account), RoleSessionName=ROLE_SESSION)
                self._roles[account] = answer["Credentials"]
            if (account, region) not in self._kms:
                role = self._roles[account]
                self._kms[account, region] = self._session.client(
                    "kms",
                    region_name=region,
                    aws_access_key_id=role["AccessKeyId"],
                    aws_secret_access_key=role["SecretAccessKey"],
                    aws_session_token=role["SessionToken"],
                )
            return self._kms[account, region]


def import_key(clients: Clients, job: Job) -> Job | None:
    """The job itself where botocore gave up on it."""
    kms = clients.kms(job.account, job.region)
    try:
        arn = kms.describe_key(KeyId=job.key_id)["KeyMetadata"]["Arn"]
        parameters = kms.get_parameters_for_import(KeyId=arn, **WRAPPING)
        kms.import_key_material(
            KeyId=arn,
            ImportToken=parameters["ImportToken"],
            EncryptedKeyMaterial=seal(parameters["PublicKey"], job.material.read_bytes()),
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
        good = 0
        while True:
            state = kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]
            good = good + 1 if state == "Enabled" else 0
            if good >= READS:
                return None
            time.sleep(INTERVAL)
    except ClientError:
        return job


def main(manifest: Path) -> None:
    work = list(jobs(manifest))
    total, passes, failed_first = len(work), 0, 0
    started = time.perf_counter()
    clients = Clients()
    while work and passes < PASSES:
        with ThreadPoolExecutor(THREADS) as pool:
            work = [job for job in pool.map(lambda job: import_key(clients, job), work) if job]
        passes += 1
        failed_first = failed_first if passes > 1 else len(work)
    tell(time.perf_counter() - started, total, passes, failed_first)
    sys.exit(bool(work))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
