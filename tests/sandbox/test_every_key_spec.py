"""Every key spec, by every wrapping algorithm that it allows: the imported bytes are the ones that KMS then uses."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

from tests.sandbox.helpers import (
    ALL_SPECS,
    ED25519,
    HYBRID,
    NEVER,
    OAEP,
    RAW,
    RSA,
    import_material,
    metadata,
    new_material,
    parameters,
    public_key,
    seal,
    strongest,
)
from tests.sandbox_client import Sandbox


def algorithms(spec: str) -> tuple[str, ...]:
    if spec in RAW:
        return OAEP
    return HYBRID if spec in RSA else OAEP + HYBRID


def wrapping_spec(spec: str, algorithm: str) -> str:
    if spec == "ECC_NIST_P521" and algorithm in OAEP:
        return "RSA_3072"
    return "RSA_2048"


CASES = [
    *((spec, algorithm, wrapping_spec(spec, algorithm)) for spec in ALL_SPECS for algorithm in algorithms(spec)),
    *((spec, strongest(spec), "RSA_4096") for spec in ALL_SPECS),
    ("SYMMETRIC_DEFAULT", OAEP[0], "RSA_3072"),
]


def prove(kms: Any, arn: str, spec: str, material: bytes) -> None:
    """That KMS holds exactly `material`."""
    if spec == "SYMMETRIC_DEFAULT":
        blob = kms.encrypt(KeyId=arn, Plaintext=b"text", EncryptionContext={"a": "b"})["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"text"
    elif spec in RAW:
        algorithm = spec.replace("HMAC", "HMAC_SHA")
        mac = kms.generate_mac(KeyId=arn, Message=b"message", MacAlgorithm=algorithm)["Mac"]
        assert mac == hmac.digest(material, b"message", algorithm[5:].replace("_", "").lower())
        assert kms.verify_mac(KeyId=arn, Message=b"message", MacAlgorithm=algorithm, Mac=mac)["MacValid"]
    else:
        assert kms.get_public_key(KeyId=arn)["PublicKey"] == public_key(material)


@pytest.mark.parametrize(("spec", "algorithm", "wrapping"), CASES)
def test_imported_and_used(sandbox: Sandbox, spec: str, algorithm: str, wrapping: str) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec=spec)["arn"]
    assert metadata(kms, arn)["KeyState"] == "PendingImport"
    material = new_material(spec)
    given = parameters(kms, arn, algorithm, wrapping)
    public = serialization.load_der_public_key(given["PublicKey"])
    assert getattr(public, "key_size", 0) == int(wrapping[4:])
    kms.import_key_material(
        KeyId=arn,
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=seal(material, given["PublicKey"], algorithm),
        **NEVER,
    )
    seen = metadata(kms, arn)
    assert (seen["KeyState"], seen["KeySpec"], seen["ExpirationModel"]) == (
        "Enabled",
        spec,
        "KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    prove(kms, arn, spec, material)
    [shown] = sandbox.keys()
    assert shown["materials"][0]["sha256"] == hashlib.sha256(material).hexdigest()


@pytest.mark.parametrize("spec", [spec for spec in ALL_SPECS if spec not in RAW])
def test_signatures_are_made_with_the_imported_key(sandbox: Sandbox, spec: str) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec=spec, key_usage="SIGN_VERIFY")["arn"]
    material = new_material(spec)
    import_material(kms, arn, material, strongest(spec) if spec != "ECC_NIST_P521" else HYBRID[1])
    public: Any = serialization.load_der_public_key(public_key(material))
    algorithms = set(metadata(kms, arn)["SigningAlgorithms"]) - {"ED25519_PH_SHA_512"}  # it takes digests only
    assert algorithms
    for algorithm in algorithms:
        answer = kms.sign(KeyId=arn, Message=b"message", SigningAlgorithm=algorithm)
        digest = getattr(hashes, algorithm[algorithm.index("SHA_") :].replace("_", ""))()
        if spec == ED25519:
            public.verify(answer["Signature"], b"message")
        elif spec in RSA:
            pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            public.verify(answer["Signature"], b"message", pss if "PSS" in algorithm else padding.PKCS1v15(), digest)
        else:
            public.verify(answer["Signature"], b"message", ec.ECDSA(digest))
        fields = {"KeyId": arn, "Message": b"message", "SigningAlgorithm": algorithm}
        assert kms.verify(Signature=answer["Signature"], **fields)["SignatureValid"]
        with pytest.raises(kms.exceptions.KMSInvalidSignatureException):
            kms.verify(Signature=answer["Signature"], **fields | {"Message": b"other"})


def test_a_digest_is_signed_as_a_digest(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec="ECC_NIST_P256")["arn"]
    material = new_material("ECC_NIST_P256")
    import_material(kms, arn, material)
    digest = hashlib.sha256(b"message").digest()
    signed = kms.sign(KeyId=arn, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    public: Any = serialization.load_der_public_key(public_key(material))
    public.verify(signed, b"message", ec.ECDSA(hashes.SHA256()))


def test_an_rsa_key_decrypts_what_its_public_key_encrypted(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arn = sandbox.key(key_spec="RSA_2048", key_usage="ENCRYPT_DECRYPT")["arn"]
    material = new_material("RSA_2048")
    import_material(kms, arn, material, HYBRID[1])
    sealed = seal(b"text", public_key(material), "RSAES_OAEP_SHA_256")
    fields = {"KeyId": arn, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    assert kms.decrypt(CiphertextBlob=sealed, **fields)["Plaintext"] == b"text"
    blob = kms.encrypt(Plaintext=b"text", **fields)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, **fields)["Plaintext"] == b"text"


def test_ed25519ph_by_the_example_of_rfc_8032(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    seed = bytes.fromhex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
    material = ed25519.Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    arn = sandbox.key(key_spec=ED25519, material={"hex": material.hex()})["arn"]
    digest = hashlib.sha512(b"abc").digest()
    fields = {"KeyId": arn, "SigningAlgorithm": "ED25519_PH_SHA_512", "MessageType": "DIGEST", "Message": digest}
    signature = kms.sign(**fields)["Signature"]
    assert signature.hex() == (
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
        "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
    )
    assert kms.verify(Signature=signature, **fields)["SignatureValid"]
    with pytest.raises(kms.exceptions.KMSInvalidSignatureException):
        kms.verify(Signature=signature, **fields | {"Message": hashlib.sha512(b"abd").digest()})
    with pytest.raises(kms.exceptions.KMSInvalidSignatureException):
        kms.verify(Signature=bytes(64), **fields)
    with pytest.raises(ClientError, match="requires the message type DIGEST"):
        kms.sign(**fields | {"MessageType": "RAW"})
    with pytest.raises(ClientError, match="Digest is invalid length"):
        kms.sign(**fields | {"Message": digest[:32]})
    with pytest.raises(ClientError, match="requires the message type RAW"):
        kms.sign(**fields | {"SigningAlgorithm": "ED25519_SHA_512"})
