"""A command that changes nothing, stopped in the middle: one line, the signal's exit code, at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

SIGNALS = [signal.SIGINT, signal.SIGTERM]
HANGS = 600  # seconds that the sandbox would take; the command must not
QUIET_END = ("--retry-timeout", "300s", "--read-timeout", "100s")


def start(work: Workplace, *arguments: str) -> subprocess.Popen[bytes]:
    # A signal between open() and its `with` leaves a file for the collector: Python may say so, and no one minds.
    environment = work.environment(PYTHONWARNINGS="ignore::ResourceWarning")
    return subprocess.Popen(
        work.command(*arguments), cwd=work.folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def check(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends the signal, and again where Python was deaf: between its last look and a read that blocks."""
    end = time.monotonic() + 30
    try:
        while process.poll() is None and time.monotonic() < end:
            process.send_signal(number)
            time.sleep(0.5)
    finally:
        process.kill()
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (128 + number, b"")
    assert stderr.decode() == f"Stopped by {number.name} before its end. No key was changed.\n"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("operation", ["GetCallerIdentity", "AssumeRole", "DescribeKey"])
@pytest.mark.parametrize("command", [("plan", "manifest.json"), ("run", "manifest.json", "--dry-run")])
def test_a_plan_while_aws_does_not_answer(
    command: tuple[str, ...], operation: str, number: signal.Signals, sandbox: Sandbox, work: Workplace
) -> None:
    for count in range(3):
        key = sandbox.key(key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{count}")
    work.write()
    sandbox.fault("hang", operation=operation, times=None, seconds=HANGS)
    process = start(work, *command, *QUIET_END)
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    check(process, number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["validate", "plan", "iam", "report"])
def test_a_command_whose_input_does_not_come(command: str, number: signal.Signals, work: Workplace) -> None:
    os.mkfifo(work.folder / "slow.yaml")
    process = start(work, command, "slow.yaml")
    with (work.folder / "slow.yaml").open("wb"):  # returns when the program has opened it to read
        check(process, number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["validate", "report"])
def test_a_command_while_s3_does_not_answer(
    command: str, number: signal.Signals, sandbox: Sandbox, work: Workplace
) -> None:
    sandbox.fault("hang", operation="GET", times=None, seconds=HANGS)
    process = start(work, command, "s3://artefacts/keys.yaml", *QUIET_END)
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    check(process, number)
