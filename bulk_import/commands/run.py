"""`run MANIFEST`: makes it so, verifies, writes the report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import typer

from bulk_import import api
from bulk_import.commands import loop, output, plan
from bulk_import.commands.signals import Signals
from bulk_import.commands.terminal import actions, ending
from bulk_import.commands.terminal.progress import Progress
from bulk_import.commands.working import watched
from bulk_import.errors import ExitCode, UsageError
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = (
    "common", "caller", "aws", "manifest", "role", "failed", "sources", "hsm", "format", "prove", "known", "correct",
    "decide", "steady", "run", "approved", "proof", "render", "shard", "dry_run", "s3", "prove_use",
)  # fmt: skip
FORMATS = plan.FORMATS


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if settings.dry_run:
        for name in ("resume", "deadline", "render", "checkpoint"):
            yield name, "with --dry-run, which makes no run. Leave one of the two out."
    else:
        yield (
            "format",
            "without --dry-run: a run writes a report. --report - prints it, --render gives it another form.",
        )
    if not settings.plan:
        yield "plan_max_age", "without --plan: there is no plan whose age could be limited."
    if not settings.checkpoint:
        yield "checkpoint_interval", "without --checkpoint s3://bucket/key: no copy of the journal is kept."
    if not settings.uploads:
        for name in ("s3_sse", "s3_sse_kms_key_id"):
            yield name, "because nothing goes to S3: none of --report, --render and --checkpoint is s3://bucket/key."


def refused(flags: Mapping[str, Any], places: Settings | None) -> None:
    """Settings that are wrong end the run too: no older result may be taken for its own. S3 is not asked, because
    the settings that say how are not known."""
    if places is not None and not flags.get("dry_run"):
        api.clear_files(places)


def execute(settings: Settings, manifest: str) -> ExitCode:
    if settings.require_proof and settings.prove == "none":
        raise UsageError("--require-proof and --prove none contradict each other.")
    if settings.dry_run:
        return _dry_run(settings, manifest)
    output.configure(settings)
    try:
        failed = api.load_failed(settings)  # it may be among the results that are moved away
    finally:
        known = loop.run(api.clear_results(manifest, settings))
    with Signals(settings.grace) as signals:
        loaded = api.load_manifest(manifest, settings, failed=failed)
        saved = api.load_plan(loaded, settings)
        progress = Progress(loaded, settings)
        result = loop.run(watched(partial(api.run, loaded, settings, known=known, saved=saved), progress, signals))
        ending.tell(result, settings, elsewhere=progress.elsewhere)
        actions.tell(result.document.whole(), os.environ, quiet=settings.quiet)
    return result.exit_code


def _dry_run(settings: Settings, manifest: str) -> ExitCode:
    """As `plan`; with --plan, also whether every target is still as the plan saw it."""
    output.configure(settings)
    loaded = api.load_manifest(manifest, settings)
    found = loop.run(api.plan(loaded, settings, saved=api.load_plan(loaded, settings)))
    plan.show(found, settings)
    return plan.exit_code(found, detailed=settings.detailed_exitcode)
