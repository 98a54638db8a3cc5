"""The life of a key at the second, independent KMS: each step of it as another program understands KMS.

Where ministack 1.5.33 departs from AWS here: a new replica is Enabled at once, with a copy of the primary's material
but no expiration model (AWS: Creating, then PendingImport). It has neither ListKeyRotations nor RotateKeyOnDemand.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill

TAGS = {"Team": "payments"}
FIRST, SECOND = "eu-west-1", "eu-central-1"
FAMILY = (REGION, FIRST, SECOND)
ROOT = {
    "Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "arn:{partition}:iam::{account}:root"}, "Action": "kms:*",
    "Resource": "*",
}  # fmt: skip
USE = {
    "Sid": "Use", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::{account}:role/App-{region}"},
    "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": "*",
}  # fmt: skip
POLICY = {"Version": "2012-10-17", "Statement": [ROOT, USE]}
SEVERAL = [{"name": "2025", "material": "file:v1.key"}, {"name": "2026", "material": "file:v2.key"}]


def wanted(region: str) -> Any:
    """POLICY as KMS must hold it in a Region."""
    text = json.dumps(POLICY).replace("{partition}", "aws").replace("{account}", ACCOUNT)
    return json.loads(text.replace("{region}", region))


@pytest.fixture
def place(ministack: Ministack, work: Workplace) -> Workplace:
    work.url = ministack.url
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    return work


def of(result: Result) -> dict[str, dict[str, Any]]:
    """The report's results by Region."""
    return {entry["region"]: entry for entry in result.report["results"]}


def look(work: Workplace, command: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the targets that `plan` or `status` shows."""
    work.write()
    result = work.call(command, "manifest.json", *quick(options), "--format", "json", *options)
    return result.code, json.loads(result.stdout)["targets"]


def kms_id(kms: Any, alias: str) -> str:
    return str(kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"])


def test_created_drifted_corrected_emptied_and_filled_again(ministack: Ministack, work: Workplace) -> None:
    work.url = ministack.url
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    material = materials.make("HMAC_256")
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # made quickly
    create = {"description": "Payments, {region}", "tags": TAGS}
    work.key("alias/life", material, name="life", key_spec="HMAC_256", create=create)

    first = work.run()
    assert first.code == 0, first.stderr
    entry = first.entries["life"]
    assert entry["changes"] == ["created", "alias", "imported"]
    key = kms.describe_key(KeyId="alias/life")["KeyMetadata"]
    assert (key["Arn"], key["KeyState"], key["Description"]) == (entry["key_arn"], "Enabled", f"Payments, {REGION}")
    assert materials.held_by(kms, "alias/life", "HMAC_256", material)

    second = work.run("--require-proof")
    assert second.code == 0, second.stderr
    assert (second.entries["life"]["status"], second.entries["life"]["changes"]) == ("unchanged", [])

    kms.update_key_description(KeyId=key["KeyId"], Description="Changed")
    kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "Team", "TagValue": "x"}, {"TagKey": "Own", "TagValue": "y"}])
    refused = work.run()
    assert refused.code == 5, refused.stderr
    assert refused.entries["life"]["error"]["code"] == "Drift"
    corrected = work.run("--correct", "description", "--correct", "tags")
    assert corrected.code == 0, corrected.stderr
    assert (corrected.entries["life"]["status"], corrected.entries["life"]["changes"]) == (
        "corrected", ["tags", "description"],
    )  # fmt: skip
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["Description"] == f"Payments, {REGION}"
    tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
    assert tags.items() >= {**TAGS, "Own": "y"}.items()

    deleted = work.call("delete", "manifest.json", "--all", "--yes", "--read-interval", "20ms")
    assert deleted.code == 0, deleted.stderr
    assert deleted.entries["life"]["status"] == "deleted"
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "PendingImport"
    again = work.run()
    assert again.code == 0, again.stderr
    assert (again.entries["life"]["status"], again.entries["life"]["key_arn"]) == ("imported", key["Arn"])
    assert materials.held_by(kms, "alias/life", "HMAC_256", material)


@pytest.mark.parametrize("how", ["a mapping", "a file"])
def test_a_policy_is_created_drifts_and_is_corrected(ministack: Ministack, place: Workplace, how: str) -> None:
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    alias = f"alias/policy-of-{how.replace(' ', '-')}"
    (place.folder / "policy.json").write_text(json.dumps(POLICY))
    policy = POLICY if how == "a mapping" else "file:policy.json"
    place.key(alias, materials.make("HMAC_256"), name="guarded", key_spec="HMAC_256", create={"policy": policy})

    first = place.run()
    assert first.code == 0, first.stderr
    assert first.entries["guarded"]["changes"] == ["created", "alias", "imported"]
    key_id = kms_id(kms, alias)

    def held() -> Any:
        return json.loads(kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])

    assert held() == wanted(REGION)
    second = place.run("--require-proof", "--correct", "policy")
    assert (second.code, second.entries["guarded"]["changes"]) == (0, []), second.stderr

    # Somebody lets everybody in.
    everybody = {**wanted(REGION)["Statement"][1], "Principal": {"AWS": "*"}}
    open_to_all = {**wanted(REGION), "Statement": [*wanted(REGION)["Statement"], everybody]}
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=json.dumps(open_to_all))
    code, (seen,) = look(place, "status")
    assert (code, seen["state"], [one["field"] for one in seen["drift"]]) == (11, "drift", ["policy"])
    code, (planned,) = look(place, "plan")
    assert (code, planned["action"], planned["error"]["code"]) == (5, "blocked", "Drift")
    code, (planned,) = look(place, "plan", "--correct", "policy")
    assert (code, planned["action"]) == (0, "correct")
    refused = place.run()
    assert (refused.code, refused.entries["guarded"]["error"]["code"]) == (5, "Drift"), refused.stderr
    assert held() == open_to_all  # without --correct policy it stays

    corrected = place.run("--correct", "policy", "--require-proof")
    assert corrected.code == 0, corrected.stderr
    entry = corrected.entries["guarded"]
    assert (entry["status"], entry["changes"]) == ("corrected", ["policy"])
    assert held() == wanted(REGION)
    assert look(place, "status")[0] == 0
    assert place.run().entries["guarded"]["status"] == "unchanged"

    # The same statements, written otherwise, are no drift.
    other = wanted(REGION)
    other["Statement"].reverse()
    other["Statement"][0]["Action"] = ["kms:Decrypt", "kms:Encrypt"]
    other["Statement"][0]["Principal"]["AWS"] = [other["Statement"][0]["Principal"]["AWS"]]
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=json.dumps(other, indent=4))
    assert look(place, "status")[0] == 0


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_512", "ECC_NIST_P256"])
def test_a_primary_and_its_replicas(ministack: Ministack, place: Workplace, spec: str) -> None:
    alias, material = f"alias/family-{spec}", materials.make(spec)
    create = {"description": "In {region}", "tags": {"Team": "payments", "Place": "{region}"}, "policy": POLICY}
    usage = {"key_usage": materials.usage(spec)} if spec.startswith("ECC") else {}
    place.key(alias, material, name="family", key_spec=spec, replicas=[FIRST, SECOND], create=create, **usage)
    kms: dict[str, Any] = {region: ministack.client("kms", ACCOUNT, region) for region in FAMILY}

    first = place.run()
    assert first.code == 0, first.stderr
    assert {region: entry["changes"] for region, entry in of(first).items()} == {
        REGION: ["created", "alias", "imported"],
        FIRST: ["replicated", "alias", "imported"],
        SECOND: ["replicated", "alias", "imported"],
    }
    for region in FAMILY:
        shows_a_member(kms[region], alias, region)
        assert materials.held_by(kms[region], alias, spec, material)
    assert len({entry["key_arn"].rpartition("/")[2] for entry in of(first).values()}) == 1
    if spec == "SYMMETRIC_DEFAULT":  # what one Region encrypted, every other decrypts
        sealed = kms[REGION].encrypt(KeyId=alias, Plaintext=b"moved")["CiphertextBlob"]
        assert all(one.decrypt(KeyId=alias, CiphertextBlob=sealed)["Plaintext"] == b"moved" for one in kms.values())

    second = place.run("--require-proof", "--known", "report.json", "--correct", "policy", "--correct", "tags")
    assert second.code == 0, second.stderr
    assert {(entry["status"], entry["attempts"]) for entry in of(second).values()} == {("unchanged", 0)}

    # Drift in one Region is that target's, and is corrected there alone.
    kms[SECOND].update_key_description(KeyId=kms_id(kms[SECOND], alias), Description="Elsewhere")
    policy = json.dumps({**wanted(SECOND), "Statement": [wanted(SECOND)["Statement"][0]]})
    kms[SECOND].put_key_policy(KeyId=kms_id(kms[SECOND], alias), PolicyName="default", Policy=policy)
    code, seen = look(place, "status")
    assert code == 11
    assert [one["state"] for one in seen] == ["as_wanted", "as_wanted", "drift"]
    assert {one["field"] for one in seen[2]["drift"]} == {"description", "policy"}
    corrected = place.run("--correct", "policy", "--correct", "description")
    assert corrected.code == 0, corrected.stderr
    assert {region: entry["changes"] for region, entry in of(corrected).items()} == {
        REGION: [], FIRST: [], SECOND: ["policy", "description"],
    }  # fmt: skip
    shows_a_member(kms[SECOND], alias, SECOND)

    # Emptied in one Region, then in all: the next run fills what is empty.
    for selection, emptied in (("--only-region", SECOND), [SECOND]), (("--all",), list(FAMILY)):
        deleted = place.call("delete", "manifest.json", *selection, "--yes", "--read-interval", "20ms")
        assert deleted.code == 0, deleted.stderr
        assert {entry["status"] for entry in deleted.report["results"]} == {"deleted"}
        assert [one["region"] for one in look(place, "status")[1] if one["state"] == "empty"] == emptied
        again = place.run()
        assert again.code == 0, again.stderr
        assert [region for region, entry in of(again).items() if entry["status"] == "imported"] == emptied
        assert all(materials.held_by(kms[region], alias, spec, material) for region in FAMILY)


def shows_a_member(kms: Any, alias: str, region: str) -> None:
    """The key of this Region, as an independent client sees it."""
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]
    assert (key["KeyState"], key["Origin"], key["Description"]) == ("Enabled", "EXTERNAL", f"In {region}")
    assert key["ExpirationModel"] == "KEY_MATERIAL_DOES_NOT_EXPIRE"
    related = key["MultiRegionConfiguration"]
    assert related["MultiRegionKeyType"] == ("PRIMARY" if region == REGION else "REPLICA")
    assert related["PrimaryKey"]["Region"] == REGION
    assert {one["Region"] for one in related["ReplicaKeys"]} == {FIRST, SECOND}
    assert json.loads(kms.get_key_policy(KeyId=key["KeyId"])["Policy"]) == wanted(region)
    tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
    assert tags.items() >= {"Team": "payments", "Place": region}.items()


def test_a_replica_that_somebody_else_made(ministack: Ministack, place: Workplace) -> None:
    """In a Region that the manifest does not list, it is reported; in a listed one, it is compared and filled."""
    place.key("alias/shared", materials.make("SYMMETRIC_DEFAULT"), name="shared", key_spec="SYMMETRIC_DEFAULT",
              replicas=[SECOND], create={"description": "Shared"})  # fmt: skip
    assert place.run().code == 0
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    kms.replicate_key(KeyId=kms_id(kms, "alias/shared"), ReplicaRegion=FIRST)

    unlisted = place.run()
    assert unlisted.code == 4, unlisted.stderr
    error = of(unlisted)[REGION]["error"]
    assert error["code"] == "Drift"
    assert f"has a replica in {FIRST} that the manifest does not list" in error["message"]
    code, seen = look(place, "status")
    assert (code, [one["state"] for one in seen]) == (11, ["drift", "as_wanted"])

    place.keys[0]["replicas"] = [SECOND, FIRST]
    listed = place.run()
    assert listed.code == 0, listed.stderr
    assert {region: entry["status"] for region, entry in of(listed).items()} == {
        REGION: "unchanged", SECOND: "unchanged", FIRST: "reimported",
    }  # fmt: skip
    assert sorted(of(listed)[FIRST]["changes"]) == ["alias", "description", "imported"]
    there: Any = ministack.client("kms", ACCOUNT, FIRST)
    key = there.describe_key(KeyId="alias/shared")["KeyMetadata"]
    assert (key["Description"], key["ExpirationModel"]) == ("Shared", "KEY_MATERIAL_DOES_NOT_EXPIRE")


def test_a_killed_creation_is_continued(ministack: Ministack, place: Workplace, forks: Forks) -> None:
    """Killed at each event, and its journal lost: the next run finds the key by its tag, and creates no second one."""
    kms: dict[str, Any] = {region: ministack.client("kms", ACCOUNT, region) for region in (REGION, FIRST)}
    keys = {region: len(one.list_keys(Limit=1000)["Keys"]) for region, one in kms.items()}
    material = materials.make("HMAC_256")
    for seq in range(3, 40):
        alias = f"alias/killed-{seq}"
        place.keys.clear()
        place.key(alias, material, name="k", key_spec="HMAC_256", replicas=[FIRST], create={"policy": POLICY})
        place.write()
        options = ["run", "manifest.json", *quick(()), "--verify-timeout", "5s"]
        killed = forks.run(place.folder, place.environment(), options, kill=Kill(seq, "after"))
        if killed.code:
            (place.folder / "report.journal.jsonl").unlink()
            again = forks.run(place.folder, place.environment(), options)
            assert again.code == 0, again.stderr
        for region, one in kms.items():
            keys[region] += 1
            assert len(one.list_keys(Limit=1000)["Keys"]) == keys[region]
            assert materials.held_by(one, alias, "HMAC_256", material)
            assert json.loads(one.get_key_policy(KeyId=kms_id(one, alias))["Policy"]) == wanted(region)
        if not killed.code:
            return
    pytest.fail("the run writes more events than are tried")


@pytest.mark.parametrize("replicas", [[], [FIRST]], ids=["one Region", "two Regions"])
def test_a_kms_without_rotations_cannot_rotate(ministack: Ministack, place: Workplace, replicas: list[str]) -> None:
    """What needs ListKeyRotations names the operation, asks once in each Region, changes nothing and is never green."""
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    alias = f"alias/rotated-{len(replicas)}"
    place.key(alias, materials.make("SYMMETRIC_DEFAULT"), name="v1", key_spec="SYMMETRIC_DEFAULT", create={})
    place.keys[0] |= {"replicas": replicas} if replicas else {}
    (place.folder / "v2.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    assert place.run().code == 0
    before = kms.describe_key(KeyId=alias)["KeyMetadata"]
    del place.keys[0]["material"], place.keys[0]["encoding"]
    place.keys[0]["materials"] = [{**one, "encoding": "raw"} for one in SEVERAL]
    place.write()
    reads = ("--read-interval", "20ms")  # --retry-timeout has its default: minutes
    for command in (
        ("run", "manifest.json", *reads),
        ("plan", "manifest.json"),
        ("status", "manifest.json", *reads),
        ("delete", "manifest.json", "--all", "--yes", "--material-name", "2025", *reads),
    ):
        result = place.call(*command)
        assert result.code == 5, (command, result.stderr)
        said = result.stderr + result.stdout.decode()
        assert "The endpoint does not support ListKeyRotations" in said, command
        if command[0] in ("plan", "status"):
            continue
        entry = result.report["results"][0]
        assert (entry["status"], entry["changed"], entry["attempts"]) == ("failed", False, 0)
        assert entry["key_arn"] == before["Arn"]
        error = entry["error"]
        assert (error["code"], error["operation"]) == ("UnknownOperationException", "ListKeyRotations")
        assert not error["retryable"]
        assert "--endpoint-url" in error["advice"]
        asked = [lane["calls"]["ListKeyRotations"] for lane in result.report["lanes"]]
        assert asked == [1] * (1 + len(replicas))
    assert kms.describe_key(KeyId=alias)["KeyMetadata"] == before


def test_a_new_key_with_several_materials_is_no_success(ministack: Ministack, place: Workplace) -> None:
    """It is created, and its first material cannot be seen there: the report says how far it came."""
    place.key("alias/new", materials.make("SYMMETRIC_DEFAULT"), name="v1", key_spec="SYMMETRIC_DEFAULT", create={})
    (place.folder / "v2.key").write_bytes(materials.make("SYMMETRIC_DEFAULT"))
    del place.keys[0]["material"], place.keys[0]["encoding"]
    place.keys[0]["materials"] = [{**one, "encoding": "raw"} for one in SEVERAL]
    for changes in (["created", "alias", "imported"], []):  # a second run creates nothing
        result = place.run()
        assert result.code == 5, result.stderr
        entry = result.entries["v1"]
        assert (entry["status"], entry["changes"], entry["error"]["operation"]) == (
            "failed",
            changes,
            "ListKeyRotations",
        )
        assert entry["key_arn"].startswith(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")
