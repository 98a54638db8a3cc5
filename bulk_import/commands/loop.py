"""The event loop of the commands: uvloop, which makes every call a quarter cheaper than asyncio's own."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

# Net allocations before the collector looks at the youngest objects, and how seldom at the older ones. Python's default
# (700, 10, 10) walks all that a thousand lanes keep alive again and again: a third of a run's CPU (tests/bench, `cpu`).
# What refers to itself in a circle is still collected, later.
COLLECT = (20_000, 20, 50)


# Open files that a run can use: a connection for each call in flight. Many systems give 1,024 and allow more.
MOST_FILES = 65_536


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run."""
    _raise_limit_of_files()
    gc.freeze()  # what the imports have made stays to the end: nothing in it is ever garbage
    gc.set_threshold(*COLLECT)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _raise_limit_of_files() -> None:
    """To what the system allows this process. https://man7.org/linux/man-pages/man2/getrlimit.2.html"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
