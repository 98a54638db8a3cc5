"""Keys that are used for what their spec does not allow, and the life of a grant."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.sandbox.helpers import refused
from tests.sandbox_client import Sandbox

SPECS = {
    "HMAC_256": "GENERATE_VERIFY_MAC",
    "RSA_2048": "ENCRYPT_DECRYPT",
    "ECC_NIST_P256": "SIGN_VERIFY",
    "ECC_NIST_P384": "KEY_AGREEMENT",
}


@pytest.mark.parametrize(("spec", "usage"), SPECS.items())
@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("generate_data_key", {"KeySpec": "AES_256"}),
        ("generate_data_key_without_plaintext", {"NumberOfBytes": 32}),
        ("generate_data_key_pair", {"KeyPairSpec": "ECC_NIST_P256"}),
        ("generate_data_key_pair_without_plaintext", {"KeyPairSpec": "ECC_NIST_P256"}),
    ],
)
def test_only_symmetric_keys_make_data_keys(
    sandbox: Sandbox, spec: str, usage: str, operation: str, fields: dict[str, Any]
) -> None:
    key = sandbox.key(origin="AWS_KMS", key_spec=spec, key_usage=usage)["arn"]
    with refused("InvalidKeyUsageException"):
        getattr(sandbox.client(), operation)(KeyId=key, **fields)


@pytest.mark.parametrize(("spec", "usage"), SPECS.items())
def test_re_encryption_into_and_out_of_other_keys(sandbox: Sandbox, spec: str, usage: str) -> None:
    kms = sandbox.client()
    symmetric = sandbox.key(origin="AWS_KMS")["key_id"]
    other = sandbox.key(origin="AWS_KMS", key_spec=spec, key_usage=usage)["key_id"]
    blob = kms.encrypt(KeyId=symmetric, Plaintext=b"x")["CiphertextBlob"]
    with refused("InvalidKeyUsageException"):
        kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=other)
    code = "InvalidKeyUsageException" if spec == "RSA_2048" else "IncorrectKeyException"
    with refused(code):
        kms.re_encrypt(CiphertextBlob=blob, SourceKeyId=other, DestinationKeyId=symmetric)
    with refused(code):
        kms.decrypt(CiphertextBlob=blob, KeyId=other)
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=os.urandom(200), KeyId=symmetric)


def test_an_algorithm_without_its_key(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key = sandbox.key(origin="AWS_KMS", key_spec="RSA_2048", key_usage="ENCRYPT_DECRYPT")["key_id"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionAlgorithm="RSAES_OAEP_SHA_256")["CiphertextBlob"]
    with refused("ValidationException"):
        kms.decrypt(CiphertextBlob=blob, EncryptionAlgorithm="RSAES_OAEP_SHA_256")
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=blob, KeyId=key, EncryptionAlgorithm="RSAES_OAEP_SHA_1")


ROLE = "arn:aws:iam::111122223333:role/"


def test_a_grant_is_listed_retired_and_revoked(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    key, other = sandbox.key(origin="AWS_KMS")["arn"], sandbox.key(origin="AWS_KMS")["arn"]
    fields = {"GranteePrincipal": ROLE + "A", "RetiringPrincipal": ROLE + "R", "Operations": ["Encrypt", "Decrypt"]}
    first, second, third = (kms.create_grant(KeyId=key, **fields) for _ in range(3))
    kms.create_grant(KeyId=other, **fields | {"GranteePrincipal": ROLE + "B"})
    [shown] = kms.list_grants(KeyId=key, GrantId=first["GrantId"])["Grants"]
    assert shown | {"CreationDate": 0, "Name": ""} == {
        "KeyId": key,
        "GrantId": first["GrantId"],
        "Name": "",
        "CreationDate": 0,
        "GranteePrincipal": ROLE + "A",
        "RetiringPrincipal": ROLE + "R",
        "IssuingAccount": "arn:aws:iam::111122223333:root",
        "Operations": ["Encrypt", "Decrypt"],
    }
    assert len(kms.list_grants(KeyId=key, GranteePrincipal=ROLE + "B")["Grants"]) == 0
    pages = kms.get_paginator("list_grants").paginate(KeyId=key, PaginationConfig={"PageSize": 2})
    assert [len(page["Grants"]) for page in pages] == [2, 1]
    assert len(kms.list_retirable_grants(RetiringPrincipal=ROLE + "R")["Grants"]) == 4
    kms.retire_grant(GrantToken=first["GrantToken"])
    kms.retire_grant(KeyId=key, GrantId=second["GrantId"])
    with pytest.raises(kms.exceptions.DryRunOperationException):
        kms.revoke_grant(KeyId=key, GrantId=third["GrantId"], DryRun=True)
    assert [grant["GrantId"] for grant in kms.list_grants(KeyId=key)["Grants"]] == [third["GrantId"]]
    kms.revoke_grant(KeyId=key, GrantId=third["GrantId"])
    assert kms.list_grants(KeyId=key)["Grants"] == []
    with refused("NotFoundException"):
        kms.revoke_grant(KeyId=key, GrantId=third["GrantId"])
    with refused("InvalidGrantTokenException"):
        kms.retire_grant(GrantToken=first["GrantToken"])
    with refused("ValidationException"):
        kms.retire_grant(KeyId=key)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("arn:aws-cn:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "NotFoundException"),
        ("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "NotFoundException"),
        ("arn:aws:kms:us-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab", "AccessDeniedException"),
        ("arn:aws:kms:us-east-1:111122223333:key/none", "NotFoundException"),
        ("arn:aws:kms:us-east-1:111122223333:thing/none", "InvalidArnException"),
        ("arn:aws:s3:us-east-1:111122223333:key/none", "InvalidArnException"),
        ("arn:aws:kms", "InvalidArnException"),
        ("1234ABCD-12ab-34cd-56ef-1234567890ab", "NotFoundException"),
        ("mrk-1234abcd12ab34cd56ef1234567890ag", "NotFoundException"),
    ],
)
def test_names_of_no_key(sandbox: Sandbox, name: str, code: str) -> None:
    with refused(code):
        sandbox.client().describe_key(KeyId=name)
