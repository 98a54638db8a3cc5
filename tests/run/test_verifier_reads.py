"""Counting reads: every sequence of views of up to seven, against the rules in words. Times are numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product

import pytest

from bulk_import.model import NEVER, Expiry, KeyView, Lane, Target
from bulk_import.plan import Wanted
from bulk_import.run.verifier import Reads, Verdict

LONGEST = 7
INTERVAL = 2.0
VALID_TO = datetime(2027, 6, 30, tzinfo=UTC)
TARGET = Target(0, "one", Lane("aws", "111122223333", "us-east-1"), "alias/one", "file:one.key")
ARN = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000001"
WANTED = Wanted(replace(TARGET, expiry=Expiry(valid_to=VALID_TO)), VALID_TO)

GOOD = KeyView(
    ARN, "Enabled", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "KEY_MATERIAL_EXPIRES", VALID_TO
)
STALE = replace(GOOD, state="PendingImport", expiration_model=None, valid_to=None)  # another host, not consistent yet
ELSEWHERE = replace(GOOD, state="PendingDeletion")  # no host could show this unless somebody did it
VIEWS = {"good": GOOD, "stale": STALE, "elsewhere": ELSEWHERE}
SEQUENCES = list(product(VIEWS, repeat=LONGEST))  # a shorter one is the beginning of some of these


def reads(needed: int, *, deadline: float = 1e9, wanted: Wanted = WANTED, final_state: str = "Enabled") -> Reads:
    return Reads(wanted, final_state, needed, started=0.0, deadline=deadline)


def in_a_row(kind: str, seen: tuple[str, ...]) -> int:
    """How many reads of this kind are at the end."""
    count = 0
    while count < len(seen) and seen[-1 - count] == kind:
        count += 1
    return count


def expected(seen: tuple[str, ...], needed: int, now: float, deadline: float) -> Verdict:
    """The rules. `seen`: all reads up to now, of which none but the last led to an end."""
    if in_a_row("good", seen) >= needed:
        return Verdict.VERIFIED  # N consecutive good reads, however many others before
    if in_a_row("elsewhere", seen) >= needed:
        return Verdict.CONTRADICTED  # N consecutive reads of a state into which only somebody else brings a key
    return Verdict.TIMED_OUT if now >= deadline else Verdict.READ_AGAIN


@pytest.mark.parametrize("needed", range(1, 5))
@pytest.mark.parametrize("deadline", [0.0, 3 * INTERVAL, 3 * INTERVAL + 0.5, 1e9])
def test_every_sequence(needed: int, deadline: float) -> None:
    endings = set()
    for sequence in SEQUENCES:
        counted = reads(needed, deadline=deadline)
        for number, kind in enumerate(sequence, 1):
            now = (number - 1) * INTERVAL  # the first at once
            seen = sequence[:number]
            verdict = counted.observe(VIEWS[kind], now)
            assert verdict is expected(seen, needed, now, deadline), seen
            assert counted.total == number
            assert counted.consecutive == in_a_row("good", seen)
            if verdict is Verdict.VERIFIED:
                assert seen[-needed:] == ("good",) * needed  # never on fewer
            endings.add(verdict)
            if verdict is not Verdict.READ_AGAIN:
                break
    if deadline:
        assert {Verdict.VERIFIED, Verdict.CONTRADICTED} <= endings


@pytest.mark.parametrize("needed", range(2, 5))
@pytest.mark.parametrize("kind", ["stale", "elsewhere"])
def test_one_bad_read_starts_the_count_again(needed: int, kind: str) -> None:
    counted = reads(needed)
    for _ in range(needed - 1):
        assert counted.observe(GOOD, 0.0) is Verdict.READ_AGAIN
    assert counted.observe(VIEWS[kind], 0.0) is Verdict.READ_AGAIN
    assert counted.consecutive == 0
    for _ in range(needed - 1):
        assert counted.observe(GOOD, 0.0) is Verdict.READ_AGAIN
    assert counted.observe(GOOD, 0.0) is Verdict.VERIFIED


def test_the_last_read_counts_even_at_the_deadline() -> None:
    counted = reads(2, deadline=2.0)
    assert counted.observe(GOOD, 0.0) is Verdict.READ_AGAIN
    assert counted.observe(GOOD, 2.0) is Verdict.VERIFIED


# --- what is a good read, what may be stale, and what cannot be


@pytest.mark.parametrize(
    "view",
    [
        replace(GOOD, valid_to=VALID_TO + timedelta(seconds=1)),
        replace(GOOD, valid_to=VALID_TO - timedelta(days=1)),
        replace(GOOD, valid_to=None),
        replace(GOOD, expiration_model="KEY_MATERIAL_DOES_NOT_EXPIRE", valid_to=None),
        replace(GOOD, expiration_model=None),
        replace(GOOD, state="PendingImport"),
        replace(GOOD, state="Updating"),
        replace(GOOD, state="Creating"),
        replace(GOOD, state="a state of the future"),
        STALE,
    ],
)
def test_what_differs_may_be_stale_and_never_counts(view: KeyView) -> None:
    counted = reads(1, deadline=5.0)
    assert [counted.observe(view, now) for now in (0.0, 2.0, 4.0)] == [Verdict.READ_AGAIN] * 3
    assert counted.observe(view, 6.0) is Verdict.TIMED_OUT


@pytest.mark.parametrize("state", ["PendingDeletion", "PendingReplicaDeletion", "Unavailable", "Disabled"])
def test_a_state_that_only_somebody_else_brings_about_is_a_contradiction(state: str) -> None:
    counted = reads(3)
    verdicts = [counted.observe(replace(GOOD, state=state), 0.0) for _ in range(3)]
    assert verdicts == [Verdict.READ_AGAIN, Verdict.READ_AGAIN, Verdict.CONTRADICTED]


def test_instants_are_compared_not_texts() -> None:
    elsewhere = VALID_TO.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert reads(1).observe(replace(GOOD, valid_to=elsewhere), 0.0) is Verdict.VERIFIED


def test_a_key_found_disabled_shall_still_be_disabled() -> None:
    disabled = replace(GOOD, state="Disabled")
    assert reads(1, final_state="Disabled").observe(disabled, 0.0) is Verdict.VERIFIED
    assert reads(1, final_state="Disabled").observe(GOOD, 0.0) is not Verdict.VERIFIED


def test_without_expiry() -> None:
    wanted = Wanted(replace(TARGET, expiry=NEVER), None)
    forever = replace(GOOD, expiration_model="KEY_MATERIAL_DOES_NOT_EXPIRE", valid_to=None)
    assert reads(1, wanted=wanted).observe(forever, 0.0) is Verdict.VERIFIED
    assert reads(1, wanted=wanted).observe(GOOD, 0.0) is Verdict.READ_AGAIN
