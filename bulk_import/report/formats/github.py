"""Annotations for GitHub Actions: workflow commands, to be printed to the step's log.

GitHub shows ten errors, ten warnings and ten notices of a step and drops the rest in silence, so the tenth sums up.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, TextIO

from bulk_import.report.formats import view
from bulk_import.words import plural

PER_LEVEL = 10
_MESSAGE_LIMIT = 2_000  # characters; GitHub cuts an annotation at 4 KB


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Warnings (what is odd about the run, what was not attempted), then failures, then a notice that sums up."""
    lines = [command("warning", "bulk-import", text) for text in _bounded_warnings(report)]
    lines += _errors(view.failures(report))
    environment = " (not AWS)" if view.environment_warning(report) else ""
    lines.append(
        command("notice", "bulk-import", f"{view.headline(report)}{environment}, run {report['run']['run_id']}")
    )
    out.write("\n".join(lines) + "\n")


def _bounded_warnings(report: Mapping[str, Any]) -> list[str]:
    environment = view.environment_warning(report)
    texts = [*([environment] if environment else []), *view.warnings(report)]
    waiting = view.by_code(r for r in report["results"] if r["status"] == "not_attempted")
    texts += [
        f"{plural(len(group), 'target')} not attempted: {code}. {group[0]['error']['advice']}"
        for code, group in waiting.items()
    ]
    if len(texts) <= PER_LEVEL:
        return texts
    return [*texts[: PER_LEVEL - 1], f"And {len(texts) - PER_LEVEL + 1} more warnings: see the report."]


def _errors(failed: list[view.Result]) -> list[str]:
    if len(failed) <= PER_LEVEL:
        return [_error(result) for result in failed]
    # One of each code first, so that a single MaterialMismatch is seen among a thousand AccessDenied.
    rounds = zip_longest(*view.by_code(failed).values())
    shown = [result for row in rounds for result in row if result][: PER_LEVEL - 1]
    rest = Counter(r["error"]["code"] for r in failed) - Counter(r["error"]["code"] for r in shown)
    codes = [f"{code} {count:,}" for code, count in rest.most_common(PER_LEVEL)]
    if len(rest) > len(codes):
        codes.append(f"{len(rest) - len(codes)} other codes")
    summing = f"And {plural(rest.total(), 'more failure')}: {', '.join(codes)}. The report has them all."
    return [*map(_error, shown), command("error", "bulk-import", summing)]


def _error(result: view.Result) -> str:
    error = result["error"]
    ids = view.request_ids(result)
    text = f"{error['message']}\n{error['advice']}" + (f"\nRequest IDs: {ids}" if ids else "")
    return command("error", f"{error['code']}: {result['id']} in {result['account']}/{result['region']}", text)


def command(level: str, title: str, message: str) -> str:
    if len(message) > _MESSAGE_LIMIT:
        message = message[: _MESSAGE_LIMIT - 1] + "…"
    return f"::{level} title={_property(title)}::{_data(message)}"


# https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
