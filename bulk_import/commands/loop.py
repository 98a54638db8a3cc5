"""The event loop of the commands: uvloop, which makes every call a quarter cheaper than asyncio's own."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from bulk_import import open_files
from bulk_import.errors import Problem, SettingsError

T = TypeVar("T")

# Net allocations before the collector looks at the youngest objects, and how seldom at the older ones. Python's default
# (700, 10, 10) walks all that a thousand lanes keep alive again and again: a third of a run's CPU (tests/bench, `cpu`).
# What refers to itself in a circle is still collected, later.
COLLECT = (100_000, 20, 50)


def run(work: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run. Raises SettingsError where the limit of open files is too small for a loop."""
    open_files.raise_limit()
    if (left := open_files.left(open_files.LEAST)) < open_files.LEAST:
        work.close()
        message = f"only {left} more files can be opened, and {open_files.LEAST} are needed."
        raise SettingsError([Problem("settings", 0, "", message, f"{open_files.RAISE}.")])
    open_files.reserve()  # before the loop takes the low numbers
    gc.freeze()  # what the imports have made stays to the end: nothing in it is ever garbage
    gc.set_threshold(*COLLECT)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(work)
    finally:
        open_files.release()
        _close(runner)


def _close(runner: asyncio.Runner) -> None:
    """A loop that cannot be closed because the limit of open files was lowered must not hide how the work ended."""
    try:
        runner.close()
    except RuntimeError as error:  # "Cannot close a running event loop": it could not be stopped before
        if not open_files.is_shortage(error.__context__):
            raise
