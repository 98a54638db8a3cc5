"""What `delete` deletes of a key, and what is left of it afterwards. Pure, like plan.py.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-delete-key-material.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bulk_import.errors import TargetError
from bulk_import.model import KeyRotation, KeyState, KeyView, Target
from bulk_import.plan import Action, Decision, Deleting, Step, StepKind, Wanted, importable

PENDING = frozenset(("PENDING_ROTATION", "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"))
IMPORTED = "IMPORTED"


@dataclass(frozen=True, slots=True)
class Asked:
    """The settings of `delete`. `name`: of one material (KeyMaterialDescription), for a key that has several."""

    name: str | None = None
    disabled_too: bool = False


NOTHING = Asked()


def decide_deletion(
    wanted: Wanted, view: KeyView, rotations: Sequence[KeyRotation], asked: Asked, *, sent: bool
) -> Decision:
    """The step that empties one key, or none if it holds nothing. `sent`: this run has sent the deletion before."""
    target = wanted.target
    try:
        spec = importable(target, view)
        if view.state == KeyState.DISABLED and not asked.disabled_too:
            raise TargetError(f"{view.arn} is Disabled.", code="KeyDisabled")
        # A name that the manifest lists is no mistake, also if KMS has no such material any more.
        listed = any(entry.name == asked.name for entry in target.materials)
        material = material_to_delete(view, rotations, asked.name, sent=sent or listed)
        stated = _stated(target, asked.name)
        if material is not None and stated and None not in stated and material not in stated:
            raise TargetError(
                f"KMS calls the material of {view.arn} {material}; the manifest states another ID.",
                code="MaterialMismatch",
            )
    except TargetError as error:
        return Decision(Action.BLOCKED, detail=error.message, error=error)
    if material is None:
        return Decision(Action.UNCHANGED, spec, final_state=view.state, detail="it holds no material")
    pending = any(one.key_material_id == material and one.key_material_state in PENDING for one in rotations)
    return Decision(
        Deleting.DELETE, spec, final_state=view.state if pending else KeyState.PENDING_IMPORT,
        detail="it holds material", material_id=material,
        steps=(Step(StepKind.DELETE_MATERIAL, "the key holds material"),),
    )  # fmt: skip


def _stated(target: Target, name: str | None) -> set[str | None]:
    """The IDs that the manifest gives to the material to delete; None among them: it may be any."""
    if not target.materials:
        return {target.key_material_id or None}
    return {entry.key_material_id or None for entry in target.materials if name in (None, entry.name)}


def material_to_delete(
    view: KeyView, rotations: Sequence[KeyRotation], name: str | None, *, sent: bool = False
) -> str | None:
    """The KeyMaterialId to delete; "": the key's only material, which has no ID; None: there is nothing.

    `sent`: a deletion was sent, so that a name that KMS does not know any more is no mistake. Raises TargetError.
    """
    if name is None and len(rotations) > 1:
        raise TargetError(
            f"{view.arn} has {len(rotations)} key materials: {_names(rotations)}.",
            code="RotatedKey",
            advice="Name the one to delete with --material-name.",
        )
    if name is None and not rotations:
        return None if view.state == KeyState.PENDING_IMPORT else ""
    found = [one for one in rotations if name is None or one.description == name]
    if len(found) > 1:
        raise TargetError(f"{view.arn} has {len(found)} materials of this name: {_names(found)}.", code="RotatedKey")
    if not found and not sent:
        raise TargetError(f"{view.arn} has no material of this name: {_names(rotations)}.", code="NoSuchMaterial")
    held = [one for one in found if one.import_state in (None, IMPORTED)]
    return held[0].key_material_id if held else None


def _names(rotations: Sequence[KeyRotation]) -> str:
    shown = [f"{one.description or 'without a name'} ({one.key_material_id[:8]}…)" for one in rotations]
    return ", ".join(shown) or "none at all"
