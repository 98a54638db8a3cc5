"""What several renderings say of a report: its headline, its warnings, its failures by code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bulk_import.codes import GRAVE
from bulk_import.words import not_aws, plural, spoken

COUNTS = ("imported", "reimported", "unchanged", "corrected", "deleted", "failed", "not_attempted")
WELL = ("imported", "reimported", "unchanged", "corrected", "deleted")
_WHERE_ANY = ("corrected", "deleted")  # shown only where there are some: most manifests create no keys
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Overview:
    """What a rendering says of a report before and after its tables."""

    headline: str
    environment: str | None  # what the first and the last line must say, if the endpoint is not AWS's
    warnings: list[str]  # what a reader must know before the numbers, the gravest first
    counts: list[str]  # statuses whose counts are shown, in order
    exit_code: str
    ceremony: list[tuple[str, tuple[str, str, str]]]


def overview(report: Mapping[str, Any]) -> Overview:
    return Overview(
        headline(report), environment_warning(report), warnings(report), counts(report["summary"]), exit_code(report),
        ceremony(report),
    )  # fmt: skip


def counts(summary: Mapping[str, int]) -> list[str]:
    """The statuses whose counts a rendering shows, in order."""
    return [name for name in COUNTS if name not in _WHERE_ANY or summary.get(name)]


def headline(report: Mapping[str, Any]) -> str:
    """One line: `partial: 2 of 10 targets failed, 1 not attempted, 7 OK`."""
    summary = report["summary"]
    if not summary["total"] and report["run"].get("shard"):
        return f"{report['run']['outcome']}: shard {report['run']['shard']} has no target, so there was nothing to do"
    if not summary["total"]:
        return f"{report['run']['outcome']}: no target"
    well = sum(summary.get(status, 0) for status in WELL)
    parts = [f"{summary['failed']:,} of {plural(summary['total'], 'target')} failed"] if summary["failed"] else []
    if summary["not_attempted"]:
        parts.append(f"{summary['not_attempted']:,} not attempted")
    parts.append(f"{well:,} OK" if parts else f"all {plural(well, 'target')} OK")
    return f"{report['run']['outcome']}: {', '.join(parts)}"


def environment_warning(report: Mapping[str, Any]) -> str | None:
    """What a run whose endpoint is not AWS's must say in its first and last line, else None."""
    run = report["run"]
    return not_aws("run", run["environment"], run.get("endpoints") or {})


def ceremony(report: Mapping[str, Any]) -> list[tuple[str, tuple[str, str, str]]]:
    """Who prepared, sealed and submitted, for auditors: step, and what, fingerprint and trust. Empty: no ceremony."""
    run = report["run"]
    facts = run.get("ceremony")
    if not facts:
        return []

    def step(file: Mapping[str, Any], by: str) -> tuple[str, str, str]:
        what = f"{file['file']}, {plural(file['targets'], 'target')}, begun {file['made_at']}{by}"
        trust = f"verified by {file['signed_by']}" if file["signed_by"] else "fingerprint given by a person"
        return what, spoken(file["sha256"]), f"{trust}; manifest SHA-256 {file['manifest_sha256']}"

    standby = ", for every target (standby)" if facts["standby"] else ""
    return [
        ("Prepared", step(facts["bundle"], f" by {facts['prepared_by']}{standby}")),
        *(("Sealed", step(file, "")) for file in facts["sealed"]),
    ]


def warnings(report: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers, the gravest first; of an endpoint, `environment_warning` says it."""
    summary, run = report["summary"], report["run"]
    found = []
    if run.get("error"):
        found.append(f"{run['error']['code']}: {run['error']['message']} {run['error']['advice']}")
    if run["outcome"] == "interrupted":
        left = f"; {summary['not_attempted']:,} of {plural(summary['total'], 'target')} not attempted"
        found.append(
            "Interrupted: the run was stopped before it ended"
            f"{left if summary['not_attempted'] else ''}. Run again with --resume."
        )
    if summary.get("unproved"):
        found.append(
            f"{plural(summary['unproved'], 'target')} OK without a proof of which bytes KMS holds; "
            "each entry's verification says why."
        )
    return found


def exit_code(report: Mapping[str, Any]) -> str:
    """`exit code 4`; a run that was killed has none."""
    code = report["run"]["exit_code"]
    return "no exit code: killed, or still running" if code is None else f"exit code {code}"


def failures(report: Mapping[str, Any]) -> list[Result]:
    return [r for r in report["results"] if r["status"] == "failed"]


def by_code(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results that have an error by its code: the grave codes first, then the most frequent."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result["error"]:
            groups.setdefault(result["error"]["code"], []).append(result)
    return dict(sorted(groups.items(), key=lambda item: (gravity(item[0]), -len(item[1]))))


def gravity(code: str) -> int:
    """A rank to sort by: the gravest is 0, all that is not grave comes last."""
    return GRAVE.index(code) if code in GRAVE else len(GRAVE)


def by_lane(report: Mapping[str, Any]) -> dict[tuple[str, str], list[Result]]:
    """(account, region) → its results; the lanes in order of first appearance."""
    lanes: dict[tuple[str, str], list[Result]] = {}
    for result in report["results"]:
        lanes.setdefault((result["account"], result["region"]), []).append(result)
    return lanes


def request_ids(result: Result) -> str:
    """`DescribeKey 1f0c…, ImportKeyMaterial 88ab…`"""
    return ", ".join(f"{entry['operation']} {entry['request_id']}" for entry in result["request_ids"])


def materials(result: Result) -> str:
    """Of a target with several: `2025 NON_CURRENT IMPORTED, 2026 CURRENT IMPORTED until 2027-06-30T00:00:00Z`."""
    return ", ".join(
        " ".join(
            filter(None, (
                each["name"], each["state"] or "unknown", each["import_state"],
                f"until {each['valid_to']}" if each["valid_to"] else "",
            ))
        )
        for each in result["materials"]
    )  # fmt: skip


def seconds(result: Result) -> float | None:
    """How long the target took; None where it was not attempted or not ended."""
    if not (result["started_at"] and result["finished_at"]):
        return None
    span = datetime.fromisoformat(result["finished_at"]) - datetime.fromisoformat(result["started_at"])
    return round(span.total_seconds(), 3)
