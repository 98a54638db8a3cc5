"""Which of a key's materials is which entry of the manifest's list, and what contradicts the list. Pure.

- By ID first, then by description. A key that was filled with one unnamed material has it matched with the first entry.
- What KMS holds must be the beginning of the list, in KMS's order; material that is pending rotation comes next.
- Anything else is a RotationConflict, which says how its cause is removed.

https://docs.aws.amazon.com/kms/latest/APIReference/API_RotationsListEntry.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bulk_import.errors import TargetError
from bulk_import.model import Entry, KeyRotation, KeyView, Target

CURRENT, NON_CURRENT = "CURRENT", "NON_CURRENT"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def match(target: Target, view: KeyView) -> list[KeyRotation | None]:
    """What KMS holds of each entry, in the manifest's order; None: nothing. Raises TargetError (RotationConflict)."""
    found = in_order(view.materials or ())
    entries, left = target.materials, list(found)
    held: list[KeyRotation | None] = [None] * len(entries)

    def take(at: int, material: KeyRotation | None) -> None:
        if material is not None:
            held[at] = material
            left.remove(material)

    for at, entry in enumerate(entries):
        if entry.key_material_id is not None:
            take(at, next((each for each in left if each.key_material_id == entry.key_material_id), None))
    for at, entry in enumerate(entries):
        if held[at] is None and entry.key_material_id is None:
            named = [each for each in left if each.description == entry.name]
            if len(named) > 1:
                raise _two_of_one_name(view, entry, named)
            take(at, next(iter(named), None))
    used = [each for each in found if not pending(each)]
    if held[0] is None and entries[0].key_material_id is None and len(used) == 1 and not used[0].description:
        take(0, used[0] if used[0] in left else None)  # a key that was filled by `material`
    if left:
        raise _unknown(view, left[0])
    _check_order(target, view, held, used)
    return held


def in_order(found: Sequence[KeyRotation]) -> list[KeyRotation]:
    """By KMS's rotation dates: oldest first, then the current one, then the one that is pending rotation."""
    return sorted(
        found, key=lambda each: (pending(each), each.key_material_state == CURRENT, each.rotation_date or _LONG_AGO)
    )


def pending(material: KeyRotation) -> bool:
    """PENDING_ROTATION, or PENDING_MULTI_REGION_IMPORT_AND_ROTATION."""
    return material.key_material_state.startswith("PENDING_")


# --- conflicts


def conflict(message: str, advice: str, *, operation: str | None = "ListKeyRotations") -> TargetError:
    """`advice`: the call, or the correction, that removes the cause."""
    return TargetError(message, code="RotationConflict", operation=operation, advice=advice)


def undo(view: KeyView, material: KeyRotation) -> str:
    """The call that removes material that is pending rotation."""
    region = view.arn.split(":")[3]
    return (
        f"DeleteImportedKeyMaterial with KeyId {view.arn} and KeyMaterialId {material.key_material_id}, in {region}, "
        "removes it: it was never in use."
    )


def _two_of_one_name(view: KeyView, entry: Entry, named: Sequence[KeyRotation]) -> TargetError:
    ids = " and ".join(each.key_material_id for each in named)
    return conflict(
        f"{view.arn} has several materials with the description {entry.name!r}: {ids}.",
        f"Specify key_material_id in their entries: the IDs differ. {_undo_pending(view, named)}".rstrip(),
    )


def _undo_pending(view: KeyView, found: Sequence[KeyRotation]) -> str:
    return next((f"Or: {undo(view, each)}" for each in found if pending(each)), "")


def _unknown(view: KeyView, material: KeyRotation) -> TargetError:
    called = f" ({material.description})" if material.description else ""
    if pending(material):
        return conflict(
            f"{view.arn} has material {material.key_material_id}{called} that is pending rotation, and the manifest "
            "does not list it.",
            f"List it as the next entry, with this key_material_id. Or: {undo(view, material)}",
        )
    return conflict(
        f"{view.arn} has material {material.key_material_id}{called}, and the manifest does not list it.",
        "List it in its place, with this key_material_id: KMS keeps material that was in use, and needs it to decrypt.",
    )


def _check_order(
    target: Target, view: KeyView, held: Sequence[KeyRotation | None], used: Sequence[KeyRotation]
) -> None:
    """Raises TargetError (RotationConflict)."""
    names = [entry.name for entry in target.materials]
    place = {each.key_material_id: at for at, each in enumerate(held) if each is not None}
    order = [place[each.key_material_id] for each in used]
    if order != sorted(order):
        shown = ", ".join(names[at] for at in order)
        raise conflict(
            f"{view.arn} was rotated in another order than the manifest lists: {shown}.",
            f"List these in KMS's order, oldest first: {shown}.",
        )
    missing = next((at for at in range(order[-1] if order else 0) if held[at] is None), None)
    if missing is not None:
        raise conflict(
            f"{view.arn} does not have {names[missing]}, which the manifest lists before {names[order[-1]]}, its "
            "current material.",
            f"KMS can only add newer material: move {names[missing]} to the end of the list, or remove it.",
        )
    waiting = next((at for at, each in enumerate(held) if each is not None and pending(each)), None)
    material = held[waiting] if waiting is not None else None
    if waiting is not None and material is not None and waiting != len(order):
        before = "no longer the next one" if waiting < len(order) else f"listed after {names[waiting - 1]}"
        raise conflict(
            f"{view.arn} has {names[waiting]} pending rotation, and it is {before}.",
            f"List it right after the current material. Or: {undo(view, material)}",
        )
