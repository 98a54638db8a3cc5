"""Quotas: how often each lane may call each operation, and the throttler that keeps to it.

Quotas are KMS's defaults per account and Region:
https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from asyncio_throttle.throttler import Throttler

from bulk_import.aws.places import Places
from bulk_import.errors import Problem, SettingsError

SCARCE = "GetParametersForImport"  # it sets the pace of every lane

# Requests a second by quota. Operations that share a quota share its name (see QUOTA_OF).
DEFAULT_QUOTAS: dict[str, float] = {
    SCARCE: 1,
    "ImportKeyMaterial": 15,
    "DescribeKey": 2000,
    "GetPublicKey": 2000,
    "ListKeyRotations": 100,
    "CryptographicOperationsSymmetric": 10_000,  # 10,000 to 100,000 by Region; shared by symmetric and HMAC keys
    "AssumeRole": 600,  # of the calling account; all STS operations share it
    # https://docs.aws.amazon.com/servicequotas/latest/userguide/reference_limits.html (it takes 5 more in a burst)
    "GetServiceQuota": 5,
}
QUOTA_OF: dict[str, str] = {
    "Encrypt": "CryptographicOperationsSymmetric",
    "Decrypt": "CryptographicOperationsSymmetric",
    "GenerateMac": "CryptographicOperationsSymmetric",
    "VerifyMac": "CryptographicOperationsSymmetric",
    "GetCallerIdentity": "AssumeRole",
}

SLOWEST = 1 / 16  # a throttled lane never goes below this share of its quota
DECREASE = 0.8  # on a throttled call: others use the quota too
# Shares of the quota that a call which is not throttled gives back. After one throttled call by chance: this much,
# twice that on the next, and so on; it costs a lane half a second.
INCREASE = 0.05
# While throttled calls come again within CALM calls, a neighbour uses the quota too, and each probe above what it
# leaves wastes a period. (Simulated, a neighbour at 0.7 of 1 a second: 1.2 x the time that the rest of the quota takes, for
# 1.8 x with INCREASE alone, and half of the throttled calls.)
PROBE = 0.005
CALM = 16

MOST_SETTLED = 32  # permits in a window: beyond, what one call's way takes is lost in the bucket's capacity
# After so many answers, and so many rounds of all its lanes, the quickest answer of a Region is known.
ENOUGH_ANSWERS = 5
ROUNDS = 2

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

    def excess(self, sent: float, answered: float) -> float:
        """Seconds that this answer took longer than the quickest before it; all that it took while none is known."""
        latency = answered - sent
        excess = max(0.0, latency - self._seconds) if sent >= self._known_since else latency
        self._seconds = min(self._seconds, latency)
        self._answers += 1
        if self._known_since == math.inf and self._answers >= max(ENOUGH_ANSWERS, ROUNDS * self._lanes):
            self._known_since = answered
        return excess


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
        self._least_period = self.period
        self._clock = clock
        self._sleep = sleep
        self._gate = gate
        self._scarce = scarce
        self._turn = asyncio.Lock()
        self._quickest = quickest or Quickest()
        self._quickest.join()
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

    def settle(self, permitted: float, sent: float | None) -> None:
        """The call of this permit was sent at `sent` and has ended now: it counts from when it may have reached KMS.

        KMS judges a call on arrival. One that was long on its way arrives late, and the next, sent on time, too
        early: pacing by the time of the permit alone gets calls throttled. A call is late by what it waited between
        permit and wire (for the processor, for its connection), and may be late by as much as its answer took longer
        than the quickest one so far. Until it is answered it counts from its permit: a lane does not stand still
        behind a call that takes longer than its period. `sent` None: it never left.
        """
        if self.rate_limit > MOST_SETTLED or sent is None:
            return
        arrived = sent + self._quickest.excess(sent, self._clock())
        log = self._task_logs
        for index in range(len(log) - 1, -1, -1):
            if log[index] == permitted:
                newer = log[index + 1] if index + 1 < len(log) else math.inf
                log[index] = min(max(permitted, arrived), newer)  # the log stays in order
                return

    @property
    def effective_rate(self) -> float:
        """Requests a second now, margin included."""
        return float(self.rate_limit / self.period)

    def throttled(self) -> None:
        """KMS refused a call for its rate: slow down multiplicatively."""
        self.period = min(self.period / DECREASE, self._least_period / SLOWEST)
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


class LaneLimiter:
    """The throttlers of one lane, made when first needed, and what was counted at them."""

    def __init__(
        self,
        quotas: Mapping[str, float],
        *,
        margin: float,
        gate: Places,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        quickest: dict[str, Quickest] | None = None,
    ) -> None:
        """`quickest`: by quota; shared with the lanes whose calls go the same way."""
        self._quotas = quotas
        self._quickest = {} if quickest is None else quickest
        self._margin = margin
        self._gate = gate
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        self._throttlers: dict[str, PacedThrottler] = {}
        self.calls: Counter[str] = Counter()
        self.throttles: Counter[str] = Counter()

    def throttler(self, operation: str) -> PacedThrottler:
        """The throttler of the operation's quota."""
        quota = quota_of(operation)
        throttler = self._throttlers.get(quota)
        if throttler is None:
            throttler = self._throttlers[quota] = PacedThrottler(
                self._quotas[quota],
                margin=self._margin,
                clock=self._clock,
                sleep=self._sleep,
                gate=self._gate,
                quickest=self._quickest.setdefault(quota, Quickest()),
                scarce=quota == SCARCE,
            )
        return throttler

    def quota(self, operation: str) -> float:
        """Requests a second."""
        return self._quotas[quota_of(operation)]

    def change(self, quota: str, rate: float) -> None:
        """Another rate than the default's; before the first permit of that quota."""
        self._quotas = {**self._quotas, quota: rate}

    def quotas_used(self) -> dict[str, float]:
        """Quota of every operation that was called."""
        return {operation: self.quota(operation) for operation in sorted(self.calls)}

    def effective_rates(self) -> dict[str, float]:
        """Where throttling made an operation slower than its quota: the rate at the end."""
        return {
            quota: round(throttler.effective_rate, 3)
            for quota, throttler in sorted(self._throttlers.items())
            if throttler.effective_rate < throttler.rate / (1 + self._margin) * 0.999
        }


def quota_of(operation: str) -> str:
    """The name of the quota that counts this operation."""
    return QUOTA_OF.get(operation, operation)


def merge_quotas(changes: Mapping[str, float]) -> dict[str, float]:
    """The defaults with --quota's changes. Raises SettingsError for an operation that no lane calls."""
    unknown = [name for name in changes if quota_of(name) not in DEFAULT_QUOTAS]
    if unknown:
        names = ", ".join(sorted({*DEFAULT_QUOTAS, *QUOTA_OF}))
        raise SettingsError([Problem("settings", 0, "--quota", f"{unknown[0]} is none of: {names}.")])
    return DEFAULT_QUOTAS | {quota_of(name): rate for name, rate in changes.items()}
