"""Material that was sealed before the run: EncryptedKeyMaterial and its ImportToken, as files.

Nothing is unwrapped here, and nothing is secret: only KMS can open it.
https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.material import wrapping
from bulk_import.material.evidence import Evidence
from bulk_import.model import ImportParameters, KeySpec, ReadyMade, Target

LONGEST: Final = 6144  # bytes of either
REMARK: Final = "sealed_elsewhere: KMS holds what was sealed, which the program cannot compare with what was meant"
_TEXT: Final = re.compile(rb"[A-Za-z0-9+/=_\s-]+")
_SEAL_AGAIN: Final = "Get new import parameters for this key, seal the material for them, and give both new files."

Read = Callable[[str], Awaitable[bytes]]  # of the file of a URI


class ReadyMadeHeld:
    """Implements held.Held. Its import parameters are those that it was sealed for: KMS is asked for no others."""

    def __init__(self, target: Target, ready: ReadyMade, key_spec: KeySpec, sealed: bytes, token: bytes) -> None:
        self._sealed = sealed
        spki = target.expect.spki_sha256 if target.expect and key_spec.asymmetric else None
        both = hashlib.sha256(sealed + token).hexdigest()
        self.evidence = Evidence(key_spec, spki_sha256=spki or "", remark=REMARK, sealed_sha256=both)
        self.algorithm = target.wrapping_algorithm or wrapping.default_algorithm(key_spec)
        # The token does not say when it expires: KMS does, if it has expired.
        self.parameters = ImportParameters(token, b"", datetime.max.replace(tzinfo=UTC), seal_again=_SEAL_AGAIN)
        wrapping.check_sealed(sealed, self.algorithm, ready.wrapping_key_spec)

    async def seal(self, public_key: bytes) -> bytes:
        """For no wrapping key but its own."""
        if public_key:
            raise MaterialError(
                "the material was sealed before, for another wrapping key", code="InvalidWrappingKey",
                advice="Give the material itself, or import what was sealed with `run`.",
            )  # fmt: skip
        return self._sealed


async def hold(target: Target, ready: ReadyMade, key_spec: KeySpec, read: Read) -> ReadyMadeHeld:
    """Both files, checked as far as that is possible without unwrapping. Raises MaterialError."""
    sealed = _bytes("encrypted_key_material", await read(target.material))
    token = _bytes("import_token", await read(ready.import_token))
    return ReadyMadeHeld(target, ready, key_spec, sealed, token)


def _bytes(field: str, data: bytes) -> bytes:
    if len(data) > LONGEST:
        raise MaterialError(f"{field} has {len(data)} bytes; KMS takes {LONGEST}", code="MaterialWrongLength")
    if _TEXT.fullmatch(data):
        raise MaterialError(
            f"{field} is text, and KMS takes bytes", code="MaterialInvalid",
            advice="The AWS CLI prints it in base64: decode it first (base64 -d).",
        )  # fmt: skip
    return data
