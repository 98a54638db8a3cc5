"""TLS by a CA of one's own, proxies, endpoints: as in the AWS CLI, by its variables, and never without verification."""

from __future__ import annotations

import hashlib
import json
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.credentials import AioCredentials

from bulk_import.aws.wire.clients import Clients
from bulk_import.aws.wire.credentials import SigningAs
from bulk_import.aws.wire.faults import NetworkFault
from bulk_import.settings import load
from tests.e2e import materials
from tests.e2e.network import ForwardProxy, Page, Served, TlsFront, TokenService
from tests.e2e.support import ACCOUNT, Workplace
from tests.sandbox_client import CALLER, Sandbox

WEB_IDENTITY = {
    "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/x",
}  # fmt: skip
PATIENT = ("--retry-timeout", "600")  # seconds, longer than a test may take: what is repeated does not end in time


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
def test_a_wrong_certificate_is_refused_at_once_and_nothing_is_sent(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, *, trusted: bool, proxied: bool
) -> None:
    """By a CA that nobody trusts; or by one that is trusted, but for another name. Directly and behind a proxy."""
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy() as proxy:
        names = {"HTTPS_PROXY": proxy.url, "NO_PROXY": ""} if proxied else {}
        if trusted:
            names["AWS_CA_BUNDLE"] = str(front.ca)
        right, wrong = (front.far, front.far_misnamed) if proxied else (front.url, front.misnamed)
        url = wrong if trusted else right
        result = work.run(*PATIENT, BULK_IMPORT_ENDPOINT_URL=url, **names)
        used = list(proxy.used)
    assert result.code == 5
    error = result.report["run"]["error"]
    assert url.removeprefix("https://") in error["message"]
    assert ("mismatch" in error["message"].lower() or "not valid for" in error["message"]) is trusted
    assert (str(front.ca) if trusted else "botocore") in error["message"]
    assert "AWS_CA_BUNDLE" in error["advice"]
    assert front.heard == []
    assert len(used) == int(proxied)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("proxied", [False, True])
def test_the_credential_chain_verifies_too(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, *, trusted: bool, proxied: bool
) -> None:
    """A pipeline's OIDC token is for STS alone."""
    add_keys(sandbox, work)
    (tmp_path / "token").write_text("OIDC-TOKEN")
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy() as proxy:
        names = {"HTTPS_PROXY": proxy.url, "NO_PROXY": ""} if proxied else {}
        if trusted:
            names["AWS_CA_BUNDLE"] = str(front.ca)
        right, wrong = (front.far, front.far_misnamed) if proxied else (front.url, front.misnamed)
        names |= WEB_IDENTITY | {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")}
        result = work.run(
            *PATIENT, BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_STS=wrong if trusted else right,
            AWS_ENDPOINT_URL_KMS=sandbox.url, **names,
        )  # fmt: skip
        used = list(proxy.used)
    assert result.code == 5, result.stderr
    assert "certificate" in result.report["run"]["error"]["message"]
    assert front.heard == []
    assert len(used) == int(proxied)


@pytest.mark.parametrize("named", ["url", "misnamed"])
def test_so_does_an_sso_session(sandbox: Sandbox, work: Workplace, tmp_path: Path, named: str) -> None:
    """Its access token is for IAM Identity Center alone. (With the right name the front gets a GET, and refuses it.)"""
    add_keys(sandbox, work)
    start = "https://firm.awsapps.com/start"
    token = {"startUrl": start, "region": "eu-west-1", "accessToken": "t", "expiresAt": "2099-01-01T00:00:00Z"}
    cache = tmp_path / ".aws/sso/cache"
    cache.mkdir(parents=True)
    (cache / f"{hashlib.sha1(start.encode()).hexdigest()}.json").write_text(json.dumps(token))  # noqa: S324
    (tmp_path / "config").write_text(
        f"[default]\nsso_start_url = {start}\nsso_region = eu-west-1\nsso_account_id = {ACCOUNT}\nsso_role_name = Dev\n"
    )
    with TlsFront(sandbox.url, tmp_path) as front:
        result = work.run(
            "--retry-timeout", "0", AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_CA_BUNDLE=str(front.ca),
            AWS_ENDPOINT_URL_SSO=getattr(front, named), HOME=str(tmp_path), AWS_ACCESS_KEY_ID="",
            AWS_SECRET_ACCESS_KEY="",
        )  # fmt: skip
    assert result.code == 5, result.stderr
    assert ("certificate" in result.report["run"]["error"]["message"]) is (named == "misnamed")


def test_the_credential_chain_works_through_proxy_and_ca(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """What the test above refuses works where the certificate is right."""
    add_keys(sandbox, work)
    (tmp_path / "token").write_text("OIDC-TOKEN")
    with TokenService(sandbox.url) as sts, TlsFront(sts.url, tmp_path) as front, ForwardProxy() as proxy:
        result = work.run(
            BULK_IMPORT_ENDPOINT_URL=front.far, HTTPS_PROXY=proxy.url, NO_PROXY="", AWS_CA_BUNDLE=str(front.ca),
            AWS_ENDPOINT_URL_STS=front.far, AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"), **WEB_IDENTITY,
        )  # fmt: skip
    assert result.code == 0, result.stderr
    assert any(b"OIDC-TOKEN" in body for body in front.heard)


def test_only_kms_has_a_certificate_of_an_unknown_ca(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """The endpoint of KMS itself, whose wrapping key the material is sealed to, is checked no less."""
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front:
        result = work.run(*PATIENT, BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_STS=sandbox.url,
                          AWS_ENDPOINT_URL_KMS=front.url)  # fmt: skip
    assert result.code == 5
    errors = [entry["error"] for entry in result.report["results"]]
    assert {error["code"] for error in errors} == {"ConnectionFailed"}
    assert all("us-east-1" in error["message"] and front.url[8:] in error["message"] for error in errors)
    assert not any(error["retryable"] for error in errors)
    assert sandbox.calls(operation="DescribeKey") == []


PROFILE = "[default]\nca_bundle =\n[profile other]\nca_bundle =   \n"


@pytest.mark.parametrize(
    ("named", "where"),
    [
        ({"AWS_CA_BUNDLE": ""}, "AWS_CA_BUNDLE"),
        ({"AWS_CA_BUNDLE": " \t"}, "AWS_CA_BUNDLE"),
        ({"REQUESTS_CA_BUNDLE": ""}, "REQUESTS_CA_BUNDLE"),
        ({"REQUESTS_CA_BUNDLE": "  "}, "REQUESTS_CA_BUNDLE"),
        ({"AWS_CONFIG_FILE": "config"}, "ca_bundle"),
        ({"AWS_CONFIG_FILE": "config", "AWS_PROFILE": "other"}, "ca_bundle"),
        ({"REQUESTS_CA_BUNDLE": "", "AWS_CA_BUNDLE": "ca.pem"}, "REQUESTS_CA_BUNDLE"),
        ({"AWS_CA_BUNDLE": "missing.pem"}, "missing.pem"),
        ({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"AWS_CA_BUNDLE": "."}, "AWS_CA_BUNDLE"),
        ({"AWS_CA_BUNDLE": "config"}, "no usable certificate"),
        ({"AWS_CA_BUNDLE": "/dev/null"}, "no usable certificate"),
    ],
)
def test_a_ca_file_that_cannot_be_used_ends_the_run_before_any_call(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, named: dict[str, str], where: str
) -> None:
    """Empty is the worst: the AWS libraries take it as "do not verify"."""
    add_keys(sandbox, work)
    (tmp_path / "config").write_text(PROFILE)
    with TlsFront(sandbox.url, tmp_path) as front:
        result = work.run(BULK_IMPORT_ENDPOINT_URL=front.url, **named)
    assert result.code == 3, result.stderr
    assert where in result.stderr
    assert front.heard == []


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "[::1]"])
def test_a_loopback_endpoint_is_never_reached_through_a_proxy(
    sandbox: Sandbox, work: Workplace, variable: str, host: str
) -> None:
    """A proxy could read the requests, and replace the wrapping key."""
    add_keys(sandbox, work)
    url = sandbox.url.replace("127.0.0.1", host)
    with ForwardProxy() as proxy:
        result = work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL=url, NO_PROXY="", **{variable: proxy.url})
        used = list(proxy.used)
    assert used == []
    if host in ("127.0.0.1", "localhost"):  # where the sandbox listens
        assert result.code == 0, result.stderr


@pytest.mark.parametrize("region", ["fips-us-east-1", "us-east-1-fips"])
@pytest.mark.parametrize("caller", ["keys", "web identity"])
def test_nor_is_one_where_the_region_is_an_old_name_of_fips(
    sandbox: Sandbox, work: Workplace, region: str, caller: str
) -> None:
    """botocore then makes a configuration of its own from the client's, and another one for the chain's clients."""
    add_keys(sandbox, work)
    environment = {"AWS_REGION": region, "NO_PROXY": ""}
    with ForwardProxy(refuses=403) as proxy, TokenService(sandbox.url) as tokens:
        if caller == "web identity":
            (work.folder / "token").write_text("a.b.c")
            environment |= {
                "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_ENDPOINT_URL_STS": tokens.url,
                "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/pipeline", "BULK_IMPORT_ENDPOINT_URL": "",
                "AWS_ENDPOINT_URL_KMS": sandbox.url, "AWS_WEB_IDENTITY_TOKEN_FILE": str(work.folder / "token"),
            }  # fmt: skip
        result = work.run("--retry-timeout", "0", HTTP_PROXY=proxy.url, HTTPS_PROXY=proxy.url, **environment)
        assert proxy.used == []
    assert result.code == 0, result.stderr


@pytest.mark.parametrize("named", ["url", "misnamed"])
def test_nor_is_one_with_tls(sandbox: Sandbox, work: Workplace, tmp_path: Path, named: str) -> None:
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy() as proxy:
        result = work.run(
            BULK_IMPORT_ENDPOINT_URL=getattr(front, named), AWS_CA_BUNDLE=str(front.ca), HTTPS_PROXY=proxy.url,
            https_proxy=proxy.url, NO_PROXY="",
        )  # fmt: skip
        used = list(proxy.used)
    assert used == []
    assert result.code == (0 if named == "url" else 5), result.stderr


@pytest.mark.parametrize("spelling", ["127.1", "2130706433", "0x7f000001", "LOCALHOST", "[::ffff:127.0.0.1]"])
def test_nor_is_one_that_is_spelled_in_another_way(sandbox: Sandbox, work: Workplace, spelling: str) -> None:
    url = f"http://{spelling}:{sandbox.url.rpartition(':')[2]}"
    add_keys(sandbox, work)
    with ForwardProxy() as proxy:
        names = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), proxy.url)
        work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL=url, NO_PROXY="", no_proxy="example.com", **names)
        assert not proxy.used


@pytest.mark.parametrize(
    "host", ["127.0.0.1%25x.example", "kms.localhost.", "localhost.", "127.0.0.1.", "0.0.0.1", "127.0.0.1.example.com"]
)
def test_a_name_that_a_dns_server_may_be_asked_for_is_not_loopback(
    sandbox: Sandbox, work: Workplace, host: str
) -> None:
    add_keys(sandbox, work)
    result = work.run(BULK_IMPORT_ENDPOINT_URL=f"http://{host}:4566")
    assert result.code == 3, result.stderr
    assert "only loopback endpoints may use http://" in result.stderr or "Invalid endpoint" in result.stderr


class _InstanceMetadata(BaseHTTPRequestHandler):
    """IMDSv2. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html"""

    def do_PUT(self) -> None:
        self._send(b"a-token")

    def do_GET(self) -> None:
        credentials = {
            "Code": "Success", "AccessKeyId": CALLER["aws_access_key_id"], "Token": "t",
            "SecretAccessKey": CALLER["aws_secret_access_key"], "Expiration": "2099-01-01T00:00:00Z",
        }  # fmt: skip
        listing = self.path.endswith("/security-credentials/")
        self._send(b"a-role" if listing else json.dumps(credentials).encode())

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.mark.parametrize("of_profile", [False, True])
def test_credentials_of_an_instance_come_through_no_proxy(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, of_profile: bool
) -> None:
    """It would read them, or give others."""
    add_keys(sandbox, work)
    profile = tmp_path / "config"
    profile.write_text(
        "[default]\nrole_arn = arn:aws:iam::111122223333:role/x\ncredential_source = Ec2InstanceMetadata\n"
    )
    with Served(_InstanceMetadata) as instance, ForwardProxy() as proxy:
        result = work.run(
            AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="", NO_PROXY="",
            AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{instance.port}", HTTP_PROXY=proxy.url,
            http_proxy=proxy.url, **({"AWS_CONFIG_FILE": str(profile)} if of_profile else {}),
        )  # fmt: skip
        assert (result.code, list(proxy.used)) == (0, []), result.stderr


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_through_a_proxy(sandbox: Sandbox, work: Workplace, tmp_path: Path, variable: str) -> None:
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy(password="p%w") as proxy:
        url = proxy.url.replace("http://", "http://user:p%25w@")
        result = work.run(
            BULK_IMPORT_ENDPOINT_URL=front.far, NO_PROXY="", AWS_CA_BUNDLE=str(front.ca), **{variable: url}
        )
    assert result.code == 0, result.stderr
    assert result.report["summary"]["imported"] == 2
    assert set(proxy.used) == {f"CONNECT {front.far.removeprefix('https://')}"}


@pytest.mark.parametrize(
    ("status", "credentials"), [(407, ""), (407, "user:WRONG-pw@"), (403, ""), (451, "user:s3cret-pw@")]
)
def test_a_proxy_that_refuses_is_asked_once(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, status: int, credentials: str
) -> None:
    """Repeating a wrong password could lock the account at the proxy."""
    add_keys(sandbox, work)
    password = "s3cret-pw"
    refusing = ForwardProxy(password=password) if status == 407 else ForwardProxy(refuses=status)
    with TlsFront(sandbox.url, tmp_path) as front, refusing as proxy:
        url = proxy.url.replace("http://", f"http://{credentials}")
        result = work.run(
            *PATIENT, BULK_IMPORT_ENDPOINT_URL=front.far, HTTPS_PROXY=url, NO_PROXY="", AWS_CA_BUNDLE=str(front.ca)
        )
    assert result.code == 5
    error = result.report["run"]["error"]
    assert str(status) in error["message"]
    assert proxy.url in error["message"]
    assert "aws.test" in error["message"]
    assert ("password" in error["advice"]) is (status == 407)
    assert len(proxy.used) == 1
    assert "WRONG-pw" not in result.stderr + str(result.report)
    assert password not in result.stderr + str(result.report)


def test_a_proxy_that_is_not_there(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    with ForwardProxy() as gone:
        pass
    result = work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL="https://aws.test", HTTPS_PROXY=gone.url,
                      NO_PROXY="")  # fmt: skip
    assert result.code == 5
    assert f"the proxy {gone.url}: Connection refused" in result.report["run"]["error"]["message"]
    assert sandbox.calls() == []


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://proxy:port", "ftp://proxy:21", "socks5://127.0.0.1:1080", "http://:3128",
     "http://user:s3cret-pw@", "http://user:s3cret-pw@proxy:99999", "://s3cret-pw"],
)  # fmt: skip
def test_a_proxy_url_that_is_not_valid(sandbox: Sandbox, work: Workplace, url: str) -> None:
    add_keys(sandbox, work)
    result = work.run(*PATIENT, BULK_IMPORT_ENDPOINT_URL="https://aws.test", HTTPS_PROXY=url, NO_PROXY="")
    assert result.code == 3, result.stderr
    assert "HTTPS_PROXY" in result.stderr
    assert "s3cret-pw" not in result.stderr


def test_a_proxy_that_never_answers(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """The connection is made and nothing comes back: half open, before TLS."""
    add_keys(sandbox, work)
    with TlsFront(sandbox.url, tmp_path) as front, ForwardProxy(silent=True) as proxy:
        result = work.run(
            "--connect-timeout", "1s", "--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL=front.far,
            HTTPS_PROXY=proxy.url, NO_PROXY="", AWS_CA_BUNDLE=str(front.ca),
        )  # fmt: skip
    assert result.code == 5
    assert "No connection" in result.stderr
    assert proxy.url in result.stderr
    assert front.heard == []


@pytest.mark.parametrize("status", [403, 429])
def test_a_page_of_a_gateway_is_no_answer_of_kms(sandbox: Sandbox, work: Workplace, status: int) -> None:
    """Nobody knows what became of the request, and nobody wants to read 30 KB of HTML in a report."""
    add_keys(sandbox, work)
    with Page(status) as page:
        result = work.run("--retry-timeout", "0", AWS_ENDPOINT_URL_STS=sandbox.url, BULK_IMPORT_ENDPOINT_URL="",
                          AWS_ENDPOINT_URL_KMS=page.url)  # fmt: skip
    assert result.code == 5
    errors = [entry["error"] for entry in result.report["results"]]
    assert {error["code"] for error in errors} == {"MalformedAnswer"}
    assert all(str(status) in error["message"] and len(error["message"]) < 400 for error in errors)


@pytest.mark.parametrize(
    "answer",
    [
        (501, "", "text/html"),
        (405, "", "text/html"),
        (404, "", "text/html"),
        (404, "404 page not found", "text/plain"),
        (501, '{"__type": "InternalFailure", "message": "not yet implemented"}', "application/json"),
        (400, '{"__type": "InvalidAction", "message": "?"}', "application/json"),
        (400, '{"__type": "UnknownOperationException"}', "application/x-amz-json-1.1"),
        (405, '{"message": "Method Not Allowed"}', "application/json"),
    ],
)
@pytest.mark.parametrize("service", ["kms", "sts"])
def test_an_endpoint_without_the_operation_is_asked_once(
    sandbox: Sandbox, work: Workplace, service: str, answer: tuple[int, str, str]
) -> None:
    status, text, content_type = answer
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")
    if service == "sts" and content_type != "text/html":
        text, content_type = "", "text/html"  # its errors are XML
        status = status if status != 400 else 501
    with Page(status, text, content_type) as page:
        urls = {"AWS_ENDPOINT_URL_STS": sandbox.url, "AWS_ENDPOINT_URL_KMS": sandbox.url}
        urls[f"AWS_ENDPOINT_URL_{service.upper()}"] = page.url
        result = work.run(*PATIENT, BULK_IMPORT_ENDPOINT_URL="", **urls)
    assert result.code == 5
    error = result.report["run"]["error"] if service == "sts" else result.entries["aes"]["error"]
    assert error["code"] == "UnknownOperationException"
    assert ("GetCallerIdentity" if service == "sts" else "DescribeKey") in error["message"]
    assert "endpoint" in error["advice"]
    assert len(page.asked) == 1


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_AGAIN])
async def test_only_dns_that_gives_no_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """What the system's resolver says: a name that does not exist will not exist a second later."""

    def resolver(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "said by the test")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    async with Clients(load({}), "run-1") as clients:
        kms = await clients.kms("eu-west-3")
        with SigningAs(AioCredentials("AKIDEXAMPLE", "the secret")), pytest.raises(NetworkFault) as failed:
            await kms.reads.describe_key(KeyId="k")
    assert "kms.eu-west-3.amazonaws.com:443" in failed.value.message
    assert (failed.value.retryable, failed.value.sent) == (number == socket.EAI_AGAIN, False)


def test_dns_without_an_answer_is_named(sandbox: Sandbox, work: Workplace) -> None:
    """`.invalid` never exists (RFC 6761)."""
    add_keys(sandbox, work)
    result = work.run("--retry-timeout", "0", BULK_IMPORT_ENDPOINT_URL="https://kms.{region}.invalid")
    assert result.code == 5
    assert "kms.us-east-1.invalid:443" in result.report["run"]["error"]["message"]
    assert "DNS" in result.report["run"]["error"]["message"]


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".com", "-", "exa mple.com", "a\tb"])
def test_a_host_name_that_is_none(sandbox: Sandbox, work: Workplace, host: str) -> None:
    add_keys(sandbox, work)
    result = work.run(*PATIENT, BULK_IMPORT_ENDPOINT_URL=f"https://{host}")
    assert result.code in (3, 5), result.stderr
    assert "defect" not in result.stderr


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
    asked: list[str] = []

    def instead(params: dict[str, Any], **_: Any) -> tuple[Any, Any]:
        """Before our own handler: nothing is sent."""
        asked.append(params["url"])
        return AioAWSResponse(params["url"], 200, {}, None), {"KeyMetadata": {}}

    async with Clients(load({}), "run-1") as clients:
        pair = await clients.kms("us-east-1")
        for client in (pair.reads, pair.writes):
            client.meta.events.register_first("before-call.kms", instead)
            await client.describe_key(KeyId="k")
        named = clients.endpoints["kms"]
    assert {url.rstrip("/") for url in asked} == {url}
    assert named == url
