"""KMS's symmetric ciphertexts: the key's ID, then AES-256-GCM with the encryption context as associated data.

The form is the sandbox's own: AWS does not document KMS's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ID_LENGTH, NONCE_LENGTH = 36, 12  # a UUID, or mrk- and 32 hex digits


def key_id_of(blob: bytes) -> str:
    """Which key a ciphertext says it belongs to."""
    return blob[:ID_LENGTH].decode("latin-1")


def seal(key_id: str, material: bytes, plaintext: bytes, context: Mapping[str, str]) -> bytes:
    nonce = os.urandom(NONCE_LENGTH)
    head = key_id.encode()
    return head + nonce + AESGCM(material).encrypt(nonce, plaintext, _associated(head, context))


def open_(blob: bytes, materials: Iterable[tuple[str, bytes]], context: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Plaintext and ID of the material, out of (ID, bytes), that opens `blob`; None: none does."""
    head, nonce = blob[:ID_LENGTH], blob[ID_LENGTH : ID_LENGTH + NONCE_LENGTH]
    if len(nonce) < NONCE_LENGTH:
        return None
    for material_id, material in materials:
        try:
            return AESGCM(material).decrypt(
                nonce, blob[ID_LENGTH + NONCE_LENGTH :], _associated(head, context)
            ), material_id
        except InvalidTag:
            continue
    return None


def _associated(head: bytes, context: Mapping[str, str]) -> bytes:
    fields = [text.encode() for pair in sorted(context.items()) for text in pair]
    return head + b"".join(len(field).to_bytes(4, "big") + field for field in fields)
