"""Annotations for GitHub Actions. What is wrong is an error, what expires soon a warning; at most ten of a level.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from bulk_import.report.formats.github import PER_LEVEL, command
from bulk_import.report.formats.inspection import view
from bulk_import.run.inspected import Standing


def write(found: Mapping[str, Any], out: TextIO) -> None:
    environment = view.environment_warning(found)
    lines = [command("warning", "bulk-import status", environment)] if environment else []
    wrong = view.wrong(found)
    expiring = [one for one in wrong if one["state"] == Standing.EXPIRING]
    lines += _bounded("warning", expiring, PER_LEVEL - len(lines))
    lines += _bounded("error", [one for one in wrong if one["state"] != Standing.EXPIRING], PER_LEVEL)
    marked = " (not AWS)" if environment else ""
    lines.append(
        command("notice", "bulk-import status", f"{view.headline(found)}{marked}, run {found['run']['run_id']}")
    )
    out.write("\n".join(lines) + "\n")


def _bounded(level: str, targets: list[view.Target], most: int) -> list[str]:
    shown = targets if len(targets) <= most else targets[: most - 1]
    lines = [
        command(level, f"{one['state']}: {one['id']} in {view.place(one)}", f"{view.why(one)}\n{view.advice(one)}")
        for one in shown
    ]
    if len(shown) < len(targets):
        lines.append(command(level, "bulk-import status", f"And {len(targets) - len(shown):,} more: see the page."))
    return lines
