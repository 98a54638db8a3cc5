from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import textwrap
import zlib
from datetime import datetime
from pathlib import Path

import pytest

from bulk_import.errors import JournalError
from bulk_import.journal import writer as journal_module
from bulk_import.journal.older import set_aside
from bulk_import.journal.reader import JournalReader
from bulk_import.journal.writer import Journal, lock
from tests.journal import journals


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def events(path: Path) -> list[dict[str, object]]:
    return [event for _, event in JournalReader(path)]


def test_a_line_says_its_number_its_instant_and_its_checksum(path: Path) -> None:
    journals.make(path, journals.started(), journals.target(0), journals.ended(0))

    lines = path.read_bytes().splitlines()

    for number, line in enumerate(lines, 1):
        event = json.loads(line)
        assert list(event)[:3] == ["seq", "at", "event"]
        assert event["seq"] == number
        assert datetime.fromisoformat(event["at"]).utcoffset().total_seconds() == 0
        assert line.endswith(b',"crc":"%08x"}' % zlib.crc32(line[: -len(b',"crc":"00000000"}')]))
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_outcome_becomes_its_report_entry(path: Path) -> None:
    journals.make(path, journals.started(), journals.target(0), journals.ended(0))

    result = events(path)[-1]["result"]

    assert result["valid_to"] == "2027-01-01T00:00:00Z"
    assert result["started_at"] == "2026-03-02T04:30:00.123456Z"
    assert result["verification"]["duration_seconds"] == 4.012
    assert result["request_ids"][0] == {"operation": "DescribeKey", "request_id": "request-d"}


@pytest.mark.parametrize("secret", [b"canary", bytearray(b"canary"), memoryview(b"canary"), object()])
def test_what_could_be_a_secret_is_refused_and_not_quoted(path: Path, secret: object) -> None:
    with Journal.create(path) as journal:
        journal.write("stopping", reason="SIGINT")
        with pytest.raises(TypeError) as caught:
            journal.write("stopping", reason=secret)
        assert "canary" not in repr((caught.value, caught.value.__cause__))
        journal.write("stopping", reason="SIGTERM")

    assert [event["reason"] for event in events(path)] == ["SIGINT", "SIGTERM"]


@pytest.mark.parametrize(
    ("event", "fields", "message"),
    [
        ("invented", {}, "'invented' is not an event"),
        ("intent", {"index": 0}, "intent lacks attempt, operation"),
        ("run_ended", {"finished_at": datetime(2026, 1, 1)}, "needs an offset"),  # noqa: DTZ001 - the naive one is the point
    ],
)
def test_what_the_grammar_does_not_know_is_refused(
    path: Path, event: str, fields: dict[str, object], message: str
) -> None:
    with Journal.create(path) as journal, pytest.raises((ValueError, TypeError)) as caught:
        journal.write(event, **fields)
    assert message in f"{caught.value} {caught.value.__cause__}"


async def test_sync_returns_when_the_events_are_in_the_file(path: Path) -> None:
    with Journal.create(path) as journal:
        journal.write("stopping", reason="SIGINT")
        assert not events(path)  # gathered, so that many events cost one system call
        await journal.sync()
        assert len(events(path)) == 1


async def test_events_that_nobody_waits_for_reach_the_kernel_by_themselves(path: Path) -> None:
    with Journal.create(path) as journal:
        journal.write("stopping", reason="SIGINT")
        while not events(path):  # noqa: ASYNC110 - there is no Event for it; the test's own timeout is the bound
            await asyncio.sleep(0.001)


async def test_events_that_nobody_waits_for_reach_the_disk_by_themselves(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome is on disk soon after it, also where no other target's intent takes it there."""
    fsync, sizes = os.fsync, []

    def noting(descriptor: int) -> None:
        fsync(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(journal_module, "FSYNC_AFTER", 0.01)
    with Journal.create(path) as journal:
        monkeypatch.setattr(os, "fsync", noting)
        for reason in ("SIGINT", "SIGTERM"):
            journal.write("stopping", reason=reason)
            before = len(sizes)
            while len(sizes) == before:  # noqa: ASYNC110 - there is no Event for it; the test's own timeout is the bound
                await asyncio.sleep(0.001)
            assert sizes == sorted(set(sizes))
        assert len(events(path)) == 2
        assert sizes[0] < sizes[1]


async def test_concurrent_callers_share_fsyncs_and_keep_the_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, count = os.fsync, 0

    def counting(descriptor: int) -> None:
        nonlocal count
        count += 1
        fsync(descriptor)

    async def one(journal: Journal, index: int) -> None:
        for attempt in range(1, 4):
            journal.write("intent", index=index, operation="ImportKeyMaterial", attempt=attempt)
            await journal.sync()

    with Journal.create(path) as journal:
        monkeypatch.setattr(os, "fsync", counting)
        await asyncio.gather(*(one(journal, index) for index in range(500)))

    assert [event["seq"] for event in events(path)] == list(range(1, 1501))
    assert count <= 10  # three rounds of 500 callers


async def test_a_cancelled_caller_leaves_the_others_their_fsync(path: Path) -> None:
    with Journal.create(path) as journal:
        journal.write("stopping", reason="SIGINT")
        first, second = asyncio.create_task(journal.sync()), asyncio.create_task(journal.sync())
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert len(events(path)) == 1
        with pytest.raises(asyncio.CancelledError):
            await first


def test_events_of_a_loop_that_was_torn_down_in_mid_commit_are_kept(path: Path) -> None:
    async def leave(journal: Journal) -> None:
        journal.write("stopping", reason="SIGINT")
        commit = asyncio.create_task(journal.sync())
        await asyncio.sleep(0)
        journal.write("stopping", reason="SIGTERM")
        commit.cancel()

    with Journal.create(path) as journal:
        asyncio.run(leave(journal))

    assert [event["reason"] for event in events(path)] == ["SIGINT", "SIGTERM"]


def test_an_existing_journal_is_never_overwritten(path: Path) -> None:
    journals.make_run(path, 1)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"journal\.jsonl: the journal is there already"):
        Journal.create(path)
    assert path.read_bytes() == before


def test_a_journal_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="the journal cannot be made: Not a directory"):
        Journal.create(tmp_path / "file" / "journal.jsonl")


def test_a_resumed_journal_goes_on_after_its_last_whole_line(path: Path) -> None:
    journals.make_run(path, 2, journals.pinned(0))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":6,"at":"2026-03-0')

    with Journal.resume(path) as journal:
        assert path.read_bytes() == whole
        assert journal.seq == 5
        journal.write("resumed", from_seq=journal.seq)

    assert [event["seq"] for event in events(path)] == [1, 2, 3, 4, 5, 6]


def test_every_cut_of_the_last_line_is_torn_and_tolerated(path: Path) -> None:
    journals.make_run(path, 1)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        reader = JournalReader(path)
        assert [event["seq"] for _, event in reader] == [1, 2]
        assert (reader.whole, reader.torn) == (last, cut - last)


class Growing(io.RawIOBase):
    """A file whose end is in the middle of a line when it is read, and is not a moment later."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


class BeingWritten:
    """The path of such a file."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def open(self, mode: str, buffering: int) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(Growing(*self._pieces), buffering)


@pytest.mark.parametrize("cut", [-1, -12, -100])
def test_a_line_that_is_just_being_written_ends_the_journal_and_is_no_damage(path: Path, cut: int) -> None:
    journals.make_run(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    now = b"".join(lines[:3])[:cut]
    reader = JournalReader(BeingWritten(now, b"", b"".join(lines)[len(now) :]))
    assert [event["seq"] for _, event in reader] == [1, 2]
    assert reader.torn == len(now) - reader.whole > 0


def test_zeros_after_a_power_cut_are_a_torn_line(path: Path) -> None:
    journals.make_run(path, 1)
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert len(events(path)) == 3


@pytest.mark.parametrize("command", ["resume", "read"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"key-0", b"key-9"), *lines[2:]], ":2: this line is damaged"),
        (lambda lines: [lines[0], b"\n", *lines[1:]], ":2: this line is damaged"),
        (lambda lines: [lines[0], *lines[2:]], ":2: events are missing here: seq is 3, not 2"),
        (lambda lines: [*lines[:-2], lines[-1]], ":3: events are missing here: seq is 4, not 3"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], ":1: events are missing here"),
        (lambda lines: [b"version: 1\n", b"keys: []\n"], ":1: this is not a journal of bulk-import"),
    ],
)
def test_damage_in_the_middle_is_refused_with_its_line(path: Path, command: str, damage, message: str) -> None:
    journals.make_run(path, 2)
    damaged = b"".join(damage(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(damaged)
    with pytest.raises(JournalError, match=message):
        Journal.resume(path) if command == "resume" else events(path)
    assert path.read_bytes() == damaged  # left as evidence


@pytest.mark.parametrize("content", [b"", b'{"seq":1,"at"'])
def test_an_empty_journal_cannot_be_resumed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match="holds no run"):
        Journal.resume(path)


def test_a_missing_journal_cannot_be_resumed(path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be opened: No such file"):
        Journal.resume(path)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_two_processes_cannot_write_one_journal(path: Path) -> None:
    second = """
        import sys
        from pathlib import Path
        from bulk_import.errors import JournalError
        from bulk_import.journal.writer import Journal
        from bulk_import.journal.older import set_aside
        for attempt in (lambda path: Journal.resume(path).close(), set_aside):
            try:
                attempt(Path(sys.argv[1]))
            except JournalError as error:
                print(error)
    """
    with Journal.create(path) as journal:
        journal.write("stopping", reason="SIGINT")
        refused = run_python(second, str(path))
    assert refused.stdout.count("is in use by another run") == 2, refused.stderr
    assert run_python(second, str(path)).stdout == ""  # free again after close


def test_a_journal_that_another_run_has_just_set_aside_is_not_taken_for_its_own(path: Path) -> None:
    """Both found the same old one; the first has set it aside when the second locks it."""
    journals.make_run(path, 1, run_id="old")
    with path.open("rb") as late:
        set_aside(path)
        for make in (lambda: None, lambda: journals.make_run(path, 1, run_id="new")):
            make()
            with pytest.raises(JournalError, match="in use by another run"):
                lock(path, late.fileno())
    assert events(path)[0]["run_id"] == "new"


def test_a_journal_that_went_on_since_a_resume_read_it_is_refused(path: Path) -> None:
    journals.make_run(path, 2, journals.pinned(0))
    with Journal.resume(path) as journal:
        journal.write("resumed", from_seq=journal.seq)
    whole = path.read_bytes()
    with pytest.raises(JournalError, match="in use by another run"):
        Journal.resume(path, known=5)
    assert path.read_bytes() == whole
    Journal.resume(path, known=6).close()


def test_a_finished_journal_takes_no_more_and_is_nobodys_else(path: Path) -> None:
    with Journal.create(path) as journal:
        journal.write("stopping", reason="SIGINT")
        journal.finish()
        assert len(events(path)) == 1
        with pytest.raises(JournalError, match="it is closed"):
            journal.write("stopping", reason="SIGTERM")
        with pytest.raises(JournalError, match="in use by another run"):
            set_aside(path)
    assert set_aside(path) is not None


def test_a_full_disk_ends_the_journal_and_every_later_use_says_so(path: Path) -> None:
    """A limit on the file's size stands for the disk: the write is cut short, then refused."""
    result = run_python(
        """
        import asyncio, resource, signal, sys
        from pathlib import Path
        from bulk_import.errors import JournalError
        from bulk_import.journal.writer import Journal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

        async def main():
            journal = Journal.create(Path(sys.argv[1]))
            journal.write("stopping", reason="first")
            await journal.sync()
            for _ in range(100):
                journal.write("stopping", reason="later")
            for use in (journal.sync(), journal.sync()):
                try:
                    await use
                except JournalError as error:
                    print("sync", error)
            try:
                journal.write("stopping", reason="last")
            except JournalError as error:
                print("write", error)
            journal.close()

        asyncio.run(main())
        """,
        str(path),
    )
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["sync", "sync", "write"], result.stderr
    assert all("the journal cannot be written any more: File too large" in line for line in lines)
    assert path.stat().st_size == 2000
    readable = events(path)  # the last line is torn, the ones before it are whole
    assert readable[0]["reason"] == "first"
    assert len(readable) > 10


def test_a_failure_that_nobody_was_told_of_is_told_by_close(path: Path) -> None:
    result = run_python(
        """
        import resource, signal, sys
        from pathlib import Path
        from bulk_import.errors import JournalError
        from bulk_import.journal.writer import Journal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        journal = Journal.create(Path(sys.argv[1]))
        journal.write("stopping", reason="first")
        try:
            journal.close()
        except JournalError as error:
            print(error)
        """,
        str(path),
    )
    assert "could not be written: File too large" in result.stdout, result.stderr
