"""The end of a run, or of a report read later: causes of failure, one line of counts, every file, the page first."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from rich.console import Console
from rich.text import Text

from bulk_import.api import reports
from bulk_import.commands import output
from bulk_import.errors import ReportNotWritten
from bulk_import.model import Status
from bulk_import.settings import Settings
from bulk_import.text import harmless
from bulk_import.words import duration, plural

if TYPE_CHECKING:
    from bulk_import.api import RunResult

NAMED = 10  # targets of a code that are named
CODES = 20  # codes that are shown
TITLES = {"html": "Page", "junit": "JUnit", "markdown": "Markdown", "github": "GitHub", "csv": "CSV"}
LANES = 5  # throttled lanes that are named
WIDEST = 100  # columns, if the terminal does not say how many it has
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
        return self.status != "failed", reports.gravity(self.code), -self.count


def tell(result: RunResult, settings: Settings, *, elsewhere: bool = False) -> None:
    """The end of a run, on stderr. What ended the complete run is reported even with --quiet.

    `elsewhere`: its endpoints are not AWS's, also where no one answered.
    """
    if settings.log_format == "json":
        _log(result)
        return
    if result.error is not None:
        output.say(f"{result.error.code}: {result.error.message}\n{result.error.advice}")
    environment = result.environment or ("custom" if elsewhere else "aws")
    warning = f"This run talked to a {environment} endpoint, not to AWS." if environment != "aws" else ""
    if not settings.quiet:
        files = list(_files(result))
        show(result.document.whole(), sys.stderr, like=sys.stderr, told=result.error is not None, files=files)
    elif warning:
        output.say(f"Exit code {int(result.exit_code)}.")
    if warning:
        output.say(warning)


def show(
    report: Mapping[str, Any],
    out: TextIO,
    *,
    like: TextIO | None = None,
    told: bool = False,
    files: Sequence[str] | None = None,
) -> None:
    """Writes it all to `out`, as wide and colourful as `like` is.

    `told`: what ended the complete run was reported already. `files`: lines that name what a run wrote; None: this is
    a report that is read later, and it says itself what it is about.
    """
    console = _console(out, like)
    run, summary = report["run"], report["summary"]
    warning = reports.environment_warning(report)
    if warning and files is None:
        _line(console, warning, "yellow")  # a run says so in its own first line
    if run.get("error") and not told:
        _line(console, f"{run['error']['code']}: {run['error']['message']} {run['error']['advice']}", "bold red")
    if summary["failed"] or summary["not_attempted"]:
        _groups(console, report["results"])
    _throttled(console, report["lanes"])
    if summary["unproved"]:
        _line(console, _unproved(summary), "yellow")
    _line(console, counts(report), "bold")
    for line in files if files is not None else _source(report):
        _line(console, line)
    if warning and files is None:
        _line(console, warning, "yellow")


def counts(report: Mapping[str, Any]) -> str:
    """`276 imported, 24 failed of 300 in 27 s. Partial, exit code 4.`"""
    run, summary = report["run"], report["summary"]
    names = ("imported", "reimported", "unchanged", "corrected", "deleted", "failed", "not_attempted")
    if not summary["total"]:
        return f"{reports.headline(report).capitalize()}."
    parts = [f"{summary[name]:,} {name.replace('_', ' ')}" for name in names if summary[name]] or ["nothing"]
    took = f" in {duration(run['duration_seconds'])}" if run["duration_seconds"] is not None else ""
    end = f"{run['outcome'].capitalize()}, {reports.exit_code(report)}"
    return f"{', '.join(parts)} of {summary['total']:,}{took}. {end}."


def _unproved(summary: Mapping[str, Any]) -> str:
    ok = sum(summary[status.value] for status in Status if status.well)
    return f"{summary['unproved']:,} of {ok:,} OK without a proof of which bytes KMS holds; the report says why."


def _files(result: RunResult) -> Iterator[str]:
    """Every file that the run wrote, the page first."""
    for name, place in sorted(result.renderings.items(), key=lambda item: item[0] != "html"):
        yield harmless(f"{TITLES[name]:<9}{place}")
    if isinstance(result.error, ReportNotWritten):
        yield f"{'Report':<9}see above"
    else:
        yield harmless(f"{'Report':<9}{result.report or 'on stdout'}")
    yield harmless(f"{'Journal':<9}{result.journal}")
    if "html" not in result.renderings:
        source = harmless(shlex.quote(str(result.report or result.journal)))
        yield f"To see it as a page: bulk-import report {source} --format html --output report.html"


def _source(report: Mapping[str, Any]) -> Iterator[str]:
    """What a report is about, if it is read later."""
    run = report["run"]
    yield f"{'Run':<9}{run['run_id']}"
    yield f"{'Manifest':<9}{run['manifest']['uri']}"


def _console(out: TextIO, like: TextIO | None) -> Console:
    shown = Console(file=like, highlight=False) if like and like.isatty() else None
    if shown is None:
        return Console(file=out, highlight=False, width=WIDEST, force_terminal=False)
    return Console(
        file=out, highlight=False, width=shown.width, force_terminal=True, legacy_windows=shown.legacy_windows
    )


def _groups(console: Console, results: Iterable[Mapping[str, Any]]) -> None:
    groups = sorted(grouped(results), key=lambda group: group.rank)
    for group in groups[:CODES]:
        word = "failed" if group.status == "failed" else "not attempted"
        style = "bold red" if group.status == "failed" else "yellow"
        _line(console, f"{plural(group.count, 'target')} {word}: {group.code}", style)
        _line(console, f"  What to do: {group.advice}")
        if group.status != "failed":
            continue  # their names add nothing to the report
        for result in group.named:
            place = f"{result['account']}/{result['region']}"
            _line(console, f"  {result['id']} in {place}: {' '.join(result['error']['message'].split())}")
        if group.count > len(group.named):
            _line(console, f"  +{group.count - len(group.named):,} more in the report")
    if len(groups) > CODES:
        _line(console, f"+{len(groups) - CODES} more codes in the report")


def grouped(results: Iterable[Mapping[str, Any]]) -> list[Group]:
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


def _log(result: RunResult) -> None:
    """The same as one event, for programs that read the log."""
    run, error = result.document.head["run"], result.error
    fields: dict[str, Any] = {
        "run": result.run_id,
        "outcome": run["outcome"],
        "exit_code": int(result.exit_code),
        "summary": result.document.head["summary"],
        "report": str(result.report) if result.report else None,
        "renderings": {name: str(place) for name, place in result.renderings.items()},
        "journal": str(result.journal),
        "environment": result.environment,
    }
    if error is not None:
        fields["error"] = {"code": error.code, "message": error.message, "advice": error.advice}
        log.error("run ended", **fields)
    else:
        log.info("run ended", **fields)


def _line(console: Console, text: str, style: str = "") -> None:
    """Not wrapped: a path can be copied, and a pipeline's log can be searched."""
    console.print(Text(text, style=style), soft_wrap=True)
