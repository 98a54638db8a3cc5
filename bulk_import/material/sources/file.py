"""`file:PATH`: a regular file inside the manifest's folder."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Final

import structlog

from bulk_import import open_files
from bulk_import.errors import MaterialError
from bulk_import.material.sources.base import MAX_BYTES, Content, Kind, Opened, Opening, binary
from bulk_import.material.sources.covers import by_file
from bulk_import.model import Target

log = structlog.get_logger()

# O_PATH (Linux) opens a folder that may be entered but not listed.
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, a FIFO put there between check and open would hold the run forever.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH

# Too many open files pass by themselves: a connection is closed, another process ends.
TRIES = 50
PAUSE = 0.2  # seconds


def parse(rest: str) -> str:
    """The path. Raises ValueError."""
    if not rest.strip():
        raise ValueError("write a path, like file:payments.key")
    if "\0" in rest:
        raise ValueError("a path cannot hold a NUL character")
    return rest


class FileSource:
    """Reads a small regular file, inline: at 64 KiB at most, a thread would cost more than the read.

    What follows `file:` is the path as it stands, relative to the root, blanks and `%` included. Nothing is
    percent-decoded, so that the manifest shows the very name that is opened. Links are followed, and what they
    lead to must be inside the root.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._open_to_others: dict[str, None] = {}  # paths of files that other users may read

    async def close(self) -> None:
        """Reports once what should not be so."""
        if self._open_to_others:
            log.warning(
                "other users of this machine may read files with key material",
                files=len(self._open_to_others),
                example=_shown(next(iter(self._open_to_others))),
                advice="Take their permissions away: chmod go-rwx.",
            )
            self._open_to_others.clear()

    async def read(self, rest: str, target: Target) -> Content:
        root = self._root
        if root is None:
            raise MaterialError(
                "the manifest has no folder that material paths could start from",
                code="MaterialOutsideRoot",
                advice="Give --material-root.",
            )
        for _ in range(TRIES - 1):
            try:
                return self._at_once(rest, root, secret=target.ready_made is None)
            except MaterialError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(PAUSE)
        return self._at_once(rest, root, secret=target.ready_made is None)

    def _at_once(self, rest: str, root: Path, *, secret: bool) -> Content:
        data, mode = _read_inside(rest, root, MAX_BYTES)
        if secret and mode & _OTHERS:
            self._open_to_others[rest] = None
        return binary(data)


def read_inside(path: str, root: Path, *, most: int = MAX_BYTES) -> bytearray:
    """A regular file of at most `most` bytes, by its path from `root`, which it is inside. Raises MaterialError."""
    return _read_inside(path, root, most)[0]


def _read_inside(path: str, root: Path, most: int) -> tuple[bytearray, int]:
    """The file's bytes and its mode."""
    if path.startswith("/"):
        raise MaterialError(f"{_shown(path)} is an absolute path", code="MaterialOutsideRoot")
    with _told(path, root):
        return _read(path, root, most)


def _read(path: str, root: Path, most: int) -> tuple[bytearray, int]:
    real_root = _real(root)
    real = Path(os.path.realpath(os.path.join(real_root, path)))  # what is missing, _open says  # noqa: PTH118
    if not real.is_relative_to(real_root):
        raise MaterialError(f"{_shown(path)} is outside the folder {real_root}", code="MaterialOutsideRoot")
    if real == real_root:
        raise _not_regular(path, stat.S_IFDIR)
    with _open(real_root, real.relative_to(real_root), path) as file:
        return _contents(file, path, most), os.fstat(file.fileno()).st_mode


@lru_cache(maxsize=8)
def _real(root: Path) -> Path:
    """Asked once a run, not once a key: pathlib's resolve looks at every folder on the way."""
    return root.resolve(strict=True)


def _open(real_root: Path, inside: Path, path: str) -> FileIO:
    """Opens component by component and follows no link any more, so that none put there since leads out."""
    folder = os.open(real_root, _FOLDER)
    try:
        for name in inside.parts[:-1]:
            outer, folder = folder, os.open(name, _FOLDER, dir_fd=folder)
            os.close(outer)
        seen = os.stat(inside.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(seen.st_mode):  # before opening: opening a device can have effects
            raise _not_regular(path, seen.st_mode)
        file = FileIO(os.open(inside.name, _FILE, dir_fd=folder))
    finally:
        os.close(folder)
    opened = os.fstat(file.fileno())
    if (opened.st_dev, opened.st_ino) != (seen.st_dev, seen.st_ino):
        file.close()
        raise MaterialError(f"{_shown(path)} was replaced while it was opened", code="MaterialUnreadable")
    return file


def _contents(file: FileIO, path: str, most: int) -> bytearray:
    size = os.fstat(file.fileno()).st_size
    if size > most:
        what = "no key material has more than" if most == MAX_BYTES else "allowed are"
        raise MaterialError(f"{_shown(path)} holds {size} bytes; {what} {most}", code="MaterialWrongLength")
    if not size:
        raise MaterialError(f"{_shown(path)} is empty", code="MaterialWrongLength")
    data = bytearray(size)  # of the final size: growing would leave copies behind that are never wiped
    at = 0
    with memoryview(data) as view:
        while at < size and (count := file.readinto(view[at:])):
            at += count
    if at != size or file.read(1):
        data[:] = bytes(size)
        raise MaterialError(f"{_shown(path)} changed while it was read", code="MaterialUnreadable")
    return data


@contextmanager
def _told(path: str, root: Path) -> Iterator[None]:
    """Translates the system's errors. None of them holds anything but the path and a number."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, UnicodeEncodeError):  # the last: no file can have such a name
        raise MaterialError(f"there is no file {_shown(path)} in {root}", code="MaterialNotFound") from None
    except RuntimeError:  # how Python before 3.13 reports links that form a circle
        raise MaterialError(f"{_shown(path)}: links go in a circle", code="MaterialUnreadable") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if open_files.is_shortage(error):
            raise MaterialError(
                f"{_shown(path)} cannot be read: {reason} ({errno.errorcode[error.errno or 0]})",
                code="MaterialUnreadable",
                retryable=True,
                advice=open_files.ADVICE,
            ) from None
        raise MaterialError(f"{_shown(path)} cannot be read: {reason}", code="MaterialUnreadable") from None


def _not_regular(path: str, mode: int) -> MaterialError:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a link"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return MaterialError(f"{_shown(path)} is {kind}, not a regular file", code="MaterialUnreadable")


def _shown(path: str) -> str:
    """The path for a message: quoted, control characters escaped, not endless."""
    return repr(path if len(path) <= 200 else path[:200] + "…")


def _opened(opening: Opening) -> Opened:
    source = FileSource(opening.root)
    return Opened(source=source, close=source.close)


KIND = Kind(
    scheme="file",
    form="file:PATH",
    summary="a file inside the manifest's folder (or --material-root)",
    parse=parse,
    covers=by_file,
    open=_opened,
    checked_offline=True,
    shared=False,
    settings=("--material-root",),
)
