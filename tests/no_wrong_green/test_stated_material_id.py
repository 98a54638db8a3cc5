"""KMS must show a stated key_material_id, with every --prove and after every lost response."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import Workplace
from tests.no_wrong_green.conftest import Run
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox

AES = "SYMMETRIC_DEFAULT"
OTHER = "ab" * 32


def filled_and_emptied(sandbox: Sandbox, work: Workplace, *, stated: str = "") -> str:
    """A key that held the manifest's material before, and so has an ID for it. Returns the ID."""
    key, material = sandbox.key(key_spec=AES), materials.make(AES)
    kms = sandbox.client()
    import_material(kms, key["key_id"], material, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE")
    known = kms.describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    kms.delete_imported_key_material(KeyId=key["key_id"])
    work.key(key["key_id"], material, name="key", key_material_id=stated or known)
    return known


@pytest.mark.parametrize("prove", ["none", "auto", "changed"])
@pytest.mark.parametrize("effect", ["act_then_drop", "act_then_http500", "truncate"])
def test_after_a_lost_response(sandbox: Sandbox, work: Workplace, run: Run, prove: str, effect: str) -> None:
    """A new key: its ID is known only after the import, whose response is lost."""
    work.key(sandbox.key(key_spec=AES)["key_id"], materials.make(AES), name="key", key_material_id=OTHER)
    sandbox.fault(effect, operation="ImportKeyMaterial", times=1)
    result = run("--prove", prove)
    entry = result.entries["key"]
    assert (result.code, entry["error"]["code"], entry["changed"]) == (5, "MaterialMismatch", True), entry


@pytest.mark.parametrize("effect", ["act_then_drop", None])
def test_the_right_id_is_good(sandbox: Sandbox, work: Workplace, run: Run, effect: str | None) -> None:
    known = filled_and_emptied(sandbox, work)
    if effect:
        sandbox.fault(effect, operation="ImportKeyMaterial", times=1)
    result = run("--prove", "none")
    entry = result.entries["key"]
    assert (result.code, entry["status"], entry["key_material_id"]) == (0, "imported", known), entry


@pytest.mark.parametrize("prove", ["none", "auto"])
@pytest.mark.parametrize("right", [True, False])
def test_an_id_that_describe_key_does_not_show_is_asked_of_the_rotations(
    sandbox: Sandbox, work: Workplace, run: Run, *, prove: str, right: bool
) -> None:
    """Multi-Region keys of an older KMS: the key is found as wanted, and nothing else would be compared."""
    material = materials.make(AES)
    key = sandbox.key(key_spec=AES, material={"hex": material.hex()})
    shown = sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    work.key(key["key_id"], material, name="key", key_material_id=shown if right else OTHER)

    def without(_: str, answer: dict[str, Any]) -> dict[str, Any]:
        answer.get("KeyMetadata", {}).pop("CurrentKeyMaterialId", None)
        return answer

    with Rewriter(sandbox.url, without) as proxy:
        work.url = proxy.url
        result = run("--prove", prove)
    assert result.code == (0 if right else 5), result.stderr
    assert right or result.entries["key"]["error"]["code"] == "MaterialMismatch"


@pytest.mark.parametrize("prove", ["none", "auto"])
def test_a_kms_that_shows_no_id_at_all(sandbox: Sandbox, work: Workplace, run: Run, prove: str) -> None:
    work.key(sandbox.key(key_spec=AES)["key_id"], materials.make(AES), name="key", key_material_id=OTHER)

    def without(_: str, answer: dict[str, Any]) -> dict[str, Any]:
        answer.get("KeyMetadata", {}).pop("CurrentKeyMaterialId", None)
        answer.pop("KeyMaterialId", None)
        return answer | ({"Rotations": []} if "Rotations" in answer else {})

    with Rewriter(sandbox.url, without) as proxy:
        work.url = proxy.url
        result = run("--prove", prove)
    assert (result.code, result.entries["key"]["error"]["code"]) == (5, "MaterialMismatch")


def test_a_stated_id_says_nothing_about_the_source(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """The source was replaced. The ID alone cannot show that, and the entry says so."""
    key = sandbox.key(key_spec=AES, material={"hex": materials.make(AES).hex()})
    shown = sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    work.key(key["key_id"], materials.make(AES), name="key", key_material_id=shown)
    verification = run().entries["key"]["verification"]
    assert (verification["proof"], verification["detail"]) == ("material_id", "source_not_compared")


@pytest.mark.parametrize("form", ["material", "materials"])
@pytest.mark.parametrize("filled", [True, False])
def test_a_key_that_was_pasted_as_the_id_is_not_quoted(
    sandbox: Sandbox, work: Workplace, run: Run, *, form: str, filled: bool
) -> None:
    """An ID has 64 hex digits, and so has an AES-256 key: only KMS's own ID is shown."""
    material, pasted = materials.make(AES), materials.make(AES).hex()
    key = sandbox.key(key_spec=AES, **({"material": {"hex": material.hex()}} if filled else {}))
    work.key(key["key_id"], material, name="key", key_material_id=pasted)
    if form == "materials":
        entry = {"name": "one", "key_material_id": pasted}
        work.keys[0] = {**work.keys[0], "materials": [{**entry, "material": work.keys[0]["material"]}]}
        del work.keys[0]["material"], work.keys[0]["key_material_id"]
    shown = run("--log-level", "debug").stderr
    work.write()
    for command in ("plan", "status"):
        result = work.call(command, "manifest.json", "--read-interval", "20ms")
        assert result.code in (5, 11), result.stderr
        shown += result.stderr + result.stdout.decode()
    delete = work.call("delete", "manifest.json", "--all", "--yes", "--read-interval", "20ms")
    assert delete.code in (0, 3, 5), delete.stderr
    shown += delete.stderr
    written = [path.read_text() for path in work.folder.iterdir() if path.name.startswith("report")]
    assert written
    assert pasted not in shown + "".join(written)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("listed", ["material", "materials", "all of materials"])
def test_material_of_another_id_is_not_deleted(sandbox: Sandbox, work: Workplace, listed: str, *, named: bool) -> None:
    """Nothing brings back what is deleted, if the manifest's source holds other material."""
    key, material = sandbox.key(key_spec=AES), materials.make(AES)
    name = {"KeyMaterialDescription": "2026"} if named else {}
    kms = sandbox.client()
    import_material(kms, key["key_id"], material, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE", **name)
    right = kms.describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    work.key(key["key_id"], material, name="key", encoding="raw")
    [entry] = work.keys
    options = ("--all", "--yes", "--read-interval", "20ms", *(("--material-name", "2026") if named else ()))
    if listed == "material":
        places = [entry]
    else:
        entry |= {"materials": [{"name": each, "material": entry["material"]} for each in ("2026", "2027")]}
        del entry["material"]
        places = entry["materials"] if listed == "all of materials" or not named else entry["materials"][:1]
    for number, place in enumerate(places):
        place["key_material_id"] = f"{number:02x}" * 32
    work.write()
    result = work.call("delete", "manifest.json", *options)
    error = result.entries["key"]["error"]
    assert (result.code, error and error["code"]) == (5, "MaterialMismatch"), result.entries
    assert kms.describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"] == "Enabled"
    places[0]["key_material_id"] = right
    work.write()
    assert work.call("delete", "manifest.json", *options).code == 0
