"""Everything that can go wrong, and the exit codes.

    BulkImportError                    has: code, message, advice, exit_code
    ├── UsageError                     wrong options                                        exit 2
    ├── InputError                     manifest, settings, plan or journal; holds Problems  exit 3
    │   ├── ManifestError
    │   ├── SettingsError
    │   └── JournalError               also: the journal cannot be written any more
    ├── CallerError                    the caller's own credentials or clock do not work     exit 5
    ├── ReportNotWritten               the report is not where it was asked for             exit 6
    ├── ObjectError                    an object of S3 could not be read or written         exit 3
    ├── MissingExtra                   an optional dependency is not installed              exit 2
    └── TargetError                    one key's failure; becomes its entry in the report   exit 4
        ├── MaterialError              the key material, before any call
        ├── ServiceError               an answer of KMS or STS, translated at the edge
        └── LaneError                  ends every target of a lane (WrongAccount, a denied role)
            └── CallerFault            ends the run: the caller's own credentials cannot be had

A TargetError never leaves its target: it becomes the `error` of a result, and its siblings continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from bulk_import.codes import NEVER_RETRIED, advice_for
from bulk_import.shown import shown, shown_lines
from bulk_import.text import harmless, harmless_lines


class ExitCode(IntEnum):
    """What the process reports to the pipeline. If several apply: signal, 1, 6, 7, 11, 5, 4."""

    OK = 0  # every selected target is as the manifest wants it, as far as its `verification` says
    INTERNAL = 1  # an unexpected error of the program itself
    USAGE = 2
    INPUT = 3  # manifest, settings, plan or journal unreadable or invalid; no KMS or STS call was made
    PARTIAL = 4  # some targets failed or were not attempted, some are OK
    NONE_WELL = 5  # no target is OK, or the caller's credentials do not work
    REPORT_ELSEWHERE = 6  # the work ended, but the report is not where it was asked for
    DEADLINE = 7
    CHANGES_PENDING = 10  # plan --detailed-exitcode
    DRIFT = 11  # status: a key is expiring, empty, missing or different
    SIGHUP = 129
    SIGINT = 130
    SIGTERM = 143


class BulkImportError(Exception):
    """Base of all errors. `str()` is the message for people; it never holds a secret."""

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, *, code: str | None = None, advice: str | None = None) -> None:
        message = harmless_lines(message)
        super().__init__(message)
        self.message = message
        self.code = code or type(self).__name__
        self.advice = advice or advice_for(self.code)


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP where there is nothing to drain. Not an Exception: no one may take it for a failure."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(128 + number)


class UsageError(BulkImportError):
    """Wrong options or arguments."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, *, code: str | None = None, advice: str | None = None) -> None:
        super().__init__(shown_lines(message), code=code, advice=advice)


class MissingExtra(BulkImportError):
    """An optional dependency is not installed; the message names the extra."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake of an input: where it stands, what it is, what to do (empty only where the message says it).

    `file` as the person wrote it (a path, `stdin`, an s3:// URI, `environment`); `line` counts from 1, 0 where
    there is none; `field` is a path like `keys[3].valid_to`, empty where the whole file is meant.
    """

    file: str
    line: int
    field: str
    message: str
    advice: str

    def __post_init__(self) -> None:
        for name in ("file", "field", "message"):
            object.__setattr__(self, name, shown(getattr(self, name)))  # frozen for everybody else

    def __str__(self) -> str:
        where = self.file + (f":{self.line}" if self.line else "")
        field = f" {self.field}:" if self.field else ""
        advice = f" {harmless(self.advice)}" if self.advice else ""
        return f"{where}:{field} {self.message}{advice}"


class InputError(BulkImportError):
    """A manifest, settings or journal that cannot be used. Holds every problem found, in file order.

    `problems` has them all; the message, for people, shows the first SHOWN and counts the rest.
    """

    exit_code = ExitCode.INPUT
    SHOWN = 100

    def __init__(self, problems: Sequence[Problem], *, code: str | None = None, advice: str | None = None) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[: self.SHOWN]]
        if len(self.problems) > self.SHOWN:
            shown.append(f"… and {len(self.problems) - self.SHOWN:,} more problems.")
        super().__init__("\n".join(shown), code=code, advice=advice)


class ManifestError(InputError):
    """The manifest cannot be used."""


class SettingsError(InputError):
    """A setting (flag, variable, --config) cannot be used."""


class JournalError(InputError):
    """The journal cannot be read, does not belong to this run, or cannot be written."""


class CallerError(BulkImportError):
    """The caller's own credentials or clock do not work: one fatal error, not one per target."""

    exit_code = ExitCode.NONE_WELL


class ReportNotWritten(BulkImportError):
    """The report is not where it was asked for; the message says where it is."""

    exit_code = ExitCode.REPORT_ELSEWHERE


class ObjectError(BulkImportError):
    """An object of S3 could not be read or written; the message names its URI.

    Anyone who asked for the object turns it into an error of their own: of the manifest, the report, the journal.
    `code`: S3's error code; `conflict`: somebody else wrote the object since it was looked at; `missing`: it, or its
    bucket, is not there; `denied`: the caller may not.
    """

    exit_code = ExitCode.INPUT

    def __init__(self, uri: str, message: str, *, code: str, advice: str) -> None:
        super().__init__(f"{uri}: {message}", code=code, advice=advice)
        self.uri = uri
        self.reason = message

    @property
    def conflict(self) -> bool:
        return self.code in ("PreconditionFailed", "ConditionalRequestConflict")

    @property
    def missing(self) -> bool:
        return self.code == "NoSuchKey"

    @property
    def denied(self) -> bool:
        return self.code == "AccessDenied"


class TargetError(BulkImportError):
    """One target's failure.

    `code`: AWS's error code, or one of ours; `operation`: the KMS or STS operation, None where none was called;
    `retryable`: whether the same run may well succeed later without any change.
    """

    exit_code = ExitCode.PARTIAL

    def __init__(
        self,
        message: str,
        *,
        code: str,
        operation: str | None = None,
        retryable: bool = False,
        advice: str | None = None,
    ) -> None:
        super().__init__(message, code=code, advice=advice)
        self.operation = operation
        self.retryable = retryable


class MaterialError(TargetError):
    """The key material is missing, unreadable or of the wrong shape. Never quotes the material."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        operation: str | None = None,
        retryable: bool = False,
        advice: str | None = None,
    ) -> None:
        super().__init__(shown(message), code=code, operation=operation, retryable=retryable, advice=advice)


class ServiceError(TargetError):
    """An error that KMS or STS answered, or the network in its place.

    `outcome_unknown`: the request may have been carried out although no answer came (timeout, reset, 5xx).
    `request_id`: AWS's, empty where there was no answer.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        operation: str,
        retryable: bool = False,
        advice: str | None = None,
        outcome_unknown: bool = False,
        request_id: str = "",
    ) -> None:
        retryable = retryable and code not in NEVER_RETRIED
        super().__init__(shown(message), code=code, operation=operation, retryable=retryable, advice=advice)
        self.outcome_unknown = outcome_unknown
        self.request_id = request_id


class LaneError(TargetError):
    """Ends a whole lane: nothing more is sent for its targets."""


class CallerFault(LaneError):
    """The caller's own credentials cannot be had: it ends the whole run, whichever call found it out."""

    def __init__(self, message: str, *, code: str, advice: str | None = None) -> None:
        super().__init__(message, code=code, operation="AssumeRole", advice=advice)
