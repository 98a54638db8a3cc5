"""Copies of the journal in S3: a run that loses its machine continues from another one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Workplace
from tests.s3.support import Bucket, add_keys, asked_kms_or_sts
from tests.sandbox_client import Sandbox

KEY = "runs/journal.jsonl"
SLOWLY = ("--quota", "GetParametersForImport=2", "--read-interval", "100ms")
OFTEN = ("--checkpoint-interval", "50ms")


@pytest.fixture
def at(bucket: Bucket) -> tuple[str, str]:
    return ("--checkpoint", bucket.uri(KEY))


def elsewhere(work: Workplace, tmp_path: Path, name: str = "there") -> Workplace:
    """Another machine: the manifest and the materials are there, the journal is not."""
    other = Workplace(tmp_path / name, work.url)
    other.folder.mkdir()
    for path in work.folder.glob("*.key"):
        shutil.copy(path, other.folder)
    other.keys = work.keys
    return other


def events(journal: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.splitlines()]


def wait_for(bucket: Bucket, event: str, process: subprocess.Popen[bytes]) -> None:
    """Until the checkpoint knows of such an event."""
    while KEY not in bucket.names() or event not in [line["event"] for line in events(bucket.get(KEY))]:
        assert process.poll() is None, process.communicate()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def imports(sandbox: Sandbox) -> list[str]:
    return [call["key"] for call in sandbox.calls(operation="ImportKeyMaterial") if call["status"] == 200]


def test_the_first_is_there_before_the_first_call_and_the_last_is_the_journal(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str]
) -> None:
    add_keys(sandbox, work, 2)
    result = work.run(*at, "--s3-sse", "aws:kms")
    assert result.code == 0, result.stderr
    assert bucket.get(KEY) == (work.folder / "report.journal.jsonl").read_bytes()
    head = bucket.head(KEY)
    assert (head["Metadata"]["finished"], head["ServerSideEncryption"]) == ("true", "aws:kms")
    ours = [call for call in sandbox.calls() if "bulk-import/" in call["user_agent"]]
    services = [call["service"] for call in ours]
    assert [call["operation"] for call in ours[: services.index("sts")]] == ["GET", "PUT"]


def test_a_killed_run_goes_on_on_another_machine(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str], tmp_path: Path
) -> None:
    add_keys(sandbox, work, 5)
    sandbox.fault("hang", operation="GetParametersForImport", after=4, times=None)  # it does not end before the kill
    process = work.start(*at, *OFTEN, *SLOWLY)
    wait_for(bucket, "ended", process)
    kill(process)
    sandbox.release()
    known = events(bucket.get(KEY))
    other = elsewhere(work, tmp_path)

    result = other.run(*at, "--resume", *SLOWLY)

    assert result.code == 0, result.stderr
    assert "fetched from its checkpoint" in result.stderr
    run = result.report["run"]
    assert (run["run_id"], len(run["resumes"])) == (known[0]["run_id"], 1)
    assert result.report["summary"]["total"] == 5
    ended = {event["result"]["id"]: event["result"] for event in known if event["event"] == "ended"}
    assert ended
    for name, entry in ended.items():
        assert result.entries[name] == entry  # not looked at again
    assert sorted(imports(sandbox)) == sorted(set(imports(sandbox)))
    assert len(set(imports(sandbox))) == 5
    journal = other.folder / "report.journal.jsonl"
    assert journal.stat().st_mode & 0o777 == 0o600
    assert bucket.get(KEY) == journal.read_bytes()
    assert {path.name for path in other.folder.iterdir() if path.suffix != ".key"} == {
        "manifest.json", "report.json", "report.json.sha256", "report.journal.jsonl",
    }  # fmt: skip


def test_what_happened_after_the_checkpoint_is_found_out_from_kms(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str], tmp_path: Path
) -> None:
    """The worst: everything was imported, and the checkpoint knows of nothing."""
    add_keys(sandbox, work, 4)
    sandbox.fault("hang", operation="GenerateMac", times=None)  # no target ends before the kill
    process = work.start(*at, "--checkpoint-interval", "1h")
    while len(imports(sandbox)) < 4:
        assert process.poll() is None, process.communicate()
    kill(process)
    sandbox.release()
    assert {event["event"] for event in events(bucket.get(KEY))} == {"run_started", "target"}

    result = elsewhere(work, tmp_path).run(*at, "--resume")

    assert result.code == 0, result.stderr
    assert len(imports(sandbox)) == 4  # it looked, and imported nothing again
    for entry in result.entries.values():
        assert (entry["status"], entry["changed"]) == ("unchanged", False)
        assert entry["verification"]["proof"] == "hmac"


def test_an_import_that_does_not_show_yet_is_made_once_more_and_no_oftener(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str], tmp_path: Path
) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("hang", operation="GenerateMac", times=None)  # it does not end before the kill
    process = work.start(*at, "--checkpoint-interval", "1h")
    while not imports(sandbox):
        assert process.poll() is None, process.communicate()
    kill(process)
    sandbox.release()
    sandbox.post("stale_reads", account="111122223333", region="us-east-1", key=work.keys[0]["key_id"],
                 pattern="stale", at_once=True)  # fmt: skip
    result = elsewhere(work, tmp_path).run(*at, "--resume")
    assert result.code == 0, result.stderr
    assert len(imports(sandbox)) == 2
    assert next(iter(result.entries.values()))["verification"]["proof"] == "hmac"


def test_what_expires_keeps_the_instant_of_the_first_start(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str], tmp_path: Path
) -> None:
    add_keys(sandbox, work, 3)
    work.defaults["valid_for"] = "30d"
    sandbox.fault("hang", operation="GetParametersForImport", after=2, times=None)  # it does not end before the kill
    process = work.start(*at, *OFTEN, *SLOWLY)
    wait_for(bucket, "ended", process)
    kill(process)
    sandbox.release()
    wanted = {event["valid_to"] for event in events(bucket.get(KEY)) if event["event"] == "target"}
    other = elsewhere(work, tmp_path)
    other.defaults = work.defaults
    result = other.run(*at, "--resume", *SLOWLY)
    assert result.code == 0, result.stderr
    assert {entry["valid_to"] for entry in result.entries.values()} == wanted


def test_here_the_journal_itself_is_resumed(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str]
) -> None:
    add_keys(sandbox, work, 3)
    sandbox.fault("hang", operation="GetParametersForImport", after=1, times=None)  # it does not end before the kill
    process = work.start(*at, "--checkpoint-interval", "1h", *SLOWLY)
    while not imports(sandbox):
        assert process.poll() is None, process.communicate()
    kill(process)
    sandbox.release()
    result = work.run(*at, "--resume", *SLOWLY)
    assert (result.code, "fetched" in result.stderr) == (0, False)
    assert bucket.get(KEY) == (work.folder / "report.journal.jsonl").read_bytes()


def test_the_run_that_lost_its_checkpoint_stops(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str]
) -> None:
    """It was taken for dead, and resumed elsewhere."""
    add_keys(sandbox, work, 4)
    process = work.start(*at, *OFTEN, "--report", bucket.uri("report.json"), "--quota", "GetParametersForImport=0.1")
    wait_for(bucket, "ended", process)
    theirs = bucket.get(KEY) + b"and what the other run wrote\n"
    bucket.put(KEY, theirs)

    result = work.finish(process)

    assert (result.code, "taken over by another run" in result.stderr) == (6, True)
    [left] = work.folder.glob("report.*.json")
    report = json.loads(left.read_bytes())
    assert report["run"]["stopped_by"] == ["checkpoint"]
    assert report["summary"]["not_attempted"] >= 1
    assert bucket.get(KEY) == theirs
    assert bucket.names() == [KEY]  # the other run's report is the one that counts


def test_a_new_run_keeps_what_is_there(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str], tmp_path: Path
) -> None:
    add_keys(sandbox, work, 2)
    process = work.start(*at, *OFTEN, "--quota", "GetParametersForImport=0.1")
    wait_for(bucket, "ended", process)
    kill(process)
    unfinished = bucket.get(KEY)
    again = elsewhere(work, tmp_path).run(*at)
    assert (again.code, "unfinished run's checkpoint" in again.stderr) == (0, True)
    assert bucket.get(f"runs/journal.{events(unfinished)[0]['run_id']}.jsonl") == unfinished
    finished = bucket.get(KEY)
    third = elsewhere(work, tmp_path, "third").run(*at)
    assert (third.code, "set aside" in third.stderr) == (0, False)
    assert bucket.get(f"runs/journal.{events(finished)[0]['run_id']}.jsonl") == finished


@pytest.mark.parametrize("effect", ["act_then_http500", "act_then_drop"])
@pytest.mark.parametrize("after", [0, 1])
def test_an_answer_that_was_lost_is_no_other_run(
    after: int, effect: str, *, sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str]
) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault(effect, operation="PUT", after=after)
    result = work.run(*at)
    assert result.code == 0, result.stderr
    assert sandbox.faults()[0]["fired"] == 1
    assert "taken over" not in result.stderr
    assert bucket.get(KEY) == (work.folder / "report.journal.jsonl").read_bytes()


def test_a_checkpoint_that_fails_on_the_way_is_told_and_no_more(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str]
) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("error", operation="PUT", after=1, times=None, status=403, code="AccessDenied")
    result = work.run(*at)
    assert (result.code, "a checkpoint was not written" in result.stderr) == (0, True)
    assert result.report["summary"]["imported"] == 1


@pytest.mark.parametrize(
    "fault", [{"status": 403, "code": "AccessDenied"}, {"status": 412, "code": "PreconditionFailed"}]
)
def test_without_the_first_one_nothing_is_begun(
    fault: dict[str, Any], sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str]
) -> None:
    add_keys(sandbox, work, 1)
    sandbox.fault("error", operation="PUT", times=None, **fault)
    result = work.run(*at)
    assert (result.code, bucket.uri(KEY) in result.stderr, fault["code"] in result.stderr) == (3, True, True)
    assert not asked_kms_or_sts(sandbox)


def test_what_a_resume_refuses(
    sandbox: Sandbox, work: Workplace, bucket: Bucket, at: tuple[str, str], tmp_path: Path
) -> None:
    add_keys(sandbox, work, 1)
    none = work.run(*at, "--resume")
    assert (none.code, "neither a checkpoint to resume from" in none.stderr) == (3, True)

    assert work.run(*at).code == 0
    bucket.put(KEY, b"something else\n")
    for flags in (at, (*at, "--resume")):
        foreign = work.run(*flags)
        assert (foreign.code, bucket.uri(KEY) in foreign.stderr) == (3, True)
    empty = elsewhere(work, tmp_path).run(*at, "--resume")
    assert empty.code == 3

    assert work.run("--checkpoint", bucket.uri("other.jsonl")).code == 0
    other = elsewhere(work, tmp_path, "another")
    assert other.run("--checkpoint", bucket.uri("third.jsonl")).code == 0
    before = len(sandbox.calls(service="kms"))
    diverged = work.run("--checkpoint", bucket.uri("third.jsonl"), "--resume")
    assert (diverged.code, "is not the beginning of" in diverged.stderr) == (3, True)
    assert len(sandbox.calls(service="kms")) == before
