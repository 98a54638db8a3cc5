"""`status` agrees with `plan`: what a run would change or refuse, a nightly check reports, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Workplace, quick
from tests.iam.gatekeeper import Gatekeeper
from tests.life.shared import other_material_in
from tests.life.test_replicas import FAMILY, FIRST, SECOND, add, kms
from tests.sandbox.helpers import NEVER, import_material
from tests.sandbox_client import Sandbox

CREATE = {"description": "Payments", "tags": {"Team": "payments"}}
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
POLICY = {"Version": "2012-10-17", "Statement": [ROOT]}
NEW = {"ImportType": "NEW_KEY_MATERIAL", **NEVER}


def key_id(sandbox: Sandbox) -> str:
    return str(kms(sandbox).describe_key(KeyId="alias/payments")["KeyMetadata"]["KeyId"])


def looked_at(work: Workplace, command: str, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the targets by Region."""
    work.write()
    result = work.call(command, "manifest.json", *quick(options), "--format", "json", *options)
    targets = json.loads(result.stdout)["targets"]
    return result.code, {target["region"]: target for target in targets}


def agree(work: Workplace, *alarming: str, fields: set[str] | None = None) -> None:
    """plan and status agree that the targets in these Regions, and no others, are not as wanted."""
    planned = looked_at(work, "plan")[1]
    code, found = looked_at(work, "status")
    assert {region for region, target in planned.items() if target["action"] != "unchanged"} == set(alarming), planned
    assert {region for region, target in found.items() if target["state"] != "as_wanted"} == set(alarming), found
    assert code == (11 if alarming else 0)
    if fields is not None:
        assert {one["field"] for target in found.values() for one in target["drift"]} == fields


# --- one key, with everything that a manifest can state of it


def one(sandbox: Sandbox, work: Workplace, **fields: Any) -> bytes:
    material = materials.make("HMAC_256")
    create = {**CREATE, "policy": POLICY}
    work.key("alias/payments", material, name="payments", key_spec="HMAC_256", create=create, **fields)
    first = work.run()
    assert first.code == 0, first.stderr
    agree(work)
    return material


def description(sandbox: Sandbox, work: Workplace) -> None:
    kms(sandbox).update_key_description(KeyId=key_id(sandbox), Description="payments")


def tag(sandbox: Sandbox, work: Workplace) -> None:
    kms(sandbox).untag_resource(KeyId=key_id(sandbox), TagKeys=["Team"])


def policy(sandbox: Sandbox, work: Workplace) -> None:
    wider = {**POLICY, "Statement": [ROOT, {**ROOT, "Principal": "*"}]}
    kms(sandbox).put_key_policy(KeyId=key_id(sandbox), Policy=json.dumps(wider))


def to_be_deleted(sandbox: Sandbox, work: Workplace) -> None:
    kms(sandbox).schedule_key_deletion(KeyId=key_id(sandbox))


def emptied(sandbox: Sandbox, work: Workplace) -> None:
    kms(sandbox).delete_imported_key_material(KeyId=key_id(sandbox))


def alias_taken_away(sandbox: Sandbox, work: Workplace) -> None:
    kms(sandbox).delete_alias(AliasName="alias/payments")


def alias_of_another_key(sandbox: Sandbox, work: Workplace) -> None:
    other = kms(sandbox).create_key(Origin="EXTERNAL", KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    kms(sandbox).update_alias(AliasName="alias/payments", TargetKeyId=other["KeyMetadata"]["KeyId"])


def other_material(sandbox: Sandbox, work: Workplace) -> None:
    (work.folder / "payments.key").write_bytes(materials.make("HMAC_256"))


def expiry(sandbox: Sandbox, work: Workplace) -> None:
    soon = datetime.now(UTC) + timedelta(days=20)
    material = (work.folder / "payments.key").read_bytes()
    import_material(kms(sandbox), key_id(sandbox), material, ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=soon)


def multi_region(sandbox: Sandbox, work: Workplace) -> None:
    work.keys[0]["create"]["multi_region"] = True


@pytest.mark.parametrize(
    "change",
    [description, tag, policy, to_be_deleted, emptied, alias_taken_away, alias_of_another_key, other_material, expiry,
     multi_region],
)  # fmt: skip
def test_of_one_key(sandbox: Sandbox, work: Workplace, change: Callable[[Sandbox, Workplace], None]) -> None:
    one(sandbox, work)
    change(sandbox, work)
    sandbox.advance(1)
    agree(work, REGION)


def test_replicas_of_a_single_region_key(sandbox: Sandbox, work: Workplace) -> None:
    one(sandbox, work)
    del work.keys[0]["create"]
    work.keys[0]["replicas"] = [FIRST]
    planned = looked_at(work, "plan")[1]
    assert planned[REGION]["error"]["code"] == "KeyContradiction"
    code, found = looked_at(work, "status")
    assert (code, found[REGION]["state"], found[REGION]["drift"]) == (
        11, "drift", [{"field": "multi_region", "wanted": "true", "found": "false"}],
    )  # fmt: skip
    assert found[FIRST]["state"] != "as_wanted"


# --- a key in three Regions


def family(sandbox: Sandbox, work: Workplace) -> str:
    add(work, create=CREATE)
    first = work.run()
    assert first.code == 0, first.stderr
    agree(work)
    return key_id(sandbox)


def test_a_replica_that_is_not_listed(sandbox: Sandbox, work: Workplace) -> None:
    key = family(sandbox, work)
    kms(sandbox).replicate_key(KeyId=key, ReplicaRegion="sa-east-1")
    sandbox.advance(1)
    agree(work, REGION, fields={"replicas"})
    drift = looked_at(work, "status")[1][REGION]["drift"]
    listed = ", ".join((FIRST, SECOND))
    assert drift == [{"field": "replicas", "wanted": listed, "found": "ap-south-1, eu-west-1, sa-east-1"}]


def test_a_primary_elsewhere(sandbox: Sandbox, work: Workplace) -> None:
    key = family(sandbox, work)
    kms(sandbox).update_primary_region(KeyId=key, PrimaryRegion=FIRST)
    sandbox.advance(1)
    agree(work, *FAMILY, fields={"primary_region"})


def test_an_alias_that_a_replica_lost(sandbox: Sandbox, work: Workplace) -> None:
    family(sandbox, work)
    kms(sandbox, SECOND).delete_alias(AliasName="alias/payments")
    agree(work, SECOND, fields={"key_id"})
    again = work.run()
    assert again.code == 0, again.stderr
    agree(work)


def test_an_alias_that_names_another_key_than_the_replica(sandbox: Sandbox, work: Workplace) -> None:
    family(sandbox, work)
    other = kms(sandbox, FIRST).create_key(Origin="EXTERNAL")["KeyMetadata"]
    kms(sandbox, FIRST).update_alias(AliasName="alias/payments", TargetKeyId=other["KeyId"])
    agree(work, FIRST, fields={"key_id"})
    assert looked_at(work, "status")[1][FIRST]["drift"][0]["found"] == other["Arn"]


def test_one_stale_read_of_a_replicas_alias_is_no_drift(sandbox: Sandbox, work: Workplace) -> None:
    family(sandbox, work)
    missing = {"code": "NotFoundException", "after": 3}  # the reads by key ID come first
    sandbox.fault("error", operation="DescribeKey", region=FIRST, key="alias/payments", **missing)
    code, found = looked_at(work, "status")
    assert [fault["fired"] for fault in sandbox.faults()] == [1]
    assert (code, found[FIRST]["state"]) == (0, "as_wanted"), found[FIRST]


@pytest.mark.parametrize("prove", ["auto", "none"])
def test_a_region_that_shows_other_material(sandbox: Sandbox, work: Workplace, prove: str) -> None:
    family(sandbox, work)

    with Rewriter(sandbox.url, other_material_in(FIRST)) as proxy:
        work.url = proxy.url
        code, found = looked_at(work, "status", "--prove", prove)
    drifted = [target for target in found.values() if target["state"] == "drift"]
    assert (code, len(drifted) > 0) == (11, True)
    assert {(target["error"]["code"], target["drift"][0]["field"]) for target in drifted} == {
        ("MaterialMismatch", "material")
    }


# --- a key with several materials


def test_of_several_materials(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(alias="alias/payments")["key_id"]
    work.key("alias/payments", b"", name="payments", key_spec="SYMMETRIC_DEFAULT")
    del work.keys[0]["material"], work.keys[0]["encoding"]
    for name in ("v1", "v2"):
        (work.folder / f"{name}.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    entries = [{"name": name, "material": f"file:{name}.key", "encoding": "raw"} for name in ("v1", "v2")]
    work.keys[0]["materials"] = entries
    first = work.run()
    assert first.code == 0, first.stderr
    agree(work)
    work.keys[0]["materials"] = entries[::-1]
    agree(work, REGION, fields={"materials"})
    work.keys[0]["materials"] = [*entries, {**entries[0], "name": "v3"}]
    agree(work, REGION, fields={"materials.v2.state", "materials.v3"})
    work.keys[0]["materials"] = entries
    (work.folder / "v1.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))  # the source changed since
    code, found = looked_at(work, "status", "--known", "report.json")
    assert (code, found[REGION]["state"], found[REGION]["error"]["code"]) == (11, "drift", "MaterialMismatch")
    import_material(kms(sandbox), key, materials.make("SYMMETRIC_DEFAULT"), KeyMaterialDescription="theirs", **NEW)
    agree(work, REGION, fields={"materials"})


def test_the_policies_for_it_allow_what_is_read_of_replicas(sandbox: Sandbox, work: Workplace) -> None:
    family(sandbox, work)
    printed = json.loads(work.call("iam", "manifest.json", "--command", "status").stdout)
    policies = {section["account"]: section["permissions_policies"] for section in printed["accounts"]}
    with Gatekeeper(sandbox, policies) as gate:
        work.url = gate.url
        code, found = looked_at(work, "status")
    assert code == 0, found
    described = {request.resource.split(":")[3] for request, _ in gate.asked if request.action == "kms:DescribeKey"}
    assert described == set(FAMILY)
