"""Reports: read, merged, rebuilt from a journal, rendered, written. Calls AWS only for s3:// URIs."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import orjson

from bulk_import import files, kept
from bulk_import.api.s3 import fetch
from bulk_import.delivery import destinations, older_results
from bulk_import.delivery.publish import TEXT, publish, publish_rendering
from bulk_import.errors import InputError, ObjectError, Problem, ReportNotWritten
from bulk_import.journal import reader
from bulk_import.model import STDOUT, ObjectUri, in_s3
from bulk_import.report.document import Document, gathered_chunks
from bulk_import.report.fold import fold
from bulk_import.report.formats import FORMATS, render, write_text
from bulk_import.report.formats.markdown import append_step_summary
from bulk_import.report.formats.view import environment_warning, exit_code, gravity, headline
from bulk_import.report.merge import Merged, merge
from bulk_import.report.recount import Part
from bulk_import.report.reread import Report, checked, read_report
from bulk_import.settings import Settings

__all__ = [
    "FORMATS", "Merged", "Report", "append_step_summary", "clear_output", "clear_output_file",
    "environment_warning", "exit_code", "gravity", "headline",
    "json_chunks", "open_reports", "render", "upload_report", "write_report",
]  # fmt: skip


def clear_output_file(names: Sequence[str], settings: Settings) -> None:
    """Moves an older report or rendering away from settings.output, unless it is one of the inputs `names`.

    Raises SettingsError where that is not possible.
    """
    output = settings.output
    if (
        output != STDOUT
        and not in_s3(output)
        and destinations.used_by_input(output, settings, "-", others=names) is None
    ):
        older_results.clear_file(output, reports=settings.format == "json")


async def clear_output(names: Sequence[str], settings: Settings) -> None:
    """The same, also in S3, before `names` are read: nobody may take an older result for one that was not written.

    Raises UsageError where settings.output is one of them, SettingsError, CallerError.
    """
    if settings.output == STDOUT:
        return
    destinations.check_output(settings.output, names, settings)
    clear_output_file(names, settings)
    if in_s3(settings.output):
        from bulk_import.aws import objects  # noqa: PLC0415 - an AWS library is loaded only where AWS is called

        async with older_results.reachable(), objects.open_objects(older_results.quick(settings)) as store:
            await older_results.clear_objects(_as_results(settings), store)


def _as_results(settings: Settings) -> Settings:
    """settings.output as the place of a run's report, or of one of its renderings."""
    if settings.format == "json":
        return settings.model_copy(update={"report": settings.output, "render": {}})
    return settings.model_copy(update={"report": STDOUT, "render": {"output": settings.output}})


@contextmanager
def open_reports(names: Sequence[str], settings: Settings, *, stdin: BinaryIO | None = None) -> Iterator[Merged]:
    """Reports or journals of one manifest as one report; its results can be read until the context ends.

    `names`: paths, s3://bucket/key, or `-` for `stdin` (the process's own by default). A report is rebuilt from a
    journal. Raises InputError, which names the file, where one cannot be read or the parts do not belong together;
    UsageError where settings.output is one of them, CallerError where the credentials for S3 do not work.
    """
    if settings.output != STDOUT:
        destinations.check_output(settings.output, names, settings)
    with ExitStack() as stack:
        parts = [Part(name, _read(name, _local(name, settings, stdin, stack))) for name in names]
        yield merge(parts, allow_stale=settings.allow_stale)


def json_chunks(report: Report) -> Iterator[bytes]:
    """The report as `run` writes it, piece by piece: memory stays flat."""
    return gathered_chunks(report.head, map(orjson.dumps, report.results))


def write_report(report: Report, settings: Settings, *, text: str | None = None) -> None:
    """Writes the report, or a rendering of it (`text`), to the file settings.output.

    An older report at that path is kept under its run's ID. Raises ReportNotWritten.
    """
    with _output_errors(settings):
        _to_file(report, Path(settings.output).absolute(), text)


async def upload_report(report: Report, settings: Settings, *, text: str | None = None) -> None:
    """As `write_report`, to the object settings.output (s3://bucket/key).

    The content type of `text` is that of settings.format. Raises ReportNotWritten, CallerError.
    """
    from bulk_import.aws import objects  # noqa: PLC0415 - an AWS library is loaded only where AWS is called

    run, uri = report.head["run"], ObjectUri.parse(settings.output)
    with _output_errors(settings), tempfile.TemporaryDirectory(prefix="bulk-import-") as folder:
        copy = Path(folder) / "result"
        _to_file(report, copy, text)
        async with objects.open_objects(settings, partition=run["partition"]) as store:
            if text is None:
                await publish(store, copy, uri, run_id=run["run_id"])
            else:
                form = FORMATS.get(settings.format or "")
                content_type = form.content_type if form else TEXT
                await publish_rendering(store, copy, uri, content_type=content_type, run_id=run["run_id"])


def _to_file(report: Report, path: Path, text: str | None) -> None:
    """Raises OSError."""
    if text is not None:
        write_text(path, text)
    elif files.keeps_its_place(path):
        files.write_into(path, json_chunks(report))
    else:
        place, run_id = files.real(path), report.head["run"]["run_id"]
        kept.replace(place, json_chunks(report), run_id)
        kept.forget_earlier_part(place, run_id)  # the same report, which was moved away


@contextmanager
def _output_errors(settings: Settings) -> Iterator[None]:
    """Raises ReportNotWritten for OSError and ObjectError."""
    again = "Nothing is lost: make the place writable and run this again, or choose another --output."
    try:
        yield
    except OSError as error:
        reason, advice = error.strerror or str(error), again
    except ObjectError as error:
        reason, advice = error.reason, f"{error.advice} {again}"
    else:
        return
    raise ReportNotWritten(f"The result could not be written to {settings.output} ({reason}).", advice=advice.lstrip())


def _local(name: str, settings: Settings, stdin: BinaryIO | None, stack: ExitStack) -> Path:
    """A file that can be read more than once; of S3, stdin or a pipe a copy for as long as the stack lasts."""
    path = Path(name)
    if in_s3(name):
        source: BinaryIO = io.BytesIO(fetch(name, settings))
    elif name == STDOUT:
        source = stdin or sys.stdin.buffer
    elif why := files.no_path(name):
        raise _problem(name, f"this is not a path: {why}.", "Check it.")
    elif path.is_file() or path.is_dir() or not path.exists():
        return path
    else:
        source = stack.enter_context(path.open("rb"))
    copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-import-"))) / "copy"
    with copy.open("wb") as stream:
        shutil.copyfileobj(source, stream)
    return copy


def _read(name: str, path: Path) -> Report:
    """A report, or one rebuilt from a journal: the first line shows which."""
    shown = "stdin" if name == STDOUT else name
    try:
        with path.open("rb") as stream:
            first = stream.readline(reader.LONGEST_LINE)
        if not first:
            raise _problem(path, "this file is empty.", "Name a report or a journal.")
        if first.startswith(b'{"seq":'):
            return checked(Document.of(fold(path)).as_report(), shown)
        return read_report(path, shown)
    except FileNotFoundError:
        raise _problem(name, "this file does not exist.", "Check the path.") from None
    except IsADirectoryError:
        raise _problem(name, "this is a folder.", "Name a report or a journal.") from None
    except OSError as error:
        raise _problem(name, f"this file cannot be read: {error.strerror}.", "Check its permissions.") from None
    except InputError as error:
        raise InputError([replace(problem, file=shown) for problem in error.problems], code=error.code) from None


def _problem(name: str | Path, message: str, advice: str) -> InputError:
    return InputError([Problem(str(name), 0, "", message, advice)])
