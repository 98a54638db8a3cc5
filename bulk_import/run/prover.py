"""The proof: that KMS holds the very bytes of the source, by the means that the key's type gives.

- HMAC keys: GenerateMac over a fresh message equals the MAC made here.
- Asymmetric keys: GetPublicKey equals the public key derived here.
- Symmetric keys: the KeyMaterialId that ImportKeyMaterial answered is the key's current one.
https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html, …/API_GetPublicKey.html

A contradiction fails the target, loudly. What the policy denies is no contradiction: then the proof is `none`,
with the reason.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from bulk_import.errors import ServiceError, TargetError
from bulk_import.matching import match
from bulk_import.material.evidence import Evidence
from bulk_import.model import KeySpec, KeyState, KeyView, KnownMaterial, Proof
from bulk_import.ports import KeyService
from bulk_import.run.policy import KnownOf
from bulk_import.run.target_run import TargetRun

CONTEXT = {"bulk-import": "proof"}
# Why a proof could not be had, by the error that says so.
_NO_PROOF = {
    "AccessDeniedException": "denied_by_policy",
    "DisabledException": "key_disabled",
    "UnsupportedOperationException": "unsupported_operation",
    "UnknownOperationException": "unsupported_operation",
    "InvalidKeyUsageException": "key_usage_forbids_it",
}


@dataclass(frozen=True, slots=True)
class ProofResult:
    """`detail` says why there is no proof, or no round trip; empty where there is nothing to say."""

    proof: Proof
    detail: str = ""
    round_trip: bool | None = None


async def prove(
    run: TargetRun, kms: KeyService, evidence: Evidence, view: KeyView, known: KnownOf | None = None
) -> ProofResult:
    """Compares KMS's material with the evidence. Raises TargetError (MaterialMismatch) on a contradiction.

    `known`: what earlier runs have proved, for a symmetric target found as wanted.
    """
    spec = KeySpec(view.key_spec)
    if (spec.hmac and not evidence.mac) or (spec.asymmetric and not (evidence.public_key or evidence.spki_sha256)):
        return ProofResult(Proof.NONE, "material_not_compared")  # it was sealed elsewhere, without evidence
    try:
        if spec.hmac:
            return await _by_mac(run, kms, evidence, view)
        if spec.asymmetric:
            return await _by_public_key(run, kms, evidence, view)
        entry = known(run.target, view.arn, "") if known and evidence.material_check else None
        if entry is not None:
            return await _by_known(run, kms, view, evidence, entry)
        return await _by_material_id(run, kms, view)
    except ServiceError as error:
        reason = _NO_PROOF.get(error.code)
        if reason is None:
            raise
        return ProofResult(Proof.NONE, f"{reason} ({error.operation})")


def check_stated_id(run: TargetRun) -> None:
    """What KMS calls the imported material, against what the manifest states. Raises TargetError (MaterialMismatch)."""
    stated = run.target.key_material_id
    if stated is not None and run.material_id not in (None, stated):
        raise TargetError(
            f"KMS calls the imported material {run.material_id}; the manifest states another ID.",
            code="MaterialMismatch",
            operation="ImportKeyMaterial",
        )


async def check_shown_id(run: TargetRun, kms: KeyService, view: KeyView) -> None:
    """What KMS calls the key's material now, against what the manifest states, with every --prove.

    `view`: the last read. Raises TargetError (MaterialMismatch), also where KMS shows no ID.
    """
    stated = run.target.key_material_id
    if stated is None:
        return
    try:
        current, operation = await _current_id(run, kms, view)
    except ServiceError as error:
        if _NO_PROOF.get(error.code) not in ("unsupported_operation", "key_usage_forbids_it"):
            raise
        current, operation = None, error.operation or ""
    if current != stated:
        shown = f"calls its material {current}; the manifest states another ID"
        raise _mismatch(view, operation, shown if current else "has no ID for its material; the manifest states one")


async def check_related(run: TargetRun, kms: KeyService, view: KeyView) -> None:
    """Related keys share the ID of their material: compares it with what other Regions of the key showed in this run.

    `view`: the last read. Raises TargetError (MaterialMismatch).
    """
    family = run.family
    if family is not None and run.target.materials:
        _check_related_materials(run, family.rendezvous.shown, view)
        return
    if family is None or view.key_spec != KeySpec.SYMMETRIC_DEFAULT:
        return
    try:
        current, operation = await _current_id(run, kms, view)
    except ServiceError as error:
        if error.code not in _NO_PROOF:
            raise
        return
    if current is None:
        return
    family.material_id = family.material_id or current
    if family.material_id != current:
        raise _mismatch(view, operation, f"holds material {current}, and a related key {family.material_id}")


def _check_related_materials(run: TargetRun, shown: dict[str, str], view: KeyView) -> None:
    """`shown`: KeyMaterialIds by the names of the entries, as a Region showed them first."""
    for entry, material in zip(run.target.materials, match(run.target, view), strict=True):
        if material is not None and shown.setdefault(entry.name, material.key_material_id) != material.key_material_id:
            other = f"holds {material.key_material_id} as {entry.name}, and a related key {shown[entry.name]}"
            raise _mismatch(view, "ListKeyRotations", other)


async def round_trip(run: TargetRun, kms: KeyService, view: KeyView) -> tuple[bool | None, str]:
    """--prove-use: one Encrypt and Decrypt. It shows that the key works, not which bytes KMS holds."""
    if view.key_spec != KeySpec.SYMMETRIC_DEFAULT:
        return None, ""
    if view.state != KeyState.ENABLED:
        return None, "round_trip: key_disabled"
    plaintext = secrets.token_bytes(16)
    algorithm = "SYMMETRIC_DEFAULT"
    try:
        sealed = await kms.encrypt(view.arn, run, plaintext=plaintext, context=CONTEXT, algorithm=algorithm)
        opened = await kms.decrypt(view.arn, run, ciphertext=sealed, context=CONTEXT, algorithm=algorithm)
    except ServiceError as error:
        reason = _NO_PROOF.get(error.code)
        if reason is None:
            raise
        return None, f"round_trip: {reason} ({error.operation})"
    if opened != plaintext:
        raise TargetError(f"{view.arn} did not decrypt to the original.", code="RoundTripFailed", operation="Decrypt")
    return True, ""


async def _by_mac(run: TargetRun, kms: KeyService, evidence: Evidence, view: KeyView) -> ProofResult:
    if evidence.message is None or evidence.mac_algorithm is None:
        raise RuntimeError("an HMAC key without the evidence of one")
    mac = await kms.generate_mac(view.arn, run, message=evidence.message, mac_algorithm=evidence.mac_algorithm)
    if not evidence.mac_matches(mac):
        raise _mismatch(view, "GenerateMac", "computes another MAC than the source's material does")
    return ProofResult(Proof.HMAC)


async def _by_public_key(run: TargetRun, kms: KeyService, evidence: Evidence, view: KeyView) -> ProofResult:
    public_key = await kms.get_public_key(view.arn, run)
    if not evidence.public_key_matches(public_key):
        raise _mismatch(view, "GetPublicKey", "has another public key than the source's material")
    return ProofResult(Proof.PUBLIC_KEY)


async def _by_material_id(run: TargetRun, kms: KeyService, view: KeyView) -> ProofResult:
    """After an import the answered ID counts; for a key found as wanted, the one that the manifest states."""
    belongs = run.material_id or run.target.key_material_id
    if belongs is None:
        # Found as wanted: nothing was asked. After an import: the answer that held the ID was lost.
        return ProofResult(Proof.NONE, "import_answer_lost" if run.attempts else "material_not_compared")
    current, operation = await _current_id(run, kms, view)
    if current is None:
        return ProofResult(Proof.NONE, "kms_names_no_material_id")
    if current != belongs:
        raise _mismatch(view, operation, f"holds material {current}, not {run.material_id or 'the stated one'}")
    # A stated ID says which material KMS must hold. It says nothing about the source of a key found as wanted.
    return ProofResult(Proof.MATERIAL_ID, "" if run.attempts else "source_not_compared")


async def _by_known(
    run: TargetRun, kms: KeyService, view: KeyView, evidence: Evidence, known: KnownMaterial
) -> ProofResult:
    """KMS still calls its material what it called the source's, and the source still holds the same."""
    current, operation = await _current_id(run, kms, view)
    if current != known.key_material_id:
        raise _mismatch(view, operation, f"holds material {current}; the known report has {known.key_material_id}")
    if not hmac.compare_digest(evidence.material_check, known.material_check):
        raise TargetError(
            f"MATERIAL MISMATCH: the source no longer holds the material that was imported into {view.arn}.",
            code="MaterialMismatch",
        )
    return ProofResult(Proof.MATERIAL_ID)


async def _current_id(run: TargetRun, kms: KeyService, view: KeyView) -> tuple[str | None, str]:
    """The ID of the key's current material, and the operation that showed it (or that shows none)."""
    if view.current_key_material_id is not None:
        return view.current_key_material_id, "DescribeKey"
    rotations = await kms.list_key_rotations(view.arn, run)
    current = next((r.key_material_id for r in rotations if r.key_material_state == "CURRENT"), None)
    return current, "ListKeyRotations"


def _mismatch(view: KeyView, operation: str, what: str) -> TargetError:
    return TargetError(f"MATERIAL MISMATCH: {view.arn} {what}.", code="MaterialMismatch", operation=operation)
