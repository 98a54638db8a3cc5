"""The entries of `materials` of one target, with what they inherit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bulk_import.manifest import fields
from bulk_import.manifest.expiry import Expiries
from bulk_import.manifest.level import Level
from bulk_import.manifest.materials import FIELD, expected
from bulk_import.model import Encoding, Entry, Lane


class Entries:
    """The entries of `materials`, with what they inherit."""

    def __init__(self, expiries: Expiries) -> None:
        self._expiries = expiries

    def make(
        self,
        stated: Sequence[Mapping[str, Any]],
        levels: Sequence[Level],
        lane: Lane,
        key: str,
        encoding: Encoding | None,
    ) -> tuple[Entry, ...]:
        """`levels`: the key's, nearest first. `encoding`: the key's, for entries that specify none."""
        place = next(level for level in levels if FIELD in level.fields)
        made = []
        for at, entry in enumerate(stated):
            own = Level(place.raw[FIELD][at], place.line_of(FIELD, at), (*place.prefix, FIELD, at))
            own.fields = dict(entry)
            stated_id = entry.get("key_material_id")
            made.append(
                Entry(
                    name=entry["name"],
                    material=fields.fill(entry["material"], lane, key),
                    encoding=entry.get("encoding", encoding),
                    expect=expected(entry.get("expect")),
                    key_material_id=stated_id and stated_id.lower(),
                    expiry=self._expiries.resolve(own, *levels),
                )
            )
        return tuple(made)
