"""Sealing done once more, apart from both the program's and the sandbox's code, and short words for tests."""

from __future__ import annotations

import os
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

OAEP = ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")
HYBRID = ("RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256")
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1,
    "ECC_NIST_P384": ec.SECP384R1,
    "ECC_NIST_P521": ec.SECP521R1,
    "ECC_SECG_P256K1": ec.SECP256K1,
}
RAW = {"SYMMETRIC_DEFAULT": 32, "HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
RSA = ("RSA_2048", "RSA_3072", "RSA_4096")
ED25519 = "ECC_NIST_EDWARDS25519"
ALL_SPECS = (*RAW, *RSA, *CURVES, ED25519)
NEVER = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}

_made: dict[str, bytes] = {}


def new_material(spec: str) -> bytes:
    """Random bytes, or a PKCS#8 private key. One RSA key a size serves all tests: making them is slow."""
    if spec in RAW:
        return os.urandom(RAW[spec])
    if spec in _made:
        return _made[spec]
    key: Any
    if spec in RSA:
        key = rsa.generate_private_key(65537, int(spec[4:]))
    elif spec in CURVES:
        key = ec.generate_private_key(CURVES[spec]())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    material: bytes = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if spec in RSA:
        _made[spec] = material
    return material


def public_key(material: bytes) -> bytes:
    """The DER public key of a PKCS#8 private key."""
    key = serialization.load_der_private_key(material, None)
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def seal(material: bytes, wrapping_key: bytes, algorithm: str) -> bytes:
    public = serialization.load_der_public_key(wrapping_key)
    assert isinstance(public, rsa.RSAPublicKey)
    digest = hashes.SHA1() if algorithm.endswith("_1") else hashes.SHA256()  # noqa: S303 - KMS has it
    oaep = padding.OAEP(padding.MGF1(digest), digest, None)
    if algorithm in OAEP:
        return public.encrypt(material, oaep)
    aes = os.urandom(32)
    return public.encrypt(aes, oaep) + aes_key_wrap_with_padding(aes, material)


def strongest(spec: str) -> str:
    return "RSA_AES_KEY_WRAP_SHA_256" if spec in RSA else "RSAES_OAEP_SHA_256"


def parameters(kms: Any, key_id: str, algorithm: str, wrapping_spec: str = "RSA_2048") -> dict[str, Any]:
    answer: dict[str, Any] = kms.get_parameters_for_import(
        KeyId=key_id, WrappingAlgorithm=algorithm, WrappingKeySpec=wrapping_spec
    )
    return answer


def import_material(kms: Any, key_id: str, material: bytes, algorithm: str = OAEP[1], **fields: Any) -> dict[str, Any]:
    """Parameters, sealing and import; never expiring unless `fields` say otherwise."""
    given = parameters(kms, key_id, algorithm)
    sealed = seal(material, given["PublicKey"], algorithm)
    answer: dict[str, Any] = kms.import_key_material(
        KeyId=key_id, ImportToken=given["ImportToken"], EncryptedKeyMaterial=sealed, **(fields or NEVER)
    )
    return answer


def metadata(kms: Any, key_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    return answer


class Refusal:
    """What a refused call answered: `code`, `status`, `message`."""

    code: str
    status: int
    message: str

    def __repr__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class refused:  # noqa: N801 - reads like pytest.raises
    """`with refused("Code") as refusal:` expects an error answer of that code, by default HTTP 400."""

    def __init__(self, code: str, status: int = 400) -> None:
        self.code, self.status = code, status
        self.refusal = Refusal()
        self.raises = pytest.raises(ClientError)

    def __enter__(self) -> Refusal:
        self.info = self.raises.__enter__()
        return self.refusal

    def __exit__(self, *details: Any) -> bool:
        caught = self.raises.__exit__(*details)
        if not caught:
            return False
        response = self.info.value.response
        self.refusal.code = response["Error"]["Code"]
        self.refusal.status = response["ResponseMetadata"]["HTTPStatusCode"]
        self.refusal.message = response["Error"].get("Message", "")
        assert (self.refusal.code, self.refusal.status) == (self.code, self.status), self.refusal
        return True
