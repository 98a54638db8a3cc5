"""No response holds a run forever, and none is larger than the memory that a run should need."""

from __future__ import annotations

import json
import resource
import subprocess
from typing import ClassVar

import pytest

from tests.e2e import materials
from tests.e2e.network import Answers, Passing, Served
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

SHORT = ("--read-timeout", "5s", "--retry-timeout", "0")
FOREVER = 0.5  # seconds between two bytes: each of them comes in time, the response never


def add_key(sandbox: Sandbox, work: Workplace) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="aes")


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("service", ["KMS", "STS"])
def test_a_response_that_comes_byte_by_byte(sandbox: Sandbox, work: Workplace, service: str, status: int) -> None:
    add_key(sandbox, work)
    urls = {"AWS_ENDPOINT_URL_STS": sandbox.url, "AWS_ENDPOINT_URL_KMS": sandbox.url}
    with Answers(status, b"", pause=FOREVER) as slow:
        result = work.run(*SHORT, **urls | {f"AWS_ENDPOINT_URL_{service}": slow.url}, BULK_IMPORT_ENDPOINT_URL="")
    assert result.code == 5, result.stderr
    error = result.report["run"]["error"] or result.entries["aes"]["error"]
    assert error["code"] == "ConnectionFailed"
    assert slow.url.removeprefix("http://") in error["message"]
    assert "No complete response" in error["message"]


@pytest.mark.parametrize("service", ["KMS", "STS"])
@pytest.mark.parametrize("status", [200, 500])
def test_a_response_that_is_too_large(sandbox: Sandbox, work: Workplace, service: str, status: int) -> None:
    add_key(sandbox, work)
    urls = {"AWS_ENDPOINT_URL_STS": sandbox.url, "AWS_ENDPOINT_URL_KMS": sandbox.url}
    with Answers(status, b" " * (6 << 20)) as large:
        result = work.run(**urls | {f"AWS_ENDPOINT_URL_{service}": large.url}, BULK_IMPORT_ENDPOINT_URL="")
    assert result.code == 5, result.stderr
    error = result.report["run"]["error"] or result.entries["aes"]["error"]
    assert (error["code"], "larger than" in error["message"]) == ("MalformedAnswer", True)


@pytest.mark.parametrize("status", [200, 404])
def test_a_manifest_that_comes_byte_by_byte(work: Workplace, status: int) -> None:
    with Answers(status, b"", pause=FOREVER) as slow:
        result = work.call("validate", "s3://bucket/manifest.json", *SHORT, BULK_IMPORT_ENDPOINT_URL=slow.url)
    assert result.code == 3, result.stderr
    assert "defect" not in result.stderr


def test_credentials_that_come_byte_by_byte(sandbox: Sandbox, work: Workplace) -> None:
    add_key(sandbox, work)
    with Answers(200, b"", pause=FOREVER) as slow:
        result = work.run(
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{slow.url}/x", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""
        )
    assert result.code == 5, result.stderr
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in result.report["run"]["error"]["message"]


def test_service_quotas_that_come_byte_by_byte_cost_a_warning(sandbox: Sandbox, work: Workplace) -> None:
    add_key(sandbox, work)
    with Answers(200, b"", pause=FOREVER) as slow:
        result = work.run(
            "--quotas", "service-quotas", *SHORT, AWS_ENDPOINT_URL_SERVICE_QUOTAS=slow.url,
            AWS_ENDPOINT_URL_STS=sandbox.url, AWS_ENDPOINT_URL_KMS=sandbox.url, BULK_IMPORT_ENDPOINT_URL="",
        )  # fmt: skip
    assert result.code == 0, result.stderr
    assert "quotas cannot be read" in result.stderr


class _Endless(Passing):
    """ListKeyRotations answers with the same page for every marker, without an end."""

    marker: ClassVar[dict[str, str]]

    def _pass_on(self, host: str, path: str, body: bytes) -> None:
        if not self.headers.get("X-Amz-Target", "").endswith(".ListKeyRotations"):
            super()._pass_on(host, path, body)
            return
        data = json.dumps({"Rotations": [], "Truncated": True} | self.marker).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.parametrize("marker", [{"NextMarker": "again"}, {"NextMarker": ""}, {}])
def test_pages_that_do_not_end(sandbox: Sandbox, work: Workplace, marker: dict[str, str]) -> None:
    material = materials.make("SYMMETRIC_DEFAULT")
    work.key(sandbox.key(material={"hex": material.hex()})["key_id"], material, name="aes")
    behind = sandbox.url.removeprefix("http://")
    with Served(type("Handler", (_Endless,), {"behind": behind, "marker": marker})) as front:
        work.url = f"http://127.0.0.1:{front.port}"
        result = work.run("--quota", "ListKeyRotations=1000", "--prove", "all")
    assert result.code == 5, result.stderr
    error = result.entries["aes"]["error"]
    assert (error["code"], error["operation"]) == ("MalformedAnswer", "ListKeyRotations")


@pytest.mark.parametrize("megabytes", [1000, 600])
@pytest.mark.parametrize("name", ["manifest.json", "-"])
def test_a_manifest_is_read_within_little_memory(sandbox: Sandbox, work: Workplace, megabytes: int, name: str) -> None:
    add_key(sandbox, work)
    manifest = work.write()
    most = megabytes << 20
    done = subprocess.run(
        work.command("validate", name), cwd=work.folder, env=work.environment(), input=manifest.read_bytes(),
        capture_output=True, timeout=100, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
