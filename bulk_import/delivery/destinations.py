"""Where a run's files and objects go: each has a place of its own, found out before anything is touched."""

from __future__ import annotations

from pathlib import Path

from bulk_import.delivery.local import sha256_path
from bulk_import.errors import Problem, SettingsError
from bulk_import.model import STDOUT, in_s3
from bulk_import.settings import Settings


def check(settings: Settings, journal: Path, manifest: str) -> None:
    """Raises SettingsError for what would take the place of another, or could never be written.

    `manifest`: where it was read from.
    """
    taken: dict[Path | str, str] = {}
    problems: list[Problem] = []
    if manifest != STDOUT:
        taken[_place(manifest)] = "the manifest is"
    if settings.report != STDOUT:
        report = _place(settings.report)
        problems += _clash("--report", settings.report, report, taken)
        digest = sha256_path(report) if isinstance(report, Path) else f"{report}.sha256"
        taken |= {report: "the report goes", digest: "the report's SHA-256 goes"}
    if settings.checkpoint:
        checkpoint = _place(settings.checkpoint)
        problems += _clash("--checkpoint", settings.checkpoint, checkpoint, taken)
        taken.setdefault(checkpoint, "the checkpoint goes")
    place = Path(journal).resolve()
    clash = _clash("--journal", str(journal), place, taken)
    if not clash and place.exists() and not place.is_file():
        # A journal that is in the way is renamed, and a device or a pipe is no one's to rename.
        clash = [_problem("--journal", f"{journal} is not a file.", "Name one.")]
    problems += clash
    taken.setdefault(place, "the journal goes")
    for name, target in settings.render.items():
        option, path = f"--render {name}", _place(target)
        if clash := _clash(option, target, path, taken):
            problems += clash
        elif isinstance(path, Path) and path.is_dir():
            problems.append(_problem(option, f"{target} is a folder.", "Name a file in it."))
        elif isinstance(path, Path) and not path.parent.is_dir():
            problems.append(_problem(option, f"the folder {path.parent} does not exist.", "Create it first."))
        taken.setdefault(path, f"the rendering {name} goes")
    if problems:
        raise SettingsError(problems)


def _clash(option: str, given: str, place: Path | str, taken: dict[Path | str, str]) -> list[Problem]:
    return [_problem(option, f"{given} is where {taken[place]}.", "Name another place.")] if place in taken else []


def _place(given: str) -> Path | str:
    return given if in_s3(given) else Path(given).resolve()


def _problem(option: str, message: str, advice: str) -> Problem:
    return Problem("settings", 0, option, message, advice)
