"""KMS's cryptographic operations, and GetPublicKey: the imported bytes at work.

https://docs.aws.amazon.com/kms/latest/developerguide/kms-cryptography.html
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms.backend import SandboxKmsBackend, invalid_state, missing, ready
from bulk_import.sandbox.kms.keys import SandboxKey, Snapshot
from bulk_import.sandbox.kms.lag import Lag


class Uses:
    """The half of Kms that uses keys. Every read goes through view(), which may be stale."""

    def __init__(self, lag: Lag) -> None:
        self.lag = lag

    def view(self, key: SandboxKey, operation: str) -> Snapshot:
        """What a host shows of `key`; raises NotFoundException where it does not know it yet."""
        seen = self.lag.view(key, operation)
        if seen is None:
            raise missing(key.arn)
        return seen

    def do_get_public_key(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        if key.spec.raw_length is not None:
            raise AwsError("UnsupportedOperationException", f"{key.arn} is not an asymmetric key.")
        seen = self.view(key, "GetPublicKey")
        material = seen.current
        if material is None or material.secret is None:
            raise invalid_state(key.arn, "PendingImport")
        public = key.private(material).public_der()
        fields = {"KeyId": key.arn, "PublicKey": b64encode(public).decode(), "KeyUsage": key.key_usage}
        return fields | {"KeySpec": key.key_spec, "CustomerMasterKeySpec": key.key_spec} | key.algorithms()

    def do_encrypt(self, store: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        algorithm = self._usable(key, "Encrypt", "ENCRYPT_DECRYPT", params.get("EncryptionAlgorithm"))
        plaintext, context = params["Plaintext"], params.get("EncryptionContext", {})
        if key.spec.symmetric:
            blob, _ = store.encrypt(key.id, plaintext, context)
        else:
            try:
                blob = key.private(ready(key, key.now())).encrypt(plaintext, algorithm)
            except ValueError:
                raise AwsError(
                    "ValidationException", f"Algorithm {algorithm} and key spec {key.key_spec}: too long"
                ) from None
        return {"CiphertextBlob": b64encode(blob).decode(), "KeyId": key.arn, "EncryptionAlgorithm": algorithm}

    def do_decrypt(self, store: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey | None = params.get("Key")
        blob, context = params["CiphertextBlob"], params.get("EncryptionContext", {})
        algorithm = params.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT")
        if key:
            self._usable(key, "Decrypt", "ENCRYPT_DECRYPT", algorithm)
        if key and not key.spec.symmetric:
            try:
                plaintext, arn = key.private(ready(key, key.now())).decrypt(blob, algorithm), key.arn
            except ValueError:
                raise AwsError("InvalidCiphertextException") from None
        else:
            plaintext, arn = store.decrypt(blob, context, key.id if key else None)
        return {"Plaintext": b64encode(plaintext).decode(), "KeyId": arn, "EncryptionAlgorithm": algorithm}

    def do_generate_mac(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        mac = b64encode(self._mac(key, "GenerateMac", params)).decode()
        return {"KeyId": key.arn, "Mac": mac, "MacAlgorithm": params["MacAlgorithm"]}

    def do_verify_mac(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        if not hmac.compare_digest(self._mac(key, "VerifyMac", params), params["Mac"]):
            raise AwsError("KMSInvalidMacException")
        return {"KeyId": key.arn, "MacValid": True, "MacAlgorithm": params["MacAlgorithm"]}

    def _mac(self, key: SandboxKey, operation: str, params: dict[str, Any]) -> bytes:
        algorithm = self._usable(key, operation, "GENERATE_VERIFY_MAC", params["MacAlgorithm"])
        secret = ready(key, self.view(key, operation)).secret or b""
        return hmac.digest(secret, params["Message"], algorithm.removeprefix("HMAC_").replace("_", "").lower())

    def do_sign(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        algorithm = self._usable(key, "Sign", "SIGN_VERIFY", params["SigningAlgorithm"])
        digest = params.get("MessageType", "RAW") == "DIGEST"
        try:
            signature = key.private(ready(key, key.now())).sign(params["Message"], algorithm, digest=digest)
        except ValueError:
            raise AwsError("ValidationException", f"Digest is invalid length for algorithm {algorithm}.") from None
        return {"KeyId": key.arn, "Signature": b64encode(signature).decode(), "SigningAlgorithm": algorithm}

    def do_verify(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        algorithm = self._usable(key, "Verify", "SIGN_VERIFY", params["SigningAlgorithm"])
        digest = params.get("MessageType", "RAW") == "DIGEST"
        private = key.private(ready(key, key.now()))
        try:
            valid = private.verify(params["Message"], params["Signature"], algorithm, digest=digest)
        except ValueError:
            raise AwsError("ValidationException", f"Digest is invalid length for algorithm {algorithm}.") from None
        if not valid:
            raise AwsError("KMSInvalidSignatureException")
        return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": algorithm}

    def _usable(self, key: SandboxKey, operation: str, usage: str, algorithm: str | None) -> str:
        """The algorithm to use. Raises AwsError where state, usage or algorithm forbid it."""
        ready(key, self.view(key, operation))
        allowed = key.algorithms().values()
        chosen = algorithm or "SYMMETRIC_DEFAULT"
        if key.key_usage != usage:
            raise AwsError(
                "InvalidKeyUsageException",
                f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.",
            )
        if not any(chosen in values for values in allowed):
            raise AwsError(
                "InvalidKeyUsageException", f"Algorithm {chosen} is incompatible with key spec {key.key_spec}."
            )
        return chosen
