"""Two shards at once: what a second core adds, and that the quotas stay the limit of a thousand lanes."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.bench import harness
from tests.bench.harness import LIFTED, Run, Simulator
from tests.bench.workload import Workload, make

Row = dict[str, Any]
SHARDS: Final = 2
# One for each shard, and one for each simulator: with fewer, the simulators take what the second core would add.
CORES_NEEDED: Final = 2 * SHARDS


def _fleet(work: Workload, *simulator: str, quotas: dict[str, float]) -> tuple[list[Run], float]:
    """The shards' runs, each with a simulator of its own (lanes are never split), and the time until the last ended."""

    def job(number: int) -> Run:
        with Simulator(*simulator, workload=work) as server:
            return harness.product(work, server, quotas=quotas, name=f"shard-{number}", shard=f"{number}/{SHARDS}")

    began = time.monotonic()
    with ThreadPoolExecutor(SHARDS) as pool:
        runs = list(pool.map(job, range(1, SHARDS + 1)))
    return runs, time.monotonic() - began


def two_cores(*, full: bool) -> list[Row]:
    """Without quotas: one process, then two shards.

    `two / one` compares wall time where the machine has a core for each process, otherwise the processor time of the
    slowest process, which is what wall time would be.
    """
    quotas = dict.fromkeys(LIFTED, 100_000.0)
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as folder:
        work = make(Path(folder) / "work", lanes=100, keys=200 if full else 60)
        with Simulator("--no-quotas", workload=work) as server:
            one = harness.product(work, server, quotas=quotas)
        two, _ = _fleet(work, "--no-quotas", quotas=quotas)
    enough = (os.cpu_count() or 1) >= CORES_NEEDED

    def seconds(run: Run) -> float:
        return run.wall if enough else run.usage.cpu

    slowest = max(map(seconds, two))
    return [
        {
            "keys": work.targets,
            "by": "wall" if enough else "CPU",
            "one s": seconds(one),
            "two s": slowest,
            "keys/s, one": work.targets / seconds(one),
            "keys/s, two": work.targets / slowest,
            "two / one": slowest / seconds(one),
        }
    ]


def thousand_lanes(*, full: bool) -> list[Row]:
    """A thousand lanes over two shards, at a quota that two cores can feed: 125 keys per second each.

    A core makes 230 to 340, and on two cores the two simulators take their part of it.
    """
    rate = 0.25
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as folder:
        work = make(Path(folder) / "work", lanes=1000, keys=40 if full else 20)
        option = f"GetParametersForImport={rate:g}"
        runs, _ = _fleet(work, "--quota", option, quotas={"GetParametersForImport": rate})
    floor = runs[0].floor(rate)
    wall = max(run.wall for run in runs)
    return [
        {
            "lanes": work.lanes,
            "shards": SHARDS,
            "floor s": floor,
            "wall s": wall,
            "wall / floor": wall / floor,
            "core %, most": max(100 * run.usage.cpu / run.usage.wall for run in runs),
        }
    ]
