"""Ed25519ph, the signature of a SHA-512 digest (RFC 8032, sections 5.1 and 6): `cryptography` has the plain one only.

Slow and not safe against timing; good enough for a sandbox that protects nothing.
"""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
DOM2 = b"SigEd25519 no Ed25519 collisions" + bytes([1, 0])  # phflag 1, an empty context

Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T


def sign(seed: bytes, digest: bytes) -> bytes:
    """`seed`: the 32-byte private key; `digest`: SHA-512 of the message. Raises ValueError for another length."""
    _check(digest)
    expanded = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(expanded[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    public = _compressed(_times(scalar, BASE))
    nonce = _number(DOM2 + expanded[32:] + digest)
    point = _compressed(_times(nonce, BASE))
    challenge = _number(DOM2 + point + public + digest)
    return point + ((nonce + challenge * scalar) % L).to_bytes(32, "little")


def verify(public: bytes, digest: bytes, signature: bytes) -> bool:
    """Raises ValueError where `digest` is no SHA-512 digest."""
    _check(digest)
    key, point = _point(public), _point(signature[:32])
    response = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or key is None or point is None or response >= L:
        return False
    challenge = _number(DOM2 + signature[:32] + public + digest)
    return _compressed(_times(response, BASE)) == _compressed(_plus(point, _times(challenge, key)))


def _check(digest: bytes) -> None:
    if len(digest) != 64:
        raise ValueError("not a SHA-512 digest")


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha512(data).digest(), "little") % L


def _plus(a: Point, b: Point) -> Point:
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _plus(result, point)
        point, scalar = _plus(point, point), scalar >> 1
    return result


def _compressed(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _point(data: bytes) -> Point | None:
    """A compressed point; None where there is none."""
    if len(data) != 32:
        return None
    number = int.from_bytes(data, "little")
    y, odd = number & ((1 << 255) - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if y >= P or (x * x - square) % P or (x == 0 and odd):
        return None
    x = P - x if (x & 1) != odd else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")) or (0, 1, 1, 0)
