"""A target found as wanted is read as often as an imported one, and its proof follows the last read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.support import imports
from tests.no_wrong_green.conftest import Run
from tests.sandbox_client import Sandbox

AES = "SYMMETRIC_DEFAULT"


def held(sandbox: Sandbox, work: Workplace, spec: str, **fields: Any) -> dict[str, str]:
    """A key that has its material already."""
    material = materials.make(spec)
    key = sandbox.key(key_spec=spec, material={"hex": material.hex()})
    work.key(key["key_id"], material, name=f"held{len(work.keys)}", **fields)
    return key


def called(sandbox: Sandbox) -> list[str]:
    return [call["operation"] for call in sandbox.calls(service="kms")]


# --- a stale read
@pytest.mark.parametrize("stale", [1, 2])
@pytest.mark.parametrize("spec", [AES, "HMAC_256", "ECC_NIST_P256"])
def test_material_that_was_deleted_a_moment_ago(
    sandbox: Sandbox, work: Workplace, run: Run, *, spec: str, stale: int
) -> None:
    """The first reads still show it. The key then gets it back, or the run would end with an empty key and exit 0."""
    key = held(sandbox, work, spec)
    sandbox.client().delete_imported_key_material(KeyId=key["key_id"])
    pattern = ",".join(["stale"] * stale)
    sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern=pattern, at_once=True)
    result = run()
    entry = result.entries["held0"]
    assert (result.code, entry["status"], entry["changed"]) == (0, "imported", True), entry
    assert sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_stale_read_with_a_stated_material_id(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """It would even count as proved."""
    key = held(sandbox, work, AES)
    shown = sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    work.keys[0]["key_material_id"] = shown
    sandbox.client().delete_imported_key_material(KeyId=key["key_id"])
    sandbox.post("stale_reads", account=ACCOUNT, region=REGION, key=key["key_id"], pattern="stale", at_once=True)
    result = run("--require-proof")
    assert (result.code, result.entries["held0"]["status"]) == (0, "imported")
    assert imports(sandbox) == {key["arn"]: 1}


@pytest.mark.parametrize(
    ("member", "values"),
    [("KeyState", ("Enabled", "Disabled")), ("CurrentKeyMaterialId", ("ab" * 32, "cd" * 32))],
)
def test_reads_that_contradict_each_other_twice(
    sandbox: Sandbox, work: Workplace, run: Run, member: str, values: tuple[str, str]
) -> None:
    """Each read alone is as wanted."""
    held(sandbox, work, AES)
    seen = 0

    def flapping(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        if operation == "DescribeKey":
            answer["KeyMetadata"][member] = values[seen % 2]
            seen += 1
        return answer

    with Rewriter(sandbox.url, flapping) as proxy:
        work.url = proxy.url
        result = run()
    entry = result.entries["held0"]
    assert (result.code, entry["error"]["code"], entry["changed"]) == (5, "KeyStateChanged", False)


def test_one_read_that_differs_restarts_the_decision_once(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Somebody disables the key between two reads: it is as wanted in its new state, after N reads of that."""
    held(sandbox, work, AES)
    seen = 0

    def disabled_meanwhile(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        if operation == "DescribeKey":
            seen += 1
            if seen > 1:
                answer["KeyMetadata"] |= {"KeyState": "Disabled", "Enabled": False}
        return answer

    with Rewriter(sandbox.url, disabled_meanwhile) as proxy:
        work.url = proxy.url
        result = run("--reads", "4")
    entry = result.entries["held0"]
    assert (result.code, entry["status"], entry["key_state"]) == (0, "unchanged", "Disabled")
    assert (entry["verification"]["consecutive"], seen) == (4, 5)


# --- the reads
@pytest.mark.parametrize("reads", [1, 3, 5])
@pytest.mark.parametrize("prove", ["auto", "none"])
def test_n_reads_and_then_the_proof(sandbox: Sandbox, work: Workplace, run: Run, *, reads: int, prove: str) -> None:
    held(sandbox, work, "HMAC_256")
    result = run("--reads", str(reads), "--prove", prove)
    verification = result.entries["held0"]["verification"]
    assert (verification["reads"], verification["consecutive"], verification["verified"]) == (reads, reads, True)
    assert called(sandbox) == ["DescribeKey"] * reads + (["GenerateMac"] if prove == "auto" else [])


def test_a_plan_reads_once_and_says_so(sandbox: Sandbox, work: Workplace) -> None:
    held(sandbox, work, "HMAC_256")
    work.write()
    plan = work.call("plan", "manifest.json", "--format", "json")
    [target] = json.loads(plan.stdout)["targets"]
    assert (plan.code, target["action"], "by one read" in target["detail"]) == (0, "unchanged", True)
    assert called(sandbox) == ["DescribeKey", "GenerateMac"]


# --- --prove all
@pytest.mark.parametrize("days_left", [80, 40])
def test_prove_all_keeps_the_expiry_that_kms_has(sandbox: Sandbox, work: Workplace, run: Run, days_left: int) -> None:
    """Not due for renewal: proved by an import with KMS's own ValidTo, not renewed to its full life."""
    until = (datetime.now(UTC) + timedelta(days=days_left)).replace(microsecond=0)
    material = materials.make(AES)
    key = sandbox.key(material={"hex": material.hex()}, valid_to=until.isoformat())
    work.key(key["key_id"], material, name="key", valid_for="90d")
    result = run("--prove", "all", "--require-proof")
    entry = result.entries["key"]
    assert (result.code, entry["status"], entry["verification"]["proof"]) == (0, "reimported", "material_id")
    assert sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["ValidTo"] == until


def test_prove_all_renews_what_is_due(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    until = (datetime.now(UTC) + timedelta(days=20)).replace(microsecond=0)
    material = materials.make(AES)
    key = sandbox.key(material={"hex": material.hex()}, valid_to=until.isoformat())
    work.key(key["key_id"], material, name="key", valid_for="90d")
    assert run("--prove", "all").code == 0
    assert sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["ValidTo"] > until + timedelta(days=60)
