"""Signals, deadline and grace: what a pipeline's time limit does at every stage of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from bulk_import.settings import Settings
from tests.e2e.support import Result, Workplace
from tests.faults.support import (
    add_targets,
    assert_all_imported,
    assert_truthful,
    events,
    fired,
    first,
    has_event,
    wait_until,
)
from tests.sandbox_client import Sandbox

SIGNALS = [signal.SIGINT, signal.SIGTERM]
LONG = ("--read-timeout", "100s", "--grace", "300s", "--retry-timeout", "300s")
SOON = 40  # seconds; far below what any of the waits above would take


def impatient(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends the signal again and again until the process has ended."""
    end = time.monotonic() + SOON
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(number)
        time.sleep(0.05)


def ended(work: Workplace, process: subprocess.Popen[bytes]) -> Result:
    try:
        stdout, stderr = process.communicate(timeout=SOON)
    finally:
        process.kill()
    assert "Traceback" not in stderr.decode(), stderr.decode()
    return Result(process.returncode, stdout, stderr.decode(), work.folder)


def test_the_default_grace_is_below_what_orchestrators_give() -> None:
    assert Settings().grace < 30


def test_an_import_in_flight_comes_to_its_end_within_the_grace_period(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 4)
    sandbox.hold("ImportKeyMaterial")
    process = work.start("--quota", "GetParametersForImport=0.01", "--read-timeout", "100s")
    wait_until(lambda: fired(sandbox) == 1, process)
    first(process, signal.SIGTERM)
    sandbox.release()
    result = work.finish(process)
    assert result.code == 143
    assert result.entries["k0"]["status"] == "imported"
    assert result.report["summary"]["not_attempted"] == 3
    assert_truthful(sandbox, result)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("grace", ["0.2s", "second signal"])
def test_an_import_without_an_answer_is_unknown(
    sandbox: Sandbox, work: Workplace, number: signal.Signals, grace: str
) -> None:
    add_targets(sandbox, work, 1)
    sandbox.fault("hang", operation="ImportKeyMaterial", seconds=600)
    again = grace == "second signal"
    process = work.start(*LONG, *([] if again else ["--grace", grace]))
    wait_until(lambda: fired(sandbox) == 1, process)
    first(process, number)
    if again:
        process.send_signal(number)
    result = ended(work, process)
    assert result.code == 128 + number
    entry = result.entries["k0"]
    assert (entry["status"], entry["changed"], entry["attempts"]) == ("failed", None, 1)
    assert entry["error"]["code"] == "OutcomeUnknown"


@pytest.mark.parametrize("operation", ["DescribeKey", "GenerateMac"])
def test_a_second_signal_ends_at_once_what_hangs_after_the_import(
    sandbox: Sandbox, work: Workplace, operation: str
) -> None:
    add_targets(sandbox, work, 2, specs=("HMAC_256",))
    sandbox.fault("hang", operation=operation, after=2 if operation == "DescribeKey" else 0, times=None, seconds=600)
    process = work.start(*LONG)
    wait_until(lambda: fired(sandbox) >= 1 and any(e.get("outcome") == "ok" for e in events(work)), process)
    first(process, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    result = ended(work, process)
    assert result.code == 143
    assert "NotVerified" in {entry["error"]["code"] for entry in result.report["results"]}
    assert_truthful(sandbox, result)


def test_reads_that_answer_are_not_gone_on_with_after_the_grace_period(sandbox: Sandbox, work: Workplace) -> None:
    """A read in flight when the grace period ends must not put its target back for another."""
    [key] = add_targets(sandbox, work, 1)
    pattern = ",".join(["good", "stale"] * 5000)
    sandbox.post("stale_reads", account=key["account"], region=key["region"], key=key["key_id"], pattern=pattern)
    sandbox.fault("delay", operation="DescribeKey", times=None, after=1, seconds=1)
    process = work.start("--grace", "0")
    wait_until(lambda: fired(sandbox) >= 1, process)
    process.send_signal(signal.SIGTERM)
    result = ended(work, process)
    assert (result.code, result.entries["k0"]["error"]["code"]) == (143, "NotVerified")


@pytest.mark.parametrize("operation", ["GetCallerIdentity", "AssumeRole", "DescribeKey"])
@pytest.mark.parametrize("why", ["SIGTERM", "deadline"])
def test_before_anything_was_changed(sandbox: Sandbox, work: Workplace, operation: str, why: str) -> None:
    add_targets(sandbox, work, 2)
    before = len(sandbox.calls(operation=operation))
    sandbox.fault("hang", operation=operation, times=None, seconds=600)
    process = work.start(*LONG, *(["--deadline", "1.5s"] if why == "deadline" else []))
    if why == "SIGTERM":
        wait_until(lambda: fired(sandbox) >= 1 and has_event(work, "target"), process)
        process.send_signal(signal.SIGTERM)
    result = ended(work, process)
    assert result.code == (143 if why == "SIGTERM" else 7)
    assert result.report["run"]["outcome"] == "interrupted"
    assert result.report["summary"]["not_attempted"] == 2
    assert {entry["error"]["code"] for entry in result.report["results"]} == {"Stopped"}
    assert len(sandbox.calls(operation=operation)) == before
    assert not sandbox.calls(operation="ImportKeyMaterial")


@pytest.mark.parametrize("number", SIGNALS)
def test_while_the_manifest_is_read(sandbox: Sandbox, work: Workplace, number: signal.Signals) -> None:
    add_targets(sandbox, work, 1)
    os.mkfifo(work.folder / "slow.yaml")
    # A signal between open() and its `with` leaves a file for the collector: Python may say so, and no one minds.
    environment = work.environment(PYTHONWARNINGS="ignore::ResourceWarning")
    process = subprocess.Popen(
        work.command("run", "slow.yaml"), cwd=work.folder, env=environment, stderr=subprocess.PIPE
    )
    with (work.folder / "slow.yaml").open("wb"):  # returns when the program has opened it to read
        impatient(process, number)  # Python is deaf between its last look and a read that blocks
        result = ended_without_stdout(work, process)
    assert result.code == 128 + number
    assert number.name in result.stderr
    assert "before anything was changed" in result.stderr
    assert not sandbox.calls(service="kms", operation="DescribeKey")
    assert not (work.folder / "report.json").exists()


def ended_without_stdout(work: Workplace, process: subprocess.Popen[bytes]) -> Result:
    try:
        _, stderr = process.communicate(timeout=SOON)
    finally:
        process.kill()
    assert "Traceback" not in stderr.decode(), stderr.decode()
    return Result(process.returncode, b"", stderr.decode(), work.folder)


def test_one_signal_while_the_report_is_written_changes_nothing(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 1)
    os.mkfifo(work.folder / "out")
    process = work.start("--report", "out", "--journal", "j.jsonl")
    wait_until(lambda: any(event["event"] == "run_ended" for event in events(work, "j.jsonl")), process)
    process.send_signal(signal.SIGTERM)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((work.folder / "out").read_bytes()))
    reader.start()
    result = ended(work, process)
    reader.join(SOON)
    assert result.code == 0, result.stderr
    assert b'"exit_code":0' in received[0]


def test_a_second_signal_while_the_report_is_written_ends_at_once(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 1)
    os.mkfifo(work.folder / "out")  # no one will ever read it
    process = work.start("--report", "out", "--journal", "j.jsonl")
    wait_until(lambda: any(event["event"] == "run_ended" for event in events(work, "j.jsonl")), process)
    first(process, signal.SIGTERM)
    impatient(process, signal.SIGTERM)  # the second may come before the report is begun
    result = ended(work, process)
    assert result.code == 143
    assert "before anything was changed" not in result.stderr
    again = work.run("--resume", "--journal", "j.jsonl")
    assert_all_imported(sandbox, work, again)


@pytest.mark.parametrize(
    ("operation", "after", "code"),
    [
        ("GetCallerIdentity", 0, "Stopped"), ("AssumeRole", 0, "Stopped"), ("DescribeKey", 0, "Stopped"),
        ("GetParametersForImport", 0, "Stopped"), ("ImportKeyMaterial", 0, "OutcomeUnknown"),
        ("DescribeKey", 2, "NotVerified"), ("GenerateMac", 0, "NotVerified"),
    ],
)  # fmt: skip
def test_a_report_of_a_run_at_work(sandbox: Sandbox, work: Workplace, operation: str, after: int, code: str) -> None:
    """From its journal, at every stage: all targets, nothing well before its time, and no word of an end."""
    add_targets(sandbox, work, 2, specs=("HMAC_256",))
    sandbox.fault("hang", operation=operation, after=after, times=None, seconds=600)
    process = work.start(*LONG, "--quota", "GetParametersForImport=0.01")
    try:
        stage = {"NotVerified": "answered", "OutcomeUnknown": "intent"}.get(code, "target")
        wait_until(lambda: fired(sandbox) >= 1 and has_event(work, stage), process)
        result = work.call("report", "report.journal.jsonl", "--format", "json", "--output", "now.json")
    finally:
        process.kill()
        process.communicate()
    assert result.code == 5, result.stderr  # of a run that has not ended, no target counts as OK
    report = json.loads((work.folder / "now.json").read_bytes())
    assert (report["run"]["finished_at"], report["run"]["exit_code"]) == (None, None)
    assert report["run"]["outcome"] == "interrupted"
    first_, second = report["results"]
    assert (first_["error"]["code"], second["error"]["code"]) == (code, "Stopped")
    assert "still at work" in first_["error"]["message"]


def test_a_deadline_gives_the_grace_period_too(sandbox: Sandbox, work: Workplace) -> None:
    add_targets(sandbox, work, 3)
    sandbox.fault("delay", operation="ImportKeyMaterial", seconds=3)
    result = work.run("--deadline", "2s", "--quota", "GetParametersForImport=0.1")
    assert result.code == 7
    assert result.entries["k0"]["status"] in ("imported", "not_attempted")  # by the machine's speed
    assert result.report["summary"]["failed"] == 0
    assert_truthful(sandbox, result)
