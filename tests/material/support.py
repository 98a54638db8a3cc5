"""Reads a source as the product does, without a run around it."""

from __future__ import annotations

from pathlib import Path

from bulk_import.errors import MaterialError
from bulk_import.material import Materials, sources
from bulk_import.material.secret import Secret
from bulk_import.material.sources.base import Opening
from bulk_import.model import Encoding, KeySpec, Lane, Target
from bulk_import.settings import Settings

TARGET = Target(0, "one", Lane("aws", "111122223333", "us-east-1"), "alias/one", "file:k")


async def load(
    uri: str, *, root: Path | None, encoding: Encoding | None = None, key_spec: KeySpec | None = None
) -> Secret:
    """Raises MaterialError, as a manifest's check or the source itself does."""
    if reason := sources.refusal(uri):
        raise MaterialError(reason, code="MaterialNotFound")
    opened = sources.kind_of(uri).open(Opening(settings=Settings(), root=root))
    assert opened.source is not None
    return sources.decoded(await opened.source.read(uri.partition(":")[2], TARGET), encoding, key_spec)


def materials(root: Path | None) -> Materials:
    return Materials(Opening(settings=Settings(), root=root))
