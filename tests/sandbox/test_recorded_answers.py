"""The answers that others recorded from real AWS: code, HTTP status, message and fields must be the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.helpers import (
    NEVER,
    OAEP,
    RAW,
    import_material,
    metadata,
    new_material,
    parameters,
    refused,
    seal,
    strongest,
)
from tests.sandbox_client import Sandbox

ACCOUNT = "111122223333"


def test_a_new_external_key_waits_for_import(sandbox: Sandbox) -> None:
    made = sandbox.client().create_key(Origin="EXTERNAL")["KeyMetadata"]
    assert (made["KeyState"], made["Enabled"], made["Origin"]) == ("PendingImport", False, "EXTERNAL")
    assert not {"ExpirationModel", "ValidTo", "CurrentKeyMaterialId"} & set(made)
    assert made["KeyManager"] == "CUSTOMER"
    assert made["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"]


@pytest.mark.parametrize("operation", ["encrypt", "rotate_key_on_demand"])
def test_use_before_import(sandbox: Sandbox, operation: str) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    extra = {"Plaintext": b"x"} if operation == "encrypt" else {}
    with refused("KMSInvalidStateException") as refusal:
        getattr(kms, operation)(KeyId=arn, **extra)
    assert refusal.message == f"{arn} is pending import."


def test_expiry_without_a_date(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    message = "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
    with refused("ValidationException") as refusal:
        import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"), ExpirationModel="KEY_MATERIAL_EXPIRES")
    assert refusal.message == message
    given = parameters(kms, arn, OAEP[1])
    sealed = seal(bytes(32), given["PublicKey"], OAEP[1])
    with refused("ValidationException") as refusal:  # the model's default is to expire
        kms.import_key_material(KeyId=arn, ImportToken=given["ImportToken"], EncryptedKeyMaterial=sealed)
    assert refusal.message == message


def test_parameters_for_a_key_that_kms_made(sandbox: Sandbox) -> None:
    arn = sandbox.key(origin="AWS_KMS")["arn"]
    with refused("UnsupportedOperationException") as refusal:
        parameters(sandbox.client(), arn, OAEP[1])
    assert refusal.message == f"{arn} origin is AWS_KMS which is not valid for this operation."


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_256", "ECC_NIST_P256", "RSA_2048"])
def test_describe_after_import(sandbox: Sandbox, spec: str) -> None:
    kms = sandbox.client()
    key = sandbox.key(key_spec=spec)
    answer = import_material(kms, key["key_id"], new_material(spec), strongest(spec))
    seen = metadata(kms, key["key_id"])
    assert answer["KeyId"] == key["arn"]
    assert (seen["KeyState"], seen["Enabled"]) == ("Enabled", True)
    assert seen["ExpirationModel"] == "KEY_MATERIAL_DOES_NOT_EXPIRE"
    if spec == "SYMMETRIC_DEFAULT":
        assert len(answer["KeyMaterialId"]) == 64
        assert seen["CurrentKeyMaterialId"] == answer["KeyMaterialId"]
    else:
        assert "KeyMaterialId" not in answer
        assert "CurrentKeyMaterialId" not in seen


@pytest.mark.parametrize(
    ("spec", "field", "values"),
    [
        ("HMAC_384", "MacAlgorithms", ["HMAC_SHA_384"]),
        ("ECC_NIST_P521", "SigningAlgorithms", ["ECDSA_SHA_512"]),
        ("ECC_SECG_P256K1", "SigningAlgorithms", ["ECDSA_SHA_256"]),
        ("ECC_NIST_EDWARDS25519", "SigningAlgorithms", ["ED25519_SHA_512", "ED25519_PH_SHA_512"]),
        ("RSA_3072", "EncryptionAlgorithms", ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]),
    ],
)
def test_algorithm_fields(sandbox: Sandbox, spec: str, field: str, values: list[str]) -> None:
    seen = metadata(sandbox.client(), sandbox.key(key_spec=spec)["arn"])
    assert seen[field] == values
    assert {name for name in seen if name.endswith("Algorithms")} == {field}


def test_after_deletion_of_the_material(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    material = new_material("SYMMETRIC_DEFAULT")
    material_id = import_material(kms, arn, material)["KeyMaterialId"]
    assert kms.delete_imported_key_material(KeyId=arn)["KeyMaterialId"] == material_id
    seen = metadata(kms, arn)
    assert (seen["KeyState"], seen["Enabled"]) == ("PendingImport", False)
    assert "ExpirationModel" not in seen
    assert seen["CurrentKeyMaterialId"] == material_id
    assert import_material(kms, arn, material)["KeyMaterialId"] == material_id
    assert metadata(kms, arn)["KeyState"] == "Enabled"


def test_new_material_waits_for_the_rotation(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    first = import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"))["KeyMaterialId"]
    old = kms.encrypt(KeyId=arn, Plaintext=b"old")["CiphertextBlob"]
    second = import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"), ImportType="NEW_KEY_MATERIAL", **NEVER)[
        "KeyMaterialId"
    ]
    seen = metadata(kms, arn)
    assert (seen["KeyState"], seen["CurrentKeyMaterialId"]) == ("Enabled", first)
    kms.rotate_key_on_demand(KeyId=arn)
    assert metadata(kms, arn)["CurrentKeyMaterialId"] == second
    new = kms.encrypt(KeyId=arn, Plaintext=b"new")["CiphertextBlob"]
    assert [kms.decrypt(CiphertextBlob=blob)["Plaintext"] for blob in (old, new)] == [b"old", b"new"]


def test_a_second_pending_material(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"))
    new = {"ImportType": "NEW_KEY_MATERIAL", **NEVER}
    pending = import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"), **new)["KeyMaterialId"]
    with refused("KMSInvalidStateException") as refusal:
        import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"), **new)
    start, end = refusal.message.split(") cannot be imported into KMS key ")
    assert start.startswith("New key material (id: ")
    assert end == f"{arn}, because another key material (id: {pending}) is pending rotation."


def test_replicating(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key(multi_region=True)["arn"]
    import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"))
    made = kms.replicate_key(KeyId=arn, ReplicaRegion="eu-west-1")["ReplicaKeyMetadata"]
    assert (made["KeyState"], made["Enabled"]) == ("Creating", False)
    assert made["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
    with refused("UnsupportedOperationException") as refusal:
        sandbox.client(region="eu-west-1").replicate_key(KeyId=made["Arn"], ReplicaRegion="us-west-2")
    assert refusal.message == f"{made['Arn']} is not a multi-region primary key."


def test_a_missing_key(sandbox: Sandbox) -> None:
    missing = "11111111-2222-3333-4444-555555555555"
    arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{missing}"
    for name in (missing, arn):
        with refused("NotFoundException") as refusal:
            sandbox.client().describe_key(KeyId=name)
        assert refusal.message == f"Key '{arn}' does not exist"


def test_rotations_used_up(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"))
    for _ in range(25):
        import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"), ImportType="NEW_KEY_MATERIAL", **NEVER)
        kms.rotate_key_on_demand(KeyId=arn)
    import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"), ImportType="NEW_KEY_MATERIAL", **NEVER)
    with refused("LimitExceededException") as refusal:
        kms.rotate_key_on_demand(KeyId=arn)
    assert refusal.message == (
        "The on-demand rotations limit has been reached for the given keyId. "
        f"No more on-demand rotations can be performed for this key: {arn}"
    )


def test_a_ciphertext_that_does_not_decrypt(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    import_material(kms, arn, new_material("SYMMETRIC_DEFAULT"))
    blob = bytearray(kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"])
    blob[-1] ^= 1
    with refused("InvalidCiphertextException") as refusal:
        kms.decrypt(CiphertextBlob=bytes(blob))
    assert refusal.message == ""


def test_parameters_are_valid_for_a_day(sandbox: Sandbox) -> None:
    key = sandbox.key()
    given = parameters(sandbox.client(), key["key_id"], OAEP[1])
    assert given["KeyId"] == key["arn"]
    left = given["ParametersValidTo"] - datetime.now(UTC)
    assert timedelta(hours=23, minutes=58) < left <= timedelta(hours=24)
    assert 1 <= len(given["ImportToken"]) <= 6144


def test_every_spec_has_its_usage_when_created(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    for spec in RAW:
        usage = "ENCRYPT_DECRYPT" if spec == "SYMMETRIC_DEFAULT" else "GENERATE_VERIFY_MAC"
        made = kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
        assert (made["KeySpec"], made["KeyUsage"], made["KeyState"]) == (spec, usage, "PendingImport")
