"""`plan MANIFEST` and `run --dry-run`: what would be done per target. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode
from bulk_import.model import in_s3
from bulk_import.plan import Action
from bulk_import.run.planned import PlannedTarget
from bulk_import.run.planner import Plan
from bulk_import.settings import Settings
from bulk_import.words import not_aws, plural

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = (
    "common", "caller", "aws", "manifest", "role", "failed", "shard", "sources", "hsm", "format", "prove", "known",
    "correct", "decide", "plan_only", "out", "s3",
)  # fmt: skip
FORMATS = ("table", "json")


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if not in_s3(settings.out):
        for name in ("s3_sse", "s3_sse_kms_key_id"):
            yield name, "because nothing goes to S3: --out is not s3://bucket/key."


def refused(_: Mapping[str, Any], places: Settings | None) -> None:
    """Settings that are wrong end the command too: nobody may take an older plan for the new one."""
    if places is not None and places.out is not None:
        api.clear_plan_file(places.out)


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    try:
        failed = api.load_failed(settings)
    finally:
        loop.run(api.clear_plan(manifest, settings))
    loaded = api.load_manifest(manifest, settings, failed=failed)
    loop.run(api.clear_plan(manifest, settings, loaded))
    plan = loop.run(api.plan(loaded, settings, bind=settings.out is not None))
    show(plan, settings)
    if settings.out is not None:
        _say_saved(loop.run(api.save_plan(plan, settings)), settings, settings.out)
    return exit_code(plan, detailed=settings.detailed_exitcode)


def show(plan: Plan, settings: Settings) -> None:
    """The plan on stdout."""
    if warning := not_aws("plan", plan.environment, plan.endpoints):
        output.say(warning)
    output.result(api.plan_json(plan) if settings.format == "json" else _table(plan).encode())


def _say_saved(saved: api.Saved | list[PlannedTarget], settings: Settings, out: str) -> None:
    if isinstance(saved, list):
        first = saved[0]
        why = f"{first.error.code} of {first.id} in {first.account}/{first.region}" if first.error else ""
        more = f", and of {plural(len(saved) - 1, 'more target')}" if len(saved) > 1 else ""
        output.say(f"The plan was not saved to {out}: not everything could be read ({why}{more}).")
    elif not settings.quiet:
        output.say(f"The plan is in {saved.place}. SHA-256: {saved.sha256}")


def exit_code(plan: Plan, *, detailed: bool) -> ExitCode:
    counts = plan.counts()
    if counts[Action.BLOCKED] and counts[Action.BLOCKED] == len(plan.targets):
        return ExitCode.NONE_WELL
    if counts[Action.BLOCKED]:
        return ExitCode.PARTIAL
    pending = len(plan.targets) - counts[Action.UNCHANGED] - counts[Action.BLOCKED]
    return ExitCode.CHANGES_PENDING if detailed and pending else ExitCode.OK


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
