"""A sandbox that evaluates policies, with the role Worker, a key, and clients that sign."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.sandbox_client import Sandbox

A, B = "111122223333", "444455556666"
CALLER = {"account": "000000000000", "access_key_id": "AKIACALLER0000000000", "secret_access_key": "the secret"}
HEX = os.urandom(32).hex()
ISSUER = "token.actions.githubusercontent.com"
REPOSITORY = "repo:acme/keys:environment:key-import"


def statement(*actions: str, effect: str = "Allow", resource: Any = "*", **condition: Any) -> dict[str, Any]:
    found = {"Effect": effect, "Action": list(actions), "Resource": resource}
    return found | ({"Condition": condition} if condition else {})


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.fixture(scope="module")
def process() -> Iterator[Sandbox]:
    with Sandbox("--enforce-policies") as sandbox:
        yield sandbox


@pytest.fixture
def strict(process: Sandbox) -> Sandbox:
    process.reset()
    return process


def plant(sandbox: Sandbox, *policies: Any, role: dict[str, Any] | None = None, **key: Any) -> dict[str, str]:
    """The role Worker of account A with these policies, and a key. The caller may do everything."""
    roles = [{"name": "Worker", "policies": list(policies)} | (role or {}), {"name": "Admin", "policies": [ALL]}]
    region = {"keys": [{"alias": "alias/k", "material": {"hex": HEX}} | key]}
    account = {"roles": roles, "oidc_providers": {ISSUER: ["sts.amazonaws.com"]}, "regions": {"us-east-1": region}}
    return sandbox.seed({"caller": CALLER, "accounts": {A: account}})[0]


ALL = "AdministratorAccess"


def client(sandbox: Sandbox, service: str = "kms", **credentials: str) -> Any:
    given = {"aws_access_key_id": CALLER["access_key_id"], "aws_secret_access_key": CALLER["secret_access_key"]}
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=sandbox.url, config=config, **(credentials or given)
    )


def session(sandbox: Sandbox, role: str = "Worker", **fields: Any) -> dict[str, str]:
    sts = client(sandbox, "sts")
    return _credentials(sts.assume_role(RoleArn=f"arn:aws:iam::{A}:role/{role}", RoleSessionName="work", **fields))


def _credentials(answer: dict[str, Any]) -> dict[str, str]:
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def worker(sandbox: Sandbox, service: str = "kms", **fields: Any) -> Any:
    return client(sandbox, service, **session(sandbox, **fields))


WHO = f"User: arn:aws:sts::{A}:assumed-role/Worker/work is not authorized to perform: "
