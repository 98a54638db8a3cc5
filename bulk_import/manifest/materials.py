"""`materials`: several key materials of one key, oldest first; what its entries mean.

https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bulk_import.manifest import fields
from bulk_import.manifest.blemish import blemish
from bulk_import.manifest.problems import Loc
from bulk_import.model import Expect, KeySpec, Target

FIELD = "materials"
# Fields of a key that say something of one material: they belong into the entries.
OF_ONE = ("expect", "key_material_id")


def check(
    stated: Sequence[Mapping[str, Any]], meaning: Callable[[str, str], fields.Said]
) -> Iterator[tuple[Loc, str, str]]:
    """Every mistake in one `materials`: where, what, and what to do. `meaning`: the check of a field's text."""
    for at, entry in enumerate(stated):
        for name in ("material", "valid_to", "valid_for", "renew_before"):
            text = entry.get(name)
            if text is not None and (said := meaning(name, text)):
                yield (at, name), *(blemish(text) or said)
        expect = entry.get("expect")
        if expect is not None and len([1 for value in expect.values() if value is not None]) != 1:
            yield (at, "expect"), "needs exactly one of kcv and spki_sha256", "Keep one of them."
        if entry.get("valid_to") is not None and entry.get("valid_for") is not None:
            yield (at, "valid_for"), "cannot be combined with valid_to", "They are one setting: keep one."
        for name in ("name", "key_material_id"):
            value = entry.get(name)
            first = next((n for n, other in enumerate(stated[:at]) if value and _same(other.get(name), value)), None)
            if first is not None:
                yield (at, name), f"is also that of materials[{first}]", "Each material has its own."


def needs(target: Target, stated: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What contradicts `materials` in the fields of its key: field, what, and what to do."""
    if target.key_spec not in (None, KeySpec.SYMMETRIC_DEFAULT):
        message = f"is given with key_spec {target.key_spec}; KMS rotates only SYMMETRIC_DEFAULT keys"
        yield FIELD, message, "Use `material`."
    for name in OF_ONE:
        if stated.get(name) is not None:
            yield (
                name,
                f"cannot be combined with {FIELD}: it describes one material",
                f"Specify it in the entry of {FIELD}.",
            )


def expected(stated: Mapping[str, str | None] | None) -> Expect | None:
    """A check value, in lower case."""
    if not stated:
        return None
    kcv, spki = stated.get("kcv"), stated.get("spki_sha256")
    return Expect(kcv=kcv and kcv.lower(), spki_sha256=spki and spki.lower())


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.lower() == other.lower()
