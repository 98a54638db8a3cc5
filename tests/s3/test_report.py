"""A report into S3: whole, encrypted, next to the older ones; and where it is when S3 does not take it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bulk_import.aws.objects import open_objects
from bulk_import.delivery.local import write_report
from bulk_import.delivery.publish import publish
from bulk_import.errors import ObjectError
from bulk_import.model import ObjectUri
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
from bulk_import.report.schema import report_schema
from bulk_import.settings import load
from tests.e2e.support import Result, Workplace
from tests.s3.support import Bucket, Recorder, add_keys
from tests.sandbox_client import CALLER, Sandbox

KEY = "runs/report.json"


def local_report(result: Result) -> dict[str, Any]:
    """The one that the message names."""
    found = re.search(r"It is at (\S+)\.\n", result.stderr)
    assert found, result.stderr
    report: dict[str, Any] = json.loads(Path(found[1]).read_bytes())
    return report


def test_the_object_is_what_a_local_report_would_be(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 3)
    result = work.run("--report", bucket.uri(KEY))
    assert result.code == 0, result.stderr
    assert f"Report   {bucket.uri(KEY)}" in result.stderr

    data = bucket.get(KEY)
    report = json.loads(data)
    jsonschema.validate(report, report_schema())
    assert (report["run"]["exit_code"], report["summary"]["imported"]) == (0, 3)
    write_report(Document.of(fold(work.folder / "bulk-import.journal.jsonl")), str(work.folder / "again.json"))
    assert data == (work.folder / "again.json").read_bytes()

    digest = hashlib.sha256(data).hexdigest()
    assert bucket.get(f"{KEY}.sha256").decode() == f"{digest}  report.json\n"
    head = bucket.head(KEY)
    assert head["ContentType"] == "application/json"
    assert head["Metadata"] == {"run-id": report["run"]["run_id"], "sha256": digest}
    assert bucket.names() == [KEY, f"{KEY}.sha256"]
    assert {call["access_key"] for call in sandbox.calls(service="s3")} == {CALLER["aws_access_key_id"]}


def test_nothing_but_the_journal_stays_here(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    before = set(work.folder.iterdir())
    assert work.run("--report", bucket.uri(KEY)).code == 0
    made = {path.name for path in set(work.folder.iterdir()) - before}
    assert made == {"manifest.json", "bulk-import.journal.jsonl"}


def test_how_it_is_encrypted(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    assert work.run("--report", bucket.uri("a.json"), "--s3-sse", "AES256").code == 0
    assert work.run("--report", bucket.uri("b.json"), "--s3-sse-kms-key-id", "alias/reports").code == 0
    assert work.run("--report", bucket.uri("c.json"), BULK_IMPORT_S3_SSE="aws:kms:dsse").code == 0
    for key, way, kms_key in (
        ("a.json", "AES256", None), ("b.json", "aws:kms", "alias/reports"), ("c.json", "aws:kms:dsse", None),
    ):  # fmt: skip
        for name in (key, f"{key}.sha256"):
            head = bucket.head(name)
            assert (head["ServerSideEncryption"], head.get("SSEKMSKeyId")) == (way, kms_key)
    contradiction = work.run("--report", bucket.uri("d.json"), "--s3-sse", "AES256", "--s3-sse-kms-key-id", "alias/x")
    assert (contradiction.code, "takes no KMS key" in contradiction.stderr) == (3, True)


def test_what_is_sent_lets_s3_check_it(work: Workplace, sandbox: Sandbox) -> None:
    """The checksum of the whole, and the condition: as they are on the wire."""
    add_keys(sandbox, work, 1)
    with Recorder() as s3:
        result = work.run("--report", "s3://artefacts/report.json", AWS_ENDPOINT_URL_S3=s3.url,
                          BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL=sandbox.url)  # fmt: skip
    assert result.code == 0, result.stderr
    (_, path, headers, body), (_, sum_path, _, _) = (request for request in s3.requests if request[0] == "PUT")
    assert (path, sum_path) == ("/artefacts/report.json", "/artefacts/report.json.sha256")
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert json.loads(body)["run"]["exit_code"] == 0


def test_older_reports_are_kept_under_their_runs_ids(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    bucket.put(KEY, b"somebody's notes")
    bodies = []
    for _ in range(3):
        assert work.run("--report", bucket.uri(KEY)).code == 0
        bodies.append(bucket.get(KEY))
    for body in bodies[:-1]:
        run_id = json.loads(body)["run"]["run_id"]
        kept = f"runs/report.{run_id}.json"
        assert bucket.get(kept) == body
        assert bucket.get(f"{kept}.sha256").decode() == f"{hashlib.sha256(body).hexdigest()}  report.{run_id}.json\n"
    assert len(bucket.names()) == 2 + 2 * 2 + 1
    [notes] = [key for key in bucket.names() if bucket.get(key) == b"somebody's notes"]
    assert re.fullmatch(r"runs/report\.\d{8}T\d{12}Z\.json", notes)


def test_what_is_not_a_sum_is_kept_too(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    """Somebody's object has the name of the report's sum: before the first run, and again before the second."""
    add_keys(sandbox, work, 1)
    kept = []
    for notes in (b"somebody's notes", b"ab" * 32 + b"  two lines\nof somebody\n"):
        bucket.put(f"{KEY}.sha256", notes)
        assert work.run("--report", bucket.uri(KEY)).code == 0
        assert bucket.get(f"{KEY}.sha256").decode() == f"{hashlib.sha256(bucket.get(KEY)).hexdigest()}  report.json\n"
        kept += [key for key in bucket.names() if bucket.get(key) == notes]
    assert len(kept) == 2
    assert all(re.fullmatch(r"runs/report\.\d{8}T\d{12}Z\.json\.sha256", key) for key in kept), kept


@pytest.mark.parametrize(
    ("uri", "fault", "said"),
    [
        ("s3://artefacts/r.json", {"status": 403, "code": "AccessDenied"}, ("AccessDenied", "s3:PutObject")),
        ("s3://artefacts/r.json", {"status": 400, "code": "KMS.DisabledException"}, ("KMS.DisabledException",)),
        ("s3://artefacts/r.json", {"status": 503, "code": "SlowDown"}, ("SlowDown",)),
        ("s3://no-such-bucket/r.json", None, ("NoSuchBucket", "not made by this program")),
    ],
)
def test_a_report_that_s3_does_not_take_is_here(
    uri: str,
    fault: dict[str, object] | None,
    said: tuple[str, ...],
    *,
    sandbox: Sandbox,
    work: Workplace,
    bucket: Bucket,
) -> None:
    add_keys(sandbox, work, 1)
    if fault:
        sandbox.fault("error", operation="PUT", times=None, **fault)
    result = work.run("--report", uri, "--retry-timeout", "1s")
    assert result.code == 6
    assert uri in result.stderr
    assert all(text in result.stderr for text in said), result.stderr
    report = local_report(result)
    assert (report["run"]["exit_code"], report["summary"]["imported"]) == (6, 1)
    assert bucket.names() == []


def test_the_worst_is_told_with_it(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("error", operation="GetCallerIdentity", times=None, status=403, code="AccessDenied")
    result = work.run("--report", "s3://no-such-bucket/r.json")
    assert result.code == 6
    assert "AccessDenied" in result.stderr
    assert local_report(result)["summary"]["not_attempted"] == 1


@pytest.mark.parametrize("effect", ["act_then_http500", "act_then_drop"])
def test_an_answer_that_was_lost_is_no_conflict(effect: str, sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault(effect, operation="PUT")
    result = work.run("--report", bucket.uri(KEY))
    assert result.code == 0, result.stderr
    assert sandbox.faults()[0]["fired"] == 1
    assert bucket.names() == [KEY, f"{KEY}.sha256"]


def test_without_the_right_to_list_a_missing_object_is_called_denied(
    sandbox: Sandbox, work: Workplace, bucket: Bucket
) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault(
        "error", operation="GET", times=5, status=403, code="AccessDenied"
    )  # a run looks before and after, and for a sum
    new = work.run("--report", bucket.uri(KEY))
    assert new.code == 0, new.stderr
    there = work.run("--report", bucket.uri(KEY))
    assert (there.code, "s3:GetObject" in there.stderr) == (6, True)
    assert len(bucket.names()) == 2


class Racing:
    """The real store, but another run is faster by a moment, so many times."""

    def __init__(self, store: Any, bucket: Bucket, bodies: list[bytes]) -> None:
        self._store, self._bucket, self._bodies = store, bucket, bodies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, uri: ObjectUri, *arguments: Any, **more: Any) -> str:
        if uri.key == KEY and self._bodies:
            self._bucket.put(KEY, self._bodies.pop(0))
        etag: str = await self._store.put(uri, *arguments, **more)
        return etag


@pytest.mark.parametrize("others", [1, 2, 3])
@pytest.mark.parametrize("older", [False, True])
async def test_runs_that_end_in_one_moment_all_keep_their_reports(
    older: bool, others: int, sandbox: Sandbox, bucket: Bucket, tmp_path: Path
) -> None:
    theirs = [json.dumps({"run": {"run_id": f"other-{number}"}}).encode() for number in range(others)]
    if older:
        bucket.put(KEY, b'{"run_id":"first"}')
    ours = tmp_path / "report.json"
    ours.write_bytes(b'{"run_id":"ours"}')
    async with open_objects(load({"endpoint_url": sandbox.url})) as store:
        await publish(Racing(store, bucket, list(theirs)), ours, ObjectUri.parse(bucket.uri(KEY)), run_id="ours")

    assert bucket.get(KEY) == ours.read_bytes()
    for number, body in enumerate(theirs):
        assert bucket.get(f"runs/report.other-{number}.json") == body
    if older:
        assert bucket.get("runs/report.first.json") == b'{"run_id":"first"}'


async def test_where_the_place_never_comes_to_rest_nothing_is_overwritten(
    sandbox: Sandbox, bucket: Bucket, tmp_path: Path
) -> None:
    theirs = [json.dumps({"run_id": f"other-{number}"}).encode() for number in range(10)]
    ours = tmp_path / "report.json"
    ours.write_bytes(b'{"run_id":"ours"}')
    async with open_objects(load({"endpoint_url": sandbox.url})) as store:
        racing = Racing(store, bucket, theirs)
        with pytest.raises(ObjectError) as caught:
            await publish(racing, ours, ObjectUri.parse(bucket.uri(KEY)),
                          run_id="ours")  # fmt: skip
    assert caught.value.conflict
    assert "Use a separate key" in caught.value.advice
    assert ours.read_bytes() not in [bucket.get(key) for key in bucket.names()]


def test_a_signal_while_s3_does_not_answer_leaves_the_report_here(
    sandbox: Sandbox, work: Workplace, bucket: Bucket
) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("hang", operation="PUT", times=None)
    process = work.start("--report", bucket.uri(KEY), "--grace", "0")
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
    result = work.finish(process, signal.SIGTERM)
    assert (result.code, "stopped before it was there" in result.stderr) == (6, True)
    assert local_report(result)["summary"]["imported"] == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--report", "s3://bucket"), "does not name an object"),
        (("--report", "s3://bucket/folder/"), "does not name an object"),
        (("--report", "s3://BUCKET/key"), "not a bucket name"),
        (("--checkpoint", "checkpoints.jsonl"), "s3://bucket/key"),
        (("--journal", "s3://bucket/journal.jsonl"), "--checkpoint"),
    ],
)
def test_wrong_places_are_wrong_usage(flags: tuple[str, ...], said: str, sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, 1)
    result = work.run(*flags)
    assert (result.code, flags[0] in result.stderr, said in result.stderr) == (2, True, True)
    assert sandbox.calls(service="sts") == []
