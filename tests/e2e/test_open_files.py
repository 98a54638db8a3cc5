"""A small limit of open files: a run has fewer connections, and no target fails for it."""

from __future__ import annotations

import re
import resource
import shlex
import subprocess
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import Result, Workplace, quick
from tests.faults.support import wait_until
from tests.sandbox_client import Sandbox

LANES = 240
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")
MATERIAL = materials.make("HMAC_256")


def add_lanes(sandbox: Sandbox, work: Workplace, lanes: int) -> None:
    accounts = [f"{100000000000 + number}" for number in range(lanes // len(REGIONS))]
    form = {"regions": {region: {"keys": [{"key_spec": "HMAC_256"}]} for region in REGIONS}}
    for number, key in enumerate(sandbox.seed({"accounts": dict.fromkeys(accounts, form)})):
        work.key(key["key_id"], MATERIAL, name=f"k{number}", account=key["account"], region=key["region"])


@pytest.mark.parametrize("files", [25, 64, 100, 512])
def test_all_lanes_end_well(sandbox: Sandbox, work: Workplace, files: int) -> None:
    add_lanes(sandbox, work, LANES)
    work.write()
    options = ("--prove", "none", "--reads", "1")
    done = subprocess.run(
        work.command("run", "manifest.json", *quick(options), *options), cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=110, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    stderr = done.stderr.decode()
    assert done.returncode == 0, stderr
    assert "open files" in stderr


@pytest.mark.parametrize("command", ["run", "plan", "validate", "status"])
@pytest.mark.parametrize("files", [8, 12, 18, 22])
def test_a_limit_that_is_too_small_for_any_lane(sandbox: Sandbox, work: Workplace, files: int, command: str) -> None:
    """The event loop would abort the process."""
    add_lanes(sandbox, work, 3)
    work.write()
    options = ("--material",) if command == "validate" else ()
    done = subprocess.run(
        work.command(command, "manifest.json", *options), cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=110, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    stderr = done.stderr.decode()
    assert done.returncode == 3, stderr
    assert re.search(r"only \d+ more files can be opened, and 20 are needed", stderr), stderr
    assert "Warning" not in stderr
    assert "ulimit -n" in stderr


def test_the_soft_limit_is_raised(sandbox: Sandbox, work: Workplace) -> None:
    """As far as the hard one allows: no run has fewer connections only because a shell gives 64 files."""
    add_lanes(sandbox, work, 9)
    work.write()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        work.command("run", "manifest.json", *quick(())), cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=110, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert "open files" not in done.stderr.decode()


def lowered(sandbox: Sandbox, work: Workplace, files: int, hard: int) -> Result:
    """A run that may open no more than `files` files after its first results."""
    add_lanes(sandbox, work, 9)
    for number, key in enumerate(list(work.keys)):
        more = sandbox.key(key_spec="HMAC_256", account=key["account"], region=key["region"])
        fields = {"account": key["account"], "region": key["region"]}
        work.key(more["key_id"], MATERIAL, name=f"more{number}", **fields)
    # The last import waits until the limit is low: the run does not end before.
    sandbox.hold("ImportKeyMaterial", key=work.keys[-1]["key_id"])
    renderings = ("--render", "html=report.html", "--render", "junit=junit.xml")
    process = work.start("--retry-timeout", "1", "--quota", "GetParametersForImport=3", *renderings)
    journal = work.folder / "report.journal.jsonl"
    wait_until(lambda: journal.is_file() and '"event":"ended"' in journal.read_text(), process)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (files, hard))
    sandbox.release()
    return work.finish(process)


@pytest.mark.parametrize("files", [3, 4, 5])
def test_a_limit_that_is_lowered_during_the_run_costs_no_result(sandbox: Sandbox, work: Workplace, files: int) -> None:
    """Where nothing can be opened at all, the message says why, and its command makes the report of the journal."""
    result = lowered(sandbox, work, files, hard=files)
    assert result.code == 6, result.stderr
    assert f"the limit is {files}" in result.stderr
    assert "ulimit -n" in result.stderr
    assert not (work.folder / "report.json").exists()
    command = re.search(r"make the report from it: bulk-import (.*) PATH$", result.stderr, re.MULTILINE)
    assert command, result.stderr
    made = work.call(*shlex.split(command[1]), "report.json")
    held = {entry["id"] for entry in result.entries.values() if entry["status"] == "imported"}
    assert made.code == (0 if len(held) == len(work.keys) else 4), made.stderr
    assert held == {key["id"] for key in work.keys if holds(sandbox, key)}


@pytest.mark.parametrize("files", [8, 20])
def test_files_are_kept_for_the_report(sandbox: Sandbox, work: Workplace, files: int) -> None:
    result = lowered(sandbox, work, files, hard=files)
    held = {key["id"] for key in work.keys if holds(sandbox, key)}
    assert result.code == (0 if len(held) == len(work.keys) else 4), result.stderr
    assert {entry["id"] for entry in result.entries.values() if entry["status"] == "imported"} == held
    assert (work.folder / "report.html").is_file()
    assert (work.folder / "junit.xml").is_file()


def test_a_soft_limit_that_is_lowered_is_raised_for_the_report(sandbox: Sandbox, work: Workplace) -> None:
    result = lowered(sandbox, work, 3, hard=resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    held = {key["id"] for key in work.keys if holds(sandbox, key)}
    assert result.code == (0 if len(held) == len(work.keys) else 4), result.stderr
    assert {entry["id"] for entry in result.entries.values() if entry["status"] == "imported"} == held


def holds(sandbox: Sandbox, key: dict[str, Any]) -> bool:
    client = sandbox.client("kms", key["account"], key["region"])
    return str(client.describe_key(KeyId=key["key_id"])["KeyMetadata"]["KeyState"]) == "Enabled"
