"""Memory that holds key material: kept out of swap where the system allows it, and overwritten after use.

mlock(2) locks complete pages, and unlocking is not counted by the system: two secrets can share a page. So this
module counts the secrets of each page, and unlocks a page only when the last of them is wiped.
https://man7.org/linux/man-pages/man2/mlock.2.html
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

log = structlog.get_logger()

_PAGE: Final = mmap.PAGESIZE
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LOCK: Final = threading.Lock()  # sources may run in threads
_HELD: Final[Counter[int]] = Counter()  # page → secrets on it
_said = False


def lock(buffer: bytearray) -> list[int]:
    """Locks the pages of `buffer`. Returns them for `unlock`; empty if the system refuses, which is logged once."""
    pages = _pages(buffer)
    with _LOCK:
        done: list[int] = []
        for page in pages:
            if not _HELD[page] and not _call("mlock", page):
                _release(done)
                _say_once()
                return []
            _HELD[page] += 1
            done.append(page)
        return done


def unlock(pages: list[int]) -> None:
    """Ends one use of these pages. The caller has overwritten what it held there."""
    with _LOCK:
        _release(pages)


def wipe(buffer: bytearray) -> None:
    """Overwrites `buffer` in place."""
    buffer[:] = bytes(len(buffer))


@contextmanager
def lent(data: memoryview) -> Iterator[bytes]:
    """A copy of `data` as `bytes`, overwritten afterwards: for a library that takes nothing else, and keeps nothing."""
    copy = bytes(data)
    try:
        yield copy
    finally:
        overwrite(copy)


def overwrite(data: bytes) -> None:
    """Overwrites `bytes` in place, through the pointer that ctypes gives to C functions.

    `bytes` must never change for anyone who holds them, so nobody else may: a library has just made them for us.
    """
    if len(data) > 1:  # Python shares those of one byte
        ctypes.memset(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), 0, len(data))


def _release(pages: list[int]) -> None:
    for page in pages:
        _HELD[page] -= 1
        if not _HELD[page]:
            del _HELD[page]
            _call("munlock", page)


def _pages(buffer: bytearray) -> list[int]:
    if not buffer:
        return []
    start = ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
    first = start - start % _PAGE
    return list(range(first, start + len(buffer), _PAGE))


def _call(name: str, page: int) -> bool:
    function = getattr(_LIBC, name, None)  # absent on systems that are not POSIX
    return function is not None and function(ctypes.c_void_p(page), ctypes.c_size_t(_PAGE)) == 0


def _say_once() -> None:
    global _said  # noqa: PLW0603 - once per process, by the first source
    if not _said:
        _said = True
        log.warning("key material cannot be locked in memory and may be swapped; raise `ulimit -l` (RLIMIT_MEMLOCK)")
