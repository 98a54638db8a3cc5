"""`validate MANIFEST`: reads, checks, expands. Opens no material unless --material is given."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode
from bulk_import.report.formats.view import plural
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = ("common", "caller", "manifest", "validate")


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    loaded = api.load_manifest(manifest, settings)
    not_read: tuple[str, ...] = ()
    if settings.material:
        not_read = loop.run(api.check_material(loaded, settings))
    if not settings.quiet:
        lanes = {target.lane for target in loaded.targets}
        output.say(
            f"{loaded.shown_uri}: valid. {len(loaded.targets):,} of {plural(loaded.total, 'target')} selected, "
            f"{plural(len(loaded.accounts), 'account')}, {plural(len(lanes), 'lane')}."
        )
        if not_read:
            output.say(f"Not read, because that needs a run or `plan`: {' '.join(f'{name}:' for name in not_read)}")
    return ExitCode.OK
