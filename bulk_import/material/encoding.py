"""From the bytes of a source to key material: raw, base64, hex, PEM.

The text encodings drop one trailing newline (LF or CR LF) and are strict beyond that: no blanks, no line breaks,
no characters that a lenient decoder would skip. Material cut or joined by accident must not pass, because an
HMAC or asymmetric key can never be given other material. No message and no exception here holds a byte of it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from bulk_import.errors import MaterialError
from bulk_import.model import Encoding, KeySpec

_TO_PKCS8: Final = "Convert it first: openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.pem"
# Hex is within base64's alphabet, base64url ("-", "_") is looked for too; white space, as text files have it.
_TEXT_LIKE: Final = re.compile(rb"[A-Za-z0-9+/=_\-\s]+")
_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,40})-----")
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.+?)\r?\n-----END \1-----[ \t]*\s*", re.DOTALL)
_TRADITIONAL: Final = {b"RSA PRIVATE KEY", b"EC PRIVATE KEY"}
_OTHER_LABELS: Final = {
    b"ENCRYPTED PRIVATE KEY": "an encrypted private key",
    b"OPENSSH PRIVATE KEY": "a private key in OpenSSH's own format",
    b"PUBLIC KEY": "a public key; the private key is what is imported",
    b"RSA PUBLIC KEY": "a public key; the private key is what is imported",
    b"CERTIFICATE": "a certificate; the private key is what is imported",
}


def check_unambiguous(data: bytearray) -> None:
    """For bytes about to be taken as raw by default: raises AmbiguousEncoding where they look like text."""
    if _TEXT_LIKE.fullmatch(data):
        raise MaterialError(
            "no encoding is stated, and the material consists of hex or base64 characters only: it may be text that "
            "stands for the key, or the key itself",
            code="AmbiguousEncoding",
        )


def decode(data: bytearray, encoding: Encoding, key_spec: KeySpec | None) -> bytearray:
    """The key material. Returns `data` itself where nothing is to be decoded; the caller wipes both.

    PEM gives PKCS#8 DER. The traditional forms (RSA PRIVATE KEY, EC PRIVATE KEY) are converted to it, since KMS
    takes nothing else. Raises MaterialError (MaterialInvalid).
    """
    if encoding is Encoding.PEM and key_spec is not None and not key_spec.asymmetric:
        _refuse(f"PEM holds a private key, and the material of {key_spec} is no private key")
    return _DECODERS[encoding](data)


def _raw(data: bytearray) -> bytearray:
    return data


def _base64(data: bytearray) -> bytearray:
    decoded = _strict(lambda: binascii.a2b_base64(_line(data), strict_mode=True))
    # Strict mode lets bits pass that the last character carries in excess; they mean a damaged text.
    if decoded is None or binascii.b2a_base64(decoded, newline=False) != _line(data):
        _refuse(
            "this is not base64 (RFC 4648, one line, padded, nothing else)",
            advice="Check `encoding`; write base64 in one line: base64 -w0 (Linux), openssl base64 -A.",
        )
    return bytearray(decoded)


def _hex(data: bytearray) -> bytearray:
    decoded = _strict(lambda: binascii.a2b_hex(_line(data)))
    if decoded is None:
        _refuse(
            "this is not hex (an even number of digits in one line, no prefix, nothing else)",
            advice="Check `encoding`; write hex in one line: xxd -p -c0.",
        )
    return bytearray(decoded)


def _pem(data: bytearray) -> bytearray:
    labels = [match.group(1) for match in _LABEL.finditer(data)]
    if len(labels) > 1:
        _refuse(f"{len(labels)} PEM blocks; exactly one, with the private key, is wanted")
    block = _BLOCK.fullmatch(data)
    if not labels or block is None:
        _refuse("this is not PEM: one block from BEGIN to END, and nothing before or after it, is wanted")
    label, body = labels[0], block.group(2)
    if label in _TRADITIONAL and b"ENCRYPTED" not in body:
        return _converted(data)
    if label != b"PRIVATE KEY":
        other = "an encrypted private key" if label in _TRADITIONAL else _OTHER_LABELS.get(label)
        _refuse(f"this PEM block is {other or 'of another kind than PRIVATE KEY'}", advice=_TO_PKCS8)
    text = re.sub(rb"\r?\n", b"", body)
    decoded = _strict(lambda: binascii.a2b_base64(text, strict_mode=True))
    if decoded is None:
        _refuse("the body of this PEM block is not base64")
    return bytearray(decoded)


def _converted(data: bytearray) -> bytearray:
    # Validation is left to shape.check, which sees every key whatever form it came in.
    key = _strict(
        lambda: serialization.load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True).private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    if key is None:
        _refuse("this PEM block is no key that can be read, or has a curve that is not a named one", advice=_TO_PKCS8)
    return bytearray(key)


_DECODERS: Final[dict[Encoding, Callable[[bytearray], bytearray]]] = {
    Encoding.RAW: _raw,
    Encoding.BASE64: _base64,
    Encoding.HEX: _hex,
    Encoding.PEM: _pem,
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
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: a password would be needed
        return None


def _refuse(message: str, *, advice: str | None = None) -> NoReturn:
    raise MaterialError(message, code="MaterialInvalid", advice=advice)
