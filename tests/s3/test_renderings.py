"""Renderings into S3: `run --render FORMAT=s3://…` and `report --output s3://…`; what S3 does not take is here."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from pathlib import Path

import pytest

from bulk_import.settings import RENDERINGS
from tests.e2e.support import Result, Workplace
from tests.s3.support import Bucket, add_keys, asked_kms_or_sts
from tests.sandbox_client import CALLER, Sandbox


def local_rendering(result: Result) -> Path:
    """The one that the message names."""
    found = re.search(r"It is at (\S+\.(?:html|xml))\.\n", result.stderr)
    assert found, result.stderr
    return Path(found[1])


def test_each_is_what_a_local_one_would_be(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 2)
    asked = [word for name in RENDERINGS for word in ("--render", f"{name}={bucket.uri(f'runs/out.{name}')}")]
    before = set(work.folder.iterdir())
    result = work.run(*asked, "--s3-sse", "AES256")
    assert result.code == 0, result.stderr
    types = {}
    for name in RENDERINGS:
        key = f"runs/out.{name}"
        assert bucket.get(key) == work.call("report", "report.json", "--format", name).stdout
        head = bucket.head(key)
        assert head["ServerSideEncryption"] == "AES256"
        assert head["Metadata"]["run-id"] == result.report["run"]["run_id"]
        types[name] = head["ContentType"]
    assert types == {
        "html": "text/html; charset=utf-8", "junit": "application/xml", "markdown": "text/markdown; charset=utf-8",
        "github": "text/plain; charset=utf-8", "csv": "text/csv; charset=utf-8",
    }  # fmt: skip
    made = {path.name for path in set(work.folder.iterdir()) - before}
    assert made == {"manifest.json", "report.json", "report.json.sha256", "report.journal.jsonl"}
    assert {call["access_key"] for call in sandbox.calls(service="s3")} == {CALLER["aws_access_key_id"]}


def test_one_takes_the_place_of_an_older_one(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    for _ in range(2):
        assert work.run("--render", f"csv={bucket.uri('out.csv')}").code == 0
    assert b"unchanged" in bucket.get("out.csv")
    assert bucket.names() == ["out.csv"]


@pytest.mark.parametrize(
    ("uri", "fault", "said"),
    [
        ("s3://artefacts/r.html", {"status": 403, "code": "AccessDenied"}, ("AccessDenied", "s3:PutObject")),
        ("s3://artefacts/r.html", {"status": 503, "code": "SlowDown"}, ("SlowDown",)),
        ("s3://no-such-bucket/r.html", None, ("NoSuchBucket", "not made by this program")),
    ],
)
def test_one_that_s3_does_not_take_is_here(
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
    result = work.run("--render", f"html={uri}", "--render", "csv=out.csv", "--retry-timeout", "1s")
    assert result.code == 6
    assert f"The rendering html could not be written to {uri}" in result.stderr
    assert all(text in result.stderr for text in said), result.stderr
    assert result.report["run"]["exit_code"] == 6
    page = local_rendering(result)
    assert page.name == f"report.{result.report['run']['run_id']}.html"
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert (work.folder / "out.csv").exists()
    assert bucket.names() == []


def test_report_and_rendering_may_both_be_refused(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("error", operation="PUT", times=None, status=403, code="AccessDenied")
    result = work.run("--report", bucket.uri("r.json"), "--render", f"html={bucket.uri('r.html')}")
    assert result.code == 6
    found = re.search(r"It is at (\S+\.json)\.\n", result.stderr)
    assert found, result.stderr
    assert json.loads(Path(found[1]).read_bytes())["run"]["exit_code"] == 6
    assert b"xit code 6" in local_rendering(result).read_bytes()


def test_a_signal_while_s3_does_not_answer_leaves_it_here(sandbox: Sandbox, work: Workplace, bucket: Bucket) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("hang", operation="PUT", times=None)
    process = work.start("--render", f"junit={bucket.uri('junit.xml')}", "--grace", "0")
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
    result = work.finish(process, signal.SIGTERM)
    assert (result.code, "stopped before it was there" in result.stderr) == (6, True)
    assert local_rendering(result).read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--render", "html=s3://bucket"), 2, "does not name an object"),
        (("--render", "html=s3://a-bucket/r.json", "--report", "s3://a-bucket/r.json"), 3, "is where the report goes"),
        (
            ("--render", "html=s3://a-bucket/j", "--checkpoint", "s3://a-bucket/j"), 3, "is where the checkpoint goes",
        ),
        (
            ("--render", "html=s3://a-bucket/r", "--render", "csv=s3://a-bucket/r"), 3,
            "is where the rendering html goes",
        ),
    ],
)  # fmt: skip
def test_wrong_places_are_refused_before_any_call(
    flags: tuple[str, ...], code: int, said: str, sandbox: Sandbox, work: Workplace
) -> None:
    add_keys(sandbox, work, 1)
    result = work.run(*flags)
    assert (result.code, "--render" in result.stderr, said in result.stderr) == (code, True, True), result.stderr
    assert not asked_kms_or_sts(sandbox)


# --- report --output


@pytest.fixture
def done(sandbox: Sandbox, work: Workplace) -> Workplace:
    """Where a run has left its report."""
    add_keys(sandbox, work, 1)
    assert work.run().code == 0
    return work


@pytest.mark.parametrize("name", ["html", "table"])
def test_a_rendering_afterwards(name: str, done: Workplace, bucket: Bucket) -> None:
    result = done.call("report", "report.json", "--format", name, "--output", bucket.uri("out"), "--s3-sse", "aws:kms")
    assert (result.code, result.stdout, result.stderr) == (0, b"", "")
    assert bucket.get("out") == done.call("report", "report.json", "--format", name).stdout
    assert bucket.head("out")["ServerSideEncryption"] == "aws:kms"


def test_a_merged_report_is_kept_as_a_runs_own_is(done: Workplace, bucket: Bucket) -> None:
    bucket.put("all.json", b'{"run":{"run_id":"first"}}')
    result = done.call("report", "report.json", "--format", "json", "--output", bucket.uri("all.json"))
    assert result.code == 0, result.stderr
    data = (done.folder / "report.json").read_bytes()
    assert bucket.get("all.json") == data
    assert bucket.get("all.json.sha256").decode() == f"{hashlib.sha256(data).hexdigest()}  all.json\n"
    assert bucket.get("all.first.json") == b'{"run":{"run_id":"first"}}'


@pytest.mark.parametrize("name", ["html", "json"])
def test_what_s3_does_not_take_afterwards_is_exit_code_six(name: str, done: Workplace) -> None:
    result = done.call("report", "report.json", "--format", name, "--output", "s3://no-such-bucket/out")
    assert (result.code, result.stdout) == (6, b"")
    assert "s3://no-such-bucket/out" in result.stderr
    assert "NoSuchBucket" in result.stderr
    assert "run this again" in result.stderr


def test_a_place_in_s3_that_is_none(done: Workplace) -> None:
    result = done.call("report", "report.json", "--output", "s3://bucket")
    assert (result.code, "--output: 's3://bucket' does not name an object" in result.stderr) == (2, True)
