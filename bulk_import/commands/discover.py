"""`discover`: prints a manifest of every key of Origin EXTERNAL in the named accounts and Regions. Reads only."""

from __future__ import annotations

from typing import Any

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode
from bulk_import.settings import Settings
from bulk_import.words import not_aws, plural

ARGUMENTS: dict[str, Any] = {}
GROUPS = ("common", "caller", "aws", "role", "discover")


def execute(settings: Settings) -> ExitCode:
    output.configure(settings)
    found = loop.run(api.discover(settings))
    warning = not_aws("discover", found.environment, found.endpoints)
    if warning:
        output.say(warning)
    output.result(found.manifest.encode())
    for one in found.not_read:
        output.say(f"{one.key_arn or one.lane}: {one.code}: {one.message}\n  What to do: {one.advice}")
    if not settings.quiet:
        output.say(f"{plural(found.keys, 'key')} of Origin EXTERNAL among {plural(found.listed, 'key')}.")
    if warning:
        output.say(warning)
    return found.exit_code
