"""What a process holds in its memory: /proc/PID/mem, which only root may read of a process that is not dumpable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LEFT_OUT = "the memory of the process was not searched: only root may read it. Run the tests as root"
PIECE = 1 << 24  # bytes read at once


def needs_root() -> None:
    if os.geteuid() != 0:
        if os.environ.get("TESTS_NEED_SOURCES"):
            raise RuntimeError(LEFT_OUT)
        pytest.skip(LEFT_OUT)


def found(pid: int, needles: dict[str, bytes]) -> set[str]:
    """The names of those needles that some writable memory of the process holds."""
    missing, here = dict(needles), set()
    longest = max(map(len, needles.values()))
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode, *_ = line.split()
            if not mode.startswith("rw"):
                continue
            start, end = (int(address, 16) for address in place.split("-"))
            for at in range(start, end, PIECE):
                memory.seek(at)
                content = memory.read(min(PIECE + longest, end - at))
                hits = {name for name, needle in missing.items() if needle in content}
                here |= hits
                for name in hits:
                    del missing[name]
            if not missing:
                break
    return here
