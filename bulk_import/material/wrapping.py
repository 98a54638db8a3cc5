"""How key material is sealed for its way to KMS: one table of algorithms, key specs and size limits.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-get-public-key-and-token.html#select-wrapping-algorithm
RSAES_PKCS1_V1_5 still is in the API's enum, but KMS refuses it since 2023-10-10. SM2PKE exists in the China
Regions only and is not in this version.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from bulk_import.errors import MaterialError, TargetError
from bulk_import.material import memory
from bulk_import.material.secret import Secret
from bulk_import.model import KeySpec, WrappingAlgorithm, WrappingKeySpec


class Family(Enum):
    """Key specs that KMS treats alike in wrapping."""

    BYTES = "SYMMETRIC_DEFAULT and HMAC material"
    RSA = "RSA private keys"
    ECC = "ECC private keys"

    @classmethod
    def of(cls, key_spec: KeySpec) -> Family:
        if not key_spec.asymmetric:
            return cls.BYTES
        return cls.RSA if key_spec.value.startswith("RSA_") else cls.ECC


@dataclass(frozen=True, slots=True)
class Wrapping:
    """One row. `hybrid`: an AES key travels under OAEP, and the material, of any size, under the AES key."""

    algorithm: WrappingAlgorithm
    digest: type[hashes.SHA1] | type[hashes.SHA256]  # of OAEP and of its MGF1
    hybrid: bool
    families: frozenset[Family]

    def capacity(self, wrapping_key_spec: WrappingKeySpec) -> int | None:
        """Bytes of material that fit: k - 2h - 2 (RFC 8017, 7.1.1). None: any that KMS takes."""
        return None if self.hybrid else RSA_BITS[wrapping_key_spec] // 8 - 2 * self.digest.digest_size - 2


_ALL: Final = frozenset(Family)
# Strongest first.
TABLE: Final = (
    Wrapping(WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_256, hashes.SHA256, True, _ALL - {Family.BYTES}),  # noqa: FBT003
    Wrapping(WrappingAlgorithm.RSAES_OAEP_SHA_256, hashes.SHA256, False, _ALL - {Family.RSA}),  # noqa: FBT003
    Wrapping(WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_1, hashes.SHA1, True, _ALL - {Family.BYTES}),  # noqa: FBT003
    Wrapping(WrappingAlgorithm.RSAES_OAEP_SHA_1, hashes.SHA1, False, _ALL - {Family.RSA}),  # noqa: FBT003
)
_ROWS: Final = {row.algorithm: row for row in TABLE}

RSA_BITS: Final = {
    WrappingKeySpec.RSA_2048: 2048,
    WrappingKeySpec.RSA_3072: 3072,
    WrappingKeySpec.RSA_4096: 4096,
}
# Sizes of PKCS#8 as every tool writes it, with the public point inside; RSA is never wrapped directly.
MATERIAL_BYTES: Final = {
    KeySpec.SYMMETRIC_DEFAULT: 32,
    KeySpec.HMAC_224: 28,
    KeySpec.HMAC_256: 32,
    KeySpec.HMAC_384: 48,
    KeySpec.HMAC_512: 64,
    KeySpec.ECC_NIST_P256: 138,
    KeySpec.ECC_NIST_P384: 185,
    KeySpec.ECC_NIST_P521: 241,
    KeySpec.ECC_SECG_P256K1: 135,
    KeySpec.ECC_NIST_EDWARDS25519: 48,
}


def default_algorithm(key_spec: KeySpec) -> WrappingAlgorithm:
    """The strongest that KMS allows for the key spec; it fits under every wrapping key spec."""
    return allowed(key_spec)[0]


@cache
def allowed(key_spec: KeySpec) -> tuple[WrappingAlgorithm, ...]:
    """What KMS allows for the key spec, the strongest first."""
    family = Family.of(key_spec)
    return tuple(row.algorithm for row in TABLE if family in row.families)


def refusal(key_spec: KeySpec, algorithm: WrappingAlgorithm | None, wrapping_key_spec: WrappingKeySpec) -> str | None:
    """Why KMS would not take this pair for this key spec; None where it would. `algorithm` None: the default."""
    row = _ROWS[algorithm or default_algorithm(key_spec)]
    family = Family.of(key_spec)
    if family not in row.families:
        return f"{row.algorithm} does not wrap {family.value}; {key_spec} takes {', '.join(allowed(key_spec))}"
    capacity = row.capacity(wrapping_key_spec)
    if capacity is not None and MATERIAL_BYTES[key_spec] > capacity:
        return (
            f"{row.algorithm} under {wrapping_key_spec} holds {capacity} bytes, and {key_spec} has "
            f"{MATERIAL_BYTES[key_spec]}: take a larger wrapping_key_spec or RSA_AES_KEY_WRAP_SHA_256"
        )
    return None


def seal(
    secret: Secret, *, public_key: bytes, algorithm: WrappingAlgorithm, wrapping_key_spec: WrappingKeySpec
) -> bytes:
    """The EncryptedKeyMaterial of ImportKeyMaterial.

    `public_key`: the wrapping key as GetParametersForImport gave it, DER SubjectPublicKeyInfo. It must be RSA of
    exactly the size that was asked for: sealing to any other key would hand the material to somebody else.
    OAEP: RFC 8017 with MGF1 of the same hash and no label. Hybrid: OAEP(random AES-256 key), then AES-KWP
    (RFC 5649) of the material under that key. About 0.1 ms, parsing of the public key included.
    Raises TargetError: WrappingNotAllowed (too large for the algorithm), InvalidWrappingKey.
    """
    row = _ROWS[algorithm]
    capacity = row.capacity(wrapping_key_spec)
    if capacity is not None and len(secret) > capacity:
        raise TargetError(
            f"the material has {len(secret)} bytes; {algorithm} under {wrapping_key_spec} holds {capacity}",
            code="WrappingNotAllowed",
        )
    wrapping_key = _wrapping_key(public_key, wrapping_key_spec)
    oaep = padding.OAEP(padding.MGF1(row.digest()), row.digest(), None)
    with secret.view() as view:
        if not row.hybrid:
            with memory.lent(view) as plaintext:
                return wrapping_key.encrypt(plaintext, oaep)
        with memory.lent(memoryview(os.urandom(32))) as aes_key:
            return wrapping_key.encrypt(aes_key, oaep) + aes_key_wrap_with_padding(aes_key, view)


def check_sealed(sealed: bytes, algorithm: WrappingAlgorithm, wrapping_key_spec: WrappingKeySpec | None) -> None:
    """Whether EncryptedKeyMaterial can be what this algorithm makes. `wrapping_key_spec` None: any.

    Raises MaterialError (MaterialWrongLength).
    """
    sizes = [bits // 8 for spec, bits in RSA_BITS.items() if wrapping_key_spec in (None, spec)]
    fits = len(sealed) >= min(sizes) + 16 if _ROWS[algorithm].hybrid else len(sealed) in sizes
    if not fits:
        under = wrapping_key_spec or "any wrapping key"
        raise MaterialError(
            f"encrypted_key_material has {len(sealed)} bytes, which {algorithm} under {under} cannot have made",
            code="MaterialWrongLength",
            advice="Correct wrapping_algorithm or wrapping_key_spec (null: not known), or give the right file.",
        )


def check_wrapping_key(public_key: bytes, wrapping_key_spec: WrappingKeySpec) -> None:
    """For sources that seal by themselves. Raises TargetError (InvalidWrappingKey)."""
    _wrapping_key(public_key, wrapping_key_spec)


def _wrapping_key(public_key: bytes, wrapping_key_spec: WrappingKeySpec) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        _invalid_key("is not an RSA public key")
    if key.key_size != RSA_BITS[wrapping_key_spec]:
        _invalid_key(f"has {key.key_size} bits, and {wrapping_key_spec} was asked for")
    return key


def _invalid_key(what: str) -> NoReturn:
    raise TargetError(
        f"the wrapping key that GetParametersForImport gave {what}",
        code="InvalidWrappingKey",
        operation="GetParametersForImport",
    )
