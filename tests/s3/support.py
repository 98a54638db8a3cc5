"""A bucket as an independent client sees it, and what the tests with S3 share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

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

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


def add_keys(sandbox: Sandbox, work: Workplace, count: int) -> None:
    for _ in range(count):
        key = sandbox.key(key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{len(work.keys)}")


def asked_kms_or_sts(sandbox: Sandbox) -> bool:
    """Whether the program did: its calls say who it is."""
    calls = [*sandbox.calls(service="kms"), *sandbox.calls(service="sts")]
    return any("bulk-import/" in call["user_agent"] for call in calls)
