"""What waits for another read delays no one: missing keys, keys in Updating, and whole fleets found as wanted.

In virtual time, so that seconds are exact: a lane at work on a KMS whose keys need their time.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bulk_import.errors import ServiceError
from bulk_import.material import Materials
from bulk_import.material.sources.base import Opening
from bulk_import.model import KeyView, Outcome, Status, Target, WrappingKeySpec
from bulk_import.plan import Wanted
from bulk_import.ports import Trace
from bulk_import.run.lane import LaneRunner
from bulk_import.run.policy import Policy
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from tests.run.test_stop_anywhere import FOREVER, LANE, Journal, Kms, once
from tests.virtual_time import run

INTERVAL, READS, CONSISTENCY, VERIFY = 2.0, 3, 10.0, 600.0
CALL = 0.01  # seconds that a read takes


class SlowKms(Kms):
    """Keys that are missing for good, that are in Updating for a time, and that hold their material already."""

    def __init__(self, *, missing: int = 0, updating: dict[int, float] | None = None, filled: bool = False) -> None:
        super().__init__()
        self.missing = missing
        self.updating = updating or {}
        self.filled = filled
        self.reads: Counter[str] = Counter()
        self.macs: list[str] = []
        self.began = asyncio.get_running_loop().time()

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        view = await super().describe_key(key_id, trace, at_once=at_once)
        number = int(view.arn.rpartition("/")[2])
        self.reads[view.arn] += 1
        if number < self.missing:
            assert at_once, "a wait inside the port holds a place"
            raise ServiceError("There is no such key.", code="NotFoundException", operation="DescribeKey")
        if asyncio.get_running_loop().time() - self.began < self.updating.get(number, 0):
            return replace(view, state="Updating")
        if self.filled:
            return replace(view, state="Enabled", expiration_model=FOREVER, current_key_material_id="a" * 64)
        return view


def policy() -> Policy:
    materials = Materials(Opening(Settings(), None))
    return Policy(
        datetime.now(UTC), materials, READS, INTERVAL, VERIFY, once, "auto", require_proof=False, prove_use=False,
        consistency_timeout=CONSISTENCY,
    )  # fmt: skip


async def work(kms: SlowKms, targets: int, *, rate: float = 1.0) -> tuple[list[tuple[float, Outcome]], float]:
    """Ends with their instants, in their order, and how long all took."""
    loop, ended = asyncio.get_running_loop(), []
    lane = LaneRunner(
        LANE,
        [
            Target(n, f"key-{n}", LANE, f"alias/{n}", "env:WAITING", wrapping_key_spec=WrappingKeySpec.RSA_2048)
            for n in range(targets)
        ],
        kms, policy(), sink=Journal(), stop=Stop(), import_rate=lambda: rate,
        on_end=lambda outcome: ended.append((loop.time() - kms.began, outcome)),
        wanted=lambda target: Wanted(target, None),
    )  # fmt: skip
    await run_lanes([lane], Stop(), grace=0)
    assert sorted(outcome.id for _, outcome in ended) == sorted(f"key-{n}" for n in range(targets))
    return ended, loop.time() - kms.began


@pytest.fixture(autouse=True)
def material(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAITING", base64.b64encode(bytes(range(32))).decode())


@pytest.mark.parametrize("missing", [1, 10, 300])
def test_missing_keys_are_waited_for_together_and_delay_nobody(missing: int) -> None:
    async def story() -> None:
        ended, took = await work(SlowKms(missing=missing), missing + 2)
        good = [(at, outcome) for at, outcome in ended if outcome.status is Status.IMPORTED]
        bad = [(at, outcome) for at, outcome in ended if outcome.status is Status.FAILED]
        assert (len(good), len(bad)) == (2, missing)
        assert {outcome.error.code for _, outcome in bad if outcome.error} == {"NotFoundException"}
        assert all(at <= CONSISTENCY + (missing + 2) * 4 * CALL for at, _ in bad)
        assert all(at < (READS - 1) * INTERVAL + 1 + (missing + 2) * CALL for at, _ in good)
        assert took < CONSISTENCY + (missing + 2) * 4 * CALL

    run(story())


@pytest.mark.parametrize("seconds", [5.0, 60.0])
def test_keys_in_updating_are_waited_for_together_and_delay_nobody(seconds: float) -> None:
    async def story() -> None:
        ended, took = await work(SlowKms(updating=dict.fromkeys(range(10), seconds)), 12)
        assert {outcome.status for _, outcome in ended} == {Status.IMPORTED}
        assert sorted(outcome.id for _, outcome in ended[:2]) == ["key-10", "key-11"]
        assert took < seconds + INTERVAL + (READS - 1) * INTERVAL + 12 * 20 * CALL

    run(story())


def test_a_key_that_never_settles_fails_after_the_verify_timeout() -> None:
    async def story() -> None:
        ended, took = await work(SlowKms(updating={0: 1e9}), 1)
        [(_, outcome)] = ended
        assert outcome.error is not None
        assert (outcome.error.code, VERIFY <= took < VERIFY + 2 * INTERVAL) == ("KeyStateNotImportable", True)

    run(story())


@pytest.mark.parametrize("targets", [1, 50, 500])
def test_a_fleet_found_as_wanted_takes_one_window(targets: int) -> None:
    """Each target is read N times. The windows overlap: the whole takes one window and the time of the calls."""

    async def story() -> None:
        kms = SlowKms(filled=True)
        ended, took = await work(kms, targets)
        assert {outcome.status for _, outcome in ended} == {Status.UNCHANGED}
        assert {outcome.verification.reads for _, outcome in ended if outcome.verification} == {READS}
        assert set(kms.reads.values()) == {READS}
        assert (READS - 1) * INTERVAL <= took < (READS - 1) * INTERVAL + 1 + targets * 3 * CALL

    run(story())


class LateKms(SlowKms):
    """The keys of targets 1 and 2 take their time to be described; those after them are missing at first."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.imports: Counter[str] = Counter()

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        view = await super().describe_key(key_id, trace, at_once=at_once)
        number, first = int(view.arn.rpartition("/")[2]), self.reads[view.arn] == 1
        if number in (1, 2) and first:
            await asyncio.sleep(self.seconds * number)
        if number > 2 and first:
            raise ServiceError("There is no such key.", code="NotFoundException", operation="DescribeKey")
        return view

    async def import_key_material(self, key_id: str, trace: Trace, **fields: Any) -> str:
        self.imports[key_id] += 1
        return await super().import_key_material(key_id, trace, **fields)


@pytest.mark.parametrize("seconds", [0.05, INTERVAL + 0.02, 5.0])
@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_a_target_that_comes_back_while_others_are_waited_for_is_changed_once(rate: float, seconds: float) -> None:
    """It is found before its turn among those whose keys are claimed in manifest order."""

    async def story() -> None:
        kms = LateKms(seconds)
        ended, _ = await work(kms, 12, rate=rate)
        assert {outcome.status for _, outcome in ended} == {Status.IMPORTED}
        assert set(kms.imports.values()) == {1}

    run(story())


def test_a_stop_ends_what_waits_at_once() -> None:
    async def story() -> None:
        kms = SlowKms(missing=3, updating={3: 1e9, 4: 1e9})
        stop, ended, loop = Stop(), [], asyncio.get_running_loop()
        targets = [Target(n, f"key-{n}", LANE, f"alias/{n}", "env:WAITING") for n in range(5)]
        fields: dict[str, Any] = {"sink": Journal(), "stop": stop, "import_rate": lambda: 1.0}
        lane = LaneRunner(
            LANE, targets, kms, policy(), on_end=ended.append, wanted=lambda target: Wanted(target, None), **fields
        )
        loop.call_later(5.0, stop.request, "SIGTERM")
        await run_lanes([lane], stop, grace=100)
        assert loop.time() - kms.began < 5.1
        assert Counter(outcome.status for outcome in ended) == {Status.NOT_ATTEMPTED: 5}

    run(story())
