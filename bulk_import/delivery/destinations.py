"""Where a run's files and objects go: no output takes the place of an input or of another output."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from bulk_import.delivery.older_results import is_report, is_result
from bulk_import.errors import Problem, SettingsError, UsageError
from bulk_import.files import no_path, real
from bulk_import.kept import is_sum, sha256_path
from bulk_import.model import STDOUT, Manifest, in_s3
from bulk_import.settings import Settings

# A resolved path or URI, and for a file that exists its device and inode: a hard link is the same file.
Place = str | tuple[int, int]
FILE = "file:"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # names a file that a run appends to
# Settings and variables that name a file which a command may read.
_READ = {
    "pkcs11_pin_file": "the PIN is", "pkcs11_module": "the PKCS#11 module is", "vault_jwt_file": "the token is",
    "sign_with": "the signing key is",
}  # fmt: skip
_VARIABLES = (
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "VAULT_CACERT",
)  # fmt: skip
_SUM = "the report's SHA-256 goes"
_SIGNATURE = re.compile(rb"[A-Za-z0-9+/]{80,110}={0,2}\n?|")  # of Ed25519 and of ECDSA P-256; or an empty file
LONGEST = 4096  # bytes of a file that show whether it is a signature
AWAY = "Name another file to sign, or move this one away."


class Taken:
    """Places that are taken, and by what. The first to take a place has it."""

    def __init__(self) -> None:
        self._by: dict[Place, str] = {}

    def find(self, given: str) -> str | None:
        return next((self._by[place] for place in _places(given) if place in self._by), None)

    def add(self, given: str, what: str) -> None:
        for place in _places(given):
            self._by.setdefault(place, what)


def check(
    settings: Settings, journal: Path | None, uri: str, manifest: Manifest | None = None, *, others: Iterable[str] = ()
) -> None:
    """`uri`: where the manifest is; `others`: further inputs. `manifest`: if it was read, no output may be where its
    material is. `journal` None: there is none.

    Raises SettingsError with every problem.
    """
    taken, known = Taken(), Taken()
    _inputs(taken, settings, uri)
    if settings.plan:
        taken.add(settings.plan, "the plan is")
    for name in others:
        taken.add(name, "an input is")
    if manifest is not None:
        _materials(taken, manifest)
    for place in settings.known:  # the report itself may be known: the older one is kept
        known.add(place, "a known report is")
    if settings.only_failed:
        known.add(settings.only_failed, "the report of --only-failed is")
    problems: list[Problem] = []
    summary = os.environ.get(STEP_SUMMARY)
    if summary and not no_path(summary) and (used := taken.find(summary) or known.find(summary)):
        problems.append(Problem("environment", 0, STEP_SUMMARY, f"it names the file where {used}.", "Unset it."))
    for option, given, what in _outputs(settings, journal):
        used = taken.find(given) or (known.find(given) if option.startswith("--render") else None)
        if used:
            problems.append(_problem(option, f"{given} is where {used}.", "Name another place."))
        elif problem := _foreign_sum(option, given) if what == _SUM else _unusable(option, given):
            problems.append(problem)
        taken.add(given, what)
    if problems:
        raise SettingsError(problems)


def _materials(taken: Taken, manifest: Manifest) -> None:
    tokens = {target.ready_made.import_token for target in manifest.targets if target.ready_made is not None}
    for material in tokens.union(part.material for target in manifest.targets for part in target.parts):
        if material.startswith(FILE) and manifest.folder is not None:
            taken.add(os.path.join(manifest.folder, material.removeprefix(FILE)), "key material is")  # noqa: PTH118
        elif in_s3(material):
            taken.add(material.partition("?")[0], "key material is")
    for path in manifest.files:
        taken.add(os.path.join(manifest.folder or "", path), "a file of the manifest is")  # noqa: PTH118


def used_by_input(
    output: str, settings: Settings, uri: str, manifest: Manifest | None = None, *, others: Iterable[str] = ()
) -> str | None:
    """What of a command's input is where an output should go, for people; None: nothing. `uri`: of the manifest."""
    taken = Taken()
    _inputs(taken, settings, uri)
    for name in others:
        taken.add(name, "an input is")
    for place in settings.known:
        taken.add(place, "a known report is")
    if settings.only_failed:
        taken.add(settings.only_failed, "the report of --only-failed is")
    if manifest is not None:
        _materials(taken, manifest)
    return taken.find(output)


def check_output(output: str, inputs: Iterable[str], settings: Settings) -> None:
    """For `report --output`. Raises UsageError."""
    taken = Taken()
    for name in inputs:
        if name != STDOUT:
            taken.add(name, "an input is")
    if settings.config_file:
        taken.add(settings.config_file, "the settings file is")
    if used := taken.find(output):
        raise UsageError(f"--output: {output} is where {used}. Name another file.")
    sums = settings.format == "json" and not in_s3(output)
    beside = _foreign_sum("--output", str(sha256_path(Path(output)))) if sums else None
    # What is no JSON replaces what is there, and keeps nothing: as a rendering of a run.
    replaced = _unusable("--render", output) if settings.format != "json" and Path(output).is_file() else None
    if problem := _unusable("--output", output) or replaced or beside:
        raise UsageError(f"--output: {problem.message} {problem.advice}")


def _inputs(taken: Taken, settings: Settings, manifest: str) -> None:
    if manifest != STDOUT:
        taken.add(manifest, "the manifest is")
    if settings.config_file:
        taken.add(settings.config_file, "the settings file is")
    read = [(getattr(settings, name), what) for name, what in _READ.items()]
    read += [(name, "a public key is") for name in settings.signed_by]
    read += [(os.environ.get(name), f"the file of {name} is") for name in _VARIABLES]
    for given, what in read:
        if given and not no_path(given) and Path(given).is_file():  # not a device, which can be an output too
            taken.add(given, what)


def check_signature(place: Path, settings: Settings, manifest: Manifest, inputs: Iterable[str] = ()) -> None:
    """Whether a signature may go to `place`. Raises SettingsError."""
    used = used_by_input(str(place), settings, manifest.uri, manifest, others=inputs)
    if used:
        message = f"the signature goes to {place}, which is where {used}."
        raise SettingsError([_problem("--sign-with", message, "Name another file to sign.")])
    try:
        other = place.exists() and (not place.is_file() or not _SIGNATURE.fullmatch(place.read_bytes()[:LONGEST]))
    except OSError as error:
        raise SettingsError([_problem("--sign-with", f"{place} cannot be read: {error.strerror}.", AWAY)]) from None
    if other:
        message = f"the signature goes to {place}, which holds something else."
        raise SettingsError([_problem("--sign-with", message, AWAY)])


def _outputs(settings: Settings, journal: Path | None) -> Iterable[tuple[str, str, str]]:
    """Option, place, and what goes there."""
    if settings.report != STDOUT:
        yield "--report", settings.report, "the report goes"
        digest = f"{settings.report}.sha256" if in_s3(settings.report) else str(sha256_path(Path(settings.report)))
        yield "--report", digest, _SUM
    if settings.checkpoint:
        yield "--checkpoint", settings.checkpoint, "the checkpoint goes"
    if journal is not None:
        yield "--journal", str(journal), "the journal goes"
    for name, target in settings.render.items():
        yield f"--render {name}", target, f"the rendering {name} goes"


def _unusable(option: str, given: str) -> Problem | None:
    """What could never be written, or holds what is not ours to replace: it may be key material."""
    if in_s3(given):
        return None
    path = Path(given)
    if option == "--journal":
        # A journal that is in the way is renamed, and a device or a pipe is nobody's to rename.
        exists = path.exists() and not path.is_file()
        return _problem(option, f"{given} is not a file.", "Name one.") if exists else None
    if not (option.startswith("--render") or option == "--output"):
        return None  # what is at --report is kept under another name
    if option.startswith("--render") and path.is_dir():
        return _problem(option, f"{given} is a folder.", "Name a file in it.")
    if option.startswith("--render") and not path.parent.is_dir():
        return _problem(option, f"the folder {path.parent} does not exist.", "Create it first.")
    try:
        if option.startswith("--render") and path.is_file() and is_report(path):
            return _problem(option, f"{given} holds a report.", "Name another file, or move the report away.")
        if path.is_file() and not is_result(path):
            return _problem(
                option,
                f"{given} holds something other than a result of bulk-import.",
                "Name another file, or remove it.",
            )
    except OSError as error:
        return _problem(option, f"{given} cannot be read: {error.strerror}.", "Name another file.")
    return None


def _foreign_sum(option: str, given: str) -> Problem | None:
    """What lies where the report's sum goes, and is none."""
    path = Path(given)
    if in_s3(given) or not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        return _problem(option, f"{given} cannot be read: {error.strerror}.", "Name another report.")
    if is_sum(head):
        return None
    message = f"the report's SHA-256 goes to {given}, which holds something else."
    return _problem(option, message, "Name another report, or move this file away.")


def _places(given: str) -> list[Place]:
    if in_s3(given):
        return [given]
    path = Path(given)
    try:
        found = path.stat()
    except OSError:
        return [str(real(path))]
    return [str(real(path)), (found.st_dev, found.st_ino)] if path.is_file() else [str(real(path))]


def _problem(option: str, message: str, advice: str) -> Problem:
    return Problem("settings", 0, option, message, advice)
