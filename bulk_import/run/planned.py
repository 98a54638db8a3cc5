"""The plan as a document: what `plan --format json` prints. Every field is defined here once, as in model/result.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from bulk_import.model.approval import Binding
from bulk_import.model.fields import ACCOUNT, REGION, AccountId, Count, Moment, Rate, Seconds, Sha256, about
from bulk_import.model.kms import KeySpec, KeyState
from bulk_import.model.result import Failure, NamedTarget
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
from bulk_import.plan import Action

_MEANINGS: Final = {
    Action.CREATE: "No key has the alias; the key would be created, given its alias and imported into.",
    Action.IMPORT: "The key waits for its first import (PendingImport).",
    Action.REIMPORT: "The key has material; its expiry is not as wanted.",
    Action.CORRECT: "The key's material is as wanted; its policy, tags or description would be set.",
    Action.UNCHANGED: "The key is as wanted; no import call would be made.",
    Action.BLOCKED: "The target cannot be carried out; `error` says why.",
}


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One change that a run would make."""

    operation: Annotated[str, about("KMS's name of it.")]
    cause: Annotated[str, about("Why it is needed.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget(NamedTarget):
    """What a run would do with one target, and what it found."""

    action: Annotated[Action, about(" ".join(f"{action}: {_MEANINGS[action]}" for action in Action))]
    key_state: Annotated[str | None, about(f"As KMS showed it: {', '.join(KeyState)}. null: not known.")]
    key_spec: Annotated[str | None, about(f"{', '.join(KeySpec)} can be imported into.")]
    expiration_model: Annotated[
        str | None, about("KEY_MATERIAL_EXPIRES or KEY_MATERIAL_DOES_NOT_EXPIRE, as KMS showed it. null: not known.")
    ]
    valid_to: Annotated[Moment | None, about("When the material expires, as KMS showed it. null: never, or not known.")]
    wanted_valid_to: Annotated[Moment | None, about("The ValidTo to import with. null: never.")]
    detail: Annotated[str, about("Why this action. Often empty.")]
    steps: Annotated[list[PlannedStep], about("The changes that a run would make, in order. Empty: none.")]
    error: Annotated[Failure | None, about("Why the target is blocked. null: it is not.")]


@dataclass(frozen=True, slots=True)
class PlannedLane:
    """A lane: KMS's quotas are counted by it."""

    account: Annotated[AccountId, ACCOUNT]
    region: Annotated[str, REGION]
    targets: Annotated[Count, about("Selected targets of the lane.")]
    imports: Annotated[Count, about("Of these, the ones that need an import.")]
    floor_seconds: Annotated[
        Seconds,
        about("The shortest time that the quotas of all calls that change something and the verification allow."),
    ]
    quota: Annotated[dict[str, Rate], about("Requests per second that the run would use.")]
    limit: Annotated[str | None, about("The operation whose quota takes the longest. null: nothing would be changed.")]


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """The counts after total add up to it."""

    total: Annotated[Count, about("Selected targets.")]
    create: Annotated[Count, about(_MEANINGS[Action.CREATE])]
    import_: Annotated[Count, about(_MEANINGS[Action.IMPORT], alias="import")]  # a reserved word of Python
    reimport: Annotated[Count, about(_MEANINGS[Action.REIMPORT])]
    correct: Annotated[Count, about(_MEANINGS[Action.CORRECT])]
    unchanged: Annotated[Count, about(_MEANINGS[Action.UNCHANGED])]
    blocked: Annotated[Count, about(_MEANINGS[Action.BLOCKED])]


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """What a run would do, key by key, and the time that KMS's quotas require."""

    schema_version: Annotated[Literal[1], about("Version of this format.")]
    tool: Annotated[Tool, about("What wrote this.")]
    manifest: Annotated[ManifestFacts, about("The manifest.")]
    selection: Annotated[Selected, about("What --only-… chose. Empty: all.")]
    caller: Annotated[CallerFacts | None, about("Whose credentials assumed the roles. null: no call was made.")]
    partition: Annotated[str, PARTITION]
    environment: Annotated[Environment | None, ENVIRONMENT]
    endpoints: Annotated[dict[str, str], ENDPOINTS]
    summary: Annotated[PlanSummary, about("The counts after total add up to it.")]
    lanes: Annotated[list[PlannedLane], about("One entry per account and Region, in order of first appearance.")]
    targets: Annotated[list[PlannedTarget], about("One entry per selected target, in manifest order.")]
    binding: Annotated[
        Binding | None,
        about("What `run --plan` must find again. null: the plan was not saved with --out."),
    ]
    checksum: Annotated[
        Sha256 | None,
        about(
            "SHA-256 of the other members as JSON (RFC 8259), names sorted, without spaces. It shows damage, and who "
            "alters a plan on purpose can make a new one. null: the plan was not saved."
        ),
    ]
