"""Primaries and their replicas: each Region its own target, its own import, one material."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.life.shared import other_material_in
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox

FIRST, SECOND = "eu-west-1", "ap-south-1"
FAMILY = (REGION, FIRST, SECOND)
CREATING = ["replicated", "alias", "imported"]


def kms(sandbox: Sandbox, region: str = REGION) -> Any:
    return sandbox.client("kms", ACCOUNT, region)


def add(work: Workplace, key_id: str = "alias/payments", spec: str = "SYMMETRIC_DEFAULT", **fields: Any) -> bytes:
    """A primary with two replicas. Returns their material."""
    material = materials.make(spec)
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    work.key(key_id, material, name="payments", key_spec=spec, **{"replicas": [FIRST, SECOND], **fields})
    return material


def family(sandbox: Sandbox, material: bytes, **fields: Any) -> str:
    """A filled primary with an alias, and replicas in both Regions that were never filled. Returns the key ID."""
    wanted = {"alias": "alias/payments", "multi_region": True, "material": {"hex": material.hex()}}
    key = sandbox.key(**{**wanted, "replicas": [FIRST, SECOND], **fields})
    return key["key_id"]


def of(result: Result) -> dict[str, dict[str, Any]]:
    """The report's results by Region."""
    return {entry["region"]: entry for entry in result.report["results"]}


def state(sandbox: Sandbox, key_id: str, region: str) -> dict[str, Any]:
    found: dict[str, Any] = kms(sandbox, region).describe_key(KeyId=key_id)["KeyMetadata"]
    return found


def sent(sandbox: Sandbox, operation: str) -> Counter[str]:
    """How often, by Region."""
    return Counter(call["region"] for call in sandbox.calls(operation=operation))


def opens_everywhere(sandbox: Sandbox, key_id: str, regions: tuple[str, ...] = FAMILY) -> None:
    """What one Region encrypted, every Region decrypts."""
    for one in regions:
        sealed = kms(sandbox, one).encrypt(KeyId=key_id, Plaintext=one.encode())["CiphertextBlob"]
        for other in regions:
            assert kms(sandbox, other).decrypt(CiphertextBlob=sealed)["Plaintext"] == one.encode()


def test_a_first_run_creates_replicates_and_fills_a_second_one_changes_nothing(
    sandbox: Sandbox, work: Workplace
) -> None:
    add(work, create={"description": "Payments, {region}", "tags": {"Team": "{id}-{region}"}})
    first = work.run()
    assert first.code == 0, first.stderr
    assert [(entry["id"], entry["region"], entry["index"]) for entry in first.report["results"]] == [
        ("payments", REGION, 0), ("payments", FIRST, 1), ("payments", SECOND, 2),
    ]  # fmt: skip
    entries = of(first)
    assert entries[REGION]["changes"] == ["created", "alias", "imported"]
    assert [entries[region]["changes"] for region in (FIRST, SECOND)] == [CREATING, CREATING]
    assert {entry["status"] for entry in entries.values()} == {"imported"}
    assert {entry["verification"]["proof"] for entry in entries.values()} == {"material_id"}
    assert len({entry["key_material_id"] for entry in entries.values()}) == 1
    key_id = entries[REGION]["key_arn"].rpartition("/")[2]
    for region in FAMILY:
        key = state(sandbox, "alias/payments", region)
        assert (key["KeyId"], key["KeyState"]) == (key_id, "Enabled")
        assert key["Description"] == f"Payments, {region}"
        assert key["MultiRegionConfiguration"]["PrimaryKey"]["Region"] == REGION
        tags = {t["TagKey"]: t["TagValue"] for t in kms(sandbox, region).list_resource_tags(KeyId=key_id)["Tags"]}
        assert tags["Team"] == f"payments-{region}"
    opens_everywhere(sandbox, key_id)

    second = work.run()
    assert second.code == 0, second.stderr
    assert {entry["status"] for entry in of(second).values()} == {"unchanged"}
    assert (sent(sandbox, "CreateKey"), sent(sandbox, "ReplicateKey")) == ({REGION: 1}, {REGION: 2})


@pytest.mark.parametrize("named", ["alias", "key ID", "ARN"])
def test_existing_replicas_are_found_by_their_primarys_key_id(sandbox: Sandbox, work: Workplace, named: str) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key_id = family(sandbox, material)
    arn = state(sandbox, key_id, REGION)["Arn"]
    add(work, {"alias": "alias/payments", "key ID": key_id, "ARN": arn}[named])
    (work.folder / "payments.key").write_bytes(material)
    result = work.run()
    assert result.code == 0, result.stderr
    assert [entry["status"] for entry in result.report["results"]] == ["unchanged", "imported", "imported"]
    assert [entry["key_arn"].split(":")[3] for entry in result.report["results"]] == list(FAMILY)
    opens_everywhere(sandbox, key_id)


@pytest.mark.parametrize(
    ("spec", "usage", "proof"), [("HMAC_256", None, "hmac"), ("ECC_NIST_P256", "SIGN_VERIFY", "public_key")]
)
def test_other_kinds_of_keys_are_proved_in_each_region(
    sandbox: Sandbox, work: Workplace, spec: str, usage: str | None, proof: str
) -> None:
    add(work, spec=spec, create={}, **({"key_usage": usage} if usage else {}))
    result = work.run()
    assert result.code == 0, result.stderr
    assert {entry["verification"]["proof"] for entry in of(result).values()} == {proof}
    assert sum(sent(sandbox, "ImportKeyMaterial").values()) == 3  # KMS refuses an ImportType for such keys


def test_a_primary_that_fails_leaves_its_replicas_alone(sandbox: Sandbox, work: Workplace) -> None:
    add(work, create={})
    sandbox.fault("error", operation="ImportKeyMaterial", code="AccessDeniedException", times=None, region=REGION)
    sandbox.fault("error", operation="DescribeKey", code="AccessDeniedException", times=None, region=REGION)
    result = work.run("--retry-timeout", "1")
    assert result.code == 5, result.stderr
    for region in (FIRST, SECOND):
        entry = of(result)[region]
        assert (entry["status"], entry["changed"], entry["error"]["code"]) == ("failed", False, "PrimaryNotReady")
        assert "AccessDeniedException" in entry["error"]["message"]
    assert not sent(sandbox, "ReplicateKey")


@pytest.mark.parametrize("named", ["alias", "key ID"])
def test_a_primary_that_is_not_selected(sandbox: Sandbox, work: Workplace, named: str) -> None:
    """Who was never filled needs it; who held its material before does not, and never waits."""
    material = materials.make("SYMMETRIC_DEFAULT")
    key_id = family(sandbox, material)
    add(work, {"alias": "alias/payments", "key ID": key_id}[named])
    (work.folder / "payments.key").write_bytes(material)
    first = work.run("--only-region", FIRST)
    assert first.code == 5, first.stderr
    (entry,) = first.report["results"]
    assert (entry["changed"], entry["error"]["code"]) == (False, "PrimaryNotReady")
    assert not sent(sandbox, "ImportKeyMaterial")

    import_material(kms(sandbox, FIRST), key_id, material)
    for region in (REGION, FIRST):
        kms(sandbox, region).delete_imported_key_material(KeyId=key_id)
    assert state(sandbox, key_id, FIRST)["KeyState"] == "PendingImport"
    again = work.run("--only-region", FIRST)
    assert again.code == 0, again.stderr
    assert of(again)[FIRST]["status"] == "imported"
    assert state(sandbox, key_id, REGION)["KeyState"] == "PendingImport"


def test_a_shard_keeps_a_key_with_its_replicas(sandbox: Sandbox, work: Workplace) -> None:
    for number in range(4):
        work.key(f"alias/k{number}", materials.make("SYMMETRIC_DEFAULT"), name=f"k{number}", region=FAMILY[number % 3])
    add(work)
    work.write()
    shown = work.call("validate", "manifest.json", "--shards", "2")
    assert shown.code == 0, shown.stderr
    assert "3      7" in shown.stdout.decode(), shown.stdout.decode()  # all three lanes are in one shard
    empty = work.call("validate", "manifest.json", "--shard", "2/2")
    assert "0 of 7 targets" in empty.stderr, empty.stderr


def test_a_plan_shows_what_replicas_would_get(sandbox: Sandbox, work: Workplace) -> None:
    add(work, create={})
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json", *quick(()))
    assert result.code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert [target["action"] for target in plan["targets"]] == ["create"] * 3
    steps = [step["operation"] for step in plan["targets"][1]["steps"]]
    assert steps == ["ReplicateKey", "CreateAlias", "ImportKeyMaterial"]
    quotas = {lane["region"]: lane["quota"] for lane in plan["lanes"]}  # KMS counts a ReplicateKey in two Regions
    assert "ReplicateKey" in quotas[REGION]
    assert "CreateKey" in quotas[FIRST]
    assert "ReplicateKey" not in quotas[FIRST]
    alone = work.call("plan", "manifest.json", "--format", "json", "--only-region", FIRST, *quick(()))
    (target,) = json.loads(alone.stdout)["targets"]
    assert (alone.code, target["error"]["code"]) == (5, "PrimaryNotReady")
    assert not kms(sandbox).list_keys()["Keys"]


def test_status_reads_replicas_by_their_primarys_key_id(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key_id = family(sandbox, material, replicas=[FIRST])
    import_material(kms(sandbox, FIRST), key_id, material)
    add(work)
    work.write()
    result = work.call("status", "manifest.json", "--format", "json", "--read-interval", "20ms")
    assert result.code == 11, result.stderr
    assert [target["state"] for target in json.loads(result.stdout)["targets"]] == ["as_wanted", "as_wanted", "missing"]


# --- what KMS has contradicts the manifest


@pytest.mark.parametrize("named", ["alias", "key ID"])
def test_a_primary_in_another_region_than_the_manifest_states(sandbox: Sandbox, work: Workplace, named: str) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key_id = family(sandbox, material)
    for region in (FIRST, SECOND):
        import_material(kms(sandbox, region), key_id, material)
    kms(sandbox).update_primary_region(KeyId=key_id, PrimaryRegion=FIRST)
    sandbox.advance(1)
    add(work, {"alias": "alias/payments", "key ID": key_id}[named])
    result = work.run()
    assert result.code == 5, result.stderr
    for entry in result.report["results"]:
        assert (entry["changed"], entry["error"]["code"]) == (False, "KeyContradiction")
        assert f"is in {FIRST}; the manifest states {REGION}" in entry["error"]["message"]


def test_a_replica_that_the_manifest_does_not_list_is_reported(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key_id = family(sandbox, material)
    add(work, replicas=[FIRST])
    (work.folder / "payments.key").write_bytes(material)
    import_material(kms(sandbox, FIRST), key_id, material)
    result = work.run()
    assert result.code == 4, result.stderr
    error = of(result)[REGION]["error"]
    assert error["code"] == "Drift"
    assert SECOND in error["message"]
    assert of(result)[FIRST]["status"] == "unchanged"  # it held its material: it waits for nobody


def test_a_missing_replica_that_is_not_to_be_created_fails_alone(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    family(sandbox, material, replicas=[FIRST])
    add(work)
    (work.folder / "payments.key").write_bytes(material)
    result = work.run()
    assert result.code == 4, result.stderr
    assert {region: entry["status"] for region, entry in of(result).items()} == {
        REGION: "unchanged", FIRST: "imported", SECOND: "failed",
    }  # fmt: skip
    assert of(result)[SECOND]["error"]["code"] == "NotFoundException"


def test_a_single_region_key_has_no_replicas(sandbox: Sandbox, work: Workplace) -> None:
    sandbox.key(alias="alias/payments")
    add(work)
    result = work.run()
    assert result.code == 5, result.stderr
    assert of(result)[REGION]["error"]["code"] == "KeyContradiction"
    assert {of(result)[region]["error"]["code"] for region in (FIRST, SECOND)} == {"PrimaryNotReady"}
    assert not sent(sandbox, "ImportKeyMaterial")


def test_regions_that_show_different_materials(sandbox: Sandbox, work: Workplace) -> None:
    """The ID is what KMS shows of a symmetric material: related keys share it."""
    material = materials.make("SYMMETRIC_DEFAULT")
    key_id = family(sandbox, material, replicas=[FIRST])
    import_material(kms(sandbox, FIRST), key_id, material)
    add(work, key_id, replicas=[FIRST])

    with Rewriter(sandbox.url, other_material_in(FIRST)) as proxy:
        work.url = proxy.url
        result = work.run("--prove", "none")
    assert result.code == 4, result.stderr
    failed = [entry["error"]["code"] for entry in result.report["results"] if entry["error"]]
    assert failed == ["MaterialMismatch"]


# --- ReplicateKey


@pytest.mark.parametrize("operation", ["ReplicateKey", "CreateAlias"])
def test_a_lost_response_is_looked_for(sandbox: Sandbox, work: Workplace, operation: str) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(alias="alias/payments", multi_region=True, material={"hex": material.hex()})
    add(work, create={}, replicas=[FIRST])
    (work.folder / "payments.key").write_bytes(material)
    sandbox.fault("act_then_drop", operation=operation)
    result = work.run()
    assert result.code == 0, result.stderr
    assert of(result)[FIRST]["changes"] == CREATING
    assert sent(sandbox, operation).total() == 1
    opens_everywhere(sandbox, key["key_id"], (REGION, FIRST))


@pytest.mark.parametrize("what", ["key ID", "Region", "spec"])
def test_a_response_about_another_replica_is_no_success(sandbox: Sandbox, work: Workplace, what: str) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(alias="alias/payments", multi_region=True, material={"hex": material.hex()})
    add(work, create={}, replicas=[FIRST])
    (work.folder / "payments.key").write_bytes(material)

    def wrong(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation != "ReplicateKey":
            return answer
        text, made = json.dumps(answer), answer["ReplicaKeyMetadata"]
        if what == "key ID":
            return json.loads(text.replace(key["key_id"], "mrk-" + "1" * 32))
        made["Arn"] = made["Arn"].replace(FIRST, SECOND) if what == "Region" else made["Arn"]
        made["KeySpec"] = "HMAC_256" if what == "spec" else made["KeySpec"]
        return answer

    with Rewriter(sandbox.url, wrong) as proxy:
        work.url = proxy.url
        result = work.run()
    assert result.code == 4, result.stderr
    entry = of(result)[FIRST]
    assert (entry["error"]["code"], entry["changes"]) == ("WrongKey", ["replicated"])  # a read shows that it is there
    assert not sent(sandbox, "ImportKeyMaterial")


def test_somebody_else_replicates_at_the_same_time(sandbox: Sandbox, work: Workplace) -> None:
    """It is reported, not taken over in silence; the next run compares it with the manifest."""
    material = materials.make("SYMMETRIC_DEFAULT")
    key = sandbox.key(alias="alias/payments", multi_region=True, material={"hex": material.hex()}, description="ours")
    add(work, create={"description": "ours"}, replicas=[FIRST])
    (work.folder / "payments.key").write_bytes(material)
    sandbox.fault("error", operation="ReplicateKey", code="AlreadyExistsException")
    result = work.run()
    entry = of(result)[FIRST]
    assert (result.code, entry["changed"], entry["changes"]) == (4, False, []), result.stderr
    assert entry["error"]["code"] == "AlreadyExistsException"
    kms(sandbox).replicate_key(KeyId=key["key_id"], ReplicaRegion=FIRST, Description="theirs")
    again = work.run()
    assert (again.code, of(again)[FIRST]["changes"]) == (0, ["alias", "description", "imported"]), again.stderr
    assert state(sandbox, key["key_id"], FIRST)["Description"] == "ours"


def test_quotas_and_lag(sandbox: Sandbox, work: Workplace) -> None:
    """One ReplicateKey counts as two CreateKey in the replica's Region: nothing is throttled."""
    sandbox.quotas(enforce=True, GetParametersForImport=50)
    sandbox.post("lag", seconds=1, share=0.5, seed=7)
    for number in range(4):
        name = f"k{number}"
        work.key(f"alias/{name}", materials.make("SYMMETRIC_DEFAULT"), name=name, key_spec="SYMMETRIC_DEFAULT",
                 create={}, replicas=[FIRST])  # fmt: skip
    work.defaults["wrapping_key_spec"] = "RSA_2048"
    result = work.run("--read-interval", "200ms")
    assert result.code == 0, result.stderr
    assert all(not lane["throttled"] for lane in result.report["lanes"])
    assert sent(sandbox, "ReplicateKey") == {REGION: 4}


# --- killed anywhere

EVENTS = 30  # more than such a run writes


@pytest.mark.parametrize("seq", range(3, EVENTS))
def test_killed_anywhere_and_run_again_there_is_one_family(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int
) -> None:
    """Every other one is resumed."""
    add(work, create={}, replicas=[FIRST])
    work.write()
    options = ["run", "manifest.json", *quick(()), "--verify-timeout", "2s"]
    killed = forks.run(work.folder, work.environment(), options, kill=Kill(seq, "after"))
    if killed.code == 0:
        assert len(events(work)) < seq  # it wrote fewer events: there was nothing to kill
        return
    again = forks.run(work.folder, work.environment(), [*options, *(["--resume"] if seq % 2 else [])])
    if again.code == 5 and seq % 2:  # the intent of CreateKey was all that was left: it is never repeated blindly
        assert of(again)[REGION]["error"]["code"] == "OutcomeUnknown"
        again = forks.run(work.folder, work.environment(), options)
    assert again.code == 0, again.stderr
    assert (sent(sandbox, "CreateKey"), sent(sandbox, "ReplicateKey")) == ({REGION: 1}, {REGION: 1})
    assert [len(kms(sandbox, region).list_keys()["Keys"]) for region in (REGION, FIRST)] == [1, 1]
    opens_everywhere(sandbox, "alias/payments", (REGION, FIRST))
