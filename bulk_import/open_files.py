"""The limit of open files: as high as the system allows, with a few kept for the report.

The limit of a running process can be lowered (prlimit). What is open stays open, but nothing new is opened
whose number is not below the limit. So a run holds a few low numbers from its start, and gives them back when it
writes its report.

https://man7.org/linux/man-pages/man2/getrlimit.2.html
"""

from __future__ import annotations

import errno
import os
import resource
from typing import Final, TypeGuard

# Open files that a run can use: a connection for each call in flight. Many systems give 1,024 and allow more.
MOST: Final = 65_536
# At once: the journal, the report, its sum and their folder, or a rendering; and what the event loop needs to close.
RESERVED: Final = 6
# What one lane needs, with those: the event loop, the manifest, the journal, a few connections, modules that are loaded
# late. With fewer, the event loop aborts the process without a message.
LEAST: Final = 20
RAISE: Final = "Raise the limit of open files (ulimit -n)"
_reserved: Final[list[int]] = []  # of the process, as the limit is
ADVICE: Final = f"{RAISE}, or set a lower --max-in-flight."


def raise_limit() -> None:
    """To what the system allows this process, at most MOST."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def limit() -> int:
    """Of this process, now; RLIM_INFINITY (-1) if there is none."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_shortage(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether `error` says that this process (EMFILE) or the system (ENFILE) has too many open files."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def left(most: int) -> int:
    """How many files can be opened now, counted up to `most`."""
    tried: list[int] = []
    try:
        _open(tried, most)
    finally:
        for number in tried:
            os.close(number)
    return len(tried)


def reserve() -> None:
    """Holds RESERVED numbers, as low as they are, until `release`; fewer where the limit is too low already."""
    _open(_reserved, RESERVED)


def _open(numbers: list[int], count: int) -> None:
    """Adds to `numbers` until there are `count`, or until no more files can be opened."""
    try:
        while len(numbers) < count:
            numbers.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if not is_shortage(error):
            raise


def release() -> None:
    """Gives the numbers back, and raises a limit that was lowered as far as the system allows."""
    while _reserved:
        os.close(_reserved.pop())
    raise_limit()
