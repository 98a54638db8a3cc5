"""What GitHub Actions shows of a run next to its log: annotations, and the step's summary.

Annotations go to stderr: the runner reads workflow commands from both streams, and stdout carries results only.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from bulk_import.api import reports
from bulk_import.commands import output


def tell(report: Mapping[str, Any], environment: Mapping[str, str], *, quiet: bool) -> None:
    """Does nothing outside GitHub Actions. A summary that cannot be written is a warning: no one asked for it."""
    if environment.get("GITHUB_ACTIONS") == "true" and not (quiet and report["run"]["outcome"] == "succeeded"):
        text = io.StringIO()
        reports.render("github", report, text)
        output.say(text.getvalue())
    try:
        reports.append_step_summary(report, environment)
    except OSError as error:
        output.say(f"Warning: $GITHUB_STEP_SUMMARY could not be written ({error.strerror or error}).")
