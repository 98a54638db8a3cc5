"""Key material of every spec, and how a separate client sees that KMS really holds it.

Nothing of the product is used here: an error of its own checks must not hide itself.
"""

from __future__ import annotations

import hmac
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.sandbox.helpers import ALL_SPECS, ED25519, RSA, public_key
from tests.sandbox.helpers import new_material as make

__all__ = ["ALL_SPECS", "held_by", "make", "usage"]

HMAC_SPECS = ("HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512")
SIGNING = {
    "ECC_NIST_P256": ("ECDSA_SHA_256", hashes.SHA256()),
    "ECC_NIST_P384": ("ECDSA_SHA_384", hashes.SHA384()),
    "ECC_NIST_P521": ("ECDSA_SHA_512", hashes.SHA512()),
    "ECC_SECG_P256K1": ("ECDSA_SHA_256", hashes.SHA256()),
}
MESSAGE = b"a message that nobody has signed before"


def usage(spec: str) -> str:
    if spec == "SYMMETRIC_DEFAULT":
        return "ENCRYPT_DECRYPT"
    return "GENERATE_VERIFY_MAC" if spec in HMAC_SPECS else "SIGN_VERIFY"


def held_by(kms: Any, key_id: str, spec: str, material: bytes) -> bool:
    """Whether KMS's key computes what this material computes. Symmetric: only that it works (nothing shows bytes)."""
    if spec == "SYMMETRIC_DEFAULT":
        sealed = kms.encrypt(KeyId=key_id, Plaintext=MESSAGE)["CiphertextBlob"]
        return bool(kms.decrypt(KeyId=key_id, CiphertextBlob=sealed)["Plaintext"] == MESSAGE)
    if spec in HMAC_SPECS:
        bits = spec.removeprefix("HMAC_")
        mac = kms.generate_mac(KeyId=key_id, Message=MESSAGE, MacAlgorithm=f"HMAC_SHA_{bits}")["Mac"]
        return hmac.compare_digest(mac, hmac.digest(material, MESSAGE, f"sha{bits}"))
    private = serialization.load_der_private_key(material, None)
    return bool(kms.get_public_key(KeyId=key_id)["PublicKey"] == public_key(material)) and _signs(
        kms, key_id, spec, private
    )


def _signs(kms: Any, key_id: str, spec: str, private: Any) -> bool:
    """A signature of KMS's verifies under our public key (raises InvalidSignature where it does not)."""
    public = private.public_key()
    if spec in RSA:
        signature = _signature(kms, key_id, "RSASSA_PKCS1_V1_5_SHA_256")
        public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    elif spec == ED25519:
        public.verify(_signature(kms, key_id, "ED25519_SHA_512"), MESSAGE)
    else:
        algorithm, digest = SIGNING[spec]
        public.verify(_signature(kms, key_id, algorithm), MESSAGE, ec.ECDSA(digest))
    return True


def _signature(kms: Any, key_id: str, algorithm: str) -> bytes:
    answer = kms.sign(KeyId=key_id, Message=MESSAGE, MessageType="RAW", SigningAlgorithm=algorithm)
    return bytes(answer["Signature"])
