"""--help of a command: its options under headings, in the order of settings/headings.py."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

ARGUMENTS = "Arguments"


class Grouped(TyperCommand):
    """typer has headings for its rich output only (`rich_help_panel`); this is plain text, for logs and pages."""

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # typer's own type is private
        from bulk_import.settings.headings import HEADINGS, OTHERS  # noqa: PLC0415 - pydantic is loaded only by a command

        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (ARGUMENTS, *HEADINGS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                option = parameter.param_type_name == "option"
                groups[(getattr(parameter, "rich_help_panel", None) or OTHERS) if option else ARGUMENTS].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
