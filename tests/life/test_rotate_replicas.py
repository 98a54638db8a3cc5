"""A multi-Region key with several materials: rotated only when every Region has the new material."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import events, fired, first, wait_until
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox

FIRST, SECOND = "eu-west-1", "ap-south-1"
FAMILY = (REGION, FIRST, SECOND)
EXISTING = {"ImportType": "EXISTING_KEY_MATERIAL", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
NEW = {**EXISTING, "ImportType": "NEW_KEY_MATERIAL"}


class Family:
    """One multi-Region key of the manifest with several materials, in KMS and in runs of that manifest."""

    def __init__(self, sandbox: Sandbox, work: Workplace, forks: Forks, *names: str, **fields: Any) -> None:
        work.defaults |= {"wrapping_key_spec": "RSA_2048", "encoding": "raw"}
        self.sandbox, self.work, self.forks = sandbox, work, forks
        self.materials: dict[str, bytes] = {}
        self.entry: dict[str, Any] = {
            "id": "payments", "account": ACCOUNT, "region": REGION, "replicas": [FIRST, SECOND],
            "key_id": "alias/payments", "materials": [], **fields,
        }  # fmt: skip
        work.keys.append(self.entry)
        for name in names:
            self.add(name)

    @property
    def regions(self) -> tuple[str, ...]:
        return (REGION, *self.entry["replicas"])

    def add(self, name: str, **fields: Any) -> bytes:
        self.materials[name] = os.urandom(32)
        (self.work.folder / f"{name}.key").write_bytes(self.materials[name])
        self.entry["materials"].append({"name": name, "material": f"file:{name}.key", **fields})
        return self.materials[name]

    def seed(self, *, named: bool = False) -> None:
        """The key as somebody made it: its first material in every Region. `named`: as a run names it."""
        name = self.entry["materials"][0]["name"]
        material = {"hex": self.materials[name].hex()}
        key = self.sandbox.key(
            alias="alias/payments", multi_region=True, material=material, replicas=self.entry["replicas"]
        )
        self.id = key["key_id"]
        fields = {**EXISTING, "KeyMaterialDescription": name} if named else EXISTING
        for region in self.regions if named else self.entry["replicas"]:
            import_material(self.kms(region), self.id, self.materials[name], **fields)

    def kms(self, region: str = REGION) -> Any:
        return self.sandbox.client("kms", ACCOUNT, region)

    def run(self, *options: str, kill: Kill | None = None) -> Result:
        self.work.write()
        return self.forks.run(
            self.work.folder, self.work.environment(), ["run", "manifest.json", *quick(options), *options], kill=kill
        )

    def ok(self, *options: str) -> dict[str, dict[str, Any]]:
        """The entries of a run that succeeds, by Region."""
        result = self.run(*options)
        assert result.code == 0, (result.stderr, [each["error"] for each in result.report["results"]])
        return {entry["region"]: entry for entry in result.report["results"]}

    def states(self, region: str) -> list[tuple[str | None, str, str]]:
        answer = self.kms(region).list_key_rotations(KeyId=self.id, IncludeKeyMaterial="ALL_KEY_MATERIAL")
        return [
            (one.get("KeyMaterialDescription"), one["KeyMaterialState"], one["ImportState"])
            for one in answer["Rotations"]
        ]

    def everywhere(self, *names: str) -> None:
        """Every Region holds these materials, the last of them current."""
        wanted = [(name, "NON_CURRENT", "IMPORTED") for name in names[:-1]] + [(names[-1], "CURRENT", "IMPORTED")]
        assert {region: self.states(region) for region in self.regions} == dict.fromkeys(self.regions, wanted)

    def sealed(self) -> list[bytes]:
        """A ciphertext of every Region."""
        return [
            self.kms(region).encrypt(KeyId=self.id, Plaintext=b"hello")["CiphertextBlob"] for region in self.regions
        ]

    def opens(self, sealed: list[bytes]) -> None:
        for region in self.regions:
            for blob in sealed:
                assert self.kms(region).decrypt(KeyId=self.id, CiphertextBlob=blob)["Plaintext"] == b"hello"


def test_new_material_goes_to_every_region_before_the_rotation(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Family(sandbox, work, forks, "2024")
    key.seed()
    key.add("2025")
    old = key.sealed()
    entries = key.ok()
    assert [entries[region]["changes"] for region in FAMILY] == [["imported", "rotated"], ["imported"], ["imported"]]
    assert {entry["status"] for entry in entries.values()} == {"reimported"}
    assert {entry["materials"][1]["proof"] for entry in entries.values()} == {"material_id"}
    assert len({entry["materials"][1]["key_material_id"] for entry in entries.values()}) == 1
    key.everywhere("2024", "2025")
    key.opens([*old, *key.sealed()])
    again = key.ok("--require-proof", "--known", "report.json")
    assert {entry["status"] for entry in again.values()} == {"unchanged"}


def test_a_created_key_has_all_its_materials_in_every_region(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """The primary is rotated before it is replicated; a new replica gets all of them, oldest first."""
    key = Family(sandbox, work, forks, "2024", "2025", "2026", key_spec="SYMMETRIC_DEFAULT", create={})
    entries = key.ok()
    key.id = entries[REGION]["key_arn"].rpartition("/")[2]
    assert [entries[region]["changes"] for region in FAMILY] == [
        ["created", "alias", "imported", "rotated"], ["replicated", "alias", "imported"],
        ["replicated", "alias", "imported"],
    ]  # fmt: skip
    assert {entry["verification"]["proof"] for entry in entries.values()} == {"material_id"}
    key.everywhere("2024", "2025", "2026")
    key.add("2027")
    key.entry["replicas"].append("sa-east-1")  # created after the rotation
    entries = key.ok()
    assert entries["sa-east-1"]["attempts"] == 4
    assert entries[FIRST]["changes"] == ["imported"]
    key.everywhere("2024", "2025", "2026", "2027")
    assert {entry["status"] for entry in key.ok().values()} == {"unchanged"}


def test_expired_everywhere_and_two_new_materials(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Family(sandbox, work, forks)
    key.add("2024", valid_for="24h", renew_before="1h")
    key.seed()
    key.add("2025", valid_for="90d")
    key.ok()
    old = key.sealed()
    sandbox.advance(25 * 3600)
    sandbox.forget_sessions()
    assert key.kms(SECOND).describe_key(KeyId=key.id)["KeyMetadata"]["KeyState"] == "PendingImport"
    key.entry["materials"][0] |= {"valid_for": "60d", "renew_before": "30d"}
    key.add("2026")
    key.add("2027")
    entries = key.ok()
    assert [entries[region]["attempts"] for region in FAMILY] == [3, 3, 3]
    assert {entry["status"] for entry in entries.values()} == {"imported"}
    key.everywhere("2024", "2025", "2026", "2027")
    key.opens(old)
    assert {entry["status"] for entry in key.ok().values()} == {"unchanged"}
    key.entry["materials"][1] |= {"valid_for": "120d", "renew_before": "100d"}  # renewed in each Region
    assert [entry["changes"] for entry in key.ok().values()] == [["imported"]] * 3


def test_a_replica_that_lacks_materials_gets_them_before_the_new_one(
    sandbox: Sandbox, work: Workplace, forks: Forks
) -> None:
    key = Family(sandbox, work, forks, "2024", replicas=[FIRST])
    key.seed()
    key.add("2025")
    key.ok()
    key.kms().replicate_key(KeyId=key.id, ReplicaRegion=SECOND)  # never filled
    lost = key.states(FIRST)[0]
    ids = key.kms().list_key_rotations(KeyId=key.id, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    key.kms(FIRST).delete_imported_key_material(KeyId=key.id, KeyMaterialId=ids[0]["KeyMaterialId"])
    assert lost[2] == "IMPORTED"
    key.entry["replicas"].append(SECOND)
    key.add("2026")
    entries = key.ok()
    assert [entries[region]["attempts"] for region in FAMILY] == [1, 2, 3]
    key.everywhere("2024", "2025", "2026")


def test_a_rotation_that_somebody_else_began(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """The new material is in the primary and in one replica; the bytes are compared in both."""
    key = Family(sandbox, work, forks, "2024")
    key.seed(named=True)
    new = key.add("2025")
    import_material(key.kms(), key.id, new, KeyMaterialDescription="2025", **NEW)
    import_material(key.kms(FIRST), key.id, new, **EXISTING)
    entries = key.ok()
    assert [entries[region]["attempts"] for region in FAMILY] == [1, 1, 1]
    assert {entry["materials"][1]["proof"] for entry in entries.values()} == {"material_id"}
    key.everywhere("2024", "2025")


# --- refused before anything is changed


def disabled(key: Family) -> tuple[list[str], dict[str, str]]:
    key.kms(FIRST).disable_key(KeyId=key.id)
    return [], {REGION: "RotationConflict", FIRST: "RotationConflict", SECOND: "PrimaryNotReady"}


def deleted_soon(key: Family) -> tuple[list[str], dict[str, str]]:
    key.kms(FIRST).schedule_key_deletion(KeyId=key.id)
    return [], {REGION: "RotationConflict", FIRST: "KeyStateNotImportable", SECOND: "PrimaryNotReady"}


def not_selected(_: Family) -> tuple[list[str], dict[str, str]]:
    options = ["--only-region", REGION, "--only-region", FIRST]
    return options, {REGION: "RotationConflict", FIRST: "PrimaryNotReady"}


def primary_not_selected(_: Family) -> tuple[list[str], dict[str, str]]:
    return ["--only-region", FIRST], {FIRST: "PrimaryNotReady"}


def not_listed(key: Family) -> tuple[list[str], dict[str, str]]:
    key.entry["replicas"] = [FIRST]
    return [], {REGION: "RotationConflict", FIRST: "PrimaryNotReady"}


def not_there(key: Family) -> tuple[list[str], dict[str, str]]:
    key.entry["replicas"] = [FIRST, SECOND, "sa-east-1"]
    codes = {REGION: "RotationConflict", FIRST: "PrimaryNotReady", SECOND: "PrimaryNotReady"}
    return [], {**codes, "sa-east-1": "NotFoundException"}


def denied(key: Family) -> tuple[list[str], dict[str, str]]:
    fields = {"operation": "DescribeKey", "code": "AccessDeniedException", "times": None, "region": SECOND}
    key.sandbox.fault("error", **fields)
    return [], {REGION: "RotationConflict", FIRST: "PrimaryNotReady", SECOND: "AccessDeniedException"}


@pytest.mark.parametrize(
    "wrong", [disabled, deleted_soon, not_selected, primary_not_selected, not_listed, not_there, denied]
)
def test_a_family_that_cannot_be_rotated_is_left_alone(
    sandbox: Sandbox, work: Workplace, forks: Forks, wrong: Callable[[Family], tuple[list[str], dict[str, str]]]
) -> None:
    key = Family(sandbox, work, forks, "2024")
    key.seed(named=True)
    key.add("2025")
    options, codes = wrong(key)
    before = {region: key.states(region) for region in FAMILY}
    result = key.run(*options)
    assert result.code == 5, result.stderr
    found = {entry["region"]: entry for entry in result.report["results"]}
    assert {region: entry["error"]["code"] for region, entry in found.items()} == codes
    assert not any(entry["changed"] for entry in found.values())
    assert {region: key.states(region) for region in FAMILY} == before
    planned = work.call("plan", "manifest.json", "--format", "json", *quick(()), *options)
    assert planned.code == 5, planned.stderr
    blocked = {target["region"]: target["error"]["code"] for target in json.loads(planned.stdout)["targets"]}
    assert blocked == codes


def test_plan_and_status_show_what_each_region_needs(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Family(sandbox, work, forks, "2024")
    key.seed(named=True)
    key.add("2025")
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json", *quick(()))
    assert result.code == 0, result.stderr
    steps = [[step["operation"] for step in target["steps"]] for target in json.loads(result.stdout)["targets"]]
    assert steps == [["ImportKeyMaterial", "RotateKeyOnDemand"], ["ImportKeyMaterial"], ["ImportKeyMaterial"]]
    import_material(key.kms(), key.id, key.materials["2025"], KeyMaterialDescription="2025", **NEW)
    status = work.call("status", "manifest.json", "--format", "json", "--read-interval", "20ms")
    assert status.code == 11, status.stderr
    drift = [[one["field"] for one in target["drift"]] for target in json.loads(status.stdout)["targets"]]
    assert drift == [
        ["materials.2024.state", "materials.2025.state"],
        *[["materials.2024.state", "materials.2025"]] * 2,
    ]


# --- what goes wrong on the way


def test_a_replica_that_fails_stops_the_rotation_and_the_next_run_continues(
    sandbox: Sandbox, work: Workplace, forks: Forks
) -> None:
    key = Family(sandbox, work, forks, "2024")
    key.seed(named=True)
    key.add("2025")
    sandbox.fault("deny", operation="ImportKeyMaterial", times=None, region=SECOND)
    result = key.run("--retry-timeout", "1")
    assert result.code == 5, result.stderr
    found = {entry["region"]: entry for entry in result.report["results"]}
    codes = {REGION: "RotationConflict", FIRST: "PrimaryNotReady", SECOND: "AccessDeniedException"}
    assert {region: entry["error"]["code"] for region, entry in found.items()} == codes
    assert [found[region]["changed"] for region in FAMILY] == [True, True, False]
    assert SECOND in found[REGION]["error"]["message"]
    assert not list(sandbox.calls(operation="RotateKeyOnDemand"))
    sandbox.post("faults/clear")
    assert key.ok()[REGION]["changes"] == ["imported", "rotated"]
    key.everywhere("2024", "2025")


def test_a_stop_while_a_replica_is_slow_ends_every_region(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """The primary waits for it, and so does the other replica: neither needs the grace period."""
    key = Family(sandbox, work, forks, "2024")
    key.seed(named=True)
    key.add("2025")
    sandbox.hold("GetParametersForImport", region=SECOND)
    imports = partial(sandbox.calls, operation="ImportKeyMaterial")
    made = len(imports())
    process = work.start("--grace", "300s", "--read-timeout", "100s")
    # The lanes start one after the other: the others have imported by the time that the run is stopped.
    wait_until(lambda: fired(sandbox) == 1 and len(imports()) == made + 2, process)
    first(process, signal.SIGTERM)
    sandbox.release()
    result = work.finish(process)
    assert result.code == 143
    found = {entry["region"]: entry for entry in result.report["results"]}
    assert found[SECOND]["status"] == "not_attempted"
    assert {found[region]["error"]["code"] for region in (REGION, FIRST)} == {"NotVerified"}
    assert {entry["status"] for entry in key.ok("--resume").values()} == {"reimported"}
    key.everywhere("2024", "2025")


@pytest.mark.parametrize(("operation", "region"), [("RotateKeyOnDemand", REGION), ("ImportKeyMaterial", FIRST)])
def test_a_lost_response_and_hosts_that_lag(
    sandbox: Sandbox, work: Workplace, forks: Forks, operation: str, region: str
) -> None:
    key = Family(sandbox, work, forks, "2024")
    key.seed(named=True)
    sandbox.post("lag", seconds=1, share=0.5, seed=3)
    sandbox.advance(2)
    key.add("2025")
    key.add("2026")
    sandbox.fault("act_then_drop", operation=operation, region=region)
    entries = key.ok("--consistency-timeout", "20s")
    assert [entries[each]["changes"] for each in FAMILY] == [["imported", "rotated"], ["imported"], ["imported"]]
    sandbox.post("lag", seconds=0)
    key.everywhere("2024", "2025", "2026")
    assert len(key.kms().list_key_rotations(KeyId=key.id)["Rotations"]) == 2


EVENTS = range(5, 25)  # from the first read to the run's last event; those before are the same for every run


@pytest.mark.parametrize(("how", "resumed"), [("after", True), ("before", False)])
@pytest.mark.parametrize("seq", EVENTS)
def test_killed_anywhere_the_rotation_continues(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str, *, resumed: bool
) -> None:
    """A key filled by `material` is adopted and rotated, with one replica."""
    key = Family(sandbox, work, forks, "2024", replicas=[FIRST])
    key.seed()
    key.add("2025")
    old = key.sealed()
    killed = key.run(kill=Kill(seq, how))
    if killed.code == 0:
        assert len(events(work)) < seq  # it wrote fewer events: there was nothing to kill
        return
    assert killed.code == -signal.SIGKILL
    entries = key.ok(*(("--resume",) if resumed else ()))
    key.everywhere("2024", "2025")
    key.opens([*old, *key.sealed()])
    if resumed:
        assert [entries[region]["changes"] for region in key.regions] == [["imported", "rotated"], ["imported"]]
        assert {entry["materials"][1]["proof"] for entry in entries.values()} == {"material_id"}
    accepted = [call for call in sandbox.calls(operation="RotateKeyOnDemand") if call["status"] == 200]
    assert len(accepted) == 1


def test_delete_of_pending_material_takes_it_from_every_region(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """KMS deletes it from the replicas with the primary: a replica that is slower finds nothing left to delete."""
    key = Family(sandbox, work, forks, "2024", replicas=[FIRST])
    key.seed(named=True)
    new = key.add("2025")
    import_material(key.kms(), key.id, new, KeyMaterialDescription="2025", **NEW)
    import_material(key.kms(FIRST), key.id, new, KeyMaterialDescription="2025", **EXISTING)
    primary, replica = (sandbox.hold("DeleteImportedKeyMaterial", region=region) for region in (REGION, FIRST))
    work.write()
    options = ["--material-name", "2025", "--all", "--yes", "--read-interval", "20ms", "--read-timeout", "100s"]
    process = subprocess.Popen(
        work.command("delete", "manifest.json", *options), cwd=work.folder, env=work.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: fired(sandbox) == 2, process)  # both have read
    sandbox.release(primary)
    wait_until(lambda: len(sandbox.calls(operation="DeleteImportedKeyMaterial")) == 1, process)
    sandbox.release(replica)
    result = work.finish(process)
    assert result.code == 0, result.stderr
    assert {entry["status"] for entry in result.report["results"]} == {"deleted"}
    key.everywhere("2024")
    again = work.call("delete", "manifest.json", *options)
    assert (again.code, {entry["status"] for entry in again.report["results"]}) == (0, {"unchanged"})


@pytest.mark.parametrize("seq", [13, 15, 18])
def test_a_new_replica_killed_before_its_materials_is_resumed(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int
) -> None:
    """While its primary is rotated, and after ReplicateKey and CreateAlias of the replica."""
    fields = {"replicas": [FIRST], "key_spec": "SYMMETRIC_DEFAULT", "create": {}}
    key = Family(sandbox, work, forks, "2024", "2025", **fields)
    assert key.run(kill=Kill(seq, "after")).code == -signal.SIGKILL
    assert key.run("--resume", kill=Kill(seq + 9, "after")).code in (0, -signal.SIGKILL)
    key.id = key.ok("--resume")[REGION]["key_arn"].rpartition("/")[2]
    key.everywhere("2024", "2025")


# --- somebody else changes the family meanwhile


@pytest.mark.parametrize("materials", [1, 2], ids=["filled", "rotated"])
@pytest.mark.parametrize("what", ["another primary", "another replica"])
def test_a_family_that_changes_before_it_is_verified_is_no_success(
    sandbox: Sandbox, work: Workplace, forks: Forks, what: str, materials: int
) -> None:
    """After the last change: only the reads that verify it can see that."""
    family = Family(sandbox, work, forks, "v1")
    family.seed(named=True)
    if materials == 2:
        family.add("v2")
    else:
        family.kms().delete_imported_key_material(KeyId=family.id)
    last = "RotateKeyOnDemand" if materials == 2 else "ImportKeyMaterial"
    done: list[str] = []

    def meanwhile(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation == last and not done:
            done.append(operation)
            if what == "another primary":
                family.kms().update_primary_region(KeyId=family.id, PrimaryRegion=FIRST)
            else:
                family.kms().replicate_key(KeyId=family.id, ReplicaRegion="eu-north-1")
        return answer

    with Rewriter(sandbox.url, meanwhile) as proxy:
        work.url = proxy.url
        result = family.run("--verify-timeout", "10s")
    entries = {entry["region"]: entry for entry in result.report["results"]}
    assert (result.code in (4, 5), done) == (True, [last]), result.stderr
    error = entries[REGION]["error"]
    assert (error["code"], entries[REGION]["changed"]) == (
        "KeyContradiction" if what == "another primary" else "Drift", True,
    ), error  # fmt: skip


def test_a_primary_that_somebody_else_replaced_before_the_import(
    sandbox: Sandbox, work: Workplace, forks: Forks
) -> None:
    """KMS refuses new material for a replica; the message says what it is, not that its bytes are wrong."""
    family = Family(sandbox, work, forks, "v1")
    family.seed(named=True)
    family.add("v2")
    done: list[str] = []

    def meanwhile(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation == "GetParametersForImport" and not done:
            done.append(operation)
            family.kms().update_primary_region(KeyId=family.id, PrimaryRegion=FIRST)
            sandbox.advance(1)
        return answer

    with Rewriter(sandbox.url, meanwhile) as proxy:
        work.url = proxy.url
        result = family.run("--verify-timeout", "10s")
    (primary,) = [entry for entry in result.report["results"] if entry["region"] == REGION]
    assert (result.code, primary["error"]["code"], primary["changed"]) == (5, "KeyContradiction", False), primary
    assert f"is in {FIRST}" in primary["error"]["message"]
