"""A manifest in S3: read with the caller's credentials, and every way in which it cannot be."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bulk_import import api
from tests.e2e.support import QUICK, Workplace
from tests.s3.support import Bucket, add_keys, asked_kms_or_sts
from tests.sandbox_client import CALLER, Sandbox

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def test_a_run_from_a_manifest_in_s3(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 2)
    data = work.write().read_bytes()
    (work.folder / "manifest.json").unlink()
    uri = bucket.put("in/keys.json", data)

    result = work.call("run", uri, "--material-root", ".", *QUICK)

    assert result.code == 0, result.stderr
    assert result.report["run"]["manifest"] == {"uri": uri, "sha256": hashlib.sha256(data).hexdigest(), "targets": 2}
    [read] = sandbox.calls(service="s3", operation="GET")
    assert read["access_key"] == CALLER["aws_access_key_id"]  # never a lane's


def test_every_command_that_reads_a_manifest_reads_it_from_s3(
    sandbox: Sandbox, work: Workplace, bucket: Bucket
) -> None:
    add_keys(sandbox, work, 1)
    uri = bucket.put("no-extension", work.write().read_bytes())
    for command in ("validate", "plan", "iam"):
        result = work.call(command, uri, "--manifest-format", "json", "--material-root", ".")
        assert result.code == 0, result.stderr
        wrong = work.call(command, uri)
        assert (wrong.code, uri in wrong.stderr, "--manifest-format" in wrong.stderr) == (3, True, True)


def test_material_in_files_needs_a_folder_to_start_from(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    result = work.call("run", bucket.put("keys.json", work.write().read_bytes()))
    assert (result.code, "--material-root" in result.stderr) == (3, True)
    assert not asked_kms_or_sts(sandbox)


@pytest.mark.parametrize(
    ("uri", "fault", "said"),
    [
        ("s3://artefacts/none.yaml", None, ("NoSuchKey", "uploaded")),
        ("s3://no-such-bucket/keys.yaml", None, ("NoSuchBucket", "bucket's name")),
        ("s3://artefacts/keys.yaml", {"status": 403, "code": "AccessDenied"}, ("AccessDenied", "s3:GetObject")),
        ("s3://artefacts/keys.yaml", {"status": 400, "code": "InvalidRequest"}, ("InvalidRequest", "S3 API reference")),
        ("s3://artefacts", None, ("does not name an object", "s3://bucket/key")),
        ("s3://artefacts/folder/", None, ("does not name an object",)),
        ("s3:///keys.yaml", None, ("not a bucket name",)),
        ("s3://Artefacts/keys.yaml", None, ("not a bucket name",)),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_what_cannot_be_read_is_told_and_nobody_is_asked(
    command: str, uri: str, fault: dict[str, object] | None, said: tuple[str, ...],
    *, sandbox: Sandbox, work: Workplace, bucket: Bucket,
) -> None:  # fmt: skip
    bucket.put("keys.yaml", b"version: 1\n")
    if fault:
        sandbox.fault("error", operation="GET", times=None, message="It is so.", **fault)
    result = work.call(command, uri)
    assert result.code == 3
    assert uri in result.stderr
    assert all(text in result.stderr for text in said), result.stderr
    assert not asked_kms_or_sts(sandbox)


@pytest.mark.parametrize(
    ("environment", "fault", "said"),
    [
        (NO_CREDENTIALS, None, "CallerCredentialsMissing"),
        ({}, {"status": 403, "code": "InvalidAccessKeyId"}, "InvalidAccessKeyId"),
        ({}, {"status": 403, "code": "SignatureDoesNotMatch"}, "SignatureDoesNotMatch"),
        ({}, {"status": 400, "code": "ExpiredToken"}, "ExpiredToken"),
        ({}, {"status": 403, "code": "RequestTimeTooSkewed"}, "ClockSkew"),
    ],
)
def test_a_caller_whose_credentials_do_not_work(
    environment: dict[str, str], fault: dict[str, object] | None, said: str,
    *, sandbox: Sandbox, work: Workplace, bucket: Bucket,
) -> None:  # fmt: skip
    uri = bucket.put("keys.yaml", b"version: 1\n")
    if fault:
        sandbox.fault("error", operation="GET", times=None, **fault)
    result = work.call("validate", uri, **environment)
    assert (result.code, said in result.stderr) == (5, True)
    assert len(sandbox.calls(service="s3", operation="GET")) <= 1  # what does not become right is not repeated


def test_what_passes_is_tried_again(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    uri = bucket.put("keys.json", work.write().read_bytes())
    sandbox.fault("error", operation="GET", status=503, code="SlowDown")
    sandbox.fault("drop", operation="GET")
    sandbox.fault("truncate", operation="GET")
    result = work.call("validate", uri)
    assert result.code == 0, result.stderr
    assert [fault["fired"] for fault in sandbox.faults()] == [1, 1, 1]


@contextmanager
def announcing(size: int) -> Iterator[str]:
    """An S3 that announces so many bytes, and ends the connection after the first few."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.send_header("ETag", '"0"')
            self.send_header("Last-Modified", "Mon, 02 Mar 2026 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(b"version: 1\n")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_manifest_that_is_too_large_is_not_read(work: Workplace) -> None:
    with announcing((1 << 30) + 1) as url:
        result = work.call("validate", "s3://artefacts/keys.yaml", BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_S3=url)
    assert result.code == 3
    assert "s3://artefacts/keys.yaml: is larger than 1024 MiB (1,073,741,825 bytes)" in result.stderr


def test_endpoints_of_s3_follow_the_rules_of_all_endpoints(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    uri = bucket.put("keys.json", work.write().read_bytes())
    local = sandbox.url.replace("127.0.0.1", "localhost")  # by path: artefacts.localhost need not exist
    assert work.call("validate", uri, BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_S3=local).code == 0
    assert work.call("validate", uri, "--endpoint-url", sandbox.url, BULK_IMPORT_ENDPOINT_URL="").code == 0
    far = work.call("validate", uri, BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL_S3="http://s3.example.com")
    assert (far.code, "https://" in far.stderr) == (3, True)


async def test_the_library_reads_from_s3_inside_an_event_loop(
    sandbox: Sandbox, work: Workplace, bucket: Bucket
) -> None:
    add_keys(sandbox, work, 1)
    uri = bucket.put("keys.json", work.write().read_bytes())
    settings = api.load_settings({"endpoint_url": sandbox.url})
    assert api.load_manifest(uri, settings).uri == uri
    assert json.loads(api.fetch(uri, settings))["version"] == 1
