"""What a KMS request needs: actions, resources, and the condition keys that it carries.

https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
https://docs.aws.amazon.com/kms/latest/developerguide/policy-conditions.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bulk_import.sandbox.access.documents import Asked
from bulk_import.sandbox.kms.envelope import key_id_of
from bulk_import.sandbox.kms.keys import EXPIRES, SandboxKey
from bulk_import.sandbox.kms.naming import resolve
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.specs import SYMMETRIC

# Condition keys that have the name of the request's own parameter.
SAME_NAME = (
    "BypassPolicyLockoutSafetyCheck",
    "EncryptionAlgorithm",
    "ExpirationModel",
    "GranteePrincipal",
    "KeyAgreementAlgorithm",
    "MacAlgorithm",
    "MessageType",
    "MultiRegion",
    "PrimaryRegion",
    "ReplicaRegion",
    "RetiringPrincipal",
    "RotationPeriodInDays",
    "SigningAlgorithm",
    "ValidTo",
    "WrappingAlgorithm",
    "WrappingKeySpec",
)
MULTI_REGION_ROLE = "aws-service-role/mrk.kms.amazonaws.com/AWSServiceRoleForKeyManagementServiceMultiRegionKeys"


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to be judged. `key`: its key policy and its grants count; None: identity policies alone."""

    asked: Asked
    key: SandboxKey | None = None


def needs(request: Request, at: float | None) -> Iterator[Need]:
    """All that a request needs. `at`: the moment whose aliases and tags authorization knows; None: now."""
    operation, params, store = request.operation, request.params, request.store
    action = f"kms:{operation}"
    if operation == "CreateKey":
        yield from _create(request)
    elif operation in ("CreateAlias", "UpdateAlias", "DeleteAlias"):
        name = params["AliasName"]
        yield Need(Asked(action, store.alias_arn(name), _common(request)))
        before = store.alias_target(name) if operation != "CreateAlias" else None
        if before is not None:
            yield _on_key(request, action, store.keys[before], at)
        if "TargetKeyId" in params and not params["TargetKeyId"].startswith("alias/"):
            yield _on_key(request, action, resolve(request, params["TargetKeyId"]), at)
    elif operation == "ReEncrypt":
        source = params.get("SourceKeyId")
        key = resolve(request, source) if source else store.find(key_id_of(params["CiphertextBlob"]))
        if key is not None:
            yield _on_key(request, "kms:ReEncryptFrom", key, at)
        yield _on_key(request, "kms:ReEncryptTo", resolve(request, params["DestinationKeyId"]), at)
    elif operation == "ReplicateKey":
        yield _on_key(request, action, request.key, at)
        context = _common(request) | _key_context(request.key) | {"aws:RequestedRegion": params["ReplicaRegion"]}
        yield Need(Asked("kms:CreateKey", "*", context))
        yield from _tags(request, "*")
    elif request.named is not None:
        yield _on_key(request, action, request.named, at)
    elif operation == "Decrypt":
        key = store.find(key_id_of(params["CiphertextBlob"]))
        if key is not None:
            yield _on_key(request, action, key, at)
    else:
        yield Need(Asked(action, "*", _common(request)))


def _create(request: Request) -> Iterator[Need]:
    params = request.params
    spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or SYMMETRIC
    context = _common(request) | {
        "kms:KeyOrigin": params.get("Origin", "AWS_KMS"),
        "kms:KeySpec": spec,
        "kms:KeyUsage": params.get("KeyUsage", "ENCRYPT_DECRYPT"),
        "kms:MultiRegion": params.get("MultiRegion", False),
        "kms:BypassPolicyLockoutSafetyCheck": params.get("BypassPolicyLockoutSafetyCheck", False),
    }
    if params.get("MultiRegion"):
        context["kms:MultiRegionKeyType"] = "PRIMARY"
    yield Need(Asked("kms:CreateKey", "*", context))
    yield from _tags(request, "*")
    if params.get("MultiRegion"):
        partition = request.who.arn.split(":")[1]
        role = f"arn:{partition}:iam::{request.who.account}:role/{MULTI_REGION_ROLE}"
        more = {"iam:AWSServiceName": "mrk.kms.amazonaws.com"}
        yield Need(Asked("iam:CreateServiceLinkedRole", role, _common(request) | more))


def _tags(request: Request, resource: str) -> Iterator[Need]:
    if request.params.get("Tags"):
        yield Need(Asked("kms:TagResource", resource, _common(request)))


def _on_key(request: Request, action: str, key: SandboxKey, at: float | None) -> Need:
    context = _common(request) | _key_context(key)
    context |= {f"aws:ResourceTag/{name}": value for name, value in key.tags.at(at).items()}
    aliases = request.store.aliases_of(key, at)
    if aliases:
        context["kms:ResourceAliases"] = aliases
    return Need(Asked(action, key.arn, context), key)


def _key_context(key: SandboxKey) -> dict[str, Any]:
    context: dict[str, Any] = {
        "kms:KeyOrigin": key.origin,
        "kms:KeySpec": key.key_spec,
        "kms:KeyUsage": key.key_usage,
        "kms:MultiRegion": key.multi_region,
    }
    if key.multi_region:
        context["kms:MultiRegionKeyType"] = "PRIMARY" if key.primary is key else "REPLICA"
    return context


def _common(request: Request) -> dict[str, Any]:
    params = request.params
    context: dict[str, Any] = {"kms:CallerAccount": request.who.account}
    context |= {f"kms:{name}": params[name] for name in SAME_NAME if name in params}
    if request.operation == "ImportKeyMaterial":
        context.setdefault("kms:ExpirationModel", EXPIRES)
    if "ValidTo" in params:
        context["kms:ValidTo"] = params["ValidTo"]
    if "PendingWindowInDays" in params:
        context["kms:ScheduleKeyDeletionPendingWindowInDays"] = params["PendingWindowInDays"]
    named = str(params.get("KeyId", "")).rsplit(":", 1)[-1]
    if named.startswith("alias/"):
        context["kms:RequestAlias"] = named
    tags = [(tag["TagKey"], tag["TagValue"]) for tag in params.get("Tags", [])]
    context |= {f"aws:RequestTag/{name}": value for name, value in tags}
    names = [name for name, _ in tags] or params.get("TagKeys", [])
    if names:
        context["aws:TagKeys"] = names
    if "Operations" in params:
        context["kms:GrantOperations"] = params["Operations"]
    encryption = params.get("EncryptionContext", {})
    context |= {f"kms:EncryptionContext:{name}": value for name, value in encryption.items()}
    if encryption:
        context["kms:EncryptionContextKeys"] = list(encryption)
    return context
