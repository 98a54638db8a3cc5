"""The process around a command: signals, a lost stderr, and its memory."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pytest

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)


def a_key(sandbox: Sandbox, work: Workplace, name: str = "a") -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name=name)


# --- stdout that does not take everything at once
def through_a_small_pipe(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, bytes]:
    """Exit code and stdout, which is a pipe that does not block and takes a page at a time."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=writer, stderr=subprocess.DEVNULL) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
    return process.returncode, said


@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [("schema", "report"), ("schema", "manifest"), ("template", "github-actions")])
def test_a_stdout_that_does_not_block_gets_everything(
    arguments: tuple[str, ...], unbuffered: dict[str, str], work: Workplace
) -> None:
    environment = {**work.environment(), **unbuffered}
    code, said = through_a_small_pipe(work.command(*arguments), work.folder, environment)
    assert (code, said) == (0, work.call(*arguments).stdout)
    assert len(said) > 4096  # it could not go at once


@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_report_to_a_stdout_that_does_not_block_is_complete(
    unbuffered: dict[str, str], sandbox: Sandbox, work: Workplace
) -> None:
    for number in range(5):
        a_key(sandbox, work, name=f"k{number}")
    work.write()
    command = work.command("run", "manifest.json", "--read-interval", "20ms", "--report", "-", "--journal", "j")
    code, said = through_a_small_pipe(command, work.folder, {**work.environment(), **unbuffered})
    assert (code, len(orjson.loads(said)["results"])) == (0, 5)
    assert len(said) > 4096
    journal = work.command("report", "j", "--format", "json")
    assert through_a_small_pipe(journal, work.folder, {**work.environment(), **unbuffered}) == (0, said)


# --- stderr that takes nothing
def run_with_stderr(work: Workplace, stderr: int, *options: str) -> int:
    work.write()
    command = work.command("run", "manifest.json", "--read-interval", "20ms", *options)
    with Path(os.devnull).open("rb") as nothing:
        return subprocess.run(
            command, cwd=work.folder, env=work.environment(), stdin=nothing, stdout=subprocess.DEVNULL, stderr=stderr,
            timeout=60, check=False,
        ).returncode  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--log-format", "json", "--log-level", "debug"), ("--quiet",)], ids=str)
def test_a_full_stderr_changes_nothing(options: tuple[str, ...], sandbox: Sandbox, work: Workplace) -> None:
    a_key(sandbox, work)
    with Path("/dev/full").open("wb") as full:
        assert run_with_stderr(work, full.fileno(), *options) == 0
    assert (work.folder / "report.json").exists()


def test_a_stderr_whose_reader_has_gone_changes_nothing(sandbox: Sandbox, work: Workplace) -> None:
    a_key(sandbox, work)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run_with_stderr(work, writer) == 0
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    ("arguments", "code"), [(("run", "missing.yaml"), 3), (("run", "--no-such-option"), 2), (("nonsense",), 2)]
)
def test_a_message_that_is_lost_does_not_change_the_exit_code(
    arguments: tuple[str, ...], code: int, work: Workplace
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            work.command(*arguments), cwd=work.folder, env=work.environment(), stderr=full, check=False
        )
    assert done.returncode == code


def test_only_the_lines_that_were_not_taken_are_lost(tmp_path: Path) -> None:
    """A disk that is full for a while: RLIMIT_FSIZE refuses what would make the file too large."""
    script = textwrap.dedent("""
        import os, resource, signal, sys
        from bulk_import import process
        process.begin()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        print("first", file=sys.stderr)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))
        print("second", file=sys.stderr)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        print("third", file=sys.stderr)
    """)
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        done = subprocess.run([sys.executable, "-c", script], stderr=stderr, check=False)
    assert (done.returncode, log.read_text()) == (0, "first\nthird\n")


# --- signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_process_one_hears_signals_before_its_libraries_are_loaded(number: signal.Signals, tmp_path: Path) -> None:
    """As in a container: process 1 of a PID namespace ignores every signal that has no handler."""
    # The first library that the command line loads waits here, so that the test need not be quick.
    fifo = tmp_path / "loading"
    os.mkfifo(fifo)
    (tmp_path / "typer.py").write_text(f"open({str(fifo)!r}, 'w').write('x')\nimport time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "bulk_import", "validate", "x.yaml"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert fifo.read_text() == "x"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), number)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert stderr.decode() == f"Stopped by {number.name} before anything was changed.\n"


def test_sighup_drains_a_run(sandbox: Sandbox, work: Workplace) -> None:
    for count in range(4):
        a_key(sandbox, work, name=f"k{count}")
    sandbox.fault("hang", operation="GetParametersForImport", times=None, seconds=600)
    process = work.start("--grace", "100ms")
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    result = work.finish(process, signal.SIGHUP)
    assert result.code == 129
    assert result.report["run"]["stopped_by"] == ["SIGHUP"]
    assert result.report["run"]["exit_code"] == 129
    assert {entry["status"] for entry in result.report["results"]} == {"not_attempted"}


def test_nohup_is_respected(sandbox: Sandbox, work: Workplace) -> None:
    a_key(sandbox, work)
    sandbox.hold("GetParametersForImport")
    work.write()
    process = subprocess.Popen(
        ["nohup", *work.command("run", "manifest.json", "--read-interval", "20ms", "--read-timeout", "100s")],
        cwd=work.folder, env=work.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    sandbox.release()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr.decode()


# --- memory
DUMPABLE = """
import atexit, ctypes, os
def look():
    with open(os.environ["LOOK"], "w") as file:
        file.write(str(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))
atexit.register(look)
"""


def test_a_command_leaves_no_core_dump_and_cannot_be_read(sandbox: Sandbox, work: Workplace) -> None:
    a_key(sandbox, work)
    sandbox.hold("GetParametersForImport")
    (work.folder / "sitecustomize.py").write_text(DUMPABLE)
    looked = work.folder / "dumpable"
    process = work.start("--read-timeout", "100s", PYTHONPATH=str(work.folder), LOOK=str(looked))
    while not sandbox.faults()[0]["fired"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    sandbox.release()
    assert work.finish(process).code == 0
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]
    assert looked.read_text() == "0"
