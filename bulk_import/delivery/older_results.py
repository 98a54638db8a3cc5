"""The results of an earlier run at the places where those of this run will be.

However this run ends (an invalid manifest, a crash, a kill), nobody may mistake an older result for its result. So as
soon as a run knows where its results go, and before it reads its manifest, an older report gets the name
`<stem>.<its run ID><suffix>`, and older renderings, which can be made again from it, are removed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from bulk_import.delivery.publish import TEXT, Place, find, foreign_sum, keep, put_sum, sum_of
from bulk_import.errors import CallerError, ObjectError, Problem, SettingsError
from bulk_import.files import real
from bulk_import.kept import HEAD, run_id_in, set_aside
from bulk_import.model import STDOUT, ObjectUri, in_s3
from bulk_import.ports import ObjectStore
from bulk_import.report.formats import is_rendering
from bulk_import.settings import Settings

log = structlog.get_logger()

PATIENCE: Final = 10.0  # seconds for S3: what is there is moved away, but a run does not wait for it longer

# In the place of an object that the caller may write but not delete.
_NOTHING_YET: Final = b"bulk-import: the run that writes here has not ended.\n"


def is_result(path: Path) -> bool:
    """Whether a file is empty, a report or a rendering: what may be replaced. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    return not head or (b'"schema_version"' in head and run_id_in(head) is not None) or is_rendering(head)


def is_report(path: Path) -> bool:
    """Whether a file is a run's report (not a status, which is a rendering): it proves what no one can find out again.

    Raises OSError.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    is_one = b'"schema_version"' in head and run_id_in(head) is not None
    return is_one and b'"within_seconds"' not in head and not is_rendering(head)


def _is_rendering(path: Path) -> bool:
    """A report in the place of a rendering may be an input (--known, --only-failed) and stays. Raises OSError."""
    with path.open("rb") as stream:
        return is_rendering(stream.read(HEAD))


def clear_file(given: str, *, reports: bool) -> None:
    """A rendering at the place of a rendering or a report is removed, and a report at that of a report (`reports`) is
    kept under its run's ID. Anything else stays.

    Raises SettingsError where an older result cannot be moved away.
    """
    path = real(Path(given))
    try:
        if not path.is_file():
            return
        if _is_rendering(path):
            path.unlink()
        elif reports and is_result(path):
            set_aside(path)
    except OSError as error:
        raise _in_the_way(error) from None


def clear_files(settings: Settings) -> None:
    """Raises SettingsError where an older result cannot be moved away."""
    try:
        if settings.report != STDOUT and not in_s3(settings.report):
            set_aside(real(Path(settings.report)))
        for target in settings.render.values():
            path = real(Path(target))
            if not in_s3(target) and path.is_file() and _is_rendering(path):
                path.unlink()
    except OSError as error:
        raise _in_the_way(error) from None


def _in_the_way(error: OSError) -> SettingsError:
    message = f"the older result {error.filename} cannot be moved away: {error.strerror}."
    return SettingsError([Problem("settings", 0, "", message, "Make its folder writable.")])


def quick(settings: Settings) -> Settings:
    """For the client of `clear_objects`."""
    return settings.model_copy(update={"retry_timeout": min(settings.retry_timeout, PATIENCE)})


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Around `clear_objects`. An S3 that cannot be reached does not keep a run from its work: its own report then goes
    elsewhere, with exit code 6, and this says that an older one may still be there."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        log.warning("an older result may still be in S3", error=f"S3 did not answer within {PATIENCE:g} s")
    except (ObjectError, CallerError) as error:
        log.warning("an older result may still be in S3", error=error.message, advice=error.advice)


async def clear_objects(settings: Settings, store: ObjectStore) -> None:
    """The same in S3. Raises ObjectError, CallerError."""
    if in_s3(settings.report):
        uri = ObjectUri.parse(settings.report)
        place = await find(store, uri)
        if place.run_id is not None:
            kept = await keep(store, place, "")
            if kept is not None and place.facts is not None and "sha256" in place.facts.metadata:
                await put_sum(store, kept, place.facts.metadata["sha256"])
            await _remove(store, place)
            if await foreign_sum(store, uri) is None:
                await store.remove(sum_of(uri))
    for target in settings.render.values():
        if in_s3(target):
            place = await find(store, ObjectUri.parse(target))
            if place.facts is not None and "run-id" in place.facts.metadata:
                await _remove(store, place)


async def _remove(store: ObjectStore, place: Place) -> None:
    try:
        await store.remove(place.uri)
    except ObjectError as error:
        if not error.denied:
            raise
        digest = hashlib.sha256(_NOTHING_YET).hexdigest()
        await store.put(place.uri, _NOTHING_YET, sha256=digest, content_type=TEXT, metadata={}, if_match=place.etag)
