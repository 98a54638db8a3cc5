"""`report REPORT…`: renders reports, merges them, or rebuilds one from a journal. Touches no AWS service."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import orjson
import typer

from bulk_import import api, files
from bulk_import.aws import objects
from bulk_import.commands import loop, output
from bulk_import.commands.terminal import ending
from bulk_import.delivery import destinations, local
from bulk_import.delivery.publish import TEXT, publish, publish_rendering
from bulk_import.errors import ExitCode, InputError, ObjectError, Problem, ReportNotWritten
from bulk_import.journal import reader
from bulk_import.model import STDOUT, ObjectUri, in_s3
from bulk_import.report import document, formats
from bulk_import.report.fold import fold
from bulk_import.report.merge import merge
from bulk_import.report.recount import Part
from bulk_import.report.reread import Report, checked, read_report
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
FORMATS = ("table", "json", *formats.FORMATS)


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if not in_s3(settings.output):
        for name in ("s3_sse", "s3_sse_kms_key_id"):
            yield name, "because nothing goes to S3: use --output s3://bucket/key."


def execute(settings: Settings, reports: list[str]) -> ExitCode:
    """Ends with the exit code of what it shows; of a merge, of all parts together."""
    output.configure(settings)
    if settings.output != STDOUT:
        destinations.check_output(settings.output, reports, settings)
    with ExitStack() as stack:
        parts = [Part(name, _read(name, _local(name, settings, stack))) for name in reports]
        merged = merge(parts, allow_stale=settings.allow_stale)
        found = merged.report
        _warn(found)
        if settings.output == STDOUT:
            _to_stdout(found, settings)
            return merged.exit_code
        try:
            if in_s3(settings.output):
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-import-"))) / "result"
                loop.run(_to_s3(found, settings, copy))
            else:
                _to_file(found, settings, Path(settings.output).absolute())
        except OSError as error:
            raise _not_written(settings, error.strerror or str(error)) from None
        except ObjectError as error:
            raise _not_written(settings, error.reason, error.advice) from None
    return merged.exit_code


def _not_written(settings: Settings, reason: str, advice: str = "") -> ReportNotWritten:
    again = "Nothing is lost: make the place writable and run this again, or choose another --output."
    return ReportNotWritten(
        f"The result could not be written to {settings.output} ({reason}).", advice=f"{advice} {again}".lstrip()
    )


def _local(name: str, settings: Settings, stack: ExitStack) -> Path:
    """A file that can be read more than once; of S3, stdin or a pipe a copy for as long as this command lasts."""
    path = Path(name)
    if in_s3(name):
        source: BinaryIO = io.BytesIO(api.fetch(name, settings))
    elif name == STDOUT:
        source = sys.stdin.buffer
    elif path.is_file() or path.is_dir() or not path.exists():
        return path
    else:
        source = stack.enter_context(path.open("rb"))
    copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-import-"))) / "copy"
    with copy.open("wb") as stream:
        shutil.copyfileobj(source, stream)
    return copy


def _read(name: str, path: Path) -> Report:
    """A report, or one rebuilt from a journal: the first line tells which."""
    shown = "stdin" if name == STDOUT else name
    try:
        with path.open("rb") as stream:
            first = stream.readline(reader.LONGEST_LINE)
        if not first:
            raise _problem(path, "this file is empty.", "Name a report or a journal.")
        return (
            checked(document.as_report(fold(path)), shown) if first.startswith(b'{"seq":') else read_report(path, shown)
        )
    except FileNotFoundError:
        raise _problem(name, "this file does not exist.", "Check the path.") from None
    except IsADirectoryError:
        raise _problem(name, "this is a folder.", "Name a report or a journal.") from None
    except OSError as error:
        raise _problem(name, f"this file cannot be read: {error.strerror}.", "Check its permissions.") from None
    except InputError as error:
        raise InputError([replace(problem, file=shown) for problem in error.problems], code=error.code) from None


def _warn(found: Report) -> None:
    """A whole that lacks a part is never rendered silently."""
    error = found.head["run"].get("error")
    if error and error["code"] == "ShardMissing":
        output.say(f"Warning: {error['message']} {error['advice']}")


def _to_stdout(found: Report, settings: Settings) -> None:
    if settings.format == "json":
        for chunk in document.gathered_chunks(found.head, map(orjson.dumps, found.results)):
            output.result(chunk)
    else:
        output.result(_text(found, settings, like=sys.stdout).encode("utf-8", "backslashreplace"))


def _to_file(found: Report, settings: Settings, path: Path) -> None:
    """Raises OSError. An older report at the path is kept under its run's ID."""
    if settings.format == "json":
        chunks = document.gathered_chunks(found.head, map(orjson.dumps, found.results))
        if files.keeps_its_place(path):
            files.write_into(path, chunks)
        else:
            local.replace(path.resolve(), chunks, found.head["run"]["run_id"])
    else:
        formats.write_text(path, _text(found, settings))


async def _to_s3(found: Report, settings: Settings, copy: Path) -> None:
    """By way of `copy`. Raises OSError, ObjectError, CallerError. An older report is kept, as a run keeps it."""
    _to_file(found, settings, copy)
    run, uri = found.head["run"], ObjectUri.parse(settings.output)
    async with objects.open_objects(settings, partition=run["partition"]) as store:
        if settings.format == "json":
            await publish(store, copy, uri, run_id=run["run_id"])
        else:
            await publish_rendering(store, copy, uri, content_type=_content_type(settings), run_id=run["run_id"])


def _text(found: Report, settings: Settings, *, like: TextIO | None = None) -> str:
    text = io.StringIO()
    if settings.format in (None, "table"):
        ending.show(found.whole(), text, like=like)
    else:
        formats.render(settings.format, found.whole(), text)
    return text.getvalue()


def _content_type(settings: Settings) -> str:
    return formats.FORMATS[settings.format].content_type if settings.format in formats.FORMATS else TEXT


def _problem(name: str | Path, message: str, advice: str) -> InputError:
    return InputError([Problem(str(name), 0, "", message, advice)])
