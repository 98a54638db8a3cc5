"""The counts of a report, and what they mean: the run's outcome and the process's exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bulk_import.errors import ExitCode
from bulk_import.model.run import RunOutcome, StopReason, Summary

_SIGNALS: Final = {name: ExitCode[name] for name in ("SIGINT", "SIGTERM", "SIGHUP")}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, the targets' results apart."""

    finished: bool  # False: it was killed, or its journal failed; no one wrote its end
    stopped_by: tuple[StopReason, ...] = ()  # in order of time
    work_left: bool = False  # targets were cut short
    internal_error: bool = False  # of the program itself, in one target or in all
    caller_error: bool = False  # the caller's credentials or clock do not work
    empty_shard: bool = False  # the division gave this shard no target: there was nothing to do

    @property
    def signal(self) -> str | None:
        return next((reason for reason in self.stopped_by if reason in _SIGNALS), None)


def outcome_of(summary: Summary, ending: Ending) -> RunOutcome:
    """The run's outcome, in a word."""
    stopped = ending.signal or "deadline" in ending.stopped_by
    if not ending.finished or (stopped and ending.work_left):
        return "interrupted"
    if _all_well(summary, ending) and not (ending.internal_error or ending.caller_error):
        return "succeeded"
    return "partial" if summary.well else "failed"


def exit_code_of(summary: Summary, ending: Ending, *, report_elsewhere: bool = False) -> ExitCode | None:
    """The first that applies of: signal, 1, 6, 7, 5, 4. A stop that left no work is none.

    None where the run was killed: it returned nothing to its caller.
    """
    if not ending.finished:
        return None
    if ending.signal and ending.work_left:
        return _SIGNALS[ending.signal]
    if ending.internal_error:
        return ExitCode.INTERNAL
    if report_elsewhere:
        return ExitCode.REPORT_ELSEWHERE
    if "deadline" in ending.stopped_by and ending.work_left:
        return ExitCode.DEADLINE
    if ending.caller_error:
        return ExitCode.NONE_WELL
    if _all_well(summary, ending):
        return ExitCode.OK
    return ExitCode.PARTIAL if summary.well else ExitCode.NONE_WELL


def _all_well(summary: Summary, ending: Ending) -> bool:
    return summary.all_well or (ending.empty_shard and not summary.total)
