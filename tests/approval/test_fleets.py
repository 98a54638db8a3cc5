"""An approved plan of related keys, of shards, of what failed before, and one in S3."""

from __future__ import annotations

import json
import signal

import pytest

from tests.approval.support import CHANGES, Fleet
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.forks import Forks, Kill
from tests.life.test_rotate_replicas import NEW, Family
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox

FIRST = "eu-west-1"


@pytest.fixture
def fleet(sandbox: Sandbox, work: Workplace, forks: Forks) -> Fleet:
    return Fleet(sandbox, work, forks)


@pytest.fixture
def family(fleet: Fleet) -> Family:
    """A key in two Regions that is to be rotated to its second material, and the plan of that."""
    family = Family(fleet.sandbox, fleet.work, fleet.forks, "2025", replicas=[FIRST])
    family.seed()
    family.add("2026")
    fleet.plan()
    return family


def test_a_rotation_with_a_replica(fleet: Fleet, family: Family) -> None:
    first = fleet.run()
    assert first.code == 0, (first.stderr, [entry["error"] for entry in first.report["results"]])
    family.everywhere("2025", "2026")
    second = fleet.run()
    assert second.code == 0, (second.stderr, [entry["error"] for entry in second.report["results"]])
    assert {entry["status"] for entry in second.report["results"]} == {"unchanged"}
    other = fleet.run("--report", "elsewhere.json")
    assert (fleet.changes()["RotateKeyOnDemand"], other.code) == (1, 5)


def killed_again_and_again(fleet: Fleet, first: int, step: int) -> None:
    """Each run of the plan is killed some events later than the one before, until one is not killed."""
    for seq in range(first, 99, step):
        result = fleet.run(kill=Kill(seq, "after"))
        if result.code != -signal.SIGKILL:
            assert result.code == 0, (result.stderr, [entry["error"] for entry in result.report["results"]])
            assert seq > first + step
            return


def test_a_rotation_that_was_killed(fleet: Fleet, family: Family) -> None:
    """The plan's own steps are half done, by several runs of it."""
    killed_again_and_again(fleet, first=8, step=3)
    family.everywhere("2025", "2026")
    assert fleet.changes()["RotateKeyOnDemand"] == 1


def test_somebody_else_began_the_rotation(fleet: Fleet, family: Family) -> None:
    import_material(family.kms(), family.id, family.materials["2026"], **NEW, KeyMaterialDescription="2026")
    before = len(fleet.sandbox.calls())
    result = fleet.run()
    primary = result.entries[f"payments@{ACCOUNT}/{REGION}"]
    assert (result.code, primary["error"]["code"], primary["changed"]) == (5, "PlanStale", False), result.stderr
    assert "is new, and no run of this plan imported it" in primary["error"]["message"]
    sent = [call for call in fleet.sandbox.calls()[before:] if call["region"] == REGION]
    assert not CHANGES & {call["operation"] for call in sent}
    assert fleet.changes()["RotateKeyOnDemand"] == 0


def test_a_primary_and_its_replica_are_created(fleet: Fleet) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    fleet.work.key("alias/new", material, name="new", key_spec="SYMMETRIC_DEFAULT", create={}, replicas=[FIRST])
    fleet.plan()
    killed_again_and_again(fleet, first=9, step=4)
    assert fleet.run().code == 0
    assert (fleet.changes()["CreateKey"], fleet.changes()["ReplicateKey"]) == (1, 1)
    sealed = fleet.kms().encrypt(KeyId="alias/new", Plaintext=b"x")["CiphertextBlob"]
    assert fleet.kms(FIRST).decrypt(KeyId="alias/new", CiphertextBlob=sealed)["Plaintext"] == b"x"


def test_a_plan_of_all_targets_in_shards(fleet: Fleet) -> None:
    for number, region in enumerate((REGION, FIRST)):
        key = fleet.sandbox.key(region=region, key_spec="HMAC_256")
        fleet.work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{number}", region=region)
    fleet.plan()
    for shard in ("1/2", "2/2"):
        result = fleet.run("--shard", shard, "--report", f"{shard[0]}.json")
        assert result.code == 0, result.stderr
    assert fleet.changes()["ImportKeyMaterial"] == 2
    fleet.plan("--shard", "1/2")
    fleet.refused("--shard", "2/2", says="the plan is of shard 1/2, not of shard 2/2")
    fleet.refused(says="the plan is of shard 1/2, not of all targets")
    assert fleet.run("--shard", "1/2").code == 0


def test_a_plan_of_what_failed(fleet: Fleet) -> None:
    for name in ("good", "bad"):
        fleet.work.key(fleet.sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name=name)
    fleet.sandbox.fault("error", operation="ImportKeyMaterial", key=fleet.work.keys[1]["key_id"],
                        code="InvalidCiphertextException")  # fmt: skip
    fleet.work.write()
    assert fleet.call("run", "manifest.json", "--report", "failed.json").code == 4
    plan = fleet.plan("--only-failed", "failed.json")
    assert [one["id"] for one in plan["targets"]] == ["bad"]
    fleet.refused(says="--only-failed")
    assert fleet.run("--only-failed", "failed.json").code == 0


def test_a_plan_in_s3(fleet: Fleet) -> None:
    s3 = fleet.sandbox.client("s3", None)
    s3.create_bucket(Bucket="plans")
    fleet.work.key(fleet.sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="one")
    fleet.work.write()
    place = "s3://plans/today/plan.json"
    made = fleet.call("plan", "manifest.json", "--out", place)
    assert (made.code, f"The plan is in {place}" in made.stderr) == (0, True), made.stderr
    body = s3.get_object(Bucket="plans", Key="today/plan.json")["Body"].read()
    assert json.loads(body)["binding"]["targets"][0]["found"]["key_state"] == "PendingImport"
    result = fleet.call("run", "manifest.json", "--plan", place)
    assert (result.code, result.entries["one"]["status"]) == (0, "imported"), result.stderr
    (fleet.work.folder / "one.key").unlink()
    unsaved = fleet.call("plan", "manifest.json", "--prove", "none", "--out", place)
    assert (unsaved.code, s3.list_objects_v2(Bucket="plans").get("Contents")) == (5, None)
    assert fleet.call("run", "manifest.json", "--plan", place).code == 3
