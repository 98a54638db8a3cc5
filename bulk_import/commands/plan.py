"""`plan MANIFEST` and `run --dry-run`: what would be done per target. Reads only."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer
from pydantic import TypeAdapter

from bulk_import import __version__, api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode
from bulk_import.model.run import CallerFacts, ManifestFacts, Selected, Tool
from bulk_import.plan import Action
from bulk_import.run.planned import PlanDocument, PlannedTarget, PlanSummary
from bulk_import.run.planner import Plan
from bulk_import.settings import Settings
from bulk_import.words import not_aws, plural

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = (
    "common", "caller", "aws", "manifest", "role", "failed", "shard", "sources", "hsm", "format", "prove", "known",
    "correct", "decide", "plan_only",
)  # fmt: skip
FORMATS = ("table", "json")


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    loaded = api.load_manifest(manifest, settings)
    plan = loop.run(api.plan(loaded, settings))
    if warning := not_aws("plan", plan.environment, plan.endpoints):
        output.say(warning)
    if settings.format == "json":
        document = TypeAdapter(PlanDocument).dump_python(_document(plan), by_alias=True)
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
        output.result(orjson.dumps(document, option=options))
    else:
        output.result(_table(plan).encode())
    return _exit_code(plan, detailed=settings.detailed_exitcode)


def _exit_code(plan: Plan, *, detailed: bool) -> ExitCode:
    counts = plan.counts()
    if counts[Action.BLOCKED] and counts[Action.BLOCKED] == len(plan.targets):
        return ExitCode.NONE_WELL
    if counts[Action.BLOCKED]:
        return ExitCode.PARTIAL
    pending = len(plan.targets) - counts[Action.UNCHANGED] - counts[Action.BLOCKED]
    return ExitCode.CHANGES_PENDING if detailed and pending else ExitCode.OK


def _document(plan: Plan) -> PlanDocument:
    counts = plan.counts()
    return PlanDocument(
        schema_version=1,
        tool=Tool("bulk-import", __version__),
        manifest=ManifestFacts(plan.manifest.shown_uri, plan.manifest.sha256, plan.manifest.total),
        selection=Selected(**plan.selection),
        caller=CallerFacts(**plan.caller) if plan.caller else None,
        partition=plan.manifest.partition,
        environment=plan.environment,
        endpoints=dict(plan.endpoints),
        summary=PlanSummary(len(plan.targets), *(counts[action] for action in Action)),
        lanes=list(plan.lanes),
        targets=list(plan.targets),
    )


def _detail(target: PlannedTarget) -> str:
    """Why it is blocked, or each change with its cause, or why there is none."""
    if target.error:
        return f"{target.error.code}: {target.detail}"
    return "; ".join(f"{step.operation}: {step.cause}" for step in target.steps) or target.detail


def _table(plan: Plan) -> str:
    if not plan.targets:
        return "This shard has no target: there is nothing to do.\n"
    rows = [("ACTION", "ID", "ACCOUNT", "REGION", "KEY STATE", "DETAIL")]
    rows += [
        (target.action.value, target.id, target.account, target.region, target.key_state or "-",
         _detail(target))
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
    limit = f"; {longest.limit} is the limit, {longest.quota[longest.limit]:g} per second" if longest.limit else ""
    lines.append(
        f"Quotas allow no faster than {longest.floor_seconds:.0f} s "
        f"({plural(longest.imports, 'import')} in {longest.account}/{longest.region}{limit})."
    )
    return "\n".join(lines) + "\n"
