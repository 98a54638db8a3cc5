"""PEM (RFC 7468) → PKCS#8 DER, and for everything else a message that says what it is and which command converts it."""

from __future__ import annotations

import binascii
import re
from typing import Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from bulk_import.errors import MaterialError
from bulk_import.material import recipes
from bulk_import.material.cause import Cause, cause

_LABEL: Final = re.compile(rb"-----BEGIN ([A-Z0-9][A-Z0-9 -]{0,40})-----")
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 -]+)-----[ \t]*\r?\n(.+?)\r?\n-----END \1-----[ \t]*\s*", re.DOTALL)
# What `openssl ecparam -genkey` writes before the key: the name of its curve, which the key repeats.
_PARAMETERS: Final = re.compile(
    rb"\A-----BEGIN EC PARAMETERS-----[ \t]*\r?\n(.+?)\r?\n-----END EC PARAMETERS-----[ \t]*\r?\n(?=-----BEGIN)",
    re.DOTALL,
)
_TRADITIONAL: Final = frozenset((b"RSA PRIVATE KEY", b"EC PRIVATE KEY"))
_PRIVATE: Final = b"PRIVATE KEY"
_PUBLIC: Final = Cause("a public key; the private key is what is imported", "Give the private key.")
_LABELS: Final = {
    b"ENCRYPTED PRIVATE KEY": Cause("an encrypted private key", recipes.ENCRYPTED),
    b"RSA-PSS PRIVATE KEY": Cause("an RSA-PSS key", recipes.RSA_PSS_LABEL),
    b"PUBLIC KEY": _PUBLIC,
    b"RSA PUBLIC KEY": _PUBLIC,
    b"EC PUBLIC KEY": _PUBLIC,
    b"CERTIFICATE": Cause("a certificate; the private key is what is imported", "Give the private key."),
    b"CERTIFICATE REQUEST": Cause("a certificate request", "Give the private key."),
    b"NEW CERTIFICATE REQUEST": Cause("a certificate request", "Give the private key."),
    b"EC PARAMETERS": Cause("the parameters of a curve, without a key", "Give the private key."),
    b"PKCS12": Cause("a PKCS#12 file", "Give the private key alone."),
    b"PGP PRIVATE KEY BLOCK": Cause("a PGP key", "Export the private key as PKCS#8."),
}
_OTHER: Final = Cause("of another kind than PRIVATE KEY", recipes.PKCS8)


def decode_pem(data: bytearray) -> bytearray:
    """The PKCS#8 DER of the one private key in `data`. The traditional forms are converted to it.

    White space after the block is allowed, and before it an EC PARAMETERS block that names the key's own curve.
    Raises MaterialError (MaterialInvalid).
    """
    curve, text = _curve(data)
    labels = [match.group(1) for match in _LABEL.finditer(text)]
    block = _BLOCK.fullmatch(text)
    if len(labels) != 1 or block is None:
        _refuse_form(data, labels)
    label, body = labels[0], block.group(2)
    if label in _TRADITIONAL and b"ENCRYPTED" not in body:
        return _on(curve, _converted(text, body))
    if label != _PRIVATE:
        found = _LABELS.get(label, _OTHER)
        if label in _TRADITIONAL:
            found = _LABELS[b"ENCRYPTED PRIVATE KEY"]
        if label == b"OPENSSH PRIVATE KEY":
            found = _openssh(body)
        _refuse(f"this PEM block is {found.what}", found.advice)
    return _on(curve, _body(body))


def _on(curve: bytes | None, key: bytearray) -> bytearray:
    if curve is not None and curve not in key[:40]:
        _refuse("the block before the key names another curve than the key has", "Give the private key alone.")
    return key


def _curve(data: bytearray) -> tuple[bytes | None, bytes]:
    """The DER name of the curve in an EC PARAMETERS block, and what follows the block."""
    match = _PARAMETERS.match(data)
    if match is None:
        return None, bytes(data)
    curve = _base64(match.group(1))
    if curve is None or curve[:1] != b"\x06" or len(curve) != curve[1] + 2:
        _refuse("this EC key has explicit curve parameters; KMS accepts named curves only", recipes.NAMED_CURVE)
    return curve, bytes(data[match.end() :])


def _body(body: bytes) -> bytearray:
    decoded = _base64(body)
    if decoded is None:
        _refuse_body(body)
    return bytearray(decoded)


def _refuse_body(body: bytes) -> NoReturn:
    if re.search(rb"^[ \t]|[ \t]\r?$|^\r?$", body, re.MULTILINE):
        _refuse("this PEM block has indented lines, blanks at the end of lines, or empty lines", recipes.PEM_LINES)
    found = cause(body, ()) or Cause("it is damaged", "Copy it again completely.")
    _refuse(f"the body of this PEM block is not base64: {found.what}", found.advice)


def _converted(text: bytes, body: bytes) -> bytearray:
    """shape.check validates keys of every form."""
    key = _read(text)
    if key is None:
        der = _body(body)
        if der[4:7] == b"\x02\x01\x01" and b"RSA" in text[:20]:
            _refuse("this is a multi-prime RSA key; KMS accepts keys of two primes only", recipes.MULTI_PRIME)
        advice = recipes.NAMED_CURVE if b"EC PRIVATE" in text[:30] else recipes.PKCS8
        _refuse("this PEM block is not a key that can be read, or its curve is not a named one of KMS", advice)
    return bytearray(
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _read(text: bytes) -> PrivateKeyTypes | None:
    """None where it cannot be read, so that the exception is gone before ours is raised, context and all."""
    try:
        return serialization.load_pem_private_key(text, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _openssh(body: bytes) -> Cause:
    """https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.key"""
    what = "a private key in OpenSSH's own format"
    der = _base64(body) or b""
    if der[15:23] != b"\0\0\0\4none":
        return Cause(f"{what}, encrypted", recipes.OPENSSH_ENCRYPTED)
    if b"ssh-ed25519" in der[:80]:
        return Cause(what, recipes.OPENSSH_ED25519)
    return Cause(what, recipes.OPENSSH)


def _refuse_form(data: bytearray, labels: list[bytes]) -> NoReturn:
    """For text that is not exactly one PEM block."""
    text = bytes(data)
    private = [label for label in labels if label.endswith(_PRIVATE)]
    found = cause(text, (_around,))
    if len(labels) > 1 and len(private) == 1 and text.lstrip().startswith(b"-----BEGIN "):
        others = ", ".join(sorted({_named(label) for label in labels if label not in private}))
        _refuse(f"{len(labels)} PEM blocks; only the private key is needed (found also: {others})", recipes.PKCS8)
    if len(private) > 1:
        _refuse(f"{len(labels)} PEM blocks; exactly one, with the private key, is needed", "Keep this key's block.")
    if found is None:
        found = Cause("there is text before or after its block", recipes.PKCS8 if private else "Give a private key.")
    _refuse(f"this is not PEM (one block from BEGIN to END, nothing before or after it): {found.what}", found.advice)


def _named(label: bytes) -> str:
    return {b"CERTIFICATE": "a certificate", b"EC PARAMETERS": "curve parameters"}.get(label, "another block")


def _around(text: bytes) -> Cause | None:
    stripped = text.strip()
    if stripped.startswith(b"PuTTY-User-Key-File"):
        return Cause("it is a PuTTY key", recipes.PUTTY)
    if b"-----BEGIN" not in text:
        if re.fullmatch(rb"[A-Za-z0-9+/\s]+=*\s*", stripped):
            return Cause("it has no BEGIN line; it may be base64", "Check `encoding`.")
        if stripped[:1] == b"\x30":
            return Cause("it is DER", "State `encoding: raw`.")
        return Cause("it has no BEGIN line", "Check that this is the private key's file.")
    if not re.search(rb"-----END [A-Z0-9 -]+-----", text):
        return Cause("it has no END line: it may be cut", "Copy it again completely.")
    if re.search(rb"-----BEGIN [A-Z0-9 -]+-----(?![ \t]*\r?\n)", text) and b"\r" in text and b"\n" not in stripped:
        return Cause("its lines end in CR alone", recipes.PEM_CR)
    if re.search(rb"-----BEGIN [A-Z0-9 -]+-----[ \t]*[^\s-]", text):
        return Cause("its line breaks are missing", recipes.PEM_ONE_LINE)
    if re.search(rb"\A\s+-----BEGIN|^[ \t]+-----(?:BEGIN|END)", text, re.MULTILINE):
        return Cause("it has indented or empty lines", recipes.PEM_LINES)
    if not stripped.startswith(b"-----BEGIN"):
        return Cause("there is text before its block", recipes.PKCS8)
    if not stripped.endswith(b"-----"):
        return Cause("there is text after its block", recipes.PKCS8)
    return Cause("its BEGIN and END lines do not match", "Copy it again completely.")


def _base64(body: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(re.sub(rb"\r?\n", b"", body), strict_mode=True)
    except ValueError:
        return None


def _refuse(message: str, advice: str) -> NoReturn:
    raise MaterialError(message, code="MaterialInvalid", advice=advice)
