"""`prepare MANIFEST BUNDLE`: import parameters for every target that needs an import."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode, UsageError
from bulk_import.model import STDOUT
from bulk_import.settings import Settings
from bulk_import.words import as_utc, not_aws, plural, spoken

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")],
    "bundle": Annotated[
        str, typer.Argument(metavar="BUNDLE", help="The file to write or to continue, or s3://bucket/key.")
    ],
}
GROUPS = ("common", "caller", "aws", "manifest", "role", "failed", "prepare", "sign", "s3")
_SOON: Final = timedelta(hours=1)


def execute(settings: Settings, manifest: str, bundle: str) -> ExitCode:
    output.configure(settings)
    if bundle == STDOUT:
        raise UsageError("a bundle is written line by line, to a file. Name a file or s3://bucket/key.")
    loaded = api.load_manifest(manifest, settings)
    found = loop.run(api.prepare(loaded, settings, bundle))
    return _say(found, bundle, settings)


def _say(found: api.Preparation, bundle: str, settings: Settings) -> ExitCode:
    head, deadlines = found.bundle.head, found.deadlines
    if warning := not_aws("prepare", head.environment, head.endpoints):
        output.say(warning)
    blocked = [line for line in found.others if line.kind == "blocked"]
    for line in blocked:
        output.say(f"{line.id} in {line.account}/{line.region}: {line.code}: {line.message}")
    unchanged = len(found.others) - len(blocked)
    missing = head.selected - len(found.bundle.targets)
    if not settings.quiet:
        output.say(
            f"{bundle}: {plural(len(deadlines), 'target')} prepared, {unchanged} as wanted already, {len(blocked)} "
            f"blocked{f', {missing} not reached' if missing else ''}."
        )
        if deadlines:
            output.say(f"Submit the first before {as_utc(deadlines[0])}, the last before {as_utc(deadlines[-1])}.")
        output.say(f"Fingerprint, to read aloud: {spoken(found.fingerprint)}")
    if soon := sum(deadline - datetime.now(UTC) < _SOON for deadline in deadlines):
        output.say(f"Warning: the import parameters of {plural(soon, 'target')} expire within the hour.")
    if signature := found.signature:
        output.say(f"Signature: {signature}")
    if not deadlines and not unchanged:
        return ExitCode.NONE_WELL
    return ExitCode.PARTIAL if blocked or missing else ExitCode.OK
