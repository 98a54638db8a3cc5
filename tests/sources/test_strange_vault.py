"""What answers where a Vault should be: another program, a gateway, a server that mixes its answers up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.e2e import materials
from tests.e2e.network import ForwardProxy, Served, TlsFront
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao
from tests.sources.support import add

ALLOW = ("--allow-source", "vault:", "--allow-source", "transit:")
QUICK = ("--connect-timeout", "2s", "--read-timeout", "5s", "--retry-timeout", "1s")
TOKEN = {"VAULT_TOKEN": "a-token"}


class Strange(Served):
    """Answers every request with this status and body. `asked`: what was asked, as method and path; `given`: with
    which headers.
    """

    def __init__(self, status: int, body: bytes | Callable[[str], bytes]) -> None:
        self.asked: list[str] = []
        self.given: list[dict[str, str]] = []
        fields = {"asked": self.asked, "given": self.given, "status": status, "body": [body]}
        super().__init__(type("Handler", (_Strange,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class _Strange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]]
    given: ClassVar[list[dict[str, str]]]
    status: int
    body: ClassVar[list[Any]]

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.given.append(dict(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        [body] = self.body
        data = body(self.path) if callable(body) else body
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client has read enough

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Silent."""


def kv(version: int, **fields: Any) -> bytes:
    return json.dumps({"data": {"data": fields, "metadata": {"version": version}}}).encode()


KEY = materials.make("HMAC_256").hex()
OTHER = materials.make("HMAC_256").hex()
NOT_VAULTS = {
    "a page": (200, b"<html>"), "an empty answer": (200, b""), "no object": (200, b"[]"), "null": (404, b"null"),
    "a list as an error": (400, b'["no"]'), "a page as an error": (403, b"<html>"), "a page, not found": (404, b"<h1>"),
    "nested deep": (200, b'{"data":' * 50_000), "half of a character": (200, kv(3, key="\ud800")),
    "a list as data": (200, b'{"data":["x"]}'), "a number as a reason": (400, b'{"errors":[5]}'),
    "not UTF-8": (200, b'{"data":{"data":{"key":"\xff"}}}'), "too large": (200, kv(3, key="a" * (5 << 20))),
    "cut off": (200, kv(3, key=KEY)[:-3]), "another version": (200, kv(2, key=KEY)),
    "no version": (200, b'{"data":{"data":{"key":"' + KEY.encode() + b'"}}}'),
    "two values": (200, kv(3, key=KEY).replace(b'"key"', b'"key": "' + OTHER.encode() + b'", "key"')),
    "a redirect": (307, b""), "a redirect with a page": (302, b"<html>"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_VAULTS)
def test_an_answer_that_is_not_vaults_fails_its_target_only(sandbox: Sandbox, work: Workplace, case: str) -> None:
    add(work, "vault:team/one?field=key&version=3", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="good")
    with Strange(*NOT_VAULTS[case]) as server:
        result = work.run(*ALLOW, "--allow-source", "file:", *QUICK, VAULT_ADDR=server.url, **TOKEN)
    assert result.code == 4, result.stderr
    error = result.entries["one"]["error"]
    assert error["code"] == "SourceFailed"
    assert not error["retryable"]
    assert KEY not in json.dumps(result.report) + result.stderr
    assert result.entries["good"]["status"] == "imported"


LOGINS = {
    "a page": (200, b"<html>"), "nothing": (204, b""), "a redirect": (307, b""), "a list": (200, b"[]"),
    "no identity": (200, b'{"auth":null}'), "no token": (200, b'{"auth":{"client_token":null}}'),
    "a token of two lines": (200, b'{"auth":{"client_token":"a\\nb"}}'),
    "a token that no header holds": (200, b'{"auth":{"client_token":"\\u20ac"}}'),
}  # fmt: skip


@pytest.mark.parametrize("case", LOGINS)
def test_a_login_that_gives_no_token_fails_its_targets_only(sandbox: Sandbox, work: Workplace, case: str) -> None:
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="good")
    who = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
    with Strange(*LOGINS[case]) as server:
        options = (*ALLOW, "--allow-source", "file:", *QUICK, "--vault-auth", "approle")
        result = work.run(*options, VAULT_ADDR=server.url, **who)
    assert result.code == 4, result.stderr
    assert result.entries["one"]["error"]["code"] == "SourceFailed"
    assert len(server.asked) == 1


REASONS = {
    r"1 error occurred:\n\t* internal error\n\n": "SourceUnavailable", "internal error": "SourceUnavailable",
    "the key is not exportable": "SourceFailed", "internal error in a plugin": "SourceFailed",
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_only_a_fault_of_the_server_itself_is_repeated(sandbox: Sandbox, work: Workplace, reason: str) -> None:
    """Both have HTTP status 500: a server that fails for a moment, and a plugin that refuses."""
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    with Strange(500, b'{"errors":["' + reason.encode() + b'"]}') as server:
        result = work.run(*ALLOW, *QUICK, VAULT_ADDR=server.url, **TOKEN)
    error = result.entries["one"]["error"]
    assert error["code"] == REASONS[reason], error
    assert error["retryable"] == (len(server.asked) > 1) == (error["code"] == "SourceUnavailable")


@pytest.mark.parametrize("content", [b"a\nb", b"\xff", b"", b"two words"])
def test_a_file_that_holds_no_jwt(sandbox: Sandbox, work: Workplace, content: bytes) -> None:
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    (work.folder / "jwt").write_bytes(content)
    with Strange(200, b"{}") as server:
        options = (*ALLOW, *QUICK, "--vault-auth", "jwt", "--vault-role", "r", "--vault-jwt-file", "jwt")
        result = work.run(*options, VAULT_ADDR=server.url)
    assert result.code == 5, result.stderr
    assert "--vault-jwt-file holds no JSON Web Token" in result.entries["one"]["error"]["message"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("given", "asked"),
    [("pay#ments", "pay%23ments"), ("%2e%2e/other/keys/pay", "%252e%252e/other/keys/keys/pay"), ("a%2Fb", "a%252Fb"),
     ("a;b", "a%3Bb"), ("ü", "%C3%BC")],
)  # fmt: skip
def test_transit_is_asked_for_the_key_that_is_named(sandbox: Sandbox, work: Workplace, given: str, asked: str) -> None:
    """Not for one whose name is the beginning of it, nor for one outside the mount that is allowed."""
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, f"transit:team/{given}?version=1", key)
    with Strange(404, b'{"errors":[]}') as server:
        result = work.run("--allow-source", "transit:team/", *QUICK, VAULT_ADDR=server.url, **TOKEN)
    assert result.code == 5, result.stderr
    assert result.entries["one"]["error"]["code"] == "MaterialNotFound"
    path = asked if "/keys/" in asked else f"keys/{asked}"
    assert server.asked == [f"GET /v1/team/{path}"]


def test_a_key_whose_name_has_a_fragment_is_not_another_key(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    bao.transit_key("frag", "ecdsa-p256")
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/frag#ment?version=1", key)
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 5, result.stderr
    assert sandbox.client().describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingImport"


@pytest.mark.parametrize("which", ["keys", "byok-export"])
def test_an_answer_for_another_key_of_transit(sandbox: Sandbox, work: Workplace, bao: Bao, which: str) -> None:
    """A server, or something before it, that gives one request the answer of another."""
    for name in ("mixed-one", "mixed-two"):
        bao.transit_key(name, "ecdsa-p256")
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/mixed-one?version=1", key)

    def answer(path: str) -> bytes:
        where = path.removeprefix("/v1/")
        if f"/{which}/" in path:
            where = where.replace("mixed-one", "mixed-two")
        if "/import" in path or "/config" in path:
            return b""
        if "byok-export" in path:
            return json.dumps({"data": {"name": "mixed-two", "keys": {"1": "AAAA"}}}).encode()
        return json.dumps({"data": bao.client.read(where)["data"]}).encode()

    with Strange(200, answer) as server:
        result = work.run(*ALLOW, *QUICK, VAULT_ADDR=server.url, **TOKEN)
    assert result.code == 5, result.stderr
    assert "another key than mixed-one" in result.entries["one"]["error"]["message"]
    assert sandbox.calls(operation="ImportKeyMaterial") == []


ADDRESSES = (
    "https://127.0.0.1:99999", "https://[::1", "https://vault..example:1", "https://*.example", "https:///x",
    " https://vault.example", "https://vault.example\n", "https://vault.example/?token=hvs.hunter2",
    "https://vault.example/#hunter2", "https://vault.example:8200\\@hunter2", "https://vault.example:0",
)  # fmt: skip
VALUES = {
    "a token with a line break": {"VAULT_TOKEN": "hunter2\n"}, "a token of two": {"VAULT_TOKEN": "hunter2 x"},
    "a token that is no ASCII": {"VAULT_TOKEN": "hunter2€"}, "a namespace of two lines": {"VAULT_NAMESPACE": "a\nb"},
} | {repr(address): {"VAULT_ADDR": address} for address in ADDRESSES}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_variables_that_cannot_work(sandbox: Sandbox, work: Workplace, case: str) -> None:
    add(work, "vault:team/one?field=key")
    work.write()
    environment = {"VAULT_ADDR": "https://127.0.0.1:1", **TOKEN} | VALUES[case]
    result = work.call("run", "manifest.json", *ALLOW, **environment)
    assert result.code == 3, result.stderr
    assert next(iter(VALUES[case])) in result.stderr
    assert "hunter2" not in result.stderr
    assert sandbox.calls() == []


PROXY = "http://user:hunter2@127.0.0.1:"


@pytest.mark.parametrize(("status", "repeated"), [(407, False), (403, False), (451, False), (503, True)])
def test_a_proxy_that_refuses(sandbox: Sandbox, work: Workplace, status: int, *, repeated: bool) -> None:
    """A password that is refused again and again can lock the account."""
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    with ForwardProxy(refuses=status) as proxy:
        environment = {"VAULT_ADDR": "https://vault.example:8200", "HTTPS_PROXY": f"{PROXY}{proxy.port}"}
        result = work.run(*ALLOW, *QUICK, **environment, **TOKEN)
        assert (len(proxy.used) > 1) == repeated
    error = result.entries["one"]["error"]
    assert (error["code"], error["retryable"]) == ("SourceUnavailable", repeated)
    assert re.search(
        rf"proxy http://127\.0\.0\.1:{proxy.port} refused .*vault\.example:8200: .*{status}", error["message"]
    )
    assert "hunter2" not in result.stderr + json.dumps(result.report)


@pytest.mark.parametrize(
    "proxy", ["http://user:hunter2@[", "socks5://user:hunter2@127.0.0.1:1", "http://user:hunter2@"]
)
def test_a_proxy_that_is_none(sandbox: Sandbox, work: Workplace, proxy: str) -> None:
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    result = work.run(*ALLOW, *QUICK, VAULT_ADDR="https://vault.example:8200", HTTPS_PROXY=proxy, **TOKEN)
    assert result.code == 5, result.stderr
    error = result.entries["one"]["error"]
    assert (error["code"], error["retryable"]) == ("SourceFailed", False)
    assert "HTTPS_PROXY" in error["advice"]
    assert "hunter2" not in result.stderr + json.dumps(result.report)


def test_a_name_that_does_not_exist_is_not_asked_again(sandbox: Sandbox, work: Workplace) -> None:
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    result = work.run(*ALLOW, *QUICK, VAULT_ADDR="https://no-such-name.invalid:8200", **TOKEN)
    error = result.entries["one"]["error"]
    assert "does not exist in DNS" in error["message"]
    assert not error["retryable"]


@pytest.mark.parametrize("case", ["unknown CA", "another name", "a CA file that is none", "no TLS at all"])
def test_a_server_that_is_not_trusted_gets_no_token(
    sandbox: Sandbox, work: Workplace, tmp_path: Path, case: str
) -> None:
    """Asked once, and the message names the CA file."""
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    (work.folder / "garbage.pem").write_text("no certificate")
    with Strange(200, kv(1, key=KEY)) as server, TlsFront(server.url, tmp_path) as front:
        address = {"no TLS at all": server.url.replace("http:", "https:"), "another name": front.misnamed}
        environment = {"VAULT_ADDR": address.get(case, front.url), **TOKEN}
        if case != "unknown CA":
            environment["VAULT_CACERT"] = str(work.folder / "garbage.pem" if "file" in case else front.ca)
        result = work.run(*ALLOW, *QUICK, **environment)
        assert server.asked == []
    assert result.code == 5, result.stderr
    error = result.entries["one"]["error"]
    assert not error["retryable"], error
    assert "VAULT_CACERT" in error["advice"]
    assert environment.get("VAULT_CACERT", "CA file") in error["message"], error
    assert ("ostname" in error["message"]) == (case == "another name")


def test_no_password_of_netrc_is_sent(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    """requests would send that of its `default` entry to any server."""
    add(work, "vault:team/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    (work.folder / "netrc").write_text("default login somebody password hunter2\n")
    (work.folder / "netrc").chmod(0o600)
    with Strange(400, b'{"errors":["no"]}') as server, TlsFront(server.url, tmp_path) as front, ForwardProxy() as proxy:
        environment = {
            "VAULT_ADDR": front.far, "VAULT_CACERT": str(front.ca), "HTTPS_PROXY": proxy.url, "VAULT_ROLE_ID": "r",
            "VAULT_SECRET_ID": "s", "NETRC": str(work.folder / "netrc"), "NO_PROXY": "",
        }  # fmt: skip
        result = work.run(*ALLOW, *QUICK, "--vault-auth", "approle", **environment)
        assert server.asked, result.stderr  # so it is trusted by the CA of VAULT_CACERT
        assert not any("Authorization" in headers for headers in server.given)
