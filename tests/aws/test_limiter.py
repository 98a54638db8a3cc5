"""The limiter in virtual time: never above the quota, never idle, in order, and nothing lost to a cancellation."""

from __future__ import annotations

import asyncio
import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_import.aws.limiter import DEFAULT_QUOTAS, QUOTA_OF, LaneLimiter, merge_quotas, quota_of
from bulk_import.aws.pacing import (
    CALM,
    DECREASE,
    ENOUGH_ANSWERS,
    EXCESS,
    INCREASE,
    PROBE,
    SAVED_EXCESS,
    SLOWEST,
    PacedThrottler,
    Quickest,
)
from bulk_import.aws.places import Places
from bulk_import.errors import SettingsError
from tests.virtual_time import EXACT, Deadlock, run

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


@untimed
@given(rates, margins, crowds)
def test_never_above_the_quota_never_idle_and_in_order(rate: float, margin: float, calls: list[Call]) -> None:
    seen = serve(rate, calls, margin=margin)
    permits, seconds = window(rate, margin)
    assert most_in_a_window(seen.times, seconds) <= permits
    assert seen.order == queue(calls)
    # Each is served at the very instant at which it may be: it is here, it is its turn, and the window is open.
    for place, (who, when) in enumerate(seen.permits):
        earliest = [calls[who].arrives]
        earliest += seen.times[place - 1 : place]
        earliest += [seen.times[place - permits] + seconds] if place >= permits else []
        assert when == pytest.approx(max(earliest), abs=EXACT)


@untimed
@given(rates, crowds, latencies)
def test_a_bucket_judged_on_arrival_refuses_nothing_where_the_way_is_steady(
    rate: float, calls: list[Call], way: float
) -> None:
    seen = serve(rate, calls)
    assert refused_by_bucket([when + way for when in seen.times], rate) == 0


@pytest.mark.parametrize("rate", RATES)
def test_a_crowd_far_above_the_quota_takes_exactly_the_quotas_time(rate: float) -> None:
    count = 3 * max(1, math.floor(rate)) + 1
    seen = serve(rate, [Call(0.0)] * count)
    permits, seconds = window(rate)
    assert seen.times[-1] == pytest.approx(3 * seconds, abs=EXACT * count)
    assert seen.times[-1] == pytest.approx((count - 1) / rate, abs=EXACT * count)
    assert most_in_a_window(seen.times, seconds) == permits
    assert refused_by_bucket(seen.times, rate) == 0


@untimed
@given(rates, crowds)
def test_one_sleeper_one_sleep_a_permit(rate: float, calls: list[Call]) -> None:
    seen = serve(rate, calls)
    waited = [who for who, when in seen.permits if when > calls[who].arrives + EXACT]
    assert len(seen.sleeps) <= len(waited)
    assert seen.asleep_at_once <= 1


def test_a_thousand_waiters_do_not_poll() -> None:
    seen = serve(1.0, [Call(0.0)] * 1000)
    assert len(seen.sleeps) == 999
    assert seen.sleeps == pytest.approx([1.0] * 999, abs=EXACT)
    assert seen.asleep_at_once == 1


def quitters(latest: int) -> st.SearchStrategy[list[Call]]:
    """Some wait to the end, some give up: before, at and after the instant at which they would have been served."""
    givers_up = st.builds(
        lambda arrives, patience, latency: Call(arrives, latency, arrives + patience),
        milliseconds,
        st.one_of(st.integers(0, latest).map(lambda n: n / 1000), st.integers(0, latest // 1000).map(float)),
        latencies,
    )
    patient = st.builds(Call, arrives=st.integers(0, 10).map(float), latency=latencies)
    return st.lists(st.one_of(givers_up, patient), min_size=1, max_size=30)


@untimed
@given(rates, quitters(30_000))
def test_a_cancellation_takes_neither_a_permit_nor_a_place(rate: float, calls: list[Call]) -> None:
    seen = serve(rate, calls)  # it ends by looking for a lost place
    permits, seconds = window(rate)
    assert seen.order == [who for who in queue(calls) if who in set(seen.order)]
    for place, (who, when) in enumerate(seen.permits):
        # Nobody waits for a permit that a waiter took with him.
        earliest = [calls[who].arrives, *seen.times[place - 1 : place]]
        earliest += [seen.times[place - permits] + seconds] if place >= permits else []
        assert when == pytest.approx(max(earliest), abs=EXACT)
        assert when <= calls[who].gives_up + EXACT
    for who, call in enumerate(calls):
        assert call.gives_up < NEVER or who in seen.order


@untimed
@given(rates, quitters(10_000), st.integers(1, 3), st.booleans())
def test_places_are_few_and_calls_long(rate: float, calls: list[Call], places: int, settles: bool) -> None:
    """With the gate full: still in order, still under the quota, never more calls in flight than places, none lost."""
    seen = serve(rate, calls, places=places, settles=settles)
    permits, seconds = window(rate)
    assert most_in_a_window(seen.times, seconds) <= permits
    assert seen.order == [who for who in queue(calls) if who in set(seen.order)]
    for who, when in seen.permits:
        in_flight = [other for other, since in seen.permits if since <= when + EXACT < seen.answers[other]]
        assert len(in_flight) <= places, who
    if not settles:
        # Nobody waits without a reason: it came then, its turn came, the window opened, or a place came free.
        ends = [*seen.answers.values(), *(call.gives_up for call in calls if call.gives_up < NEVER)]
        for place, (who, when) in enumerate(seen.permits):
            reasons = [calls[who].arrives, *seen.times[:place], *(then + seconds for then in seen.times[:place]), *ends]
            assert min(abs(when - reason) for reason in reasons) < EXACT


def test_no_place_is_held_while_waiting_for_a_permit() -> None:
    async def main() -> None:
        gate = Places(1)
        clock = asyncio.get_running_loop().time
        slow = PacedThrottler(0.1, margin=0, clock=clock, sleep=asyncio.sleep, gate=gate)
        quick = PacedThrottler(2000, margin=0, clock=clock, sleep=asyncio.sleep, gate=gate)
        await slow.acquire()
        gate.release()
        waiter = asyncio.create_task(slow.acquire())
        began = clock()
        for _ in range(100):
            await quick.acquire()
            gate.release()
        assert clock() == pytest.approx(began, abs=EXACT)
        assert not waiter.done()
        await waiter
        assert clock() == pytest.approx(began + 10, abs=EXACT)

    run(main())


def test_a_permit_counts_from_when_its_place_was_had() -> None:
    """Else a call that stood at a full gate would go out right before the next one."""
    seen = serve(1.0, [Call(0.0, latency=0.75), Call(0.0), Call(0.0)], places=1)
    assert seen.times == pytest.approx([0.0, 1.0, 2.0], abs=EXACT)
    held = serve(1.0, [Call(0.0, latency=5.25), Call(0.0), Call(0.0)], places=1)
    assert held.times == pytest.approx([0.0, 5.25, 6.25], abs=EXACT)


def test_a_lost_place_would_be_noticed() -> None:
    """The tests above rest on this: whoever waits for a place that never comes back is a deadlock."""

    async def main() -> None:
        world = World(1.0, places=1)
        await world.throttler.acquire()
        await world.throttler.acquire()

    with pytest.raises(Deadlock):
        run(main())


# --- settle: a permit counts from when its call may have reached KMS


@untimed
@given(rates, margins, crowds)
def test_settling_only_ever_delays_and_by_no_more_than_the_lateness(
    rate: float, margin: float, calls: list[Call]
) -> None:
    seen = serve(rate, calls, margin=margin, settles=True)
    permits, seconds = window(rate, margin)
    assert seen.order == queue(calls)
    assert most_in_a_window(seen.times, seconds) <= permits
    for place, (who, when) in enumerate(seen.permits):
        latest = [calls[who].arrives, *seen.times[place - 1 : place]]
        if place >= permits:
            then = seen.times[place - permits]
            same = [other for other, at in seen.permits if at == then]
            latest.append(then + seconds + max(calls[other].latency for other in same))
        assert when <= max(latest) + EXACT
    assert len(seen.sleeps) <= 2 * len(seen.permits)  # once more where an answer came during the first
    assert seen.asleep_at_once <= 1


@untimed
@given(
    st.sampled_from((0.1, 0.25, 1.0, 1.5)),
    st.lists(st.integers(0, 60).map(lambda n: n / 1000), min_size=1, max_size=30),
    st.integers(0, 300).map(lambda n: n / 1000),
)
def test_once_the_quickest_way_is_known_late_arrivals_are_not_followed_too_soon(
    rate: float, late: list[float], connecting: float
) -> None:
    """A bucket of capacity 1, no margin: each call comes late by another time, the first by its new connection.

    Altogether by less than what is saved up for it.
    """
    steady = 0.02
    way = [steady + connecting, *[steady] * (ENOUGH_ANSWERS - 1), *(steady + extra for extra in late)]
    seen = serve(rate, [Call(0.0, latency=seconds) for seconds in way], settles=True)
    assert refused_by_bucket([when + way[who] for who, when in seen.permits], rate, capacity=1) == 0


@untimed
@given(
    st.sampled_from((0.1, 0.25, 1.0)),
    st.lists(st.integers(0, 90).map(lambda n: n / 1000), min_size=2, max_size=12),
)
def test_a_lane_learns_the_quickest_way_from_its_neighbours(rate: float, late: list[float]) -> None:
    """Where a thousand lanes start at once all of a lane's calls are late, each by another time."""

    async def main() -> Seen:
        quickest = Quickest()
        await World(rate, settles=True, quickest=quickest).serve([Call(0.0, latency=0.02)] * ENOUGH_ANSWERS)
        await asyncio.sleep(1)
        return await World(rate, settles=True, quickest=quickest).serve(
            [Call(0.0, latency=0.02 + extra) for extra in late]
        )

    seen = run(main())
    assert refused_by_bucket([when + 0.02 + late[who] for who, when in seen.permits], rate, capacity=1) == 0


@untimed
@given(st.sampled_from((0.1, 0.25, 1.0)), st.lists(st.integers(1, 900).map(lambda n: n / 1000), min_size=20))
def test_lanes_that_start_at_once_are_never_too_soon_though_nobody_knows_the_way(
    rate: float, late: list[float]
) -> None:
    """Ten lanes of two calls each: all first calls are late, and the least late of them is no measure."""

    async def main() -> list[Seen]:
        quickest = Quickest()
        return await asyncio.gather(
            *(
                World(rate, settles=True, quickest=quickest).serve([Call(0.0, latency=extra) for extra in pair])
                for pair in zip(late[:10], late[10:], strict=False)
            )
        )

    for pair, seen in zip(zip(late[:10], late[10:], strict=False), run(main()), strict=False):
        assert refused_by_bucket([when + pair[who] for who, when in seen.permits], rate, capacity=1) == 0


@untimed
@given(st.sampled_from((0.25, 1.0)), st.lists(st.integers(100, 500).map(lambda n: n / 1000), min_size=20, max_size=20))
def test_without_settling_late_arrivals_are_followed_too_soon(rate: float, late: list[float]) -> None:
    """Shows that the test above can fail: somewhere a late call is followed by one less late."""
    seen = serve(rate, [Call(0.0, latency=seconds) for seconds in late])
    falls = any(later < earlier for earlier, later in itertools.pairwise(late))
    assert (refused_by_bucket([when + late[who] for who, when in seen.permits], rate) > 0) is falls


def pace(answers: list[float], refused_at: int | None = None) -> float:
    """Seconds a permit, of one lane that never waits for work; `refused_at`: that call is refused, in 5 ms."""

    async def main() -> float:
        world = World(1.0)
        for number, latency in enumerate(answers):
            permitted = await world.throttler.acquire()
            refused = number == refused_at
            await asyncio.sleep(0.005 if refused else latency)
            world.gate.release()
            world.throttler.settle(permitted, permitted, done=not refused)
        return world.now() / len(answers)

    return run(main())


def test_a_quick_refusal_is_no_measure_of_the_way() -> None:
    steady = [0.3] * 60
    assert pace(steady, refused_at=10) == pytest.approx(pace(steady), rel=0.01)


@untimed
@given(st.lists(st.integers(50, 900).map(lambda n: n / 1000), min_size=40, max_size=40))
def test_answers_that_take_kms_differently_long_cost_a_tenth_on_the_average(answers: list[float]) -> None:
    """Beside what is saved up in the beginning, spread over the calls here."""
    calls = [0.05] * ENOUGH_ANSWERS + answers * 5
    assert pace(calls) <= 1 + EXCESS + (SAVED_EXCESS + 1) / len(calls)


@untimed
@given(st.integers(1, 1900).map(lambda n: n / 1000), st.integers(8, 30))
def test_a_stall_now_and_then_counts_whole(stall: float, place: int) -> None:
    """It comes late and is answered late; the next call, on time, must not come too soon after it."""
    latencies = [0.02] * 40
    latencies[place] += min(stall, 0.95)
    seen = serve(1.0, [Call(0.0, latency=seconds) for seconds in latencies], settles=True)
    assert refused_by_bucket([when + latencies[who] for who, when in seen.permits], 1.0, capacity=1) == 0


def test_a_permit_that_has_left_the_window_is_settled_without_effect() -> None:
    seen = serve(1.0, [Call(0.0, latency=7.0), *[Call(0.0)] * 10], settles=True)
    assert seen.times == pytest.approx(list(range(11)), abs=EXACT)


# --- adapting to others who use the quota


@untimed
@given(rates, margins, st.lists(st.booleans(), max_size=120))
def test_slower_by_a_share_faster_by_a_step_within_bounds(rate: float, margin: float, refusals: list[bool]) -> None:
    async def main() -> None:
        throttler = World(rate, margin=margin).throttler
        fastest = rate / (1 + margin)
        step, since, alone = INCREASE, CALM, True
        for refused in refusals:
            before = throttler.effective_rate
            if refused:
                throttler.throttled()
                assert throttler.effective_rate == pytest.approx(max(before * DECREASE, fastest * SLOWEST))
                step, since, alone = INCREASE, 0, since >= CALM
            else:
                throttler.succeeded()
                since += 1
                quick = alone or since > CALM
                more = fastest * (step if quick else PROBE)
                assert throttler.effective_rate == pytest.approx(min(before + more, fastest))
                step *= 2 if quick and before < fastest * (1 - 1e-9) else 1
            assert fastest * SLOWEST * (1 - 1e-9) <= throttler.effective_rate <= fastest * (1 + 1e-9)
        for _ in range(CALM + math.ceil(1 / INCREASE)):
            throttler.succeeded()
        assert throttler.effective_rate == pytest.approx(fastest)

    run(main())


@pytest.mark.parametrize(("left", "at_most"), [(0.3, 1.35), (0.5, 1.35), (0.8, 1.35)])
def test_a_neighbour_who_keeps_using_the_quota_is_met_gently(left: float, at_most: float) -> None:
    """`left`: of one request a second. The time for 100 calls, over what the rest of the quota takes for them."""

    async def main() -> float:
        world, loop = World(1.0), asyncio.get_running_loop()
        throttler = world.throttler
        level, last, done = 1.0, loop.time(), 0
        began = last
        while done < 100:
            await throttler.acquire()
            world.gate.release()
            now = loop.time()
            level, last = min(1.0, level + (now - last) * left), now
            if level >= 1 - EXACT:
                level, done = level - 1, done + 1
                throttler.succeeded()
            else:
                throttler.throttled()
        return (loop.time() - began) / (99 / left)

    assert 1 <= run(main()) <= at_most


def test_a_throttled_lane_is_served_at_its_new_pace_at_once() -> None:
    async def main() -> None:
        world = World(1.0)
        await world.throttler.acquire()
        world.throttler.throttled()
        await world.throttler.acquire()
        assert world.now() == pytest.approx(1 / DECREASE, abs=EXACT)

    run(main())


# --- the lane's limiter


def test_operations_that_share_a_quota_share_its_permits() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gate = Places(100)
        limiter = LaneLimiter(merge_quotas({"GenerateMac": 1}), margin=0, gate=gate)
        began = loop.time()
        for operation in ("Encrypt", "GenerateMac", "Decrypt"):
            await limiter.throttler(operation).acquire()
        assert loop.time() - began == pytest.approx(2.0, abs=EXACT)
        await limiter.throttler("DescribeKey").acquire()  # another quota: at once
        assert loop.time() - began == pytest.approx(2.0, abs=EXACT)

    run(main())


def test_what_was_counted_and_what_became_slower() -> None:
    async def main() -> None:
        limiter = LaneLimiter(merge_quotas({}), margin=0.03, gate=Places(1))
        limiter.calls.update(["GetParametersForImport", "DescribeKey", "GetCallerIdentity"])
        assert limiter.quotas_used() == {"DescribeKey": 2000, "GetCallerIdentity": 600, "GetParametersForImport": 1}
        limiter.throttler("DescribeKey")
        assert limiter.effective_rates() == {}
        limiter.throttler("GetParametersForImport").throttled()
        assert limiter.effective_rates() == {"GetParametersForImport": round(DECREASE / 1.03, 3)}

    run(main())


def test_quotas_are_those_of_kms_and_every_operation_of_ours_has_one() -> None:
    assert DEFAULT_QUOTAS["GetParametersForImport"] == 1
    assert DEFAULT_QUOTAS["ImportKeyMaterial"] == 15
    assert {quota_of(operation) for operation in QUOTA_OF} <= DEFAULT_QUOTAS.keys()


def test_a_quota_is_changed_by_its_name_or_by_an_operation_that_counts_to_it() -> None:
    changed = merge_quotas({"ImportKeyMaterial": 5, "Encrypt": 20_000})
    assert changed["ImportKeyMaterial"] == 5
    assert changed["CryptographicOperationsSymmetric"] == 20_000
    assert changed["DescribeKey"] == DEFAULT_QUOTAS["DescribeKey"]
    with pytest.raises(SettingsError, match=r"--quota.*ImportKeyMaterail is none of: .*ImportKeyMaterial"):
        merge_quotas({"ImportKeyMaterail": 5})
