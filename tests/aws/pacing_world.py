"""One throttler, its callers, and KMS's token bucket, in virtual time: what the tests of pacing share."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from bulk_import.aws.pace.pacing import (
    PacedThrottler,
    Quickest,
)
from bulk_import.aws.pace.places import Places
from tests.virtual_time import EXACT, run

RATES = (0.1, 0.25, 1.0, 1.5, 15.0, 2000.0)
NEVER = math.inf
untimed = settings(deadline=None)  # the machine's own time says nothing here


@dataclass(frozen=True)
class Call:
    """Someone who wants a permit. Seconds after the start; `gives_up`: is cancelled then."""

    arrives: float
    latency: float = 0.0
    gives_up: float = NEVER


@dataclass
class Seen:
    """What happened: permits in the order in which they were given."""

    permits: list[tuple[int, float]] = field(default_factory=list)  # (who, when)
    answers: dict[int, float] = field(default_factory=dict)
    sleeps: list[float] = field(default_factory=list)
    asleep_at_once: int = 0

    @property
    def times(self) -> list[float]:
        return [when for _, when in self.permits]

    @property
    def order(self) -> list[int]:
        return [who for who, _ in self.permits]


class World:
    """One throttler, its callers, and a loop whose time jumps."""

    def __init__(
        self,
        rate: float,
        *,
        margin: float = 0.0,
        places: int = 10_000,
        settles: bool = False,
        quickest: Quickest | None = None,
    ) -> None:
        self.seen = Seen()
        self.places = places
        self._settles = settles
        self._sleepers = 0
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.gate = Places(places)
        self.throttler = PacedThrottler(
            rate, margin=margin, clock=self.now, sleep=self._sleep, gate=self.gate, quickest=quickest
        )

    def now(self) -> float:
        return self._loop.time() - self._began

    async def _sleep(self, seconds: float) -> None:
        assert seconds > 0
        if seconds > EXACT:  # what rounding leaves over is no wait
            self.seen.sleeps.append(seconds)
        self._sleepers += 1
        self.seen.asleep_at_once = max(self.seen.asleep_at_once, self._sleepers)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._sleepers -= 1

    async def serve(self, calls: list[Call]) -> Seen:
        async with asyncio.TaskGroup() as group:
            for who, call in sorted(enumerate(calls), key=lambda item: item[1].arrives):
                if call.arrives > self.now():
                    await asyncio.sleep(call.arrives - self.now())
                task = group.create_task(self._call(who, call))
                if call.gives_up < NEVER:
                    self._loop.call_at(self._began + call.gives_up, task.cancel)
                await asyncio.sleep(0)  # its turn in the queue
        await self._no_place_is_lost()
        return self.seen

    async def _call(self, who: int, call: Call) -> None:
        permitted = await self.throttler.acquire()
        assert permitted == pytest.approx(self.now(), abs=EXACT)
        self.seen.permits.append((who, permitted))
        try:
            if call.latency:
                await asyncio.sleep(call.latency)
        finally:
            self.gate.release()
            self.seen.answers[who] = self.now()
            if self._settles:
                self.throttler.settle(permitted, permitted)

    async def _no_place_is_lost(self) -> None:
        """As many places as there were in the beginning: a lost one would make the last `acquire` a deadlock."""
        for _ in range(self.places):
            await self.gate.acquire()
        assert self.gate.locked()  # and not one more


def serve(rate: float, calls: list[Call], *, margin: float = 0.0, places: int = 64, settles: bool = False) -> Seen:
    async def main() -> Seen:
        return await World(rate, margin=margin, places=places, settles=settles).serve(calls)

    return run(main())


def window(rate: float, margin: float = 0.0) -> tuple[int, float]:
    """A rate as the most permits in a window of so many seconds."""
    permits = max(1, math.floor(rate))
    return permits, permits / rate * (1 + margin)


def most_in_a_window(times: list[float], seconds: float) -> int:
    """In any half-open window of this length."""
    most = first = 0
    for last, when in enumerate(times):
        while when - times[first] >= seconds - EXACT:
            first += 1
        most = max(most, last - first + 1)
    return most


def refused_by_bucket(arrivals: list[float], rate: float, capacity: float | None = None) -> int:
    """KMS's side: a token bucket that holds a second's worth of requests, at least one."""
    capacity = capacity or max(1.0, rate)
    level, last, refused = capacity, 0.0, 0
    for when in sorted(arrivals):
        level, last = min(capacity, level + (when - last) * rate), when
        if level >= 1 - EXACT * max(1.0, rate):
            level -= 1
        else:
            refused += 1
    return refused


milliseconds = st.integers(0, 30_000).map(lambda n: n / 1000)
latencies = st.integers(0, 3_000).map(lambda n: n / 1000)
crowds = st.lists(st.builds(Call, arrives=milliseconds, latency=latencies), min_size=1, max_size=40)
rates = st.sampled_from(RATES)
margins = st.sampled_from((0.0, 0.03, 0.5))


def queue(calls: list[Call]) -> list[int]:
    """Who stands where: by arrival, then by the order of asking."""
    return sorted(range(len(calls)), key=lambda who: calls[who].arrives)
