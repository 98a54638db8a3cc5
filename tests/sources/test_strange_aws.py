"""Answers of AWS's stores that are for another request, hold two values, or hold none."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.network import Served
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox_client import Sandbox
from tests.sources.support import add

ALLOW = (
    "--allow-source",
    "secretsmanager:",
    "--allow-source",
    "ssm:",
    "--allow-source",
    "s3:",
    "--retry-timeout",
    "1s",
)
Answer = dict[str, Any]


def without(answer: Answer, *names: str) -> Answer:
    return {name: value for name, value in answer.items() if name not in names}


def run(work: Workplace, sandbox: Sandbox, service: str, alter: Callable[[str, Answer], Answer]) -> Any:
    """A run whose answers of one service are altered on their way."""
    with Rewriter(sandbox.url, alter) as between:
        endpoints = {"AWS_ENDPOINT_URL": sandbox.url, f"AWS_ENDPOINT_URL_{service}": between.url}
        return work.run(*ALLOW, BULK_IMPORT_ENDPOINT_URL="", **endpoints)


@pytest.mark.parametrize("service", ["SECRETS_MANAGER", "SSM"])
def test_two_answers_that_are_swapped(sandbox: Sandbox, work: Workplace, service: str) -> None:
    """A connection that is off by one answer: each key would get the other's material, for ever."""
    kept: dict[str, Answer] = {}
    keys = []
    for name in ("one", "two"):
        value = materials.make("HMAC_256").hex()
        if service == "SSM":
            sandbox.client("ssm", None).put_parameter(Name=name, Value=value, Type="SecureString")
            kept[name] = sandbox.client("ssm", None).get_parameter(Name=name, WithDecryption=True)
            kept[name]["Parameter"].pop("LastModifiedDate")
        else:
            sandbox.client("secretsmanager", None).create_secret(Name=name, SecretString=value)
            kept[name] = without(sandbox.client("secretsmanager", None).get_secret_value(SecretId=name), "CreatedDate")
        kept[name].pop("ResponseMetadata")
        keys.append(sandbox.key(key_spec="HMAC_256")["key_id"])
        add(work, f"{'ssm' if service == 'SSM' else 'secretsmanager'}:{name}", keys[-1], name=name, encoding="hex")

    def swapped(_: str, answer: Answer) -> Answer:
        name = answer.get("Name") or (answer.get("Parameter") or {}).get("Name")
        return kept["two" if name == "one" else "one"] if name in kept else answer

    result = run(work, sandbox, service, swapped)
    assert result.code == 5, result.stderr
    assert all("answer is not for" in entry["error"]["message"] for entry in result.entries.values())
    assert sandbox.calls(operation="ImportKeyMaterial") == []


ARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:"
SECRETS: dict[str, tuple[str, Callable[[Answer], Answer], str]] = {
    "no name": ("one", lambda answer: without(answer, "Name", "ARN"), "SourceFailed"),
    "nothing": ("one", lambda _: {}, "SourceFailed"),
    "another Region": ("one?region=us-east-1", lambda answer: answer | {"ARN": ARN.replace("us-east-1", "eu-west-1")},
                       "SourceFailed"),
    "another version": ("one", lambda answer: answer | {"VersionStages": ["AWSPREVIOUS"]}, "SourceFailed"),
    "another version's ID": ("one?version_id=11111111-2222-3333-4444-555555555555", lambda answer: answer, "Material"),
    "a text and bytes": ("one", lambda answer: answer | {"SecretBinary": base64.b64encode(b"x" * 32).decode()},
                         "MaterialInvalid"),
    "no value": ("one", lambda answer: without(answer, "SecretString"), "MaterialInvalid"),
    "a number": ("one", lambda answer: answer | {"SecretString": 5}, "MaterialInvalid"),
    "a list": ("one", lambda answer: answer | {"SecretString": ["ab" * 32]}, "MaterialInvalid"),
    "half of a character": ("one", lambda answer: answer | {"SecretString": "\ud800"}, "MaterialInvalid"),
}  # fmt: skip


@pytest.mark.parametrize("case", SECRETS)
def test_an_answer_of_secrets_manager(sandbox: Sandbox, work: Workplace, case: str) -> None:
    name, alter, code = SECRETS[case]
    sandbox.client("secretsmanager", None).create_secret(Name="one", SecretString=materials.make("HMAC_256").hex())
    add(work, f"secretsmanager:{name}", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    result = run(
        work, sandbox, "SECRETS_MANAGER", lambda _, answer: alter(answer) if "SecretString" in answer else answer
    )
    assert result.code == 5, result.stderr
    assert result.entries["one"]["error"]["code"].startswith(code), result.entries["one"]["error"]


def test_the_arn_of_another_secret(sandbox: Sandbox, work: Workplace) -> None:
    """One whose name begins with the name that is asked for; without its last six characters, it is the same secret."""
    material = materials.make("HMAC_256")
    client = sandbox.client("secretsmanager", None)
    arn = client.create_secret(Name="one", SecretString=material.hex())["ARN"]
    keys = [sandbox.key(key_spec="HMAC_256")["key_id"] for _ in range(2)]
    for uri, key, name in zip((arn, arn[:-7]), keys, ("one", "short"), strict=True):
        add(work, f"secretsmanager:{uri}", key, name=name, encoding="hex")
    longer = arn[:-6] + "longer-" + arn[-6:]

    def alter(_: str, answer: Answer) -> Answer:
        return answer | {"ARN": longer} if "SecretString" in answer else answer

    assert run(work, sandbox, "SECRETS_MANAGER", alter).code == 5
    assert sandbox.calls(operation="ImportKeyMaterial") == []
    assert work.run(*ALLOW).code == 0
    assert all(materials.held_by(sandbox.client(), key, "HMAC_256", material) for key in keys)


FIELDS = {
    "twice": '{"k":"%s","k":"%s"}', "twice, and escaped": '{"k":"%s","\\u006b":"%s"}', "deep": "[" * 30_000,
    "deep objects": '{"k":' * 8_000, "half of a character": '{"k":"\\ud800"}', "a number of 9,000 digits":
    '{"k":' + "9" * 9_000 + "}", "more behind it": '{"k":"%s"} {"k":"%s"}',
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
def test_a_field_of_json_that_readers_understand_differently(sandbox: Sandbox, work: Workplace, case: str) -> None:
    text = FIELDS[case]
    while "%s" in text:
        text = text.replace("%s", os.urandom(32).hex(), 1)
    sandbox.client("secretsmanager", None).create_secret(Name="one", SecretString=text)
    add(work, "secretsmanager:one?field=k", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    result = work.run(*ALLOW)
    assert result.code == 5, result.stderr
    assert result.entries["one"]["error"]["code"] == "MaterialInvalid"
    assert sandbox.calls(operation="ImportKeyMaterial") == []


PARAMETERS: dict[str, tuple[Answer, str]] = {
    "another version": ({"Version": 9}, "SourceFailed"), "no version": ({"Version": None}, "SourceFailed"),
    "another name": ({"Name": "one-b"}, "SourceFailed"), "no value": ({"Value": None}, "MaterialInvalid"),
    "a number": ({"Value": int("12" * 32)}, "MaterialInvalid"), "half of a character": ({"Value": "\ud800"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", PARAMETERS)
def test_an_answer_of_parameter_store(sandbox: Sandbox, work: Workplace, case: str) -> None:
    fields, code = PARAMETERS[case]
    sandbox.client("ssm", None).put_parameter(Name="one", Value=materials.make("HMAC_256").hex(), Type="SecureString")
    add(work, "ssm:one?version=1", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")

    def alter(_: str, answer: Answer) -> Answer:
        return {"Parameter": answer["Parameter"] | fields} if "Parameter" in answer else answer

    result = run(work, sandbox, "SSM", alter)
    assert result.code == 5, result.stderr
    assert result.entries["one"]["error"]["code"].startswith(code), json.dumps(result.entries["one"]["error"])


def test_the_version_of_an_object(sandbox: Sandbox, work: Workplace) -> None:
    first, second = materials.make("HMAC_256"), materials.make("HMAC_256")
    s3: Any = sandbox.client("s3", None)
    s3.create_bucket(Bucket="byok-versions")
    s3.put_bucket_versioning(Bucket="byok-versions", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="byok-versions", Key="one", Body=first)["VersionId"]
    s3.put_object(Bucket="byok-versions", Key="one", Body=second)
    key = sandbox.key(key_spec="HMAC_256")["key_id"]
    add(work, f"s3://byok-versions/one?version_id={version}", key, encoding="raw")
    assert work.run(*ALLOW).code == 0
    assert materials.held_by(sandbox.client(), key, "HMAC_256", first)


class _OtherVersion(BaseHTTPRequestHandler):
    """S3 with one object, which has another version than any that is asked for."""

    def do_GET(self) -> None:
        data = os.urandom(32)
        self.send_response(200)
        self.send_header("x-amz-version-id", "another")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_another_version_of_an_object_is_not_imported(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")["key_id"]
    add(work, "s3://byok-versions/one?version_id=wanted", key, encoding="raw")
    with Served(_OtherVersion) as server:
        endpoints = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.port}"}
        result = work.run(*ALLOW, BULK_IMPORT_ENDPOINT_URL="", **endpoints)
    assert result.code == 5, result.stderr
    error = result.entries["one"]["error"]
    assert (error["code"], "answer is not for version wanted" in error["message"]) == ("SourceFailed", True), error
    assert sandbox.calls(operation="ImportKeyMaterial") == []


CREDENTIALS = (
    "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId",
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed",
)  # fmt: skip


@pytest.mark.parametrize("code", CREDENTIALS)
def test_credentials_that_are_not_accepted_are_not_tried_again(sandbox: Sandbox, work: Workplace, code: str) -> None:
    """They are not a store that is overloaded, nor a permission that is missing."""
    sandbox.client("secretsmanager", None).create_secret(Name="one", SecretString=materials.make("HMAC_256").hex())
    add(work, "secretsmanager:one", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    sandbox.fault("error", operation="GetSecretValue", code=code, message="said by the test", times=1000)
    result = work.run(*ALLOW, "--retry-timeout", "20s")
    assert result.code == 5, result.stderr
    error = result.entries["one"]["error"]
    assert (error["code"], error["retryable"]) == ("SourceDenied", False)
    assert "credentials are not accepted" in error["message"]
    assert "Grant" not in error["advice"]
    assert len(sandbox.calls(operation="GetSecretValue")) == 1


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_a_session_of_a_source_that_was_revoked_is_renewed(sandbox: Sandbox, work: Workplace, code: str) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/Reader"
    material = materials.make("HMAC_256")
    sandbox.client("secretsmanager").create_secret(Name="one", SecretString=material.hex())
    key = sandbox.key(key_spec="HMAC_256")["key_id"]
    add(work, f"secretsmanager:one?role={role}", key, encoding="hex")
    sandbox.fault("error", operation="GetSecretValue", code=code, message="said by the test", times=1)
    before = len(sandbox.calls(operation="AssumeRole"))
    result = work.run(*ALLOW, "--allow-source-role", role)
    assert result.code == 0, result.stderr
    # The lane's role, and the source's twice.
    assert len(sandbox.calls(operation="AssumeRole")) - before == 3
    assert materials.held_by(sandbox.client(), key, "HMAC_256", material)


@pytest.mark.parametrize("url", ["http://secrets.example.com", "https://user:hunter2@secrets.example.com"])
def test_an_endpoint_of_a_store_that_may_not_be_used(sandbox: Sandbox, work: Workplace, url: str) -> None:
    add(work, "secretsmanager:one", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    endpoints = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_ENDPOINT_URL_SECRETS_MANAGER": url}
    result = work.run(*ALLOW, BULK_IMPORT_ENDPOINT_URL="", **endpoints)
    assert result.code in (3, 5), result.stderr
    assert "ndpoint" in result.stderr
    assert "could not be read" not in result.stderr
    assert "hunter2" not in result.stderr


def test_a_store_that_cannot_be_reached_is_named(sandbox: Sandbox, work: Workplace) -> None:
    add(work, "secretsmanager:one?region=eu-west-1", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    endpoints = {"AWS_ENDPOINT_URL": sandbox.url, "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}
    result = work.run(*ALLOW, BULK_IMPORT_ENDPOINT_URL="", **endpoints)
    assert result.code == 5, result.stderr
    message = result.entries["one"]["error"]["message"]
    assert "127.0.0.1:1" in message
    assert "eu-west-1" in message
