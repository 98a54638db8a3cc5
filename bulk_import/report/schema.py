"""JSON Schema (2020-12) of the report and of the plan: the reference of every field.

Later versions may add fields, so further ones are allowed everywhere; those named here keep their meaning.
"""

from __future__ import annotations

from typing import Any, Final

from bulk_import.model import KeySpec, KeyState, Proof, Status, WrappingAlgorithm, WrappingKeySpec

Schema = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> Schema:
    """What `run` writes."""
    return {
        "$schema": _DRAFT,
        "title": "bulk-import report, version 1",
        **_object(
            "What a run found, did and could show, key by key.",
            schema_version={"const": 1, "description": "Of this format."},
            tool=_tool(),
            run=_with_runs(_run()),
            summary=_summary(),
            lanes=_list("One entry per account and Region, in order of first appearance.", _lane()),
            results=_list("One entry per selected target, in manifest order.", _result()),
        ),
    }


def plan_schema() -> Schema:
    """What `plan --format json` and `run --dry-run --format json` print."""
    return {
        "$schema": _DRAFT,
        "title": "bulk-import plan, version 1",
        **_object(
            "What a run would do, key by key, and the time that KMS's quotas make it take.",
            schema_version={"const": 1, "description": "Of this format."},
            tool=_tool(),
            manifest=_manifest(),
            selection=_selection(),
            caller=_caller(),
            partition=_text("AWS partition of all targets: aws, aws-cn, aws-us-gov, …"),
            summary=_object(
                "The counts after total add up to it.",
                total=_count("Selected targets."),
                **{action: _count(description) for action, description in _ACTIONS.items()},
            ),
            lanes=_list(
                "One entry per account and Region, in order of first appearance.",
                _object(
                    "A lane: KMS's quotas are counted by it.",
                    account=_account(),
                    region=_region(),
                    targets=_count("Selected targets of the lane."),
                    imports=_count("Of these, the ones that need an import."),
                    floor_seconds=_seconds("No run can be faster: (imports - 1) / quota of GetParametersForImport."),
                    quota=_rates("Requests a second that the run would keep to."),
                ),
            ),
            targets=_list("One entry per selected target, in manifest order.", _planned()),
        ),
    }


_ACTIONS: Final = {
    "import": "The key awaits its first import (PendingImport).",
    "reimport": "The key has material; its expiry is not as wanted.",
    "unchanged": "The key is as wanted; no import call would be made.",
    "blocked": "The target cannot be carried out; `error` says why.",
}
_STATUSES: Final = {
    Status.IMPORTED: "The key was PendingImport, and now is as wanted.",
    Status.REIMPORTED: "The key was in any other state, and now is as wanted.",
    Status.UNCHANGED: "The key was as wanted; no import call was made.",
    Status.FAILED: "`error` says why.",
    Status.NOT_ATTEMPTED: "Nothing was sent for it that changes a key; `error` says why.",
}


def _run() -> Schema:
    return _object(
        "The run as a whole.",
        run_id=_text("Also part of the role session's name and the user agent, so that CloudTrail can be joined."),
        started_at=_instant("When the run began."),
        finished_at=_nullable(_instant("When it ended. null: it was killed, or is still at work.")),
        duration_seconds=_seconds("From start to end, the time between a kill and its resume left out."),
        outcome=_choice(
            "All well; some well; none well; or stopped (signal, deadline, kill) with work left.",
            "succeeded",
            "partial",
            "failed",
            "interrupted",
        ),
        exit_code=_nullable(
            {"type": "integer", "description": "The process's. null: it was killed, or is still at work."}
        ),
        manifest=_manifest(),
        selection=_selection(),
        caller=_nullable(_caller()),
        partition=_text("AWS partition of all targets: aws, aws-cn, aws-us-gov, …"),
        environment=_nullable(
            _choice("aws: AWS's own endpoints. Any other shows nothing about keys in AWS.", "aws", "custom", "sandbox")
        ),
        endpoints=_map("Endpoint URLs other than AWS's own, by service.", {"type": "string"}),
        labels=_map("--label, and what the pipeline says of itself.", {"type": "string"}),
        journal_sha256=_sha256("Of the journal's file as it was when this report was made from it."),
        shard=_nullable(_text("I/N, as --shard was given.")),
        resumes=_list(
            "One entry per --resume of this run.",
            _object(
                "A resume.",
                at=_instant("When it began."),
                from_seq=_count("The journal's last event before it."),
            ),
        ),
        stopped_by=_list(
            "What stopped the run before its end, in order of time.",
            _choice(
                "A signal, --deadline, --max-failures, or the checkpoint that another run took over.",
                "SIGINT",
                "SIGTERM",
                "SIGHUP",
                "deadline",
                "max_failures",
                "checkpoint",
            ),
        ),
        error=_nullable(
            _object(
                "What ended the whole run, where it was not a single target.",
                code=_text("Name of the error."),
                message=_text("What happened."),
                advice=_text("What to do."),
            )
        ),
    )


def _with_runs(run: Schema) -> Schema:
    """A merged report has its parts' blocks besides."""
    parts = _list("Of a merged report: the block of each report that it was made of, in order.", run)
    return {**run, "properties": {**run["properties"], "runs": parts}}


def _summary() -> Schema:
    return _object(
        "The five counts after total add up to it.",
        total=_count("Selected targets."),
        **{status.value: _count(description) for status, description in _STATUSES.items()},
        unproved=_count("Of the well ones (imported, reimported, unchanged), those whose proof is none."),
    )


def _lane() -> Schema:
    return _object(
        "An account in a Region: KMS's quotas are counted by it.",
        account=_account(),
        region=_region(),
        targets=_count("Selected targets of the lane."),
        duration_seconds=_nullable(_seconds("From its first call to its last target's end. null: it did not end.")),
        calls=_map("Requests sent, by operation.", _count("Requests.")),
        throttled=_map("Of these, the ones that KMS throttled, by operation.", _count("Requests.")),
        quota=_rates("The quotas that the run kept to, by operation."),
        effective_rate=_rates("Where throttling made it slower: the lowest rate, by operation."),
    )


def _result() -> Schema:
    return _object(
        "One target: a KMS key that shall hold one key material.",
        **_identity(),
        status=_choice(" ".join(f"{status}: {text}" for status, text in _STATUSES.items()), *_STATUSES),
        changed=_nullable({"type": "boolean", "description": "Whether an import took effect. null: it is not known."}),
        **_found(),
        key_material_id=_nullable(_text("KMS's name of the material (symmetric keys only).")),
        wrapping_algorithm=_nullable(_choice("That sealed the material.", *WrappingAlgorithm)),
        wrapping_key_spec=_nullable(_choice("Of KMS's wrapping key.", *WrappingKeySpec)),
        verification=_nullable(_verification()),
        attempts=_count("ImportKeyMaterial requests sent."),
        request_ids=_list(
            "AWS's IDs of the target's requests, in order: CloudTrail's requestID.",
            _object("A request.", operation=_text("KMS's name of the operation."), request_id=_text("AWS's ID.")),
        ),
        started_at=_nullable(_instant("First read. null: the target was not started.")),
        finished_at=_nullable(_instant("null: the target did not come to its end.")),
        error=_nullable(_error()),
    )


def _verification() -> Schema:
    return _object(
        "What was seen of the key afterwards. null: the target did not come so far.",
        verified={"type": "boolean", "description": "State, expiration model and ValidTo were as wanted."},
        reads=_count("DescribeKey answers looked at."),
        consecutive=_count("The last ones of them in a row that were as wanted."),
        duration_seconds=_seconds("Spent on it."),
        proof=_choice("What showed that KMS holds the source's very bytes. none: `detail` says why.", *Proof),
        round_trip=_nullable({"type": "boolean", "description": "Encrypt and Decrypt worked. null: not asked for."}),
        detail=_text("A remark, such as material_not_compared. Often empty."),
    )


def _planned() -> Schema:
    return _object(
        "One target.",
        **_identity(),
        action=_choice(" ".join(f"{action}: {text}" for action, text in _ACTIONS.items()), *_ACTIONS),
        **_found(),
        wanted_valid_to=_nullable(_instant("The ValidTo to import with. null: never.")),
        detail=_text("Why this action. Often empty."),
        error=_nullable(_error()),
    )


def _identity() -> dict[str, Schema]:
    return {
        "id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", "description": "The manifest's."},
        "account": _account(),
        "region": _region(),
        "key_id": _text("As the manifest names the key: ID, ARN or alias."),
        "key_arn": _nullable(_text("The KMS key itself. null: it was not found out.")),
    }


def _found() -> dict[str, Schema]:
    # No enums: a key spec or state that KMS gets later is reported as it is.
    return {
        "key_spec": _nullable(_text(f"{', '.join(KeySpec)} can be imported into.")),
        "key_state": _nullable(_text(f"As KMS showed it last: {', '.join(KeyState)}. null: not known.")),
        "expiration_model": _nullable(
            _text("KEY_MATERIAL_EXPIRES or KEY_MATERIAL_DOES_NOT_EXPIRE, as KMS showed it last. null: not known.")
        ),
        "valid_to": _nullable(_instant("When the material expires, as KMS showed it last. null: never, or not known.")),
    }


def _error() -> Schema:
    return _object(
        "Why the target is not well.",
        code=_text("AWS's error code, or one of bulk-import's."),
        operation=_nullable(_text("The KMS or STS operation. null: none was called.")),
        message=_text("What happened, to which key."),
        retryable={"type": "boolean", "description": "Whether the same run may succeed later without any change."},
        advice=_text("What to do."),
    )


def _tool() -> Schema:
    return _object("What wrote this.", name=_text("bulk-import"), version=_text("Its version."))


def _manifest() -> Schema:
    return _object(
        "The manifest.",
        uri=_text("As it was given."),
        sha256=_sha256("Of its bytes."),
        targets=_count("Targets of the whole manifest, selected or not."),
    )


def _selection() -> Schema:
    texts: Schema = {"type": "string"}
    return _object(
        "What --only-… chose. Empty: all.",
        accounts=_list("--only-account", texts),
        regions=_list("--only-region", texts),
        ids=_list("--only-id", texts),
    )


def _caller() -> Schema:
    return _object("Whose credentials assumed the roles.", account=_account(), arn=_text("As STS names the caller."))


def _object(description: str, /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": properties,
    }


def _map(description: str, values: Schema) -> Schema:
    return {"type": "object", "description": description, "additionalProperties": values}


def _list(description: str, items: Schema) -> Schema:
    return {"type": "array", "description": description, "items": items}


def _nullable(schema: Schema) -> Schema:
    """The same, or null; the description stays where a reader looks for it."""
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _choice(description: str, *values: str) -> Schema:
    return {"type": "string", "enum": [str(value) for value in values], "description": description}


def _count(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def _seconds(description: str) -> Schema:
    return {"type": "number", "minimum": 0, "description": description}


def _rates(description: str) -> Schema:
    return _map(description, {"type": "number", "exclusiveMinimum": 0, "description": "Requests a second."})


def _instant(description: str) -> Schema:
    return {
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$",
        "description": description,
    }


def _sha256(description: str) -> Schema:
    return {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": description}


def _account() -> Schema:
    return {"type": "string", "pattern": "^[0-9]{12}$", "description": "AWS account ID."}


def _region() -> Schema:
    return _text("AWS Region.")
