"""Everything that can go wrong, and the exit codes.

    BulkImportError                    has: code, message, advice, exit_code
    ├── UsageError                     wrong options                                        exit 2
    ├── InputError                     manifest, settings or journal; holds Problems        exit 3
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

A TargetError never leaves its target: it becomes the `error` of a result, and its siblings go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells the pipeline. If several apply: signal, 1, 6, 7, 5, 4."""

    OK = 0  # every selected target is as the manifest wants it, as far as its `verification` says
    INTERNAL = 1  # an unexpected error of the program itself
    USAGE = 2
    INPUT = 3  # manifest, settings or journal unreadable or invalid; no KMS or STS call was made
    PARTIAL = 4  # some targets failed or were not attempted, some are well
    NONE_WELL = 5  # no target is well, or the caller's credentials do not work
    REPORT_ELSEWHERE = 6  # the work ended, but the report is not where it was asked for
    DEADLINE = 7
    CHANGES_PENDING = 10  # plan --detailed-exitcode
    DRIFT = 11  # status
    SIGINT = 130
    SIGTERM = 143


# Advice by error code: what the person who reads the report at 3 a.m. should do. An error may carry its
# own, nearer one. A code without a row here falls back to DEFAULT_ADVICE.
DEFAULT_ADVICE = "Look the code up in the KMS API reference, and the request ID in CloudTrail."
ADVICE: dict[str, str] = {
    # ours, about the wanted and the found
    "AliasMoved": "The alias points to another key than when the run began. Check who moved it; start a new run.",
    "DuplicateKey": "Two targets name one KMS key. Keep one of them in the manifest.",
    "ExpiryTooClose": "The wanted ValidTo is less than an hour ahead. Set a later valid_to, or a valid_for.",
    "InternalError": "This is a defect of bulk-import. Keep the log and the journal, and report it.",
    "Interrupted": "The run was stopped while it worked on this target; no import took effect. Run again, or with "
    "--resume.",
    "JournalError": "Check that the path names the journal of this run, and that its disk is writable and not full.",
    "KeySpecMismatch": "Correct key_spec in the manifest, or point key_id to the key that was meant.",
    "KeyStateNotImportable": "Bring the key to PendingImport, Enabled or Disabled first (cancel its deletion, "
    "reconnect its store), then run again.",
    "MaterialMismatch": "KMS holds OTHER key material than the source. Do not use the key until you know which "
    "is right. Asymmetric and HMAC keys can never be given other material: create a new key.",
    "NotImportableOrigin": "Only keys with Origin EXTERNAL take imported material. Create one, and name it here.",
    "NotVerified": "KMS accepted the import, but the run was stopped before it was verified. Run again, or with "
    "--resume: it looks, and imports only if needed.",
    "OutcomeUnknown": "It could not be found out whether the import took effect. Run again with --resume: it "
    "looks first, and repeats only what is needed.",
    "ProofMissing": "--require-proof was given and no proof was possible. Grant the proof's operation to the "
    "role (kms:GenerateMac, kms:GetPublicKey), or state key_material_id.",
    "ReportNotWritten": "Take the report from where the message says, and make the asked place writable.",
    "RotatedKey": "The key has several key materials. This version imports into keys with one material only.",
    "ShardMissing": "Merge it with the reports of all shards. A shard that left none: rebuild it from its journal, or "
    "run that shard again.",
    "Stopped": "The run was stopped before this target was started. Run again, or with --resume.",
    "MaxFailures": "The run stopped because --max-failures was reached. Mend the failures, then run again.",
    "VerificationTimeout": "The import was accepted, but KMS did not show the wanted state consistently in time. "
    "Run again: it will look, and import only if needed. Raise --verify-timeout if it recurs.",
    "WrongAccount": "The answer came from another account, Region or partition than the lane's. Check the role's "
    "ARN, the endpoint and key_id.",
    # material
    "AmbiguousEncoding": "State `encoding: raw`, `hex` or `base64`: wrong material could never be replaced.",
    "CheckValueMismatch": "The material is not the one that `expect` describes. Check which file belongs to the key.",
    "MaterialChanged": "Let nothing write to the material while the run uses it, then run again.",
    "MaterialInvalid": "Give the material in the form that the key spec asks for (see the README, key specs).",
    "MaterialNotFound": "Check the URI in `material`, and that the pipeline provides the file or variable.",
    "MaterialOutsideRoot": "Material must lie inside the manifest's folder (or --material-root).",
    "MaterialUnreadable": "Check the file's permissions and type.",
    "InvalidWrappingKey": "The endpoint gave another wrapping key than was asked for. Check the endpoint, then run "
    "again.",
    "MaterialWrongLength": "Check `encoding`, and that the file belongs to this key.",
    "WrappingNotAllowed": "Choose a wrapping_algorithm and wrapping_key_spec that the key spec allows, or leave "
    "them out.",
    # KMS and STS
    "AccessDenied": "Check the role's trust policy (principal, external ID) and that the caller may sts:AssumeRole it.",
    "AccessDeniedException": "Grant the operation to the role in its policy and in the key policy: `bulk-import iam` "
    "prints both. An SCP or a VPC endpoint's policy may deny it, too.",
    "DependencyTimeoutException": "KMS itself timed out. Run again, or with --resume.",
    "DisabledException": "The key is disabled. Enable it, if it shall be used, then run again.",
    "ExpiredImportTokenException": "The import token was too old. Run again; if it recurs, set the clock (NTP).",
    "KeyStateChanged": "Somebody else changed the key during the run. Find out who (CloudTrail), then run again.",
    "MalformedAnswer": "Something between here and KMS changes its answers: look at proxies and endpoints.",
    "ExpiredTokenException": "The session ended and could not be renewed. Look at the role's and the caller's "
    "session durations, then run again with --resume.",
    "ResumedElsewhere": "Resume with the credentials and endpoints that the run began with, or without --resume.",
    "RoundTripFailed": "Do not use the key until you know why it does not decrypt what it encrypted.",
    "WrongPartition": "Start the run with credentials of the manifest's partition.",
    "CallerCredentialsMissing": "Give the pipeline an OIDC or task role. At a terminal: --profile (after "
    "`aws sso login`) or AWS_* variables.",
    "ClientFailure": "The AWS library could not make the call. Check endpoint, proxy and AWS_CA_BUNDLE; else it is "
    "a defect of bulk-import.",
    "ClockSkew": "Set this machine's clock (NTP): AWS refuses signatures more than five minutes off.",
    "ConnectionFailed": "Check the network path to the endpoint: proxy, VPC endpoint, firewall, DNS.",
    "InvalidArnException": "Correct key_id: KMS does not take this ARN in this account and Region.",
    "InvalidClientTokenId": "AWS does not know the credentials there. Check them, and that the Region is enabled for "
    "the account (opt-in Regions).",
    "InvalidImportTokenException": "KMS refused the import token. Run again; if it recurs, look at proxies and "
    "endpoints on the way.",
    "KMSInternalException": "KMS itself failed. Run again, or with --resume; if it recurs, see AWS Health.",
    "LimitExceededException": "A quota of the account is used up. Ask for a higher one (Service Quotas).",
    "OptInRequired": "Enable the Region for the account, or take it out of the manifest.",
    "RegionDisabledException": "Activate STS in the Region of --sts-region, or state another.",
    "SignatureDoesNotMatch": "The secret access key is wrong, or something on the way (a proxy) changes requests.",
    "UnrecognizedClientException": "AWS does not know the credentials there. Check them, and that the Region is "
    "enabled for the account (opt-in Regions).",
    "ValidationException": "KMS refused a value. The message names it: correct the manifest, then run again.",
    "IncorrectKeyMaterialException": "KMS holds or expects other material for this key. Check which file belongs to "
    "it; asymmetric and HMAC keys can never be given other material.",
    "InvalidCiphertextException": "KMS could not unwrap the sealed material. Check wrapping_algorithm.",
    "KMSInvalidStateException": "The key's state changed or forbids the operation. Look at its state, then run again.",
    "NotFoundException": "Check key_id, account and Region; the key or alias does not exist there.",
    "ThrottlingException": "Others share this account's quota. Run again later, or lower --quota for the operation.",
    "UnsupportedOperationException": "The key does not support the operation. Check its origin and spec.",
}


class BulkImportError(Exception):
    """Base of all errors. `str()` is the message for people; it never holds a secret."""

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, *, code: str | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).__name__
        self.advice = advice or ADVICE.get(self.code, DEFAULT_ADVICE)


class Interrupted(BaseException):
    """SIGINT or SIGTERM where there is nothing to drain. Not an Exception: nobody may take it for a failure."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(128 + number)


class UsageError(BulkImportError):
    """Wrong options or arguments."""

    exit_code = ExitCode.USAGE


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

    def __str__(self) -> str:
        where = self.file + (f":{self.line}" if self.line else "")
        field = f" {self.field}:" if self.field else ""
        advice = f" {self.advice}" if self.advice else ""
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

    Whoever asked for the object turns it into an error of their own: of the manifest, the report, the journal.
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
        super().__init__(message, code=code, operation=operation, retryable=retryable, advice=advice)
        self.outcome_unknown = outcome_unknown
        self.request_id = request_id


class LaneError(TargetError):
    """Ends a whole lane: nothing more is sent for its targets."""
