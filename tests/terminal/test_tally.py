"""Counts, rates and the time left, by a clock that the test turns."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from bulk_import.commands.terminal.bar import FAILED, OK, VERIFYING, Bar
from bulk_import.commands.terminal.live import causes
from bulk_import.commands.terminal.tally import Tally
from bulk_import.model import Failure, Lane, Outcome, Status
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


def test_a_target_goes_through_the_phases(tally: Tally) -> None:
    def phases() -> tuple[int, int, int, int]:
        return tally.waiting, tally.importing, tally.verifying, tally.ended

    tally.event("caller", {"account": LONG.account})
    tally.event("pinned", {"index": 3})
    assert phases() == (104, 0, 0, 0)
    tally.event("intent", {"index": 3})
    assert phases() == (103, 1, 0, 0)
    tally.event("answered", {"index": 3, "outcome": "unknown"})
    assert phases() == (103, 1, 0, 0)
    tally.event("answered", {"index": 3, "outcome": "ok"})
    assert phases() == (103, 0, 1, 0)
    tally.event("ended", {"index": 3})
    tally.end(ended(LONG))
    assert phases() == (103, 0, 0, 1)


def test_percent_is_100_only_at_the_end(tally: Tally) -> None:
    for _ in range(99):
        tally.end(ended(LONG))
    for _ in range(4):
        tally.end(ended(SHORT))
    assert (tally.ended, tally.percent) == (103, 99)
    tally.end(ended(LONG))
    assert tally.percent == 100


def test_failures_are_counted_by_cause(tally: Tally) -> None:
    for code, count in (("NotFoundException", 3), ("AccessDenied", 2), ("A", 1), ("B", 1)):
        for _ in range(count):
            tally.end(replace(ended(LONG, Status.FAILED), error=Failure(code, None, "no", False, "do")))
    assert causes(tally) == "3 NotFoundException, 2 AccessDenied, 1 A, 1 others"


def cells(total: int, parts: list[tuple[int, str]], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system="truecolor", force_terminal=True)
    segments = list(console.render(Bar(total, parts), console.options.update(max_width=width)))
    return "".join(str(segment.style)[0] * len(segment.text) for segment in segments)


@pytest.mark.parametrize(
    ("total", "parts", "drawn"),
    [
        (10, [(5, OK), (2, FAILED), (1, VERIFYING)], "gggggrrcbb"),
        (1000, [(990, OK), (10, FAILED)], "gggggggggr"),  # every part has a cell
        (1000, [(1, OK), (1, FAILED)], "grbbbbbbbb"),
        (0, [(0, OK), (0, FAILED)], "bbbbbbbbbb"),
    ],
)
def test_only_the_failed_share_of_the_bar_is_red(total: int, parts: list[tuple[int, str]], drawn: str) -> None:
    assert cells(total, parts, 10) == drawn


def test_the_rate_is_of_the_lanes_that_the_quota_is_of(tally: Tally, clock: Clock) -> None:
    """A lane at its end counts for neither: `6 imports/s of 2/s` would look like a broken limiter."""
    clock.now += 2
    for _ in range(4):
        tally.end(ended(SHORT))
        tally.end(ended(LONG))
    assert (tally.rate(), tally.quota_now()) == (2.0, 2.0)
