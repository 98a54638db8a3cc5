"""A sandbox in a process of its own, and an independent boto3 client of it: the test's view of AWS's side."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config

CALLER = {"aws_access_key_id": "AKIAPIPELINE00000000", "aws_secret_access_key": "pipeline"}


class Sandbox:
    """`python -m bulk_import.sandbox` with `arguments`. Stop it with stop(), or use it as a context manager."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bulk_import.sandbox", "--stop-with-stdin", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url.startswith("http://127.0.0.1:"):
            self.stop()
            raise RuntimeError(f"the sandbox did not start (exit code {self.process.returncode})")
        self._sessions: dict[tuple[str, str, str | None], dict[str, str]] = {}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=100)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    # --- control
    def get(self, name: str, **wanted: Any) -> Any:
        return self._control("GET", f"{name}?{urlencode(wanted)}", None)

    def post(self, name: str, value: Any = None, **fields: Any) -> Any:
        return self._control("POST", name, json.dumps(fields if value is None else value, default=str))

    def _control(self, method: str, name: str, body: str | None) -> Any:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        try:
            connection.request(method, f"/_sandbox/{name}", body)
            answer = connection.getresponse()
            value = json.load(answer)
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(value["error"])
        return value

    def forget_sessions(self) -> None:
        """The next client() assumes its role again: after the clock was moved, or sessions were revoked."""
        self._sessions.clear()

    def reset(self) -> None:
        self.forget_sessions()
        self.post("reset")

    def seed(self, document: dict[str, Any]) -> list[dict[str, str]]:
        """Plants `document` (bulk_import/sandbox/seed.py). Returns the keys: account, region, alias, key_id, arn."""
        return self.post("seed", document)["keys"]

    def key(self, account: str = "111122223333", region: str = "us-east-1", **fields: Any) -> dict[str, str]:
        """One key more. Fields as in the seed file's keys."""
        return self.seed({"accounts": {account: {"regions": {region: {"keys": [fields]}}}}})[0]

    def fault(self, effect: str, **fields: Any) -> int:
        """A rule (see bulk_import/sandbox/kms/faults.py). Returns its ID."""
        (number,) = self.post("faults", effect=effect, **fields)["ids"]
        return int(number)

    def hold(self, operation: str, **fields: Any) -> int:
        """Calls of the operation wait until `release`, whose argument is returned, and then act."""
        return self.fault("delay", **{"operation": operation, "times": None, "seconds": 600, **fields})

    def release(self, *rules: int) -> None:
        """Removes these rules, or all: calls that wait because of them continue."""
        self.post("faults/clear", {"ids": rules} if rules else {})

    def faults(self) -> list[dict[str, Any]]:
        return self.get("faults")

    def calls(self, **wanted: Any) -> list[dict[str, Any]]:
        return self.get("calls", **wanted)

    def keys(self, **wanted: Any) -> list[dict[str, Any]]:
        return self.get("keys", **wanted)

    def quotas(self, *, enforce: bool = True, **rates: float) -> None:
        self.post("quotas", enforce=enforce, rates=rates)

    def advance(self, seconds: float) -> None:
        self.post("clock", advance=seconds)

    # --- the independent client
    def client(
        self,
        service: str = "kms",
        account: str | None = "111122223333",
        region: str = "us-east-1",
        role: str = "Tester",
        external_id: str | None = None,
        **config: Any,
    ) -> Any:
        """A boto3 client inside `account` by an assumed role; `account` None: with the caller's own credentials."""
        credentials = CALLER if account is None else self.credentials(account, role, external_id)
        settings = {"retries": {"total_max_attempts": 1}, "connect_timeout": 60, "read_timeout": 90} | config
        if service == "s3":
            settings["s3"] = {"addressing_style": "path"}
        return _session().client(
            service, region_name=region, endpoint_url=self.url, config=Config(**settings), **credentials
        )

    def credentials(self, account: str, role: str = "Tester", external_id: str | None = None) -> dict[str, str]:
        """Of a session of the role, as boto3's clients and sessions take them."""
        known = self._sessions.get((account, role, external_id))
        if known:
            return known
        extra = {"ExternalId": external_id} if external_id else {}
        answer = self.client("sts", None).assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="independent-client", **extra
        )
        given = answer["Credentials"]
        credentials = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
        self._sessions[(account, role, external_id)] = credentials
        return credentials


@cache
def _session() -> boto3.Session:
    """One for all clients: each new session reads the service models again, a tenth of a second of CPU."""
    return boto3.Session()


def clean_environment() -> None:
    """No credentials, profile, proxy or region of the machine may reach a test."""
    for name in list(os.environ):
        upper = name.upper()
        if upper.startswith(("AWS_", "BULK_IMPORT_", "MOTO_")) or upper.endswith(("_PROXY", "_CA_BUNDLE")):
            del os.environ[name]
    os.environ |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": CALLER["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CALLER["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
