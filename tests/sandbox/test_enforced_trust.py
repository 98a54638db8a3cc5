"""`--enforce-policies`: trust policies decide who assumes a role, with a signature, a web identity token or SAML."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.sandbox.enforced import (
    ALL,
    CALLER,
    ISSUER,
    REPOSITORY,
    A,
    B,
    _credentials,
    client,
    document,
    plant,
    process,
    session,
    statement,
    strict,
)
from tests.sandbox.helpers import refused
from tests.sandbox_client import Sandbox

__all__ = ["process", "strict"]  # fixtures


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
