"""`template NAME`: a ready file for a pipeline or a batch engine, on stdout."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bulk_import.commands import output
from bulk_import.errors import ExitCode, UsageError
from bulk_import.settings import Settings
from bulk_import.templates import FILES, template


def _completed(incomplete: str) -> list[str]:
    return [name for name in FILES if name.startswith(incomplete)]


ARGUMENTS: dict[str, Any] = {
    "name": Annotated[
        str, typer.Argument(metavar="NAME", help=f"One of {', '.join(FILES)}.", autocompletion=_completed)
    ]
}
GROUPS = ("common",)


def execute(settings: Settings, name: str) -> ExitCode:
    output.configure(settings)
    if name not in FILES:
        raise UsageError(f"There is no template {name}. Use one of {', '.join(FILES)}.")
    output.result(template(name).encode())
    return ExitCode.OK
