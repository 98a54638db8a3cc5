"""What is between a program and AWS in a firm's network: TLS by a CA of one's own, and a forward proxy."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import select
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.support import ACCOUNT
from tests.sandbox_client import CALLER

_XMLNS = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


class Served:
    """A threaded server on loopback; a context manager."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        getattr(self, "done", threading.Event()).set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(10)


class TlsFront(Served):
    """https:// in front of an http:// server. `ca`: the file that a client must trust; `heard`: bodies that came.

    Its certificate is for 127.0.0.1, aws.test and `names`; `misnamed` are its URLs by other names. Those that end with
    .test are reached through a ForwardProxy only.
    """

    def __init__(self, behind: str, folder: Path, *names: str) -> None:
        self.heard: list[bytes] = []
        super().__init__(type("Handler", (Passing,), {"behind": behind.removeprefix("http://"), "heard": self.heard}))
        self.ca, chain = _certificates(folder, "aws.test", *names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.port}"
        self.misnamed = f"https://localhost:{self.port}"
        self.far = f"https://aws.test:{self.port}"
        self.far_misnamed = f"https://kms.test:{self.port}"


class ForwardProxy(Served):
    """A firm's proxy. All names lead to 127.0.0.1, and all ports to `port` where it is not 0.

    `used`: what it was asked for: CONNECT host:port, or POST and a URL.
    `silent`: it takes a CONNECT and never answers it; `refuses`: the HTTP status that it answers a CONNECT with;
    `password`: it answers 407 to everybody who does not send `user:PASSWORD`.
    """

    def __init__(self, *, silent: bool = False, refuses: int = 0, password: str = "", port: int = 0) -> None:
        self.used: list[str] = []
        self.done = threading.Event()
        expected = "Basic " + base64.b64encode(f"user:{password}".encode()).decode() if password else ""
        fields = {
            "used": self.used, "silent": silent, "refuses": refuses, "expected": expected, "done": self.done,
            "port": port,
        }  # fmt: skip
        super().__init__(type("Handler", (_Proxy,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class TokenService(Served):
    """STS as a pipeline's OIDC token finds it, in front of the sandbox (which has no such operation).

    It answers AssumeRoleWithWebIdentity with the caller's usual keys, or with this error. `heard`: bodies that came;
    `last`: a file that goes away once so many `calls` have come.
    """

    def __init__(
        self, behind: str, *, error: str = "", status: int = 400, seconds: float = 3600, last: Path | None = None,
        calls: int = 0,
    ) -> None:  # fmt: skip
        self.heard: list[bytes] = []
        fields = {
            "behind": behind.removeprefix("http://"), "heard": self.heard, "error": error, "status": status,
            "seconds": seconds, "last": last, "calls": calls,
        }  # fmt: skip
        super().__init__(type("Handler", (_TokenService,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class Answers(Served):
    """Answers every GET with these bytes, all at once, or one every `pause` seconds."""

    def __init__(self, status: int, body: bytes, *, pause: float = 0) -> None:
        self.done = threading.Event()
        fields = {"status": status, "body": body, "pause": pause, "done": self.done}
        super().__init__(type("Handler", (_Answers,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class Page(Served):
    """Answers every request with a page of 30 KB and this status; as JSON with a `text`. `asked`: how often."""

    def __init__(self, status: int, text: str = "", content_type: str = "text/html") -> None:
        self.asked: list[str] = []
        body = text.encode() or b"<html><body>" + b"<p>The firm's gateway says no.</p>" * 1000 + b"</body></html>"
        fields = {"asked": self.asked, "status": status, "body": body, "content_type": content_type}
        super().__init__(type("Handler", (_Page,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class Passing(BaseHTTPRequestHandler):
    """Passes requests on to the server `behind`, and its answers back."""

    protocol_version = "HTTP/1.1"
    behind: str
    heard: ClassVar[list[bytes]] = []
    headers_instead: ClassVar[dict[str, str]] = {}  # of the answers of services with JSON, as Latin-1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append(body)
        self._pass_on(self.behind, self.path, body)

    def altered(self, _status: int, data: bytes) -> bytes:
        """The body that is sent back."""
        return data

    def _pass_on(self, host: str, path: str, body: bytes) -> None:
        connection = http.client.HTTPConnection(host, timeout=30)
        headers = dict(self.headers) | {"Host": host}  # the sandbox answers to loopback names only
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        data = self.altered(answer.status, answer.read())
        self.send_response(answer.status)
        for name in ("Content-Type", "x-amzn-RequestId"):
            instead = self.headers_instead if self.headers.get("X-Amz-Target") else {}
            if value := instead.get(name, answer.getheader(name)):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    def log_message(self, *_: object) -> None:
        """Silent."""


class _TokenService(Passing):
    error: str
    status: int
    seconds: float
    last: Path | None
    calls: int

    def _pass_on(self, host: str, path: str, body: bytes) -> None:
        if self.last is not None and len(self.heard) >= self.calls:
            self.last.unlink(missing_ok=True)
        if b"Action=AssumeRoleWithWebIdentity" not in body:
            super()._pass_on(host, path, body)
            return
        expiration = (datetime.now(UTC) + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = (
            f"<AccessKeyId>{CALLER['aws_access_key_id']}</AccessKeyId><SecretAccessKey>"
            f"{CALLER['aws_secret_access_key']}</SecretAccessKey><SessionToken>token</SessionToken>"
        )
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/x/y"
        data = (
            f"<AssumeRoleWithWebIdentityResponse {_XMLNS}><AssumeRoleWithWebIdentityResult><Credentials>{keys}"
            f"<Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>A:y"
            "</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        if self.error:
            data = (
                f"<ErrorResponse {_XMLNS}><Error><Type>Sender</Type><Code>{self.error}</Code><Message>said by the test"
                "</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
            )
        self.send_response(self.status if self.error else 200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())


class _Answers(BaseHTTPRequestHandler):
    status: int
    body: bytes
    pause: float
    done: threading.Event

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        with suppress(OSError):  # the client has gone
            if not self.pause:
                self.wfile.write(self.body)
            while self.pause and not self.done.wait(self.pause):
                self.wfile.write(b" ")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Silent."""


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]]
    status: int
    body: bytes
    content_type: str

    def do_POST(self) -> None:
        self.asked.append(self.headers.get("X-Amz-Target", ""))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Silent."""


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    used: ClassVar[list[str]]
    silent: bool
    refuses: int
    port: int
    expected: str
    done: threading.Event

    def do_POST(self) -> None:
        """Nobody may send a request in clear text: it is kept, and answered as a proxy that lies could."""
        self.used.append(f"POST {self.path}")
        self.rfile.read(int(self.headers["Content-Length"]))
        self._refuse(502)

    def do_CONNECT(self) -> None:
        self.used.append(f"CONNECT {self.path}")
        if self.silent:
            self.done.wait(60)
            return
        if self.expected and self.headers.get("Proxy-Authorization") != self.expected:
            self._refuse(407)
            return
        if self.refuses:
            self._refuse(self.refuses)
            return
        with socket.create_connection(("127.0.0.1", self.port or int(self.path.rpartition(":")[2])), 10) as there:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            pair = {self.connection: there, there: self.connection}
            while True:
                ready, _, _ = select.select(list(pair), [], [], 30)
                for one in ready:
                    if not (data := one.recv(65536)):
                        return
                    pair[one].sendall(data)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


def _certificates(folder: Path, *names: str) -> tuple[Path, Path]:
    """A CA's certificate, and a file of key and certificate for 127.0.0.1 and `names` that it issued."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A firm's CA")])
    # From Python 3.13 on, OpenSSL is as strict as RFC 5280 here (VERIFY_X509_STRICT).
    signs = dict.fromkeys(("key_cert_sign", "crl_sign"), True) | dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    ca = _certificate(
        ca_name, ca_key.public_key(), ca_name, ca_key, x509.BasicConstraints(ca=True, path_length=0),
        x509.KeyUsage(**signs),
    )  # fmt: skip
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    address = x509.SubjectAlternativeName([loopback, *map(x509.DNSName, names)])
    leaf = _certificate(name, key.public_key(), ca_name, ca_key, address)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca_file, chain_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    chain_file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return ca_file, chain_file


def _certificate(name: x509.Name, key: Any, issuer: x509.Name, issuer_key: Any, *extensions: Any) -> x509.Certificate:
    now = datetime.now(UTC)
    critical = (x509.BasicConstraints, x509.KeyUsage)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, critical))
    return builder.sign(issuer_key, hashes.SHA256())
