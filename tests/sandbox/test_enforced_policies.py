"""`--enforce-policies`: signatures, trust, identity policies, session policies, key policies and grants decide."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.sandbox.helpers import refused
from tests.sandbox_client import Sandbox

A, B = "111122223333", "444455556666"
CALLER = {"account": "000000000000", "access_key_id": "AKIACALLER0000000000", "secret_access_key": "the secret"}
HEX = os.urandom(32).hex()
ISSUER = "token.actions.githubusercontent.com"
REPOSITORY = "repo:acme/keys:environment:key-import"


def statement(*actions: str, effect: str = "Allow", resource: Any = "*", **condition: Any) -> dict[str, Any]:
    found = {"Effect": effect, "Action": list(actions), "Resource": resource}
    return found | ({"Condition": condition} if condition else {})


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.fixture(scope="module")
def process() -> Iterator[Sandbox]:
    with Sandbox("--enforce-policies") as sandbox:
        yield sandbox


@pytest.fixture
def strict(process: Sandbox) -> Sandbox:
    process.reset()
    return process


def plant(sandbox: Sandbox, *policies: Any, role: dict[str, Any] | None = None, **key: Any) -> dict[str, str]:
    """The role Worker of account A with these policies, and a key. The caller may do everything."""
    roles = [{"name": "Worker", "policies": list(policies)} | (role or {}), {"name": "Admin", "policies": [ALL]}]
    region = {"keys": [{"alias": "alias/k", "material": {"hex": HEX}} | key]}
    account = {"roles": roles, "oidc_providers": {ISSUER: ["sts.amazonaws.com"]}, "regions": {"us-east-1": region}}
    return sandbox.seed({"caller": CALLER, "accounts": {A: account}})[0]


ALL = "AdministratorAccess"


def client(sandbox: Sandbox, service: str = "kms", **credentials: str) -> Any:
    given = {"aws_access_key_id": CALLER["access_key_id"], "aws_secret_access_key": CALLER["secret_access_key"]}
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=sandbox.url, config=config, **(credentials or given)
    )


def session(sandbox: Sandbox, role: str = "Worker", **fields: Any) -> dict[str, str]:
    sts = client(sandbox, "sts")
    return _credentials(sts.assume_role(RoleArn=f"arn:aws:iam::{A}:role/{role}", RoleSessionName="work", **fields))


def _credentials(answer: dict[str, Any]) -> dict[str, str]:
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


def worker(sandbox: Sandbox, service: str = "kms", **fields: Any) -> Any:
    return client(sandbox, service, **session(sandbox, **fields))


WHO = f"User: arn:aws:sts::{A}:assumed-role/Worker/work is not authorized to perform: "


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


# --- trust
def trust(principal: Any, action: str = "sts:AssumeRole", **condition: Any) -> dict[str, Any]:
    found = {"Effect": "Allow", "Principal": principal, "Action": action}
    return document(found | ({"Condition": condition} if condition else {}))


USER = "arn:aws:iam::000000000000:user/pipeline"


@pytest.mark.parametrize(
    ("policy", "fields", "allowed"),
    [
        (trust({"AWS": USER}), {}, True),
        (trust({"AWS": "000000000000"}), {}, True),
        (trust({"AWS": f"arn:aws:iam::{B}:root"}), {}, False),
        (trust({"AWS": USER}, StringEquals={"sts:ExternalId": "org"}), {}, False),
        (trust({"AWS": USER}, StringEquals={"sts:ExternalId": "org"}), {"ExternalId": "org"}, True),
        (trust({"AWS": USER}, StringEquals={"sts:ExternalId": "org"}), {"ExternalId": "Org"}, False),
        (trust({"AWS": USER}, StringLike={"sts:RoleSessionName": "t*"}), {}, False),
        (trust({"AWS": USER}, action="sts:AssumeRoleWithSAML"), {}, False),
        (trust({"Service": "ec2.amazonaws.com"}), {}, False),
    ],
)
def test_trust_decides_who_assumes(strict: Sandbox, policy: Any, fields: dict[str, str], allowed: bool) -> None:
    plant(strict, ALL, role={"trust": policy})
    if allowed:
        assert session(strict, **fields)
        return
    with refused("AccessDenied", 403) as refusal:
        session(strict, **fields)
    role = f"arn:aws:iam::{A}:role/Worker"
    assert refusal.message == f"User: {USER} is not authorized to perform: sts:AssumeRole on resource: {role}"


def test_the_callers_own_policies_count_across_accounts(strict: Sandbox) -> None:
    plant(strict, ALL, role={"trust": trust({"AWS": USER})})
    caller = CALLER | {"policies": [document(statement("sts:AssumeRole", resource=f"arn:aws:iam::{A}:role/Other"))]}
    strict.seed({"caller": caller})
    with refused("AccessDenied", 403):
        session(strict)


# --- web identity
def token(**claims: Any) -> str:
    fields = {"iss": f"https://{ISSUER}", "sub": REPOSITORY, "aud": "sts.amazonaws.com", "exp": int(time.time()) + 600}
    parts = [{"alg": "RS256", "typ": "JWT"}, fields | claims, "signature"]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def web_identity(sandbox: Sandbox, text: str, role: str = "Worker", account: str = A) -> dict[str, Any]:
    sts = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=sandbox.url,
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
    )  # fmt: skip
    answer: dict[str, Any] = sts.assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="ci", WebIdentityToken=text
    )
    return answer


def of_repository(*, sub: str = "repo:acme/keys:*", issuer: str = ISSUER) -> dict[str, Any]:
    return trust(
        {"Federated": f"arn:aws:iam::{A}:oidc-provider/{issuer}"},
        "sts:AssumeRoleWithWebIdentity",
        StringEquals={f"{issuer}:aud": "sts.amazonaws.com"},
        StringLike={f"{issuer}:sub": sub},
    )


def test_a_token_of_the_repository_assumes_its_role(strict: Sandbox) -> None:
    plant(strict, document(statement("kms:DescribeKey")), role={"trust": of_repository()})
    answer = web_identity(strict, token())
    assert (answer["SubjectFromWebIdentityToken"], answer["Audience"]) == (REPOSITORY, "sts.amazonaws.com")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{A}:assumed-role/Worker/ci"
    kms = client(strict, **_credentials(answer))
    assert kms.describe_key(KeyId="alias/k")["KeyMetadata"]
    with refused("AccessDeniedException"):
        kms.list_keys()


@pytest.mark.parametrize(
    ("claims", "code", "status", "message"),
    [
        (
            {"sub": "repo:evil/keys:ref:refs/heads/main"},
            "AccessDenied",
            403,
            "Not authorized to perform sts:AssumeRoleWith",
        ),
        ({"aud": "https://github.com/acme"}, "InvalidIdentityToken", 400, "Incorrect token audience"),
        ({"iss": "https://gitlab.com"}, "InvalidIdentityToken", 400, "No OpenIDConnect provider found in your account"),
        ({"exp": 1}, "ExpiredTokenException", 400, "Token expired: current date/time"),
    ],
)
def test_tokens_that_are_refused(strict: Sandbox, claims: dict[str, Any], code: str, status: int, message: str) -> None:
    plant(strict, ALL, role={"trust": of_repository()})
    with refused(code, status) as refusal:
        web_identity(strict, token(**claims))
    assert message in refusal.message


@pytest.mark.parametrize("text", ["no token at all", "a.b.c", "e30.e30.e30"])
def test_texts_that_are_no_token(sandbox: Sandbox, text: str) -> None:
    """Without --enforce-policies too."""
    with refused("InvalidIdentityToken") as refusal:
        web_identity(sandbox, text)
    assert refusal.message == "The ID Token provided is not a valid JWT."


def test_web_identity_and_saml_are_unsigned_without_enforcement(sandbox: Sandbox) -> None:
    assert web_identity(sandbox, token())["Credentials"]
    sts = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=sandbox.url, config=Config(signature_version=UNSIGNED)
    )
    fields = {"RoleArn": f"arn:aws:iam::{A}:role/R", "PrincipalArn": f"arn:aws:iam::{A}:saml-provider/P"}
    assertion = base64.b64encode(b"<samlp:Response><saml:Assertion/></samlp:Response>").decode()
    given = sts.assume_role_with_saml(SAMLAssertion=assertion, **fields)["Credentials"]
    assert strict_identity(sandbox, given).startswith(f"arn:aws:sts::{A}:assumed-role/R/")
    with refused("InvalidIdentityToken"):
        sts.assume_role_with_saml(SAMLAssertion="none", **fields)
    with pytest.raises(ClientError, match="MissingAuthenticationToken"):
        sts.get_caller_identity()


def strict_identity(sandbox: Sandbox, given: dict[str, str]) -> str:
    credentials = _credentials({"Credentials": given})
    return str(client(sandbox, "sts", **credentials).get_caller_identity()["Arn"])


def test_saml_trust(strict: Sandbox) -> None:
    provider = f"arn:aws:iam::{A}:saml-provider/P"
    plant(strict, ALL, role={"trust": trust({"Federated": provider}, "sts:AssumeRoleWithSAML")})
    sts = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=strict.url, config=Config(signature_version=UNSIGNED)
    )
    assertion = base64.b64encode(b"<saml:Assertion/>").decode()
    fields = {"RoleArn": f"arn:aws:iam::{A}:role/Worker", "SAMLAssertion": assertion}
    assert sts.assume_role_with_saml(PrincipalArn=provider, **fields)["Credentials"]
    with refused("AccessDenied", 403):
        sts.assume_role_with_saml(PrincipalArn=provider + "2", **fields)


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
