"""`validate MANIFEST`: reads, checks, expands. Opens no material unless --material is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode
from bulk_import.fleet import IMPORTS_PER_CORE, Division
from bulk_import.settings import Settings
from bulk_import.words import duration, plural

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = ("common", "caller", "manifest", "role", "failed", "shard", "hsm", "validate")


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would have no effect together with the others, and why."""
    if settings.shards is not None:
        yield "shard", "with --shards, which shows the division of all selected targets. Leave one of the two out."


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    if settings.shards is not None:
        settings = settings.model_copy(update={"shard": None})
    loaded = api.load_manifest(manifest, settings)
    checked = loop.run(api.check_material(loaded, settings)) if settings.material else None
    if not settings.quiet:
        lanes = {target.lane for target in loaded.targets}
        output.say(
            f"{loaded.shown_uri}: valid. {len(loaded.targets):,} of {plural(loaded.total, 'target')} selected, "
            f"{plural(len(loaded.accounts), 'account')}, {plural(len(lanes), 'lane')}."
        )
        for target, ability in checked.abilities if checked else ():
            output.say(f"{target}: {ability}.")
        if checked and checked.not_read:
            names = " ".join(f"{name}:" for name in checked.not_read)
            output.say(f"Not read, because that needs a run or `plan`: {names}")
    if settings.shards is not None:
        output.result(_division(api.division(loaded, settings, settings.shards)).encode())
    return ExitCode.OK


def _division(division: Division) -> str:
    """A row per shard, and from how many shards on more machines do not help."""
    rows = [("SHARD", "LANES", "TARGETS", "AT LEAST")]
    rows += [
        (str(shard), f"{len(shard.lanes):,}", f"{shard.targets:,}", duration(floor))
        for shard, floor in zip(division.shards, division.floors, strict=True)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [
        "",
        "AT LEAST: the time that the quotas require if every target needs an import.",
        f"From {plural(division.enough, 'shard')} on, the longest lane alone is the limit: more do not make it faster.",
        f"(One core makes about {IMPORTS_PER_CORE} imports per second.)",
    ]
    return "\n".join(lines) + "\n"
