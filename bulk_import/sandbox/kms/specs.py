"""One table of key specs: what each is for, its algorithms, and what its key material must look like.

https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html
https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-conceptual.html
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SYMMETRIC = "SYMMETRIC_DEFAULT"
OAEP = ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")
HYBRID = ("RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256")
RSA_SIGNING = tuple(f"RSASSA_{pad}_SHA_{bits}" for pad in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512))
ENCRYPT, SIGN, MAC, AGREE = "ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"


@dataclass(frozen=True, slots=True)
class Spec:
    """A key spec. `raw_length`: bytes of a symmetric or HMAC key; None: the material is PKCS#8 DER."""

    name: str
    usages: tuple[str, ...]
    wrapping: tuple[str, ...]
    raw_length: int | None = None
    mac: tuple[str, ...] = ()
    signing: tuple[str, ...] = ()
    encryption: tuple[str, ...] = ()
    rsa_bits: int = 0
    curve: type[ec.EllipticCurve] | None = None
    quota: str = "symmetric"  # which of KMS's shared cryptographic quotas counts its use

    @property
    def symmetric(self) -> bool:
        return self.name == SYMMETRIC

    @property
    def kind(self) -> str:
        """symmetric, hmac or asymmetric."""
        if self.symmetric:
            return "symmetric"
        return "hmac" if self.mac else "asymmetric"


def _ecc(name: str, curve: type[ec.EllipticCurve], bits: int, usages: tuple[str, ...] = (SIGN, AGREE)) -> Spec:
    signing = (f"ECDSA_SHA_{bits}",)
    return Spec(name, usages, OAEP + HYBRID, signing=signing, curve=curve, quota="ecc")


def _rsa(bits: int) -> Spec:
    name = f"RSA_{bits}"
    return Spec(name, (ENCRYPT, SIGN), HYBRID, signing=RSA_SIGNING, encryption=OAEP, rsa_bits=bits, quota="rsa")


_ED25519 = Spec(
    "ECC_NIST_EDWARDS25519",
    (SIGN,),
    OAEP + HYBRID,
    signing=("ED25519_SHA_512", "ED25519_PH_SHA_512"),
    quota="ecc",
)
SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(SYMMETRIC, (ENCRYPT,), OAEP, raw_length=32, encryption=(SYMMETRIC,)),
        *(Spec(f"HMAC_{n}", (MAC,), OAEP, raw_length=n // 8, mac=(f"HMAC_SHA_{n}",)) for n in (224, 256, 384, 512)),
        *map(_rsa, (2048, 3072, 4096)),
        _ecc("ECC_NIST_P256", ec.SECP256R1, 256),
        _ecc("ECC_NIST_P384", ec.SECP384R1, 384),
        _ecc("ECC_NIST_P521", ec.SECP521R1, 512),
        _ecc("ECC_SECG_P256K1", ec.SECP256K1, 256, (SIGN,)),
        _ED25519,
    )
}


def material_fits(spec: Spec, material: bytes) -> bool:
    """Whether `material` is a key of `spec`: the exact length, or PKCS#8 DER of the right kind and size."""
    if spec.raw_length is not None:
        return len(material) == spec.raw_length
    if not _is_plain_pkcs8(material):
        return False
    try:
        key = serialization.load_der_private_key(material, None)
    except (ValueError, TypeError):
        return False
    except Exception as error:  # noqa: BLE001 - cryptography's UnsupportedAlgorithm and OpenSSL's own: no key either
        del error
        return False
    if spec.rsa_bits:
        return isinstance(key, rsa.RSAPrivateKey) and key.key_size == spec.rsa_bits
    if spec.curve:
        return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, spec.curve)
    return isinstance(key, ed25519.Ed25519PrivateKey)


def _is_plain_pkcs8(der: bytes) -> bool:
    """RFC 5208's outer frame: one SEQUENCE that spans all bytes, version 0, then an AlgorithmIdentifier.

    So PKCS#1, SEC 1, encrypted keys and trailing bytes are distinguished before a tolerant parser sees them.
    """
    if len(der) < 8 or der[0] != 0x30:
        return False
    if der[1] < 0x80:
        start, length = 2, der[1]
    else:
        size = der[1] & 0x7F
        start, length = 2 + size, int.from_bytes(der[2 : 2 + size], "big")
    return start + length == len(der) and der[start : start + 4] == b"\x02\x01\x00\x30"


def new_material(spec: Spec) -> bytes:
    """Material as KMS makes it for a key of origin AWS_KMS."""
    if spec.raw_length is not None:
        return os.urandom(spec.raw_length)
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if spec.rsa_bits:
        key = rsa.generate_private_key(65537, spec.rsa_bits)
    elif spec.curve:
        key = ec.generate_private_key(spec.curve())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
