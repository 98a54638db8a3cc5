"""`--enforce-policies`: signatures, identity policies, session policies, key policies and grants decide."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.enforced import (
    ALL,
    CALLER,
    WHO,
    A,
    client,
    document,
    plant,
    process,
    session,
    statement,
    strict,
    worker,
)
from tests.sandbox.helpers import refused
from tests.sandbox_client import Sandbox

__all__ = ["process", "strict"]  # fixtures


# --- signatures
@pytest.mark.parametrize("service", ["kms", "sts", "s3"])
def test_a_wrong_secret_is_refused(strict: Sandbox, service: str) -> None:
    plant(strict, ALL)
    wrong = client(strict, service, aws_access_key_id=CALLER["access_key_id"], aws_secret_access_key="another")
    call = {"kms": "list_keys", "sts": "get_caller_identity", "s3": "list_buckets"}[service]
    if service == "sts":
        wrong = client(strict, "sts", **session(strict) | {"aws_secret_access_key": "another"})
        call = "get_session_token"
    code = "InvalidSignatureException" if service == "kms" else "SignatureDoesNotMatch"
    with refused(code, 400 if service == "kms" else 403) as refusal:
        getattr(wrong, call)()
    assert refusal.message.startswith("The request signature we calculated does not match the signature you provided.")


def test_right_signatures_pass_whatever_is_signed(strict: Sandbox) -> None:
    plant(strict, ALL)
    s3 = worker(strict, "s3")
    s3.create_bucket(Bucket="byok")
    for key in ("a b+c&d=é/ü.key", "plain", "with%20percent"):
        s3.put_object(Bucket="byok", Key=key, Body=b"x" * 100)
        assert s3.get_object(Bucket="byok", Key=key)["Body"].read() == b"x" * 100
    assert len(s3.list_objects_v2(Bucket="byok", Prefix="a b", Delimiter="")["Contents"]) == 1
    assert worker(strict, "secretsmanager").list_secrets()["SecretList"] == []
    assert worker(strict).list_keys()["Keys"]


def test_a_body_that_was_changed_on_the_way_is_refused(strict: Sandbox) -> None:
    kms = worker(strict) if plant(strict, ALL) else None

    def change(request: Any, **_: Any) -> None:
        request.body = b'{"Limit": 9}'
        request.headers["Content-Length"] = "12"

    assert kms is not None
    kms.meta.events.register_last("before-send.kms.ListKeys", lambda request, **_: change(request))
    with refused("InvalidSignatureException"):
        kms.list_keys(Limit=10)


# --- identity and session policies
def test_nothing_is_allowed_by_default(strict: Sandbox) -> None:
    key = plant(strict)
    kms = worker(strict)
    for call, action, resource in (
        (lambda: kms.describe_key(KeyId="alias/k"), "kms:DescribeKey", key["arn"]),
        (lambda: kms.encrypt(KeyId=key["key_id"], Plaintext=b"x"), "kms:Encrypt", key["arn"]),
        (kms.create_key, "kms:CreateKey", "*"),
        (kms.list_keys, "kms:ListKeys", "*"),
        (lambda: kms.delete_alias(AliasName="alias/k"), "kms:DeleteAlias", f"arn:aws:kms:us-east-1:{A}:alias/k"),
    ):
        with refused("AccessDeniedException") as refusal:
            call()
        reason = f"because no identity-based policy allows the {action} action"
        assert refusal.message == f"{WHO}{action} on resource: {resource} {reason}"
    assert len(strict.keys()) == 1


def test_an_explicit_deny_wins(strict: Sandbox) -> None:
    plant(strict, ALL, document(statement("kms:Enc*", effect="Deny")))
    kms = worker(strict)
    kms.describe_key(KeyId="alias/k")
    with refused("AccessDeniedException") as refusal:
        kms.encrypt(KeyId="alias/k", Plaintext=b"x")
    assert refusal.message.endswith("with an explicit deny in an identity-based policy")


def test_a_session_policy_narrows_and_never_widens(strict: Sandbox) -> None:
    plant(strict, document(statement("kms:DescribeKey", "kms:Encrypt")))
    narrow = json.dumps(document(statement("kms:DescribeKey", "kms:Decrypt")))
    kms = worker(strict, Policy=narrow)
    kms.describe_key(KeyId="alias/k")
    with refused("AccessDeniedException") as refusal:
        kms.encrypt(KeyId="alias/k", Plaintext=b"x")
    assert refusal.message.endswith("because no session policy allows the kms:Encrypt action")
    with refused("AccessDeniedException") as refusal:
        kms.decrypt(CiphertextBlob=worker(strict).encrypt(KeyId="alias/k", Plaintext=b"x")["CiphertextBlob"])
    assert refusal.message.endswith("because no identity-based policy allows the kms:Decrypt action")


CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    ({"StringEquals": {"kms:KeyOrigin": "EXTERNAL"}}, True),
    ({"StringEquals": {"kms:KeyOrigin": ["AWS_KMS", "x"]}}, False),
    ({"StringNotEquals": {"kms:KeyOrigin": "AWS_KMS"}}, True),
    ({"StringNotEquals": {"kms:NoSuchKey": "x"}}, True),
    ({"StringEquals": {"kms:NoSuchKey": "x"}}, False),
    ({"StringEqualsIfExists": {"kms:NoSuchKey": "x"}}, True),
    ({"Null": {"kms:NoSuchKey": "true", "kms:KeySpec": "false"}}, True),
    ({"ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/other", "alias/k"]}}, True),
    ({"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/pay*"}}, False),
    ({"ForAllValues:StringLike": {"kms:ResourceAliases": "alias/?"}}, True),
    ({"StringEquals": {"kms:RequestAlias": "alias/k"}}, True),
    ({"StringEquals": {"aws:ResourceTag/team": "a"}}, True),
    ({"StringEquals": {"aws:resourcetag/team": "${aws:PrincipalAccount}"}}, False),
    ({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/Work*"}}, True),
    ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}}, True),
    ({"Bool": {"kms:MultiRegion": "false", "aws:SecureTransport": "false"}}, True),
    ({"NumericLessThan": {"aws:EpochTime": "1000"}}, False),
    ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
    ({"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.1/32"]}}, False),
    ({"StringEquals": {"kms:CallerAccount": A}, "StringLike": {"kms:KeySpec": "HMAC_*"}}, False),
]


@pytest.mark.parametrize(("condition", "allowed"), CONDITIONS, ids=json.dumps)
def test_conditions(strict: Sandbox, condition: dict[str, Any], allowed: bool) -> None:
    plant(strict, document(statement("kms:DescribeKey", **condition)), tags={"team": "a"})
    kms = worker(strict)
    if allowed:
        assert kms.describe_key(KeyId="alias/k")["KeyMetadata"]
    else:
        with refused("AccessDeniedException"):
            kms.describe_key(KeyId="alias/k")


# --- key policies and grants
def put_policy(sandbox: Sandbox, key: str, *statements: dict[str, Any]) -> None:
    admin = client(sandbox, **session(sandbox, "Admin"))
    text = json.dumps(document(*statements))
    admin.put_key_policy(KeyId=key, Policy=text, BypassPolicyLockoutSafetyCheck=True)


def test_a_key_policy_without_the_account_shuts_iam_out(strict: Sandbox) -> None:
    key = plant(strict, ALL)["key_id"]
    put_policy(strict, key, statement("kms:*") | {"Principal": {"AWS": f"arn:aws:iam::{A}:role/Admin"}})
    with refused("AccessDeniedException") as refusal:
        worker(strict).describe_key(KeyId=key)
    assert refusal.message.endswith("because no resource-based policy allows the kms:DescribeKey action")
    assert client(strict, **session(strict, "Admin")).describe_key(KeyId=key)["KeyMetadata"]


def test_a_key_policy_that_names_the_role_is_enough(strict: Sandbox) -> None:
    key = plant(strict)["key_id"]
    mine = {"Principal": {"AWS": f"arn:aws:iam::{A}:role/Worker"}}
    put_policy(strict, key, statement("kms:DescribeKey") | mine, statement("kms:Encrypt", effect="Deny") | mine)
    kms = worker(strict)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]
    with refused("AccessDeniedException") as refusal:
        kms.encrypt(KeyId=key, Plaintext=b"x")
    assert refusal.message.endswith("with an explicit deny in a resource-based policy")
    with refused("AccessDeniedException"):
        worker(strict, Policy=json.dumps(document(statement("kms:Encrypt")))).describe_key(KeyId=key)


def test_a_key_policy_names_roles_that_exist(strict: Sandbox) -> None:
    """A role that was just made is unknown for a while, and makes the policy malformed."""
    plant(strict)
    strict.advance(100)
    admin = client(strict, **session(strict, "Admin"))
    own = statement("kms:*") | {"Principal": {"AWS": f"arn:aws:iam::{A}:root"}}
    new = statement("kms:Encrypt") | {"Principal": {"AWS": f"arn:aws:iam::{A}:role/ci/New"}}
    policy = json.dumps(document(own, new))
    for seconds in (0, 30, 30):
        with refused("MalformedPolicyDocumentException") as refusal:
            admin.create_key(Policy=policy)
        assert refusal.message == "Policy contains a statement with one or more invalid principals."
        strict.seed({"accounts": {A: {"roles": [{"name": "ci/New"}]}}} if seconds == 0 else {})
        strict.post("lag", seconds=50, share=1)
        strict.advance(seconds)
    assert admin.create_key(Policy=policy)["KeyMetadata"]


def test_a_grant_allows_its_operations_until_it_is_revoked(strict: Sandbox) -> None:
    key = plant(strict)["key_id"]
    admin = client(strict, **session(strict, "Admin"))
    fields = {"KeyId": key, "GranteePrincipal": f"arn:aws:iam::{A}:role/Worker", "Operations": ["Encrypt"], "Name": "n"}
    grant = admin.create_grant(**fields)
    assert admin.create_grant(**fields)["GrantId"] == grant["GrantId"]
    [shown] = admin.list_grants(KeyId=key)["Grants"]
    assert (shown["Operations"], shown["GranteePrincipal"]) == (["Encrypt"], fields["GranteePrincipal"])
    kms = worker(strict)
    assert kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException"):
        kms.describe_key(KeyId=key)
    admin.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    with refused("AccessDeniedException"):
        kms.encrypt(KeyId=key, Plaintext=b"x")


def test_two_keys_need_two_permissions(strict: Sandbox) -> None:
    key = plant(strict, document(statement("kms:ReEncryptFrom", "kms:Encrypt")))["key_id"]
    kms = worker(strict)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    with refused("AccessDeniedException") as refusal:
        kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key)
    assert "kms:ReEncryptTo" in refusal.message


def test_creation_needs_tags_and_the_role_of_multi_region_keys(strict: Sandbox) -> None:
    origin = {"StringEquals": {"kms:KeyOrigin": "EXTERNAL"}}
    plant(strict, document(statement("kms:CreateKey", **origin)))
    kms = worker(strict)
    assert kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    for fields, missing in (
        ({}, "kms:CreateKey"),
        ({"Origin": "EXTERNAL", "Tags": [{"TagKey": "a", "TagValue": "b"}]}, "kms:TagResource"),
        ({"Origin": "EXTERNAL", "MultiRegion": True}, "iam:CreateServiceLinkedRole"),
    ):
        with pytest.raises(ClientError, match=missing):
            kms.create_key(**fields)


def test_authorization_learns_of_aliases_and_tags_late(strict: Sandbox) -> None:
    by_alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/new"}}
    by_tag = {"StringEquals": {"aws:ResourceTag/team": "a"}}
    key = plant(strict, document(statement("kms:DescribeKey", **by_alias), statement("kms:Encrypt", **by_tag)))[
        "key_id"
    ]
    strict.post("lag", authorization=300)
    admin = client(strict, **session(strict, "Admin"))
    admin.create_alias(AliasName="alias/new", TargetKeyId=key)
    admin.tag_resource(KeyId=key, Tags=[{"TagKey": "team", "TagValue": "a"}])
    for seconds, allowed in ((0, False), (200, False), (150, True)):
        strict.advance(seconds)
        kms = worker(strict)
        calls = [(kms.describe_key, {"KeyId": "alias/new"}), (kms.encrypt, {"KeyId": key, "Plaintext": b"x"})]
        for call, fields in calls:
            if allowed:
                assert call(**fields)
            else:
                with refused("AccessDeniedException"):
                    call(**fields)


# --- other services
def test_sources_of_material_need_their_own_permissions(strict: Sandbox) -> None:
    reads = document(
        statement(
            "secretsmanager:GetSecretValue", resource=f"arn:aws:secretsmanager:us-east-1:{A}:secret:byok/a-??????"
        ),
        statement("ssm:GetParameter", resource=f"arn:aws:ssm:us-east-1:{A}:parameter/byok/a"),
        statement("s3:GetObject", resource="arn:aws:s3:::keys/a/*"),
        statement("servicequotas:GetServiceQuota", resource=f"arn:aws:servicequotas:us-east-1:{A}:kms/L-515A0541"),
    )
    plant(strict, reads)
    admin = session(strict, "Admin")
    for name in ("byok/a", "byok/b"):
        client(strict, "secretsmanager", **admin).create_secret(Name=name, SecretString="s")
        client(strict, "ssm", **admin).put_parameter(Name=f"/{name}", Value="v", Type="SecureString")
    client(strict, "s3", **admin).create_bucket(Bucket="keys")
    for name in ("a/k", "b/k"):
        client(strict, "s3", **admin).put_object(Bucket="keys", Key=name, Body=b"x")
    secrets, ssm, s3, quotas = (worker(strict, name) for name in ("secretsmanager", "ssm", "s3", "service-quotas"))
    assert secrets.get_secret_value(SecretId="byok/a")["SecretString"] == "s"
    assert ssm.get_parameter(Name="/byok/a", WithDecryption=True)["Parameter"]["Value"] == "v"
    assert s3.get_object(Bucket="keys", Key="a/k")["Body"].read() == b"x"
    assert quotas.get_service_quota(ServiceCode="kms", QuotaCode="L-515A0541")["Quota"]
    for call in (
        lambda: secrets.get_secret_value(SecretId="byok/b"),
        lambda: ssm.get_parameter(Name="/byok/b"),
        lambda: s3.get_object(Bucket="keys", Key="b/k"),
        lambda: s3.put_object(Bucket="keys", Key="a/k", Body=b""),
        lambda: s3.list_objects_v2(Bucket="keys"),
        lambda: quotas.list_service_quotas(ServiceCode="kms"),
        lambda: worker(strict, "resourcegroupstaggingapi").get_resources(ResourceTypeFilters=["kms:key"]),
    ):
        with pytest.raises(ClientError, match=r"is not authorized to perform|Forbidden"):
            call()


# --- what is said
def test_the_start_says_what_is_not_evaluated() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bulk_import.sandbox", "--enforce-policies", "--stop-with-stdin"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.startswith("Policies are enforced. Not evaluated:\n")
    for words in ("service control policies", "bucket policies", "constraints of grants", "caller's own signatures"):
        assert words in said


@pytest.mark.parametrize(
    "policy",
    [{}, {"Statement": "x"}, document({"Effect": "Perhaps"}), document(statement("a", Foo={"a": "b"})), "Admin"],
)
def test_policies_of_a_seed_are_checked(sandbox: Sandbox, policy: Any) -> None:
    with pytest.raises(ValueError, match="policies"):
        sandbox.seed({"accounts": {A: {"roles": [{"name": "R", "policies": [policy]}]}}})
