"""Copies of the journal in S3, from which another machine can resume a run whose own is gone.

What a checkpoint may lack, and why a resume from it is safe: everything that was written after it, intents included,
so up to an interval's (and one upload's) worth of events. To a resume those targets look as if they were never begun.
It looks at KMS before it does anything: an import that took effect shows in the key's state, and the target is then
`unchanged` in the report (and proved as such), not `imported`. One that does not show yet is made again, of the same
material, once. What it cannot see is who made an import; the lost events stay lost.

The first checkpoint is written before the first call to KMS, so that the targets' frozen expiry is in it.

Nothing locks a machine out, so the object itself is what two runs meet at: each write is on condition that the object
is as this run left it. A run that begins takes the place (an older object is kept under its run's ID), and anyone who
wrote there before finds out at its next write: it is then `taken`, and stops in an orderly way.
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

from bulk_import.delivery.in_time import in_time
from bulk_import.delivery.publish import Place, find, keep
from bulk_import.errors import CallerError, JournalError, ObjectError, Problem
from bulk_import.files import fsync_directory
from bulk_import.journal.reader import READABLE
from bulk_import.journal.writer import Journal
from bulk_import.model import ObjectFacts, ObjectUri
from bulk_import.ports import ObjectStore
from bulk_import.settings import Settings

LARGEST: Final = 4 << 30  # bytes; S3 takes 5 GiB at once
JSON_LINES: Final = "application/jsonl"

log = structlog.get_logger()


class Checkpoint:
    """One run's checkpoints: `begin` before the journal is touched, then `first`, `kept` while it works, and `last`."""

    def __init__(self, store: ObjectStore, settings: Settings, journal: Path) -> None:
        """`settings.checkpoint` must be stated."""
        self._store = store
        self._uri = ObjectUri.parse(settings.checkpoint or "")
        self._interval = settings.checkpoint_interval
        self._journal = journal
        self._etag: str | None = None  # of what this run may replace; None: nothing is there
        self._sent: set[str] = set()  # SHA-256 of each that this run may have written
        self._finished = False  # nothing more will be written to the journal
        self.taken = False  # by another run

    async def begin(self, *, resume: bool) -> None:
        """For a new run, sets an older checkpoint aside; a resume without a journal here fetches it.

        Raises JournalError, CallerError.
        """
        try:
            place = await find(self._store, self._uri)
            self._etag = place.etag
            if not resume:
                await self._make_room(place)
            elif await asyncio.to_thread(self._journal.exists):
                await self._compare(place)
            else:
                await self._fetch(place)
        except ObjectError as error:
            raise _refused(error) from None

    async def first(self, journal: Journal) -> None:
        """Before the first call to KMS. Raises JournalError, CallerError."""
        await journal.sync()
        try:
            await self._write()
        except ObjectError as error:
            raise _refused(error) from None
        except OSError as error:
            raise _problem(self._journal, f"the journal cannot be copied: {error.strerror}.", READABLE) from None

    @asynccontextmanager
    async def kept(self, journal: Journal, on_taken: Callable[[], None]) -> AsyncIterator[None]:
        """Writes one after each interval. Where that fails the run is none the worse: it is said, and no more."""
        task = asyncio.create_task(self._keep(journal, on_taken))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def last(self, given_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Of the journal when it is closed. `given_up` returns when it must not take longer."""
        self._finished = True
        if not self.taken and not await in_time(self._try(), given_up()):
            log.warning("the last checkpoint was given up", checkpoint=str(self._uri))

    async def _make_room(self, place: Place) -> None:
        if place.facts is None:
            return
        if place.run_id is None:
            raise _problem(self._uri, "this object is not a checkpoint.", "Name another --checkpoint.")
        kept = await keep(self._store, place, "")
        if place.facts.metadata.get("finished") != "true":
            log.warning("an unfinished run's checkpoint was set aside; this run reads every key first", kept=str(kept))

    async def _compare(self, place: Place) -> None:
        if place.facts is None or await asyncio.to_thread(_begins_with, self._journal, place.facts):
            return
        raise _problem(
            self._uri,
            f"this is not the beginning of {self._journal}: the run continued elsewhere, or it belongs to another run.",
            "Move the journal away to resume from the checkpoint, or name another --checkpoint.",
        )

    async def _fetch(self, place: Place) -> None:
        """Raises ObjectError."""
        if place.denied is not None:
            raise place.denied
        if place.facts is None:
            message = f"there is neither a checkpoint to resume from nor {self._journal}."
            raise _problem(self._uri, message, "Run without --resume.")
        try:
            with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=self._journal.parent) as folder:
                fetched = Path(folder) / "journal"
                fetched.touch(mode=0o600)
                with fetched.open("r+b") as stream:
                    facts = await self._store.get(self._uri, stream, limit=LARGEST)
                    stream.flush()
                    os.fsync(stream.fileno())
                fetched.rename(self._journal)
            fsync_directory(self._journal.parent)
        except OSError as error:
            raise _problem(
                self._journal, f"the journal cannot be written: {error.strerror}.", "Make its folder writable."
            ) from None
        self._etag = facts.etag
        log.warning(
            "the journal was fetched from its checkpoint; what the run did after it is found out from KMS",
            checkpoint=str(self._uri),
            written_at=facts.modified.isoformat(),
        )

    async def _keep(self, journal: Journal, on_taken: Callable[[], None]) -> None:
        written = journal.seq
        with suppress(JournalError):  # the next write to the journal raises it
            while not self.taken:
                await asyncio.sleep(self._interval)
                if journal.seq == written:
                    continue
                written = journal.seq
                await journal.sync()  # a checkpoint never knows more than the disk
                await self._try()
            on_taken()

    async def _try(self) -> None:
        try:
            await self._write()
        except ObjectError as error:
            self.taken = error.conflict
            message = "the checkpoint was taken over by another run" if self.taken else "a checkpoint was not written"
            log.warning(message, error=error.message, advice=error.advice)
        except CallerError as error:
            log.warning("a checkpoint was not written", error=error.message, advice=error.advice)
        except OSError as error:
            log.warning("the journal cannot be copied for its checkpoint", error=error.strerror)

    async def _write(self) -> None:
        """Raises ObjectError, CallerError, OSError."""
        with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=self._journal.parent) as folder:
            copy = Path(folder) / "copy"  # so that all of it is of one moment
            digest = await asyncio.to_thread(_snapshot, self._journal, copy)
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
        """Whether what is in the way is of this run: written by a request whose answer was lost."""
        found = await self._store.look(self._uri)
        if found is None or found[0].metadata.get("sha256") not in self._sent:
            return False
        self._etag = found[0].etag
        return True


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


def _begins_with(journal: Path, checkpoint: ObjectFacts) -> bool:
    """Whether the checkpoint is the journal's beginning: what was written here after it makes it no other run's."""
    digest, left = hashlib.sha256(), checkpoint.size
    with journal.open("rb") as stream:
        while left and (chunk := stream.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
    return not left and digest.hexdigest() == checkpoint.metadata.get("sha256")


def _refused(error: ObjectError) -> JournalError:
    return JournalError([Problem(error.uri, 0, "--checkpoint", error.reason, error.advice)], code=error.code)


def _problem(where: object, message: str, advice: str) -> JournalError:
    return JournalError([Problem(str(where), 0, "--checkpoint", message, advice)])
