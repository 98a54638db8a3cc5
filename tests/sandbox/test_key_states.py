"""Every operation in every key state: this table is written apart from the sandbox's, from KMS's guide.

https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.helpers import NEVER, OAEP
from tests.sandbox_client import Sandbox

STATES = ("Enabled", "Disabled", "PendingDeletion", "PendingReplicaDeletion", "PendingImport", "Creating", "Updating")
HEX = os.urandom(32).hex()
GRANT = {"GranteePrincipal": "arn:aws:iam::111122223333:role/R", "Operations": ["Encrypt"]}
WORDS = {
    "Disabled": "disabled",
    "PendingDeletion": "pending deletion",
    "PendingReplicaDeletion": "pending replica deletion",
    "PendingImport": "pending import",
    "Creating": "creating",
    "Updating": "updating",
}
# For each operation, a letter for each of STATES: y works, D DisabledException, S KMSInvalidStateException with the
# state in its message, N KMSInvalidStateException "is not pending deletion".
TABLE = {
    "encrypt": "yDSSSSy",
    "generate_data_key": "yDSSSSy",
    "create_grant": "yDSSSSy",
    "replicate_key": "yDSSSSS",
    "update_primary_region": "yDSSSSS",
    "rotate_key_on_demand": "yDSSSSS",
    "enable_key": "yySSSSS",
    "disable_key": "yySSSSS",
    "get_parameters_for_import": "yySSySS",
    "import_key_material": "yySSySS",
    "delete_imported_key_material": "yyyyySy",
    "create_alias": "yySSyyy",
    "update_alias": "yySSyyy",
    "delete_alias": "yyyyyyy",
    "tag_resource": "yySSyyy",
    "untag_resource": "yySSyyy",
    "list_resource_tags": "yyyyyyy",
    "update_key_description": "yySSyyy",
    "describe_key": "yyyyyyy",
    "list_key_rotations": "yyyyyyy",
    "get_key_policy": "yyyyyyy",
    "put_key_policy": "yyyyyyy",
    "list_grants": "yyyyyyy",
    "schedule_key_deletion": "yySSySy",
    "cancel_key_deletion": "NNyyNNN",
}
OTHERS = {  # of keys with another spec
    ("get_public_key", "RSA_2048"): "yDSSSSy",
    ("sign", "ECC_NIST_P256"): "yDSSSSy",
    ("generate_mac", "HMAC_256"): "yDSSSSy",
}


class Keys:
    """A multi-Region key with a replica in eu-west-1 and pending material, in any state."""

    def __init__(self, sandbox: Sandbox, **fields: Any) -> None:
        self.sandbox = sandbox
        self.kms = sandbox.client()
        given = {"multi_region": True, "alias": "alias/k", "tags": {"old": "1"}} | fields
        self.key = sandbox.key(**given)["key_id"]
        sandbox.key(alias="alias/other")

    def fields(self, operation: str) -> dict[str, Any]:
        """Good parameters, but for the key's state."""
        kms, key = self.kms, self.key
        more: dict[str, dict[str, Any]] = {
            "encrypt": {"Plaintext": b"x"},
            "generate_data_key": {"KeySpec": "AES_256"},
            "create_grant": GRANT,
            "replicate_key": {"ReplicaRegion": "eu-west-2"},
            "update_primary_region": {"PrimaryRegion": "eu-west-1"},
            "get_parameters_for_import": {"WrappingAlgorithm": OAEP[1], "WrappingKeySpec": "RSA_2048"},
            "import_key_material": {"ImportToken": b"x", "EncryptedKeyMaterial": b"x"} | NEVER,
            "tag_resource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
            "untag_resource": {"TagKeys": ["old"]},
            "update_key_description": {"Description": "new"},
            "put_key_policy": {"Policy": kms.get_key_policy(KeyId=key)["Policy"]},
            "sign": {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"},
            "generate_mac": {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"},
        }
        if operation.endswith("_alias"):
            name = {"create_alias": "alias/new", "update_alias": "alias/other", "delete_alias": "alias/k"}[operation]
            return {"AliasName": name} | ({"TargetKeyId": key} if operation != "delete_alias" else {})
        return {"KeyId": key} | more.get(operation, {})

    def become(self, state: str) -> None:
        if state != "Enabled":
            self.sandbox.post("key", account="111122223333", region="us-east-1", key=self.key, state=state)

    def verdict(self, operation: str, state: str) -> str:
        """The letter of TABLE for what KMS answers."""
        fields = self.fields(operation)
        self.become(state)
        try:
            getattr(self.kms, operation)(**fields)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        else:
            return "y"
        if code == "InvalidImportTokenException":  # the token comes after the state
            return "y"
        if code == "KMSInvalidStateException" and message.endswith("is not pending deletion."):
            return "N"
        assert message.endswith(f" is {WORDS[state]}."), message
        return {"DisabledException": "D", "KMSInvalidStateException": "S"}[code]


@pytest.mark.parametrize("operation", TABLE)
def test_every_operation_in_every_state(sandbox: Sandbox, operation: str) -> None:
    found = ""
    origin = "AWS_KMS" if operation in ("rotate_key_on_demand", "update_primary_region") else "EXTERNAL"
    for state in STATES:
        sandbox.reset()
        material = {} if origin == "AWS_KMS" else {"material": {"hex": HEX}}
        found += Keys(sandbox, origin=origin, replicas=["eu-west-1"], **material).verdict(operation, state)
    assert found == TABLE[operation]


@pytest.mark.parametrize(("operation", "spec"), OTHERS)
def test_use_of_other_specs(sandbox: Sandbox, operation: str, spec: str) -> None:
    found = ""
    for state in STATES:
        sandbox.reset()
        usage = {"HMAC_256": "GENERATE_VERIFY_MAC"}.get(spec, "SIGN_VERIFY")
        found += Keys(sandbox, origin="AWS_KMS", key_spec=spec, key_usage=usage).verdict(operation, state)
    assert found == OTHERS[operation, spec]


@pytest.mark.parametrize("operation", ["enable_key_rotation", "disable_key_rotation", "get_key_rotation_status"])
def test_automatic_rotation_is_of_symmetric_keys_that_kms_made(sandbox: Sandbox, operation: str) -> None:
    kms = sandbox.client()
    for fields in ({"key_spec": "HMAC_256"}, {"key_spec": "ECC_NIST_P256"}, {"origin": "EXTERNAL"}):
        key = sandbox.key(**{"origin": "AWS_KMS"} | fields)["key_id"]
        with pytest.raises(kms.exceptions.UnsupportedOperationException):
            getattr(kms, operation)(KeyId=key)
    key = sandbox.key(origin="AWS_KMS")["key_id"]
    getattr(kms, operation)(KeyId=key)
    kms.schedule_key_deletion(KeyId=key)
    if operation == "get_key_rotation_status":
        assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    else:
        with pytest.raises(kms.exceptions.KMSInvalidStateException):
            getattr(kms, operation)(KeyId=key)


@pytest.mark.parametrize(
    ("operation", "spec", "fields"),
    [
        ("encrypt", "SYMMETRIC_DEFAULT", {"Plaintext": b"x"}),
        ("generate_data_key", "SYMMETRIC_DEFAULT", {"KeySpec": "AES_256"}),
        ("generate_data_key_without_plaintext", "SYMMETRIC_DEFAULT", {"KeySpec": "AES_256"}),
        ("generate_data_key_pair", "SYMMETRIC_DEFAULT", {"KeyPairSpec": "ECC_NIST_P256"}),
        ("generate_mac", "HMAC_256", {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}),
        ("sign", "ECC_NIST_P256", {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}),
        ("create_grant", "SYMMETRIC_DEFAULT", GRANT),
    ],
)
def test_a_dry_run_does_nothing(sandbox: Sandbox, operation: str, spec: str, fields: dict[str, Any]) -> None:
    kms = sandbox.client()
    key = sandbox.key(origin="AWS_KMS", key_spec=spec)["key_id"]
    with pytest.raises(kms.exceptions.DryRunOperationException, match="would have succeeded"):
        getattr(kms, operation)(KeyId=key, DryRun=True, **fields)
    assert kms.list_grants(KeyId=key)["Grants"] == []
    kms.disable_key(KeyId=key)
    with pytest.raises(kms.exceptions.DisabledException):  # it would not have succeeded
        getattr(kms, operation)(KeyId=key, DryRun=True, **fields)
