"""The report: what a journal says, in the form that people and pipelines rely on. model/ defines every field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import chain
from typing import Any, Final

import orjson

from bulk_import.codes import advice_for
from bulk_import.model.run import LaneEntry, Resume, Run, RunFailure, Selected
from bulk_import.report.fold import Folded
from bulk_import.report.reread import Lazily, Report
from bulk_import.report.summary import outcome_of
from bulk_import.text import harmless_values

SCHEMA_VERSION: Final = 1

_CHUNK: Final = 1 << 18  # bytes; a write for each entry would be a system call for each


def chunks(folded: Folded, *, report_elsewhere: bool = False) -> Iterator[bytes]:
    """The report's bytes, a few hundred kilobytes at a time: one member a line, one lane a line, one result a line."""
    return gathered_chunks(head(folded, report_elsewhere=report_elsewhere), folded.entries())


def as_report(folded: Folded, *, report_elsewhere: bool = False) -> Report:
    """The same as values, for renderings."""
    entries = Lazily(lambda: (harmless_values(orjson.loads(entry)) for entry in folded.entries()))
    return Report(head(folded, report_elsewhere=report_elsewhere), entries)


def gathered_chunks(head: Mapping[str, Any], results: Iterable[bytes]) -> Iterator[bytes]:
    """A report's bytes from its members; `results` are JSON already."""
    gathered, size = [], 0
    for piece in _pieces(head, results):
        gathered.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def head(folded: Folded, *, report_elsewhere: bool = False) -> dict[str, Any]:
    """Every member of the report but `results`."""
    members = {
        "schema_version": SCHEMA_VERSION,
        "tool": folded.started["tool"],
        "run": _run(folded, report_elsewhere=report_elsewhere),
        "summary": folded.summary,
        "lanes": list(_lanes(folded)),
    }
    return dict(harmless_values(orjson.loads(orjson.dumps(members))))


def _pieces(head: Mapping[str, Any], results: Iterable[bytes]) -> Iterator[bytes]:
    yield b"{\n"
    for name, value in head.items():
        if name != "lanes":
            yield b'"%b":%b,\n' % (name.encode(), orjson.dumps(value))
    lanes = (orjson.dumps(lane) for lane in head["lanes"])
    yield from chain([b'"lanes":['], _lines(lanes), [b'],\n"results":['], _lines(results), [b"]\n}\n"])


def _lines(items: Iterable[bytes]) -> Iterator[bytes]:
    separator = b"\n"
    for item in items:
        yield separator + item
        separator = b",\n"
    if separator != b"\n":
        yield b"\n"


def _run(folded: Folded, *, report_elsewhere: bool) -> Run:
    started, caller = folded.started, folded.caller
    return Run(
        run_id=started["run_id"],
        started_at=started["started_at"],
        finished_at=folded.finished_at,
        duration_seconds=folded.duration_seconds,
        outcome=outcome_of(folded.summary, folded.ending),
        exit_code=folded.exit_code(report_elsewhere=report_elsewhere),
        command=started.get("command", "submit" if started.get("ceremony") else "run"),
        manifest=started["manifest"],
        selection=Selected(**started["selection"]),
        selected=started.get("selected", None if started["shard"] else folded.summary.total),
        caller=caller.get("caller"),
        partition=started["partition"],
        environment=caller.get("environment"),
        endpoints=caller.get("endpoints", {}),
        labels=started["labels"],
        journal_sha256=folded.sha256,
        shard=started["shard"],
        resumes=[Resume(**resume) for resume in folded.resumes],
        stopped_by=list(folded.ending.stopped_by),
        error=_failure(folded.failure) if folded.failure else None,
        ceremony=started.get("ceremony"),
    )


def _failure(failure: Mapping[str, Any]) -> RunFailure:
    return RunFailure(
        failure["code"],
        failure["message"],
        failure.get("advice") or advice_for(failure["code"]),  # older journals have none
    )


def _lanes(folded: Folded) -> Iterator[LaneEntry]:
    for (account, region), lane in folded.lanes.items():
        facts = {field.name: getattr(lane, field.name) for field in fields(lane)}
        yield LaneEntry(account=account, region=region, **facts)
