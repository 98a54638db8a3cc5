"""Files that are whole or not there: what fsync and rename promise, in one place."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Final

LONGEST_NAME: Final = 255  # bytes, on every file system of Linux; see pathname limits in limits.h(0p)
_LONGEST_PATH: Final = 4096  # bytes, with the null byte at its end
PATIENCE: Final = 10.0  # seconds that the reader of a pipe may take
_RETRY: Final = 0.05  # seconds between two looks for one
_NO_DIRECTORY_FSYNC = (errno.EINVAL, errno.ENOTSUP)  # some network and FUSE file systems have none


def real(path: Path) -> Path:
    """Where links lead. Links that form a circle stay: opening them then says so (`Path.resolve` would raise)."""
    return Path(os.path.realpath(path))


def no_path(text: str, *, longest: int = LONGEST_NAME) -> str | None:
    """Why no file can have this path, for people; None: one can. `longest`: bytes of each name in it."""
    data = os.fsencode(text)
    if b"\0" in data:
        return "it holds a null character"
    if len(data) >= _LONGEST_PATH or max(map(len, data.split(b"/"))) > longest:
        return f"a name in it is longer than {longest} bytes, or all of it than {_LONGEST_PATH - 1}"
    return None


def fsync_directory(folder: Path) -> None:
    """Makes names created, renamed or removed in `folder` last. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_FSYNC:
            raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """`os.write` may take less than it is given; this continues until all is taken. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_stream(stream: IO[bytes], data: bytes) -> None:
    """All of `data`, and past the stream's buffer: what a broken pipe does not take must not be tried again at exit.

    A stream may take less than it is given, or nothing for now: a pipe that its owner made non-blocking, and a write
    that a signal interrupted. Then this waits for its reader, as any write to a pipe does. Raises OSError.
    """
    stream.flush()
    raw = getattr(stream, "raw", stream)
    view = memoryview(data)
    while view:
        taken = raw.write(view)
        if taken is None:
            select.select([], [raw], [])
        else:
            view = view[taken:]


def keeps_its_place(path: Path) -> bool:
    """A pipe or a device is written into: a new file in its place would be seen by no one."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_into(path: Path, chunks: Iterable[bytes], *, patience: float = PATIENCE) -> None:
    """Writes into a pipe or a device. Raises OSError; TimeoutError if nobody reads a pipe for `patience` seconds."""
    descriptor = _open_for_writing(path, patience)
    try:
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(descriptor, view) :]
                except BlockingIOError:
                    if not ready.poll(patience * 1000):
                        raise _nobody_reads() from None
    finally:
        os.close(descriptor)


def _open_for_writing(path: Path, patience: float) -> int:
    """An ordinary open of a pipe waits for its reader, and would wait forever for one that never comes."""
    give_up = time.monotonic() + patience
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if time.monotonic() >= give_up:
            raise _nobody_reads()
        time.sleep(_RETRY)


def _nobody_reads() -> OSError:
    return OSError(errno.ETIMEDOUT, "nobody reads from this pipe")


class NewFile:
    """A file next to `path` that takes its name only when it is whole and on disk.

    Use: `with NewFile(path) as new: new.fill(chunks); new.commit()`. Left without `commit`, nothing remains.
    `mode`: its permissions, as far as the umask allows.
    """

    def __init__(self, path: Path, mode: int = 0o666) -> None:
        self._path = path
        self._mode = mode
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        self._descriptor = -1

    def __enter__(self) -> NewFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._temporary, flags, self._mode)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.close(self._descriptor)
        finally:
            self._temporary.unlink(missing_ok=True)

    def fill(self, chunks: Iterable[bytes]) -> str:
        """Writes and fsyncs; returns the SHA-256, in hex. Raises OSError."""
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
            write_all(self._descriptor, chunk)
        os.fsync(self._descriptor)
        return digest.hexdigest()

    def commit(self) -> None:
        """Takes the name, in the place of what had it. The caller fsyncs the folder when all its names stand."""
        self._temporary.replace(self._path)


def sum_line(sha256: str, path: Path) -> bytes:
    """As sha256sum writes it. The name is as the folder has it, also if it is not UTF-8."""
    return b"%b  %b\n" % (sha256.encode(), os.fsencode(path.name))


def write_with_sum(path: Path, sums: Path, chunks: Iterable[bytes], *, first: Callable[[], None]) -> str:
    """Writes a file, and its SHA-256 in sha256sum's format to `sums`. Returns the sum. Raises OSError.

    Atomically: a reader finds the older file or the complete new one. `first`: called when both are on disk, before
    they take their names.
    """
    with NewFile(path) as new:
        sha256 = new.fill(chunks)
        with NewFile(sums) as line:
            line.fill([sum_line(sha256, path)])
            first()
            new.commit()
            line.commit()
    fsync_directory(path.parent)
    return sha256
