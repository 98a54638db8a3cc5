"""An output that is a link, a pipe or a device: a link stays a link, and nothing takes the place of the others."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e import materials
from tests.e2e.conftest import work
from tests.e2e.support import Result, Workplace, quick
from tests.sandbox_client import Sandbox

__all__ = ["work"]  # a fixture

PLAN, PREPARE, JOURNAL = (
    ("plan", "manifest.json", "--out"),
    ("prepare", "manifest.json"),
    ("run", "manifest.json", "--journal"),
)


@pytest.fixture
def place(sandbox: Sandbox, work: Workplace) -> Path:
    """Where an output should go, in a folder with a manifest of one key."""
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name="one", key_spec="HMAC_256")
    work.write()
    (work.folder / "there").mkdir()
    return work.folder / "out"


def to(work: Workplace, command: Sequence[str], *more: str) -> Result:
    options = quick(command) if command[0] == "run" else ()
    return work.call(*command, "out", *more, *options)


def holds(path: Path, text: str) -> bool:
    return stat.S_ISREG(path.lstat().st_mode) and text in path.read_text()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(("command", "text"), [(PLAN, '"binding"'), (PREPARE, '"bundle"'), (JOURNAL, "run_ended")])
def test_a_link_stays_a_link(work: Workplace, place: Path, command: tuple[str, ...], text: str, *, there: bool) -> None:
    """As /dev/stdout is one: root would remove it for everybody. `there`: an empty file is at its end."""
    place.symlink_to("there/result")
    if there:
        (work.folder / "there" / "result").touch()
    for _ in range(2):
        result = to(work, command)
        assert result.code == 0, result.stderr
        assert place.is_symlink()
        assert holds(work.folder / "there" / "result", text)


def test_so_does_that_of_what_is_sealed(work: Workplace, place: Path) -> None:
    assert work.call("prepare", "manifest.json", "bundle.jsonl").code == 0
    fingerprint = subprocess.run(
        ["/usr/bin/sha256sum", "bundle.jsonl"], cwd=work.folder, capture_output=True, text=True, check=True
    )
    place.symlink_to("there/result")
    (work.folder / "there" / "result").touch()
    result = to(work, ("seal", "bundle.jsonl", "manifest.json"), "--fingerprint", fingerprint.stdout[:64])
    assert result.code == 0, result.stderr
    assert place.is_symlink()
    assert holds(work.folder / "there" / "result", '"sealed"')


@pytest.mark.parametrize("command", [PLAN, PREPARE, JOURNAL], ids=lambda command: command[0])
def test_a_pipe_stays_a_pipe(work: Workplace, place: Path, command: tuple[str, ...]) -> None:
    """It is refused at once: a read of it would wait for a writer."""
    os.mkfifo(place)
    result = to(work, command)
    assert (result.code, "is not a file" in result.stderr) == (3, True), result.stderr
    assert stat.S_ISFIFO(place.lstat().st_mode)


@pytest.mark.parametrize("report", ["/dev/fd/1", "/proc/self/fd/1"])
def test_the_journal_of_a_report_that_goes_to_a_descriptor(work: Workplace, place: Path, report: str) -> None:
    options = ("--report", report)
    done = subprocess.run(
        work.command("run", "manifest.json", *options, *quick(options)), cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["status"] == "imported"
    assert holds(work.folder / "bulk-import.journal.jsonl", "run_ended")
    assert not place.exists()
