"""Opens sealed key material with the private half of a wrapping key.

Written from RFC 8017 (OAEP) and RFC 5649 (AES-KWP), apart from the program's own sealing.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding


class Unopenable(Exception):
    """The sealed material does not open with this key and algorithm."""


def unwrap(key: rsa.RSAPrivateKey, algorithm: str, sealed: bytes) -> bytes:
    """The key material inside `sealed`. Raises Unopenable.

    RSA_AES_KEY_WRAP_*: an OAEP block of one modulus length, holding a 256-bit AES key, then AES-KWP of the material.
    """
    digest = hashes.SHA1() if algorithm.endswith("SHA_1") else hashes.SHA256()  # noqa: S303 - KMS's algorithm
    oaep = padding.OAEP(padding.MGF1(digest), digest, None)
    block = key.key_size // 8
    hybrid = algorithm.startswith("RSA_AES_KEY_WRAP")
    if len(sealed) < block or (len(sealed) != block and not hybrid):
        raise Unopenable
    try:
        inner = key.decrypt(sealed[:block], oaep)
        if not hybrid:
            return inner
        if len(inner) != 32:
            raise Unopenable
        return aes_key_unwrap_with_padding(inner, sealed[block:])
    except (ValueError, InvalidUnwrap):
        raise Unopenable from None
