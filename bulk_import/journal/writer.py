"""The journal: append-only, one event a line, and on disk where a caller waits for it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from bulk_import.errors import JournalError, Problem
from bulk_import.files import fsync_directory, write_all
from bulk_import.journal import events
from bulk_import.journal.entry import instant, plain
from bulk_import.journal.reader import JournalReader
from bulk_import.model import Outcome
from bulk_import.text import harmless_values

CONTINUE_ADVICE: Final = (
    "Free space on its disk and make its folder writable, then run again, or continue with --resume."
)
# What a SIGKILL, and what a power cut, can take of the events that no one waited for. Seconds.
WRITE_OUT_AFTER: Final = 0.01
FSYNC_AFTER: Final = 1.0

_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME


class Journal:
    """A Sink into one file, which this process alone may write while it is open (flock).

    `write` costs microseconds and touches no disk: lines gather, and go out together after WRITE_OUT_AFTER (to the disk
    itself after FSYNC_AFTER) or with the next `sync`, one system call for all. Callers of `sync` that come while the
    disk is busy share the next fsync (group commit). The first OSError ends the journal: from then on everything raises
    JournalError, so that no call is made to KMS that could not be recorded.
    """

    def __init__(self, path: Path, descriptor: int, last_seq: int) -> None:
        """For `create` and `resume`."""
        self.path = path
        self._descriptor = descriptor
        self._seq = last_seq
        self._taken = self._durable = last_seq  # written out, and known to be on disk, up to these
        self._lines: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._fsync_timer: asyncio.TimerHandle | None = None
        self._commit: asyncio.Task[None] | None = None
        # A thread of its own: the default pool may be full of sealing, and an intent waits for this.
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._failure: str | None = None
        self._failure_told = False
        self._finished = False

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new journal, mode 0600. Raises JournalError where there is one already, or none can be made."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise _error(path, "is there already", "Resume it, or name another --journal.") from None
        except OSError as error:
            raise _cannot(path, "be made", error) from None
        try:
            lock(path, descriptor)
            fsync_directory(path.parent)
        except OSError as error:
            os.close(descriptor)
            raise _cannot(path, "be made", error) from None
        except JournalError:
            os.close(descriptor)
            raise
        return cls(path, descriptor, 0)

    @classmethod
    def resume(cls, path: Path, *, known: int | None = None) -> Self:
        """Continues a journal after its last whole line; a torn last line is cut off.

        `known`: the last event that the resume knows of. Raises JournalError where the journal is missing, damaged,
        empty, in use by another run, or went on since.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise _cannot(path, "be opened", error) from None
        try:
            lock(path, descriptor)
            reader = JournalReader(path)
            for _ in reader:
                pass
            if not reader.last_seq:
                raise _error(path, "holds no run", "Start without --resume.")
            if known not in (None, reader.last_seq):
                raise _in_use(path)  # it was, when it was read
            if reader.torn:
                os.ftruncate(descriptor, reader.whole)
                os.fsync(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise _cannot(path, "be resumed", error) from None
        except JournalError:
            os.close(descriptor)
            raise
        return cls(path, descriptor, reader.last_seq)

    @property
    def seq(self) -> int:
        """The number of the last event written."""
        return self._seq

    def write(self, event: str, /, **fields: Any) -> None:
        """Appends one event of the table in events.py. An Outcome becomes its report entry, a datetime RFC 3339.

        Raises JournalError where the journal has failed; ValueError or TypeError for what the table or JSON does not
        know. Bytes are refused: every secret here is bytes.
        """
        self._raise_if_failed()
        events.check(event, fields)
        line = {"seq": self._seq + 1, "at": instant(datetime.now(UTC)), "event": event, **fields}
        body = _encoded(line)[:-1]
        self._lines.append(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
        self._seq += 1
        if self._timer is None and self._commit is None:
            self._write_out_soon()

    async def sync(self) -> None:
        """Returns when every event written before is on disk. Raises JournalError where it cannot be."""
        wanted = self._seq
        self._raise_if_failed()
        while self._durable < wanted:
            if self._commit is None:
                self._commit = asyncio.create_task(self._group_commit())
            await asyncio.shield(self._commit)  # a cancelled caller must not cancel the others' fsync
            self._raise_if_failed()

    def finish(self) -> None:
        """Writes out and fsyncs. Nothing can be written any more, but no other run has the file before `close`.

        Raises JournalError where it failed and no `write` or `sync` has said so yet.
        """
        if self._finished:
            return
        self._finished = True
        for timer in (self._timer, self._fsync_timer):
            if timer:
                timer.cancel()
        self._disk.shutdown(wait=True)
        self._to_disk()
        failure, self._failure = self._failure, self._failure or "it is closed"
        if failure and not self._failure_told:
            raise _error(self.path, f"could not be written: {failure}", CONTINUE_ADVICE)

    def close(self) -> None:
        """As `finish`, and lets another run have the file."""
        if self._descriptor < 0:
            return
        try:
            self.finish()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_out_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._to_kernel()  # outside asyncio nothing would come later
        else:
            self._timer = loop.call_later(WRITE_OUT_AFTER, self._write_out)

    def _write_out(self) -> None:
        """Into the kernel, which a SIGKILL of this process does not reach."""
        self._timer = None
        if self._commit is None:  # else the commit takes the lines, in order, or the one after it
            self._to_kernel()
            if self._fsync_timer is None and self._durable < self._taken:
                self._fsync_timer = asyncio.get_running_loop().call_later(FSYNC_AFTER, self._fsync_soon)

    def _fsync_soon(self) -> None:
        self._fsync_timer = None
        if self._commit is None and self._failure is None and self._durable < self._seq:
            self._commit = asyncio.create_task(self._group_commit())

    async def _group_commit(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, self._to_disk)
        finally:
            self._commit = None
            if self._lines and self._timer is None and self._failure is None:
                self._write_out_soon()

    def _to_disk(self) -> None:
        self._to_kernel()
        if self._failure is None and self._durable < self._taken:
            taken = self._taken
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._failure = os.strerror(error.errno or 0)
            else:
                self._durable = taken

    def _to_kernel(self) -> None:
        """Never runs twice at once: on the loop only while no commit is under way, or else on the journal's thread."""
        count = len(self._lines)
        if not count or self._failure is not None:
            return
        data = b"".join([self._lines.popleft() for _ in range(count)])
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self._failure = os.strerror(error.errno or 0)
        else:
            self._taken += count

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            self._failure_told = True
            raise _error(self.path, f"cannot be written any more: {self._failure}", CONTINUE_ADVICE)


def lock(path: Path, descriptor: int) -> None:
    """Raises JournalError where another process has the journal, OSError where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path) from None
    try:
        mine = os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        mine = False
    if not mine:
        raise _in_use(path)  # between the opening and the lock another run set this one aside, to write its own


def _encoded(line: dict[str, Any]) -> bytes:
    """`line` in JSON. Text that cannot be encoded (a name whose bytes are not UTF-8) is written with escapes."""
    try:
        return orjson.dumps(line, plain, _OPTIONS)
    except TypeError:
        values = {name: asdict(value) if isinstance(value, Outcome) else value for name, value in line.items()}
        return orjson.dumps(harmless_values(values), plain, _OPTIONS)


def _in_use(path: Path) -> JournalError:
    return _error(path, "is in use by another run", "Wait for its end, or name another --journal.")


def _cannot(path: Path, verb: str, error: OSError) -> JournalError:
    missing = error.errno == errno.ENOENT
    advice = f"{'Make its folder' if missing else 'Make its place writable'}, or name another --report or --journal."
    return _error(path, f"cannot {verb}: {error.strerror}", advice)


def _error(path: Path, message: str, advice: str) -> JournalError:
    return JournalError([Problem(str(path), 0, "", f"the journal {message}.", advice)])
