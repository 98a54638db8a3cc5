"""`template NAME`: a ready file for a pipeline or a batch engine, on stdout."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_import.commands import output
from bulk_import.errors import ExitCode
from bulk_import.settings import Settings
from bulk_import.templates import FILES, template

if TYPE_CHECKING:
    Name = str
else:
    Name = StrEnum("Name", {name.upper().replace("-", "_"): name for name in FILES})

ARGUMENTS: dict[str, Any] = {"name": Annotated[Name, typer.Argument(metavar="|".join(FILES), help="For which engine.")]}
GROUPS = ("common",)


def execute(settings: Settings, name: Name) -> ExitCode:
    output.configure(settings)
    output.result(template(str(name)).encode())
    return ExitCode.OK
