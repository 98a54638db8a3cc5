"""KMS: one method an operation. What is not here goes to moto, with the key named by its ARN.

https://docs.aws.amazon.com/kms/latest/APIReference/
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.identity import Principal
from bulk_import.sandbox.kms.backend import SandboxKmsBackend, backend, born, invalid_state, missing
from bulk_import.sandbox.kms.imports import Imports
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.lag import Lag
from bulk_import.sandbox.kms.pages import page
from bulk_import.sandbox.kms.replicas import replicate
from bulk_import.sandbox.kms.rotation import list_rotations, rotate
from bulk_import.sandbox.kms.specs import SPECS, new_material
from bulk_import.sandbox.kms.use import Uses

# Operations whose KeyId may be an alias; all others take a key ID or key ARN.
ALIAS_ALLOWED = frozenset(
    [
        "DescribeKey",
        "GetPublicKey",
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "GenerateMac",
        "VerifyMac",
        "Sign",
        "Verify",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "DeriveSharedSecret",
        "ListAliases",
    ]
)
REPLICA_DELAY = 0.5  # seconds that a new replica is Creating


class Kms(Uses):
    """All accounts' KMS. The caller holds `lock` for every operation but those that LOCK_THEMSELVES.

    Those make or use an RSA private key, and must not keep the others waiting for it.
    """

    LOCK_THEMSELVES = frozenset({"GetParametersForImport", "ImportKeyMaterial"})

    def __init__(self, clock: Clock, imports: Imports, lag: Lag) -> None:
        super().__init__(lag)
        self.clock = clock
        self.imports = imports
        self.lock = threading.RLock()
        self.replica_delay = REPLICA_DELAY

    def handler(self, operation: str) -> Callable[[SandboxKmsBackend, dict[str, Any]], dict[str, Any] | None] | None:
        """The method of `operation`; None: moto's."""
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in operation)
        found: Callable[..., dict[str, Any] | None] | None = getattr(self, f"do{name}", None)
        return found

    def resolve(self, who: Principal, region: str, operation: str, key_id: str) -> SandboxKey:
        """The key that `key_id` names in this account and Region. Raises AwsError as KMS does."""
        if key_id.startswith("arn:"):
            parts = key_id.split(":", 5)
            if len(parts) < 6 or parts[2] != "kms" or not parts[5].startswith(("key/", "alias/")):
                raise AwsError("InvalidArnException", f"Invalid arn {key_id}")
            if parts[3] != region:
                raise AwsError("NotFoundException", f"Invalid arn {parts[3]}")
            if parts[4] != who.account:
                raise AwsError(
                    "AccessDeniedException",
                    f"User: {who.arn} is not authorized to perform: kms:{operation} on resource: {key_id} because "
                    f"no resource-based policy allows the kms:{operation} action",
                )
        store = backend(who.account, region)
        name = key_id.rsplit(":", 1)[-1]
        if name.startswith("alias/"):
            if operation not in ALIAS_ALLOWED:
                raise AwsError("NotFoundException", f"Invalid keyId {key_id}")
            found = store.find(name)
            if found is None:
                arn = key_id if key_id.startswith("arn:") else f"{_prefix(who, region)}:{name}"
                raise AwsError("NotFoundException", f"Alias {arn} is not found.")
            return found
        found = store.find(key_id)
        if found is None:
            raise missing(key_id if key_id.startswith("arn:") else f"{_prefix(who, region)}:key/{key_id}")
        return found

    # --- keys
    def do_create_key(self, store: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        name = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
        usage = params.get("KeyUsage", "ENCRYPT_DECRYPT")
        origin = params.get("Origin", "AWS_KMS")
        spec = SPECS.get(name)
        if spec is None:
            raise AwsError("UnsupportedOperationException", f"KeySpec {name} is not supported in the sandbox")
        if usage not in spec.usages:
            raise AwsError("ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {name}")
        if origin not in ("AWS_KMS", "EXTERNAL"):
            raise AwsError("UnsupportedOperationException", f"Origin {origin} is not supported in the sandbox")
        policy = params.get("Policy")
        if policy is not None and not _is_json(policy):
            raise AwsError("MalformedPolicyDocumentException", "The new key policy is not valid JSON")
        key = store.new_key(
            spec,
            usage,
            origin,
            description=params.get("Description", ""),
            policy=policy,
            multi_region=params.get("MultiRegion", False),
        )
        store.add(key, born(key, None if origin == "EXTERNAL" else new_material(spec)))
        if params.get("Tags"):
            store.tagger.tag_resource(key.id, params["Tags"])
        return {"KeyMetadata": key.metadata(key.now())}

    def do_describe_key(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        return {"KeyMetadata": key.metadata(self.view(key, "DescribeKey"))}

    def do_replicate_key(self, store: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        return replicate(store, params, ready_at=self.clock.now() + self.replica_delay)

    def do_enable_key(self, _: SandboxKmsBackend, params: dict[str, Any]) -> None:
        self._switch(params["Key"], "Enabled")

    def do_disable_key(self, _: SandboxKmsBackend, params: dict[str, Any]) -> None:
        self._switch(params["Key"], "Disabled")

    def _switch(self, key: SandboxKey, state: str) -> None:
        seen = key.now()
        if seen.state not in ("Enabled", "Disabled"):
            raise invalid_state(key.arn, seen.state)
        key.change(replace(seen, state=state))

    def do_schedule_key_deletion(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        seen = key.now()
        if seen.state in ("PendingDeletion", "Creating"):
            raise invalid_state(key.arn, seen.state)
        days = params.get("PendingWindowInDays", 30)
        if not 7 <= days <= 30:
            raise AwsError("ValidationException", "PendingWindowInDays must be between 7 and 30")
        date = self.clock.now() + days * 86400
        key.change(replace(seen, state="PendingDeletion", deletion_date=date))
        return {
            "KeyId": key.arn,
            "DeletionDate": date,
            "KeyState": "PendingDeletion",
            "PendingWindowInDays": days,
        }

    def do_cancel_key_deletion(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        seen = key.now()
        if seen.state != "PendingDeletion":
            raise AwsError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
        after = replace(seen, state="Disabled", deletion_date=None)
        key.change(replace(after, state=after.state_for_materials()))
        return {"KeyId": key.arn}

    def do_list_keys(self, store: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        return page("Keys", [{"KeyId": key.id, "KeyArn": key.arn} for key in store.keys.values()], params)

    def do_list_aliases(self, store: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        """Of one key, or of all; an alias of AWS appears once it has been used."""
        key: SandboxKey | None = params.get("Key")
        entries = [
            {"AliasName": name, "AliasArn": store.keys[key_id].aliases[name].alias_arn, "TargetKeyId": key_id}
            for name, key_id in store.alias_index.items()
            if key is None or key.id == key_id
        ]
        return page("Aliases", entries, params, default=50)

    # --- import
    def do_get_parameters_for_import(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        self.view(params["Key"], "GetParametersForImport")
        return self.imports.get_parameters(params["Key"], params)

    def do_import_key_material(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        material = self.imports.open(params["Key"], params)
        with self.lock:
            return self.imports.put(params["Key"], material, params)

    def do_delete_imported_key_material(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        return self.imports.delete(params["Key"], params)

    def do_rotate_key_on_demand(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        return rotate(params["Key"], self.clock)

    def do_list_key_rotations(self, _: SandboxKmsBackend, params: dict[str, Any]) -> dict[str, Any]:
        key: SandboxKey = params["Key"]
        return list_rotations(key, self.view(key, "ListKeyRotations"), params)


def _prefix(who: Principal, region: str) -> str:
    return f"arn:{who.arn.split(':')[1]}:kms:{region}:{who.account}"


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def fingerprint(secret: bytes | None) -> str | None:
    """SHA-256 of key material: what a test may see of it."""
    return hashlib.sha256(secret).hexdigest() if secret is not None else None
