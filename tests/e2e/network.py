"""What stands between a program and AWS in a firm's network: TLS by a CA of one's own, and a forward proxy."""

from __future__ import annotations

import http.client
import ipaddress
import select
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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

    Its certificate is for 127.0.0.1: `misnamed` is its URL by another name.
    """

    def __init__(self, behind: str, folder: Path) -> None:
        self.heard: list[bytes] = []
        super().__init__(type("Handler", (Passing,), {"behind": behind.removeprefix("http://"), "heard": self.heard}))
        self.ca, chain = _certificates(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.port}"
        self.misnamed = f"https://localhost:{self.port}"


class ForwardProxy(Served):
    """`used`: what it was asked for: CONNECT host:port, or POST and a whole URL.

    `silent`: it takes a CONNECT and never answers it; `page`: the HTTP status of a page that it answers POSTs with.
    """

    def __init__(self, *, silent: bool = False, page: int = 0) -> None:
        self.used: list[str] = []
        self.done = threading.Event()
        fields = {"used": self.used, "silent": silent, "page": page, "done": self.done}
        super().__init__(type("Handler", (_Proxy,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class Passing(BaseHTTPRequestHandler):
    """Passes requests on to the server `behind`, and its answers back."""

    protocol_version = "HTTP/1.1"
    behind: str
    heard: ClassVar[list[bytes]] = []
    headers_instead: ClassVar[dict[str, str]] = {}  # of the answers of services with JSON, as Latin-1

    def do_POST(self) -> None:
        self._pass_on(self.behind, self.path)

    def altered(self, _status: int, data: bytes) -> bytes:
        """The body that is sent back."""
        return data

    def _pass_on(self, host: str, path: str) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append(body)
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("POST", path, body, dict(self.headers))
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


class _Proxy(Passing):
    used: ClassVar[list[str]]
    silent: bool
    page: int
    done: threading.Event

    def do_POST(self) -> None:
        self.used.append(f"POST {self.path}")
        if self.page:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"<html><body>" + b"<p>The firm's proxy says no.</p>" * 1000 + b"</body></html>"
            self.send_response(self.page)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        host, _, path = self.path.removeprefix("http://").partition("/")
        self._pass_on(host, f"/{path}")

    def do_CONNECT(self) -> None:
        self.used.append(f"CONNECT {self.path}")
        if self.silent:
            self.done.wait(60)
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port)), 10) as there:
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


def _certificates(folder: Path) -> tuple[Path, Path]:
    """A CA's certificate, and a file of key and certificate for 127.0.0.1 that it issued."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A firm's CA")])
    ca = _certificate(ca_name, ca_key.public_key(), ca_name, ca_key, x509.BasicConstraints(ca=True, path_length=0))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = _certificate(name, key.public_key(), ca_name, ca_key, address)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca_file, chain_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    chain_file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return ca_file, chain_file


def _certificate(name: x509.Name, key: Any, issuer: x509.Name, issuer_key: Any, extension: Any) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256())
