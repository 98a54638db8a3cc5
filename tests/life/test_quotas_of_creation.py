"""The quotas of calls that create and correct keys: a lane keeps to each, and `plan` counts with each."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.life.test_correct import ALL
from tests.sandbox_client import Sandbox

THERE = "eu-west-1"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    ],
}
CREATE = {"description": "Payments", "tags": {"Team": "payments"}, "policy": POLICY}
KEYS = 4


def to_create(work: Workplace, **fields: Any) -> None:
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    for number in range(KEYS):
        material = materials.make("HMAC_256")
        work.key(f"alias/k{number}", material, name=f"k{number}", key_spec="HMAC_256", create=CREATE, **fields)


def to_correct(sandbox: Sandbox, work: Workplace) -> None:
    to_create(work)
    for number in range(KEYS):
        material = (work.folder / f"k{number}.key").read_bytes()
        sandbox.key(key_spec="HMAC_256", alias=f"alias/k{number}", material={"hex": material.hex()})


def floors(work: Workplace, *options: str) -> dict[str, tuple[float, str]]:
    """Seconds and limiting operation of each lane, as `plan` shows them; without the time of reads."""
    work.write()
    options = ("--reads", "1", "--quota", "GetParametersForImport=1000", *options)
    result = work.call("plan", "manifest.json", "--format", "json", *options)
    lanes = json.loads(result.stdout)["lanes"]
    return {lane["region"]: (lane["floor_seconds"], lane["limit"]) for lane in lanes}


@pytest.mark.parametrize("operation", ["CreateKey", "CreateAlias"])
def test_the_time_in_a_plan_includes_creation(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    to_create(work)
    assert floors(work, "--quota", f"{operation}=0.5") == {REGION: ((KEYS - 1) / 0.5, operation)}


@pytest.mark.parametrize("operation", ["PutKeyPolicy", "TagResource", "UpdateKeyDescription"])
def test_the_time_in_a_plan_includes_corrections(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    to_correct(sandbox, work)
    assert floors(work, *ALL, "--quota", f"{operation}=0.5") == {REGION: ((KEYS - 1) / 0.5, operation)}


def test_the_time_in_a_plan_includes_replicas_in_both_regions(sandbox: Sandbox, work: Workplace) -> None:
    """One ReplicateKey in the primary's Region counts as two CreateKey in the replica's."""
    to_create(work, replicas=[THERE])
    seconds = floors(work, "--quota", "ReplicateKey=0.5", "--quota", "CreateAlias=1000")
    assert seconds[REGION] == ((KEYS - 1) / 0.5, "ReplicateKey")
    seconds = floors(work, "--quota", "CreateKey=0.5", "--quota", "CreateAlias=1000")
    assert seconds[REGION] == ((KEYS - 1) / 0.5, "CreateKey")
    assert seconds[THERE] == ((2 * KEYS - 1) / 0.5, "CreateKey")


def test_a_replica_counts_as_two_keys_in_its_region(sandbox: Sandbox, work: Workplace) -> None:
    """Sent as fast as ReplicateKey's own quota allows, they would be throttled there."""
    sandbox.quotas(enforce=True, GetParametersForImport=50, CreateKey=4)  # two may come at once, if one is late
    to_create(work, replicas=[THERE])
    result = work.run("--quota", "CreateKey=2")
    assert result.code == 0, result.stderr
    assert [lane["throttled"] for lane in result.report["lanes"]] == [{}, {}]
    assert Counter(call["region"] for call in sandbox.calls(operation="ReplicateKey")) == {REGION: KEYS}


@pytest.mark.parametrize("operation", ["PutKeyPolicy", "TagResource", "UpdateKeyDescription"])
def test_corrections_keep_to_their_quota(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    to_correct(sandbox, work)
    sandbox.quotas(enforce=True, GetParametersForImport=50, **{operation: 2})
    result = work.run(*ALL, "--quota", f"{operation}=1")
    assert result.code == 0, result.stderr
    assert [lane["throttled"] for lane in result.report["lanes"]] == [{}]
    assert {entry["status"] for entry in result.entries.values()} == {"corrected"}
    assert len(sandbox.calls(operation=operation)) == KEYS
