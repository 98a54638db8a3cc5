"""Several reports of one manifest, such as those of its shards, as one report.

What the parts must have in common: schema version, manifest (SHA-256), selection, partition, environment, the number
of selected targets, the number of shards, and, without `allow_stale`, the day.

What becomes of the rest
- results: in manifest order, by `index`. A target or an index that two parts hold is refused.
- summary: counted from the results. Together they must be as many as were selected.
- lanes: one entry per account and Region, in order of first appearance; counts and durations add up.
- run: `runs` keeps each part's own block. Of the block itself: run_id is made from the parts'; times span the parts;
  exit_code is null if a part was killed, and otherwise follows the usual order (signal, 1, 6, 7, 5, 4); labels and
  caller are those that all parts share.
- A shard of which there is no report: `outcome` is interrupted, and `error` names the shard.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from bulk_import.codes import advice_for
from bulk_import.errors import ExitCode
from bulk_import.model.run import widest
from bulk_import.report import verdict
from bulk_import.report.recount import MAKE, Part, Recount, recount
from bulk_import.report.reread import Lazily, Report

Values = dict[str, Any]

ONE_RUN: Final = timedelta(days=1)  # parts that began further apart are not one run of a fleet
_SHOWN: Final = 20  # missing shards that are named


@dataclass(frozen=True, slots=True)
class Merged:
    """`exit_code`: what `report` ends with; also a run that was killed has one here."""

    report: Report
    exit_code: ExitCode


def merge(parts: Sequence[Part], *, allow_stale: bool = False) -> Merged:
    """One report of all; of one part, that part with its counts checked.

    Raises InputError, which names the part, where the parts do not belong together or do not add up.
    """
    _belong_together(parts, allow_stale=allow_stale)
    counted = recount(parts)
    runs = [run for part in sorted(parts, key=_shard) for run in part.runs]
    missing = _missing_shards(runs) if len(parts) > 1 or len(runs) > 1 else []
    _add_up(parts, runs, counted, missing)
    _lanes_add_up(parts, counted)
    first, summary = parts[0].report.head, counted.summary
    code = verdict.exit_code(runs, summary, missing=bool(missing))
    word = verdict.outcome(runs, summary, missing=bool(missing))
    killed = any(run["exit_code"] is None for run in runs)
    run = dict(parts[0].run) if len(runs) == 1 else _run(runs, missing)
    head = {
        "schema_version": first["schema_version"],
        "tool": first["tool"],
        "run": run | {"outcome": word, "exit_code": None if killed else int(code)},
        "summary": asdict(summary),
        "lanes": _lanes(parts, counted),
    }
    streams = [part.report.results for part in parts]
    results = streams[0] if len(streams) == 1 else Lazily(lambda: heapq.merge(*streams, key=itemgetter("index")))
    return Merged(Report(head, results), code)


def _belong_together(parts: Sequence[Part], *, allow_stale: bool) -> None:
    first = parts[0]
    for part in parts[1:]:
        for what, ours, theirs in zip(_BINDING, _binding(first.run), _binding(part.run), strict=True):
            if ours != theirs:
                part.refuse(
                    f"it has another {what} than {first.name}.",
                    "Merge reports of one manifest with the same selection, environment and number of shards.",
                )
    talked = [part for part in parts if part.run["environment"]]  # the others made no call
    for part in talked:
        if _where(part.run) != _where(talked[0].run):
            part.refuse(f"it has another environment than {talked[0].name}.", "Merge runs against the same AWS.")
    if len(parts) > 1:
        for part in parts:
            if part.run["selected"] is None:
                part.refuse("it does not say how many targets were selected.", "Run its shard again.")
        if not allow_stale:
            _one_day(parts)


_BINDING: Final = ("command", "manifest", "selection", "partition", "number of selected targets", "number of shards")


def _binding(run: Values) -> tuple[object, ...]:
    shards = {_of(each) for each in run.get("runs") or [run]}
    selection = {name: sorted(values) for name, values in run["selection"].items() if values}
    manifest = (run["manifest"]["sha256"], run["manifest"]["targets"])
    return run.get("command", "run"), manifest, selection, run["partition"], run["selected"], shards


def _where(run: Values) -> tuple[str, str | None]:
    """The environment and, outside AWS, which one."""
    return run["environment"], None if run["environment"] == "aws" else run["endpoints"].get("kms")


def _of(run: Values) -> int:
    """The N of I/N; 0 without --shard."""
    return _numbers(run)[1]


def _numbers(run: Values) -> tuple[int, int]:
    """I and N; 0 without --shard. Earlier versions wrote 01/08 where it was given so."""
    number, _, of = (run["shard"] or "0/0").partition("/")
    return int(number), int(of)


def _one_day(parts: Sequence[Part]) -> None:
    ordered = sorted(parts, key=lambda part: min(_began(run) for run in part.runs))
    oldest, newest = ordered[0], ordered[-1]
    if max(_began(run) for run in newest.runs) - min(_began(run) for run in oldest.runs) > ONE_RUN:
        oldest.refuse(
            f"its run began at {oldest.run['started_at']}, more than a day before that of {newest.name}.",
            "Run that shard again, or give --allow-stale if the old result still counts.",
        )


def _began(run: Values) -> datetime:
    return datetime.fromisoformat(run["started_at"])


def _add_up(parts: Sequence[Part], runs: Sequence[Values], counted: Recount, missing: Sequence[str]) -> None:
    selected, total = runs[0]["selected"], counted.counts.total()
    if selected is None:
        return
    last = parts[-1]
    if counted.highest >= selected or total > selected:
        last.refuse(f"results of {total:,} targets, but only {selected:,} were selected.", _REBUILD)
    part_of_all = len(runs) == 1 and runs[0]["shard"] is not None  # how large a single shard is, only its run knows
    killed = any(run["finished_at"] is None for run in runs)
    if total < selected and not (missing or killed or part_of_all):
        last.refuse(f"results of {total:,} targets, but {selected:,} were selected: some are missing.", _REBUILD)


def _lanes_add_up(parts: Sequence[Part], counted: Recount) -> None:
    for part in parts:
        for lane in part.report.head["lanes"]:
            count, _ = counted.lanes.get((lane["account"], lane["region"]), (0, 0))
            if count < lane["targets"]:
                where = f"{lane['account']}/{lane['region']}"
                message = f"results of {count:,} targets in {where}, but its lane had {lane['targets']:,}: "
                part.refuse(f"{message}some are missing.", _REBUILD)


_REBUILD: Final = f"Make each report again from its journal: {MAKE}"


def _shard(part: Part) -> tuple[int, int]:
    number, of = _numbers(part.run)
    return of, number


def _missing_shards(runs: Iterable[Values]) -> list[str]:
    given = {_numbers(run) for run in runs if run["shard"]}
    wholes = {of for _, of in given}
    return [f"{n}/{of}" for of in sorted(wholes) for n in range(1, of + 1) if (n, of) not in given]


def _run(runs: Sequence[Values], missing: Sequence[str]) -> Values:
    first = runs[0]
    own = "".join(f"{run['run_id']}\n" for run in runs).encode()
    sums = "".join(f"{run['journal_sha256']}\n" for run in runs).encode()
    killed = any(run["finished_at"] is None for run in runs)
    starts, ends = [run["started_at"] for run in runs], [run["finished_at"] for run in runs]
    longest = max(run["duration_seconds"] for run in runs)
    return first | {
        "run_id": f"merged-{hashlib.sha256(own).hexdigest()[:12]}",
        "started_at": min(starts, key=datetime.fromisoformat),
        "finished_at": None if killed else max(ends, key=datetime.fromisoformat),
        "duration_seconds": longest if killed else round(_span(starts, ends), 3),
        "caller": _shared(run["caller"] for run in runs if run["environment"]),
        "environment": next((run["environment"] for run in runs if run["environment"]), None),
        "endpoints": {service: url for run in runs for service, url in run["endpoints"].items()},
        "labels": dict(item for item in first["labels"].items() if all(item in run["labels"].items() for run in runs)),
        "journal_sha256": hashlib.sha256(sums).hexdigest(),
        "shard": None,
        "resumes": [resume for run in runs for resume in run["resumes"]],
        "stopped_by": list(dict.fromkeys(reason for run in runs for reason in run["stopped_by"])),
        "error": _shard_missing(missing) if missing else next((run["error"] for run in runs if run["error"]), None),
        "runs": list(runs),
    }


def _span(starts: Sequence[str], ends: Sequence[str]) -> float:
    return (max(map(datetime.fromisoformat, ends)) - min(map(datetime.fromisoformat, starts))).total_seconds()


def _shared(values: Iterable[Values | None]) -> Values | None:
    """The one that all have, or None."""
    first, *others = [*values] or [None]
    return first if all(other == first for other in others) else None


def _shard_missing(missing: Sequence[str]) -> Values:
    more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
    return {
        "code": "ShardMissing",
        "message": f"There is no report of shard {', '.join(missing[:_SHOWN])}{more}.",
        "advice": advice_for("ShardMissing"),
    }


def _lanes(parts: Sequence[Part], counted: Recount) -> list[Values]:
    """In manifest order. `targets` is counted from the results."""
    lanes: dict[tuple[str, str], Values] = {}
    for part in parts:
        for lane in part.report.head["lanes"]:
            key = (lane["account"], lane["region"])
            lanes[key] = _both(lanes[key], lane) if key in lanes else lane
    ordered = sorted(counted.lanes.items(), key=lambda item: item[1][1])
    return [lanes[key] | {"targets": count} for key, (count, _) in ordered if key in lanes]


def _both(one: Values, other: Values) -> Values:
    durations = (one["duration_seconds"], other["duration_seconds"])
    return {
        **one,
        **other,
        "duration_seconds": None if None in durations else round(sum(durations), 3),
        "calls": dict(Counter(one["calls"]) + Counter(other["calls"])),
        "throttled": dict(Counter(one["throttled"]) + Counter(other["throttled"])),
        "quota": one["quota"] | other["quota"],
        "session_policy": widest(one.get("session_policy"), other.get("session_policy")),
    }
