"""Counts, rates and the time left, by a clock that the test turns."""

from __future__ import annotations

import pytest

from bulk_import.commands.terminal.tally import Tally
from bulk_import.model import Lane, Outcome, Status
from tests.journal import journals

SHORT, LONG = (Lane("aws", account, "us-east-1") for account in journals.ACCOUNTS)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    return Tally({SHORT: 4, LONG: 100}, lambda _: 2.0, clock)


def ended(lane: Lane, status: Status = Status.IMPORTED, attempts: int = 1) -> Outcome:
    return journals.outcome(0, status, account=lane.account, region=lane.region, attempts=attempts)


def test_before_anything_the_quota_says_how_long(tally: Tally) -> None:
    assert tally.seconds_left() == 100 / 2
    assert [lane.account for lane in tally.longest()] == [LONG.account, SHORT.account]
    assert tally.quota_now() == 4.0


def test_what_needs_no_import_takes_no_permit(tally: Tally) -> None:
    for _ in range(9):
        tally.end(ended(LONG, Status.UNCHANGED, attempts=0))
    assert tally.seconds_left() == pytest.approx(91 * (1 / 10) / 2)


def test_a_lane_that_is_slower_than_its_quota_is_not_said_to_be_quick(tally: Tally, clock: Clock) -> None:
    clock.now += 40
    for _ in range(10):
        tally.end(ended(LONG))
    assert tally.seconds_left() == pytest.approx(90 * 40 / 10)


def test_the_rate_is_that_of_the_last_seconds(tally: Tally, clock: Clock) -> None:
    clock.now += 20
    for _ in range(5):
        tally.end(ended(LONG))
    assert tally.rate() == 0.5
    clock.now += 11
    assert tally.rate() == 0.0


def test_failures_are_counted_and_a_lane_at_its_end_needs_no_more(tally: Tally) -> None:
    for _ in range(4):
        tally.end(ended(SHORT, Status.FAILED))
    assert (tally.ended, tally.failed) == (4, 4)
    assert [lane.account for lane in tally.longest()] == [LONG.account]
    assert tally.quota_now() == 2.0


def test_the_rate_is_of_the_lanes_that_the_quota_is_of(tally: Tally, clock: Clock) -> None:
    """A lane at its end counts for neither: `6 imports/s of 2/s` would look like a broken limiter."""
    clock.now += 2
    for _ in range(4):
        tally.end(ended(SHORT))
        tally.end(ended(LONG))
    assert (tally.rate(), tally.quota_now()) == (2.0, 2.0)
