"""The throttler of one lane and quota: paced so that KMS, which judges a call on arrival, finds no burst.

https://docs.aws.amazon.com/kms/latest/developerguide/throttling.html
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from asyncio_throttle.throttler import Throttler

from bulk_import.aws.pace.places import Places

SLOWEST = 1 / 16  # a throttled lane never goes below this share of its quota
DECREASE = 0.8  # on a throttled call: others use the quota too
# Shares of the quota that a call which is not throttled gives back. After one throttled call by chance: this much,
# twice that on the next, and so on; it costs a lane half a second.
INCREASE = 0.05
# While throttled calls come again within CALM calls, a neighbour uses the quota too, and each probe above what it
# leaves wastes a period. (Simulated, a neighbour at 0.7 of 1 a second: 1.2 x the time that the rest of the quota
# takes, for 1.8 x with INCREASE alone, and half of the throttled calls.)
PROBE = 0.005
CALM = 16

MOST_SETTLED = 32  # permits in a window: beyond, what one call's way takes is lost in the bucket's capacity
# After so many answers, and so many rounds of all its lanes, the quickest answer of a Region is known.
ENOUGH_ANSWERS = 5
ROUNDS = 2

# Of a period. Once the quickest way is known, calls are taken for late by this on the average at most: answers that
# take KMS differently long look late, too, and must not slow a lane forever. What is not used is saved up, so that a
# stall now and then, on the way or here, counts whole.
EXCESS = 0.1
SAVED_EXCESS = 2.0

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class Quickest:
    """The quickest answer so far: what a call's way to KMS and back takes at least, in one Region and for one quota.

    Of all lanes of the Region: their calls go the same way, and one lane has too few of them. Where many lanes start
    at once, their first calls are all slow, and the least slow of them says nothing of the way. So it is known only
    after a few answers, `ROUNDS` from each lane among them.
    """

    __slots__ = ("_answers", "_known_since", "_lanes", "_seconds")

    def __init__(self) -> None:
        self._seconds = math.inf
        self._answers = 0
        self._lanes = 0
        self._known_since = math.inf

    def join(self) -> None:
        """One lane more."""
        self._lanes += 1

    def excess(self, sent: float, answered: float) -> tuple[float, bool]:
        """Seconds that this answer took longer than the quickest before it, and whether that was known.

        All that it took where it was not.
        """
        latency = answered - sent
        known = sent >= self._known_since
        return max(0.0, latency - self._seconds) if known else latency, known

    def learn(self, sent: float, answered: float) -> None:
        """Of a call that KMS did: a refusal or a reset comes sooner than any such answer, and says nothing of it."""
        self._seconds = min(self._seconds, answered - sent)
        self._answers += 1
        if self._known_since == math.inf and self._answers >= max(ENOUGH_ANSWERS, ROUNDS * self._lanes):
            self._known_since = answered


class PacedThrottler(Throttler):
    """At most `rate_limit` permits in any window of `period` seconds, first come first served.

    Only `acquire` differs from asyncio-throttle's: its own polls every 10 ms per waiter, forgets the order of
    arrival, takes the ceiling of a fractional limit and reads the wall's clock. Here one waiter at a time sleeps,
    once, until the oldest permit leaves the window; the others queue behind it on a lock. A rate r is kept
    exactly, as n = max(1, floor(r)) permits in n/r seconds. Adapting means changing `period`.
    """

    def __init__(
        self,
        rate: float,
        *,
        margin: float,
        clock: Clock,
        sleep: Sleep,
        gate: Places,
        quickest: Quickest | None = None,
        scarce: bool = False,
    ) -> None:
        """`gate`: the places in flight; `scarce`: whether calls of this quota get theirs before all others."""
        permits = max(1, math.floor(rate))
        super().__init__(rate_limit=permits, period=permits / rate * (1 + margin))
        self.rate = rate
        self._least_period = self._most_period = self.period
        self._clock = clock
        self._sleep = sleep
        self._gate = gate
        self._scarce = scarce
        self._turn = asyncio.Lock()
        self._quickest = quickest or Quickest()
        self._quickest.join()
        self._spare = SAVED_EXCESS  # of a period, that calls may still be taken for late
        self._increase = INCREASE
        self._unthrottled = CALM  # calls since the last throttled one
        self._by_chance = True

    async def acquire(self) -> float:
        """Waits for a permit and then for a place among the calls in flight; the caller releases that place.

        Returns the permit's time, for `settle`.

        The permit counts from when the place was had, so that no call waits between its permit and the wire;
        and no place is held while waiting for the permit. Cancelled at any point it takes neither.
        """
        async with self._turn:
            log = self._task_logs
            while len(log) >= self.rate_limit:
                wait = log[0] + self.period - self._clock()
                if wait > 0:
                    await self._sleep(wait)
                else:
                    log.popleft()
            await self._gate.acquire(scarce=self._scarce)
            permitted = self._clock()
            log.append(permitted)
            return permitted

    def settle(self, permitted: float, sent: float | None, *, done: bool = True) -> None:
        """The call of this permit was sent at `sent` and has ended now: it counts from when it may have reached KMS.

        KMS judges a call on arrival. One that was long on its way arrives late, and the next, sent on time, too
        early: pacing by the time of the permit alone gets calls throttled. A call is late by what it waited between
        permit and wire (for the processor, for its connection), and may be late by as much as its answer took longer
        than the quickest one so far. Until it is answered it counts from its permit: a lane does not stand still
        behind a call that takes longer than its period. `sent` None: it never left; `done`: KMS did what it was asked.
        """
        if self.rate_limit > MOST_SETTLED or sent is None:
            return
        answered = self._clock()
        excess, known = self._quickest.excess(sent, answered)
        if known:
            excess = min(excess, self._spare * self.period)
            self._spare = min(SAVED_EXCESS, self._spare - excess / self.period + EXCESS)
        arrived = sent + excess
        if done:
            self._quickest.learn(sent, answered)
        log = self._task_logs
        for index in range(len(log) - 1, -1, -1):
            if log[index] == permitted:
                newer = log[index + 1] if index + 1 < len(log) else math.inf
                log[index] = min(max(permitted, arrived), newer)  # the log stays in order
                return

    @property
    def effective_rate(self) -> float:
        """Requests per second now, margin included."""
        return float(self.rate_limit / self.period)

    @property
    def lowest_rate(self) -> float:
        """The least that `effective_rate` ever was."""
        return float(self.rate_limit / self._most_period)

    def throttled(self) -> None:
        """KMS refused a call for its rate: slow down multiplicatively."""
        self.period = min(self.period / DECREASE, self._least_period / SLOWEST)
        self._most_period = max(self._most_period, self.period)
        self._by_chance = self._unthrottled >= CALM
        self._unthrottled = 0
        self._increase = INCREASE

    def succeeded(self) -> None:
        """A call was not throttled: come back additively, quickly where nobody else seems to use the quota."""
        self._unthrottled += 1
        if self.period <= self._least_period:
            return
        alone = self._by_chance or self._unthrottled > CALM
        share = min(1.0, self._least_period / self.period + (self._increase if alone else PROBE))
        self.period = self._least_period / share
        if alone:
            self._increase *= 2
