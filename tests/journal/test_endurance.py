"""SIGKILL at any event, and 100,000 targets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bulk_import.delivery.local import write_report
from bulk_import.journal.writer import Journal
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
from tests.journal import journals

WRITER = """
import asyncio, os, sys
from pathlib import Path
from bulk_import.journal.writer import Journal
from tests.journal import journals

async def one(journal, index):
    await journals.write(journal, [journals.pinned(index), journals.intent(index)])
    os.write(1, f"intent {index}\\n".encode())
    await journals.write(journal, [journals.answered(index), journals.ended(index)])
    os.write(1, f"ended {index}\\n".encode())

async def main():
    with Journal.create(Path(sys.argv[1])) as journal:
        await journals.write(journal, [journals.started(), *map(journals.target, range(200))])
        for index in range(0, 200, 8):
            await asyncio.gather(*(one(journal, index + more) for more in range(8)))
        await asyncio.Event().wait()  # it is killed, however quick it was

asyncio.run(main())
"""


@pytest.mark.parametrize("kill_after", [1, 2, 7, 8, 9, 50, 133, 200, 311])
def test_what_sync_promised_survives_sigkill(tmp_path: Path, kill_after: int) -> None:
    """The writer says on a pipe what `sync` has promised; it is killed in the middle of its work."""
    path = tmp_path / "journal.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        promised = [writer.stdout.readline() for _ in range(kill_after)]
        os.kill(writer.pid, signal.SIGKILL)
        promised += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL

    folded = fold(path)
    entries = [orjson.loads(entry) for entry in folded.entries()]

    assert folded.summary.total == len(entries) == 200
    for word, index in (line.split() for line in promised):
        entry = entries[int(index)]
        if word == b"ended":
            assert entry["status"] == "imported"
        else:
            assert entry["attempts"] == 1
    started = {int(line.split()[1]) for line in promised}
    # The group after the last that was heard of may have begun: it writes before it says so.
    assert all(entry["status"] == "not_attempted" for entry in entries[max(started) // 8 * 8 + 16 :])
    with Journal.resume(path) as journal:
        journal.write("resumed", from_seq=journal.seq)
    assert fold(path).resumes[0]["from_seq"] == journal.seq - 1


def test_memory_does_not_grow_with_the_results_of_100_000_targets(tmp_path: Path) -> None:
    """The report is over 80 MB; making it takes a few MB more than one of 100 targets does."""
    small, large = (_journal_of(tmp_path / f"{targets}.jsonl", targets) for targets in (100, 100_000))

    spare = _peak(large, tmp_path / "large.json") - _peak(small, tmp_path / "small.json")

    assert (tmp_path / "large.json").stat().st_size > 80 << 20
    assert spare < 16 << 20
    last = (tmp_path / "large.json").read_bytes()[-4096:].splitlines()[-3]
    assert json.loads(last)["id"] == "key-99999"


def _journal_of(path: Path, targets: int) -> Path:
    with Journal.create(path) as journal:
        for event, fields in [journals.started(targets=targets), *map(journals.target, range(targets))]:
            journal.write(event, **fields)
        for index in range(targets):
            event, fields = journals.ended(index)
            journal.write(event, **fields)
    return path


def _peak(journal: Path, report: Path) -> int:
    """Bytes of resident memory at most, of a process that makes this report."""
    code = """
import resource, sys
from pathlib import Path
from bulk_import.delivery.local import write_report
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
write_report(Document.of(fold(Path(sys.argv[1]))), sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""
    done = subprocess.run([sys.executable, "-c", code, journal, report], capture_output=True, check=True)
    return int(done.stdout)


def test_the_report_of_a_killed_run_can_be_made_while_the_journal_is_open(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "journal.jsonl") as journal:
        for event, fields in [journals.started(), journals.target(0), journals.pinned(0), journals.intent(0)]:
            journal.write(event, **fields)
        folded = fold(journal.path)
        write_report(Document.of(folded), str(tmp_path / "report.json"))
    assert folded.summary.failed == 1
