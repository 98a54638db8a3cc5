"""`encrypted_key_material` and `import_token`: material that was sealed before, for one key.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bulk_import.manifest import fields as check
from bulk_import.manifest.materials import FIELD as MATERIALS
from bulk_import.model import Lane, ReadyMade, WrappingKeySpec

READY_MADE: Final = ("encrypted_key_material", "import_token")
_WAYS: Final = (("material",), (MATERIALS,), READY_MADE)  # to say where the material is: one setting


def merged(base: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` over `base`: nearest wins. A nearer way to say where the material is replaces the other ways."""
    settings = {**base, **fields}
    stated = [way for way in _WAYS if any(name in fields for name in way)]
    given = [way for way in stated if any(fields.get(name) is not None for name in way)]
    for way in _WAYS if stated else ():
        if way not in (given or stated):
            for name in way:
                if name not in fields:
                    settings.pop(name, None)
    return settings


def problems(settings: Mapping[str, Any], targets: int) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a ready-made entry that makes so many targets: field, what, and what to do."""
    if all(settings.get(name) is None for name in READY_MADE):
        return
    for name, other in (READY_MADE, READY_MADE[::-1]):
        if settings.get(name) is None:
            yield name, f"is missing, and {other} needs it", "Specify both: they belong together."
    if settings.get("wrapping_algorithm") is None:
        yield "wrapping_algorithm", "is missing", "Specify the one that encrypted_key_material was sealed with."
    if settings.get("create") is not None:
        yield "create", "cannot be combined with encrypted_key_material", "A token exists only for a key that exists."
    if settings.get("replicas"):
        message = "cannot be combined with encrypted_key_material: a token is for one key"
        yield "replicas", message, "Write an entry for the primary and for each replica, with files of its own."
    if settings.get("encoding") is not None:
        yield "encoding", "has no effect on material that was sealed before", "Leave it out."
    if (settings.get("expect") or {}).get("kcv") is not None:
        yield "expect", "kcv cannot be compared: the material was sealed before", "Leave it out."
    if targets > 1:
        message = f"is for one key, and this entry makes {targets} targets"
        yield "encrypted_key_material", message, "Write an entry for each account and Region, with files of its own."


def where_material_is(settings: Mapping[str, Any], lane: Lane, key: str) -> tuple[str | None, ReadyMade | None]:
    """The URI of a key's only material, with placeholders filled in, and what else is known of ready-made material."""
    sealed, token = (settings.get(name) for name in READY_MADE)
    if sealed is not None and token is not None:
        spec: WrappingKeySpec | None = settings.get("wrapping_key_spec")
        return check.fill(sealed, lane, key), ReadyMade(check.fill(token, lane, key), spec)
    material: str | None = settings.get("material")
    if material is not None and ("{" in material or "}" in material):
        material = check.fill(material, lane, key)
    return material, None
