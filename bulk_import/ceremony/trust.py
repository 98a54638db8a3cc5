"""Who vouches for an input of a ceremony: a fingerprint that a person gave, or a signature that verifies.

A signature is in a file next to the signed one (`<file>.sig`, base64): Ed25519 (RFC 8032) or ECDSA P-256 with SHA-256
(DER) of the file's bytes. `openssl pkeyutl -verify` and `openssl dgst -sha256 -verify` check the same.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bulk_import.ceremony.lines import fingerprint, lines, read_bytes, refuse
from bulk_import.delivery import destinations
from bulk_import.errors import InputError, Problem
from bulk_import.model import Manifest
from bulk_import.settings import Settings

_HASH = ec.ECDSA(hashes.SHA256())
_VOUCH = (
    "Ask the person who made the file to read its fingerprint aloud, and use --fingerprint; or use --signed-by with "
    "the public key of the signer."
)


@dataclass(frozen=True, slots=True)
class Vouched:
    """An input that may be read: its bytes, and what vouches for them."""

    name: str  # as a person named the file
    data: bytes
    fingerprint: str
    signed_by: str | None  # the file of the public key; None: a person gave the fingerprint


class Trust:
    """`fingerprints`: as people typed them; `signed_by`: PEM files of public keys.

    `ask`: asks a person at a terminal for a fingerprint; None where there is no terminal.
    """

    def __init__(
        self, fingerprints: Sequence[str], signed_by: Sequence[str], ask: Callable[[str], str] | None = None
    ) -> None:
        """Raises InputError for what is neither a fingerprint nor a public key."""
        self._fingerprints = [_normal(text) for text in fingerprints]
        self._keys = [(name, _public_key(Path(name))) for name in signed_by]
        self._ask = ask

    def read(self, path: Path, name: str | None = None) -> Vouched:
        """Nothing of a file that nobody vouches for is used, except to say where it was altered.

        `name`: as a person named it, if that is not its path.

        Raises CeremonyError.
        """
        name = name or str(path)
        data = read_bytes(path)
        found = fingerprint(data)
        if self._keys:
            return Vouched(name, data, found, self._signer(path, name, data))
        given = self._fingerprints
        if not given and self._ask is not None:
            given = [_normal(self._ask(f"Fingerprint of {name}: "))]
        if not any(hmac.compare_digest(found, one) for one in given):
            # Its fingerprint is not shown: a person who copies it from here would compare the file with itself.
            message = f"nobody vouches for it: no given fingerprint is its own.{_where(name, data)}"
            raise refuse(name, 0, message, _VOUCH)
        return Vouched(name, data, found, None)

    def _signer(self, path: Path, name: str, data: bytes) -> str:
        signature = _signature(path, name)
        for key_file, key in self._keys:
            if _verifies(key, signature, data):
                return key_file
        raise refuse(name, 0, f"no key of --signed-by verifies its signature {name}.sig.{_where(name, data)}",
                     "Get the file and its signature again from the person who made them.")  # fmt: skip


def sign(path: Path, key_file: str) -> Path:
    """Writes the signature of a file next to it. `key_file`: a private key, PEM. Raises InputError, OSError."""
    key = _private_key(Path(key_file))
    data = path.read_bytes()
    signature = key.sign(data) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(data, _HASH)
    beside = signature_path(path)
    beside.write_bytes(base64.b64encode(signature) + b"\n")
    return beside


def check_key(key_file: str) -> None:
    """Before the work: whether --sign-with names a usable private key. Raises InputError."""
    _private_key(Path(key_file))


def check_place(path: Path, settings: Settings, manifest: Manifest, inputs: Sequence[str] = ()) -> None:
    """Before the work: whether the signature of `path` would replace what it must not. Raises SettingsError."""
    destinations.check_signature(signature_path(path), settings, manifest, inputs)


def signature_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


def _where(path: str, data: bytes) -> str:
    """Where a file was altered, as far as its lines say it themselves."""
    try:
        for _ in lines(path, data):
            pass
    except InputError as error:
        first = error.problems[0]
        return f" Its line {first.line} {first.message}"
    return ""


def _verifies(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, _HASH)
    except InvalidSignature:
        return False
    return True


def _signature(path: Path, name: str) -> bytes:
    beside = signature_path(path)
    try:
        return base64.b64decode(beside.read_bytes().strip(), validate=True)
    except OSError as error:
        raise refuse(name, 0, f"its signature {beside.name} cannot be read: {error.strerror}.", _VOUCH) from None
    except (binascii.Error, ValueError):
        raise refuse(name, 0, f"its signature {beside.name} is not base64.", _VOUCH) from None


def _normal(text: str) -> str:
    bare = re.sub(r"[\s:-]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", bare):
        problem = "is not a fingerprint."
        advice = "Write the 64 hex digits that the step before printed; spaces between them do not matter."
        raise InputError([Problem("settings", 0, "--fingerprint", problem, advice)])
    return bare


def _public_key(path: Path) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey:
    key = _load(path, "--signed-by", serialization.load_pem_public_key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _wrong_key(path, "--signed-by")


def _private_key(path: Path) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
    key = _load(path, "--sign-with", lambda data: serialization.load_pem_private_key(data, None))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _wrong_key(path, "--sign-with")


def _load(path: Path, option: str, load: Callable[[bytes], object]) -> object:
    try:
        return load(path.read_bytes())
    except OSError as error:
        problem = Problem("settings", 0, option, f"{path} cannot be read: {error.strerror}.", "Check the path.")
        raise InputError([problem]) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong_key(path, option) from None


def _wrong_key(path: Path, option: str) -> InputError:
    kind = "private key, unencrypted" if option == "--sign-with" else "public key"
    problem = f"{path} is not an Ed25519 or ECDSA P-256 {kind}, in PEM."
    return InputError([Problem("settings", 0, option, problem, "Make one with `openssl genpkey -algorithm ed25519`.")])


def all_of(trust: Trust, files: Iterable[tuple[Path, str]]) -> list[Vouched]:
    """Every input (where it is, and how it was named) is checked before any is used. Raises CeremonyError."""
    return [trust.read(path, name) for path, name in files]
