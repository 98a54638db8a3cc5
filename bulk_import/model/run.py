"""What a report says of a run as a whole, and what report and plan have in common.

As in result.py, every field is defined here once; the JSON Schema and the reader of reports are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from bulk_import.model.ceremony import CeremonyFacts
from bulk_import.model.fields import (
    ACCOUNT,
    REGION,
    AccountId,
    Count,
    Instant,
    Rate,
    Seconds,
    Sha256,
    ShardText,
    about,
)
from bulk_import.model.result import Outcome, Status

RunOutcome = Literal["succeeded", "partial", "failed", "interrupted"]
StopReason = Literal["SIGINT", "SIGTERM", "SIGHUP", "deadline", "max_failures", "checkpoint"]

Command = Literal["run", "submit", "delete"]
Environment = Literal["aws", "custom", "sandbox"]
SessionScope = Literal["keys", "operations", "off"]

PARTITION = about("AWS partition of all targets: aws, aws-cn, aws-us-gov, …")
ENVIRONMENT = about("aws: AWS's own endpoints. Others show nothing about keys in AWS. null: no call was made.")
ENDPOINTS = about("Endpoint URLs in use, by service.")


@dataclass(frozen=True, slots=True)
class Tool:
    """What wrote this."""

    name: Annotated[str, about("bulk-import")]
    version: Annotated[str, about("Its version.")]


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """The manifest."""

    uri: Annotated[str, about("As it was given.")]
    sha256: Annotated[Sha256, about("SHA-256 of its bytes.")]
    targets: Annotated[Count, about("Targets of the complete manifest, selected or not.")]


@dataclass(frozen=True, slots=True)
class Selected:
    """What --only-… chose. Empty: all."""

    accounts: Annotated[list[str], about("--only-account")]
    regions: Annotated[list[str], about("--only-region")]
    ids: Annotated[list[str], about("--only-id")]
    failed_in: Annotated[list[str], about("--only-failed: the run whose failed targets were selected.")] = field(
        default_factory=list
    )


@dataclass(frozen=True, slots=True)
class CallerFacts:
    """Whose credentials assumed the roles."""

    account: Annotated[AccountId, ACCOUNT]
    arn: Annotated[str, about("As STS names the caller.")]


@dataclass(frozen=True, slots=True)
class Resume:
    """A resume."""

    at: Annotated[Instant, about("When it began.")]
    from_seq: Annotated[Count, about("The journal's last event before it.")]


@dataclass(frozen=True, slots=True)
class RunFailure:
    """What ended the complete run, not only one target."""

    code: Annotated[str, about("Name of the error.")]
    message: Annotated[str, about("What happened.")]
    advice: Annotated[str, about("What to do.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run as a whole."""

    run_id: Annotated[
        str, about("Also part of the role session's name and the user agent, so that CloudTrail can be joined.")
    ]
    started_at: Annotated[Instant, about("When the run began.")]
    finished_at: Annotated[Instant | None, about("When it ended. null: it was killed, or is still working.")]
    duration_seconds: Annotated[Seconds, about("From start to end, without the time between a kill and its resume.")]
    outcome: Annotated[
        RunOutcome,
        about("All OK; some OK; none OK; or stopped (signal, deadline, kill) with work left."),
    ]
    command: Annotated[
        Command, about("The command: run, submit, or delete. Of `delete`, unchanged means: the key held no material.")
    ] = "run"
    exit_code: Annotated[int | None, about("The process's. null: it was killed, or is still working.", ge=0, le=255)]
    manifest: Annotated[ManifestFacts, about("The manifest.")]
    selection: Annotated[Selected, about("What --only-… chose. Empty: all.")]
    selected: Annotated[
        Count | None,
        about("Targets selected before sharding. null: a shard's journal of an earlier version does not have it."),
    ] = None
    caller: Annotated[CallerFacts | None, about("Whose credentials assumed the roles. null: no call was made.")]
    partition: Annotated[str, PARTITION]
    environment: Annotated[Environment | None, ENVIRONMENT]
    endpoints: Annotated[dict[str, str], ENDPOINTS]
    labels: Annotated[dict[str, str], about("--label, and what the pipeline's variables show.")]
    journal_sha256: Annotated[Sha256, about("SHA-256 of the journal's file that this report was made from.")]
    shard: Annotated[ShardText | None, about("I/N, as --shard was given.")]
    resumes: Annotated[list[Resume], about("One entry per --resume of this run.")]
    stopped_by: Annotated[
        list[StopReason],
        about(
            "What stopped the run before its end, in order of time: a signal, --deadline, --max-failures, or the "
            "checkpoint that another run took over."
        ),
    ] = field(default_factory=list)
    error: Annotated[RunFailure | None, about("What ended the complete run, not only one target.")] = None
    ceremony: Annotated[CeremonyFacts | None, about("What `submit` was given. null: it was not a ceremony.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRun(Run):
    """The run as a whole; of a merged report, of all its parts together."""

    runs: Annotated[list[Run], about("Of a merged report: the block of each report that it was made of, in order.")] = (
        field(default_factory=list)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The counts after total, except unproved, add up to it."""

    total: Annotated[Count, about("Selected targets.")]
    imported: Annotated[Count, about(Status.IMPORTED.meaning)]
    reimported: Annotated[Count, about(Status.REIMPORTED.meaning)]
    unchanged: Annotated[Count, about(Status.UNCHANGED.meaning)]
    corrected: Annotated[Count, about(Status.CORRECTED.meaning)] = 0  # older reports lack it, and the next one
    deleted: Annotated[Count, about(Status.DELETED.meaning)] = 0
    failed: Annotated[Count, about(Status.FAILED.meaning)]
    not_attempted: Annotated[Count, about(Status.NOT_ATTEMPTED.meaning)]
    unproved: Annotated[Count, about("Of the OK ones that are to hold material, those whose proof is none.")]

    @property
    def well(self) -> int:
        return self.imported + self.reimported + self.unchanged + self.corrected + self.deleted

    @property
    def all_well(self) -> bool:
        """An empty run is not: it did nothing that anyone wanted."""
        return self.well == self.total > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEntry:
    """An account in a Region: KMS's quotas are counted by it."""

    account: Annotated[AccountId, ACCOUNT]
    region: Annotated[str, REGION]
    targets: Annotated[Count, about("Selected targets of the lane.")]
    duration_seconds: Annotated[
        Seconds | None, about("From its first call to its last target's end. null: it did not end.")
    ]
    calls: Annotated[dict[str, Count], about("Requests sent, by operation.")]
    throttled: Annotated[dict[str, Count], about("Of these, the ones that KMS throttled, by operation.")]
    quota: Annotated[dict[str, Rate], about("Requests per second that the run kept to, by operation.")]
    effective_rate: Annotated[
        dict[str, Rate], about("If throttling made the lane slower: its lowest rate, by operation.")
    ] = field(default_factory=dict)
    session_policy: Annotated[
        SessionScope | None,
        about(
            "What the sessions of the account's role were limited to. keys: this command's operations on the "
            "manifest's keys. operations: these operations on any key that the role's policies allow. off: to nothing. "
            "The widest one that was used. null: no role was assumed."
        ),
    ] = None


def widest(*scopes: SessionScope | None) -> SessionScope | None:
    """The one that limits least. None: no role was assumed."""
    known = [scope for scope in scopes if scope is not None]
    return max(known, key=get_args(SessionScope).index, default=None)


@dataclass(frozen=True, slots=True)
class ReportHead:
    """All of a report except its results."""

    schema_version: Annotated[Literal[1], about("Version of this format.")]
    tool: Annotated[Tool, about("What wrote this.")]
    run: Annotated[MergedRun, about("The run as a whole.")]
    summary: Annotated[Summary, about("The counts after total, except unproved, add up to it.")]
    lanes: Annotated[list[LaneEntry], about("One entry per account and Region, in order of first appearance.")]


@dataclass(frozen=True, slots=True)
class ReportDocument(ReportHead):
    """What a run found, did and could show, key by key."""

    results: Annotated[list[Outcome], about("One entry per selected target, in manifest order.")]
