"""Several reports of one manifest, such as its shards', as one report.

What the parts must have in common, and what becomes of the rest
- manifest: one SHA-256, else they are refused. schema_version: one.
- results: the parts' one after another, in the order of their shards, else as given. A target that two parts hold is
  refused: it would have two endings.
- summary: adds up. lanes: one entry per account and Region; counts and durations add up.
- run: `runs` keeps each part's own block. Of the block itself: run_id is made of the parts'; times span the parts;
  exit_code follows the usual order (signal, 1, 6, 7, 5, 4) and is null where a part was killed; environment is the
  one furthest from AWS; selection is what any part selected; labels and caller are those that all parts share.
- A shard of which there is no report makes the whole no success: `outcome` is interrupted, `error` names it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bulk_import.codes import advice_for
from bulk_import.errors import ExitCode, InputError, Problem
from bulk_import.report.reread import Lazily, Report

Values = dict[str, Any]

# The first that a part ended with is the whole's; 5 and 4 depend on the targets of all.
_WORST: Final = (
    ExitCode.SIGINT, ExitCode.SIGTERM, ExitCode.SIGHUP, ExitCode.INTERNAL, ExitCode.REPORT_ELSEWHERE, ExitCode.DEADLINE,
)  # fmt: skip
_COUNTS: Final = ("total", "imported", "reimported", "unchanged", "failed", "not_attempted", "unproved")
_WELL: Final = ("imported", "reimported", "unchanged")


@dataclass(frozen=True, slots=True)
class Part:
    """One report, and what messages call it."""

    name: str
    report: Report

    @property
    def run(self) -> Values:
        run: Values = self.report.head["run"]
        return run

    @property
    def runs(self) -> list[Values]:
        """Those that it was merged of itself, else its own."""
        return list(self.run.get("runs") or [self.run])


def merge(parts: Sequence[Part]) -> Report:
    """One report of all. Raises InputError, naming the parts, where they do not belong together.

    Reads each part's results once to see that no target stands twice: about 100 bytes a target stay in memory.
    """
    if len(parts) == 1:
        return parts[0].report
    _one_manifest(parts)
    ordered = sorted(parts, key=_shard)
    _no_target_twice(ordered)
    summary = {name: sum(part.report.head["summary"][name] for part in ordered) for name in _COUNTS}
    head = {
        "schema_version": ordered[0].report.head["schema_version"],
        "tool": ordered[0].report.head["tool"],
        "run": _run(ordered, summary),
        "summary": summary,
        "lanes": _lanes(ordered),
    }
    return Report(head, Lazily(lambda: (result for part in ordered for result in part.report.results)))


def _one_manifest(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if part.run["manifest"]["sha256"] != first.run["manifest"]["sha256"]:
            raise _refused(part, f"belongs to another manifest than {first.name}.", "Merge reports of one manifest.")


def _no_target_twice(parts: Sequence[Part]) -> None:
    seen: dict[tuple[str, str, str], int] = {}
    for number, part in enumerate(parts):
        for result in part.report.results:
            before = seen.setdefault((result["id"], result["account"], result["region"]), number)
            if before != number:
                raise _refused(
                    part,
                    f"{result['id']} in {result['account']}/{result['region']} is in {parts[before].name} too.",
                    "Merge the parts of one run, not two runs of the same targets.",
                )


def _refused(part: Part, message: str, advice: str) -> InputError:
    return InputError([Problem(part.name, 0, "", message, advice)])


def _shard(part: Part) -> tuple[int, int]:
    number, _, of = (part.run.get("shard") or "0/0").partition("/")
    return int(of), int(number)


def _missing_shards(runs: Iterable[Values]) -> list[str]:
    given = {run["shard"] for run in runs if run.get("shard")}
    wholes = {shard.partition("/")[2] for shard in given}
    return [f"{n}/{of}" for of in sorted(wholes) for n in range(1, int(of) + 1) if f"{n}/{of}" not in given]


def _run(parts: Sequence[Part], summary: Values) -> Values:
    runs = [run for part in parts for run in part.runs]
    missing = _missing_shards(runs)
    first = runs[0]
    own = "".join(f"{run['run_id']}\n" for run in runs).encode()
    sums = "".join(f"{run['journal_sha256']}\n" for run in runs).encode()
    killed = any(run["finished_at"] is None for run in runs)
    starts, ends = [run["started_at"] for run in runs], [run["finished_at"] for run in runs]
    longest = max(run["duration_seconds"] for run in runs)
    return {
        "run_id": f"merged-{hashlib.sha256(own).hexdigest()[:12]}",
        "started_at": min(starts, key=datetime.fromisoformat),
        "finished_at": None if killed else max(ends, key=datetime.fromisoformat),
        "duration_seconds": longest if killed else round(_span(starts, ends), 3),
        "outcome": _outcome(runs, summary, missing),
        "exit_code": _exit_code(runs, summary, missing),
        "manifest": first["manifest"],
        "selection": _selection(runs),
        "selected": first.get("selected"),
        "caller": _shared(run["caller"] for run in runs),
        "partition": first["partition"],
        "environment": _environment(runs),
        "endpoints": {service: url for run in runs for service, url in run["endpoints"].items()},
        "labels": dict(item for item in first["labels"].items() if all(item in run["labels"].items() for run in runs)),
        "journal_sha256": hashlib.sha256(sums).hexdigest(),
        "shard": None,
        "resumes": [resume for run in runs for resume in run["resumes"]],
        "stopped_by": list(dict.fromkeys(reason for run in runs for reason in run.get("stopped_by") or [])),
        "error": _shard_missing(missing) if missing else next((run["error"] for run in runs if run.get("error")), None),
        "runs": runs,
    }


def _span(starts: Sequence[str], ends: Sequence[str]) -> float:
    return (max(map(datetime.fromisoformat, ends)) - min(map(datetime.fromisoformat, starts))).total_seconds()


def _outcome(runs: Sequence[Values], summary: Values, missing: Sequence[str]) -> str:
    outcomes = {run["outcome"] for run in runs}
    if missing or "interrupted" in outcomes:
        return "interrupted"
    if outcomes == {"succeeded"}:
        return "succeeded"
    return "partial" if any(summary[status] for status in _WELL) else "failed"


def _exit_code(runs: Sequence[Values], summary: Values, missing: Sequence[str]) -> int | None:
    codes = {run["exit_code"] for run in runs}
    if None in codes:
        return None
    for code in _WORST:
        if code in codes:
            return int(code)
    if not any(summary[status] for status in _WELL):
        return int(ExitCode.NONE_WELL)
    return int(ExitCode.PARTIAL if missing or codes != {ExitCode.OK} else ExitCode.OK)


def _selection(runs: Sequence[Values]) -> dict[str, list[str]]:
    """What any of them selected; one that selected all makes it all."""
    found = {}
    for name in ("accounts", "regions", "ids"):
        chosen = [run["selection"][name] for run in runs]
        found[name] = list(dict.fromkeys(value for values in chosen for value in values)) if all(chosen) else []
    return found


def _shared(values: Iterable[Values | None]) -> Values | None:
    """The one that all have, else None."""
    first, *others = values
    return first if all(other == first for other in others) else None


def _environment(runs: Sequence[Values]) -> str | None:
    found = {run["environment"] for run in runs}
    return next((name for name in ("sandbox", "custom", "aws") if name in found), None)


def _shard_missing(missing: Sequence[str]) -> Values:
    return {
        "code": "ShardMissing",
        "message": f"There is no report of shard {', '.join(missing)}.",
        "advice": advice_for("ShardMissing"),
    }


def _lanes(parts: Sequence[Part]) -> list[Values]:
    lanes: dict[tuple[str, str], Values] = {}
    for part in parts:
        for lane in part.report.head["lanes"]:
            key = (lane["account"], lane["region"])
            lanes[key] = _both(lanes[key], lane) if key in lanes else lane
    return list(lanes.values())


def _both(one: Values, other: Values) -> Values:
    durations = (one["duration_seconds"], other["duration_seconds"])
    return {
        **one,
        **other,
        "targets": one["targets"] + other["targets"],
        "duration_seconds": None if None in durations else round(sum(durations), 3),
        "calls": dict(Counter(one["calls"]) + Counter(other["calls"])),
        "throttled": dict(Counter(one["throttled"]) + Counter(other["throttled"])),
        "quota": one["quota"] | other["quota"],
    }
