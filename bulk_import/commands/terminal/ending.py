"""The end of a run, or of a report read later: the worst news first, then the counts, then where everything is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import structlog
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bulk_import.api import RunResult
from bulk_import.commands import output
from bulk_import.errors import ReportNotWritten
from bulk_import.report.formats import view
from bulk_import.settings import Settings
from bulk_import.text import harmless

NAMED = 10  # targets of a code that are named
CODES = 20  # codes that are shown
LANES = 5  # throttled lanes that are named
WIDEST = 100  # columns, where nobody says how many there are
log = structlog.get_logger()


@dataclass(slots=True)
class Group:
    """Targets that failed, or were not attempted, for one reason."""

    status: str
    code: str
    advice: str
    count: int = 0
    named: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The worst first: failed before not attempted, grave before frequent."""
        return self.status != "failed", view.gravity(self.code), -self.count


def tell(result: RunResult, settings: Settings, *, elsewhere: bool = False) -> None:
    """The end of a run, on stderr. What ended the whole run is said even with --quiet.

    `elsewhere`: its endpoints are not AWS's, also where nobody answered.
    """
    if settings.log_format == "json":
        _log(result)
        return
    if result.error is not None:
        output.say(f"{result.error.code}: {result.error.message}\n{result.error.advice}")
    environment = result.environment or ("custom" if elsewhere else "aws")
    last = _last_line(result, environment)
    if settings.quiet:
        if environment != "aws":
            output.say(last)
        return
    show(result.document.whole(), sys.stderr, like=sys.stderr, told=result.error is not None, last=last)


def show(
    report: Mapping[str, Any], out: TextIO, *, like: TextIO | None = None, told: bool = False, last: str = ""
) -> None:
    """Writes it all to `out`, as wide and colourful as `like` is.

    `told`: what ended the whole run was said already; `last`: the last line, if not the report's own.
    """
    console = _console(out, like)
    run, summary = report["run"], report["summary"]
    warning = view.environment_warning(report)
    if warning and not last:
        _line(console, warning, "yellow")  # a run has said it in its own first line
    if run.get("error") and not told:
        _line(console, f"{run['error']['code']}: {run['error']['message']} {run['error']['advice']}", "bold red")
    if summary["failed"] or summary["not_attempted"]:
        _groups(console, report["results"])
    _counts(console, report)
    _throttled(console, report["lanes"])
    if summary["unproved"]:
        _line(console, f"Without a proof of which bytes KMS holds: {summary['unproved']:,}.", "yellow")
    _line(console, last or _own_last_line(report))


def _console(out: TextIO, like: TextIO | None) -> Console:
    shown = Console(file=like, highlight=False) if like and like.isatty() else None
    if shown is None:
        return Console(file=out, highlight=False, width=WIDEST, force_terminal=False)
    return Console(
        file=out, highlight=False, width=shown.width, force_terminal=True, legacy_windows=shown.legacy_windows
    )


def _groups(console: Console, results: Iterable[view.Result]) -> None:
    groups = sorted(grouped(results), key=lambda group: group.rank)
    for group in groups[:CODES]:
        word = "failed" if group.status == "failed" else "not attempted"
        style = "bold red" if group.status == "failed" else "yellow"
        _line(console, f"{view.plural(group.count, 'target')} {word}: {group.code}", style)
        _line(console, f"  What to do: {group.advice}")
        if group.status != "failed":
            continue  # which they are says nothing that the report does not
        for result in group.named:
            place = f"{result['account']}/{result['region']}"
            _line(console, f"  {result['id']} in {place}: {' '.join(result['error']['message'].split())}")
        if group.count > len(group.named):
            _line(console, f"  +{group.count - len(group.named):,} more in the report")
    if len(groups) > CODES:
        _line(console, f"+{len(groups) - CODES} more codes in the report")


def grouped(results: Iterable[view.Result]) -> list[Group]:
    """By status and code. Memory: a few results a code, however many there are."""
    groups: dict[tuple[str, str], Group] = {}
    for result in results:
        error = result["error"]
        if error is None:
            continue
        key = (result["status"], error["code"])
        group = groups.get(key) or groups.setdefault(key, Group(*key, error["advice"]))
        group.count += 1
        if len(group.named) < NAMED:
            group.named.append(result)
    return list(groups.values())


def _counts(console: Console, report: Mapping[str, Any]) -> None:
    summary = report["summary"]
    _line(console, f"{report['run']['run_id']}: {report['run']['outcome']}", "bold")
    table = Table()
    table.add_column("status")
    table.add_column("targets", justify="right")
    styles = {"failed": "bold red", "not_attempted": "yellow"}
    for name in ("failed", "not_attempted", "imported", "reimported", "unchanged", "total"):
        style = styles.get(name) if summary[name] else None
        table.add_row(name.replace("_", " "), f"{summary[name]:,}", style=style, end_section=name == "unchanged")
    console.print(table)


def _throttled(console: Console, lanes: Iterable[Mapping[str, Any]]) -> None:
    """Others use the quota too: by lane, the most throttled first."""
    found = sorted((lane for lane in lanes if lane["throttled"]), key=lambda lane: -sum(lane["throttled"].values()))
    for lane in found[:LANES]:
        calls = ", ".join(
            f"{count:,} of {lane['calls'].get(operation, count):,} {operation}"
            for operation, count in lane["throttled"].items()
        )
        _line(console, f"Throttled by KMS in {lane['account']}/{lane['region']}: {calls}.")
    if len(found) > LANES:
        _line(console, f"+{len(found) - LANES} more throttled lanes in the report")


def _last_line(result: RunResult, environment: str) -> str:
    where = "see above" if isinstance(result.error, ReportNotWritten) else result.report or "stdout"
    line = harmless(f"Report: {where}   Journal: {result.journal}   Exit code: {int(result.exit_code)}")
    return line if environment == "aws" else f"{line}   This run talked to a {environment} endpoint, not to AWS."


def _own_last_line(report: Mapping[str, Any]) -> str:
    run = report["run"]
    line = f"Manifest: {run['manifest']['uri']}   Took: {view.duration(run['duration_seconds'])}   "
    line += view.exit_code(report).capitalize()
    warning = view.environment_warning(report)
    return f"{line}   {warning}" if warning else line


def _log(result: RunResult) -> None:
    """The same as one event, for machines that read the log."""
    run, error = result.document.head["run"], result.error
    fields: dict[str, Any] = {
        "run": result.run_id,
        "outcome": run["outcome"],
        "exit_code": int(result.exit_code),
        "summary": result.document.head["summary"],
        "report": str(result.report) if result.report else None,
        "journal": str(result.journal),
        "environment": result.environment,
    }
    if error is not None:
        fields["error"] = {"code": error.code, "message": error.message, "advice": error.advice}
        log.error("run ended", **fields)
    else:
        log.info("run ended", **fields)


def _line(console: Console, text: str, style: str = "") -> None:
    """Never wrapped by us: a path can be copied, a pipeline's log searched."""
    console.print(Text(text, style=style), soft_wrap=True)
