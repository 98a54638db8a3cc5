"""The report: what a journal says, in the form that people and pipelines rely on. model/ defines every field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Final

import orjson

from bulk_import.codes import advice_for
from bulk_import.model.run import LaneEntry, Resume, Run, RunFailure, Selected
from bulk_import.report.fold import Folded
from bulk_import.report.reread import Lazily, Report
from bulk_import.report.summary import exit_code_of, outcome_of
from bulk_import.text import harmless_values

SCHEMA_VERSION: Final = 1

_CHUNK: Final = 1 << 18  # bytes; a write for each entry would be a system call for each


@dataclass(frozen=True, slots=True)
class Document:
    """A run's report. Its head is made once; its entries are read from the journal each time they are wanted."""

    head: dict[str, Any]  # every member of the report but `results`
    folded: Folded

    @classmethod
    def of(cls, folded: Folded) -> Document:
        head = {
            "schema_version": SCHEMA_VERSION,
            "tool": folded.started["tool"],
            "run": _run(folded),
            "summary": folded.summary,
            "lanes": list(_lanes(folded)),
        }
        return cls(dict(harmless_values(orjson.loads(orjson.dumps(head)))), folded)

    @property
    def run_id(self) -> str:
        return str(self.head["run"]["run_id"])

    def elsewhere(self) -> Document:
        """The same, of a run that could not write its report, or a rendering, where it was wanted."""
        code = exit_code_of(self.folded.summary, self.folded.ending, report_elsewhere=True)
        return replace(self, head=self.head | {"run": self.head["run"] | {"exit_code": code}})

    def chunks(self) -> Iterator[bytes]:
        """The report's bytes, a few hundred kilobytes at a time: one member a line, one lane a line, one result a
        line."""
        return gathered_chunks(self.head, self.folded.entries())

    def as_report(self) -> Report:
        """The same as values, for renderings."""
        return Report(
            self.head, Lazily(lambda: (harmless_values(orjson.loads(entry)) for entry in self.folded.entries()))
        )


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


def _run(folded: Folded) -> Run:
    started, caller = folded.started, folded.caller
    return Run(
        run_id=started["run_id"],
        started_at=started["started_at"],
        finished_at=folded.finished_at,
        duration_seconds=folded.duration_seconds,
        outcome=outcome_of(folded.summary, folded.ending),
        exit_code=exit_code_of(folded.summary, folded.ending),
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
