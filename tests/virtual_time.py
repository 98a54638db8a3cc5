"""An event loop whose time is a number: it jumps to the next timer, so that hours of waiting take no time at all.

Deterministic: nothing but the order of events decides what happens. A program that waits for something that can
never come raises Deadlock instead of hanging, which is how the tests find a lost permit or a place never given back.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START = 1000.0  # not 0: a time that is falsy would hide mistakes
TICK = 1e-9  # no timer fires sooner: on a real clock, too, some time has passed when a coroutine looks again
EXACT = 1e-6  # two instants nearer than this are the same one: some rounding, and a thousand ticks


class Deadlock(AssertionError):
    """Every task waits for something that no timer will bring."""


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.turns = 0
        self.in_turn: dict[int, Callable[[], object]] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Instead of waiting, moves the clock by `timeout` seconds."""
        self.turns += 1
        if callback := self.in_turn.get(self.turns):
            callback()
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("nothing is ready, and no timer is set: nobody will ever wake anybody")
        self.now += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Serves coroutines that do no input or output and start no threads."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)
        self._clock_resolution = TICK / 2

    def time(self) -> float:
        return self._virtual.now

    def in_turn(self, turn: int, callback: Callable[[], object]) -> None:
        """Calls back before anything else happens in that turn of the loop, counted from now: 1 is the next."""
        turns = self._virtual.turns + turn
        self._virtual.in_turn[turns] = lambda: self.call_soon(callback)

    def call_at(self, when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        return super().call_at(max(when, self.time() + TICK), *args, **kwargs)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` in virtual time to the end."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
