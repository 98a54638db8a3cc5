"""What KMS refuses on the way of an import."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.sandbox.helpers import (
    ALL_SPECS,
    HYBRID,
    NEVER,
    OAEP,
    RAW,
    RSA,
    import_material,
    metadata,
    new_material,
    parameters,
    refused,
    seal,
)
from tests.sandbox_client import Sandbox

DAY = 24 * 3600
WRONG_PAIRS = [
    *((spec, algorithm, "RSA_4096") for spec in RAW for algorithm in HYBRID),
    *((spec, algorithm, "RSA_4096") for spec in RSA for algorithm in OAEP),
    *(("ECC_NIST_P521", algorithm, "RSA_2048") for algorithm in OAEP),
    *((spec, "RSAES_PKCS1_V1_5", "RSA_2048") for spec in ("SYMMETRIC_DEFAULT", "RSA_2048", "ECC_NIST_P256")),
    ("ECC_NIST_P256", "SM2PKE", "SM2"),
    ("SYMMETRIC_DEFAULT", OAEP[1], "SM2"),
]


def sealed_import(kms: Any, key_id: str, token: bytes, sealed: bytes, **fields: Any) -> Any:
    return kms.import_key_material(KeyId=key_id, ImportToken=token, EncryptedKeyMaterial=sealed, **(fields or NEVER))


@pytest.mark.parametrize(("spec", "algorithm", "wrapping"), WRONG_PAIRS)
def test_wrong_pairs_of_algorithm_and_key(sandbox: Sandbox, spec: str, algorithm: str, wrapping: str) -> None:
    arn = sandbox.key(key_spec=spec)["arn"]
    with refused("UnsupportedOperationException"):
        parameters(sandbox.client(), arn, algorithm, wrapping)


@pytest.mark.parametrize(("algorithm", "wrapping"), [("ROT13", "RSA_2048"), (OAEP[1], "RSA_1024")])
def test_values_outside_the_model(sandbox: Sandbox, algorithm: str, wrapping: str) -> None:
    arn = sandbox.key()["arn"]
    with refused("ValidationException") as refusal:
        parameters(sandbox.client(), arn, algorithm, wrapping)
    assert "failed to satisfy constraint: Member must satisfy enum value set: [" in refusal.message


@pytest.mark.parametrize("prefix", ["", "arn:aws:kms:us-east-1:111122223333:"])
def test_aliases_do_for_reads_only(sandbox: Sandbox, prefix: str) -> None:
    kms = sandbox.client()
    sandbox.key(alias="alias/one")
    alias = f"{prefix}alias/one"
    assert metadata(kms, alias)["KeyState"] == "PendingImport"
    with refused("NotFoundException"):
        parameters(kms, alias, OAEP[1])
    with refused("NotFoundException"):
        sealed_import(kms, alias, b"t", b"s")
    with refused("NotFoundException"):
        kms.delete_imported_key_material(KeyId=alias)
    with refused("NotFoundException"):
        kms.list_key_rotations(KeyId=alias)


def test_a_missing_alias(sandbox: Sandbox) -> None:
    with refused("NotFoundException") as refusal:
        metadata(sandbox.client(), "alias/none")
    assert refusal.message == "Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found."


def test_keys_of_others(sandbox: Sandbox) -> None:
    arn = sandbox.key()["arn"]
    with refused("AccessDeniedException"):
        parameters(sandbox.client(account="444455556666"), arn, OAEP[1])
    with refused("NotFoundException"):
        parameters(sandbox.client(account="444455556666"), arn.rsplit("/", 1)[-1], OAEP[1])
    with refused("NotFoundException") as refusal:
        parameters(sandbox.client(region="eu-west-1"), arn, OAEP[1])
    assert refusal.message == "Invalid arn us-east-1"


def test_a_token_belongs_to_one_key(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    one, other = sandbox.key()["arn"], sandbox.key()["arn"]
    given = parameters(kms, one, OAEP[1])
    sealed = seal(os.urandom(32), given["PublicKey"], OAEP[1])
    with refused("InvalidImportTokenException"):
        sealed_import(kms, other, given["ImportToken"], sealed)
    assert sealed_import(kms, one, given["ImportToken"], sealed)["KeyId"] == one


@pytest.mark.parametrize("spoil", ["garbage", "longer", "shorter", "flipped"])
def test_a_spoilt_token(sandbox: Sandbox, spoil: str) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    given = parameters(kms, arn, OAEP[1])
    token = given["ImportToken"]
    spoilt = {
        "garbage": b"garbage",
        "longer": token + b"\0",
        "shorter": token[:-1],
        "flipped": bytes([token[0] ^ 1]) + token[1:],
    }[spoil]
    with refused("InvalidImportTokenException"):
        sealed_import(kms, arn, spoilt, seal(os.urandom(32), given["PublicKey"], OAEP[1]))


@pytest.mark.parametrize("field", ["ImportToken", "EncryptedKeyMaterial"])
def test_more_bytes_than_the_model_allows(sandbox: Sandbox, field: str) -> None:
    arn = sandbox.key()["arn"]
    fields = {"ImportToken": b"t", "EncryptedKeyMaterial": b"s"} | {field: bytes(6145)}
    with refused("ValidationException") as refusal:
        sandbox.client().import_key_material(KeyId=arn, **fields, **NEVER)
    assert "have length less than or equal to 6144" in refusal.message


def test_a_token_lives_a_day(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    given = parameters(kms, arn, OAEP[1])
    sealed = seal(os.urandom(32), given["PublicKey"], OAEP[1])
    sandbox.advance(DAY - 60)
    kms = fresh(sandbox)
    sealed_import(kms, arn, given["ImportToken"], sealed)
    sandbox.advance(120)
    with refused("ExpiredImportTokenException"):
        sealed_import(kms, arn, given["ImportToken"], sealed)


def fresh(sandbox: Sandbox) -> Any:
    """A client of a session that began now: the sandbox's clock was moved."""
    sandbox.forget_sessions()
    return sandbox.client()


def test_an_older_token_stays_good(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    older, newer = parameters(kms, arn, OAEP[1]), parameters(kms, arn, OAEP[1])
    assert older["PublicKey"] != newer["PublicKey"]
    material = os.urandom(32)
    for given in (older, newer):
        sealed_import(kms, arn, given["ImportToken"], seal(material, given["PublicKey"], OAEP[1]))


def test_a_seal_that_does_not_open(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec="ECC_NIST_P256")["arn"]
    material = new_material("ECC_NIST_P256")
    first, second = parameters(kms, arn, HYBRID[1]), parameters(kms, arn, HYBRID[1])
    hybrid = seal(material, first["PublicKey"], HYBRID[1])
    wrong = [
        seal(material, second["PublicKey"], HYBRID[1]),  # the other set's key
        seal(material, first["PublicKey"], HYBRID[0]),  # another hash
        seal(material, first["PublicKey"], OAEP[1]),  # another layout
        hybrid[256:] + hybrid[:256],  # the parts swapped
        hybrid[:-1],
        b"x",
    ]
    for sealed in wrong:
        with refused("InvalidCiphertextException"):
            sealed_import(kms, arn, first["ImportToken"], sealed)
    sealed_import(kms, arn, first["ImportToken"], hybrid)


def pkcs1(spec: str) -> bytes:
    key: Any = serialization.load_der_private_key(new_material(spec), None)
    style = serialization.PrivateFormat.TraditionalOpenSSL
    der: bytes = key.private_bytes(serialization.Encoding.DER, style, serialization.NoEncryption())
    return der


def encrypted_pkcs8() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )


def rsa_1024() -> bytes:
    return rsa.generate_private_key(65537, 1024).private_bytes(  # noqa: S505 - KMS must refuse it
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


WRONG_MATERIAL = [
    *((spec, bytes(length + more)) for spec, length in RAW.items() for more in (-1, 1)),
    ("SYMMETRIC_DEFAULT", bytes(16)),
    ("ECC_NIST_P256", new_material("ECC_NIST_P384")),
    ("ECC_NIST_P256", new_material("ECC_SECG_P256K1")),
    ("ECC_NIST_P256", new_material("ECC_NIST_EDWARDS25519")),
    ("ECC_NIST_EDWARDS25519", new_material("ECC_NIST_P256")),
    ("ECC_NIST_P256", new_material("ECC_NIST_P256") + b"\0"),
    ("ECC_NIST_P256", pkcs1("ECC_NIST_P256")),
    ("ECC_NIST_P256", encrypted_pkcs8()),
    ("ECC_NIST_P256", bytes(32)),
    ("RSA_2048", rsa_1024()),
    ("RSA_3072", new_material("RSA_2048")),
    ("RSA_2048", new_material("ECC_NIST_P256")),
    ("RSA_2048", pkcs1("RSA_2048")),
]


@pytest.mark.parametrize(
    ("spec", "material"), WRONG_MATERIAL, ids=[f"{n}-{spec}" for n, (spec, _) in enumerate(WRONG_MATERIAL)]
)
def test_material_of_another_form(sandbox: Sandbox, spec: str, material: bytes) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec=spec)["arn"]
    algorithm = HYBRID[1] if spec not in RAW else OAEP[1]
    with refused("IncorrectKeyMaterialException"):
        import_material(kms, arn, material, algorithm)
    assert metadata(kms, arn)["KeyState"] == "PendingImport"


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_512", "ECC_NIST_P384"])
@pytest.mark.parametrize("deleted", [False, True])
def test_different_material(sandbox: Sandbox, spec: str, deleted: bool) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec=spec)["arn"]
    material = new_material(spec)
    import_material(kms, arn, material)
    if deleted:
        kms.delete_imported_key_material(KeyId=arn)
    with refused("IncorrectKeyMaterialException"):
        import_material(kms, arn, new_material(spec))
    import_material(kms, arn, material)
    assert metadata(kms, arn)["KeyState"] == "Enabled"


def test_the_same_bytes_under_two_keys_are_two_materials(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    one, other = sandbox.key()["arn"], sandbox.key()["arn"]
    material = os.urandom(32)
    first, second = (import_material(kms, arn, material)["KeyMaterialId"] for arn in (one, other))
    assert first != second
    blob = kms.encrypt(KeyId=one, Plaintext=b"x")["CiphertextBlob"]
    with refused("IncorrectKeyException"):
        kms.decrypt(KeyId=other, CiphertextBlob=blob)


@pytest.mark.parametrize("spec", [spec for spec in ALL_SPECS if spec != "SYMMETRIC_DEFAULT"])
@pytest.mark.parametrize(
    "extra",
    [
        {"ImportType": "NEW_KEY_MATERIAL"},
        {"ImportType": "EXISTING_KEY_MATERIAL"},
        {"KeyMaterialId": "0" * 64},
        {"KeyMaterialDescription": "text"},
    ],
    ids=lambda extra: "-".join(map(str, extra)),
)
def test_fields_of_symmetric_keys_only(sandbox: Sandbox, spec: str, extra: dict[str, str]) -> None:
    arn = sandbox.key(key_spec=spec)["arn"]
    with refused("UnsupportedOperationException"):
        sealed_import(sandbox.client(), arn, b"token", b"sealed", **NEVER, **extra)


def test_material_named_by_its_id(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    material = os.urandom(32)
    material_id = import_material(kms, arn, material, KeyMaterialDescription="first", **NEVER)["KeyMaterialId"]
    import_material(kms, arn, material, KeyMaterialId=material_id, **NEVER)
    with refused("IncorrectKeyMaterialException"):
        import_material(kms, arn, material, KeyMaterialId="0" * 64, **NEVER)
    with refused("IncorrectKeyMaterialException"):  # it is there already
        import_material(kms, arn, material, ImportType="NEW_KEY_MATERIAL", **NEVER)
    with refused("ValidationException"):
        import_material(kms, arn, material, KeyMaterialId=material_id, ImportType="NEW_KEY_MATERIAL", **NEVER)
    [entry] = kms.list_key_rotations(KeyId=arn, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert (entry["KeyMaterialDescription"], entry["ImportState"]) == ("first", "IMPORTED")


def expires(when: datetime) -> dict[str, Any]:
    return {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": when}


@pytest.mark.parametrize("days", [-1, 366])
def test_dates_outside_the_year_ahead(sandbox: Sandbox, days: int) -> None:
    arn = sandbox.key()["arn"]
    with refused("ValidationException"):
        import_material(sandbox.client(), arn, os.urandom(32), **expires(datetime.now(UTC) + timedelta(days=days)))


def test_no_expiry_with_a_date(sandbox: Sandbox) -> None:
    arn = sandbox.key()["arn"]
    when = datetime.now(UTC) + timedelta(days=1)
    with refused("ValidationException"):
        import_material(sandbox.client(), arn, os.urandom(32), **NEVER, ValidTo=when)


def test_expiry_expires(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    material = os.urandom(32)
    when = datetime.now(UTC) + timedelta(days=364)
    import_material(kms, arn, material, **expires(when))
    seen = metadata(kms, arn)
    assert (seen["ExpirationModel"], seen["ValidTo"]) == ("KEY_MATERIAL_EXPIRES", when.replace(microsecond=0))
    kms.encrypt(KeyId=arn, Plaintext=b"x")
    sandbox.advance(364 * DAY)
    kms = fresh(sandbox)
    seen = metadata(kms, arn)
    assert (seen["KeyState"], seen["Enabled"]) == ("PendingImport", False)
    assert not {"ExpirationModel", "ValidTo"} & set(seen)
    with refused("KMSInvalidStateException"):
        kms.encrypt(KeyId=arn, Plaintext=b"x")
    with refused("IncorrectKeyMaterialException"):
        import_material(kms, arn, os.urandom(32))
    import_material(kms, arn, material)
    kms.encrypt(KeyId=arn, Plaintext=b"x")


def test_the_date_changes_by_importing_again(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key()["arn"]
    material = os.urandom(32)
    import_material(kms, arn, material)
    when = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    import_material(kms, arn, material, **expires(when))
    assert metadata(kms, arn)["ValidTo"] == when
    import_material(kms, arn, material)
    assert metadata(kms, arn)["ExpirationModel"] == "KEY_MATERIAL_DOES_NOT_EXPIRE"


def test_a_disabled_key_stays_disabled(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    material = os.urandom(32)
    arn = sandbox.key(material={"hex": material.hex()}, state="Disabled")["arn"]
    import_material(kms, arn, material)
    assert metadata(kms, arn)["KeyState"] == "Disabled"
    with refused("DisabledException"):
        kms.encrypt(KeyId=arn, Plaintext=b"x")


@pytest.mark.parametrize("state", ["Creating", "PendingDeletion", "PendingReplicaDeletion", "Unavailable", "Updating"])
def test_states_that_refuse(sandbox: Sandbox, state: str) -> None:
    kms = sandbox.client()
    key = sandbox.key()
    given = parameters(kms, key["arn"], OAEP[1])
    sandbox.post("key", account=key["account"], region=key["region"], key=key["key_id"], state=state)
    with refused("KMSInvalidStateException"):
        parameters(kms, key["arn"], OAEP[1])
    with refused("KMSInvalidStateException"):
        sealed_import(kms, key["arn"], given["ImportToken"], seal(bytes(32), given["PublicKey"], OAEP[1]))


@pytest.mark.parametrize("operation", ["enable_key", "disable_key"])
def test_switches_before_import(sandbox: Sandbox, operation: str) -> None:
    arn = sandbox.key()["arn"]
    with refused("KMSInvalidStateException"):
        getattr(sandbox.client(), operation)(KeyId=arn)


def test_what_works_before_import(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key()
    kms.create_alias(AliasName="alias/early", TargetKeyId=key["key_id"])
    kms.tag_resource(KeyId=key["key_id"], Tags=[{"TagKey": "a", "TagValue": "b"}])
    kms.put_key_policy(KeyId=key["key_id"], Policy=kms.get_key_policy(KeyId=key["key_id"])["Policy"])
    assert metadata(kms, "alias/early")["Arn"] == key["arn"]
    assert kms.list_key_rotations(KeyId=key["arn"], IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"] == []
    kms.schedule_key_deletion(KeyId=key["arn"], PendingWindowInDays=7)
    assert metadata(kms, key["arn"])["KeyState"] == "PendingDeletion"
    kms.cancel_key_deletion(KeyId=key["arn"])
    assert metadata(kms, key["arn"])["KeyState"] == "PendingImport"


@pytest.mark.parametrize("spec", ["HMAC_256", "RSA_2048"])
def test_rotations_are_for_symmetric_keys(sandbox: Sandbox, spec: str) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec=spec, material={"hex": new_material(spec).hex()})["arn"]
    with refused("UnsupportedOperationException"):
        kms.list_key_rotations(KeyId=arn, IncludeKeyMaterial="ALL_KEY_MATERIAL")
    with refused("UnsupportedOperationException"):
        kms.rotate_key_on_demand(KeyId=arn)
