"""The places of calls in flight, in virtual time: never more than there are, scarce calls first, none lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_import.aws.pace.places import Places
from tests.virtual_time import run


@dataclass(frozen=True)
class Call:
    """Times in seconds; `gives_up`: it is cancelled so long after it came, at any point."""

    comes: int
    lasts: int
    scarce: bool
    gives_up: int | None


calls_strategy = st.lists(
    st.builds(Call, st.integers(0, 6), st.integers(0, 4), st.booleans(), st.none() | st.integers(0, 6)), max_size=25
)


@settings(deadline=None)
@given(st.integers(1, 4), calls_strategy)
def test_never_more_than_there_are_and_none_lost(count: int, calls: list[Call]) -> None:
    async def main() -> None:
        places = Places(count)
        taken = 0

        async def one(call: Call) -> None:
            nonlocal taken
            await asyncio.sleep(call.comes)
            await places.acquire(scarce=call.scarce)
            try:
                taken += 1
                assert taken <= count
                await asyncio.sleep(call.lasts)
            finally:
                taken -= 1
                places.release()

        tasks = [asyncio.create_task(one(call)) for call in calls]
        loop = asyncio.get_running_loop()
        for task, call in zip(tasks, calls, strict=True):
            if call.gives_up is not None:
                loop.call_later(call.comes + call.gives_up, task.cancel)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
        for _ in range(count):
            await places.acquire()  # a lost place would make this a deadlock
        assert places.locked()

    run(main())


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=12))
def test_those_who_wait_are_served_scarce_calls_first_then_as_they_came(kinds: list[bool]) -> None:
    async def main() -> list[int]:
        places = Places(1)
        await places.acquire()
        order: list[int] = []

        async def one(who: int) -> None:
            await places.acquire(scarce=kinds[who])
            order.append(who)
            places.release()

        tasks = [asyncio.create_task(one(who)) for who in range(len(kinds))]
        await asyncio.sleep(1)
        places.release()
        await asyncio.gather(*tasks)
        return order

    assert run(main()) == sorted(range(len(kinds)), key=lambda who: not kinds[who])
