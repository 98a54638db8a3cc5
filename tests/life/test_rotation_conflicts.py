"""Keys with several materials that contradict the manifest: nothing is changed, and the advice says what to do."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.e2e.support import REGION, Workplace
from tests.faults.forks import Forks
from tests.life.rotated import NEW, Key, kms, listed
from tests.sandbox.helpers import NEVER, import_material
from tests.sandbox_client import Sandbox


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
