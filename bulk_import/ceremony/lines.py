"""The files of a ceremony as bytes: JSON Lines, of which each names its place and the line before it.

    {"line":1,"after":"0000000000000000", …,"check":"1f3a…"}
    {"line":2,"after":"1f3a…", …,"check":"77b0…"}

`check` is the beginning of the SHA-256 of the line without it, and `after` is the `check` of the line before. Who
changes a line can compute them again, so they guard nothing: they say which line was changed, moved, repeated or cut
off. What guards a file is its fingerprint, the SHA-256 of all its bytes, which people compare, or a signature of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from bulk_import import strict_json
from bulk_import.errors import InputError, Problem
from bulk_import.files import real, write_all

FIRST: Final = "0" * 16
LARGEST: Final = 1 << 30  # bytes; a line has about 2,500
LONGEST_LINE: Final = 1 << 16
_FIRST_LINE: Final = b'{"line":1,'  # how every file of a ceremony begins
_CHECK: Final = b',"check":"'
_END: Final = len(_CHECK) + 16 + len(b'"}')


class CeremonyError(InputError):
    """A bundle or a sealed file cannot be used."""


def refuse(path: str | Path, line: int, message: str, advice: str) -> CeremonyError:
    return CeremonyError([Problem(str(path), line, "", message, advice)])


def encode(line: int, after: str, members: dict[str, Any]) -> tuple[bytes, str]:
    """One line with its end, and its `check`."""
    body = orjson.dumps({"line": line, "after": after, **members})[:-1]
    check = hashlib.sha256(body).hexdigest()[:16]
    return b'%b%b%b"}\n' % (body, _CHECK, check.encode()), check


class LineWriter:
    """Appends lines to a file of mode 0600, each at once: a kill loses at most the line that is being written.

    A link stays a link: the lines go to the file that it points to.
    """

    def __init__(self, path: Path, *, line: int = 0, after: str = FIRST) -> None:
        """`line`, `after`: of the last line that the file has. Raises OSError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (0 if line else os.O_EXCL)
        self._descriptor = os.open(real(path), flags, 0o600)
        self._line, self._after = line, after

    def write(self, members: dict[str, Any]) -> None:
        """Raises OSError."""
        data, check = encode(self._line + 1, self._after, members)
        write_all(self._descriptor, data)
        self._line, self._after = self._line + 1, check

    def close(self) -> None:
        """Returns when all is on disk. Raises OSError."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def read_bytes(path: Path) -> bytes:
    """Raises CeremonyError."""
    try:
        if path.stat().st_size > LARGEST:
            raise refuse(path, 0, "is too large for a file of a ceremony.", "Name a bundle or a sealed file.")
        return path.read_bytes()
    except OSError as error:
        raise refuse(path, 0, f"cannot be read: {error.strerror}.", "Check the path.") from None


def begun(path: Path, kind: str) -> bytes | None:
    """The whole lines of a file that a step of the ceremony has begun to write; None: there are none.

    A kill can leave a part of a line at the end. Raises CeremonyError where the file is nothing that a step wrote.
    """
    if not path.exists():
        return None
    if not path.is_file():
        raise refuse(path, 0, "is not a file.", "Name one.")
    data = read_bytes(path)
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and not (data.startswith(_FIRST_LINE) or _FIRST_LINE.startswith(data)):
        raise refuse(path, 0, f"is not {kind}: it may be key material.", "Name another file.")
    return whole or None


def cut(path: Path, whole: bytes | None) -> None:
    """Removes the part of a line that a kill left behind the whole lines. Raises OSError."""
    if path.exists():
        if whole is None:
            real(path).unlink()
        elif path.stat().st_size > len(whole):
            os.truncate(path, len(whole))


def fingerprint(data: bytes) -> str:
    """SHA-256, 64 hex digits: what `sha256sum` shows."""
    return hashlib.sha256(data).hexdigest()


def prefixes(data: bytes) -> Iterator[str]:
    """The fingerprints of the file as it was after each of its lines: a bundle may grow after a part of it was used."""
    digest = hashlib.sha256()
    for line in data.splitlines(keepends=True):
        digest.update(line)
        yield digest.copy().hexdigest()


def last_check(data: bytes) -> str:
    """The `check` of the last line of a file whose lines were read."""
    return data.rstrip(b"\n")[-18:-2].decode()


def lines(path: str | Path, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines with their numbers, from 1. Raises CeremonyError with the number of the first wrong one."""
    after, known = FIRST, set[str]()
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line:
            if number <= data.count(b"\n"):
                raise refuse(path, number, "is empty.", _GET_IT_AGAIN)
            return
        members = _one(path, number, line, last=number > data.count(b"\n"))
        if members["line"] != number or members["after"] != after:
            raise refuse(path, number, _misplaced(members, number, known), _GET_IT_AGAIN)
        after = members["check"]
        known.add(after)
        yield number, {name: value for name, value in members.items() if name not in ("line", "after", "check")}


_GET_IT_AGAIN: Final = "Get the file again from the person who made it, and compare its fingerprint."


def _one(path: str | Path, number: int, line: bytes, *, last: bool) -> dict[str, Any]:
    if last:
        raise refuse(path, number, "is cut off in the middle.", _GET_IT_AGAIN)
    if len(line) > LONGEST_LINE:
        raise refuse(path, number, "is too long for a line of this file.", _GET_IT_AGAIN)
    try:
        members = strict_json.loads(line)
    except orjson.JSONDecodeError:
        raise refuse(path, number, "is not JSON.", _GET_IT_AGAIN) from None
    if not isinstance(members, dict) or not {"line", "after", "check"} <= members.keys():
        raise refuse(path, number, "is not a line of a bundle or a sealed file.", _GET_IT_AGAIN)
    if hashlib.sha256(line[:-_END]).hexdigest()[:16] != members["check"]:
        raise refuse(path, number, "was altered: it does not fit its own check.", _GET_IT_AGAIN)
    return members


def _misplaced(members: dict[str, Any], number: int, known: set[str]) -> str:
    if members["check"] in known:
        return f"is a copy of line {members['line']}."
    if isinstance(members["line"], int) and members["line"] > number:
        return f"says that it is line {members['line']}: lines are missing or in another order."
    return "does not follow the line before it: it was moved here, or comes from another file."
