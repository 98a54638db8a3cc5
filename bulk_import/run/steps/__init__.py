"""The kinds of change, one file each, and the steps of one target made in order.

A kind says what it needs, which call it makes, and how a read shows its effect. The protocol that all kinds follow is
in run/change.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace

from bulk_import.errors import TargetError
from bulk_import.material.evidence import Evidence
from bulk_import.model import KeyView
from bulk_import.plan import Decision, Step, StepKind, must_wait
from bulk_import.ports import KeyService
from bulk_import.run.change import Kind, make, shows
from bulk_import.run.found import SHORTEST_WAIT
from bulk_import.run.metadata import with_metadata
from bulk_import.run.policy import Policy
from bulk_import.run.prover import check_stated_id
from bulk_import.run.several import OF_MATERIALS
from bulk_import.run.steps.create_alias import CreateAlias
from bulk_import.run.steps.create_key import CreateKey
from bulk_import.run.steps.delete_material import DeleteMaterial
from bulk_import.run.steps.follow import Follow
from bulk_import.run.steps.import_entry import ImportEntry
from bulk_import.run.steps.import_material import ImportMaterial
from bulk_import.run.steps.metadata import Correction, PutKeyPolicy, TagResource, UpdateKeyDescription
from bulk_import.run.steps.replicate import ReplicateKey
from bulk_import.run.steps.rotate import Rotate
from bulk_import.run.target_run import IMPORT, TargetRun

REPLICATE = ReplicateKey.operation
KINDS: dict[str, type[Kind]] = {
    StepKind.CREATE_KEY: CreateKey,
    StepKind.REPLICATE_KEY: ReplicateKey,
    StepKind.CREATE_ALIAS: CreateAlias,
    StepKind.PUT_KEY_POLICY: PutKeyPolicy,
    StepKind.TAG_RESOURCE: TagResource,
    StepKind.UPDATE_DESCRIPTION: UpdateKeyDescription,
    StepKind.IMPORT_MATERIAL: ImportMaterial,
    StepKind.ROTATE: Rotate,
    StepKind.DELETE_MATERIAL: DeleteMaterial,
}


async def carry_out(
    run: TargetRun, kms: KeyService, policy: Policy, importing: Callable[[], AbstractAsyncContextManager[object]]
) -> Evidence:
    """Makes every change that `run.decision` lists, in order. Returns what proves the import later.

    `run` is in state PREPARING or APPLIED before, and in APPLIED after. The material is checked before the first
    change. `importing`: makes the place among the lane's imports that the import needs. Raises TargetError.
    """
    decision = run.decision
    if decision is None or decision.key_spec is None:
        raise RuntimeError("a target is changed only after a decision")
    known_arn = run.view.arn if run.view else ""  # a key that is still to be created has none
    if run.target.materials:
        await _carry_out_several(run, kms, policy, importing, known_arn)
        return Evidence(decision.key_spec)
    if all(step.kind != StepKind.IMPORT_MATERIAL for step in decision.steps):
        if IMPORT not in run.effects and policy.prove not in ("auto", "all"):
            await _make_all(run, kms, policy, importing)
            return Evidence(decision.key_spec)  # its material is not looked at, as that of an unchanged target is not
        evidence = await policy.materials.evidence(run.target, decision.key_spec, key_arn=known_arn)
        run.material_check = evidence.material_check or None
        await _make_all(run, kms, policy, importing)
        return evidence
    async with policy.materials.hold(run.target, decision.key_spec, key_arn=known_arn) as held:
        run.material_check = held.evidence.material_check or None
        run.held, run.decision = held, replace(decision, algorithm=held.algorithm)
        try:
            remark = await _make_all(run, kms, policy, importing)
        finally:
            run.held = None
        return held.evidence if remark is None else replace(held.evidence, remark=remark)


async def _carry_out_several(
    run: TargetRun,
    kms: KeyService,
    policy: Policy,
    importing: Callable[[], AbstractAsyncContextManager[object]],
    known_arn: str,
) -> None:
    """Every material that is imported is checked before the first change."""
    decision, several = run.decision, run.several
    if decision is None or decision.key_spec is None:
        raise RuntimeError("a target is changed only after a decision")
    parts = run.target.parts
    async with AsyncExitStack() as stack:
        try:
            for step in decision.steps:
                if step.kind == StepKind.IMPORT_MATERIAL and step.entry is not None:
                    hold = policy.materials.hold(parts[step.entry], decision.key_spec, key_arn=known_arn)
                    held = several.held[step.entry] = await stack.enter_async_context(hold)
                    several.note(run.target.materials[step.entry].name, held.evidence)
                    run.decision = replace(decision, algorithm=held.algorithm)
            await _make_all(run, kms, policy, importing)
        finally:
            several.held.clear()


async def _make_all(
    run: TargetRun, kms: KeyService, policy: Policy, importing: Callable[[], AbstractAsyncContextManager[object]]
) -> str | None:
    """Returns the remark of the evidence, if only the created key's ARN allowed to have it."""
    remark = None
    for step in run.decision.steps if run.decision else ():
        if step.kind == StepKind.AWAIT_ROTATION and step.entry is not None:
            await Follow(run, kms, policy).in_use(step.entry)
            continue
        if step.kind == StepKind.ROTATE:
            rotate = Rotate(run, kms, policy, step)
            await make(rotate)
            await rotate.settle()
            continue
        if step.kind != StepKind.IMPORT_MATERIAL:
            await make(KINDS[step.kind](run, kms, policy))
            if step.kind in (StepKind.CREATE_KEY, StepKind.REPLICATE_KEY) and run.target.materials:
                await _check_values(run, policy)
            elif step.kind in (StepKind.CREATE_KEY, StepKind.REPLICATE_KEY) and run.held is not None:
                # The check value is of the material and the key's ARN, which is known only now.
                spec = run.held.evidence.key_spec
                evidence = await policy.materials.evidence(run.target, spec, key_arn=run.arn)
                run.material_check, remark = evidence.material_check or None, evidence.remark
            continue
        if run.settling:
            # What was just created or changed may be denied for minutes. A cheap read waits for it, so that no scarce
            # permit is spent on a refusal. A new replica is Creating for some seconds.
            await _settled(run, kms, policy)
        if step.entry is not None:
            entry = ImportEntry(run, kms, policy, step)
            async with importing():
                await make(entry)
            entry.check_stated_id()
            if step.together and run.target.primary is not None:
                await Follow(run, kms, policy).holds(step.entry)
            continue
        async with importing():
            await make(KINDS[step.kind](run, kms, policy))
        check_stated_id(run)
    return remark


async def _check_values(run: TargetRun, policy: Policy) -> None:
    """A check value is of the material and the key's ARN, which is known only now."""
    for at, held in run.several.held.items():
        part, name = run.target.parts[at], run.target.materials[at].name
        run.several.note(name, await policy.materials.evidence(part, held.evidence.key_spec, key_arn=run.arn))


async def _settled(run: TargetRun, kms: KeyService, policy: Policy) -> None:
    """Reads until the key is there and waits for nothing but its material. Raises TargetError."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + policy.verify_timeout
    while must_wait(view := await kms.describe_key(run.arn, run)):
        if clock() >= deadline:
            raise TargetError(f"{view.arn} is in state {view.state}.", code="KeyStateNotImportable")
        await asyncio.sleep(max(policy.read_interval, SHORTEST_WAIT))


async def recover(run: TargetRun, kms: KeyService, policy: Policy, view: KeyView) -> bool:
    """A resumed target: finds out which changes, sent before the run was cut short, took effect. Whether any did.

    `view`: the resume's first read.
    """
    kinds = {kind.operation: kind for kind in KINDS.values()}
    if any(issubclass(kinds[operation], Correction) for operation in run.doubts):
        view = await with_metadata(run, kms, view)
    doubts = run.doubts.difference(run.effects)
    if run.target.materials:
        doubts.difference_update(OF_MATERIALS)  # what KMS lists says which step is next
    for operation in doubts:
        kind = kinds[operation](run, kms, policy)
        looks, interval = kind.looks()
        if kind.shown_by(view):
            run.took_effect(operation)
        elif looks > 1:
            await asyncio.sleep(interval)
            await shows(kind, looks - 1, interval)
    return bool(run.effects)


def changes_more(decision: Decision | None) -> bool:
    """Whether a decision has other changes than the import: KMS may take minutes to act on them."""
    return decision is not None and any(step.kind != StepKind.IMPORT_MATERIAL for step in decision.steps)


def only_waits(decision: Decision) -> bool:
    """Whether what is left of a decision changes nothing: an earlier part of the run has imported it."""
    return bool(decision.steps) and all(step.kind == StepKind.AWAIT_ROTATION for step in decision.steps)


def not_yet_made(run: TargetRun, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Those whose call this run has not made with effect. A stale read does not count."""
    return tuple(step for step in steps if step.entry is not None or KINDS[step.kind].operation not in run.effects)
