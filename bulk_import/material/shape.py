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

_INTEGER, _BIT_STRING, _OCTET_STRING, _SEQUENCE = 0x02, 0x03, 0x04, 0x30
# What else people hand in, by the first two values inside the outer SEQUENCE.
_FORMS: Final[dict[tuple[int, ...], str]] = {
    (_SEQUENCE, _OCTET_STRING): "an encrypted private key",
    (_SEQUENCE, _BIT_STRING): "a public key",
    (_SEQUENCE, _SEQUENCE): "a certificate",
    (_INTEGER, _INTEGER): "an RSA key in its traditional form (PKCS#1)",
    (_INTEGER, _OCTET_STRING): "an EC key in its traditional form (SEC 1)",
    (_INTEGER, _SEQUENCE): "a PKCS#12 file",
}
_REWRITE: Final = "Write it anew: openssl pkcs8 -topk8 -nocrypt -in KEY -outform DER -out KEY.der"


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
        _refuse("the material is one byte repeated: that is no key", advice="Give material from a random source.")
    # An Ed25519 key as PKCS#8 has 48 bytes like HMAC_384, which would take it, and keep it for ever.
    if view[:5] == bytes([_SEQUENCE, wanted - 2, _INTEGER, 1, 0]):
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
    algorithm = _algorithm_of(view)
    wanted = _ALGORITHMS[key_spec]
    if algorithm != wanted:
        found = sorted({spec.value for spec, known in _ALGORITHMS.items() if known == algorithm})
        what = " or ".join(found) if found else "another algorithm, or a curve that is not a named one of KMS"
        _refuse(f"{key_spec} is wanted; this private key is {what}")
    key = _quietly(
        lambda: serialization.load_der_private_key(view, None, unsafe_skip_rsa_key_validation=True),
    )
    if key is None:
        _refuse("this PKCS#8 private key cannot be read, or its parts do not belong together", advice=_REWRITE)
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size != _RSA_BITS[key_spec]:
            _refuse(f"{key_spec} is wanted; this RSA key has {key.key_size} bits")
        if not _quietly(lambda: _rsa_holds_together(key)):
            _refuse("the numbers of this RSA key do not belong together: it is damaged")


def _algorithm_of(view: memoryview) -> bytes:
    """The AlgorithmIdentifier, after checking the outer form: PrivateKeyInfo (RFC 5208, 5), nothing around it."""
    form = _elements(view)
    if form is None or len(form) != 1 or form[0][0] != _SEQUENCE:
        _refuse("this is not one DER value: it is damaged, cut, or has bytes after its end", advice=_REWRITE)
    parts = _elements(form[0][1]) or []
    kinds = tuple(tag for tag, _, _ in parts)
    if kinds[:3] != (_INTEGER, _SEQUENCE, _OCTET_STRING):
        _refuse(f"PKCS#8 is wanted; this is {_FORMS.get(kinds[:2], 'something else')}", advice=_REWRITE)
    if len(parts) > 3 or bytes(parts[0][1]) != b"\0":
        _refuse("this PKCS#8 holds more than the private key (attributes, or a public key beside it)", advice=_REWRITE)
    return bytes(parts[1][2])


def _elements(view: memoryview) -> list[tuple[int, memoryview, memoryview]] | None:
    """The DER values in `view`, one after the other: (tag, content, the whole). None where they are not DER."""
    found = []
    while view:
        if len(view) < 2:
            return None
        size, start = view[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(view[2:start], "big")
            # DER (X.690, 10.1) allows the shortest form of a length only; 64 KiB is more than any source gives.
            if not 3 <= start <= 5 or size < 0x80 or (start > 3 and view[2] == 0):
                return None
        if len(view) < start + size:
            return None
        found.append((view[0], view[start : start + size], view[: start + size]))
        view = view[start + size :]
    return found


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
