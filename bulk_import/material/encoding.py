"""From the bytes of a source to key material: raw, base64, hex, PEM.

The text encodings drop one trailing newline (LF or CR LF) and are strict beyond that: no blanks, no line breaks,
no characters that a lenient decoder would skip. Material cut or joined by accident must not pass, because an
HMAC or asymmetric key can never be given other material. No message and no exception here holds a byte of it.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Final, NoReturn

from bulk_import.errors import MaterialError
from bulk_import.material import cause, memory
from bulk_import.material.pem import decode_pem
from bulk_import.model import Encoding, KeySpec


def decode(data: bytearray, encoding: Encoding, key_spec: KeySpec | None) -> bytearray:
    """The key material. Returns `data` itself where nothing is to be decoded; the caller wipes both.

    PEM gives PKCS#8 DER. The traditional forms (RSA PRIVATE KEY, EC PRIVATE KEY) are converted to it, since KMS
    takes nothing else. Raises MaterialError (MaterialInvalid).
    """
    if encoding is Encoding.PEM and key_spec is not None and not key_spec.asymmetric:
        _refuse(f"PEM holds a private key, and the material of {key_spec} is not a private key", "Check `encoding`.")
    return _DECODERS[encoding](data)


def _raw(data: bytearray) -> bytearray:
    return data


def _base64(data: bytearray) -> bytearray:
    decoded = _strict(lambda: binascii.a2b_base64(_line(data), strict_mode=True))
    # Strict mode lets bits pass that the last character carries in excess; they mean a damaged text.
    if not decoded or not _encodes_to(decoded, data):
        _refuse_text(data, "base64 (RFC 4648, one line, padded, nothing else)", cause.of_base64)
    return _taken(decoded)


def _encodes_to(decoded: bytes, data: bytearray) -> bool:
    again = binascii.b2a_base64(decoded, newline=False)
    same = again == _line(data)
    memory.overwrite(again)
    return same


def _hex(data: bytearray) -> bytearray:
    decoded = _strict(lambda: binascii.a2b_hex(_line(data)))
    if not decoded:
        _refuse_text(data, "hex (an even number of digits in one line, nothing else)", cause.of_hex)
    return _taken(decoded)


def _taken(decoded: bytes) -> bytearray:
    """The same bytes where they can be wiped; what the decoder made is overwritten."""
    material = bytearray(decoded)
    memory.overwrite(decoded)
    return material


_DECODERS: Final[dict[Encoding, Callable[[bytearray], bytearray]]] = {
    Encoding.RAW: _raw,
    Encoding.BASE64: _base64,
    Encoding.HEX: _hex,
    Encoding.PEM: decode_pem,
}


def _line(data: bytearray) -> memoryview:
    end = len(data) - data.endswith(b"\n")
    if data.endswith(b"\r\n"):
        end -= 1
    return memoryview(data)[:end]


def _strict(decoding: Callable[[], bytes]) -> bytes | None:
    """None where it fails, so that the decoder's exception is gone before ours is raised, context and all."""
    try:
        return decoding()
    except ValueError:
        return None


def _refuse_text(data: bytearray, wanted: str, own: Callable[[bytes], cause.Cause | None]) -> NoReturn:
    found = cause.cause(data, (cause.of_pem, cause.blanks, own))
    _refuse(
        f"this is not {wanted}: {found.what}" if found else f"this is not {wanted}", found.advice if found else None
    )


def _refuse(message: str, advice: str | None) -> NoReturn:
    raise MaterialError(message, code="MaterialInvalid", advice=advice)
