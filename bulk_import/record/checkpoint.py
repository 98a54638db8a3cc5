"""Copies of the journal in S3, from which another machine can resume a run whose own is gone.

What a checkpoint may lack, and why a resume from it is safe: everything that was written after it, intents included,
so up to an interval's (and one upload's) worth of events. To a resume those targets look as if they were never begun.
It looks at KMS before it does anything: an import that took effect shows in the key's state, and the target is then
`unchanged` in the report (and proved as such), not `imported`. One that does not show yet is made again, of the same
material, once. What it cannot see is who made an import; the lost events stay lost.

The first checkpoint is written before the first call to KMS, so that the targets' frozen expiry is in it.

Nothing locks a machine out, so the object itself is what two runs meet at: each write is on condition that the object
is as this run left it. A run that begins takes the place (an older object is kept under its run's ID), and whoever
wrote there before finds out at its next write: it is then `taken`, and stops in good order.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import structlog

from bulk_import.errors import CallerError, JournalError, ObjectError, Problem
from bulk_import.model import ObjectUri
from bulk_import.ports import ObjectStore
from bulk_import.record.files import fsync_directory
from bulk_import.record.in_time import in_time
from bulk_import.record.journal import Journal
from bulk_import.record.publish import Place, find, keep
from bulk_import.settings import Settings

LARGEST: Final = 4 << 30  # bytes; S3 takes 5 GiB at once
JSON_LINES: Final = "application/jsonl"

log = structlog.get_logger()


class Checkpoint:
    """The place of one run's checkpoints. Made by `begin`."""

    def __init__(self, store: ObjectStore, place: Place, interval: float) -> None:
        self._store = store
        self._uri = place.uri
        self._etag = place.etag
        self._interval = interval  # seconds
        self._sent: set[str] = set()  # SHA-256 of each that this run may have written
        self._finished = False  # nothing more will be written to the journal
        self.taken = False  # by another run

    @asynccontextmanager
    async def kept(self, journal: Journal, on_taken: Callable[[], None]) -> AsyncIterator[None]:
        """Writes the first one, then one after each interval. Raises JournalError where the first cannot be."""
        await journal.sync()
        try:
            await self._write(journal.path)
        except ObjectError as error:
            raise _refused(error) from None
        except OSError as error:
            raise _problem(journal.path, f"the journal cannot be copied: {error.strerror}.", "") from None
        task = asyncio.create_task(self._keep(journal, on_taken))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def last(self, journal: Path, given_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Of a journal that is closed. Where it fails the run is none the worse: that is said, and no more."""
        self._finished = True
        if not self.taken and not await in_time(self._try(journal), given_up()):
            log.warning("the last checkpoint was given up", checkpoint=str(self._uri))

    async def _keep(self, journal: Journal, on_taken: Callable[[], None]) -> None:
        written = journal.seq
        with suppress(JournalError):  # whoever writes to the journal next is told
            while not self.taken:
                await asyncio.sleep(self._interval)
                if journal.seq == written:
                    continue
                written = journal.seq
                await journal.sync()  # a checkpoint never knows more than the disk
                await self._try(journal.path)
            on_taken()

    async def _try(self, journal: Path) -> None:
        try:
            await self._write(journal)
        except ObjectError as error:
            self.taken = error.conflict
            message = "the checkpoint was taken over by another run" if self.taken else "a checkpoint was not written"
            log.warning(message, error=error.message, advice=error.advice)
        except CallerError as error:
            log.warning("a checkpoint was not written", error=error.message, advice=error.advice)
        except OSError as error:
            log.warning("the journal cannot be copied for its checkpoint", error=error.strerror)

    async def _write(self, journal: Path) -> None:
        """Raises ObjectError, OSError."""
        with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=journal.parent) as folder:
            copy = Path(folder) / "copy"  # so that all of it is of one moment
            digest = await asyncio.to_thread(_snapshot, journal, copy)
            self._sent.add(digest)
            try:
                self._etag = await self._put(copy, digest)
            except ObjectError as error:
                if error.missing:
                    self._etag = None  # somebody removed it; this run's place is free
                elif not error.conflict or not await self._is_ours():
                    raise
                self._etag = await self._put(copy, digest)

    async def _put(self, copy: Path, digest: str) -> str:
        metadata = {"sha256": digest, "finished": str(self._finished).lower()}
        return await self._store.put(
            self._uri, copy, sha256=digest, content_type=JSON_LINES, metadata=metadata,
            if_match=self._etag, if_none_match=self._etag is None,
        )  # fmt: skip

    async def _is_ours(self) -> bool:
        """Whether what stands in the way is of this run: written by a request whose answer was lost."""
        found = await self._store.look(self._uri)
        if found is None or found[0].metadata.get("sha256") not in self._sent:
            return False
        self._etag = found[0].etag
        return True


async def begin(store: ObjectStore, settings: Settings, journal: Path) -> Checkpoint | None:
    """Before `journal` is touched: finds the place, or with --resume what to go on with. None where none is asked for.

    Raises JournalError.
    """
    if settings.checkpoint is None:
        return None
    uri, interval = ObjectUri.parse(settings.checkpoint), settings.checkpoint_interval
    if settings.resume:
        return await resume(store, uri, interval, journal)
    return await begin_anew(store, uri, interval)


async def begin_anew(store: ObjectStore, uri: ObjectUri, interval: float) -> Checkpoint:
    """Makes room for a new run's checkpoints. Raises JournalError."""
    try:
        place = await find(store, uri)
        if place.facts is not None and place.run_id is None:
            raise _problem(uri, "this object is no checkpoint.", "Name another --checkpoint.")
        kept = await keep(store, place, "")
    except ObjectError as error:
        raise _refused(error) from None
    if place.facts is not None and place.facts.metadata.get("finished") != "true":
        log.warning("an unfinished run's checkpoint was set aside; this run looks at KMS anew", kept=str(kept))
    return Checkpoint(store, place, interval)


async def resume(store: ObjectStore, uri: ObjectUri, interval: float, journal: Path) -> Checkpoint:
    """Fetches the journal from its checkpoint where there is none here.

    Raises JournalError where it cannot be had, or is not the beginning of the journal that is here.
    """
    try:
        place = await find(store, uri)
        if await asyncio.to_thread(journal.exists):
            if place.facts is not None and not await asyncio.to_thread(_begins_with, journal, place):
                raise _problem(
                    uri,
                    f"this is not the beginning of {journal}: the run went on elsewhere, or it is another's.",
                    "Move the journal away to resume from the checkpoint, or name another --checkpoint.",
                )
            return Checkpoint(store, place, interval)
        if place.denied is not None:
            raise place.denied
        if place.facts is None:
            raise _problem(uri, f"there is no checkpoint to resume from, nor {journal}.", "Run without --resume.")
        place = await _fetch(store, place, journal)
    except ObjectError as error:
        raise _refused(error) from None
    except OSError as error:
        raise _problem(journal, f"the journal cannot be written: {error.strerror}.", "") from None
    log.warning(
        "the journal was fetched from its checkpoint; what the run did after it is found out from KMS",
        checkpoint=str(uri),
        written_at=place.facts.modified.isoformat() if place.facts else "",
    )
    return Checkpoint(store, place, interval)


async def _fetch(store: ObjectStore, place: Place, journal: Path) -> Place:
    """Raises ObjectError, OSError."""
    with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=journal.parent) as folder:
        fetched = Path(folder) / "journal"
        fetched.touch(mode=0o600)
        with fetched.open("r+b") as stream:
            facts = await store.get(place.uri, stream, limit=LARGEST)
            stream.flush()
            os.fsync(stream.fileno())
        fetched.rename(journal)
    fsync_directory(journal.parent)
    return Place(place.uri, facts, place.run_id)


def _snapshot(journal: Path, copy: Path) -> str:
    """Copies the whole lines, and returns the SHA-256 of the copy, in hex."""
    digest, held = hashlib.sha256(), b""
    with journal.open("rb") as source, copy.open("xb") as target:
        while chunk := source.read(1 << 20):
            whole, newline, rest = chunk.rpartition(b"\n")
            if newline:
                lines = held + whole + newline
                digest.update(lines)
                target.write(lines)
                held = rest
            else:
                held += chunk
    return digest.hexdigest()


def _begins_with(journal: Path, place: Place) -> bool:
    """Whether the checkpoint is the journal's beginning: what was written here after it makes it no other run's."""
    if place.facts is None:
        return True
    digest, left = hashlib.sha256(), place.facts.size
    with journal.open("rb") as stream:
        while left and (chunk := stream.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
    return not left and digest.hexdigest() == place.facts.metadata.get("sha256")


def _refused(error: ObjectError) -> JournalError:
    return JournalError([Problem(error.uri, 0, "--checkpoint", error.reason, error.advice)], code=error.code)


def _problem(where: object, message: str, advice: str) -> JournalError:
    return JournalError([Problem(str(where), 0, "--checkpoint", message, advice)])
