"""Reading a journal back: whole lines only, in order, each checked."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from bulk_import import open_files, strict_json
from bulk_import.errors import JournalError, Problem

# Bytes; a longer line is not a journal's. An event has about 1,500, and 80 more for each read of a long verification.
LONGEST_LINE: Final = 1 << 26

# What to do where a journal is of no use.
START_AGAIN: Final = "Run again without --resume: the run converges from KMS's own state."
READABLE: Final = "Check its permissions."
NEWER: Final = f"Use the version of bulk-import that wrote it. {START_AGAIN}"

_TAIL: Final = len(b',"crc":"00000000"}\n')


class JournalReader:
    """Iterates a journal's events as (offset of the line, event), from the start.

    A last line whose CRC is wrong was torn by a kill or a full disk: the iteration ends before it. So does it at a line
    without an end, though more may have come since: a run at work is just writing it. Anything else that does not
    check (a line before it, the order) raises JournalError with the line.
    The attributes are right after the iteration.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.whole = 0  # bytes of whole lines
        self.torn = 0  # bytes of a torn last line
        self.last_seq = 0  # of the last whole line; 0: there is none
        self.sha256 = ""  # of the whole file, torn line included

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        digest = hashlib.sha256()
        try:
            with self.path.open("rb", buffering=1 << 20) as stream:
                for line in iter(partial(stream.readline, LONGEST_LINE), b""):
                    digest.update(line)
                    event = parse(line)
                    if event is None and (_cut_off(line) or not stream.read(1)):
                        self.torn = len(line)
                        break
                    if event is None or event.get("seq") != self.last_seq + 1:
                        raise self._damaged(event)
                    offset = self.whole
                    self.whole += len(line)
                    self.last_seq += 1
                    yield offset, event
        except OSError as error:
            advice = f"{open_files.RAISE}." if open_files.is_shortage(error) else READABLE
            raise JournalError(
                [Problem(str(self.path), 0, "", f"the journal cannot be read: {error.strerror}.", advice)]
            ) from error
        self.sha256 = digest.hexdigest()

    def problem(self, message: str, advice: str) -> JournalError:
        """About the line that was read last."""
        return JournalError([Problem(str(self.path), self.last_seq, "", message, advice)])

    def _damaged(self, event: dict[str, Any] | None) -> JournalError:
        line = self.last_seq + 1
        if event == {}:
            what = "this line was changed: a name occurs twice in it, or it is not JSON."
        elif event is not None:
            what = f"events are missing here: seq is {event.get('seq')}, not {line}."
        elif line == 1:
            what = "this is not a journal of bulk-import."
        else:
            what = "this line is damaged (its checksum is wrong), and others follow."
        advice = START_AGAIN if line > 1 else "Name the journal of a run."
        return JournalError([Problem(str(self.path), line, "", what, advice)])


def _cut_off(line: bytes) -> bool:
    """Whether the file ended here when it was read."""
    return not line.endswith(b"\n") and len(line) < LONGEST_LINE


def parse(line: bytes) -> dict[str, Any] | None:
    """One line, its newline included, as an event; None where it is not whole or its CRC is wrong.

    Empty where the program has not written it: it is not JSON, or a name occurs twice in it.
    """
    body = line[:-_TAIL]
    if line[-_TAIL:] != b',"crc":"%08x"}\n' % zlib.crc32(body):
        return None
    try:
        event = strict_json.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}
