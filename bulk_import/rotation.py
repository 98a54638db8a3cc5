"""Several key materials of one key: what KMS holds, against what the manifest lists. Pure, like plan.py.

- The manifest lists the materials oldest first; the last one is to be the current one.
- What KMS holds stays as it is; matching.py says which entry each material is. Entries that KMS does not have can only
  come after it, and each of them rotates the key.
- Material that expired or was deleted is imported again by its ID, also where it is not the current one.

https://docs.aws.amazon.com/kms/latest/developerguide/rotating-keys-on-demand.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bulk_import.errors import TargetError
from bulk_import.family import never_filled
from bulk_import.matching import CURRENT, NON_CURRENT, conflict, match, pending
from bulk_import.model import Entry, KeyRotation, KeyState, KeyView, Target
from bulk_import.plan import (
    Action,
    Decision,
    Step,
    StepKind,
    Wanted,
    algorithm_for,
    check_expiry,
    expiry_as_wanted,
    final_state,
    importable,
    shows_expiry,
)

MOST_ROTATIONS = 25  # on demand, in the life of a key
NEW, EXISTING = "NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"


def decide_several(
    wanted: Wanted, view: KeyView, *, now: datetime, imported: Mapping[str, str], import_again: bool = False
) -> Decision:
    """The steps for a target with `materials`. `view`: with its materials.

    `imported`: KeyMaterialIds that this run has imported, by the names of their entries. `import_again`: --prove all.
    """
    target = wanted.target
    try:
        spec = importable(target, view)
        if not spec.symmetric:
            raise TargetError(
                f"The manifest lists several materials, but {view.arn} is {spec}: KMS rotates only SYMMETRIC_DEFAULT "
                "keys.",
                code="KeySpecMismatch",
            )
        algorithm = [algorithm_for(part, spec) for part in target.parts][-1]
        # What a replica that was never filled lists is what its primary has: it gets all of that, by its primary's IDs.
        fresh = target.primary is not None and never_filled(view)
        held = [None] * len(target.materials) if fresh else match(target, view)
        again = _again(wanted, view, held, now=now, imported=imported, import_again=import_again)
        steps = (*again, *_new(target, held, imported))
        _check_possible(target, view, steps)
        for step in steps:
            if step.kind == StepKind.IMPORT_MATERIAL and step.entry is not None:
                check_expiry(_part(wanted, step.entry, held, now, import_again=import_again), now)
    except TargetError as error:
        return Decision(Action.BLOCKED, detail=error.message, error=error)
    if not steps:
        return Decision(Action.UNCHANGED, spec, algorithm, view.state, "as wanted")
    action = Action.IMPORT if view.state == KeyState.PENDING_IMPORT else Action.REIMPORT
    detail = "; ".join(step.cause for step in steps)
    return Decision(action, spec, algorithm, final_state(view), detail, steps=steps, keeps_expiry=import_again)


def filling(target: Target) -> tuple[Step, ...]:
    """The steps for a key that never had material."""
    return tuple(_new(target, [None] * len(target.materials), {}))


def holds(wanted: Wanted, view: KeyView, *, imported: Mapping[str, str], asked: Mapping[str, datetime | None]) -> bool:
    """Whether a read shows every entry as wanted. `asked`: the ValidTo of what was just imported, by name."""
    try:
        held = match(wanted.target, view)
    except TargetError:
        return False
    last = len(held) - 1
    now = datetime.now(UTC)
    for at, (entry, part, material) in enumerate(zip(wanted.target.materials, wanted.parts, held, strict=True)):
        if material is None or material.import_state != "IMPORTED" or material.description != entry.name:
            return False
        if material.key_material_state != (CURRENT if at == last else NON_CURRENT):
            return False
        if imported.get(entry.name, material.key_material_id) != material.key_material_id:
            return False
        if entry.name in asked:
            if not shows_expiry(replace(part, valid_to=asked[entry.name]), as_view(view, material)):
                return False
        elif not expiry_as_wanted(part, as_view(view, material), now):
            return False
    return True


def as_view(view: KeyView, material: KeyRotation) -> KeyView:
    """What DescribeKey would say if the key had this material alone."""
    return replace(view, expiration_model=material.expiration_model, valid_to=material.valid_to)


def keeping(wanted: Wanted, view: KeyView, now: datetime) -> Wanted:
    """For --prove all: material whose expiry is as wanted is imported with the ValidTo that it has."""
    held = match(wanted.target, view)
    parts = tuple(_part(wanted, at, held, now, import_again=True) for at in range(len(held)))
    return replace(wanted, parts=parts)


def _part(wanted: Wanted, at: int, held: Sequence[KeyRotation | None], now: datetime, *, import_again: bool) -> Wanted:
    part, material = wanted.parts[at], held[at]
    if import_again and material is not None and _expiry_as_wanted(part, material, now):
        return replace(part, valid_to=material.valid_to)
    return part


def _expiry_as_wanted(part: Wanted, material: KeyRotation, now: datetime) -> bool:
    view = KeyView("", "", "", "", "", "", expiration_model=material.expiration_model, valid_to=material.valid_to)
    return expiry_as_wanted(part, view, now)


def _again(
    wanted: Wanted, view: KeyView, held: Sequence[KeyRotation | None], *,
    now: datetime, imported: Mapping[str, str], import_again: bool,
) -> Iterator[Step]:  # fmt: skip
    """Materials that KMS has had as its current one and that are to be imported again, oldest first."""
    found = False
    for at, (entry, part, material) in enumerate(zip(wanted.target.materials, wanted.parts, held, strict=True)):
        if material is None or pending(material):
            continue
        cause = _cause(entry, part, material, now)
        if not cause and import_again and imported.get(entry.name) != material.key_material_id:
            cause = f"{entry.name} is as wanted; imported again as a proof"
        if cause:
            found = True
            yield _import(at, cause, material)
    if view.state == KeyState.PENDING_IMPORT and not found and any(held):
        # KMS lists every material as imported, and still waits for one: which one, it does not say.
        for at, material in enumerate(held):
            if material is not None and not pending(material):
                yield _import(at, f"the key waits for its material: {wanted.target.materials[at].name}", material)


def _cause(entry: Entry, part: Wanted, material: KeyRotation, now: datetime) -> str:
    """Why material that KMS knows is imported again; empty: it is as wanted."""
    if material.import_state != "IMPORTED":
        return f"{entry.name} is gone (expired or deleted)"
    if material.description != entry.name:
        return f"{entry.name} gets its name"
    if not _expiry_as_wanted(part, material, now):
        return f"the expiry of {entry.name} differs"
    return ""


def _new(target: Target, held: Sequence[KeyRotation | None], imported: Mapping[str, str]) -> Iterator[Step]:
    """Materials that were never current, one after the other: KMS holds only one that is pending.

    A replica gets each of them after its primary, and its primary rotates it.
    """
    replica, together = target.primary is not None, bool(target.replicas or target.primary)
    first = next((at for at, each in enumerate(held) if each is None or pending(each)), len(held))
    for at in range(first, len(held)):
        entry, material = target.materials[at], held[at]
        if material is None:
            cause = f"{entry.name} is missing; its primary has it first" if replica else f"{entry.name} is new"
            yield Step(StepKind.IMPORT_MATERIAL, cause, at, EXISTING if replica else NEW, together=together)
            if at == 0 and not replica:
                continue  # the first material of an empty key is its current one at once
        elif imported.get(entry.name) != material.key_material_id or material.import_state != "IMPORTED":
            cause = f"{entry.name} is pending, and not imported by this run"
            yield replace(_import(at, cause, material), together=together)
        elif material.description != entry.name:
            yield replace(_import(at, f"{entry.name} gets its name", material), together=together)
        kind = StepKind.AWAIT_ROTATION if replica else StepKind.ROTATE
        found = material.key_material_id if material else None
        yield Step(kind, f"{entry.name} becomes the current material", at, key_material_id=found, together=together)


def _import(at: int, cause: str, material: KeyRotation) -> Step:
    return Step(StepKind.IMPORT_MATERIAL, cause, at, EXISTING, material.key_material_id)


def _check_possible(target: Target, view: KeyView, steps: Sequence[Step]) -> None:
    """Whether KMS would rotate the key so often, before anything is changed. Raises TargetError (RotationConflict)."""
    rotations = sum(step.kind == StepKind.ROTATE for step in steps)
    if not rotations and all(step.kind != StepKind.AWAIT_ROTATION for step in steps):
        return
    if target.primary is None:
        _check_regions(target, view)
    if view.state == KeyState.DISABLED:
        raise conflict(
            f"{view.arn} is Disabled, and KMS rotates only keys that are Enabled.",
            f"EnableKey with KeyId {view.arn}, then run again. The program never enables a key.",
            operation="DescribeKey",
        )
    done = sum(each.rotation_date is not None for each in view.materials or ())
    if done + rotations > MOST_ROTATIONS:
        raise conflict(
            f"{view.arn} was rotated {done} times, and the manifest needs {rotations} more: KMS allows "
            f"{MOST_ROTATIONS} in the life of a key.",
            "Create a new key for the newer material, and move the alias to it (UpdateAlias).",
        )


def _check_regions(target: Target, view: KeyView) -> None:
    """Of a key to rotate: it is a primary, and its replicas are those that the manifest lists, or will create."""
    region = view.arn.split(":")[3]
    if view.primary_region not in (None, region):
        raise conflict(
            f"{view.arn} is a replica, and only its primary in {view.primary_region} can be rotated.",
            "Specify the primary's Region in `region`, and this one in `replicas`.",
            operation="DescribeKey",
        )
    unlisted = sorted({*view.replica_regions} - {*target.replicas})
    if unlisted:
        by_hand = "Find out who created it (CloudTrail). Add its Region to `replicas`, or delete that key."
        raise conflict(
            f"{view.arn} has a replica in {', '.join(unlisted)} that the manifest does not list, and KMS rotates the "
            "key only when all replicas have the new material.",
            by_hand if target.replicas else "List its replicas in `replicas`: each then gets the new material, too.",
            operation="DescribeKey",
        )
    absent = sorted({*target.replicas} - {*view.replica_regions})
    if absent and target.create is None:
        raise conflict(
            f"{view.arn} has no replica in {', '.join(absent)}, and the manifest lists one.",
            "Create it (ReplicateKey), specify `create`, or remove its Region from `replicas`.",
            operation="DescribeKey",
        )
