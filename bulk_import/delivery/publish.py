"""A file into S3, in the place of an older one that is kept, so that no run's result is lost to another's.

What is at the place is read first. An object of another run is copied to `<name>.<its run's ID><suffix>`; then the
new one is written on condition that the place is still as it was read: empty (If-None-Match), or with the same ETag
(If-Match). Where somebody else was faster, all of it begins again, and theirs is kept too.

The object's metadata says `run-id` and `sha256`. `<name>.sha256` next to it, in sha256sum's format, is for people: it
is written after it, so for a moment it may be the older one's.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bulk_import.errors import ObjectError
from bulk_import.kept import HEAD, is_sum, name_of_older, run_id_in, stamp
from bulk_import.model import ObjectFacts, ObjectUri
from bulk_import.ports import ObjectStore

TRIES: Final = 4  # so many runs may end at one place in one moment
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object must go, as it was found. `facts` None: there is none, or (`denied`) none that may be read."""

    uri: ObjectUri
    facts: ObjectFacts | None
    run_id: str | None = None  # whose object is there
    denied: ObjectError | None = None

    @property
    def etag(self) -> str | None:
        return self.facts.etag if self.facts else None


async def find(store: ObjectStore, uri: ObjectUri) -> Place:
    """Raises ObjectError."""
    try:
        found = await store.look(uri, head=HEAD)
    except ObjectError as error:
        if not error.denied:
            raise
        # Without s3:ListBucket S3 says so of a missing object, too; If-None-Match distinguishes the two.
        return Place(uri, None, denied=error)
    if found is None:
        return Place(uri, None)
    facts, head = found
    return Place(uri, facts, run_id_in(head))


async def publish(store: ObjectStore, file: Path, uri: ObjectUri, *, run_id: str) -> None:
    """Writes the report `file` to `uri`, and its sum next to it; an older one is kept. Raises ObjectError, OSError."""
    sha256 = await asyncio.to_thread(_sha256, file)
    metadata = {"run-id": run_id, "sha256": sha256}
    for tries_left in reversed(range(TRIES)):
        place = await find(store, uri)
        if place.facts is not None and place.facts.metadata.get("sha256") == sha256:
            break  # an answer was lost: it is there already
        try:
            kept = await keep(store, place, run_id)
            if kept is not None and place.facts is not None and "sha256" in place.facts.metadata:
                await put_sum(store, kept, place.facts.metadata["sha256"])
            await store.put(
                uri, file, sha256=sha256, content_type=JSON, metadata=metadata,
                if_match=place.etag, if_none_match=place.etag is None,
            )  # fmt: skip
            break
        except ObjectError as error:
            if error.conflict and place.denied is not None:
                raise place.denied from None  # there is one, so it is reading that is not allowed
            if not (error.conflict or error.missing) or not tries_left:
                raise
    await put_sum(store, uri, sha256)


async def publish_rendering(store: ObjectStore, file: Path, uri: ObjectUri, *, content_type: str, run_id: str) -> None:
    """Writes a rendering to `uri`, in the place of an older one: it can be made again. Raises ObjectError, OSError."""
    sha256 = await asyncio.to_thread(_sha256, file)
    metadata = {"run-id": run_id, "sha256": sha256}
    await store.put(uri, file, sha256=sha256, content_type=content_type, metadata=metadata)


async def keep(store: ObjectStore, place: Place, run_id: str) -> ObjectUri | None:
    """Copies what another run than `run_id` left at a place next to it, under that run's ID. Raises ObjectError."""
    if place.facts is None or place.run_id == run_id:
        return None
    older = place.run_id or stamp(
        place.facts.modified
    )  # without an ID it is none of ours; it is not thrown away either
    kept = place.uri.beside(name_of_older(place.uri.name, older))
    await store.copy(place.uri, kept, if_match=place.facts.etag)
    return kept


def sum_of(uri: ObjectUri) -> ObjectUri:
    return uri.beside(f"{uri.name}.sha256")


async def foreign_sum(store: ObjectStore, of: ObjectUri) -> ObjectFacts | None:
    """What is where an object's sum goes, and is none. None also where it may not be read. Raises ObjectError."""
    try:
        found = await store.look(sum_of(of), head=HEAD)
    except ObjectError as error:
        if not error.denied:
            raise
        return None
    return None if found is None or is_sum(found[1]) else found[0]


async def put_sum(store: ObjectStore, of: ObjectUri, digest: str) -> None:
    """Writes `<name>.sha256` next to an object; what somebody else has written there is kept. Raises ObjectError."""
    line = f"{digest}  {of.name}\n".encode()
    if foreign := await foreign_sum(store, of):
        kept = of.beside(f"{name_of_older(of.name, stamp(foreign.modified))}.sha256")
        await store.copy(sum_of(of), kept, if_match=foreign.etag)
    await store.put(
        sum_of(of), line, sha256=hashlib.sha256(line).hexdigest(), content_type=TEXT,
        metadata={},
    )  # fmt: skip


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
