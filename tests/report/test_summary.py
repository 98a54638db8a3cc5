from __future__ import annotations

import pytest

from bulk_import.errors import ExitCode
from bulk_import.model.run import Summary
from bulk_import.report.summary import Ending, exit_code_of, outcome_of

ALL = Summary(total=3, imported=1, reimported=1, unchanged=1, failed=0, not_attempted=0, unproved=0)
SOME = Summary(total=3, imported=1, reimported=0, unchanged=0, failed=1, not_attempted=1, unproved=0)
NONE = Summary(total=2, imported=0, reimported=0, unchanged=0, failed=1, not_attempted=1, unproved=0)
EMPTY = Summary(total=0, imported=0, reimported=0, unchanged=0, failed=0, not_attempted=0, unproved=0)


def stop(*reasons: str, work_left: bool = True, **more: bool) -> Ending:
    return Ending(finished=True, stopped_by=reasons, work_left=work_left, **more)


@pytest.mark.parametrize(
    ("summary", "ending", "elsewhere", "outcome", "code"),
    [
        (ALL, Ending(finished=True), False, "succeeded", ExitCode.OK),
        (SOME, Ending(finished=True), False, "partial", ExitCode.PARTIAL),
        (NONE, Ending(finished=True), False, "failed", ExitCode.NONE_WELL),
        (EMPTY, Ending(finished=True), False, "failed", ExitCode.NONE_WELL),  # an empty run is no success
        (ALL, Ending(finished=True), True, "succeeded", ExitCode.REPORT_ELSEWHERE),
        (SOME, Ending(finished=True), True, "partial", ExitCode.REPORT_ELSEWHERE),
        (ALL, Ending(finished=True, internal_error=True), False, "partial", ExitCode.INTERNAL),
        (SOME, Ending(finished=True, internal_error=True), True, "partial", ExitCode.INTERNAL),
        (SOME, Ending(finished=True, caller_error=True), False, "partial", ExitCode.NONE_WELL),
        (SOME, stop("SIGINT"), False, "interrupted", ExitCode.SIGINT),
        (SOME, stop("SIGTERM"), True, "interrupted", ExitCode.SIGTERM),
        (SOME, stop("SIGTERM", internal_error=True), False, "interrupted", ExitCode.SIGTERM),
        (NONE, stop("deadline"), False, "interrupted", ExitCode.DEADLINE),
        (NONE, stop("deadline"), True, "interrupted", ExitCode.REPORT_ELSEWHERE),
        (NONE, stop("deadline", internal_error=True), False, "interrupted", ExitCode.INTERNAL),
        (SOME, stop("deadline", "SIGINT"), False, "interrupted", ExitCode.SIGINT),
        (SOME, stop("max_failures"), False, "partial", ExitCode.PARTIAL),
        (NONE, stop("max_failures"), False, "failed", ExitCode.NONE_WELL),
        # a stop that came when all was done has stopped nothing
        (ALL, stop("SIGINT", work_left=False), False, "succeeded", ExitCode.OK),
        (SOME, stop("deadline", work_left=False), False, "partial", ExitCode.PARTIAL),
    ],
)
def test_what_a_run_tells_its_pipeline(
    summary: Summary, ending: Ending, elsewhere: bool, outcome: str, code: ExitCode
) -> None:
    assert outcome_of(summary, ending) == outcome
    assert exit_code_of(summary, ending, report_elsewhere=elsewhere) == code


@pytest.mark.parametrize("summary", [ALL, SOME, NONE, EMPTY])
def test_a_killed_run_is_never_a_success(summary: Summary) -> None:
    assert outcome_of(summary, Ending(finished=False)) == "interrupted"
