"""IAM in front of the sandbox: a proxy on loopback that lets a KMS call through only where the policies allow it."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
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
        asked = list(self._requests(operation, params, account, region))
        return all(allowed(self.policies[account], request) for request in asked)

    def _requests(self, operation: str, params: dict[str, Any], account: str, region: str) -> Iterator[Request]:
        """What IAM is asked: of some calls about two resources. Each is noted with the verdict."""
        place = f"arn:aws:kms:{region}:{account}"
        tags = {f"aws:RequestTag/{tag['TagKey']}": tag["TagValue"] for tag in params.get("Tags", ())}
        if operation == "GetResources":
            yield self._noted(account, Request("tag:GetResources", "*"))
        elif operation in ("ListAliases", "ListKeys"):
            yield self._noted(account, Request(f"kms:{operation}", "*"))
        elif operation == "CreateKey":
            asked = {f"kms:{name}": params[name] for name in ("KeySpec", "KeyUsage")}
            shape = {"kms:KeyOrigin": params["Origin"], "aws:RequestedRegion": region, **asked, **tags}
            yield self._noted(account, Request("kms:CreateKey", "*", shape))
            yield self._noted(account, Request("kms:TagResource", f"{place}:key/new", tags))
        elif operation == "ReplicateKey":
            key = self._key(params["KeyId"], account, region)
            assert key is not None
            there = {"aws:RequestedRegion": params["ReplicaRegion"]}
            shape = {"kms:KeyOrigin": key["origin"], "kms:KeySpec": key["key_spec"], "kms:KeyUsage": key["key_usage"]}
            yield self._noted(account, Request("kms:ReplicateKey", key["arn"], context(key, params)))
            yield self._noted(account, Request("kms:CreateKey", "*", shape | there))
            if tags:
                yield self._noted(account, Request("kms:TagResource", "*", tags | there))
        elif operation == "CreateAlias":
            yield self._noted(account, Request("kms:CreateAlias", f"{place}:{params['AliasName']}"))
            key = self._key(params["TargetKeyId"], account, region)
            assert key is not None
            yield self._noted(account, Request("kms:CreateAlias", key["arn"], context(key, params)))
        else:
            key = self._key(params["KeyId"], account, region)
            if key is None:
                known = {"kms:RequestAlias": params["KeyId"]} if params["KeyId"].startswith("alias/") else {}
                name = params["KeyId"] if known else f"key/{params['KeyId'].rpartition('/')[2]}"
                yield self._noted(account, Request(f"kms:{operation}", f"{place}:{name}", known))
            else:
                yield self._noted(account, Request(f"kms:{operation}", key["arn"], context(key, params)))

    def _noted(self, account: str, request: Request) -> Request:
        self.asked.append((request, allowed(self.policies[account], request)))
        return request

    def _key(self, name: str, account: str, region: str) -> dict[str, Any] | None:
        for key in self.sandbox.keys(account=account, region=region):
            if name.rsplit(":", 1)[-1].removeprefix("key/") in (key["key_id"], *key["aliases"]):
                return key
        return None


def context(key: dict[str, Any], params: dict[str, Any]) -> Context:
    """The condition keys of a request, as the KMS guide describes them."""
    found: Context = {"kms:KeyOrigin": key["origin"], "kms:ResourceAliases": key["aliases"]}
    for name, value in key["tags"].items():
        found[f"aws:ResourceTag/{name}"] = value
    named = params.get("KeyId", "").rsplit(":", 1)[-1]
    if named.startswith("alias/"):
        found["kms:RequestAlias"] = named
    if key["key_id"].startswith("mrk-"):
        replica = key["primary_region"] != key["region"]
        found["kms:MultiRegionKeyType"] = "REPLICA" if replica else "PRIMARY"
    for name in ("WrappingAlgorithm", "WrappingKeySpec", "ExpirationModel", "ValidTo", "ReplicaRegion"):
        if name in params:
            found[f"kms:{name}"] = params[name]
    if "Tags" in params:
        found["aws:TagKeys"] = [tag["TagKey"] for tag in params["Tags"]]
    if "BypassPolicyLockoutSafetyCheck" in params:
        found["kms:BypassPolicyLockoutSafetyCheck"] = params["BypassPolicyLockoutSafetyCheck"]
    for name, value in params.get("EncryptionContext", {}).items():
        found[f"kms:EncryptionContext:{name}"] = value
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate: Gatekeeper

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
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
