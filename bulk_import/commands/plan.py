"""`plan MANIFEST` and `run --dry-run`: what would be done per target. Reads only."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from bulk_import import __version__, api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode
from bulk_import.journal.entry import kms_instant
from bulk_import.plan import Action
from bulk_import.report.formats.view import plural
from bulk_import.run.planner import Plan, PlannedTarget
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = ("common", "caller", "aws", "manifest", "format", "prove", "decide", "plan_only")
FORMATS = ("table", "json")


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    loaded = api.load_manifest(manifest, settings)
    plan = loop.run(api.plan(loaded, settings))
    if settings.format == "json":
        output.result(orjson.dumps(_document(plan), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    else:
        output.result(_table(plan).encode())
    return _exit_code(plan, detailed=settings.detailed_exitcode)


def _exit_code(plan: Plan, *, detailed: bool) -> ExitCode:
    counts = plan.counts()
    if counts[Action.BLOCKED] == len(plan.targets):
        return ExitCode.NONE_WELL
    if counts[Action.BLOCKED]:
        return ExitCode.PARTIAL
    pending = counts[Action.IMPORT] + counts[Action.REIMPORT]
    return ExitCode.CHANGES_PENDING if detailed and pending else ExitCode.OK


def _document(plan: Plan) -> dict[str, Any]:
    counts = plan.counts()
    return {
        "schema_version": 1,
        "tool": {"name": "bulk-import", "version": __version__},
        "manifest": {"uri": plan.manifest.uri, "sha256": plan.manifest.sha256, "targets": plan.manifest.total},
        "selection": plan.selection,
        "caller": plan.caller,
        "partition": plan.manifest.partition,
        "summary": {"total": len(plan.targets), **{action.value: counts[action] for action in Action}},
        "lanes": [
            {
                "account": lane.account,
                "region": lane.region,
                "targets": lane.targets,
                "imports": lane.imports,
                "floor_seconds": lane.floor_seconds,
                "quota": lane.quota,
            }
            for lane in plan.lanes
        ],
        "targets": [_entry(target) for target in plan.targets],
    }


def _entry(target: PlannedTarget) -> dict[str, Any]:
    error = target.error
    return {
        "id": target.id,
        "account": target.account,
        "region": target.region,
        "key_id": target.key_id,
        "key_arn": target.key_arn,
        "action": target.action,
        "key_state": target.key_state,
        "key_spec": target.key_spec,
        "expiration_model": target.expiration_model,
        "valid_to": kms_instant(target.valid_to) if target.valid_to else None,
        "wanted_valid_to": kms_instant(target.wanted_valid_to) if target.wanted_valid_to else None,
        "detail": target.detail,
        "error": error
        and {
            "code": error.code,
            "operation": error.operation,
            "message": error.message,
            "retryable": error.retryable,
            "advice": error.advice,
        },
    }


def _table(plan: Plan) -> str:
    rows = [("ACTION", "ID", "ACCOUNT", "REGION", "KEY STATE", "DETAIL")]
    rows += [
        (target.action.value, target.id, target.account, target.region, target.key_state or "-",
         f"{target.error.code}: {target.detail}" if target.error else target.detail)
        for target in plan.targets
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows
    ]
    longest = max(plan.lanes, key=lambda lane: lane.floor_seconds)
    counts = ", ".join(f"{count} {action.value}" for action, count in sorted(plan.counts().items()))
    lines.append("")
    lines.append(f"{plural(len(plan.targets), 'target')} in {plural(len(plan.lanes), 'lane')}: {counts}.")
    lines.append(
        f"The quotas make it take at least {longest.floor_seconds:.0f} s "
        f"({plural(longest.imports, 'import')} in {longest.account}/{longest.region})."
    )
    return "\n".join(lines) + "\n"
