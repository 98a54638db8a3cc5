"""`report REPORT…`: renders reports, merges them, or rebuilds one from a journal. Touches no AWS service."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer

from bulk_import import api
from bulk_import.commands import output
from bulk_import.commands.terminal import ending
from bulk_import.errors import ExitCode, InputError, Problem, ReportNotWritten, UsageError
from bulk_import.model import in_s3
from bulk_import.record import files, formats, reading, report
from bulk_import.record.fold import fold
from bulk_import.record.merge import Part, merge
from bulk_import.record.reread import Report, read_report
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {
    "reports": Annotated[
        list[str],
        typer.Argument(
            metavar="REPORT", help="Reports or journals of one manifest: paths, s3://bucket/key, or - for stdin."
        ),
    ]
}
GROUPS = ("common", "caller", "format", "report")
FORMATS = ("table", "json", *formats.FORMATS)
STDOUT = "-"


def execute(settings: Settings, reports: list[str]) -> ExitCode:
    output.configure(settings)
    _refuse_in_place(settings.output, reports)
    with ExitStack() as stack:
        merged = merge([Part(name, _read(name, _local(name, settings, stack))) for name in reports])
        _warn(merged)
        try:
            _write(merged, settings)
        except OSError as error:
            if settings.output == STDOUT:
                raise
            raise ReportNotWritten(
                f"The result could not be written to {settings.output} ({error.strerror or error}).",
                advice="Nothing is lost: make the place writable and run this again, or choose another --output.",
            ) from None
    return ExitCode.OK


def _refuse_in_place(destination: str, reports: list[str]) -> None:
    """A journal may be all that is left of a run: what is made from it must not take its place."""
    if destination == STDOUT or not Path(destination).is_file():
        return
    for name in reports:
        if Path(name).is_file() and Path(name).samefile(destination):
            raise UsageError(f"--output {destination} would take the place of {name}. Name another file.")


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
    try:
        with path.open("rb") as stream:
            first = stream.readline(reading.LONGEST_LINE)
        if not first:
            raise _problem(path, "this file is empty.", "Name a report or a journal.")
        return report.as_report(fold(path)) if first.startswith(b'{"seq":') else read_report(path)
    except FileNotFoundError:
        raise _problem(name, "this file does not exist.", "Check the path.") from None
    except IsADirectoryError:
        raise _problem(name, "this is a folder.", "Name a report or a journal.") from None
    except OSError as error:
        raise _problem(name, f"this file cannot be read: {error.strerror}.", "Check its permissions.") from None
    except InputError as error:
        file = "stdin" if name == STDOUT else name
        raise InputError([replace(problem, file=file) for problem in error.problems], code=error.code) from None


def _warn(found: Report) -> None:
    """A whole that lacks a part is never rendered silently."""
    error = found.head["run"].get("error")
    if error and error["code"] == "ShardMissing":
        output.say(f"Warning: {error['message']} {error['advice']}")


def _write(found: Report, settings: Settings) -> None:
    name = settings.format or FORMATS[0]
    to_stdout = settings.output == STDOUT
    path = Path(settings.output).absolute()
    if name == "json":
        chunks = report.gathered_chunks(found.head, map(orjson.dumps, found.results))
        if to_stdout:
            for chunk in chunks:
                output.result(chunk)
        elif files.keeps_its_place(path):
            with path.open("wb") as stream:
                stream.writelines(chunks)
        else:
            report.replace(path.resolve(), chunks, found.head["run"]["run_id"])
        return
    text = io.StringIO()
    if name == "table":
        ending.show(found.whole(), text, like=sys.stdout if to_stdout else None)
    else:
        formats.render(name, found.whole(), text)
    if to_stdout:
        output.result(text.getvalue().encode("utf-8", "backslashreplace"))
    else:
        formats.write_text(path, text.getvalue())


def _problem(name: str | Path, message: str, advice: str) -> InputError:
    return InputError([Problem(str(name), 0, "", message, advice)])
