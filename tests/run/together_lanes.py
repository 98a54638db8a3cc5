"""Lanes that share a barrier, started as a run starts them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bulk_import.material import Materials
from bulk_import.material.sources.base import Opening
from bulk_import.model import Lane, Outcome, Target
from bulk_import.plan import Wanted
from bulk_import.run.barrier import Barrier
from bulk_import.run.lane import LaneRunner
from bulk_import.run.policy import Policy
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from tests.run.test_stop_anywhere import Journal, Kms, once

READS, INTERVAL, GRACE = 2, 1.0, 5.0


async def run_together(
    targets: Sequence[Target],
    ports: Mapping[Lane, Kms],
    wanted: Callable[[Target], Wanted],
    on_end: Callable[[Outcome], None],
    *,
    verify_timeout: float,
    stop_after: float | None = None,
    **policies: Any,
) -> None:
    """Takes all targets to their ends. `on_end`: called once for each. `stop_after`: seconds until SIGTERM."""
    barrier, stop = Barrier(targets), Stop()
    barrier.connect(ports)
    seen: set[tuple[str, str]] = set()

    def ends(outcome: Outcome) -> None:
        assert (outcome.id, outcome.region) not in seen, "it ended twice"
        seen.add((outcome.id, outcome.region))
        on_end(outcome)
        barrier.ended(outcome)

    policy = Policy(
        datetime.now(UTC), Materials(Opening(Settings(), None)), READS, INTERVAL, verify_timeout, once, "auto",
        require_proof=False, prove_use=False, **policies,
    )  # fmt: skip
    runners = [
        LaneRunner(
            lane, [target for target in targets if target.lane == lane], port, policy, sink=Journal(), stop=stop,
            import_rate=lambda: 1.0, on_end=ends, wanted=wanted, barrier=barrier,
        )
        for lane, port in ports.items()
    ]  # fmt: skip
    if stop_after is not None:
        asyncio.get_running_loop().call_later(stop_after, stop.request, "SIGTERM")
    await run_lanes(runners, stop, grace=GRACE, barrier=barrier)
