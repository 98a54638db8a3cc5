"""Where a saved plan goes and comes from: a file that only its owner reads, or an object in S3."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from bulk_import.delivery import destinations
from bulk_import.delivery.publish import JSON, find
from bulk_import.errors import InputError, Problem, SettingsError
from bulk_import.files import NewFile, fsync_directory, real
from bulk_import.kept import HEAD, run_id_in
from bulk_import.model import Manifest, ObjectUri, in_s3
from bulk_import.ports import ObjectStore
from bulk_import.settings import Settings

MODE: Final = 0o600


def check(out: str, uri: str, settings: Settings, manifest: Manifest | None = None) -> None:
    """Whether a plan may go to `out`. `uri`: of the manifest. Raises SettingsError."""
    used = destinations.used_by_input(out, settings, uri, manifest)
    path = Path(out)
    if used:
        raise _problem(f"{out} is where {used}.", "Name another place.")
    if in_s3(out):
        return
    if path.exists() and not path.is_file():
        raise _problem(f"{out} is not a file.", "Name one.")
    if not path.parent.is_dir():
        raise _problem(f"the folder {path.parent} does not exist.", "Create it first.")
    try:
        if path.is_file() and not _is_plan(path):
            raise _problem(f"{out} holds something other than a plan.", "Name another file, or remove it.")
    except OSError as error:
        raise _problem(f"{out} cannot be read: {error.strerror}.", "Name another file.") from None


def holds_plan(out: str) -> bool:
    """Whether there is a plan at `out`, or an empty file, as far as it can be read."""
    try:
        return Path(out).is_file() and _is_plan(Path(out))
    except OSError:
        return False


def clear_file(out: str) -> None:
    """Removes an older plan, so that nobody takes it for the new one if this one is not saved. A link stays.

    Raises SettingsError.
    """
    try:
        real(Path(out)).unlink(missing_ok=True)
    except OSError as error:
        raise _problem(f"the older plan {out} cannot be removed: {error.strerror}.", "Remove it.") from None


async def clear_object(uri: ObjectUri, store: ObjectStore) -> None:
    """The same in S3. Raises SettingsError where something else is there, ObjectError, CallerError."""
    place = await find(store, uri)
    if place.facts is None:
        return
    found = await store.look(uri, head=HEAD)
    if found is not None and found[1] and not _marked(found[1]):
        raise _problem(f"{uri} holds something other than a plan.", "Name another place, or remove it.")
    await store.remove(uri)


def write_file(out: str, data: bytes) -> None:
    """Atomically, readable by its owner only; to what a link points to. Raises OSError."""
    path = real(Path(out))
    with NewFile(path, MODE) as new:
        new.fill([data])
        new.commit()
    fsync_directory(path.parent)


async def write_object(uri: ObjectUri, data: bytes, store: ObjectStore) -> None:
    """Raises ObjectError, CallerError."""
    sha256 = hashlib.sha256(data).hexdigest()
    await store.put(uri, data, sha256=sha256, content_type=JSON, metadata={"sha256": sha256})


def read_file(name: str, limit: int) -> bytes:
    """Raises InputError."""
    try:
        with Path(name).open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        problem = Problem(name, 0, "", f"the plan cannot be read: {error.strerror}.", "Check --plan.")
        raise InputError([problem]) from None
    if len(data) > limit:
        message = f"this is larger than {limit >> 20} MiB, so it is not a plan."
        raise InputError([Problem(name, 0, "", message, "Check --plan.")])
    return data


def _is_plan(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    return not head or _marked(head)


def _marked(head: bytes) -> bool:
    """A report and a status have the same beginning, and then a run's ID."""
    return b'"schema_version"' in head and b'"tool"' in head and run_id_in(head) is None


def _problem(message: str, advice: str) -> SettingsError:
    return SettingsError([Problem("settings", 0, "--out", message, advice)])
