"""`report REPORT…`: renders reports, merges them, or rebuilds one from a journal. Touches no AWS service."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TextIO

import typer

from bulk_import import api
from bulk_import.api.reports import FORMATS as RENDERINGS
from bulk_import.commands import loop, output
from bulk_import.commands.terminal import ending
from bulk_import.errors import ExitCode
from bulk_import.model import STDOUT, in_s3
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {
    "reports": Annotated[
        list[str],
        typer.Argument(
            metavar="REPORT", help="Reports or journals of one manifest: paths, s3://bucket/key, or - for stdin."
        ),
    ]
}
GROUPS = ("common", "caller", "format", "s3", "report")
FORMATS = ("table", "json", *RENDERINGS)


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if not in_s3(settings.output):
        for name in ("s3_sse", "s3_sse_kms_key_id"):
            yield name, "because nothing goes to S3: use --output s3://bucket/key."


def refused(flags: Mapping[str, Any], places: Settings | None) -> None:
    """Settings that are wrong end the command too: no older result may be taken for its own."""
    if places is not None:
        api.clear_output_file(flags.get("reports", ()), places)


def execute(settings: Settings, reports: list[str]) -> ExitCode:
    """Ends with the exit code of what it shows; of a merge, of all parts together."""
    output.configure(settings)
    loop.run(api.clear_output(reports, settings))
    with api.open_reports(reports, settings) as merged:
        found = merged.report
        _warn(found)
        if settings.output == STDOUT:
            _to_stdout(found, settings)
            return merged.exit_code
        text = None if settings.format == "json" else _text(found, settings)
        if in_s3(settings.output):
            loop.run(api.upload_report(found, settings, text=text))
        else:
            api.write_report(found, settings, text=text)
    return merged.exit_code


def _warn(found: api.Report) -> None:
    """A whole that lacks a part is never rendered silently."""
    error = found.head["run"].get("error")
    if error and error["code"] == "ShardMissing":
        output.say(f"Warning: {error['message']} {error['advice']}")


def _to_stdout(found: api.Report, settings: Settings) -> None:
    if settings.format == "json":
        for chunk in api.json_chunks(found):
            output.result(chunk)
    else:
        output.result(_text(found, settings, like=sys.stdout).encode("utf-8", "backslashreplace"))


def _text(found: api.Report, settings: Settings, *, like: TextIO | None = None) -> str:
    text = io.StringIO()
    if settings.format in (None, "table"):
        ending.show(found.whole(), text, like=like)
    else:
        api.render(settings.format, found.whole(), text)
    return text.getvalue()
