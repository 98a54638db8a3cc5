"""Accounts by assumed roles, and credentials that are refused, expire and are revoked."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest

from tests.sandbox.helpers import refused
from tests.sandbox_client import CALLER, Sandbox

ROLE = "arn:aws:iam::111122223333:role/byok/Importer"
SEED = {"accounts": {"111122223333": {"roles": [{"name": "byok/Importer", "external_id": "org-7f3a"}]}}}


def assume(sandbox: Sandbox, arn: str = ROLE, client: Any = None, **fields: Any) -> Any:
    sts = client or sandbox.client("sts", None)
    return sts.assume_role(RoleArn=arn, RoleSessionName="bulk-import", **fields)


def kms_with(sandbox: Sandbox, **credentials: str) -> Any:
    return boto3.client("kms", region_name="us-east-1", endpoint_url=sandbox.url, **credentials)


def test_accounts_are_apart(sandbox: Sandbox) -> None:
    one = sandbox.client().create_key()["KeyMetadata"]
    assert one["AWSAccountId"] == "111122223333"
    assert sandbox.client(account="444455556666").list_keys()["Keys"] == []
    assert sandbox.client(region="eu-west-1").list_keys()["Keys"] == []
    assert [key["KeyId"] for key in sandbox.client().list_keys()["Keys"]] == [one["KeyId"]]


def test_who_one_is(sandbox: Sandbox) -> None:
    caller = sandbox.client("sts", None).get_caller_identity()
    assert (caller["Account"], caller["Arn"]) == ("000000000000", "arn:aws:iam::000000000000:user/pipeline")
    inside = sandbox.client("sts", role="path/Tester").get_caller_identity()
    assert inside["Account"] == "111122223333"
    assert inside["Arn"] == "arn:aws:sts::111122223333:assumed-role/Tester/independent-client"


@pytest.mark.parametrize(
    ("arn", "fields"),
    [
        (ROLE, {}),
        (ROLE, {"ExternalId": "other"}),
        ("arn:aws:iam::111122223333:role/Unknown", {"ExternalId": "org-7f3a"}),
        ("arn:aws-cn:iam::111122223333:role/byok/Importer", {"ExternalId": "org-7f3a"}),
    ],
)
def test_a_role_that_does_not_trust_the_caller(sandbox: Sandbox, arn: str, fields: dict[str, str]) -> None:
    sandbox.seed(SEED)
    with refused("AccessDenied", 403) as refusal:
        assume(sandbox, arn, **fields)
    assert refusal.message == (
        f"User: arn:aws:iam::000000000000:user/pipeline is not authorized to perform: sts:AssumeRole on resource: {arn}"
    )
    assert assume(sandbox, ExternalId="org-7f3a")["AssumedRoleUser"]["Arn"].endswith(
        "assumed-role/Importer/bulk-import"
    )


def test_strict_roles(sandbox: Sandbox) -> None:
    sandbox.seed({"strict_roles": True})
    with refused("AccessDenied", 403):
        assume(sandbox)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"RoleArn": "not-an-arn-but-long-enough"}, "invalid"),
        ({"RoleSessionName": "no blanks"}, "pattern"),
        ({"RoleSessionName": "x" * 65}, "length"),
        ({"DurationSeconds": 43201}, "43200"),
    ],
)
def test_form_of_assume_role(sandbox: Sandbox, fields: dict[str, Any], word: str) -> None:
    with refused("ValidationError") as refusal:
        sandbox.client("sts", None).assume_role(**{"RoleArn": ROLE, "RoleSessionName": "name"} | fields)
    assert word in refusal.message


def test_longest_sessions(sandbox: Sandbox) -> None:
    with refused("ValidationError"):  # role chaining
        assume(sandbox, client=sandbox.client("sts"), DurationSeconds=3601)
    assume(sandbox, DurationSeconds=7200)
    sandbox.seed(SEED)
    with refused("ValidationError"):  # the role's own limit
        assume(sandbox, ExternalId="org-7f3a", DurationSeconds=3601)


def test_sessions_expire(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    kms.list_keys()
    sandbox.advance(3601)
    with refused("ExpiredTokenException") as refusal:
        kms.list_keys()
    assert refusal.message == "The security token included in the request is expired"
    with refused("ExpiredToken", 403):
        sandbox.client("sts").get_caller_identity()
    sandbox.forget_sessions()
    sandbox.client().list_keys()


def test_sessions_are_revoked_by_account(sandbox: Sandbox) -> None:
    mine, other = sandbox.client(), sandbox.client(account="444455556666")
    mine.list_keys()
    other.list_keys()
    assert sandbox.post("sessions/revoke", account="111122223333") == {"sessions": 1}
    with refused("UnrecognizedClientException") as refusal:
        mine.list_keys()
    assert refusal.message == "The security token included in the request is invalid."
    other.list_keys()


def test_sessions_expire_on_order(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    kms.list_keys()
    sandbox.post("sessions/expire")
    with refused("ExpiredTokenException"):
        kms.list_keys()


def test_unknown_credentials(sandbox: Sandbox) -> None:
    unknown = {"aws_access_key_id": "ASIAUNKNOWN000000000", "aws_secret_access_key": "x", "aws_session_token": "y"}
    with refused("UnrecognizedClientException"):
        kms_with(sandbox, **unknown).list_keys()
    with refused("InvalidClientTokenId", 403):
        boto3.client("sts", region_name="us-east-1", endpoint_url=sandbox.url, **unknown).get_caller_identity()
    given = assume(sandbox)["Credentials"]
    with refused("UnrecognizedClientException"):  # without its token
        kms_with(
            sandbox, aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"]
        ).list_keys()


def test_one_caller_only(sandbox: Sandbox) -> None:
    sandbox.seed({"caller": {"account": "999988887777", "access_key_id": CALLER["aws_access_key_id"]}})
    assert sandbox.client("sts", None).get_caller_identity()["Account"] == "999988887777"
    with refused("UnrecognizedClientException"):
        kms_with(sandbox, aws_access_key_id="AKIAOTHER00000000000", aws_secret_access_key="x").list_keys()


@pytest.mark.parametrize("skew", [600, -600])
def test_a_skewed_clock(sandbox: Sandbox, skew: int) -> None:
    kms = sandbox.client()
    kms.list_keys()
    sandbox.post("clock", skew=skew)
    words = "Signature expired: " if skew > 0 else "Signature not yet current: "
    with refused("SignatureDoesNotMatch", 403) as refusal:
        sandbox.client("sts", None).get_caller_identity()
    assert refusal.message.startswith(words)
    with refused("InvalidSignatureException") as refusal:
        kms.list_keys()
    assert refusal.message.startswith(words)


def test_a_session_says_when_it_ends(sandbox: Sandbox) -> None:
    ends = assume(sandbox, DurationSeconds=900)["Credentials"]["Expiration"]
    assert abs(ends.timestamp() - time.time() - 900) < 60
