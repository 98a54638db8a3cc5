"""`run --render FORMAT=PATH`: checked before the first call, written after the report."""

from __future__ import annotations

from pathlib import Path

from bulk_import.errors import Problem, ReportNotWritten, SettingsError
from bulk_import.model import in_s3
from bulk_import.record import formats
from bulk_import.record.reread import Report
from bulk_import.settings import Settings


def check(settings: Settings, journal: Path) -> None:
    """Raises SettingsError for a rendering that could never be written, or would take the place of another file."""
    taken = {_place(str(journal)): "the journal"}
    if settings.report != "-" and not in_s3(settings.report):
        taken[_place(settings.report)] = "the report"
    problems = []
    for name, target in settings.render.items():
        path = _place(target)
        if in_s3(target):
            problems.append(_problem(name, "a rendering goes to a file.", "Name one, and copy it: aws s3 cp."))
        elif path in taken:
            problems.append(_problem(name, f"{target} is where {taken[path]} goes.", "Name another file."))
        elif path.is_dir():
            problems.append(_problem(name, f"{target} is a folder.", "Name a file in it."))
        elif not path.parent.is_dir():
            problems.append(_problem(name, f"the folder {path.parent} does not exist.", "Make it first."))
        taken.setdefault(path, f"the rendering {name}")
    if problems:
        raise SettingsError(problems)


def write(report: Report, settings: Settings) -> None:
    """Writes each, also after one that failed. Raises ReportNotWritten, naming those that could not be."""
    failed = []
    for name, target in settings.render.items():
        try:
            formats.render(name, report.whole(), Path(target).absolute())
        except OSError as error:
            failed.append(f"The rendering {name} could not be written to {target} ({error.strerror or error}).")
    if failed:
        raise ReportNotWritten(
            " ".join(failed),
            advice="Make it from the report or the journal: bulk-import report REPORT --format FORMAT --output PATH.",
        )


def _place(path: str) -> Path:
    return Path(path).resolve()


def _problem(name: str, message: str, advice: str) -> Problem:
    return Problem("settings", 0, f"--render {name}", message, advice)
