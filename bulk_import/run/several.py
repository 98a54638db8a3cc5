"""A target with several materials: what KMS shows of them, what the run knows of them, and what the report says.

https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyRotations.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from bulk_import.errors import TargetError
from bulk_import.matching import match
from bulk_import.material import Held
from bulk_import.material.evidence import Evidence
from bulk_import.model import HeldMaterial, KeySpec, KeyState, KeyView, Proof, Target
from bulk_import.plan import Action, Decision, StepKind, must_wait
from bulk_import.ports import KeyService, Trace

if TYPE_CHECKING:
    from bulk_import.run.target_run import TargetRun


# Changes that ListKeyRotations shows, by their steps.
OF_MATERIALS_BY_STEP: Mapping[str, str] = {
    StepKind.IMPORT_MATERIAL: "ImportKeyMaterial",
    StepKind.ROTATE: "RotateKeyOnDemand",
}
OF_MATERIALS = frozenset(OF_MATERIALS_BY_STEP.values())


@dataclass(slots=True)
class Several:
    """What a run knows of a target's materials, by the names of their entries."""

    ids: dict[str, str] = field(default_factory=dict)  # that ImportKeyMaterial answered in this run
    asked: dict[str, datetime | None] = field(default_factory=dict)  # the ValidTo that it was sent with
    checks: dict[str, str] = field(default_factory=dict)  # material_check of the source
    remarks: dict[str, str] = field(default_factory=dict)  # what could not be compared at the source
    proofs: dict[str, Proof] = field(default_factory=dict)
    held: dict[int, Held] = field(default_factory=dict)  # by position: the materials, while they are imported

    def note(self, name: str, evidence: Evidence) -> None:
        """Keeps what the report says about the source of an entry."""
        if evidence.material_check:
            self.checks[name] = evidence.material_check
        self.remarks[name] = evidence.remark


async def with_materials(trace: Trace, target: Target, kms: KeyService, view: KeyView) -> KeyView:
    """`view`, with what ListKeyRotations shows where the target has `materials`. Raises TargetError."""
    if not target.materials or view.key_spec != KeySpec.SYMMETRIC_DEFAULT or must_wait(view):
        return view
    return replace(view, materials=tuple(await kms.list_key_rotations(view.arn, trace)))


async def read(trace: Trace, target: Target, kms: KeyService, key_id: str) -> KeyView:
    """One read of a target's key: DescribeKey, and the materials where it has several. Raises TargetError."""
    return await with_materials(trace, target, kms, await kms.describe_key(key_id, trace))


def text_of(view: KeyView) -> str:
    """The materials that a read shows, for a message."""
    materials = (
        f"{one.description or one.key_material_id}: {one.key_material_state}, {one.import_state}"
        for one in view.materials or ()
    )
    return ", ".join(materials) or "no material"


def shown(target: Target, view: KeyView | None, known: Several) -> tuple[HeldMaterial, ...]:
    """For the report: the entries of `materials`, oldest first. `view`: the last read; None: it says nothing now."""
    if not target.materials:
        return ()
    try:
        held = match(target, view) if view is not None and view.materials is not None else []
    except TargetError:
        held = []  # the target's error says what contradicts the manifest
    entries = []
    for at, entry in enumerate(target.materials):
        material = held[at] if held else None
        entries.append(
            HeldMaterial(
                name=entry.name,
                key_material_id=material.key_material_id if material else known.ids.get(entry.name),
                state=material.key_material_state if material else None,
                import_state=material.import_state if material else None,
                expiration_model=material.expiration_model if material else None,
                valid_to=material.valid_to if material else None,
                material_check=known.checks.get(entry.name),
                proof=known.proofs.get(entry.name, Proof.NONE),
            )
        )
    return tuple(entries)


def made_before(run: TargetRun, decision: Decision) -> None:
    """Of a resumed target with several materials: changes in doubt of which no step is left took effect."""
    left = {OF_MATERIALS_BY_STEP.get(step.kind) for step in decision.steps}
    for operation in tuple(run.doubts) if run.target.materials else ():
        if not decision.steps or (operation in OF_MATERIALS and operation not in left):
            run.took_effect(operation)


def continued(run: TargetRun, decision: Decision) -> Decision:
    """A resumed target's decision, in the words of its first read."""
    if not run.target.materials:
        return decision
    made_before(run, decision)
    if decision.action is Action.CREATE:
        return decision
    if run.before is not None and run.before.state == KeyState.PENDING_IMPORT:
        return replace(decision, action=Action.IMPORT)
    rotated = not OF_MATERIALS.isdisjoint(run.effects)
    return replace(decision, action=Action.REIMPORT) if rotated else decision


def of_past(material_ids: Mapping[str, str] | None) -> Several:
    """What a resumed run knows from its journal."""
    return Several(ids=dict(material_ids or {}))
