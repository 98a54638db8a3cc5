"""KMS's cryptographic operations, and GetPublicKey: the imported bytes at work.

https://docs.aws.amazon.com/kms/latest/developerguide/kms-cryptography.html
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import envelope, states
from bulk_import.sandbox.kms.keys import Material, SandboxKey, Snapshot
from bulk_import.sandbox.kms.lag import Lag
from bulk_import.sandbox.kms.naming import missing, resolve
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.specs import SYMMETRIC

WRONG_KEY = "The key ID in the request does not identify a CMK that can perform this operation."


class Uses:
    """The operations that use keys. Every read goes through view(), which may be stale."""

    def __init__(self, lag: Lag) -> None:
        self.lag = lag

    def view(self, request: Request, key: SandboxKey) -> Snapshot:
        """What the answering host shows of `key`; raises NotFoundException where it does not know it yet."""
        seen = self.lag.view(key, request.operation, request.at)
        if seen is None:
            raise missing(key.arn)
        return seen

    def ready(self, request: Request, key: SandboxKey) -> Material:
        """The current material of a key that may be used now. Raises AwsError by its state."""
        seen = self.view(request, key)
        states.check(request.operation, key.arn, seen.state)
        material = seen.current
        if material is None or material.secret is None:
            raise states.invalid_state(key.arn, "PendingImport")
        return material

    def usable(self, request: Request, key: SandboxKey, usage: str, algorithm: str | None) -> tuple[Material, str]:
        """The material and the algorithm to use. Raises AwsError where state, usage or algorithm forbid it."""
        material = self.ready(request, key)
        if key.key_usage != usage:
            raise AwsError(
                "InvalidKeyUsageException",
                f"{key.arn} key usage is {key.key_usage} which is not valid for {request.operation}.",
            )
        chosen = algorithm or SYMMETRIC
        if not any(chosen in values for values in key.algorithms().values()):
            raise AwsError(
                "InvalidKeyUsageException", f"Algorithm {chosen} is incompatible with key spec {key.key_spec}."
            )
        return material, chosen

    def do_get_public_key(self, request: Request) -> dict[str, Any]:
        key = request.key
        if key.spec.raw_length is not None:
            raise AwsError("UnsupportedOperationException", f"{key.arn} is not an asymmetric key.")
        public = key.private(self.ready(request, key)).public_der()
        fields = {"KeyId": key.arn, "PublicKey": b64encode(public).decode(), "KeyUsage": key.key_usage}
        return fields | {"KeySpec": key.key_spec, "CustomerMasterKeySpec": key.key_spec} | key.algorithms()

    # --- encryption
    def do_encrypt(self, request: Request) -> dict[str, Any]:
        key, params = request.key, request.params
        blob, algorithm = self.encrypt(
            request, key, params["Plaintext"], params.get("EncryptionAlgorithm"), params.get("EncryptionContext")
        )
        return {"CiphertextBlob": b64encode(blob).decode(), "KeyId": key.arn, "EncryptionAlgorithm": algorithm}

    def encrypt(
        self,
        request: Request,
        key: SandboxKey,
        plaintext: bytes,
        algorithm: str | None,
        context: dict[str, str] | None,
    ) -> tuple[bytes, str]:
        """Ciphertext and the algorithm used."""
        material, chosen = self.usable(request, key, "ENCRYPT_DECRYPT", algorithm)
        if not key.spec.symmetric:
            room = key.private(material).room(chosen)
            if len(plaintext) > room:
                message = (
                    f"Algorithm {chosen} and key spec {key.key_spec} cannot encrypt data larger than {room} bytes."
                )
                raise AwsError("ValidationException", message)
        request.dry_run()
        if key.spec.symmetric:
            return envelope.seal(key.id, material.secret or b"", plaintext, context or {}), chosen
        return key.private(material).encrypt(plaintext, chosen), chosen

    def do_decrypt(self, request: Request) -> dict[str, Any]:
        params = request.params
        algorithm = params.get("EncryptionAlgorithm", SYMMETRIC)
        plaintext, key, material_id = self.decrypt(
            request, params["CiphertextBlob"], request.named, algorithm, params.get("EncryptionContext")
        )
        answer = {"Plaintext": b64encode(plaintext).decode(), "KeyId": key.arn, "EncryptionAlgorithm": algorithm}
        return answer | ({"KeyMaterialId": material_id} if key.spec.symmetric else {})

    def decrypt(
        self, request: Request, blob: bytes, named: SandboxKey | None, algorithm: str, context: dict[str, str] | None
    ) -> tuple[bytes, SandboxKey, str]:
        """Plaintext, key and the ID of the material. A symmetric ciphertext names its key itself."""
        if algorithm != SYMMETRIC:
            if named is None:
                raise AwsError("ValidationException", "A key ID must be specified for asymmetric decryption.")
            material, _ = self.usable(request, named, "ENCRYPT_DECRYPT", algorithm)
            request.dry_run()
            try:
                return named.private(material).decrypt(blob, algorithm), named, material.id
            except ValueError:
                raise AwsError("InvalidCiphertextException") from None
        if named is not None:
            self.ready(request, named)
        key = request.store.find(envelope.key_id_of(blob))
        if named is not None and named.spec.kind == "asymmetric" and named.key_usage == "ENCRYPT_DECRYPT":
            self.usable(request, named, "ENCRYPT_DECRYPT", algorithm)  # raises: the algorithm is not one of its
        if key is None:
            raise AwsError("InvalidCiphertextException")
        if named not in (None, key):
            raise AwsError("IncorrectKeyException", WRONG_KEY)
        self.usable(request, key, "ENCRYPT_DECRYPT", algorithm)
        request.dry_run()
        # KMS decrypts with non-current materials too.
        opened = envelope.open_(blob, [(m.id, m.secret or b"") for m in key.now().usable], context or {})
        if opened is None:
            raise AwsError("InvalidCiphertextException")
        return opened[0], key, opened[1]

    def do_re_encrypt(self, request: Request) -> dict[str, Any]:
        """Decrypts and encrypts; the caller sees no plaintext."""
        params = request.params
        source = resolve(request, params["SourceKeyId"]) if "SourceKeyId" in params else None
        target = resolve(request, params["DestinationKeyId"])
        before = params.get("SourceEncryptionAlgorithm", SYMMETRIC)
        self.usable(request, target, "ENCRYPT_DECRYPT", params.get("DestinationEncryptionAlgorithm"))
        plaintext, key, _ = self.decrypt(
            request, params["CiphertextBlob"], source, before, params.get("SourceEncryptionContext")
        )
        blob, after = self.encrypt(
            request,
            target,
            plaintext,
            params.get("DestinationEncryptionAlgorithm"),
            params.get("DestinationEncryptionContext"),
        )
        return {
            "CiphertextBlob": b64encode(blob).decode(),
            "SourceKeyId": key.arn,
            "KeyId": target.arn,
            "SourceEncryptionAlgorithm": before,
            "DestinationEncryptionAlgorithm": after,
        }

    # --- MACs
    def do_generate_mac(self, request: Request) -> dict[str, Any]:
        mac = b64encode(self._mac(request)).decode()
        return {"KeyId": request.key.arn, "Mac": mac, "MacAlgorithm": request.params["MacAlgorithm"]}

    def do_verify_mac(self, request: Request) -> dict[str, Any]:
        if not hmac.compare_digest(self._mac(request), request.params["Mac"]):
            raise AwsError("KMSInvalidMacException")
        return {"KeyId": request.key.arn, "MacValid": True, "MacAlgorithm": request.params["MacAlgorithm"]}

    def _mac(self, request: Request) -> bytes:
        params = request.params
        material, algorithm = self.usable(request, request.key, "GENERATE_VERIFY_MAC", params["MacAlgorithm"])
        request.dry_run()
        name = algorithm.removeprefix("HMAC_").replace("_", "").lower()
        return hmac.digest(material.secret or b"", params["Message"], name)

    # --- signatures
    def do_sign(self, request: Request) -> dict[str, Any]:
        key, params = request.key, request.params
        material, algorithm, digest = self._signing(request)
        try:
            signature = key.private(material).sign(params["Message"], algorithm, digest=digest)
        except ValueError:
            raise _wrong_digest(algorithm) from None
        return {"KeyId": key.arn, "Signature": b64encode(signature).decode(), "SigningAlgorithm": algorithm}

    def do_verify(self, request: Request) -> dict[str, Any]:
        key, params = request.key, request.params
        material, algorithm, digest = self._signing(request)
        try:
            valid = key.private(material).verify(params["Message"], params["Signature"], algorithm, digest=digest)
        except ValueError:
            raise _wrong_digest(algorithm) from None
        if not valid:
            raise AwsError("KMSInvalidSignatureException")
        return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": algorithm}

    def _signing(self, request: Request) -> tuple[Material, str, bool]:
        params = request.params
        material, algorithm = self.usable(request, request.key, "SIGN_VERIFY", params["SigningAlgorithm"])
        digest = params.get("MessageType", "RAW") == "DIGEST"
        wanted = {"ED25519_SHA_512": False, "ED25519_PH_SHA_512": True}.get(algorithm, digest)
        if digest is not wanted:
            kind = "DIGEST" if wanted else "RAW"
            raise AwsError("ValidationException", f"Algorithm {algorithm} requires the message type {kind}.")
        request.dry_run()
        return material, algorithm, digest

    def do_derive_shared_secret(self, request: Request) -> dict[str, Any]:
        key, params = request.key, request.params
        algorithm = params["KeyAgreementAlgorithm"]
        material, _ = self.usable(request, key, "KEY_AGREEMENT", algorithm)
        request.dry_run()
        try:
            secret = key.private(material).agree(params["PublicKey"])
        except ValueError:
            raise AwsError("ValidationException") from None
        return {
            "KeyId": key.arn,
            "SharedSecret": b64encode(secret).decode(),
            "KeyAgreementAlgorithm": algorithm,
            "KeyOrigin": key.origin,
        }


def _wrong_digest(algorithm: str) -> AwsError:
    return AwsError("ValidationException", f"Digest is invalid length for algorithm {algorithm}.")
