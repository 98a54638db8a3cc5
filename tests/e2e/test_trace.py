"""`--log-level debug`: one line for each call, and never what it carries."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.sandbox_client import CALLER, Sandbox

KEYS = {
    "timestamp", "level", "event", "run", "operation", "permit_ms", "network_ms", "status", "request_id", "region",
}  # fmt: skip


def lines_of(stderr: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == "call"]


def test_one_line_for_each_call(sandbox: Sandbox, work: Workplace) -> None:
    material = materials.make("HMAC_256")
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], material, name="mac")
    sandbox.fault(
        "error", code="ThrottlingException", message="Rate exceeded", operation="GetParametersForImport", times=1
    )
    result = work.run("--log-level", "debug", "--log-format", "json")
    assert result.code == 0, result.stderr
    calls = lines_of(result.stderr)
    asked = [call for call in sandbox.calls() if call["operation"] not in ("CreateKey",)]
    assert [call["operation"] for call in calls] == [call["operation"] for call in asked]
    for call in calls:
        place = {"service"} if call["operation"] in ("GetCallerIdentity", "AssumeRole") else {"account"}
        assert call.keys() == KEYS | place
        assert call["region"] == REGION
        assert call.get("account", ACCOUNT) == ACCOUNT
        assert call["network_ms"] > 0  # type: ignore[operator]
        assert call["permit_ms"] >= 0  # type: ignore[operator]
        assert call["request_id"] != "none"
    statuses = [call["status"] for call in calls if call["operation"] == "GetParametersForImport"]
    assert statuses == [400, 200]
    for secret in (material.hex(), base64.b64encode(material).decode(), CALLER["aws_secret_access_key"]):
        assert secret not in result.stderr
    for word in ("Authorization", "ImportToken", "EncryptedKeyMaterial", "SessionToken", "X-Amz"):
        assert word not in result.stderr


def test_a_call_without_a_response_and_calls_of_s3(sandbox: Sandbox, work: Workplace, tmp_path: Path) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")
    sandbox.client("s3", None).create_bucket(Bucket="reports")
    sandbox.fault("drop", operation="DescribeKey", times=1)
    result = work.run("--log-level", "debug", "--log-format", "json", "--report", "s3://reports/r.json")
    assert result.code == 0, result.stderr
    calls = lines_of(result.stderr)
    assert "none" in [call["status"] for call in calls if call["operation"] == "DescribeKey"]
    puts = [call for call in calls if call["operation"] == "PutObject"]
    assert puts
    assert {call["service"] for call in puts} == {"s3"}
    assert {call["status"] for call in puts} == {200}


def test_nothing_of_it_at_the_usual_level(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")
    result = work.run("--log-format", "json")
    assert lines_of(result.stderr) == []
