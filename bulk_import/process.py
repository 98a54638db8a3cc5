"""The process before its first line of work: signals, memory, and standard streams.

Imports nothing that takes long: process 1 of a container ignores SIGTERM until somebody handles it, and the libraries
take half a second to load.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def begin() -> None:
    """To be called once, first. `commands/signals.py` takes the signals over when a command starts."""
    for number in heard():
        signal.signal(number, end_at_once)
    keep_memory_private()
    open_streams()


def heard() -> list[signal.Signals]:
    """The signals that stop a command. Not SIGHUP where the caller ignores it: that is what `nohup` does."""
    return [
        number for number in STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]


def end_at_once(number: int, _: FrameType | None) -> None:
    """Nothing has begun, so nothing has to be finished."""
    message = f"Stopped by {signal.Signals(number).name} before anything was changed.\n"
    LosingStderr().write(message.encode())
    os._exit(128 + number)


def keep_memory_private() -> None:
    """No core dump, and no debugger or /proc/PID/mem of the same user: the memory holds key material.

    https://man7.org/linux/man-pages/man2/prctl.2.html (PR_SET_DUMPABLE); elsewhere than on Linux, only the core dump.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - nobody else needs it

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def open_streams() -> None:
    """Python has None for a stream that was closed before it started. Then stdin is empty, and stdout refuses.

    A line that stderr does not take (its reader has gone, the disk is full) is lost; nothing else is, least of all
    the exit code: Python itself would end with 120, because its last flush fails.
    """
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115 - a stream for the life of the process
    sys.stdout = sys.stdout or open(os.devnull)  # noqa: PTH123, SIM115 - opened to read: a result must not vanish
    if sys.stderr is None or sys.stderr.fileno() != 2:
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 - messages may
        return
    encoding = sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(LosingStderr(), encoding, errors="backslashreplace", write_through=True)


class LosingStderr(io.RawIOBase):
    """Descriptor 2, without a buffer. What it does not take is lost."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed: ReadableBuffer
        view = memoryview(data).cast("B")
        size = len(view)
        while view:
            try:
                view = view[os.write(2, view) :]
            except OSError:
                break  # only this text is lost
        return size
