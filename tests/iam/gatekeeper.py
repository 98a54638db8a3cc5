"""IAM in front of the sandbox: a proxy on loopback that lets a KMS call through only where the policies allow it."""

from __future__ import annotations

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.iam.evaluator import Context, Request, allowed
from tests.sandbox_client import Sandbox

Policies = dict[str, list[dict[str, Any]]]  # account → its role's policies


class Gatekeeper:
    """A context manager. `asked` has every KMS request, and whether it was let through."""

    def __init__(self, sandbox: Sandbox, policies: Policies) -> None:
        self.sandbox = sandbox
        self.policies = policies
        self.asked: list[tuple[Request, bool]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gate": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Gatekeeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def lets_through(self, operation: str, params: dict[str, Any], access_key: str, region: str) -> bool:
        session = next(s for s in self.sandbox.get("sessions") if s["access_key"] == access_key)
        account = session["account"]
        key = self._key(params["KeyId"], account, region)
        request = Request(f"kms:{operation}", key["arn"], context(key, params))
        verdict = allowed(self.policies[account], request)
        self.asked.append((request, verdict))
        return verdict

    def _key(self, name: str, account: str, region: str) -> dict[str, Any]:
        for key in self.sandbox.keys(account=account, region=region):
            if name.rsplit(":", 1)[-1].removeprefix("key/") in (key["key_id"], *key["aliases"]):
                return key
        raise AssertionError(f"no key {name} in {account}/{region}")


def context(key: dict[str, Any], params: dict[str, Any]) -> Context:
    """The condition keys of a request, as the KMS guide describes them."""
    found: Context = {"kms:KeyOrigin": key["origin"], "kms:ResourceAliases": key["aliases"]}
    named = params["KeyId"].rsplit(":", 1)[-1]
    if named.startswith("alias/"):
        found["kms:RequestAlias"] = named
    for name in ("WrappingAlgorithm", "WrappingKeySpec", "ExpirationModel", "ValidTo"):
        if name in params:
            found[f"kms:{name}"] = params[name]
    for name, value in params.get("EncryptionContext", {}).items():
        found[f"kms:EncryptionContext:{name}"] = value
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate: Gatekeeper

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").removeprefix("TrentService.")
        scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/", self.headers["Authorization"])
        assert scope
        if operation and not self.gate.lets_through(operation, json.loads(body), scope[1], scope[2]):
            refusal = {"__type": "AccessDeniedException", "Message": f"not authorized to perform: kms:{operation}"}
            self._answer(400, [("Content-Type", "application/x-amz-json-1.1")], json.dumps(refusal).encode())
            return
        connection = http.client.HTTPConnection(self.gate.sandbox.url.removeprefix("http://"), timeout=30)
        try:
            connection.request("POST", self.path, body, dict(self.headers))
            answer = connection.getresponse()
            kept = [item for item in answer.getheaders() if item[0].lower() in ("content-type", "x-amzn-requestid")]
            self._answer(answer.status, kept, answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""
