"""The caller's own credentials: each fault ends the run at once with exit code 5, and its message says where it is."""

from __future__ import annotations

import json
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.network import Answers, Page, TokenService
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox_client import CALLER, Sandbox

NONE = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
PATIENT = ("--retry-timeout", "600")  # seconds, longer than a test may take: what is repeated does not end in time
SECRET = "s3cretThatNobodyMaySee"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/x"
WEB_IDENTITY = NONE | {"AWS_ROLE_ARN": ROLE_ARN}


def add_key(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")


def refused(work: Workplace, *words: str, options: tuple[str, ...] = PATIENT, **environment: str) -> dict[str, Any]:
    """Runs; the run's error. `words` are in the message or the advice, on stderr and in the report."""
    result = work.run(*options, **environment)
    assert result.code == 5, result.stderr
    error: dict[str, Any] = result.report["run"]["error"]
    for word in words:
        assert word in error["message"] + error["advice"], error
        assert word in result.stderr.replace("\n", " "), result.stderr
    assert SECRET not in result.stderr + json.dumps(result.report)
    assert "defect" not in result.stderr
    assert {entry["status"] for entry in result.report["results"]} == {"not_attempted"}
    return error


VARIABLES = [
    ({"AWS_SECRET_ACCESS_KEY": f"{SECRET}\n"}, "AWS_SECRET_ACCESS_KEY"),
    ({"AWS_ACCESS_KEY_ID": "AKIA PIPELINE"}, "AWS_ACCESS_KEY_ID"),
    ({"AWS_SESSION_TOKEN": f"{SECRET}\r\n{SECRET}"}, "AWS_SESSION_TOKEN"),
    ({"AWS_SESSION_TOKEN": f"{SECRET}\udcff"}, "AWS_SESSION_TOKEN"),
    ({"AWS_SECRET_ACCESS_KEY": f"{SECRET}\u2028"}, "AWS_SECRET_ACCESS_KEY"),
    ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
    ({"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}, "expired"),
    ({"AWS_CREDENTIAL_EXPIRATION": "soon"}, "AWS_CREDENTIAL_EXPIRATION"),
]


@pytest.mark.parametrize(("variables", "word"), VARIABLES, ids=[f"{word}-{n}" for n, (_, word) in enumerate(VARIABLES)])
def test_variables(sandbox: Sandbox, work: Workplace, variables: dict[str, str], word: str) -> None:
    add_key(sandbox, work)
    refused(work, word, **variables)
    assert sandbox.calls(service="sts") == []


def program(folder: Path, body: str) -> Path:
    path = folder / "helper"
    path.write_bytes(f"#!{sys.executable}\n{body}\n".encode("utf-8", "surrogateescape"))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


GOOD = {"Version": 1, "AccessKeyId": CALLER["aws_access_key_id"], "SecretAccessKey": CALLER["aws_secret_access_key"]}
PAST = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
PROCESSES = {
    "no JSON": f"print({SECRET!r})",
    "a list": "print('[]')",
    "a number": "print(1)",
    "nothing": "",
    "no UTF-8": "import sys; sys.stdout.buffer.write(b'\\xff\\xfe{}')",
    "exit status 3": f"import sys; sys.stderr.write({SECRET!r}); sys.exit(3)",
    "no UTF-8 on stderr": "import sys; sys.stderr.buffer.write(b'\\xff'); sys.exit(1)",
    "another version": f"print('''{json.dumps(GOOD | {'Version': 2})}''')",
    "no secret": f"print('''{json.dumps({'Version': 1, 'AccessKeyId': 'A'})}''')",
    "numbers": f"print('''{json.dumps(GOOD | {'SecretAccessKey': 5})}''')",
    "expired": f"print('''{json.dumps(GOOD | {'Expiration': PAST})}''')",
    "no time": f"print('''{json.dumps(GOOD | {'Expiration': 'later'})}''')",
    "line break": f"print('''{json.dumps(GOOD | {'SessionToken': SECRET + chr(10)})}''')",
    "no end": "while True: print('x' * 1000)",
    "a child that stays": "import os, time\nos.fork()\nprint('x' * 100_000, flush=True)\ntime.sleep(9)",
}


@pytest.mark.parametrize("body", PROCESSES.values(), ids=PROCESSES)
def test_a_credential_process(sandbox: Sandbox, work: Workplace, tmp_path: Path, body: str) -> None:
    add_key(sandbox, work)
    (tmp_path / "config").write_text(f"[profile ci]\ncredential_process = {program(tmp_path, body)}\n")
    error = refused(work, AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_PROFILE="ci", **NONE)
    assert "process" in error["message"]
    assert "helper" in error["message"] or "'ci'" in error["message"]


@pytest.mark.parametrize("command", ["/nowhere/helper", "", '"unbalanced', ".", "./not-executable"])
def test_a_credential_process_that_cannot_be_started(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, command: str
) -> None:
    add_key(sandbox, work)
    (tmp_path / "not-executable").write_text("")
    (tmp_path / "config").write_text(f"[profile ci]\ncredential_process = {command}\n")
    refused(work, "process", AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_PROFILE="ci", **NONE)


def test_a_credential_process_that_works(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """What the tests above rest on: it is asked, and what it says on stderr is not repeated."""
    add_key(sandbox, work)
    body = f"import sys; sys.stderr.write({SECRET!r}); print('''{json.dumps(GOOD)}''')"
    (tmp_path / "config").write_text(f"[profile ci]\ncredential_process = {program(tmp_path, body)}\n")
    result = work.run(AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_PROFILE="ci", **NONE)
    assert result.code == 0, result.stderr
    assert SECRET not in result.stderr


@pytest.mark.parametrize("content", [None, "a folder", b"", b"token\n", b"to ken", b"\xff\xfe", b"x" * 100_000])
@pytest.mark.parametrize("of_profile", [False, True])
def test_a_token_file(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, content: bytes | str | None, *, of_profile: bool
) -> None:
    add_key(sandbox, work)
    file = tmp_path / "oidc-token"
    if content == "a folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    named = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(file), **WEB_IDENTITY}
    if of_profile:
        (tmp_path / "config").write_text(f"[profile ci]\nweb_identity_token_file = {file}\nrole_arn = {ROLE_ARN}\n")
        named = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_PROFILE": "ci", **NONE}
    refused(work, "oidc-token", **named)
    assert sandbox.calls(service="sts") == []


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("ExpiredTokenException", "new OIDC token"),
        ("ExpiredToken", "new OIDC token"),
        ("InvalidIdentityToken", "audience"),
        ("IDPRejectedClaim", "issuer"),
        ("ValidationError", "AWS_ROLE_SESSION_NAME"),
        ("AccessDenied", "trust policy"),
    ],
)
def test_sts_refuses_a_token(sandbox: Sandbox, work: Workplace, tmp_path: Path, code: str, word: str) -> None:
    add_key(sandbox, work)
    (tmp_path / "token").write_text("OIDC-TOKEN")
    with TokenService(sandbox.url, error=code) as sts:
        error = refused(
            work, word, AWS_ENDPOINT_URL_STS=sts.url, BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_KMS=sandbox.url,
            AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"), **WEB_IDENTITY,
        )  # fmt: skip
    assert error["code"] == code
    assert len(sts.heard) == 1


@pytest.mark.parametrize("own", [False, True])
def test_a_token_file_that_goes_away_in_the_middle_of_a_run(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, *, own: bool
) -> None:
    """Also with `role: null`, where KMS is called with the caller's own credentials. They are due at every call."""
    account = sandbox.client("sts", None).get_caller_identity()["Account"] if own else ACCOUNT
    for number in range(3):
        key = sandbox.key(account)
        work.key(key["key_id"], materials.make("SYMMETRIC_DEFAULT"), name=f"aes{number}", account=account)
    if own:
        work.defaults = {"role": None}
    token = tmp_path / "token"
    token.write_text("OIDC-TOKEN")
    with TokenService(sandbox.url, seconds=60, last=token, calls=2) as sts:
        result = work.run(
            *PATIENT, BULK_IMPORT_ENDPOINT_URL=sts.url, AWS_WEB_IDENTITY_TOKEN_FILE=str(token), **WEB_IDENTITY
        )
    assert result.code == 5, result.stderr
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in result.report["run"]["error"]["message"]
    assert str(token) in result.report["run"]["error"]["message"]
    assert {entry["status"] for entry in result.report["results"]} == {"not_attempted"}
    assert "defect" not in result.stderr


SSO = """[profile dev]
sso_session = firm
sso_account_id = 111122223333
sso_role_name = Dev
[sso-session firm]
sso_region = eu-west-1
sso_start_url = https://firm.awsapps.com/start
[profile legacy]
sso_region = eu-west-1
sso_start_url = https://firm.awsapps.com/start
sso_account_id = 111122223333
sso_role_name = Dev
"""


@pytest.mark.parametrize("profile", ["dev", "legacy"])
def test_an_sso_login_that_is_due(sandbox: Sandbox, work: Workplace, tmp_path: Path, profile: str) -> None:
    add_key(sandbox, work)
    (tmp_path / "config").write_text(SSO)
    refused(
        work, "aws sso login", f"'{profile}'", options=("--profile", profile, *PATIENT), HOME=str(tmp_path),
        AWS_CONFIG_FILE=str(tmp_path / "config"), **NONE,
    )  # fmt: skip


@pytest.mark.parametrize("source", ["source_profile = base", "credential_source = Environment"])
def test_mfa_without_a_terminal_does_not_prompt(sandbox: Sandbox, work: Workplace, tmp_path: Path, source: str) -> None:
    add_key(sandbox, work)
    (tmp_path / "config").write_text(
        f"[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = {SECRET}\n"
        f"[profile admin]\nrole_arn = {ROLE_ARN}\nmfa_serial = arn:aws:iam::{ACCOUNT}:mfa/me\n{source}\n"
    )
    error = refused(
        work, "MFA", "terminal", options=("--profile", "admin", *PATIENT), AWS_CONFIG_FILE=str(tmp_path / "config")
    )
    assert error["code"] == "CallerCredentialsInvalid"
    assert sandbox.calls(service="sts") == []


PROFILES = {
    "no secret": ("aws_access_key_id = AKIABASE\n", "aws_secret_access_key"),
    "blank secret": ("aws_access_key_id = AKIABASE\naws_secret_access_key =\n", "AWS_SECRET_ACCESS_KEY"),
    "no source": (f"role_arn = {ROLE_ARN}\nsource_profile = nobody\n", "nobody"),
    "itself as source": (f"role_arn = {ROLE_ARN}\nsource_profile = ci\n", "ci"),
    "neither source": (f"role_arn = {ROLE_ARN}\n", "source_profile"),
    "unknown source": (f"role_arn = {ROLE_ARN}\ncredential_source = Magic\n", "Magic"),
    "no role": ("web_identity_token_file = /x\n", "role"),
    "half an SSO": ("sso_account_id = 1\nsso_role_name = x\nsso_region = us-east-1\n", "sso_start_url"),
}


@pytest.mark.parametrize(("lines", "word"), PROFILES.values(), ids=PROFILES)
def test_a_profile(sandbox: Sandbox, work: Workplace, tmp_path: Path, lines: str, word: str) -> None:
    add_key(sandbox, work)
    (tmp_path / "config").write_text(f"[profile ci]\n{lines}")
    refused(work, word, options=("--profile", "ci", *PATIENT), AWS_CONFIG_FILE=str(tmp_path / "config"), **NONE)


@pytest.mark.parametrize("content", [None, "a folder", b"token\n", b"\xff"])
def test_a_containers_token_file(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, content: bytes | str | None
) -> None:
    add_key(sandbox, work)
    file = tmp_path / "pod-token"
    if content == "a folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    refused(
        work, "pod-token", AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:1/x",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(file), **NONE,
    )  # fmt: skip


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/x", "http://example.com/x", "https://10.0.0.1/x", "x", ""])
def test_a_containers_endpoint(sandbox: Sandbox, work: Workplace, uri: str) -> None:
    add_key(sandbox, work)
    refused(work, "AWS_CONTAINER_CREDENTIALS_FULL_URI", AWS_CONTAINER_CREDENTIALS_FULL_URI=uri, **NONE)


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"no JSON", b"\xff", f'"{SECRET}"'.encode(), b"x" * (5 << 20)])
@pytest.mark.parametrize("status", [200, 403])
def test_a_containers_answer(sandbox: Sandbox, work: Workplace, answer: bytes, status: int) -> None:
    add_key(sandbox, work)
    with Answers(status, answer) as endpoint:
        refused(
            work, "AWS_CONTAINER_CREDENTIALS_FULL_URI", AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{endpoint.url}/x", **NONE
        )


def test_a_web_page_in_the_place_of_sts_for_a_token(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    add_key(sandbox, work)
    (tmp_path / "token").write_text("OIDC-TOKEN")
    with Page(404) as page:
        refused(
            work, "AWS_WEB_IDENTITY_TOKEN_FILE", BULK_IMPORT_ENDPOINT_URL=page.url,
            AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"), **WEB_IDENTITY,
        )  # fmt: skip
    assert len(page.asked) == 1
