"""`delete MANIFEST`: deletes imported key material of the selected targets, verifies, writes the report."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Any

import typer

from bulk_import import api
from bulk_import.commands import asking, loop, output
from bulk_import.commands.run import refused, without_effect
from bulk_import.commands.signals import Signals
from bulk_import.commands.terminal import actions, ending
from bulk_import.commands.terminal.progress import Progress
from bulk_import.commands.terminal.tally import DELETIONS
from bulk_import.commands.working import watched
from bulk_import.errors import ExitCode, UsageError
from bulk_import.model import Manifest
from bulk_import.settings import Settings
from bulk_import.words import plural

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = (
    "common", "caller", "aws", "manifest", "role", "failed", "decide", "steady", "run", "render", "shard", "s3",
    "delete",
)  # fmt: skip
NAMED = 20  # targets that the question names

__all__ = ["ARGUMENTS", "GROUPS", "execute", "refused", "without_effect"]


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    try:
        failed = api.load_failed(settings)  # it may be among the results that are moved away
    finally:
        loop.run(api.clear_results(manifest, settings))
    selected = settings.only_account or settings.only_region or settings.only_id or settings.only_failed
    if not (selected or settings.all):
        raise UsageError("Select targets with --only-account, --only-region or --only-id, or give --all.")
    if selected and settings.all:
        raise UsageError("--all and --only-… contradict each other: give one of the two.")
    loaded = api.load_manifest(manifest, settings, check_dates=False, failed=failed)
    _confirm(loaded, settings)
    with Signals(settings.grace) as signals:
        progress = Progress(loaded, settings, DELETIONS)
        result = loop.run(watched(partial(api.delete, loaded, settings), progress, signals))
        ending.tell(result, settings, elsewhere=progress.elsewhere)
        actions.tell(result.document.whole(), os.environ, quiet=settings.quiet)
    return result.exit_code


def _confirm(manifest: Manifest, settings: Settings) -> None:
    """Says what becomes unusable; without --yes, a person must type the number of targets. Raises UsageError."""
    count = len(manifest.targets)
    names = [f"  {target}: {target.shown_key_id}" for target in manifest.targets[:NAMED]]
    if count > NAMED:
        names.append(f"  and {count - NAMED:,} more")
    what = (
        f"This deletes the imported key material of {plural(count, 'key')}:\n" + "\n".join(names) + "\n"
        "These keys become unusable at once: nothing that they encrypted can be decrypted, and they sign and "
        "authenticate nothing, until the same material is imported again. KMS keeps no copy of it."
    )
    if settings.yes:
        if not settings.quiet:
            output.say(what)
        return
    ask = asking.asker()
    if ask is None:
        raise UsageError("delete asks for the number of targets, and no one can answer here. Give --yes.")
    output.say(what)
    if ask(f"To delete, type the number of keys ({count}):") != str(count):
        raise UsageError("Nothing was deleted: the number is another one.")
