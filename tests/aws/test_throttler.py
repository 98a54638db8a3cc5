"""The throttler in virtual time: never above the quota, never idle, in order, and nothing lost to a cancellation."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_import.aws.pace.pacing import (
    PacedThrottler,
)
from bulk_import.aws.pace.places import Places
from tests.aws.pacing_world import (
    NEVER,
    RATES,
    Call,
    World,
    crowds,
    latencies,
    margins,
    milliseconds,
    most_in_a_window,
    queue,
    rates,
    refused_by_bucket,
    serve,
    untimed,
    window,
)
from tests.virtual_time import EXACT, Deadlock, run


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
        # No one waits for a permit that a waiter took with him.
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
        # No one waits without a reason: it came then, its turn came, the window opened, or a place came free.
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
    """The tests above rest on this: anyone who waits for a place that never comes back is a deadlock."""

    async def main() -> None:
        world = World(1.0, places=1)
        await world.throttler.acquire()
        await world.throttler.acquire()

    with pytest.raises(Deadlock):
        run(main())
