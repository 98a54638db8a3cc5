"""What `status` finds, as a document: what `status --format json` prints. Every field is defined here once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from bulk_import.model.fields import (
    Count,
    Instant,
    Moment,
    Seconds,
    ShardText,
    about,
)
from bulk_import.model.kms import KeySpec, KeyState
from bulk_import.model.result import Failure, HeldMaterial, NamedTarget, Proof
from bulk_import.model.run import (
    ENDPOINTS,
    ENVIRONMENT,
    PARTITION,
    CallerFacts,
    Environment,
    ManifestFacts,
    Selected,
    Tool,
)


class Standing(StrEnum):
    """How a key compares with the manifest. If several apply, the first of this list is used."""

    UNREADABLE = "unreadable"
    MISSING = "missing"
    DRIFT = "drift"
    EMPTY = "empty"
    EXPIRING = "expiring"
    AS_WANTED = "as_wanted"

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS: Final = {
    Standing.AS_WANTED: "The key is as the manifest wants it, to the extent that `material` and `proof` show.",
    Standing.EXPIRING: "As wanted, but the material expires within --within (default: renew_before, otherwise 30d).",
    Standing.EMPTY: "The key has no material: it expired, was deleted or was never imported. KMS does not say which.",
    Standing.MISSING: "There is no such key.",
    Standing.DRIFT: "The key differs from the manifest; `drift` says how.",
    Standing.UNREADABLE: "The key, or its material's source, could not be read; `error` says why.",
}
ORDER: Final = (
    Standing.AS_WANTED, Standing.EXPIRING, Standing.EMPTY, Standing.MISSING, Standing.DRIFT, Standing.UNREADABLE,
)  # fmt: skip
ALARMING: Final = frozenset({Standing.EXPIRING, Standing.EMPTY, Standing.MISSING, Standing.DRIFT})


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact of a key that is not as the manifest wants it."""

    field: Annotated[str, about("The manifest's name of it, or KMS's.")]
    wanted: Annotated[str | None, about("What the manifest wants. null: nothing.")]
    found: Annotated[str | None, about("What KMS shows. null: nothing.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedTarget(NamedTarget):
    """One key, compared with the manifest."""

    state: Annotated[Standing, about(" ".join(f"{one}: {one.meaning}" for one in ORDER))]
    key_state: Annotated[str | None, about(f"As KMS showed it: {', '.join(KeyState)}. null: not known.")]
    key_spec: Annotated[str | None, about(f"{', '.join(KeySpec)} can be imported into.")]
    days_left: Annotated[int | None, about("Complete days until the material expires. null: never, or not known.")]
    valid_to: Annotated[Moment | None, about("When the material expires, as KMS showed it. null: never, or not known.")]
    material: Annotated[
        Literal["compared", "not_compared"], about("Whether KMS's material was compared with the source's.")
    ]
    proof: Annotated[Proof, about("What showed that KMS holds the material. none: `detail` says why, if it was tried.")]
    detail: Annotated[str, about("A remark, such as material_not_compared. Often empty.")]
    drift: Annotated[list[Difference], about("What differs from the manifest.")]
    materials: Annotated[list[HeldMaterial], about("The key's materials (symmetric keys only).")]
    error: Annotated[Failure | None, about("Why the key could not be read, or what was found. null: nothing.")]


@dataclass(frozen=True, slots=True)
class StatusSummary:
    """The counts after total add up to it."""

    total: Annotated[Count, about("Selected targets.")]
    as_wanted: Annotated[Count, about(Standing.AS_WANTED.meaning)]
    expiring: Annotated[Count, about(Standing.EXPIRING.meaning)]
    empty: Annotated[Count, about(Standing.EMPTY.meaning)]
    missing: Annotated[Count, about(Standing.MISSING.meaning)]
    drift: Annotated[Count, about(Standing.DRIFT.meaning)]
    unreadable: Annotated[Count, about(Standing.UNREADABLE.meaning)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRun:
    """The check as a whole."""

    run_id: Annotated[str, about("Also part of the role session's name and the user agent.")]
    started_at: Annotated[Instant, about("When it began.")]
    finished_at: Annotated[Instant, about("When it ended.")]
    duration_seconds: Annotated[Seconds, about("From start to end.")]
    exit_code: Annotated[int, about("The process's.", ge=0, le=255)]
    manifest: Annotated[ManifestFacts, about("The manifest.")]
    selection: Annotated[Selected, about("What --only-… chose. Empty: all.")]
    selected: Annotated[Count, about("Targets selected before sharding.")]
    within_seconds: Annotated[
        Seconds | None, about("--within. null: each target's renew_before, otherwise 30 days (2,592,000).")
    ]
    caller: Annotated[CallerFacts | None, about("Whose credentials assumed the roles. null: no call was made.")]
    partition: Annotated[str, PARTITION]
    environment: Annotated[Environment | None, ENVIRONMENT]
    endpoints: Annotated[dict[str, str], ENDPOINTS]
    shard: Annotated[ShardText | None, about("I/N, as --shard was given.")]


@dataclass(frozen=True, slots=True)
class StatusDocument:
    """How every selected key compares with the manifest."""

    schema_version: Annotated[Literal[1], about("Version of this format.")]
    tool: Annotated[Tool, about("What wrote this.")]
    run: Annotated[StatusRun, about("The check as a whole.")]
    summary: Annotated[StatusSummary, about("The counts after total add up to it.")]
    targets: Annotated[list[InspectedTarget], about("One entry per selected target, in manifest order.")]
