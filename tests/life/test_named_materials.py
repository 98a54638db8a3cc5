"""Keys that were rotated by hand: `key_material_id` says which material is which, and a run names them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.e2e.support import Workplace
from tests.faults.forks import Forks
from tests.life.rotated import NEW, PROVED, Key, kms, listed, states
from tests.sandbox.helpers import NEVER, import_material
from tests.sandbox_client import Sandbox


def rotated_by_hand(sandbox: Sandbox, *names: str | None) -> tuple[str, list[bytes]]:
    """A key with one material for each name, the last of them current. Returns its ID and the materials."""
    key_id = sandbox.key()["key_id"]
    made = [os.urandom(32) for _ in names]
    for at, (name, material) in enumerate(zip(names, made, strict=True)):
        fields: dict[str, Any] = {"KeyMaterialDescription": name} if name else {}
        import_material(kms(sandbox), key_id, material, **fields, **(NEW if at else NEVER))
        if at:
            kms(sandbox).rotate_key_on_demand(KeyId=key_id)
    return key_id, made


@pytest.mark.parametrize(
    "names", [("old", "older"), (None, None), ("2025", "2024"), ("same", "same")],
    ids=["others", "none", "each other's", "one name"],
)  # fmt: skip
def test_an_id_has_priority_over_a_name(
    sandbox: Sandbox, work: Workplace, forks: Forks, names: tuple[str | None, ...]
) -> None:
    key_id, made = rotated_by_hand(sandbox, *names)
    old = kms(sandbox).encrypt(KeyId=key_id, Plaintext=b"hello")["CiphertextBlob"]
    ids = [one["KeyMaterialId"] for one in listed(sandbox, key_id)]
    key = Key(work, forks, key_id)
    for name, material, material_id in zip(("2024", "2025"), made, ids, strict=True):
        key.add(name, material)
        key.entry["materials"][-1]["key_material_id"] = material_id
    entry = key.ok()
    assert (entry["status"], entry["changes"], entry["attempts"]) == ("reimported", ["imported"], 2)
    assert states(sandbox, key_id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    assert [one["KeyMaterialId"] for one in listed(sandbox, key_id)] == ids  # nothing was rotated
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"
    again = key.ok(*PROVED)
    assert (again["status"], again["attempts"]) == ("unchanged", 0)
    key.add("2026")
    assert key.ok()["changes"] == ["imported", "rotated"]


def test_ids_in_the_wrong_order_are_refused(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key_id, made = rotated_by_hand(sandbox, None, None)
    before = listed(sandbox, key_id)
    key = Key(work, forks, key_id)
    for name, material, one in zip(("2024", "2025"), reversed(made), reversed(before), strict=True):
        key.add(name, material)
        key.entry["materials"][-1]["key_material_id"] = one["KeyMaterialId"]
    assert key.refused()["code"] == "RotationConflict"
    assert listed(sandbox, key_id) == before
