"""Several materials of one key, and related keys in several Regions."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sandbox.helpers import NEVER, OAEP, import_material, metadata, new_material, parameters, refused, seal
from tests.sandbox_client import Sandbox

NEW = {"ImportType": "NEW_KEY_MATERIAL", **NEVER}


def materials(kms: Any, arn: str) -> list[tuple[str, str, str]]:
    entries = kms.list_key_rotations(KeyId=arn, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    return [(e["KeyMaterialId"], e["KeyMaterialState"], e["ImportState"]) for e in entries]


def test_a_rotation_step_by_step(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    first = import_material(kms, arn, os.urandom(32))["KeyMaterialId"]
    with refused("KMSInvalidStateException"):
        kms.rotate_key_on_demand(KeyId=arn)
    second = import_material(kms, arn, os.urandom(32), **NEW)["KeyMaterialId"]
    assert materials(kms, arn) == [(first, "CURRENT", "IMPORTED"), (second, "PENDING_ROTATION", "IMPORTED")]
    assert kms.list_key_rotations(KeyId=arn)["Rotations"] == []
    kms.rotate_key_on_demand(KeyId=arn)
    assert materials(kms, arn) == [(first, "NON_CURRENT", "IMPORTED"), (second, "CURRENT", "IMPORTED")]
    [done] = kms.list_key_rotations(KeyId=arn)["Rotations"]
    assert (done["KeyMaterialId"], done["RotationType"]) == (second, "ON_DEMAND")


def test_losing_an_old_material_stops_the_key(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    old = os.urandom(32)
    first = import_material(kms, arn, old)["KeyMaterialId"]
    import_material(kms, arn, os.urandom(32), **NEW)
    kms.rotate_key_on_demand(KeyId=arn)
    assert kms.delete_imported_key_material(KeyId=arn, KeyMaterialId=first)["KeyMaterialId"] == first
    assert metadata(kms, arn)["KeyState"] == "PendingImport"
    assert (first, "NON_CURRENT", "PENDING_IMPORT") in materials(kms, arn)
    import_material(kms, arn, old)
    assert metadata(kms, arn)["KeyState"] == "Enabled"


def test_all_lost_materials_must_come_back(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    both = [os.urandom(32), os.urandom(32)]
    first = import_material(kms, arn, both[0])["KeyMaterialId"]
    import_material(kms, arn, both[1], **NEW)
    kms.rotate_key_on_demand(KeyId=arn)
    kms.delete_imported_key_material(KeyId=arn)  # the current one
    kms.delete_imported_key_material(KeyId=arn, KeyMaterialId=first)
    for material, state in zip(both, ("PendingImport", "Enabled"), strict=True):
        import_material(kms, arn, material)
        assert metadata(kms, arn)["KeyState"] == state


def test_valid_to_is_the_earliest_of_all(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    near, far = (datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) for days in (10, 20))
    import_material(kms, arn, os.urandom(32), ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=far)
    later = {"ImportType": "NEW_KEY_MATERIAL", "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": near}
    import_material(kms, arn, os.urandom(32), **later)
    assert metadata(kms, arn)["ValidTo"] == near


def replicate(sandbox: Sandbox, arn: str, region: str) -> tuple[Any, str]:
    """A replica that is no longer Creating: its client and ARN."""
    arn = sandbox.client().replicate_key(KeyId=arn, ReplicaRegion=region)["ReplicaKeyMetadata"]["Arn"]
    sandbox.advance(1)
    return sandbox.client(region=region), arn


def test_a_replica_takes_its_primarys_material(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    primary = sandbox.key(multi_region=True)["arn"]
    assert primary.rsplit("/", 1)[-1].startswith("mrk-")
    with refused("KMSInvalidStateException"):
        kms.replicate_key(KeyId=primary, ReplicaRegion="eu-west-1")
    material = os.urandom(32)
    material_id = import_material(kms, primary, material)["KeyMaterialId"]
    there, replica = replicate(sandbox, primary, "eu-west-1")
    assert metadata(there, replica)["KeyState"] == "PendingImport"
    with refused("AlreadyExistsException"):
        kms.replicate_key(KeyId=primary, ReplicaRegion="eu-west-1")
    with refused("IncorrectKeyMaterialException"):
        import_material(there, replica, os.urandom(32))
    with refused("IncorrectKeyMaterialException"):
        import_material(there, replica, material, **NEW)
    given = parameters(kms, primary, OAEP[1])
    with refused("InvalidImportTokenException"):  # a token of the primary
        there.import_key_material(
            KeyId=replica,
            ImportToken=given["ImportToken"],
            EncryptedKeyMaterial=seal(material, given["PublicKey"], OAEP[1]),
            **NEVER,
        )
    assert import_material(there, replica, material)["KeyMaterialId"] == material_id
    blob = kms.encrypt(KeyId=primary, Plaintext=b"x")["CiphertextBlob"]
    assert there.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_a_new_replica_is_creating(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key(multi_region=True, material={"hex": os.urandom(32).hex()})
    replica = kms.replicate_key(KeyId=key["arn"], ReplicaRegion="eu-west-1")["ReplicaKeyMetadata"]["Arn"]
    there = {"account": key["account"], "region": "eu-west-1", "key": replica}
    sandbox.post("key", **there, state="Creating")
    with refused("KMSInvalidStateException") as refusal:
        parameters(sandbox.client(region="eu-west-1"), replica, OAEP[1])
    assert refusal.message == f"{replica} is creating."


def test_an_hmac_replica(sandbox: Sandbox) -> None:
    material = new_material("HMAC_256")
    primary = sandbox.key(multi_region=True, key_spec="HMAC_256", material={"hex": material.hex()})["arn"]
    there, replica = replicate(sandbox, primary, "eu-west-1")
    with refused("IncorrectKeyMaterialException"):
        import_material(there, replica, new_material("HMAC_256"))
    import_material(there, replica, material)
    fields = {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
    assert (
        there.generate_mac(KeyId=replica, **fields)["Mac"]
        == sandbox.client().generate_mac(KeyId=primary, **fields)["Mac"]
    )


def test_a_rotation_waits_for_every_replica(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    old, new = os.urandom(32), os.urandom(32)
    primary = sandbox.key(multi_region=True, material={"hex": old.hex()})["arn"]
    there, replica = replicate(sandbox, primary, "eu-west-1")
    import_material(there, replica, old)
    second = import_material(kms, primary, new, **NEW)["KeyMaterialId"]
    assert materials(kms, primary)[1][1] == "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
    with refused("KMSInvalidStateException"):
        kms.rotate_key_on_demand(KeyId=primary)
    import_material(there, replica, new, ImportType="EXISTING_KEY_MATERIAL", **NEVER)
    assert materials(kms, primary)[1][1] == "PENDING_ROTATION"
    with refused("UnsupportedOperationException"):
        there.rotate_key_on_demand(KeyId=replica)
    kms.rotate_key_on_demand(KeyId=primary)
    assert [metadata(*pair)["CurrentKeyMaterialId"] for pair in ((kms, primary), (there, replica))] == [second] * 2


def test_a_replica_needs_every_material_of_its_primary(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    old, new = os.urandom(32), os.urandom(32)
    primary = sandbox.key(multi_region=True, material={"hex": old.hex()})["arn"]
    import_material(kms, primary, new, **NEW)
    kms.rotate_key_on_demand(KeyId=primary)
    there, replica = replicate(sandbox, primary, "eu-west-1")
    assert [(state, held) for _, state, held in materials(there, replica)] == [
        ("NON_CURRENT", "PENDING_IMPORT"),
        ("CURRENT", "PENDING_IMPORT"),
    ]
    existing = {"ImportType": "EXISTING_KEY_MATERIAL", **NEVER}
    import_material(there, replica, new, **existing)
    assert metadata(there, replica)["KeyState"] == "PendingImport"
    import_material(there, replica, old, **existing)
    assert metadata(there, replica)["KeyState"] == "Enabled"
    assert materials(there, replica) == materials(kms, primary)


def test_a_rotation_waits_again_for_a_replica_that_lost_the_pending_material(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    old, new = os.urandom(32), os.urandom(32)
    primary = sandbox.key(multi_region=True, material={"hex": old.hex()})["arn"]
    there, replica = replicate(sandbox, primary, "eu-west-1")
    import_material(there, replica, old)
    pending = import_material(kms, primary, new, **NEW)["KeyMaterialId"]
    existing = {"ImportType": "EXISTING_KEY_MATERIAL", **NEVER}
    import_material(there, replica, new, **existing)
    there.delete_imported_key_material(KeyId=replica, KeyMaterialId=pending)
    assert materials(kms, primary)[1][1] == "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
    with refused("KMSInvalidStateException"):
        kms.rotate_key_on_demand(KeyId=primary)
    import_material(there, replica, new, **existing)
    kms.rotate_key_on_demand(KeyId=primary)
    assert metadata(there, replica)["CurrentKeyMaterialId"] == pending


def test_every_material_expires_by_itself(sandbox: Sandbox) -> None:
    """Pending material goes without harm; the loss of a non-current one stops the key."""
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    bytes_ = [os.urandom(32) for _ in range(3)]
    days = {
        n: {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": datetime.now(UTC) + timedelta(days=n)}
        for n in (1, 5, 9)
    }
    first = import_material(kms, arn, bytes_[0], **days[5])["KeyMaterialId"]
    second = import_material(kms, arn, bytes_[1], ImportType="NEW_KEY_MATERIAL", **days[9])["KeyMaterialId"]
    kms.rotate_key_on_demand(KeyId=arn)
    import_material(kms, arn, bytes_[2], ImportType="NEW_KEY_MATERIAL", **days[1])
    sandbox.advance(2 * 86400)
    sandbox.forget_sessions()
    kms = sandbox.client()
    assert [state for _, state, _ in materials(kms, arn)] == ["NON_CURRENT", "CURRENT"]
    assert metadata(kms, arn)["KeyState"] == "Enabled"
    import_material(kms, arn, bytes_[2], ImportType="NEW_KEY_MATERIAL", **NEVER)  # nothing is pending now
    sandbox.advance(4 * 86400)
    sandbox.forget_sessions()
    kms = sandbox.client()
    assert metadata(kms, arn)["KeyState"] == "PendingImport"
    assert (first, "NON_CURRENT", "PENDING_IMPORT") in materials(kms, arn)
    import_material(kms, arn, bytes_[0], KeyMaterialId=first, ImportType="EXISTING_KEY_MATERIAL", **NEVER)
    assert (metadata(kms, arn)["KeyState"], metadata(kms, arn)["CurrentKeyMaterialId"]) == ("Enabled", second)
