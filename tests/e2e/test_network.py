"""TLS by a CA of one's own, proxies, FIPS and dual-stack endpoints: as in the AWS CLI, by its variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_import.aws.wire.clients import Clients
from bulk_import.settings import load
from tests.e2e import materials
from tests.e2e.network import ForwardProxy, TlsFront
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox_client import Sandbox


def add_keys(sandbox: Sandbox, work: Workplace) -> None:
    for spec in ("SYMMETRIC_DEFAULT", "HMAC_256"):
        work.key(sandbox.key(key_spec=spec)["key_id"], materials.make(spec), name=spec)


def test_tls_by_a_ca_of_ones_own(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front:
        result = work.run(BULK_IMPORT_ENDPOINT_URL=front.url, AWS_CA_BUNDLE=str(front.ca))
    assert result.code == 0, result.stderr
    assert result.report["summary"]["imported"] == 2
    assert result.report["run"]["endpoints"]["kms"] == front.url


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("proxied", [False, True])
def test_a_wrong_certificate_is_refused_before_anything_is_sent(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, *, trusted: bool, proxied: bool
) -> None:
    """By a CA that nobody trusts; or by one that is trusted, but for another name. Directly and behind a proxy."""
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy() as proxy:
        names = {"HTTPS_PROXY": proxy.url, "NO_PROXY": ""} if proxied else {}
        if trusted:
            names["AWS_CA_BUNDLE"] = str(front.ca)
        url = front.misnamed if trusted else front.url
        result = work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL=url, **names)
        used = list(proxy.used)
    assert result.code == 5
    assert "ClientConnectorCertificateError" in result.stderr or "SSLError" in result.stderr
    assert front.heard == []
    assert bool(used) is proxied


def test_the_credential_chain_checks_names_too(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """A pipeline's OIDC token is for STS alone."""
    add_keys(sandbox, work)
    (tmp_path / "token").write_text("OIDC-TOKEN")
    with TlsFront(sandbox.url, tmp_path) as front:
        result = work.run(
            AWS_CA_BUNDLE=str(front.ca), AWS_ENDPOINT_URL_STS=front.misnamed, AWS_ACCESS_KEY_ID="",
            AWS_SECRET_ACCESS_KEY="", AWS_ROLE_ARN=f"arn:aws:iam::{ACCOUNT}:role/x",
            AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"),
        )  # fmt: skip
    assert result.code == 5, result.stderr
    assert front.heard == []


def test_only_kms_has_a_certificate_of_an_unknown_ca(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """The endpoint of KMS itself, whose wrapping key the material is sealed to, is checked no less."""
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front:
        result = work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_STS=sandbox.url,
                          AWS_ENDPOINT_URL_KMS=front.url)  # fmt: skip
    assert result.code == 5
    errors = {entry["error"]["code"] for entry in result.report["results"]}
    assert errors == {"ConnectionFailed"}
    assert sandbox.calls(operation="DescribeKey") == []


@pytest.mark.parametrize("tls", [False, True])
def test_through_a_proxy(sandbox: Sandbox, work: Workplace, tmp_path: Path, *, tls: bool) -> None:
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy() as proxy:
        url = front.url if tls else sandbox.url
        names = {"HTTPS_PROXY" if tls else "HTTP_PROXY": proxy.url, "NO_PROXY": "", "AWS_CA_BUNDLE": str(front.ca)}
        result = work.run(BULK_IMPORT_ENDPOINT_URL=url, **names)
    assert result.code == 0, result.stderr
    assert result.report["summary"]["imported"] == 2
    host = url.partition("://")[2]
    assert set(proxy.used) == ({f"CONNECT {host}"} if tls else {f"POST {url}/"})


def test_a_proxy_that_is_not_there(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    with ForwardProxy() as gone:
        pass
    result = work.run("--retry-timeout", "0", HTTP_PROXY=gone.url, NO_PROXY="")
    assert result.code == 5
    assert "ProxyConnection" in result.stderr
    assert sandbox.calls() == []


def test_a_proxy_that_never_answers(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """The connection is made and nothing comes back: half open, before TLS."""
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy(silent=True) as proxy:
        result = work.run(
            "--connect-timeout", "1s", "--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL=front.url,
            HTTPS_PROXY=proxy.url, NO_PROXY="", AWS_CA_BUNDLE=str(front.ca),
        )  # fmt: skip
    assert result.code == 5
    assert "No connection" in result.stderr
    assert front.heard == []


@pytest.mark.parametrize("status", [403, 429])
def test_a_page_of_a_proxy_is_no_answer_of_kms(sandbox: Sandbox, work: Workplace, status: int) -> None:
    """Nobody knows what became of the request, and nobody wants to read 30 KB of HTML in a report."""
    add_keys(sandbox, work)
    with ForwardProxy(page=status) as proxy:
        result = work.run(
            "--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_STS=sandbox.url,
            AWS_ENDPOINT_URL_KMS="http://127.0.0.2:1", HTTP_PROXY=proxy.url, NO_PROXY="127.0.0.1",
        )  # fmt: skip
    assert result.code == 5
    errors = [entry["error"] for entry in result.report["results"]]
    assert {error["code"] for error in errors} == {"MalformedAnswer"}
    assert all(str(status) in error["message"] and len(error["message"]) < 400 for error in errors)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "https://kms-fips.us-east-1.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "https://kms.us-east-1.api.aws"),
        ("AWS_ENDPOINT_URL_KMS", "https://vpce-1.kms.us-east-1.vpce.amazonaws.com"),
    ],
)
async def test_switches_of_the_aws_cli(variable: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where requests go and what the report says of it, without a call."""
    monkeypatch.setenv(variable, url if variable.startswith("AWS_ENDPOINT") else "true")
    async with Clients(load({}), "run-1") as clients:
        pair = await clients.kms("us-east-1")
        told = clients.endpoints["kms"]
        resolved = await pair.writes._ruleset_resolver.construct_endpoint()  # noqa: SLF001 - what a call would ask
    assert (told, resolved.url) == (url, url)
