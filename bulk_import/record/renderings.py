"""`run --render FORMAT=PATH`: checked before the first call, written after the report (deliver.py)."""

from __future__ import annotations

from pathlib import Path

from bulk_import.errors import Problem, SettingsError
from bulk_import.model import in_s3
from bulk_import.record import formats
from bulk_import.record.reread import Report
from bulk_import.settings import Settings


def check(settings: Settings, journal: Path) -> None:
    """Raises SettingsError for a rendering that could never be written, or would take the place of another file."""
    taken = {_place(str(journal)): "the journal"}
    if settings.report != "-":
        taken[_place(settings.report)] = "the report"
    if settings.checkpoint:
        taken[_place(settings.checkpoint)] = "the checkpoint"
    problems = []
    for name, target in settings.render.items():
        place = _place(target)
        if place in taken:
            problems.append(_problem(name, f"{target} is where {taken[place]} goes.", "Name another place."))
        elif isinstance(place, Path) and place.is_dir():
            problems.append(_problem(name, f"{target} is a folder.", "Name a file in it."))
        elif isinstance(place, Path) and not place.parent.is_dir():
            problems.append(_problem(name, f"the folder {place.parent} does not exist.", "Make it first."))
        taken.setdefault(place, f"the rendering {name}")
    if problems:
        raise SettingsError(problems)


def write(name: str, report: Report, path: str) -> None:
    """Raises OSError."""
    formats.render(name, report.whole(), Path(path).absolute())


def _place(target: str) -> Path | str:
    return target if in_s3(target) else Path(target).resolve()


def _problem(name: str, message: str, advice: str) -> Problem:
    return Problem("settings", 0, f"--render {name}", message, advice)
