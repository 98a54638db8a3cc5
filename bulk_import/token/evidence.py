"""What a token shows about a key without giving it away: MACs, check values, the public key."""

from __future__ import annotations

import os
from typing import Any, Final

import PyKCS11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from bulk_import.token import keys
from bulk_import.token.refused import Refused, allowed
from bulk_import.token.session import Token

MACS: Final = {
    "HMAC_224": "CKM_SHA224_HMAC",
    "HMAC_256": "CKM_SHA256_HMAC",
    "HMAC_384": "CKM_SHA384_HMAC",
    "HMAC_512": "CKM_SHA512_HMAC",
}
_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
    "ECC_SECG_P256K1": ec.SECP256K1(),
}
_BLOCK: Final = 16
_OCTET_STRING: Final = 4

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def mac(token: Token, key: keys.Key, message: bytes) -> bytes:
    """The HMAC of `message`. Raises Refused."""
    mechanism = getattr(PyKCS11, MACS[str(key.spec)])
    with allowed("compute the HMAC that proves the import", "CKA_SIGN"):
        return bytes(token.session.sign(key.handle, message, _plain(mechanism)))


def sha256_mac(token: Token, key: keys.Key, message: bytes) -> bytes | None:
    """HMAC-SHA-256 with an HMAC key of any spec; None: the token does not do this with the key."""
    try:
        return bytes(token.session.sign(key.handle, message, _plain(PyKCS11.CKM_SHA256_HMAC)))
    except PyKCS11.PyKCS11Error:
        return None


def ecb(token: Token, key: keys.Key, block: bytes) -> bytes | None:
    """One block; None: the token does not do this with the key."""
    try:
        return bytes(token.session.encrypt(key.handle, block, _plain(PyKCS11.CKM_AES_ECB)))
    except PyKCS11.PyKCS11Error:
        return None


def cmac(token: Token, key: keys.Key, message: bytes) -> bytes | None:
    """AES-CMAC (RFC 4493) by CKM_AES_CMAC, otherwise block by block with CKM_AES_ECB. None: neither works."""
    try:
        return bytes(token.session.sign(key.handle, message, _plain(PyKCS11.CKM_AES_CMAC)))
    except PyKCS11.PyKCS11Error:
        return _cmac_of_blocks(token, key, message)


def _cmac_of_blocks(token: Token, key: keys.Key, message: bytes) -> bytes | None:
    start = ecb(token, key, bytes(_BLOCK))
    if start is None:
        return None
    first = _doubled(start)
    whole = bool(message) and len(message) % _BLOCK == 0
    padded = message if whole else message + b"\x80" + bytes(-(len(message) + 1) % _BLOCK)
    padded = padded[:-_BLOCK] + _xor(padded[-_BLOCK:], first if whole else _doubled(first))
    state: bytes | None = bytes(_BLOCK)
    for at in range(0, len(padded), _BLOCK):
        state = ecb(token, key, _xor(state or b"", padded[at : at + _BLOCK]))
        if state is None:
            return None
    return state


def _doubled(block: bytes) -> bytes:
    """RFC 4493, 2.3: a step of the generation of subkeys."""
    number = int.from_bytes(block, "big") << 1
    carried = number >> 128
    return ((number & (1 << 128) - 1) ^ (0x87 * carried)).to_bytes(_BLOCK, "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def public_key(token: Token, key: keys.Key) -> bytes:
    """DER SubjectPublicKeyInfo of a private key, from its own object where that has it, otherwise from the public key
    object with the same ID or label. Raises Refused.

    Only a signature shows before the import that two objects are a pair. If the key may not sign, the proof after the
    import shows it.
    """
    found = _of_object(token, key, key.handle)
    if found is None:
        found = _of_public_object(token, key)
        _check_pair(token, key, found)
    return _der(found)


def _der(key: _PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _of_object(token: Token, key: keys.Key, handle: Any) -> _PublicKey | None:
    """From the attributes of one object; None where it has none."""

    def read(name: int) -> bytes:
        value = keys.attribute(token.session, handle, name)
        return value if isinstance(value, bytes) else b""

    if str(key.spec).startswith("RSA_"):
        modulus, exponent = read(PyKCS11.CKA_MODULUS), read(PyKCS11.CKA_PUBLIC_EXPONENT)
        if not modulus or not exponent:
            return None
        return rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
    point = read(PyKCS11.CKA_EC_POINT)
    return _point(str(key.spec), point) if point else None


def _point(spec: str, point: bytes) -> _PublicKey | None:
    """CKA_EC_POINT is an OCTET STRING in DER; some tokens give the point itself."""
    short = point[1] if len(point) > 1 else 0
    start = 2 if short < 0x80 else 2 + (short & 0x7F)
    for candidate in (point[start:] if point[0] == _OCTET_STRING else b"", point):
        try:
            if spec in _CURVES:
                return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[spec], candidate)
            return ed25519.Ed25519PublicKey.from_public_bytes(candidate)
        except ValueError:
            continue
    return None


def _of_public_object(token: Token, key: keys.Key) -> _PublicKey:
    for name in (PyKCS11.CKA_ID, PyKCS11.CKA_LABEL):
        value = keys.attribute(token.session, key.handle, name)
        if not value:
            continue
        template = [
            (PyKCS11.CKA_CLASS, PyKCS11.CKO_PUBLIC_KEY), (name, value if isinstance(value, str) else tuple(value)),
        ]  # fmt: skip
        there = (_of_object(token, key, handle) for handle in token.session.findObjects(template))
        found = {_der(public): public for public in there if public is not None}
        if len(found) == 1:
            return found.popitem()[1]
    raise Refused(
        "MaterialNotFound", "the token shows no public key of this private key, so nothing could prove the import",
        "The HSM's administrator must keep one public key object next to the private key, with the same CKA_ID.",
    )  # fmt: skip


def _check_pair(token: Token, key: keys.Key, public: _PublicKey) -> None:
    """Raises Refused where a signature of the private key does not fit the public key."""
    if keys.attribute(token.session, key.handle, PyKCS11.CKA_ALWAYS_AUTHENTICATE):
        return  # each signature would need a login of its own
    message = b"bulk-import: does the public key belong to the private key? " + os.urandom(16)
    sha256 = hashes.Hash(hashes.SHA256())
    sha256.update(message)
    digest = sha256.finalize()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            signature = _signature(token, key, PyKCS11.CKM_SHA256_RSA_PKCS, message)
            public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ec.EllipticCurvePublicKey):
            signature = _signature(token, key, PyKCS11.CKM_ECDSA, digest)
            half = len(signature) // 2
            numbers = (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
            public.verify(utils.encode_dss_signature(*numbers), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        else:
            public.verify(_signature(token, key, PyKCS11.CKM_EDDSA, message), message)
    except PyKCS11.PyKCS11Error:
        return  # it may not sign
    except InvalidSignature:
        raise Refused(
            "MaterialInvalid", "the public key object of this private key belongs to another key",
            "The HSM's administrator must remove it, or give both keys of a pair an ID of their own.",
        ) from None  # fmt: skip


def _signature(token: Token, key: keys.Key, mechanism: int, data: bytes) -> bytes:
    return bytes(token.session.sign(key.handle, data, _plain(mechanism)))


def _plain(mechanism: int) -> Any:
    return PyKCS11.Mechanism(mechanism, None)
