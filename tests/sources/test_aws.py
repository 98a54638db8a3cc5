"""`secretsmanager:`, `ssm:`, `s3://` at the sandbox, and what they need."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.network import ForwardProxy, TlsFront
from tests.e2e.support import Workplace
from tests.e2e.test_canary import forms, search
from tests.sandbox_client import Sandbox
from tests.sources.support import add

ALLOW = ("--allow-source", "secretsmanager:", "--allow-source", "ssm:", "--allow-source", "s3:")


@pytest.fixture
def aws(sandbox: Sandbox) -> Any:
    """Clients of the caller's own account."""

    def client(service: str, region: str = "us-east-1") -> Any:
        return sandbox.client(service, None, region)

    return client


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_512", "ECC_NIST_P256"])
@pytest.mark.parametrize("where", ["binary", "text", "field", "ssm", "s3"])
def test_every_way_to_keep_it(sandbox: Sandbox, work: Workplace, aws: Any, spec: str, where: str) -> None:
    material = materials.make(spec)
    text = base64.b64encode(material).decode()
    name = f"byok/{spec}-{where}"
    fields = {"encoding": "base64"} if where in ("text", "field", "ssm") else {"encoding": "raw"}
    if where == "binary":
        aws("secretsmanager").create_secret(Name=name, SecretBinary=material)
    elif where in ("text", "field"):
        value = text if where == "text" else json.dumps({"k+e y": text, "other": "x"})
        aws("secretsmanager").create_secret(Name=name, SecretString=value)
    elif where == "ssm":
        aws("ssm").put_parameter(Name=f"/{name}", Value=text, Type="SecureString")
    else:
        aws("s3").create_bucket(Bucket="byok-bucket")
        aws("s3").put_object(Bucket="byok-bucket", Key=name, Body=material)
    uri = {
        "field": f"secretsmanager:{name}?field=k+e%20y", "ssm": f"ssm:/{name}", "s3": f"s3://byok-bucket/{name}",
    }.get(where, f"secretsmanager:{name}")  # fmt: skip
    key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))
    add(work, uri, key["key_id"], **fields)
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr
    assert materials.held_by(sandbox.client(), key["key_id"], spec, material)
    assert search(work.folder, result, forms(material), leave_out=set()) == []


def test_region_version_and_arn(sandbox: Sandbox, work: Workplace, aws: Any) -> None:
    first, second = materials.make("HMAC_256"), materials.make("HMAC_256")
    there = aws("secretsmanager", "eu-west-1")
    arn = there.create_secret(Name="far", SecretString=first.hex())["ARN"]
    old = there.describe_secret(SecretId="far")["VersionIdsToStages"]
    there.put_secret_value(SecretId="far", SecretString=second.hex())
    [old_id] = old
    aws("ssm", "eu-west-1").put_parameter(Name="p", Value=first.hex(), Type="SecureString")
    aws("ssm", "eu-west-1").put_parameter(Name="p", Value=second.hex(), Type="SecureString", Overwrite=True)
    wanted = {
        f"secretsmanager:{arn}": second,
        "secretsmanager:far?region=eu-west-1&version_stage=AWSPREVIOUS": first,
        f"secretsmanager:far?region=eu-west-1&version_id={old_id}": first,
        "ssm:p?region=eu-west-1": second,
        "ssm:p?region=eu-west-1&version=1": first,
    }
    keys = {}
    for number, uri in enumerate(wanted):
        keys[uri] = sandbox.key(key_spec="HMAC_256")["key_id"]
        add(work, uri, keys[uri], name=f"k{number}", encoding="hex")
    result = work.run(*ALLOW)
    assert result.code == 0, result.stderr
    for uri, material in wanted.items():
        assert materials.held_by(sandbox.client(), keys[uri], "HMAC_256", material), uri


def test_what_is_not_there_or_not_fit(sandbox: Sandbox, work: Workplace, aws: Any) -> None:
    aws("secretsmanager").create_secret(Name="text", SecretString=materials.make("HMAC_256").hex())
    aws("ssm").put_parameter(Name="plain", Value="x", Type="String")
    aws("s3").create_bucket(Bucket="byok-bucket")
    aws("s3").put_object(Bucket="byok-bucket", Key="large", Body=b"\xff" * 70_000)
    codes = {
        "secretsmanager:none": "MaterialNotFound",
        "secretsmanager:text": "AmbiguousEncoding",
        "secretsmanager:text?field=k": "MaterialInvalid",
        "ssm:none": "MaterialNotFound",
        "ssm:plain": "MaterialInvalid",
        "s3://byok-bucket/none": "MaterialNotFound",
        "s3://no-such-bucket/none": "MaterialNotFound",
        "s3://byok-bucket/large": "MaterialWrongLength",
    }
    for number, uri in enumerate(codes):
        add(work, uri, sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")
    result = work.run(*ALLOW)
    assert result.code == 5
    found = [entry["error"]["code"] for entry in result.entries.values()]
    assert dict(zip(codes, found, strict=True)) == codes
    assert all(entry["error"]["advice"] for entry in result.entries.values())
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_a_role_must_be_allowed_by_the_operator(sandbox: Sandbox, work: Workplace, aws: Any) -> None:
    role = "arn:aws:iam::444455556666:role/Reader"
    material = materials.make("HMAC_256")
    sandbox.client("secretsmanager", "444455556666").create_secret(Name="theirs", SecretString=material.hex())
    key = sandbox.key(key_spec="HMAC_256")["key_id"]
    add(work, f"secretsmanager:theirs?role={role}", key, encoding="hex")
    work.write()
    refused = work.call("validate", "manifest.json", *ALLOW)
    assert refused.code == 3
    assert "--allow-source-role" in refused.stderr
    result = work.run(*ALLOW, "--allow-source-role", role)
    assert result.code == 0, result.stderr
    assert materials.held_by(sandbox.client(), key, "HMAC_256", material)


GENUINE = ("sts.us-east-1.amazonaws.com", "kms.us-east-1.amazonaws.com", "secretsmanager.us-east-1.amazonaws.com")


@pytest.mark.parametrize("environment", ["aws", "custom"])
def test_a_foreign_store_alone_makes_the_run_custom(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, environment: str
) -> None:
    """STS and KMS by AWS's own names, through a proxy. They lead to the sandbox, which does not show."""
    material = materials.make("HMAC_256")
    sandbox.client("secretsmanager", None).create_secret(Name="one", SecretString=material.hex())
    add(work, "secretsmanager:one", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    foreign = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": sandbox.url} if environment == "custom" else {}
    with TlsFront(sandbox.url, tmp_path, *GENUINE) as front, ForwardProxy(port=front.port) as proxy:
        result = work.run(
            *ALLOW, **foreign, BULK_IMPORT_ENDPOINT_URL="", HTTPS_PROXY=proxy.url, AWS_CA_BUNDLE=str(front.ca),
            AWS_STS_REGIONAL_ENDPOINTS="regional",
        )  # fmt: skip
    assert result.code == 0, result.stderr
    assert result.entries["one"]["status"] == "imported"
    run = result.report["run"]
    assert run["environment"] == environment
    assert run["endpoints"]["kms"] == "https://kms.us-east-1.amazonaws.com"
    lines = result.stderr.splitlines()
    said = [line for line in (lines[0], lines[-1]) if "not to AWS" in line or "Not AWS" in line]
    assert len(said) == (2 if environment == "custom" else 0), result.stderr


@pytest.mark.parametrize("command", ["validate", "iam"])
def test_what_a_policy_would_not_take_literally(work: Workplace, command: str) -> None:
    """Each would allow more than the manifest names; those that are good would not. {{ is a literal brace."""
    role = "arn:aws:iam::444455556666:role/"
    bad = {
        "s3://byok-bucket/a*": "* or ${", "s3://byok-bucket/*/a": "* or ${",
        "s3://byok-bucket/a/${{aws:username}}": "* or ${",
        "secretsmanager:byok/*": "name or the ARN", "secretsmanager:byok/a${{x}}": "name or the ARN",
        "secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:*": "name or the ARN",
        "ssm:/byok/*": "name of a parameter", "ssm:/byok/${{x}}": "name of a parameter",
        f"ssm:a?role={role}*": "ARN of a role", f"s3://byok-bucket/a?role={role}team/*/Reader": "ARN of a role",
        f"secretsmanager:a?role={role}Read%3Fr": "ARN of a role",
        f"ssm:a?role={role}${{{{aws:username}}}}": "ARN of a role",
        f"ssm:a?role={role}%2A": "ARN of a role", "ssm:a?role=arn:aws:iam::*:role/Reader": "ARN of a role",
        "vault:byok/*?field=k": "policy", "vault:byok/a*?field=k": "policy", "vault:byok/+/a?field=k": "policy",
        "vault:+/a?field=k": "policy", "vault:byok/{{{{identity.entity.id}}}}?field=k": "policy",
        'vault:byok/a"?field=k': "policy", "vault:byok/a\\?field=k": "policy",
        "vault:byok/a\nb?field=k": "line break", "transit:transit/a\tb?version=1": "contains a tab",
        "transit:transit/*?version=1": "policy", "transit:+/a?version=1": "policy",
        "transit:transit/a*?version=1": "policy",
    }  # fmt: skip
    for number, uri in enumerate(bad):
        add(work, uri, f"alias/k{number}", name=f"k{number}")
    good = ("s3://byok-bucket/a$b+c", "vault:byok/a+b?field=*", "transit:transit/a+b?version=1")
    for number, uri in enumerate(good):
        add(work, uri, f"alias/good-{number}", name=f"good-{number}")
    work.write()
    allow = (*ALLOW, "--allow-source", "vault:", "--allow-source", "transit:")
    result = work.call(command, "manifest.json", *allow)
    assert result.code == 3, result.stderr
    assert result.stdout == b""
    lines = result.stderr.splitlines()
    for number, said in enumerate(bad.values()):
        assert any(f"keys[{number}]." in line and said in line for line in lines), (number, result.stderr)
    assert f"keys[{len(bad)}]" not in result.stderr  # nor the others that are good


@pytest.mark.parametrize(
    "uri",
    ["secretsmanager:", "secretsmanager:a?filed=x", "secretsmanager:a?region=x", "ssm:a b", "ssm:a?version=0",
     "ssm:/a/../b", "s3://b/k", "s3:bucket/key", "s3://bucket", "s3://bucket/a/../b", "s3://bucket/a?role=me",
     "secretsmanager:arn:aws:secretsmanager:eu-west-1:111122223333:secret:a?region=us-east-1"],
)  # fmt: skip
def test_uris_that_are_none(work: Workplace, uri: str) -> None:
    add(work, uri)
    work.write()
    assert work.call("validate", "manifest.json", *ALLOW).code == 3


def test_iam_grants_what_they_need(work: Workplace) -> None:
    reader = "arn:aws:iam::444455556666:role/Reader"
    add(work, "secretsmanager:byok/a?region=eu-west-1", name="a")
    add(work, f"ssm:/byok/b?role={reader}", name="b")
    add(work, "s3://byok-bucket/c", name="c")
    work.write()
    options = ("--caller-arn", "arn:aws:iam::999988887777:role/ci", "--allow-source-role", reader)
    result = work.call("iam", "manifest.json", *ALLOW, *options)
    assert result.code == 0, result.stderr
    document = json.loads(result.stdout)
    statements = {
        one["Sid"]: one for policy in document["caller"]["permissions_policies"] for one in policy["Statement"]
    }
    secret = "arn:aws:secretsmanager:eu-west-1:999988887777:secret:byok/a-??????"
    assert statements["MaterialSecretsmanager"]["Resource"] == [secret]
    assert statements["MaterialS3"]["Resource"] == ["arn:aws:s3:::byok-bucket/c"]
    assert reader in statements["AssumeImporters"]["Resource"]
    [role] = document["source_roles"]
    assert role["role_arn"] == reader
    [policy] = role["permissions_policies"]
    assert policy["Statement"][0]["Resource"] == ["arn:aws:ssm:*:444455556666:parameter/byok/b"]


def test_the_policy_for_vault(work: Workplace) -> None:
    add(work, "env:X", name="x")
    work.write()
    assert work.call("iam", "manifest.json", "--format", "vault-policy").code == 2
    add(work, "vault:byok/a/b?field=k", name="a")
    add(work, "transit:team/transit/pay?version=3", name="b")
    work.write()
    allow = ("--allow-source", "env:", "--allow-source", "vault:", "--allow-source", "transit:")
    result = work.call("iam", "manifest.json", "--format", "vault-policy", *allow)
    assert result.code == 0, result.stderr
    text = result.stdout.decode()
    for path in (
        "byok/data/a/b",
        "team/transit/keys/pay",
        "team/transit/byok-export/+/pay/3",
        "team/transit/keys/kms-*",
    ):
        assert f'path "{path}" {{' in text
