"""The measurements, each a function that returns plain rows for a table and for JSON.

Runs that need a fraction of a core go side by side; what fills a core has the machine to itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.bench import harness, lives, shards
from tests.bench.ceremony import ceremony
from tests.bench.harness import LIFTED, PYTHON, ROUNDS_OF_CPU, Run, RunFailedError, Simulator
from tests.bench.merged import merged
from tests.bench.workload import REGIONS, Workload, lanes_of, make

Row = dict[str, Any]
KEYS = 20
LATENCY = "20,60"  # milliseconds: median and 99th percentile
FREE = dict.fromkeys(LIFTED, 100_000.0)
IMPORTS_OF_MEMORY = 2.0  # per second and lane: a core can make them, so that the number of targets in work is steady


@contextmanager
def _workload(lanes: int, keys: int, *, suffix: str = ".jsonl", regions: int = len(REGIONS)) -> Iterator[Workload]:
    with tempfile.TemporaryDirectory(prefix="bulk-import-bench-") as folder:
        yield make(Path(folder) / "work", lanes=lanes, keys=keys, suffix=suffix, regions=regions)


def _ours(
    lanes: int, keys: int, *simulator: str, quotas: dict[str, float] | None = None, regions: int = len(REGIONS)
) -> Run:
    with _workload(lanes, keys, regions=regions) as work, Simulator(*simulator, workload=work) as server:
        return harness.product(work, server, quotas=quotas)


def _side_by_side(*jobs: Callable[[], Run]) -> list[Run]:
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def wall(*, full: bool) -> list[Row]:
    """Wall time over the quota floor, one to a hundred lanes, without and with latency."""
    light = [(lanes, latency) for latency in ("", LATENCY) for lanes in (1, 10)]
    heavy = [(100, latency) for latency in ("", LATENCY)]

    def job(lanes: int, latency: str) -> Callable[[], Run]:
        return lambda: _ours(lanes, KEYS, *(["--latency", latency] if latency else []))

    runs = _side_by_side(*(job(*case) for case in light))
    runs += [job(*case)() for case in heavy]
    rows = [_wall_row(run, latency, 1) for (_, latency), run in zip([*light, *heavy], runs, strict=True)]
    if full:
        rows.append(_wall_row(_ours(100, 100), "", 1))
    return rows


def slow_quota(*, full: bool) -> list[Row]:
    """A thousand lanes at a quota of 0.1 a second, which one core can feed."""
    del full
    quotas = {"GetParametersForImport": 0.1}
    run = _ours(1000, 8, "--quota", "GetParametersForImport=0.1", quotas=quotas)
    return [_wall_row(run, "", 0.1)]


def _wall_row(run: Run, latency: str, rate: float) -> Row:
    floor = run.floor(rate)
    return {
        "lanes": run.workload.lanes,
        "keys per lane": run.workload.keys,
        "quota per s": rate,
        "latency ms": latency or "none",
        "floor s": floor,
        "wall s": run.wall,
        "wall / floor": run.wall / floor,
        "calls": run.calls,
        "throttled %": 100 * run.throttled_share,
        "CPU ms/key": 1000 * run.usage.cpu / run.workload.targets,
        "core %": 100 * run.usage.cpu / run.usage.wall,
        "connections": run.peak_connections,
        "peak MB": run.usage.peak_mb,
    }


def full_core(*, full: bool) -> list[Row]:
    """A thousand lanes at the real quota: 1,000 keys per second, more than a core can make."""
    return [_full_core_row(_ours(1000, 100 if full else 6))]


def memory(*, full: bool) -> list[Row]:
    """Memory as targets end and lanes do not: what the last two thirds of a run add, carried on to 100,000 targets.

    The first third is left out: until it has ended, the number of targets in work grows too. `full_core --full` runs
    100,000.
    """
    quotas = FREE | {"GetParametersForImport": IMPORTS_OF_MEMORY}
    run = _ours(100, 400 if full else 100, "--no-quotas", quotas=quotas)
    third, end = run.usage.memory_at(1 / 3), run.usage.memory_at(1)
    targets = run.workload.targets
    per_thousand = (end - third) / (targets * 2 / 3) * 1000
    return [
        {
            "lanes": run.workload.lanes,
            "targets": targets,
            "MB at 1/3": third,
            "peak MB": run.usage.peak_mb,
            "MB per 1,000 targets": per_thousand,
            "MB at 100,000": run.usage.peak_mb + (100_000 - targets) / 1000 * per_thousand,
        }
    ]


def _full_core_row(run: Run) -> Row:
    finishes = sorted(run.report["lane_finish"].values())
    targets, peak = run.workload.targets, run.usage.peak_mb
    return {
        "lanes": run.workload.lanes,
        "keys": targets,
        "wall s": run.wall,
        "keys/s": targets / run.wall,
        "core %": 100 * run.usage.cpu / run.usage.wall,
        "simulator core %": 100 * run.server_cpu / run.usage.wall,
        "throttled %": 100 * run.throttled_share,
        "first lane s": finishes[0],
        "last lane s": finishes[-1],
        "spread %": 100 * (finishes[-1] - finishes[0]) / finishes[-1],
        "MB at 1/3": run.usage.memory_at(1 / 3),
        "MB at 2/3": run.usage.memory_at(2 / 3),
        "peak MB": peak,
    }


def cpu(*, full: bool) -> list[Row]:
    """What a key costs with the quotas lifted, and how much of it is not the calls' own cost.

    The start-up (interpreter, imports, session) is measured by a run of one target and taken off. `warm ms/call` is a
    vanilla aiobotocore client's, the unit of what people use; `our warm ms/call` that of the product's own client.
    Of each, the least disturbed of several measurements in turn: a neighbour on the machine only adds to them.
    """
    pairs = [(_warm_ms(), _warm_ms("ours")) for _ in range(ROUNDS_OF_CPU)]
    per_call, ours = (min(column) for column in zip(*pairs, strict=True))
    ratio = ours / per_call
    first = _ours(1, 1, "--no-quotas", quotas=FREE)
    start_up = 1000 * first.usage.cpu - first.calls * per_call
    rows: list[Row] = []
    for lanes in (1, 10, 100, 1000):
        runs, units = [], [per_call]
        for _ in range(ROUNDS_OF_CPU):
            runs.append(_ours(lanes, max(1000, lanes) * (10 if full else 1) // lanes, "--no-quotas", quotas=FREE))
            units.append(_warm_ms())
        run, unit, per_call = min(runs, key=lambda run: run.usage.cpu), min(units), units[-1]
        targets = run.workload.targets
        total = 1000 * run.usage.cpu - start_up
        rows.append(
            {
                "lanes": lanes,
                "keys": targets,
                "calls per key": run.calls / targets,
                "warm ms/call": unit,
                "our warm ms/call": ours,
                "ours / warm": ratio,
                "ms/key": total / targets,
                "own ms/key": (total - run.calls * unit) / targets,
                "beside our calls": (total - run.calls * ours) / targets,
                "in warm calls": total / targets / unit,
                "keys/s": targets / run.wall,
                "start-up s": start_up / 1000,
                "peak MB": run.usage.peak_mb,
            }
        )
    least = min(row["in warm calls"] for row in rows)
    return [row | {"x least": row["in warm calls"] / least} for row in rows]


def _warm_ms(*whose: str) -> float:
    """Milliseconds of CPU of a call on a warm client, now."""
    with Simulator("--no-quotas") as server:
        command = [PYTHON, "-m", "tests.bench.warm_client", server.url, "3000", *whose]
        warm = harness.run(command, harness.environment(server.url))
    return float(orjson.loads(warm.stdout)["ms_per_call"])


def baselines(*, full: bool) -> list[Row]:
    """The same work by what people use now, each as a ratio to ours on the same workload."""
    lanes, keys, cli_keys = (10, 20, 10) if full else (10, 10, 3)

    def job(which: str, *, lanes: int, keys: int) -> Callable[[], Run]:
        def go() -> Run:
            with _workload(lanes, keys) as work, Simulator(workload=work) as server:
                return harness.product(work, server) if which == "ours" else harness.baseline(work, server, which)

        return go

    ours, ours_small, script = _side_by_side(
        job("ours", lanes=lanes, keys=keys),
        job("ours", lanes=1, keys=cli_keys),
        job("aioboto3_script", lanes=lanes, keys=keys),
    )
    pool, loop = _side_by_side(job("boto3_pool", lanes=lanes, keys=keys), job("cli_loop", lanes=1, keys=cli_keys))
    named = [
        ("bulk-import", ours, ours),
        ("aioboto3 script", script, ours),
        ("boto3 pool", pool, ours),
        ("bulk-import", ours_small, ours_small),
        ("AWS CLI loop", loop, ours_small),
    ]
    return [_baseline_row(name, run, against) for name, run, against in named]


def _baseline_row(name: str, run: Run, against: Run) -> Row:
    return {
        "client": name,
        "keys": f"{run.workload.lanes} x {run.workload.keys}",
        "wall s": run.wall,
        "x wall": run.wall / against.wall,
        "CPU s": run.usage.cpu,
        "x CPU": run.usage.cpu / against.usage.cpu,
        "calls": run.calls,
        "x calls": run.calls / against.calls,
        "throttled": run.throttles,
        "given up at first": run.report.get("failed_first_pass", 0),
    }


def fairness(*, full: bool) -> list[Row]:
    """Whether one lane throttled by another principal and one slow role move the other lanes' finish."""
    lanes, keys, regions = 20, (40 if full else 12), 2
    throttled, slow = lanes_of(lanes, regions)[0], lanes_of(lanes, regions)[2][0]
    trouble = [
        f"--other={throttled[0]}/{throttled[1]}/GetParametersForImport=0.7",
        f"--slow-sts={slow}=6",
    ]
    calm, troubled = _side_by_side(
        lambda: _ours(lanes, keys, regions=regions), lambda: _ours(lanes, keys, *trouble, regions=regions)
    )
    before, after = calm.report["lane_finish"], troubled.report["lane_finish"]
    hit = {"/".join(throttled)} | {lane for lane in before if lane.startswith(slow)}
    moved = {lane: abs(after[lane] - before[lane]) / before[lane] for lane in before if lane not in hit}
    lane = "/".join(throttled)
    return [
        {
            "lanes": lanes,
            "keys per lane": keys,
            "others' finish moved, worst %": 100 * max(moved.values()),
            "throttled lane s": after[lane],
            "undisturbed s": before[lane],
            "its throttled calls": troubled.throttles,
            "slow role's lanes s": max(after[name] for name in hit if name != lane),
        }
    ]


def manifest(*, full: bool) -> list[Row]:
    """Rows a second that `validate` reads, checks and expands; its start-up is taken off."""
    del full
    env = harness.environment("http://127.0.0.1:9")
    with _workload(1, 1) as work:
        start_up = _validate(work, env)
    rows = []
    for suffix in (".jsonl", ".csv"):
        for lanes, keys in ((100, 1000), (100, 10_000)):
            with _workload(lanes, keys, suffix=suffix) as work:
                usage = _validate(work, env)
                rows.append(
                    {
                        "format": suffix[1:],
                        "rows": work.targets,
                        "MB": work.manifest.stat().st_size / 2**20,
                        "wall s": usage.wall,
                        "rows/s": work.targets / (usage.wall - start_up.wall),
                        "peak MB": usage.peak_mb,
                        "bytes per row": (usage.peak_mb - start_up.peak_mb) * 2**20 / work.targets,
                    }
                )
    return rows


def _validate(work: Workload, env: dict[str, str]) -> harness.Usage:
    usage = harness.run([PYTHON, "-m", "bulk_import", "validate", str(work.manifest), "--quiet"], env)
    if usage.exit_code:
        raise RunFailedError(f"exit code {usage.exit_code}: {usage.command}\n{usage.stderr[-2000:]}")
    return usage


MEASUREMENTS: dict[str, tuple[str, Callable[..., list[Row]]]] = {
    "wall": ("Wall time over the quota floor", wall),
    "fairness": ("Fairness: one lane throttled by others, one role slow", fairness),
    "baselines": ("The same work by what people use now", baselines),
    "slow_quota": ("A thousand lanes at 0.1 a second", slow_quota),
    "ceremony": ("One lane of prepared keys by submit, and the same lane by run", ceremony),
    "full_core": ("A thousand lanes at a full core", full_core),
    "cpu": ("Client CPU, quotas lifted", cpu),
    "created": ("Keys created and filled, and keys found as wanted", lives.created),
    "memory": ("Memory by targets", memory),
    "manifest": ("Reading a manifest", manifest),
    "merged": ("A hundred shards as one report", merged),
    "two_cores": ("Two shards on two cores, quotas lifted", shards.two_cores),
    "thousand_lanes": ("A thousand lanes over two shards", shards.thousand_lanes),
}
# Measured at once, because neither disturbs the other. Memory needs no exact time, and a manifest one core; one lane
# takes a hundredth of a core for as long as a thousand lanes at a low quota take half of one.
TOGETHER = ({"memory", "manifest"}, {"slow_quota", "ceremony"})
