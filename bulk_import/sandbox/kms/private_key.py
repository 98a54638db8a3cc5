"""What an asymmetric key does with its material, by KMS's algorithm names."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from bulk_import.sandbox.kms import ed25519ph

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "SHA_1": hashes.SHA1,
    "SHA_256": hashes.SHA256,
    "SHA_384": hashes.SHA384,
    "SHA_512": hashes.SHA512,
}


class PrivateKey:
    """A private key in PKCS#8 DER, put to use."""

    def __init__(self, pkcs8: bytes) -> None:
        # Checked when it was imported; OpenSSL's second look at RSA primes costs more than the signature.
        self._key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)

    def public_der(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, message: bytes, algorithm: str, *, digest: bool) -> bytes:
        """`digest`: the message is already hashed (MessageType DIGEST). Raises ValueError for a wrong digest length."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            chosen = _hash(algorithm, digest=digest)
            return self._key.sign(message, _rsa_padding(algorithm), chosen)
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(message, ec.ECDSA(_hash(algorithm, digest=digest)))
        assert isinstance(self._key, ed25519.Ed25519PrivateKey)  # noqa: S101 - no other kind passes the import
        return ed25519ph.sign(self._key.private_bytes_raw(), message) if digest else self._key.sign(message)

    def verify(self, message: bytes, signature: bytes, algorithm: str, *, digest: bool) -> bool:
        public = self._key.public_key()
        try:
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(signature, message, _rsa_padding(algorithm), _hash(algorithm, digest=digest))
            elif isinstance(public, ec.EllipticCurvePublicKey):
                public.verify(signature, message, ec.ECDSA(_hash(algorithm, digest=digest)))
            else:
                assert isinstance(public, ed25519.Ed25519PublicKey)  # noqa: S101 - no other kind passes the import
                if digest:
                    return ed25519ph.verify(public.public_bytes_raw(), message, signature)
                public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def agree(self, public_der: bytes) -> bytes:
        """ECDH's shared secret. Raises ValueError where `public_der` is no public key on the same curve."""
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)  # noqa: S101 - only curves have the usage
        try:
            other = serialization.load_der_public_key(public_der)
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from None
        if not isinstance(other, ec.EllipticCurvePublicKey) or other.curve.name != self._key.curve.name:
            raise ValueError("not a public key on the same curve")
        return self._key.exchange(ec.ECDH(), other)

    def room(self, algorithm: str) -> int:
        """The longest plaintext in bytes: RFC 8017, section 7.1.1."""
        assert isinstance(self._key, rsa.RSAPrivateKey)  # noqa: S101 - only RSA keys have the usage
        return self._key.key_size // 8 - 2 * HASHES[algorithm[algorithm.index("SHA_") :]]().digest_size - 2

    def encrypt(self, plaintext: bytes, algorithm: str) -> bytes:
        """RSAES_OAEP_*. Raises ValueError where the plaintext is too long."""
        assert isinstance(self._key, rsa.RSAPrivateKey)  # noqa: S101 - only RSA keys have the usage
        return self._key.public_key().encrypt(plaintext, _oaep(algorithm))

    def decrypt(self, ciphertext: bytes, algorithm: str) -> bytes:
        """Raises ValueError where it does not open."""
        assert isinstance(self._key, rsa.RSAPrivateKey)  # noqa: S101 - only RSA keys have the usage
        return self._key.decrypt(ciphertext, _oaep(algorithm))


def _hash(algorithm: str, *, digest: bool) -> hashes.HashAlgorithm | utils.Prehashed:
    chosen = HASHES[algorithm[algorithm.index("SHA_") :]]()
    return utils.Prehashed(chosen) if digest else chosen


def _rsa_padding(algorithm: str) -> padding.AsymmetricPadding:
    if "PKCS1" in algorithm:
        return padding.PKCS1v15()
    chosen = HASHES[algorithm[algorithm.index("SHA_") :]]()
    return padding.PSS(padding.MGF1(chosen), padding.PSS.DIGEST_LENGTH)


def _oaep(algorithm: str) -> padding.OAEP:
    chosen = HASHES[algorithm[algorithm.index("SHA_") :]]()
    return padding.OAEP(padding.MGF1(chosen), chosen, None)
