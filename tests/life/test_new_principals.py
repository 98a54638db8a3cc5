"""Key policies that name a principal which KMS does not know yet, or no longer: what is repeated, and for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.life.test_create import kms
from tests.sandbox_client import Sandbox

UNKNOWN = "MalformedPolicyDocumentException"
THERE = "eu-west-1"
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
APP = {**ROOT, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/App"}, "Action": "kms:GenerateMac"}
POLICY = {"Version": "2012-10-17", "Statement": [ROOT, APP]}
LOCKS_OUT = {"Version": "2012-10-17", "Statement": [APP]}


def add(work: Workplace, **fields: Any) -> bytes:
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    material = materials.make("HMAC_256")
    create = {"policy": fields.pop("policy", POLICY)}
    work.key("alias/payments", material, name="payments", key_spec="HMAC_256", create=create, **fields)
    return material


def policy_in(sandbox: Sandbox, region: str) -> Any:
    client = sandbox.client("kms", ACCOUNT, region)
    key_id = client.describe_key(KeyId="alias/payments")["KeyMetadata"]["KeyId"]
    return json.loads(client.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])


@pytest.mark.parametrize("operation", ["CreateKey", "ReplicateKey", "PutKeyPolicy"])
def test_a_principal_that_is_new_is_waited_for(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    material = add(work, **({"replicas": [THERE]} if operation == "ReplicateKey" else {}))
    if operation == "PutKeyPolicy":
        sandbox.key(alias="alias/payments", key_spec="HMAC_256", material={"hex": material.hex()})
    sandbox.fault("error", operation=operation, code=UNKNOWN, times=2)
    result = work.run("--correct", "policy")
    assert result.code == 0, result.stderr
    assert len(sandbox.calls(operation=operation)) == 3
    for region in (REGION, THERE) if operation == "ReplicateKey" else (REGION,):
        assert policy_in(sandbox, region) == POLICY
    assert len(kms(sandbox).list_keys()["Keys"]) == 1


@pytest.mark.parametrize("operation", ["CreateKey", "ReplicateKey", "PutKeyPolicy"])
def test_one_that_never_comes_is_no_success(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    """A role that was deleted: the run says so after --retry-timeout, and the next one needs no cleaning."""
    material = add(work, **({"replicas": [THERE]} if operation == "ReplicateKey" else {}))
    if operation == "PutKeyPolicy":
        sandbox.key(alias="alias/payments", key_spec="HMAC_256", material={"hex": material.hex()})
    sandbox.fault("error", operation=operation, code=UNKNOWN, times=None)
    result = work.run("--correct", "policy", "--retry-timeout", "1s")
    failed = [entry for entry in result.report["results"] if entry["status"] == "failed"]
    assert (result.code, len(failed)) == (4 if operation == "ReplicateKey" else 5, 1), result.stderr
    assert (failed[0]["error"]["code"], failed[0]["error"]["operation"]) == (UNKNOWN, operation)
    assert failed[0]["changed"] is False
    assert failed[0]["error"]["advice"]
    sandbox.post("faults/clear")
    again = work.run("--correct", "policy")
    assert again.code == 0, again.stderr
    assert len(kms(sandbox).list_keys()["Keys"]) == 1


def test_a_correction_that_locks_the_caller_out_is_refused_at_once(sandbox: Sandbox, work: Workplace) -> None:
    material = add(work, policy=LOCKS_OUT)
    sandbox.key(alias="alias/payments", key_spec="HMAC_256", material={"hex": material.hex()})
    before = policy_in(sandbox, REGION)
    result = work.run("--correct", "policy")
    error = result.entries["payments"]["error"]
    assert (result.code, error["code"], error["operation"]) == (5, UNKNOWN, "PutKeyPolicy")
    assert len(sandbox.calls(operation="PutKeyPolicy")) == 1  # no bypass, and no repeat
    assert policy_in(sandbox, REGION) == before
