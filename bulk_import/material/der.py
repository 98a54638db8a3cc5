"""The outer form of private keys in DER: PKCS#8 (RFC 5208, RFC 5958), and what people hand in instead."""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bulk_import.errors import MaterialError
from bulk_import.material import recipes
from bulk_import.material.ambiguity import reads_as_text
from bulk_import.material.cause import Cause, kind_of_text
from bulk_import.model import KeySpec

INTEGER, BIT_STRING, OCTET_STRING, SEQUENCE = 0x02, 0x03, 0x04, 0x30
ED25519: Final = bytes.fromhex("300506032b6570")  # its AlgorithmIdentifier (RFC 8410)
_VERSION_1: Final = bytes.fromhex("302e020100300506032b657004220420")  # of an Ed25519 key in PKCS#8, before the seed

# What else people hand in, by the first two values inside the outer SEQUENCE.
_FORMS: Final[dict[tuple[int, ...], Cause]] = {
    (SEQUENCE, OCTET_STRING): Cause("an encrypted private key", recipes.ENCRYPTED),
    (SEQUENCE, BIT_STRING): Cause("a public key", "Give the private key."),
    (SEQUENCE, SEQUENCE): Cause("a certificate", "Give the private key."),
    (INTEGER, INTEGER): Cause("an RSA key in its traditional form (PKCS#1)", recipes.PKCS8),
    (INTEGER, OCTET_STRING): Cause("an EC key in its traditional form (SEC 1)", recipes.PKCS8),
    (INTEGER, SEQUENCE): Cause("a PKCS#12 file", recipes.PKCS12),
}
_MAGIC: Final = {
    b"\xfe\xed\xfe\xed": Cause("a Java keystore (JKS)", recipes.JAVA_KEYSTORE),
    b"\xce\xce\xce\xce": Cause("a Java keystore (JCEKS)", recipes.JAVA_KEYSTORE),
    b"openssh-key-v1\0": Cause("the body of an OpenSSH key", "Give the key's file as it is, with `encoding: pem`."),
    b"\x1f\x8b": Cause("a gzip file", "Unpack it first: gzip -dc KEY > KEY.key"),
    b"PK\x03\x04": Cause("a ZIP file", "Unpack it first."),
}


class Value(NamedTuple):
    """One DER value: its tag, its content, and all of it."""

    tag: int
    content: memoryview
    complete: memoryview


def values(view: memoryview) -> list[Value] | None:
    """The DER values in `view`, one after the other. None where they are not DER."""
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
        found.append(Value(view[0], view[start : start + size], view[: start + size]))
        view = view[start + size :]
    return found


def inside(view: memoryview) -> list[Value] | None:
    """The values inside the one SEQUENCE that `view` is; None where it is anything else."""
    outer = values(view)
    if outer is None or len(outer) != 1 or outer[0].tag != SEQUENCE:
        return None
    return values(outer[0].content) or []


def algorithm_of(view: memoryview, key_spec: KeySpec) -> bytes:
    """The AlgorithmIdentifier, after checking the outer form: PrivateKeyInfo (RFC 5208, 5), nothing around it.

    Raises MaterialError (MaterialInvalid) that says what `view` is instead.
    """
    parts = inside(view)
    if parts is None:
        _not_der(view, key_spec)
    kinds = tuple(part.tag for part in parts)
    if kinds[:3] != (INTEGER, SEQUENCE, OCTET_STRING):
        form = _FORMS.get(kinds[:2], Cause("something else", recipes.PKCS8))
        if kinds[:2] == (INTEGER, INTEGER) and bytes(parts[0].content) == b"\1":
            form = Cause("a multi-prime RSA key in its traditional form", recipes.MULTI_PRIME)
        _refuse(f"PKCS#8 is needed; this is {form.what}", form.advice)
    if len(parts) > 3 or bytes(parts[0].content) != b"\0":
        _refuse("this PKCS#8 holds more than the private key (attributes, or a public key next to it)", recipes.PKCS8)
    return bytes(parts[1].complete)


def multi_prime(view: memoryview) -> bool:
    """Whether a PKCS#8 key of RSA has more than two primes (RFC 8017, A.1.2: its inner version is 1)."""
    parts = inside(view) or []
    numbers = inside(parts[2].content) if len(parts) > 2 else None
    return bool(numbers) and numbers is not None and bytes(numbers[0].content) == b"\1"


def to_version_1(material: bytearray) -> None:
    """Makes an Ed25519 key in version 2 of PKCS#8 (with its public key, RFC 5958) one of version 1, in place.

    KMS takes the private key only. Java, libsodium's and Rust's libraries write version 2, and openssl reads it
    only from 3.2 on. Other material stays as it is. Raises MaterialError where the public key is another key's.
    """
    with memoryview(material) as view:
        seed = _seed_of_version_2(view)
    if seed is None:
        return
    material[:] = bytes(len(material))
    material[:] = _VERSION_1 + seed


def _seed_of_version_2(view: memoryview) -> bytes | None:
    parts = inside(view) or []
    if [part.tag for part in parts[:3]] != [INTEGER, SEQUENCE, OCTET_STRING] or len(parts) < 4:
        return None
    if bytes(parts[0].content) != b"\1" or bytes(parts[1].complete) != ED25519:
        return None
    public = [bytes(part.content) for part in parts[3:] if part.tag in (0x81, 0xA1)]
    inner = values(parts[2].content)
    if not inner or len(inner) != 1 or inner[0].tag != OCTET_STRING or len(inner[0].content) != 32:
        return None
    seed = bytes(inner[0].content)
    own = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )  # fmt: skip
    if any(not key.endswith(own) for key in public):
        _refuse("the public key inside this PKCS#8 is not that of its private key: it is damaged", "Export it again.")
    return seed


def _not_der(view: memoryview, key_spec: KeySpec) -> NoReturn:
    start = bytes(view[:16])
    known = next((form for magic, form in _MAGIC.items() if start.startswith(magic)), None)
    if known is not None:
        _refuse(f"PKCS#8 is needed; this is {known.what}", known.advice)
    if b"-----BEGIN " in bytes(view[:4096]):
        _refuse("PKCS#8 in DER is needed; this is PEM", "Specify `encoding: pem`; if it is encoded twice, decode once.")
    if frame := recipes.bare(len(view), key_spec):
        _refuse(f"PKCS#8 is needed; this is {len(view)} bytes without any structure", frame)
    if reads_as_text(view):
        _refuse(f"PKCS#8 in DER is needed; this is text{kind_of_text(view)}", "Check `encoding`.")
    _refuse("this is not one DER value: it is damaged, cut, or has bytes after its end", "Copy or export it again.")


def _refuse(message: str, advice: str) -> NoReturn:
    raise MaterialError(message, code="MaterialInvalid", advice=advice)
