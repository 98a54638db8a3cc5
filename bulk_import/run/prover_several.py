"""The proof for a target with several materials: one for each, and for the target the weakest of them.

- Material that this run imported: KMS lists it by the ID that it answered.
- Other material: --known has an entry with the ID that KMS lists and with the material_check of the source; or the
  manifest specifies that ID, which says nothing about the source.
"""

from __future__ import annotations

import hmac

from bulk_import.errors import TargetError
from bulk_import.matching import match
from bulk_import.model import KeyRotation, KeySpec, KeyView, Proof
from bulk_import.run.policy import Policy
from bulk_import.run.prover import ProofResult
from bulk_import.run.target_run import TargetRun


async def prove_several(run: TargetRun, view: KeyView, policy: Policy) -> ProofResult:
    """`view`: the last read, with the materials. Raises TargetError (MaterialMismatch) on a contradiction."""
    target, several = run.target, run.several
    remarks: dict[str, list[str]] = {}
    held = match(target, view)
    for at, (entry, material) in enumerate(zip(target.materials, held, strict=True)):
        if material is None:
            raise RuntimeError("materials are compared only where all of them are there")
        several.proofs[entry.name], remark = await _one(run, view, at, material, policy)
        for each in filter(None, (remark, several.remarks.get(entry.name))):
            remarks.setdefault(each, []).append(entry.name)
    run.material_check = several.checks.get(target.materials[-1].name)
    proved = all(several.proofs[entry.name] is Proof.MATERIAL_ID for entry in target.materials)
    detail = "; ".join(f"{remark} ({', '.join(names)})" for remark, names in remarks.items())
    return ProofResult(Proof.MATERIAL_ID if proved else Proof.NONE, detail)


async def _one(run: TargetRun, view: KeyView, at: int, material: KeyRotation, policy: Policy) -> tuple[Proof, str]:
    """The proof of one material, and why there is none or what it does not say."""
    entry, part = run.target.materials[at], run.target.parts[at]
    imported = run.several.ids.get(entry.name)
    if imported is not None:
        if imported != material.key_material_id:
            raise _mismatch(view, f"lists {material.key_material_id} as {entry.name}, and the import was {imported}")
        return Proof.MATERIAL_ID, ""
    if policy.prove not in ("auto", "all"):
        return Proof.NONE, "material_not_compared"
    evidence = await policy.materials.evidence(part, KeySpec(view.key_spec), key_arn=view.arn)
    run.several.note(entry.name, evidence)
    known = policy.known(run.target, view.arn, material.key_material_id) if policy.known else None
    if known is not None and evidence.material_check:
        if not hmac.compare_digest(evidence.material_check, known.material_check):
            raise _mismatch(view, f"was given other material as {entry.name} than its source holds now")
        return Proof.MATERIAL_ID, ""
    if entry.key_material_id is not None:
        return Proof.MATERIAL_ID, "source_not_compared"
    return Proof.NONE, "material_not_compared"


def _mismatch(view: KeyView, what: str) -> TargetError:
    message = f"MATERIAL MISMATCH: {view.arn} {what}."
    return TargetError(message, code="MaterialMismatch", operation="ListKeyRotations")
