"""Keys with several materials: filled, rotated and adopted."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.e2e.rewriter import Rewriter
from tests.e2e.support import REGION, Workplace, quick
from tests.faults.forks import Forks
from tests.life.rotated import NEW, PROVED, Key, kms, listed, sent, states
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox

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
