"""The manifest's check values: whether the material is the one that was meant."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bulk_import.errors import MaterialError
from bulk_import.material.keys import public_key_of
from bulk_import.material.secret import Secret
from bulk_import.model import Expect, KeySpec


def applies(expect: Expect, key_spec: KeySpec) -> str | None:
    """Why this check value says nothing about a key of this spec; None where it does."""
    if expect.kcv is not None and not key_spec.symmetric:
        return f"expect.kcv is a check value of SYMMETRIC_DEFAULT material; the key is {key_spec}"
    if expect.spki_sha256 is not None and not key_spec.asymmetric:
        return f"expect.spki_sha256 is a check value of RSA and ECC keys; the key is {key_spec}"
    return None


def check(secret: Secret, key_spec: KeySpec, expect: Expect) -> None:
    """Returns where the material, passed by `shape.check`, has the check value.

    Raises MaterialError (CheckValueMismatch), also where the check value does not fit the key spec.
    """
    if reason := applies(expect, key_spec):
        raise MaterialError(reason, code="CheckValueMismatch")
    if expect.kcv is not None and not hmac.compare_digest(_kcv(secret), expect.kcv):
        # The material's own value is not shown: it says more about the key than a stranger should read in a log.
        raise MaterialError("the material's KCV is not the one in expect.kcv", code="CheckValueMismatch")
    check_public_key(public_key_of(secret) if expect.spki_sha256 is not None else b"", expect)


def check_public_key(public_key: bytes, expect: Expect) -> None:
    """`public_key`: DER SubjectPublicKeyInfo. Raises MaterialError (CheckValueMismatch)."""
    if expect.spki_sha256 is None:
        return
    found = hashlib.sha256(public_key).hexdigest()
    if found != expect.spki_sha256:
        raise MaterialError(
            f"the SHA-256 of the material's public key is sha256:{found}, not the one in expect.spki_sha256",
            code="CheckValueMismatch",
        )


def _kcv(secret: Secret) -> str:
    """The key check value of HSM vendors: the first 3 bytes of AES-ECB of a zero block, in lower-case hex."""
    with secret.view() as view:
        encryptor = Cipher(algorithms.AES(view), modes.ECB()).encryptor()  # noqa: S305 - KCV is defined by ECB
    return (encryptor.update(bytes(16)) + encryptor.finalize())[:3].hex()
