"""Where a run's files go: each has a place of its own, which is found out before anything is touched."""

from __future__ import annotations

from pathlib import Path

from bulk_import.errors import Problem, SettingsError
from bulk_import.model import in_s3
from bulk_import.record.older import sha256_path
from bulk_import.record.report import STDOUT
from bulk_import.settings import Settings


def check(settings: Settings, journal: Path, manifest: str) -> None:
    """Raises SettingsError for a file that would take the place of another, or could never be written.

    `manifest`: where it was read from.
    """
    taken: dict[Path, str] = {}
    problems: list[Problem] = []
    if not in_s3(manifest) and manifest != STDOUT:
        taken[_place(manifest)] = "the manifest is"
    if settings.report != STDOUT and not in_s3(settings.report):
        report = _place(settings.report)
        problems += _clash("--report", settings.report, report, taken)
        taken |= {report: "the report goes", sha256_path(report): "the report's SHA-256 goes"}
    place = _place(str(journal))
    clash = _clash("--journal", str(journal), place, taken)
    if not clash and place.exists() and not place.is_file():
        # A journal that is in the way is renamed, and a device or a pipe is nobody's to rename.
        clash = [_problem("--journal", f"{journal} is no file.", "Name one.")]
    problems += clash
    taken.setdefault(place, "the journal goes")
    for name, target in settings.render.items():
        option, path = f"--render {name}", _place(target)
        if in_s3(target):
            problems.append(_problem(option, "a rendering goes to a file.", "Name one, and copy it: aws s3 cp."))
        elif clash := _clash(option, target, path, taken):
            problems += clash
        elif path.is_dir():
            problems.append(_problem(option, f"{target} is a folder.", "Name a file in it."))
        elif not path.parent.is_dir():
            problems.append(_problem(option, f"the folder {path.parent} does not exist.", "Make it first."))
        taken.setdefault(path, f"the rendering {name} goes")
    if problems:
        raise SettingsError(problems)


def _clash(option: str, given: str, path: Path, taken: dict[Path, str]) -> list[Problem]:
    return [_problem(option, f"{given} is where {taken[path]}.", "Name another file.")] if path in taken else []


def _place(path: str) -> Path:
    return Path(path).resolve()


def _problem(option: str, message: str, advice: str) -> Problem:
    return Problem("settings", 0, option, message, advice)
