"""Pacing in virtual time: a permit counts from when its call may have reached KMS, and others use the quota too."""

from __future__ import annotations

import asyncio
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_import.aws.pace.pacing import (
    CALM,
    DECREASE,
    ENOUGH_ANSWERS,
    EXCESS,
    INCREASE,
    PROBE,
    SAVED_EXCESS,
    SLOWEST,
    Quickest,
)
from tests.aws.pacing_world import (
    Call,
    Seen,
    World,
    crowds,
    margins,
    most_in_a_window,
    queue,
    rates,
    refused_by_bucket,
    serve,
    untimed,
    window,
)
from tests.virtual_time import EXACT, run

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
    """Next to what is saved up in the beginning, spread over the calls here."""
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
    """`left`: of one request per second. The time for 100 calls, over what the rest of the quota takes for them."""

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
