"""Two runs of one manifest at the same time, with a primary and its replica."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace
from tests.faults.support import fired, wait_until
from tests.sandbox_client import Sandbox

REPLICA = "eu-west-1"


def kms(sandbox: Sandbox, region: str) -> Any:
    return sandbox.client("kms", ACCOUNT, region)


def together(sandbox: Sandbox, places: list[Workplace], operation: str) -> list[Result]:
    """Two runs. The operation is not carried out in the primary's Region before both have asked for it."""
    rule = sandbox.hold(operation, region=REGION, times=2)
    processes = [place.start("--read-timeout", "100s") for place in places]
    for process in processes:
        wait_until(lambda: fired(sandbox) == 2, process)
    sandbox.release(rule)
    return [place.finish(process) for place, process in zip(places, processes, strict=True)]


@pytest.mark.parametrize(
    ("exists", "operation", "codes"),
    [
        ("primary", "ReplicateKey", [None, "AlreadyExistsException"]),
        ("nothing", "CreateKey", ["OrphanedKey", "PrimaryNotReady"]),
    ],
)
def test_two_runs_at_once_double_nothing(
    sandbox: Sandbox, tmp_path: Path, exists: str, operation: str, codes: list[str | None]
) -> None:
    """One of them wins. The other says what it did not do, and what it left behind; the next run changes nothing."""
    material = materials.make("SYMMETRIC_DEFAULT")
    if exists == "primary":
        sandbox.key(alias="alias/payments", multi_region=True, material={"hex": material.hex()})
    places = [Workplace(tmp_path / name, sandbox.url) for name in ("one", "other")]
    for place in places:
        place.folder.mkdir()
        place.defaults["wrapping_key_spec"] = "RSA_2048"
        place.key("alias/payments", material, name="payments", key_spec="SYMMETRIC_DEFAULT", create={},
                  replicas=[REPLICA])  # fmt: skip
    # Both have found nothing by the time that the first of these requests is carried out.
    results = together(sandbox, places, operation)
    assert sorted(result.code for result in results) == [0, 4 if exists == "primary" else 5]
    (lost,) = (result for result in results if result.code)
    entries = {entry["region"]: entry for entry in lost.report["results"]}
    errors = [entries[region]["error"] for region in (REGION, REPLICA)]
    assert [error and error["code"] for error in errors] == codes
    assert entries[REPLICA]["changed"] is False

    (won,) = (result for result in results if not result.code)
    arns = {entry["region"]: entry["key_arn"] for entry in won.report["results"]}
    kept = {region: {key["KeyArn"] for key in kms(sandbox, region).list_keys()["Keys"]} for region in (REGION, REPLICA)}
    orphans = {entries[REGION]["key_arn"]} if exists == "nothing" else set()
    assert kept == {REGION: {arns[REGION]} | orphans, REPLICA: {arns[REPLICA]}}
    for region, arn in arns.items():
        (alias,) = (
            one for one in kms(sandbox, region).list_aliases()["Aliases"] if one["AliasName"] == "alias/payments"
        )
        assert alias["TargetKeyId"] == arn.rpartition("/")[2]
    again = places[0].run()
    assert again.code == 0, again.stderr
    assert [entry["status"] for entry in again.report["results"]] == ["unchanged", "unchanged"]
    sealed = kms(sandbox, REGION).encrypt(KeyId="alias/payments", Plaintext=b"hello")["CiphertextBlob"]
    assert kms(sandbox, REPLICA).decrypt(CiphertextBlob=sealed)["Plaintext"] == b"hello"


def test_two_runs_rotate_one_key_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    """The new material is imported once as new; each run that ends OK has seen it as the current one in its Region."""
    old, new = (materials.make("SYMMETRIC_DEFAULT") for _ in range(2))
    key = sandbox.key(alias="alias/payments", multi_region=True, material={"hex": old.hex()}, replicas=[REPLICA])
    places = [Workplace(tmp_path / name, sandbox.url) for name in ("one", "other")]
    for place in places:
        place.folder.mkdir()
        place.defaults["wrapping_key_spec"] = "RSA_2048"
        place.key("alias/payments", old, name="payments", replicas=[REPLICA])
        (place.folder / "new.key").write_bytes(new)
        listed = [
            {"name": "old", "material": place.keys[0].pop("material")},
            {"name": "new", "material": "file:new.key"},
        ]
        place.keys[0]["materials"] = listed
    results = together(sandbox, places, "ImportKeyMaterial")
    for region in (REGION, REPLICA):
        listed = kms(sandbox, region).list_key_rotations(KeyId=key["key_id"], IncludeKeyMaterial="ALL_KEY_MATERIAL")
        found = [(one["KeyMaterialDescription"], one["KeyMaterialState"]) for one in listed["Rotations"]]
        assert found == [("old", "NON_CURRENT"), ("new", "CURRENT")]
    assert len(kms(sandbox, REGION).list_key_rotations(KeyId=key["key_id"])["Rotations"]) == 1
    well = [entry for result in results for entry in result.report["results"] if not entry["error"]]
    assert {one["state"] for entry in well for one in entry["materials"][-1:]} == {"CURRENT"}
    again = places[0].run()
    assert (again.code, {entry["status"] for entry in again.report["results"]}) == (0, {"unchanged"}), again.stderr
