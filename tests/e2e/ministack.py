"""The second, independent KMS: the package `ministack`, started in its own environment on loopback.

It pins another botocore than aioboto3 does, so it has a virtual environment of its own, inside this one (see the
Makefile). To the tests it is a server like any other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.prefix) / "ministack" / "bin" / "ministack"


class Ministack:
    """A context manager; `url` is its endpoint."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Ministack:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        # Without IOT_MTLS_ENABLED=0 it would also listen on every interface.
        environment |= {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([COMMAND], env=environment, stdout=log, stderr=log, cwd=self._log.parent)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(100)

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2):  # noqa: S310 - loopback
                    return
            except OSError:  # nobody listens yet, or it is too busy to answer in time
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"ministack did not start: {self._log.read_text()[-2000:]}") from None
                time.sleep(0.05)

    def client(self, service: str, account: str, region: str) -> object:
        """A boto3 client inside an account, by an assumed role as the product uses it."""
        sts = boto3.client("sts", region_name=region, endpoint_url=self.url)
        found = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/Importer", RoleSessionName="checks")
        credentials = found["Credentials"]
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )
