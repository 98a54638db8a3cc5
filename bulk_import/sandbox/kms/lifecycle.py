"""A key from CreateKey to its deletion, its description, and its list.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import key_policies, states, tags
from bulk_import.sandbox.kms.backend import born
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.pages import page
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.specs import SPECS, SYMMETRIC, Spec, new_material
from bulk_import.sandbox.kms.timeline import Timeline


class Lifecycle:
    """The operations that make, switch, describe and delete keys."""

    def do_create_key(self, request: Request) -> dict[str, Any]:
        params, store = request.params, request.store
        spec, usage = _kind(params)
        origin = params.get("Origin", "AWS_KMS")
        if origin not in ("AWS_KMS", "EXTERNAL"):
            raise AwsError("UnsupportedOperationException", f"Origin {origin} is not supported in the sandbox")
        policy = params.get("Policy")
        if policy is not None:
            key_policies.accept(policy, request, bypass=params.get("BypassPolicyLockoutSafetyCheck", False))
        wanted = tags.checked(params.get("Tags", []))
        key = store.new_key(
            spec,
            usage,
            origin,
            description=params.get("Description", ""),
            policy=policy,
            multi_region=params.get("MultiRegion", False),
        )
        key.tags = Timeline(wanted, key.creation_date)
        store.add(key, born(key, None if origin == "EXTERNAL" else new_material(spec)))
        return {"KeyMetadata": key.metadata(key.now())}

    def do_update_key_description(self, request: Request) -> None:
        key = request.key
        states.check("UpdateKeyDescription", key.arn, key.now().state)
        key.descriptions.set(request.params["Description"], key.clock.now())

    def do_enable_key(self, request: Request) -> None:
        _switch(request, "Enabled")

    def do_disable_key(self, request: Request) -> None:
        _switch(request, "Disabled")

    def do_schedule_key_deletion(self, request: Request) -> dict[str, Any]:
        """A primary with replicas waits for their deletion first."""
        key = request.key
        seen = key.now()
        states.check("ScheduleKeyDeletion", key.arn, seen.state)
        days = request.params.get("PendingWindowInDays", 30)
        if not 7 <= days <= 30:
            raise AwsError("ValidationException", "PendingWindowInDays must be between 7 and 30")
        answer = {"KeyId": key.arn, "PendingWindowInDays": days}
        if key.replicas:
            key.change(replace(seen, state="PendingReplicaDeletion", deletion_days=days))
            return answer | {"KeyState": "PendingReplicaDeletion"}
        date = key.clock.now() + days * 86400
        key.change(replace(seen, state="PendingDeletion", deletion_date=date))
        return answer | {"KeyState": "PendingDeletion", "DeletionDate": date}

    def do_cancel_key_deletion(self, request: Request) -> dict[str, Any]:
        key = request.key
        seen = key.now()
        states.check("CancelKeyDeletion", key.arn, seen.state)
        after = replace(seen, state="Disabled", deletion_date=None, deletion_days=None)
        key.change(replace(after, state=after.state_for_materials()))
        return {"KeyId": key.arn}

    def do_list_keys(self, request: Request) -> dict[str, Any]:
        keys = [key for key in request.store.live() if request.at is None or key.as_of(request.at) is not None]
        return page("Keys", [{"KeyId": key.id, "KeyArn": key.arn} for key in keys], request.params)

    def do_get_key_last_usage(self, request: Request) -> dict[str, Any]:
        """Kept from the key's birth on."""
        key = request.key
        answer: dict[str, Any] = {
            "KeyId": key.arn,
            "KeyCreationDate": key.creation_date,
            "TrackingStartDate": key.creation_date,
        }
        if key.last_use:
            operation, moment, request_id = key.last_use
            answer["KeyLastUsage"] = {
                "Operation": operation,
                "Timestamp": moment,
                "CloudTrailEventId": request_id,
                "KmsRequestId": request_id,
            }
        return answer


def _kind(params: dict[str, Any]) -> tuple[Spec, str]:
    """Key spec and usage of a CreateKey."""
    if "KeySpec" in params and "CustomerMasterKeySpec" in params:
        raise AwsError(
            "ValidationException",
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
            "CustomerMasterKeySpec is deprecated.",
        )
    name = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or SYMMETRIC
    usage = params.get("KeyUsage")
    if usage is None and name != SYMMETRIC:
        raise AwsError(
            "ValidationException",
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        )
    usage = usage or "ENCRYPT_DECRYPT"
    spec = SPECS.get(name)
    if spec is None:
        raise AwsError("UnsupportedOperationException", f"KeySpec {name} is not supported in the sandbox")
    if usage not in spec.usages:
        raise AwsError("ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {name}")
    return spec, usage


def _switch(request: Request, state: str) -> None:
    key: SandboxKey = request.key
    seen = key.now()
    states.check(request.operation, key.arn, seen.state)
    key.change(replace(seen, state=state))
