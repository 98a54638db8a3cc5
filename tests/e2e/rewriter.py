"""A KMS that lies: a proxy on loopback that changes the answers of a server behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.network import Passing, Served

Rewrite = Callable[[str, dict[str, Any]], dict[str, Any]]  # (operation, answer) → answer


class Rewriter(Served):
    """A context manager; `url` is the proxy's. `rewrite` sees every JSON answer of KMS with status 200.

    `headers`: Content-Type or x-amzn-RequestId as every answer has them instead, as Latin-1.
    """

    def __init__(self, behind: str, rewrite: Rewrite, *, headers: dict[str, str] | None = None) -> None:
        fields = {
            "behind": behind.removeprefix("http://"),
            "rewrite": staticmethod(rewrite),
            "headers_instead": headers or {},
        }
        super().__init__(type("Handler", (_Rewriting,), fields))
        self.url = f"http://127.0.0.1:{self.port}"


class _Rewriting(Passing):
    rewrite: Rewrite

    def altered(self, status: int, data: bytes) -> bytes:
        operation = self.headers.get("X-Amz-Target", "").removeprefix("TrentService.")
        if not operation or status != 200 or not data:
            return data
        return json.dumps(type(self).rewrite(operation, json.loads(data))).encode()
