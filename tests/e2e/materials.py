"""Key material of every spec, and how a separate client sees that KMS really holds it.

Nothing of the product is used here: an error of its own checks must not hide itself.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

HMAC_LENGTHS = {"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
CURVES: dict[str, tuple[type[ec.EllipticCurve], str, hashes.HashAlgorithm]] = {
    "ECC_NIST_P256": (ec.SECP256R1, "ECDSA_SHA_256", hashes.SHA256()),
    "ECC_NIST_P384": (ec.SECP384R1, "ECDSA_SHA_384", hashes.SHA384()),
    "ECC_NIST_P521": (ec.SECP521R1, "ECDSA_SHA_512", hashes.SHA512()),
    "ECC_SECG_P256K1": (ec.SECP256K1, "ECDSA_SHA_256", hashes.SHA256()),
}
RSA_BITS = {"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}
ED25519 = "ECC_NIST_EDWARDS25519"
ALL_SPECS = ("SYMMETRIC_DEFAULT", *HMAC_LENGTHS, *RSA_BITS, *CURVES, ED25519)
MESSAGE = b"a message that nobody has signed before"

_rsa_keys: dict[int, rsa.RSAPrivateKey] = {}  # making one costs up to 0.4 s; tests share them


def make(spec: str) -> bytes:
    """Fresh key material as KMS wants it: raw bytes, or PKCS#8 DER."""
    if spec == "SYMMETRIC_DEFAULT":
        return os.urandom(32)
    if spec in HMAC_LENGTHS:
        return os.urandom(HMAC_LENGTHS[spec])
    return _private_key(spec).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def usage(spec: str) -> str:
    if spec == "SYMMETRIC_DEFAULT":
        return "ENCRYPT_DECRYPT"
    return "GENERATE_VERIFY_MAC" if spec in HMAC_LENGTHS else "SIGN_VERIFY"


def held_by(kms: Any, key_id: str, spec: str, material: bytes) -> bool:
    """Whether KMS's key computes what this material computes. Symmetric: only that it works (nothing shows bytes)."""
    if spec == "SYMMETRIC_DEFAULT":
        sealed = kms.encrypt(KeyId=key_id, Plaintext=MESSAGE)["CiphertextBlob"]
        return bool(kms.decrypt(KeyId=key_id, CiphertextBlob=sealed)["Plaintext"] == MESSAGE)
    if spec in HMAC_LENGTHS:
        bits = spec.removeprefix("HMAC_")
        mac = kms.generate_mac(KeyId=key_id, Message=MESSAGE, MacAlgorithm=f"HMAC_SHA_{bits}")["Mac"]
        return hmac.compare_digest(mac, hmac.digest(material, MESSAGE, f"sha{bits}"))
    private = serialization.load_der_private_key(material, None)
    ours = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return bool(kms.get_public_key(KeyId=key_id)["PublicKey"] == ours) and _signs(kms, key_id, spec, private)


def _signs(kms: Any, key_id: str, spec: str, private: Any) -> bool:
    """A signature of KMS's verifies under our public key (raises InvalidSignature where it does not)."""
    public = private.public_key()
    if spec in RSA_BITS:
        signature = _signature(kms, key_id, "RSASSA_PKCS1_V1_5_SHA_256")
        public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    elif spec == ED25519:
        public.verify(_signature(kms, key_id, "ED25519_SHA_512"), MESSAGE)
    else:
        _, algorithm, digest = CURVES[spec]
        public.verify(_signature(kms, key_id, algorithm), MESSAGE, ec.ECDSA(digest))
    return True


def _signature(kms: Any, key_id: str, algorithm: str) -> bytes:
    answer = kms.sign(KeyId=key_id, Message=MESSAGE, MessageType="RAW", SigningAlgorithm=algorithm)
    return bytes(answer["Signature"])


def _private_key(spec: str) -> Any:
    if spec in CURVES:
        return ec.generate_private_key(CURVES[spec][0]())
    if spec == ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    bits = RSA_BITS[spec]
    if bits not in _rsa_keys:
        _rsa_keys[bits] = rsa.generate_private_key(65537, bits)
    return _rsa_keys[bits]


def sha256(material: bytes) -> str:
    return hashlib.sha256(material).hexdigest()
