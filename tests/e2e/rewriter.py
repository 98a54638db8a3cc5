"""A KMS that lies: a proxy on loopback that changes the answers of a server behind it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Rewrite = Callable[[str, dict[str, Any]], dict[str, Any]]  # (operation, answer) → answer


class Rewriter:
    """A context manager; `url` is the proxy's. `rewrite` sees every JSON answer of KMS with status 200."""

    def __init__(self, behind: str, rewrite: Rewrite) -> None:
        handler = type(
            "Handler", (_Handler,), {"behind": behind.removeprefix("http://"), "rewrite": staticmethod(rewrite)}
        )
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Rewriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behind: str
    rewrite: Rewrite

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        connection.request("POST", self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        operation = self.headers.get("X-Amz-Target", "").removeprefix("TrentService.")
        if operation and answer.status == 200:
            data = json.dumps(type(self).rewrite(operation, json.loads(data))).encode()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() in ("content-type", "x-amzn-requestid"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        connection.close()

    def log_message(self, *_: object) -> None:
        """Silent."""
