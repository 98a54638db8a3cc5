"""A report's figures in a few hundred bytes: `python -m tests.bench.digest REPORT`.

A process of its own, because a report of 100,000 targets would swell the benchmark's own memory, and Linux counts
a parent's peak into that of its children.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import orjson


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def digest(report: Path) -> dict[str, object]:
    """`wall`: seconds from started_at to finished_at; `lane_finish`: seconds after started_at, by lane."""
    document = orjson.loads(report.read_bytes())
    run = document["run"]
    calls: Counter[str] = Counter()
    throttled: Counter[str] = Counter()
    for lane in document["lanes"]:
        calls.update(lane["calls"])
        throttled.update(lane["throttled"])
    finish: dict[str, float] = {}
    errors: Counter[str] = Counter()
    for result in document["results"]:
        lane = f"{result['account']}/{result['region']}"
        if result["finished_at"]:
            finish[lane] = max(finish.get(lane, 0), _seconds(run["started_at"], result["finished_at"]))
        if result["error"]:
            errors[result["error"]["code"]] += 1
    return {
        "wall": _seconds(run["started_at"], run["finished_at"]),
        "outcome": run["outcome"],
        "summary": document["summary"],
        "calls": calls,
        "throttled": throttled,
        "lane_finish": finish,
        "errors": errors,
        "report_bytes": report.stat().st_size,
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(digest(Path(sys.argv[1]))))
