"""A target's result in one byte: its status, and the facts that the run's ending depends on.

So that 100,000 targets need 100,000 bytes while a journal is read, and not their results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from bulk_import.codes import CUTS_SHORT
from bulk_import.model import Status
from bulk_import.model.result import unproved
from bulk_import.model.run import Summary

_STATUSES: Final = tuple(status.value for status in Status)
_STATUS: Final = 0b0000_0111
_UNPROVED: Final = 0b0000_1000
CUT_SHORT: Final = 0b0001_0000
INTERNAL: Final = 0b0010_0000
CHANGED: Final = 0b1000_0000  # a change took effect
UNREAD: Final = 0b0100_0000  # ended OK before a resume that has not read it again


def mark(result: Mapping[str, Any]) -> int:
    """Of a result as the journal has it."""
    status = Status(result["status"])
    verification, error = result["verification"], result["error"]
    byte = _STATUSES.index(status.value)
    if unproved(status, verification):
        byte |= _UNPROVED
    byte |= CHANGED if result["changed"] else 0
    if error is not None:
        byte |= CUT_SHORT if error["code"] in CUTS_SHORT else 0
        byte |= INTERNAL if error["code"] == "InternalError" else 0
    return byte


def unfinished(status: Status) -> int:
    """Of a target without a result."""
    return _STATUSES.index(status.value) | CUT_SHORT


def resumed(byte: int) -> int:
    """What becomes of it at a resume that reads again what ended OK."""
    return byte | UNREAD if Status(_STATUSES[byte & _STATUS]).well else byte


def count(marks: bytearray) -> tuple[Summary, int]:
    """The summary, and every flag that any target has."""
    counts: Counter[str] = Counter()
    unproved = flags = 0
    for byte, number in Counter(marks).items():
        if byte & UNREAD:
            counts[Status.FAILED.value] += number
            flags |= CUT_SHORT
            continue
        counts[_STATUSES[byte & _STATUS]] += number
        unproved += number if byte & _UNPROVED else 0
        flags |= byte
    return Summary(total=len(marks), unproved=unproved, **{s: counts[s] for s in _STATUSES}), flags
