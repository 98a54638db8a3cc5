"""A bucket as an independent client sees it, and what the tests with S3 share."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox


@dataclass(frozen=True)
class Bucket:
    client: Any
    name: str

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, body: bytes, **more: Any) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=body, **more)
        return self.uri(key)

    def get(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def head(self, key: str) -> Any:
        return self.client.head_object(Bucket=self.name, Key=key)

    def names(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


def add_keys(sandbox: Sandbox, work: Workplace, count: int) -> None:
    for _ in range(count):
        key = sandbox.key(key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{len(work.keys)}")


def asked_kms_or_sts(sandbox: Sandbox) -> bool:
    """Whether the program did: its calls say who it is."""
    calls = [*sandbox.calls(service="kms"), *sandbox.calls(service="sts")]
    return any("bulk-import/" in call["user_agent"] for call in calls)


class Recorder:
    """An S3 with no object in it, that accepts everything and keeps the requests: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                requests.append(("PUT", self.path, headers, body))
                self._answer(200, b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("ETag", '"0"')
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
