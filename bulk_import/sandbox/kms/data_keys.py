"""Data keys and data key pairs under a symmetric key, and random bytes.

https://docs.aws.amazon.com/kms/latest/developerguide/data-keys.html
"""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms.private_key import PrivateKey
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.specs import SPECS, SYMMETRIC, new_material
from bulk_import.sandbox.kms.use import Uses

SIZES = {"AES_128": 16, "AES_256": 32}


class DataKeys(Uses):
    """The operations that make data keys."""

    def do_generate_data_key(self, request: Request) -> dict[str, Any]:
        plaintext, answer = self._data_key(request)
        return answer | {"Plaintext": b64encode(plaintext).decode()}

    def do_generate_data_key_without_plaintext(self, request: Request) -> dict[str, Any]:
        return self._data_key(request)[1]

    def _data_key(self, request: Request) -> tuple[bytes, dict[str, Any]]:
        params = request.params
        if ("NumberOfBytes" in params) == ("KeySpec" in params):
            raise AwsError("ValidationException", "Please specify either number of bytes or key spec.")
        plaintext = os.urandom(params.get("NumberOfBytes") or SIZES[params["KeySpec"]])
        return plaintext, {"CiphertextBlob": self._sealed(request, plaintext), "KeyId": request.key.arn}

    def do_generate_data_key_pair(self, request: Request) -> dict[str, Any]:
        private, answer = self._pair(request)
        return answer | {"PrivateKeyPlaintext": b64encode(private).decode()}

    def do_generate_data_key_pair_without_plaintext(self, request: Request) -> dict[str, Any]:
        return self._pair(request)[1]

    def _pair(self, request: Request) -> tuple[bytes, dict[str, Any]]:
        name = request.params["KeyPairSpec"]
        spec = SPECS.get(name)
        if spec is None:
            raise AwsError("UnsupportedOperationException", f"KeyPairSpec {name} is not supported in the sandbox")
        self.usable(request, request.key, "ENCRYPT_DECRYPT", SYMMETRIC)
        request.dry_run()
        private = new_material(spec)
        return private, {
            "PrivateKeyCiphertextBlob": self._sealed(request, private),
            "PublicKey": b64encode(PrivateKey(private).public_der()).decode(),
            "KeyPairSpec": name,
            "KeyId": request.key.arn,
        }

    def _sealed(self, request: Request, plaintext: bytes) -> str:
        blob, _ = self.encrypt(request, request.key, plaintext, SYMMETRIC, request.params.get("EncryptionContext"))
        return b64encode(blob).decode()

    def do_generate_random(self, request: Request) -> dict[str, Any]:
        if "NumberOfBytes" not in request.params:
            raise AwsError("ValidationException", "NumberOfBytes is required.")
        return {"Plaintext": b64encode(os.urandom(request.params["NumberOfBytes"])).decode()}
