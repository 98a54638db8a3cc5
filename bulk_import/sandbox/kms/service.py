"""KMS: from a request's operation to the method that answers it. One class per subject, put together here.

https://docs.aws.amazon.com/kms/latest/APIReference/
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.kms.aliases import Aliases
from bulk_import.sandbox.kms.data_keys import DataKeys
from bulk_import.sandbox.kms.grants import Grants
from bulk_import.sandbox.kms.imports import Imports
from bulk_import.sandbox.kms.key_policies import KeyPolicies
from bulk_import.sandbox.kms.lag import Lag
from bulk_import.sandbox.kms.lifecycle import Lifecycle
from bulk_import.sandbox.kms.quotas import CRYPTOGRAPHIC
from bulk_import.sandbox.kms.replicas import Replicas
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.rotation import Rotation, list_rotations
from bulk_import.sandbox.kms.tags import Tags

Handler = Callable[[Request], dict[str, Any] | None]


class Kms(Lifecycle, Aliases, Tags, KeyPolicies, Grants, Replicas, Rotation, DataKeys):
    """All accounts' KMS. The caller holds `lock` for every operation but those that LOCK_THEMSELVES.

    Those make or use an RSA private key, and must not keep the others waiting for it.
    """

    LOCK_THEMSELVES = frozenset({"GetParametersForImport", "ImportKeyMaterial"})

    def __init__(self, clock: Clock, imports: Imports, lag: Lag) -> None:
        super().__init__(lag)
        self.clock = clock
        self.imports = imports
        self.lock = threading.RLock()

    def handler(self, operation: str) -> Handler:
        """The method of `operation`. Raises AwsError where the sandbox has none: custom key stores."""
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in operation)
        found: Handler | None = getattr(self, f"do{name}", None)
        if found is None:
            raise AwsError("UnsupportedOperationException", f"{operation} is not supported in the sandbox")
        return found

    def answer(self, request: Request, request_id: str) -> dict[str, Any] | None:
        """Answers a request; notes the last use of its key. Raises AwsError."""
        result = self.handler(request.operation)(request)
        if request.operation in CRYPTOGRAPHIC and request.named is not None:
            request.named.last_use = request.operation, self.clock.now(), request_id
        return result

    def do_describe_key(self, request: Request) -> dict[str, Any]:
        return {"KeyMetadata": request.key.metadata(self.view(request, request.key), request.at)}

    def do_list_key_rotations(self, request: Request) -> dict[str, Any]:
        return list_rotations(request.key, self.view(request, request.key), request.params)

    # --- import
    def do_get_parameters_for_import(self, request: Request) -> dict[str, Any]:
        self.view(request, request.key)
        return self.imports.get_parameters(request.key, request.params)

    def do_import_key_material(self, request: Request) -> dict[str, Any]:
        material = self.imports.open(request.key, request.params)
        with self.lock:
            return self.imports.put(request.key, material, request.params)

    def do_delete_imported_key_material(self, request: Request) -> dict[str, Any]:
        return self.imports.delete(request.key, request.params)
