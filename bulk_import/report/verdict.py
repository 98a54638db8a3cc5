"""What one report, or all parts of a merge together, mean: the outcome in a word, and the exit code of `report`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bulk_import.errors import ExitCode
from bulk_import.model.run import RunOutcome, Summary

Values = dict[str, Any]

# In this order, the first that a part ended with is that of all; 5 and 4 depend on the targets of all.
_FIRST: Final = (ExitCode.INTERNAL, ExitCode.REPORT_ELSEWHERE, ExitCode.DEADLINE)
_SIGNALS: Final = 128  # exit codes above are signals


def outcome(runs: Sequence[Values], summary: Summary, *, missing: bool) -> RunOutcome:
    """`missing`: there is no report of some of the shards."""
    stated = {run["outcome"] for run in runs}
    if missing or "interrupted" in stated or any(run["finished_at"] is None for run in runs):
        return "interrupted"
    if stated == {"succeeded"} and summary.well == summary.total and all(map(_complete, runs)):
        return "succeeded"
    return "partial" if summary.well else "failed"


def exit_code(runs: Sequence[Values], summary: Summary, *, missing: bool) -> ExitCode:
    """The code that `report` ends with. A run that was killed has none of its own, and counts as not complete."""
    codes = {run["exit_code"] for run in runs} - {None}
    known = {code.value: code for code in ExitCode}
    signals = sorted(code for code in codes if code > _SIGNALS and code in known)
    if signals:
        return known[signals[0]]
    for code in _FIRST:
        if code in codes:
            return code
    if len(runs) == 1 and ExitCode.NONE_WELL in codes:
        return (
            ExitCode.NONE_WELL
        )  # the caller's credentials did not work; what an earlier part of the run did does not change that
    complete = not missing and all(map(_complete, runs))
    if not summary.well:
        return ExitCode.OK if complete and not summary.total else ExitCode.NONE_WELL
    return ExitCode.OK if complete and summary.well == summary.total else ExitCode.PARTIAL


def _complete(run: Values) -> bool:
    """Its exit code alone is not trusted: a run that never ended, or that an error ended, is not complete."""
    ended = run["outcome"] == "succeeded" and run["finished_at"] is not None and run["error"] is None
    return ended and run["exit_code"] == ExitCode.OK
