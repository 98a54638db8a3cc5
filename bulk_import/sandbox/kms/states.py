"""Which operation KMS refuses in which key state, and how. An operation or state that is not listed is allowed.

https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

from bulk_import.sandbox.answers import AwsError

DISABLED, STATE, NOT_PENDING = "DisabledException", "KMSInvalidStateException", "not pending deletion"
DELETED_SOON = {"PendingDeletion": STATE, "PendingReplicaDeletion": STATE}
UNUSABLE = {"Disabled": DISABLED, **DELETED_SOON, "PendingImport": STATE, "Creating": STATE, "Unavailable": STATE}
# Keys in Updating can be used, but their family cannot be changed.
UNCHANGEABLE = UNUSABLE | {"Updating": STATE}
SWITCH = {**DELETED_SOON, "PendingImport": STATE, "Creating": STATE, "Updating": STATE}

REFUSED: dict[str, dict[str, str]] = {
    **dict.fromkeys(
        [
            "Encrypt",
            "Decrypt",
            "ReEncrypt",
            "GenerateDataKey",
            "GenerateDataKeyWithoutPlaintext",
            "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext",
            "GenerateMac",
            "VerifyMac",
            "Sign",
            "Verify",
            "DeriveSharedSecret",
            "GetPublicKey",
        ],
        UNUSABLE,
    ),
    "CreateGrant": {name: kind for name, kind in UNUSABLE.items() if name != "Unavailable"},
    "ReplicateKey": UNCHANGEABLE,
    "UpdatePrimaryRegion": UNCHANGEABLE,
    "RotateKeyOnDemand": UNCHANGEABLE,
    "EnableKey": SWITCH,
    "DisableKey": SWITCH,
    "EnableKeyRotation": UNCHANGEABLE,
    "DisableKeyRotation": UNCHANGEABLE,
    "GetParametersForImport": {**DELETED_SOON, "Creating": STATE, "Updating": STATE, "Unavailable": STATE},
    "ImportKeyMaterial": {**DELETED_SOON, "Creating": STATE, "Updating": STATE, "Unavailable": STATE},
    "DeleteImportedKeyMaterial": {"Creating": STATE},
    "CreateAlias": DELETED_SOON,
    "UpdateAlias": DELETED_SOON,
    "TagResource": DELETED_SOON,
    "UntagResource": DELETED_SOON,
    "UpdateKeyDescription": DELETED_SOON,
    "ScheduleKeyDeletion": {**DELETED_SOON, "Creating": STATE},
    "CancelKeyDeletion": dict.fromkeys(
        ["Enabled", "Disabled", "PendingImport", "Creating", "Updating", "Unavailable"], NOT_PENDING
    ),
}
WORDS = {
    "PendingImport": "pending import",
    "PendingDeletion": "pending deletion",
    "PendingReplicaDeletion": "pending replica deletion",
}


def check(operation: str, arn: str, state: str) -> None:
    """Raises AwsError where `operation` is refused on the key `arn` in `state`."""
    kind = REFUSED.get(operation, {}).get(state)
    if kind == NOT_PENDING:
        raise AwsError(STATE, f"{arn} is not pending deletion.")
    if kind == DISABLED:
        raise AwsError(DISABLED, f"{arn} is disabled.")
    if kind == STATE:
        raise invalid_state(arn, state)


def invalid_state(arn: str, state: str) -> AwsError:
    return AwsError(STATE, f"{arn} is {WORDS.get(state, state.lower())}.")
