"""The public half of material that was checked already."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization

from bulk_import.material.secret import Secret


def public_key_of(secret: Secret) -> bytes:
    """DER SubjectPublicKeyInfo (RFC 5280, 4.1) of a PKCS#8 private key that `shape.check` has passed."""
    with secret.view() as view:
        key = serialization.load_der_private_key(view, None, unsafe_skip_rsa_key_validation=True)
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
