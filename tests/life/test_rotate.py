"""Keys with several materials: rotated, renewed, adopted, and what happens when any of it fails."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import Any

import pytest

from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.sandbox.helpers import NEVER, import_material
from tests.sandbox_client import Sandbox

NEW = {"ImportType": "NEW_KEY_MATERIAL", **NEVER}
PROVED = ("--require-proof", "--known", "report.json")


def kms(sandbox: Sandbox) -> Any:
    return sandbox.client("kms", ACCOUNT, REGION)


def listed(sandbox: Sandbox, key_id: str) -> list[dict[str, Any]]:
    """KMS's own list of the key's materials."""
    answer = kms(sandbox).list_key_rotations(KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")
    found: list[dict[str, Any]] = answer["Rotations"]
    return found


def states(sandbox: Sandbox, key_id: str) -> list[tuple[str | None, str]]:
    return [(entry.get("KeyMaterialDescription"), entry["KeyMaterialState"]) for entry in listed(sandbox, key_id)]


def sent(sandbox: Sandbox) -> Counter[str]:
    return Counter(call["operation"] for call in sandbox.calls())


class Key:
    """One key of the manifest with several materials, and a run of that manifest."""

    def __init__(self, work: Workplace, forks: Forks, key_id: str, *names: str, **fields: Any) -> None:
        work.defaults |= {"wrapping_key_spec": "RSA_2048", "encoding": "raw"}
        self.work = work
        self.forks = forks
        self.id = key_id
        self.materials: dict[str, bytes] = {}
        self.entry: dict[str, Any] = {
            "id": "payments", "account": ACCOUNT, "region": REGION, "key_id": key_id, "materials": [], **fields,
        }  # fmt: skip
        work.keys.append(self.entry)
        for name in names:
            self.add(name)

    def add(self, name: str, material: bytes | None = None, **fields: Any) -> bytes:
        self.materials[name] = material or os.urandom(32)
        (self.work.folder / f"{name}.key").write_bytes(self.materials[name])
        self.entry["materials"].append({"name": name, "material": f"file:{name}.key", **fields})
        return self.materials[name]

    def run(self, *options: str, kill: Kill | None = None) -> Result:
        self.work.write()
        arguments = ["run", "manifest.json", *quick(options), *options]
        return self.forks.run(self.work.folder, self.work.environment(), arguments, kill=kill)

    def ok(self, *options: str) -> dict[str, Any]:
        """The target's entry of the report of a run that succeeds."""
        result = self.run(*options)
        assert result.code == 0, (result.stderr, [each["error"] for each in result.report["results"]])
        entry: dict[str, Any] = result.entries["payments"]
        return entry

    def refused(self, *options: str) -> dict[str, Any]:
        """The error of the target in a run that changes nothing."""
        result = self.run(*options)
        entry = result.entries["payments"]
        assert (result.code, entry["changed"], entry["changes"]) == (5, False, []), result.stderr
        error: dict[str, Any] = entry["error"]
        return error


# --- responses about other materials


@pytest.mark.parametrize("kind", ["new", "existing"])
def test_a_response_that_names_another_material_is_no_success(
    sandbox: Sandbox, work: Workplace, forks: Forks, kind: str
) -> None:
    """Nothing advises that the material be deleted: the run has imported it, and the response is wrong."""
    key = sandbox.key(alias="alias/payments")
    target = Key(work, forks, "alias/payments", "2025", "2026")
    target.ok()
    first, second = (entry["KeyMaterialId"] for entry in listed(sandbox, key["key_id"]))
    if kind == "new":
        target.add("2027")
    else:
        kms(sandbox).delete_imported_key_material(KeyId=key["key_id"], KeyMaterialId=first)

    def swapped(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"KeyMaterialId": second} if operation == "ImportKeyMaterial" else answer

    with Rewriter(sandbox.url, swapped) as proxy:
        work.url = proxy.url
        result = target.run("--retry-timeout", "1")
        work.url = sandbox.url
    entry = result.entries["payments"]
    assert (result.code, entry["error"]["code"], entry["changed"]) == (5, "WrongKey", True), entry
    assert "DeleteImportedKeyMaterial" not in entry["error"]["advice"]
    assert sent(sandbox)["RotateKeyOnDemand"] == 1
    target.ok()


# --- a key's way through its materials


def test_filled_unchanged_rotated_and_an_old_ciphertext_still_decrypts(
    sandbox: Sandbox, work: Workplace, forks: Forks
) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024", "2025")
    first = key.ok()
    assert (first["status"], first["changes"], first["attempts"]) == ("imported", ["imported", "rotated"], 2)
    assert first["verification"]["proof"] == "material_id"
    assert states(sandbox, key.id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    assert key.refused("--require-proof")["code"] == "ProofMissing"  # it was not imported by that run
    assert key.ok("--prove", "none")["status"] == "unchanged"

    key.ok("--prove", "all")
    second = key.ok(*PROVED)
    assert (second["status"], second["verification"]["reads"]) == ("unchanged", 3)

    key.add("2026")
    third = key.ok(*PROVED)
    assert (third["status"], third["changes"], third["attempts"]) == ("reimported", ["imported", "rotated"], 1)
    shown = [(each["name"], each["state"], each["import_state"], each["proof"]) for each in third["materials"]]
    assert shown == [
        ("2024", "NON_CURRENT", "IMPORTED", "material_id"),
        ("2025", "NON_CURRENT", "IMPORTED", "material_id"),
        ("2026", "CURRENT", "IMPORTED", "material_id"),
    ]
    assert [each["key_material_id"] for each in third["materials"]] == [
        each["KeyMaterialId"] for each in listed(sandbox, key.id)
    ]
    assert third["key_material_id"] == third["materials"][-1]["key_material_id"]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"
    assert key.ok(*PROVED)["status"] == "unchanged"
    assert sent(sandbox)["RotateKeyOnDemand"] == 2


def test_a_name_that_looks_like_a_command_of_a_ci_runner(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = sandbox.key(alias="alias/payments")
    target = Key(work, forks, "alias/payments")
    for at, name in enumerate(("app::error::one", "app::error::two")):
        (work.folder / f"{at}.key").write_bytes(os.urandom(32))
        target.entry["materials"].append({"name": name, "material": f"file:{at}.key"})
    assert target.ok("--verify-timeout", "5s")["changes"] == ["imported", "rotated"]
    assert states(sandbox, key["key_id"]) == [("app::error::one", "NON_CURRENT"), ("app::error::two", "CURRENT")]
    assert target.ok(*PROVED)["status"] == "unchanged"


def test_a_source_that_changed_is_a_mismatch(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024", "2025")
    key.ok()
    (work.folder / "2024.key").write_bytes(os.urandom(32))
    assert key.refused("--known", "report.json")["code"] == "MaterialMismatch"
    assert key.run("--prove", "all").entries["payments"]["error"]["code"] == "IncorrectKeyMaterialException"


def test_a_created_key_gets_all_its_materials(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, "alias/payments", "2024", "2025", "2026", key_spec="SYMMETRIC_DEFAULT", create={})
    entry = key.ok()
    assert (entry["status"], entry["changes"]) == ("imported", ["created", "alias", "imported", "rotated"])
    assert [state for _, state in states(sandbox, entry["key_arn"])] == ["NON_CURRENT", "NON_CURRENT", "CURRENT"]
    assert key.ok()["status"] == "unchanged"


def test_a_plan_shows_every_step_and_changes_nothing(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024", "2025")
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json", *quick(()))
    assert result.code == 0, result.stderr
    (target,), (lane,) = json.loads(result.stdout)["targets"], json.loads(result.stdout)["lanes"]
    assert target["detail"] == "2024 is new; 2025 is new; 2025 becomes the current material"
    # (2 - 1) / 15 for the quota of ImportKeyMaterial, and twice 2 intervals of 0.02 for reads
    assert (lane["imports"], lane["floor_seconds"]) == (1, 0.147)
    assert not listed(sandbox, key.id)
    assert not {"ImportKeyMaterial", "RotateKeyOnDemand", "GetParametersForImport"} & sent(sandbox).keys()


def test_without_materials_a_rotated_key_stays_refused(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024", "2025")
    key.ok()
    key.entry["material"] = key.entry.pop("materials")[-1]["material"]
    error = key.refused()
    assert error["code"] == "RotatedKey"
    assert "`materials`" in error["advice"]


# --- adoption, and what somebody else did


def test_a_key_filled_by_material_is_adopted(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.entry["material"] = key.entry.pop("materials")[0]["material"]
    key.ok()
    assert states(sandbox, key.id) == [(None, "CURRENT")]
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    key.entry.pop("material")
    key.entry["materials"] = [{"name": "2024", "material": "file:2024.key"}]
    entry = key.ok()
    assert (entry["status"], entry["changes"]) == ("reimported", ["imported"])
    assert states(sandbox, key.id) == [("2024", "CURRENT")]
    key.add("2025")
    assert key.ok()["changes"] == ["imported", "rotated"]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"


def test_a_key_filled_with_other_material_is_not_adopted(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key(material={"hex": os.urandom(32).hex()})["key_id"], "2024", "2025")
    error = key.refused()
    assert error["code"] == "RotationConflict"
    assert "the key was filled with" in error["advice"]
    assert states(sandbox, key.id) == [(None, "CURRENT")]


@pytest.mark.parametrize("named", ["by name", "by ID"])
def test_a_rotation_that_somebody_else_began_is_ended(
    sandbox: Sandbox, work: Workplace, forks: Forks, named: str
) -> None:
    """The pending material is imported again by its ID first: KMS compares the bytes."""
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.ok()
    material = key.add("2025")
    description = "2025" if named == "by name" else "theirs"
    theirs = import_material(kms(sandbox), key.id, material, KeyMaterialDescription=description, **NEW)
    if named == "by ID":
        key.entry["materials"][-1]["key_material_id"] = theirs["KeyMaterialId"].upper()
    entry = key.ok()
    assert (entry["changes"], entry["attempts"]) == (["imported", "rotated"], 1)
    assert states(sandbox, key.id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    assert listed(sandbox, key.id)[-1]["KeyMaterialId"] == theirs["KeyMaterialId"]


def test_other_bytes_of_the_same_name_are_never_rotated_to(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.ok()
    key.add("2025")
    theirs = import_material(kms(sandbox), key.id, os.urandom(32), KeyMaterialDescription="2025", **NEW)
    error = key.refused()
    assert error["code"] == "RotationConflict"
    undo = f"DeleteImportedKeyMaterial with KeyId {kms(sandbox).describe_key(KeyId=key.id)['KeyMetadata']['Arn']}"
    assert f"{undo} and KeyMaterialId {theirs['KeyMaterialId']}, in {REGION}" in error["advice"]
    kms(sandbox).delete_imported_key_material(KeyId=key.id, KeyMaterialId=theirs["KeyMaterialId"])
    assert key.ok()["changes"] == ["imported", "rotated"]


# --- contradictions: nothing is changed, and the advice says what to do


def two_of_one_name(sandbox: Sandbox, key: Key) -> str:
    rotate_by_hand(sandbox, key, "2025")
    return "Specify key_material_id"


def unknown_pending(sandbox: Sandbox, key: Key) -> str:
    import_material(kms(sandbox), key.id, os.urandom(32), KeyMaterialDescription="theirs", **NEW)
    return "DeleteImportedKeyMaterial"


def unknown_current(sandbox: Sandbox, key: Key) -> str:
    rotate_by_hand(sandbox, key, "theirs")
    return "List it in its place, with this key_material_id"


def another_order(_: Sandbox, key: Key) -> str:
    key.entry["materials"].reverse()
    return "oldest first: 2024, 2025"


def older_one_inserted(_: Sandbox, key: Key) -> str:
    key.add("2023")
    key.entry["materials"].insert(0, key.entry["materials"].pop())
    return "move 2023 to the end"


def one_removed(_: Sandbox, key: Key) -> str:
    del key.entry["materials"][0]
    return "List it in its place"


def disabled(sandbox: Sandbox, key: Key) -> str:
    kms(sandbox).disable_key(KeyId=key.id)
    key.add("2026")
    return "EnableKey"


def pending_later(sandbox: Sandbox, key: Key) -> str:
    key.add("2026")
    material = key.add("2027")
    import_material(kms(sandbox), key.id, material, KeyMaterialDescription="2027", **NEW)
    return "DeleteImportedKeyMaterial"


def rotate_by_hand(sandbox: Sandbox, key: Key, name: str) -> None:
    import_material(kms(sandbox), key.id, os.urandom(32), KeyMaterialDescription=name, **NEW)
    kms(sandbox).rotate_key_on_demand(KeyId=key.id)


CONFLICTS = [
    two_of_one_name, unknown_pending, unknown_current, another_order, older_one_inserted, one_removed, disabled,
    pending_later,
]  # fmt: skip


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_a_contradiction_is_refused_with_what_removes_it(
    sandbox: Sandbox, work: Workplace, forks: Forks, conflict: Any
) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024", "2025")
    key.ok()
    advice = conflict(sandbox, key)
    before = listed(sandbox, key.id)
    error = key.refused()
    assert error["code"] == "RotationConflict"
    assert advice in error["advice"]
    assert listed(sandbox, key.id) == before


@pytest.mark.parametrize("region", [REGION, "eu-west-1"], ids=["primary", "replica"])
def test_a_key_with_replicas_is_not_half_rotated(sandbox: Sandbox, work: Workplace, forks: Forks, region: str) -> None:
    """New material that is in one Region only could never become the current one."""
    first = os.urandom(32)
    seeded = sandbox.key(multi_region=True, replicas=["eu-west-1"], material={"hex": first.hex()})
    key = Key(work, forks, seeded["key_id"], region=region)
    key.add("2024", first)
    key.add("2025")
    before = listed(sandbox, key.id)
    error = key.refused()
    assert error["code"] == "RotationConflict"
    assert "in `replicas`" in error["advice"]
    assert listed(sandbox, key.id) == before


def test_24_rotations_allow_one_more_and_then_none(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    names = [f"m{number:02}" for number in range(25)]
    key = Key(work, forks, sandbox.key()["key_id"], *names)
    client = kms(sandbox)
    for at, name in enumerate(names):
        import_material(client, key.id, key.materials[name], KeyMaterialDescription=name, **(NEW if at else NEVER))
        if at:
            client.rotate_key_on_demand(KeyId=key.id)
    assert key.ok()["status"] == "unchanged"
    key.add("m25")
    key.add("m26")
    error = key.refused()
    assert error["code"] == "RotationConflict"
    assert "was rotated 24 times, and the manifest needs 2 more" in error["message"]
    key.entry["materials"].pop()
    assert key.ok()["changes"] == ["imported", "rotated"]
    key.add("m26")
    assert "was rotated 25 times" in key.refused()["message"]


# --- expiry


def test_expired_materials_come_back_by_their_ids(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """Also the one that is not current: without it, KMS takes the whole key out of use."""
    key = Key(work, forks, sandbox.key()["key_id"])
    key.add("2024", valid_for="24h", renew_before="1h")
    key.add("2025")
    key.ok()
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    ids = [each["KeyMaterialId"] for each in listed(sandbox, key.id)]
    sandbox.advance(25 * 3600)
    sandbox.forget_sessions()
    assert kms(sandbox).describe_key(KeyId=key.id)["KeyMetadata"]["KeyState"] == "PendingImport"
    key.entry["materials"][0] |= {"valid_for": "90d", "renew_before": "30d"}
    entry = key.ok()
    assert (entry["status"], entry["changes"], entry["attempts"]) == ("imported", ["imported"], 1)
    assert [each["KeyMaterialId"] for each in listed(sandbox, key.id)] == ids
    assert [each["ImportState"] for each in listed(sandbox, key.id)] == ["IMPORTED", "IMPORTED"]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"
    assert key.ok()["status"] == "unchanged"


def test_each_material_is_renewed_by_its_own_expiry(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], valid_for="90d")
    key.add("2024", valid_for="24h")
    key.add("2025", valid_to="never")
    key.add("2026")
    first = key.ok()
    models = [each["expiration_model"] for each in first["materials"]]
    assert models == ["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE", "KEY_MATERIAL_EXPIRES"]
    assert first["valid_to"] == first["materials"][0]["valid_to"]  # DescribeKey's is the earliest
    assert key.ok()["status"] == "unchanged"
    key.entry["materials"][0] |= {"valid_for": "60d", "renew_before": "30d"}
    second = key.ok()
    assert (second["changes"], second["attempts"]) == (["imported"], 1)
    assert second["materials"][0]["valid_to"] > first["materials"][0]["valid_to"]
    assert second["materials"][2]["valid_to"] == first["materials"][2]["valid_to"]


# --- what goes wrong on the way


@pytest.mark.parametrize("effect", ["drop", "act_then_drop", "act_then_http500"])
@pytest.mark.parametrize("operation", ["ImportKeyMaterial", "RotateKeyOnDemand"])
def test_a_lost_response_never_rotates_twice(
    sandbox: Sandbox, work: Workplace, forks: Forks, operation: str, effect: str
) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.ok()
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    key.add("2025")
    sandbox.fault(effect, operation=operation)
    entry = key.ok()
    assert entry["changes"] == ["imported", "rotated"]
    assert entry["materials"][1]["proof"] == "material_id"
    assert states(sandbox, key.id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"


def test_hosts_that_lag_behind_change_nothing_about_it(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.ok()
    sandbox.post("lag", seconds=1)
    sandbox.advance(2)  # every host shows the first material by now
    key.add("2025")
    key.add("2026")
    entry = key.ok("--consistency-timeout", "20s")
    assert entry["changes"] == ["imported", "rotated"]
    sandbox.post("lag", seconds=0)
    assert [state for _, state in states(sandbox, key.id)] == ["NON_CURRENT", "NON_CURRENT", "CURRENT"]
    assert [each["proof"] for each in entry["materials"]] == ["none", "material_id", "material_id"]


EVENTS = range(5, 17)  # from the first read to the run's last event; those before are the same for every run


@pytest.mark.parametrize(("how", "resumed"), [("before", True), ("after", False)])
@pytest.mark.parametrize("seq", EVENTS)
def test_killed_anywhere_the_rotation_continues(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str, *, resumed: bool
) -> None:
    """A key filled by `material` is adopted and rotated: three changes, each killed before, on and after its way."""
    first = os.urandom(32)
    key = Key(work, forks, sandbox.key(material={"hex": first.hex()})["key_id"])
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    key.add("2024", first)
    key.add("2025")
    killed = key.run(kill=Kill(seq, how))
    if killed.code == 0:
        assert len(events(work)) < seq  # it wrote fewer events: there was nothing to kill
        return
    assert killed.code == -signal.SIGKILL
    result = key.run(*(("--resume",) if resumed else ()))
    assert result.code == 0, (result.stderr, result.report["results"])
    entry = result.entries["payments"]
    assert states(sandbox, key.id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"
    if resumed:
        assert (entry["status"], entry["changes"]) == ("reimported", ["imported", "rotated"])
        assert entry["materials"][1]["proof"] == "material_id"
    accepted = sum(1 for call in sandbox.calls(operation="RotateKeyOnDemand") if call["status"] == 200)
    assert accepted == 1


@pytest.mark.parametrize("seq", range(4, 8))
def test_killed_before_it_has_its_alias_a_created_key_gets_it(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int
) -> None:
    """From the intent of CreateKey to that of CreateAlias. The next run finds the key by its tag."""
    key = Key(work, forks, "alias/payments", "2024", "2025", key_spec="SYMMETRIC_DEFAULT", create={})
    assert key.run(kill=Kill(seq, "after")).code == -signal.SIGKILL
    entry = key.ok()
    (found,) = kms(sandbox).list_keys()["Keys"]
    assert kms(sandbox).describe_key(KeyId="alias/payments")["KeyMetadata"]["Arn"] == found["KeyArn"]
    assert entry["key_arn"] == found["KeyArn"]
    assert entry["changes"][-3:] == ["alias", "imported", "rotated"]
