"""`submit BUNDLE SEALED…`: imports sealed material with the bundle's import parameters; verifies, proves, reports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Final

import typer

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.commands.asking import asker
from bulk_import.commands.signals import Signals
from bulk_import.commands.terminal import actions, ending
from bulk_import.commands.terminal.progress import Progress
from bulk_import.commands.working import watched
from bulk_import.errors import ExitCode, UsageError
from bulk_import.settings import Settings
from bulk_import.words import as_utc, plural

ARGUMENTS: dict[str, Any] = {
    "bundle": Annotated[str, typer.Argument(metavar="BUNDLE", help="The file or s3:// object that `prepare` wrote.")],
    "sealed": Annotated[list[str], typer.Argument(metavar="SEALED", help="The sealed files, or s3:// objects.")],
}
GROUPS = (
    "common", "caller", "aws", "prove", "known", "decide", "steady", "run", "proof", "render", "s3", "prove_use",
    "trust",
)  # fmt: skip
_SOON: Final = timedelta(hours=1)
_NAMED: Final = 10


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if not settings.checkpoint:
        yield "checkpoint_interval", "without --checkpoint s3://bucket/key: no copy of the journal is kept."
    if not settings.uploads:
        for name in ("s3_sse", "s3_sse_kms_key_id"):
            yield name, "because nothing goes to S3: none of --report, --render and --checkpoint is s3://bucket/key."


def refused(flags: Mapping[str, Any], places: Settings | None) -> None:  # noqa: ARG001 - as for `run`
    """Settings that are wrong end the submission too: no older result may be taken for its own."""
    if places is not None:
        api.clear_files(places)


def execute(settings: Settings, bundle: str, sealed: list[str]) -> ExitCode:
    if settings.require_proof and settings.prove == "none":
        raise UsageError("--require-proof and --prove none contradict each other.")
    if settings.prove == "all":
        raise UsageError("--prove all imports again what is as wanted. `submit` imports only what was prepared for it.")
    output.configure(settings)
    known = loop.run(api.clear_results(bundle, settings, others=(*sealed, *settings.signed_by)))
    with Signals(settings.grace) as signals:
        inputs = api.read_inputs(bundle, sealed, settings, ask=asker())
        _say_deadlines(inputs, settings)
        progress = Progress(api.manifest_of(inputs), settings)
        result = loop.run(watched(partial(api.submit, inputs, settings, known=known), progress, signals))
        ending.tell(result, settings, elsewhere=progress.elsewhere)
        actions.tell(result.document.whole(), os.environ, quiet=settings.quiet)
    return result.exit_code


def _say_deadlines(inputs: api.Inputs, settings: Settings) -> None:
    """Of all, and by name of the first ones that expire within the hour."""
    deadlines = [line.deadline for line in api.expiring(inputs, timedelta.max)]
    if deadlines and not settings.quiet:
        output.say(f"Import parameters expire from {as_utc(deadlines[0])} to {as_utc(deadlines[-1])}.")
    soon = api.expiring(inputs, _SOON)
    for line in soon[:_NAMED]:
        output.say(f"Warning: {line.id} in {line.account}/{line.region}: its import parameters expire at "
                   f"{as_utc(line.deadline)}.")  # fmt: skip
    if len(soon) > _NAMED:
        output.say(f"Warning: those of {plural(len(soon) - _NAMED, 'more target')} expire within the hour.")
