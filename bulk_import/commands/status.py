"""`status MANIFEST`: how every key compares with the manifest. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from bulk_import import api
from bulk_import.commands import loop, output
from bulk_import.errors import ExitCode, ReportNotWritten
from bulk_import.model import in_s3
from bulk_import.settings import Settings
from bulk_import.text import harmless
from bulk_import.words import not_aws

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = (
    "common", "caller", "aws", "manifest", "role", "failed", "shard", "sources", "hsm", "format", "prove", "known",
    "decide", "steady", "render", "s3", "status",
)  # fmt: skip
FORMATS = ("table", "json", "html", "junit", "markdown", "github", "csv")


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if settings.prove in ("all", "changed"):
        yield "prove", f"as {settings.prove}: `status` imports nothing. Use auto or none."
    if not any(map(in_s3, settings.render.values())):
        for name in ("s3_sse", "s3_sse_kms_key_id"):
            yield name, "because nothing goes to S3: no --render is s3://bucket/key."


def refused(_: Mapping[str, Any], places: Settings | None) -> None:
    """Settings that are wrong end the check too: no older rendering may be taken for its own."""
    if places is not None:
        api.clear_files(places.model_copy(update={"report": "-"}))


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    known = loop.run(api.clear_renderings(manifest, settings))
    loaded = api.load_manifest(manifest, settings, check_dates=False)
    found = loop.run(api.status(loaded, settings, known=known))
    run = found["run"]
    if warning := not_aws("status check", run["environment"], run["endpoints"]):
        output.say(warning)
    missing: ReportNotWritten | None = None
    try:
        written = loop.run(api.write_status(found, settings))
    except ReportNotWritten as error:
        missing = error
        if run["exit_code"] != ExitCode.INTERNAL:
            run["exit_code"] = int(error.exit_code)
    else:
        for name, place in sorted(written.items()) if not settings.quiet else ():
            output.say(harmless(f"{name:<9}{place}"))
    output.result(api.show_status(found, settings.format or "table").encode("utf-8", "backslashreplace"))
    if warning:
        output.say(warning)
    if missing is not None:
        output.say(f"{missing.code}: {missing.message}\n{missing.advice}")
    return ExitCode(run["exit_code"])
