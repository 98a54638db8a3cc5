"""Two shards at once: what a second core adds, and that the quotas stay the limit of a thousand lanes."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.bench import harness
from tests.bench.harness import LIFTED, ROUNDS, Run, Simulator
from tests.bench.workload import Workload, make

Row = dict[str, Any]
SHARDS: Final = 2
# One for each shard, and one for each simulator. With fewer, processes that share a core also share its caches, and
# each takes up to a fifth more processor time than the one process did.
CORES_NEEDED: Final = 2 * SHARDS


def _fleet(work: Workload, *simulator: str, quotas: dict[str, float], at_once: int = SHARDS) -> list[Run]:
    """The shards' runs, each with a simulator of its own (lanes are never split)."""

    def job(number: int) -> Run:
        with Simulator(*simulator, workload=work) as server:
            return harness.product(work, server, quotas=quotas, name=f"shard-{number}", shard=f"{number}/{SHARDS}")

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(job, range(1, SHARDS + 1)))


def two_cores(*, full: bool) -> list[Row]:
    """Without quotas: one process, then two shards.

    `two / one` compares wall time where the machine has a core for each process. Otherwise the shards run one after the
    other, each next to its simulator as the one process does, and the slowest one's processor time is compared: that is
    what wall time would be with a core for each.
    """
    quotas = dict.fromkeys(LIFTED, 100_000.0)
    enough = (os.cpu_count() or 1) >= CORES_NEEDED

    def seconds(run: Run) -> float:
        return run.wall if enough else run.usage.cpu

    ones, slowest = [], []
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as folder:
        work = make(Path(folder) / "work", lanes=100, keys=200 if full else 60)
        for _ in range(ROUNDS):
            with Simulator("--no-quotas", workload=work) as server:
                ones.append(seconds(harness.product(work, server, quotas=quotas)))
            shards = _fleet(work, "--no-quotas", quotas=quotas, at_once=SHARDS if enough else 1)
            slowest.append(max(map(seconds, shards)))
    one, two = min(ones), min(slowest)
    return [
        {
            "keys": work.targets,
            "by": "wall" if enough else "CPU",
            "one s": one,
            "two s": two,
            "keys/s, one": work.targets / one,
            "keys/s, two": work.targets / two,
            "two / one": two / one,
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
        runs = _fleet(work, "--quota", option, quotas={"GetParametersForImport": rate})
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
