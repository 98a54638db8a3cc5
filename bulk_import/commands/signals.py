"""SIGINT, SIGTERM and SIGHUP: `at_once` for commands that change nothing, `Signals` for a run.

before the work   nothing can have changed: the command ends at once
at work           the first drains, a second makes it urgent (run/stop.py)
after the work    only the report is still written: the first signal lets that end, a second does not
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bulk_import import process
from bulk_import.commands import output
from bulk_import.errors import Interrupted
from bulk_import.run.stop import Stop


@contextmanager
def at_once() -> Iterator[None]:
    """Around a command: the first signal ends it with Interrupted, by way of its event loop where one runs.

    Also where Python would take SIGTERM for nothing of its own: as process 1 of a container it would not end at all.
    """
    heard: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise Interrupted(number, _said(number)) from None
        heard.append(number)
        loop.call_soon_threadsafe(_cancel_all, loop)

    before = {number: signal.signal(number, on_signal) for number in process.heard()}
    kind: type[BaseException] | None = None
    try:
        yield
    except asyncio.CancelledError:
        kind = Interrupted
        raise Interrupted(heard[0], _said(heard[0])) from None
    except Interrupted:
        kind = Interrupted
        raise
    finally:
        _restore(before, kind)


def _said(number: int) -> str:
    return f"Stopped by {signal.Signals(number).name} before its end. No key was changed."


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _restore(handlers: Mapping[signal.Signals, Any], kind: type[BaseException] | None) -> None:
    """One that is interrupted is on its way out, with its exit code: a further signal must not change that."""
    for number, handler in handlers.items():
        over = kind is Interrupted or handler is process.end_at_once  # that one is for the time before a command
        signal.signal(number, signal.SIG_IGN if over else handler)


class Signals:
    """A context manager around the whole command; `attach` it when the event loop runs.

    Plain signal handlers, and not the loop's: those would be deaf while a manifest is read or a report is written.
    """

    def __init__(self, grace: float) -> None:
        """`grace` in seconds, for the message."""
        self._grace = grace
        self._stop: Stop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._count = 0

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._on_signal) for number in process.heard()}
        return self

    def __exit__(self, *_: object) -> None:
        """What is around it (`at_once`) would say of a run that has ended that it changed nothing."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def attach(self, stop: Stop) -> None:
        """From here on signals go to `stop`. Called by the task that does the run."""
        self._stop, self._loop, self._task = stop, asyncio.get_running_loop(), asyncio.current_task()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Raises Interrupted where there is nothing to drain. Runs between any two steps of the main thread."""
        self._count += 1
        name = signal.Signals(number).name
        if self._stop is None or self._loop is None:
            raise Interrupted(number, f"Stopped by {name} before anything was changed.")
        if not self._stop.done:
            self._loop.call_soon_threadsafe(self._tell, name)
        elif self._count == 1:
            # Past sys.stderr, which may be in the middle of a line.
            os.write(2, f"{name}: the work is done, the report is being written. Again: at once.\n".encode())
            self._in_the_loop(self._stop.request, name)  # what is sent elsewhere has its grace, too
        elif self._loop_turns:
            self._in_the_loop(self._stop.urgent.set)
        else:
            raise Interrupted(number, f"Stopped by {name} before the report was written. The journal has all of it.")

    @property
    def _loop_turns(self) -> bool:
        """False where the run's own code is at work, or blocked: raised there, an exception ends it in an orderly way.

        Between its steps an exception would end up with one of the loop's callbacks, and that which waits for it wait
        forever.
        """
        if self._loop is None or self._loop.is_closed():
            return False
        return asyncio.current_task(self._loop) is not self._task

    def _in_the_loop(self, call: Callable[..., None], *arguments: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _tell(self, name: str) -> None:
        if self._stop is None:
            return
        if self._stop.requested.is_set():
            self._stop.urgent.set()
            return
        output.say(f"{name}: no new target starts; calls in flight may take {self._grace:g} s. Again: at once.")
        self._stop.request(name)
