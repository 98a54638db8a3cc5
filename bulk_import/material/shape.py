"""Whether key material has the form that its key spec asks for.

What KMS takes, for each key spec:
https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-conceptual.html#importing-keys-material-requirements
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bulk_import.errors import MaterialError
from bulk_import.material import der, recipes
from bulk_import.material.cause import Cause
from bulk_import.material.secret import Secret
from bulk_import.model import KeySpec

LENGTHS: Final = {
    KeySpec.SYMMETRIC_DEFAULT: 32,
    KeySpec.HMAC_224: 28,
    KeySpec.HMAC_256: 32,
    KeySpec.HMAC_384: 48,
    KeySpec.HMAC_512: 64,
}

_Read = TypeVar("_Read")

_RSA: Final = bytes.fromhex("300d06092a864886f70d0101010500")  # rsaEncryption, NULL (RFC 8017, A.1)
# The AlgorithmIdentifier of each key spec, in DER. It alone says that a curve is a named one (RFC 5915, RFC 8410):
# `cryptography` also reads explicit parameters where they equal a named curve's.
_ALGORITHMS: Final = {
    KeySpec.RSA_2048: _RSA,
    KeySpec.RSA_3072: _RSA,
    KeySpec.RSA_4096: _RSA,
    KeySpec.ECC_NIST_P256: bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107"),
    KeySpec.ECC_NIST_P384: bytes.fromhex("301006072a8648ce3d020106052b81040022"),
    KeySpec.ECC_NIST_P521: bytes.fromhex("301006072a8648ce3d020106052b81040023"),
    KeySpec.ECC_SECG_P256K1: bytes.fromhex("301006072a8648ce3d020106052b8104000a"),
    KeySpec.ECC_NIST_EDWARDS25519: bytes.fromhex("300506032b6570"),
}
_RSA_BITS: Final = {KeySpec.RSA_2048: 2048, KeySpec.RSA_3072: 3072, KeySpec.RSA_4096: 4096}

# What KMS cannot take, by the beginning of its AlgorithmIdentifier's content: name, and what to do.
_EC: Final = bytes.fromhex("06072a8648ce3d0201")
_RSA_OID: Final = bytes.fromhex("06092a864886f70d010101")
_OTHERS: Final = {
    bytes.fromhex("06092a864886f70d01010a"): Cause("an RSA-PSS key", recipes.RSA_PSS),
    bytes.fromhex("06032b656e"): Cause("an X25519 key", "KMS imports no such key."),
    bytes.fromhex("06032b656f"): Cause("an X448 key", "KMS imports no such key."),
    bytes.fromhex("06032b6571"): Cause("an Ed448 key", "KMS imports no such key."),
    bytes.fromhex("06072a8648ce380401"): Cause("a DSA key", "KMS imports no such key."),
    bytes.fromhex("06092a864886f70d010301"): Cause("a Diffie-Hellman key", "KMS imports no such key."),
}
_CURVES: Final = {
    bytes.fromhex("06052b81040021"): "secp224r1",
    bytes.fromhex("06082a8648ce3d030101"): "secp192r1",
    bytes.fromhex("06092b2403030208010107"): "brainpoolP256r1",
    bytes.fromhex("06092b240303020801010b"): "brainpoolP384r1",
    bytes.fromhex("06092b240303020801010d"): "brainpoolP512r1",
    bytes.fromhex("06082a811ccf5501822d"): "SM2",
}


def check(secret: Secret, key_spec: KeySpec) -> None:
    """Returns where `secret` is material of `key_spec`; says nothing about which key it is.

    AES and HMAC: the exact length, and not one byte repeated. RSA and ECC: one unencrypted private key in PKCS#8
    DER (RFC 5208), of exactly this size or curve, with nothing after it, whose numbers belong together.
    Raises MaterialError: MaterialWrongLength, MaterialInvalid.
    """
    with secret.view() as view:
        if key_spec.asymmetric:
            _check_private_key(view, key_spec)
        else:
            _check_bytes(view, key_spec)


def _check_bytes(view: memoryview, key_spec: KeySpec) -> None:
    wanted = LENGTHS[key_spec]
    if len(view) != wanted:
        raise MaterialError(
            f"{key_spec} takes {wanted} bytes of material; this has {len(view)}{_guess(len(view), wanted)}",
            code="MaterialWrongLength",
        )
    if view == bytes(view[:1]) * wanted:
        _refuse("the material is one byte repeated: that is not a key", advice="Give material from a random source.")
    # An Ed25519 key as PKCS#8 has 48 bytes like HMAC_384, which would take it, and keep it forever.
    if view[:5] == bytes([der.SEQUENCE, wanted - 2, der.INTEGER, 1, 0]):
        _refuse(f"the material is a private key in PKCS#8; {key_spec} takes plain bytes")


def _guess(length: int, wanted: int) -> str:
    """What a wrong length looks like, by its number alone."""
    if length in (2 * wanted, 2 * wanted + 1):
        return f": the length of {wanted} bytes in hex"
    if length - 4 * ((wanted + 2) // 3) in (0, 1):
        return f": the length of {wanted} bytes in base64"
    if length in (wanted + 1, wanted + 2):
        return ": a trailing newline, perhaps"
    return ""


def _check_private_key(view: memoryview, key_spec: KeySpec) -> None:
    algorithm = der.algorithm_of(view, key_spec)
    wanted = _ALGORITHMS[key_spec]
    if algorithm != wanted:
        found = sorted({spec.value for spec, known in _ALGORITHMS.items() if known == algorithm})
        if found:
            advice = "Correct key_spec, or give the file of this key."
            _refuse(f"{key_spec} is needed; this private key is {' or '.join(found)}", advice=advice)
        other = _other(algorithm)
        _refuse(f"{key_spec} is needed; this private key is {other.what}", advice=other.advice)
    key = _quietly(
        lambda: serialization.load_der_private_key(view, None, unsafe_skip_rsa_key_validation=True),
    )
    if key is None and algorithm == _RSA and der.multi_prime(view):
        _refuse("this is a multi-prime RSA key; KMS accepts keys of two primes only", advice=recipes.MULTI_PRIME)
    if key is None:
        _refuse("this PKCS#8 private key cannot be read, or its parts do not belong together", advice=recipes.PKCS8)
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size != _RSA_BITS[key_spec]:
            _refuse(
                f"{key_spec} is needed; this RSA key has {key.key_size} bits",
                advice="Correct key_spec, or give the file of this key.",
            )
        if not _quietly(lambda: _rsa_holds_together(key)):
            _refuse("the numbers of this RSA key do not belong together: it is damaged")


def _other(algorithm: bytes) -> Cause:
    """A key whose AlgorithmIdentifier is none of KMS's."""
    content = bytes((der.values(memoryview(algorithm)) or [])[0].content)
    if known := next((cause for oid, cause in _OTHERS.items() if content.startswith(oid)), None):
        return known
    if content.startswith(_RSA_OID):
        return Cause("an RSA key whose algorithm has no NULL parameter, or another one", recipes.PKCS8)
    curve = content.removeprefix(_EC)
    if curve != content and curve[:1] == bytes([der.SEQUENCE]):
        return Cause("an EC key with explicit parameters; KMS accepts named curves only", recipes.NAMED_CURVE)
    if curve != content:
        name = _CURVES.get(curve)
        return Cause(f"on the curve {name}" if name else "on another curve", "KMS imports no key of this curve.")
    return Cause("of another algorithm", "KMS imports RSA, NIST, secp256k1 and Ed25519 keys.")


def _rsa_holds_together(key: rsa.RSAPrivateKey) -> bool:
    """Whether n = p·q, all exponents fit, and p and q are prime as far as one signature shows.

    `cryptography`'s own check repeats the primality test of p and q many times: 250 ms for RSA_4096, with the
    interpreter locked. Its many rounds are there for keys of adversaries. Here the owner hands in a key and damage
    is what must be found: signing a random message raises a random number to e·d modulo p and q, which is Fermat's
    test of both, and damaged primes do not survive it. It takes 3 ms.
    """
    private = key.private_numbers()
    n, e, p, q, d = private.public_numbers.n, private.public_numbers.e, private.p, private.q, private.d
    fits = (
        p * q == n
        and p != q
        and p & q & 1
        and min(p, q).bit_length() * 4 > n.bit_length()  # no factor is trivially small
        and all(e * d % (prime - 1) == 1 for prime in (p, q))
        and (private.dmp1, private.dmq1) == (d % (p - 1), d % (q - 1))
        and private.iqmp * q % p == 1
    )
    if not fits:
        return False
    message = os.urandom(32)
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    key.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    return True


def _quietly(reading: Callable[[], _Read]) -> _Read | None:
    """None where `cryptography` refuses, so that its exception is gone before ours is raised, context and all."""
    try:
        return reading()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, InternalError):
        return None


def _refuse(message: str, *, advice: str | None = None) -> NoReturn:
    raise MaterialError(message, code="MaterialInvalid", advice=advice)
