"""What stays after the key material is wiped, to prove which bytes KMS holds."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC

from bulk_import.material.keys import public_key_of
from bulk_import.material.secret import Secret
from bulk_import.model import CheckValue, KeySpec

# https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html
_MACS: Final[dict[KeySpec, tuple[str, hashes.HashAlgorithm]]] = {
    KeySpec.HMAC_224: ("HMAC_SHA_224", hashes.SHA224()),
    KeySpec.HMAC_256: ("HMAC_SHA_256", hashes.SHA256()),
    KeySpec.HMAC_384: ("HMAC_SHA_384", hashes.SHA384()),
    KeySpec.HMAC_512: ("HMAC_SHA_512", hashes.SHA512()),
}


def mac_algorithm_of(key_spec: KeySpec) -> str:
    """GenerateMac's MacAlgorithm for an HMAC key spec."""
    return _MACS[key_spec][0]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The local half of a proof. Holds no key material, and may outlive it.

    HMAC keys: `message` and `mac_algorithm` are GenerateMac's parameters, `mac` is the answer of the right key.
    RSA and ECC keys: `public_key`, DER SubjectPublicKeyInfo. SYMMETRIC_DEFAULT: `material_check`, which shows whether a
    source still holds what was imported; that KMS holds it, KeyMaterialId proves.
    What does not belong to the key spec is empty, and matches nothing. `remark`: what could not be compared at the
    source, for the verification's detail; empty if nothing. `spki_sha256`: of the public key, in hex, where the key
    itself is not known. `hmac_check`: HMAC keys' counterpart of material_check. `sealed_sha256`: of what was sealed
    before the run, in hex.
    """

    key_spec: KeySpec
    message: bytes = b""
    mac_algorithm: str = ""
    mac: bytes = field(default=b"", repr=False)
    public_key: bytes = field(default=b"", repr=False)
    material_check: str = ""
    remark: str = ""
    spki_sha256: str = ""
    hmac_check: str = ""
    sealed_sha256: str = ""

    @classmethod
    def prepare(cls, secret: Secret, key_spec: KeySpec, key_arn: str = "") -> Self:
        """From material that `shape.check` has passed. The message is random, so that no answer can be replayed.

        `key_arn`: the key that the material is for; without it, there is neither material_check nor hmac_check.
        """
        if key_spec.asymmetric:
            return cls(key_spec, public_key=public_key_of(secret))
        if not key_spec.hmac:
            return cls(key_spec, material_check=material_check(secret, key_arn) if key_arn else "")
        mac_algorithm, digest = _MACS[key_spec]
        message = os.urandom(32)
        with secret.view() as view:
            context = HMAC(view, digest)
        context.update(message)
        check = hmac_check(secret, key_arn) if key_arn else ""
        return cls(key_spec, message=message, mac_algorithm=mac_algorithm, mac=context.finalize(), hmac_check=check)

    def check_value(self) -> CheckValue:
        """What shows later that a source still holds the same material."""
        if self.sealed_sha256:
            return CheckValue("sealed_sha256", self.sealed_sha256)
        if self.key_spec.asymmetric:
            spki = self.spki_sha256 or (hashlib.sha256(self.public_key).hexdigest() if self.public_key else None)
            return CheckValue("spki_sha256", spki)
        if self.key_spec.hmac:
            return CheckValue("hmac_check", self.hmac_check or None)
        return CheckValue("material_check", self.material_check or None)

    def mac_matches(self, mac: bytes) -> bool:
        """Whether GenerateMac's answer to `message` is the right key's. In constant time. False without a MAC here."""
        return bool(self.mac) and hmac.compare_digest(self.mac, mac)

    def public_key_matches(self, der: bytes) -> bool:
        """Whether GetPublicKey's answer is the same key. Keys are compared, not encodings of them: one key has
        several (compressed points, absent parameters). False for what is no public key, and without one here.
        """
        found = _canonical(der)
        if self.spki_sha256:
            return found is not None and hashlib.sha256(found).hexdigest() == self.spki_sha256
        return bool(self.public_key) and self.public_key == found


def material_check(secret: Secret, key_arn: str) -> str:
    """The first 8 bytes, in hex, of AES-CMAC (RFC 4493), keyed with the material, over `bulk-import:` and the ARN.

    Anyone who has it can confirm a guess of the material, so it is safe for random material only.
    """
    with secret.view() as view:
        context = CMAC(AES(view))
    context.update(checked_text(key_arn).encode())
    return context.finalize()[:8].hex()


def hmac_check(secret: Secret, key_arn: str) -> str:
    """The first 8 bytes, in hex, of HMAC-SHA-256 (RFC 2104), keyed with the material, over the same text."""
    with secret.view() as view:
        context = HMAC(view, hashes.SHA256())
    context.update(checked_text(key_arn).encode())
    return context.finalize()[:8].hex()


def checked_text(key_arn: str) -> str:
    """What the check values are computed over."""
    return f"bulk-import:{key_arn}"


def _canonical(der: bytes) -> bytes | None:
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
